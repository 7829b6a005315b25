// The candidates of the benchmark: kv-edge, the baseline, and the baseline once more to show the
// noise. Each is a directory with its modules, its KV namespaces and its workerd configuration.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";

import { collectModules, readWorkerConfig } from "../scripts/worker-config.mjs";
import { API_TOKEN } from "./examples.mjs";
import { namespaces } from "./fixtures.mjs";
import { serveStore } from "./loopback.mjs";

/** Returns the gzipped bytes of the modules: WebAssembly, JavaScript, and both. */
function gzipSizes(content) {
  const gzip = (kind) =>
    [...content].filter(([name]) => name.endsWith(".wasm") === (kind === "wasm")).reduce((sum, [, bytes]) => sum + gzipSync(bytes).length, 0);
  const [wasm, js] = [gzip("wasm"), gzip("js")];
  return { wasm, js, total: wasm + js };
}

const text = (value) => JSON.stringify(String(value));

function workerdConfig({ content, worker, objects, objectsPath, port, kv, cacheSocket, upstream, ownVars }) {
  const { compatibilityDate: date, compatibilityFlags: flags } = worker;
  const embedded = [...content.keys()].map(
    (name) => `(name = ${text(name)}, ${name.endsWith(".wasm") ? "wasm" : "esModule"} = embed ${text(`modules/${name}`)})`,
  );
  const vars = {
    CACHE_UPSTREAMS: upstream,
    ROUTING_ORIGINS: `${upstream},http://127.0.0.1:1`,
    ROUTING_INSECURE: "true",
    UPSTREAM_TIMEOUT_MS: "10000",
    API_TOKEN,
    ...ownVars,
  };
  const names = ["CACHE_KV", ...Object.keys(kv)];
  const bindings = [
    ...names.map((name) => `(name = ${text(name)}, kvNamespace = ${text(`kv-${name}`)})`),
    ...Object.entries(vars).map(([name, value]) => `(name = ${text(name)}, text = ${text(value)})`),
    ...objects.map(({ name, className }) => `(name = ${text(name)}, durableObjectNamespace = ${text(className)})`),
  ];
  const classes = objects.map(({ className, isSqlite }) => `(className = ${text(className)}, uniqueKey = ${text(className)}, enableSql = ${isSqlite})`);
  const storage = `durableObjectNamespaces = [${classes.join(", ")}], durableObjectStorage = (localDisk = "objects"),`;
  const disks = Object.entries(kv).map(([name, path]) => `(name = ${text(`kv-${name}`)}, disk = (path = ${text(path)}, writable = true))`);
  const list = (items) => `[\n      ${items.join(",\n      ")}\n    ]`;
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
    modules = ${list(embedded)},
    bindings = ${list(bindings)},
    ${objects.length > 0 ? storage : ""}
    compatibilityDate = ${text(date)}, compatibilityFlags = [${flags.map(text).join(", ")}])),
    (name = "objects", disk = (path = ${text(objectsPath)}, writable = true)),
    ${disks.join(",\n    ")},
    (name = "kv-CACHE_KV", external = (address = ${text(`unix:${cacheSocket}`)}, http = ())),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
`;
}

/**
 * Writes a candidate's directory below `root`, and returns how to start and to measure it. `vars`
 * are set in addition to those that every candidate has.
 */
export async function prepareCandidate({ name, isWorker = false, from, root, port, upstream, vars = {} }) {
  const directory = join(root, name);
  const content = collectModules(from, existsSync(join(from, "entry.js")) ? "entry.js" : "index.js");
  for (const [path, bytes] of content) {
    mkdirSync(dirname(join(directory, "modules", path)), { recursive: true });
    writeFileSync(join(directory, "modules", path), bytes);
  }
  const kv = {};
  for (const [namespace, values] of Object.entries(namespaces(upstream))) {
    kv[namespace] = join(directory, "kv", namespace);
    mkdirSync(kv[namespace], { recursive: true });
    for (const [key, value] of Object.entries(values)) writeFileSync(join(kv[namespace], key), value);
  }
  const cacheSocket = join(directory, "cache.sock");
  const store = await serveStore(cacheSocket);
  const objectsPath = join(directory, "objects");
  mkdirSync(objectsPath);
  const worker = await readWorkerConfig();
  const objects = isWorker ? worker.durableObjects : [];
  const where = { port, kv, objectsPath, cacheSocket, upstream };
  const write = (file, ownVars) => {
    const path = join(directory, file);
    writeFileSync(path, workerdConfig({ content, worker, objects, ...where, ownVars }));
    return path;
  };
  const config = write("config.capnp", vars);
  const configWithoutMemory = write("without-memory.capnp", { ...vars, CACHE_REFRESH: "0" });
  return { name, isWorker, port, config, configWithoutMemory, kv, store, size: gzipSizes(content) };
}

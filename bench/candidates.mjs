// The candidates: the Workers that a benchmark compares, such as kv-edge and the baseline in plain
// JavaScript, or kv-edge with metrics and without. Each is a directory with its modules, its KV
// namespaces and its workerd configuration.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";

import { collectModules, readWorkerConfig } from "../scripts/worker-config.mjs";
import { workerdConfig } from "../scripts/workerd.mjs";
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

/** Returns the vars and secrets of every candidate. */
const varsOf = (worker, upstream) => ({
  ...worker.vars,
  CACHE_UPSTREAMS: upstream,
  ROUTING_ORIGINS: `${upstream},http://127.0.0.1:1`,
  ROUTING_INSECURE: "true",
  API_TOKEN,
});

/**
 * Writes a candidate's directory below `root`, and returns how to start and to measure it. `vars`
 * are set in addition to those that every candidate has.
 */
export async function prepareCandidate({ name, isKvEdge = false, from, root, port, upstream, vars = {} }) {
  const directory = join(root, name);
  const content = collectModules(from, existsSync(join(from, "entry.js")) ? "entry.js" : "index.js");
  for (const [path, bytes] of content) {
    mkdirSync(dirname(join(directory, "modules", path)), { recursive: true });
    writeFileSync(join(directory, "modules", path), bytes);
  }
  const worker = await readWorkerConfig();
  const kv = {};
  const values = namespaces(upstream);
  for (const namespace of worker.kvNamespaces) {
    kv[namespace] = join(directory, "kv", namespace);
    mkdirSync(kv[namespace], { recursive: true });
    for (const [key, value] of Object.entries(values[namespace] ?? {})) writeFileSync(join(kv[namespace], key), value);
  }
  const socket = join(directory, "cache.sock");
  kv.CACHE_KV = { socket };
  const store = await serveStore(socket);
  const objectsPath = join(directory, "objects");
  mkdirSync(objectsPath);
  const write = (file, ownVars) => {
    const path = join(directory, file);
    const vars = { ...varsOf(worker, upstream), ...ownVars };
    const config = { worker: isKvEdge ? worker : { ...worker, durableObjects: [] }, modules: [...content.keys()], vars };
    writeFileSync(path, workerdConfig({ ...config, kv, objectsPath, port }));
    return path;
  };
  const config = write("config.capnp", vars);
  const configWithoutMemory = write("without-memory.capnp", { ...vars, CACHE_REFRESH: "0" });
  return { name, isKvEdge, port, config, configWithoutMemory, kv, store, size: gzipSizes(content) };
}

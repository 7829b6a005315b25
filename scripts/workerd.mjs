// Starts workerd with the modules and bindings of wrangler.toml, and ends it with this process.
//
// Tests, the conformance suite and the benchmark run the same binary with the same definition
// (`readWorkerConfig`, `collectModules`), but it is started in two ways:
//
// - For tests and the conformance suite, miniflare starts it (scripts/local-worker.mjs). A KV of
//   our own would test our idea of KV: miniflare's is that of `wrangler dev`. miniflare also has
//   the REST API over it, static assets, and the eviction of Durable Objects.
// - For the benchmark, `startWorkerd` starts it. miniflare simulates KV with a Durable Object in
//   the same process: a read would cost ten times what the benchmark times, and count as the
//   Worker's CPU time. A plugin of miniflare's can bind a faster KV, but miniflare's own Workers
//   stay in the process. With them, the first response came 200 ms after the start for kv-edge and
//   for the baseline alike (100 and 50 without them), and both took 22 to 30 MB more memory.
//
// So these things differ in the benchmark:
//
// - Each KV namespace is a service of its own, a folder or a server.
// - There are no static assets: the binding `CONSOLE` is missing.
// - There are no datasets of Analytics Engine. miniflare's take points and drop them.
// - There is no Worker in front. miniflare's adds what Cloudflare adds to a request; tests
//   bypass it with `directUrl`.
// - All vars are strings. miniflare passes a var of wrangler.toml that is not a string as JSON, as
//   `wrangler dev` does.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { canConnect } from "./ports.mjs";
import { Failure } from "./run.mjs";

/** How long workerd may take until it accepts connections. */
const START_TIMEOUT_MS = 15_000;

const running = new Set();
process.on("exit", () => {
  for (const workerd of running) workerd.kill();
});

/** A workerd process, which is killed when this process exits. */
export class WorkerdProcess {
  #child;

  /** Takes over a child process that runs workerd. */
  constructor(child) {
    this.#child = child;
    running.add(this);
    child.once("exit", () => running.delete(this));
  }

  get pid() {
    return this.#child.pid;
  }

  get isRunning() {
    const { pid, exitCode, signalCode } = this.#child;
    return pid !== undefined && exitCode === null && signalCode === null;
  }

  /** Kills it without notice, without waiting for its end. */
  kill() {
    this.#child.kill("SIGKILL");
  }

  /** Kills it without notice, and waits until it has ended. */
  async stop() {
    if (!this.isRunning) return;
    const ended = once(this.#child, "exit");
    this.kill();
    await ended;
  }
}

/**
 * Returns the path and the version of the native workerd of miniflare; that in node_modules/.bin
 * may be a script that starts it.
 */
export function findWorkerd() {
  const require = createRequire(import.meta.url);
  try {
    const binary = createRequire(require.resolve("miniflare"))("workerd").default;
    return {
      binary,
      version: execFileSync(binary, ["--version"], { encoding: "utf8" })
        .trim()
        .replace(/^workerd /, ""),
    };
  } catch (error) {
    throw new Failure(`workerd is not installed or does not run (${error.code ?? error.message}): run \`npm install\`.`);
  }
}

/**
 * Starts the workerd of `findWorkerd` with a configuration file (see `workerdConfig`), on this
 * core if one is given, and waits until it accepts connections on the port. `errors` of the
 * returned process is the end of its standard error.
 */
export async function startWorkerd({ binary }, configPath, port, core) {
  const command = [binary, "serve", configPath];
  if (core !== undefined) command.unshift("taskset", "-c", String(core));
  const child = spawn(command[0], command.slice(1), { stdio: ["ignore", "ignore", "pipe"] });
  const workerd = new WorkerdProcess(child);
  workerd.errors = "";
  const note = (text) => {
    workerd.errors = (workerd.errors + text).slice(-2000);
  };
  child.stderr.on("data", note);
  child.once("error", (error) => note(error.message));
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline && workerd.isRunning) {
    if (await canConnect(port)) return workerd;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Failure(`workerd does not start: ${workerd.errors.trim() || "it listens on no port"}`);
}

const text = (value) => JSON.stringify(String(value));
const list = (items) => `[\n      ${items.join(",\n      ")}\n    ]`;

/**
 * Returns the configuration of a workerd that serves a Worker on a port.
 *
 * - `worker` is what `readWorkerConfig` returns.
 * - `modules` are the paths of its modules below the folder `modules` beside the configuration,
 *   the main module first.
 * - `vars` are all vars and secrets.
 * - `kv` are its KV namespaces by the names of their bindings: each the path of a folder with a
 *   file for each key, or the `socket` of a server that speaks workerd's KV protocol.
 * - `objectsPath` is the folder for the storage of its Durable Objects.
 */
export function workerdConfig({ worker, modules, vars, kv, objectsPath, port }) {
  const { compatibilityDate: date, compatibilityFlags: flags, durableObjects: objects } = worker;
  const embedded = modules.map((name) => `(name = ${text(name)}, ${name.endsWith(".wasm") ? "wasm" : "esModule"} = embed ${text(`modules/${name}`)})`);
  const bindings = [
    ...Object.keys(kv).map((name) => `(name = ${text(name)}, kvNamespace = ${text(`kv-${name}`)})`),
    ...Object.entries(vars).map(([name, value]) => `(name = ${text(name)}, text = ${text(value)})`),
    ...objects.map(({ name, className }) => `(name = ${text(name)}, durableObjectNamespace = ${text(className)})`),
  ];
  const classes = objects.map(({ className, isSqlite }) => `(className = ${text(className)}, uniqueKey = ${text(className)}, enableSql = ${isSqlite})`);
  const storage = `durableObjectNamespaces = [${classes.join(", ")}], durableObjectStorage = (localDisk = "objects"),`;
  const namespaces = Object.entries(kv).map(([name, where]) => {
    const service = where.socket ? `external = (address = ${text(`unix:${where.socket}`)}, http = ())` : `disk = (path = ${text(where)}, writable = true)`;
    return `(name = ${text(`kv-${name}`)}, ${service})`;
  });
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
    modules = ${list(embedded)},
    bindings = ${list(bindings)},
    ${objects.length > 0 ? storage : ""}
    compatibilityDate = ${text(date)}, compatibilityFlags = [${flags.map(text).join(", ")}])),
    (name = "objects", disk = (path = ${text(objectsPath)}, writable = true)),
    ${namespaces.join(",\n    ")},
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
`;
}

// Starts the Worker in workerd with the local KV of `wrangler dev`, through miniflare, the library
// with which wrangler starts workerd. The tests and the conformance suite use it;
// scripts/workerd.mjs says what is different in the benchmark.
//
// Only miniflare's exported interface is used. Some of it is called `unsafe…`, because a release
// may change it: the Worker's own socket, the REST API over KV, the eviction of an object. This
// file alone uses them, and says so if they are gone.
import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe } from "node:diagnostics_channel";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure, ROOT } from "./run.mjs";
import { collectModules, readWorkerConfig } from "./worker-config.mjs";
import { WorkerdProcess } from "./workerd.mjs";

/**
 * The child processes that a start creates, from Node's diagnostics channel. Tests measure and
 * kill workerd, and miniflare does not say which process that is.
 */
const startedBy = new AsyncLocalStorage();
subscribe("child_process", ({ process: child }) => startedBy.getStore()?.push(child));

/**
 * Starts the Worker of wrangler.toml with empty KV namespaces and Durable Objects.
 *
 * - `entry` is the main module, as a path below the root of the project.
 * - `vars` is called with the vars of wrangler.toml, and returns all vars and secrets.
 * - `analyticsDatasets` are datasets of Analytics Engine beside those of wrangler.toml. The local
 *   ones take points and drop them.
 * - `restApi` serves the REST API over KV of `wrangler dev`. The start takes twice as long then.
 * - `onLog({ level, message })` is called with every line of the log.
 */
export async function startLocalWorker({ entry = "build/entry.js", vars = (given) => given, analyticsDatasets = [], restApi = false, onLog = () => {} } = {}) {
  const config = await readWorkerConfig();
  const worker = { ...config, analyticsDatasets: [...config.analyticsDatasets, ...analyticsDatasets] };
  const modules = collectModules(ROOT, entry);
  const storage = mkdtempSync(join(tmpdir(), "kv-edge-local-"));
  const started = new LocalWorker({ worker, entry, modules, vars: vars(worker.vars), restApi, onLog, storage });
  running.add(started);
  await started.start();
  return started;
}

const running = new Set();
process.on("exit", () => {
  for (const worker of running) worker.cleanUpNow();
});

class LocalWorker {
  #options;
  #miniflare;
  #workerd;

  constructor(options) {
    this.#options = options;
  }

  /**
   * The URL of miniflare's own Worker in front, which adds what Cloudflare adds to a request, and
   * has the REST API over KV if it is on. It recodes bodies, and resolves dots in paths.
   */
  url;
  /**
   * The URL of the Worker's own socket. Requests and responses pass byte for byte, whatever their
   * encoding.
   */
  directUrl;
  /** The real bindings: to fill KV, and to read what the Worker wrote. */
  env;

  /** The process id of workerd. */
  get pid() {
    return this.#workerd.pid;
  }

  async start() {
    // An `import` of a CommonJS package would parse its six megabytes once more for their exports.
    const { Miniflare, Log, LogLevel } = createRequire(import.meta.url)("miniflare");
    const { worker, onLog } = this.#options;
    /** Drops miniflare's log, because miniflare also throws every error that it logs. */
    class Silent extends Log {
      log() {}
    }
    const options = miniflareOptions({ ...this.#options, log: new Silent(LogLevel.ERROR) });
    const children = [];
    try {
      this.#miniflare = startedBy.run(children, () => new Miniflare(options));
      this.url = await this.#miniflare.ready;
      this.directUrl = await this.#miniflare.unsafeGetDirectURL(worker.name);
      this.env = await this.#miniflare.getBindings(worker.name);
    } catch (error) {
      await this.#miniflare?.dispose().catch(() => {});
      throw new Failure(`miniflare does not start the Worker as scripts/local-worker.mjs asks it to: ${error.message}`, { cause: error });
    }
    const child = children.findLast(({ spawnfile, exitCode, signalCode }) => spawnfile.endsWith("workerd") && exitCode === null && signalCode === null);
    if (child === undefined) throw new Failure("miniflare starts workerd in a way that scripts/local-worker.mjs does not see.");
    const workerd = new WorkerdProcess(child);
    child.once("exit", (code, signal) => {
      if (workerd === this.#workerd) onLog({ level: "error", message: `workerd ended by itself: ${signal ?? code}` });
    });
    this.#workerd = workerd;
  }

  /**
   * Evicts the object of that name from memory; the next request creates it again from its
   * storage. Fails if it stays busy. workerd itself evicts an object that is idle for ten seconds.
   */
  async evict(binding, name) {
    const { worker } = this.#options;
    const { className } = worker.durableObjects.find((object) => object.name === binding);
    try {
      await this.#miniflare.unsafeEvictDurableObject(worker.name, className, { name });
    } catch (error) {
      if (!/is not currently running/.test(error.message)) throw error;
    }
  }

  /** Kills workerd without notice and starts it again on the same storage. The URLs change. */
  async killAndRestart() {
    await this.#end();
    await this.start();
  }

  /** Stops it and removes its storage. */
  async stop() {
    await this.#end();
    this.cleanUpNow();
  }

  /** Does the same synchronously, as this process exits. */
  cleanUpNow() {
    running.delete(this);
    this.#workerd?.kill();
    rmSync(this.#options.storage, { recursive: true, force: true });
  }

  /**
   * Kills workerd and disposes of miniflare at the same time: `dispose` alone takes longer, and
   * miniflare restarts a workerd that exits before.
   */
  async #end() {
    const workerd = this.#workerd;
    this.#workerd = undefined;
    await Promise.all([workerd.stop(), this.#miniflare.dispose()]);
  }
}

function miniflareOptions({ worker, entry, modules, vars, restApi, onLog, storage, log }) {
  const { name, compatibilityDate, compatibilityFlags, kvNamespaces, analyticsDatasets, durableObjects, staticFiles } = worker;
  const manifest = [...modules].map(([path, contents]) => [path, { type: path.endsWith(".wasm") ? "wasm" : "esm", contents }]);
  const env = [
    ...Object.entries(vars).map(([variable, value]) => [variable, { type: typeof value === "string" ? "text" : "json", value }]),
    ...kvNamespaces.map((namespace) => [namespace, { type: "kv", id: namespace }]),
    ...analyticsDatasets.map(({ name: binding, dataset }) => [binding, { type: "analytics-engine-dataset", name: dataset }]),
    [staticFiles.name, { type: "worker", worker: `${name}-files` }],
    ...durableObjects.map(({ name: binding, className }) => [binding, { type: "durable-object", worker: name, exportName: className }]),
  ];
  const classes = durableObjects.map(({ className, isSqlite }) => [className, { type: "durable-object", storage: isSqlite ? "sqlite" : "legacy-kv" }]);
  return {
    host: "127.0.0.1",
    port: 0,
    log,
    logRequests: false,
    handleStructuredLogs: onLog,
    // miniflare would download a sample of `request.cf`, which nothing reads.
    cf: false,
    telemetry: { enabled: false },
    // No other process may find these Workers.
    enableDevRegistry: false,
    resourcePersistencePath: storage,
    unsafeLocalExplorer: restApi,
    workers: [
      {
        config: {
          name,
          compatibilityDate,
          compatibilityFlags,
          manifest: { mainModule: entry, modulesRoot: ROOT, modules: Object.fromEntries(manifest) },
          env: Object.fromEntries(env),
          exports: Object.fromEntries(classes),
        },
        dev: { unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }] },
      },
      filesWorker(`${name}-files`, worker),
    ],
  };
}

/**
 * Returns a Worker that serves the static files. As assets of the Worker itself, they would bring
 * miniflare's router in front of it, which passes requests on in its own way.
 */
function filesWorker(name, { compatibilityDate, staticFiles: { directory, htmlHandling, notFoundHandling } }) {
  const assets = { directory, htmlHandling, notFoundHandling, hasUserWorker: false };
  // A Worker must have a module; no request gets to this one.
  const modules = { "none.js": { type: "esm", contents: "export default {}" } };
  return { config: { name, compatibilityDate, assets, manifest: { mainModule: "none.js", modulesRoot: ROOT, modules } } };
}

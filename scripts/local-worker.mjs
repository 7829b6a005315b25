// Starts the Worker in workerd with the local KV of `wrangler dev`: through miniflare, the
// library that wrangler itself starts workerd with. The tests and the conformance suite use it.
// The benchmark starts the bare workerd instead (bench/workerd.mjs): a read of this KV costs ten
// times what it times.
//
// Everything here is of miniflare's exported interface. Some of it is called `unsafe…`, which
// means that a release may change it: a socket of the Worker's own, the REST API over the KV,
// evicting an object. This file alone knows them, and says so if they are gone.
import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure, ROOT } from "./run.mjs";
import { collectModules, readWorkerConfig } from "./worker.mjs";

/**
 * The processes that a start has made. miniflare does not tell the one of workerd, which a test
 * measures and kills; Node's own channel for child processes does.
 */
const startedBy = new AsyncLocalStorage();
subscribe("child_process", ({ process: child }) => startedBy.getStore()?.push(child));

/**
 * Starts the Worker of wrangler.toml, with KV namespaces and objects that begin empty.
 *
 * - `entry` is the main module, below the root of the project.
 * - `vars` gives the vars and secrets, all of them, out of the vars of wrangler.toml.
 * - `onLog({ level, message })` gets every line of the log.
 */
export async function startLocalWorker({ entry = "build/entry.js", vars = (given) => given, onLog = () => {} } = {}) {
  const worker = await readWorkerConfig();
  const modules = collectModules(ROOT, entry);
  const storage = mkdtempSync(join(tmpdir(), "kv-edge-local-"));
  const started = new LocalWorker({ worker, entry, modules, vars: vars(worker.vars), onLog, storage });
  running.add(started);
  await started.start();
  return started;
}

const running = new Set();
process.on("exit", () => {
  for (const worker of running) worker.abandon();
});

class LocalWorker {
  #options;
  #miniflare;
  #workerd;

  constructor(options) {
    this.#options = options;
  }

  /**
   * The address of miniflare's entry, which recodes bodies and resolves dots in paths, and has
   * the REST API over the KV.
   */
  url;
  /**
   * The address of the Worker itself: what it receives and sends goes over the wire byte for
   * byte, whatever the encoding.
   */
  directUrl;
  /** The real bindings, to seed and to look at what the Worker wrote. */
  env;

  /** The process id of workerd. */
  get pid() {
    return this.#workerd.pid;
  }

  async start() {
    const { Miniflare, Log, LogLevel } = await import("miniflare");
    const { worker, onLog } = this.#options;
    /** What miniflare itself has to say: nothing that is not thrown as well. */
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
    const workerd = children.findLast((child) => child.spawnfile.endsWith("workerd") && isRunning(child));
    if (workerd === undefined) throw new Failure("miniflare starts workerd in a way that scripts/local-worker.mjs does not see.");
    workerd.once("exit", (code, signal) => {
      if (workerd === this.#workerd) onLog({ level: "error", message: `workerd ended by itself: ${signal ?? code}` });
    });
    this.#workerd = workerd;
  }

  /**
   * Evicts the object of that name from memory; it is made again from its storage when it is
   * needed. Fails if it stays busy.
   */
  evict(binding, name) {
    const { worker } = this.#options;
    const { className } = worker.durableObjects.find((object) => object.name === binding);
    return this.#miniflare.unsafeEvictDurableObject(worker.name, className, { name });
  }

  /**
   * Kills workerd, in the midst of whatever it does, and starts it again on the same storage, at
   * another address.
   */
  async killAndRestart() {
    await this.#end();
    await this.start();
  }

  /** Stops it and forgets what it stored. */
  async stop() {
    await this.#end();
    this.cleanUpNow();
  }

  /** The same at once, as this process ends. */
  cleanUpNow() {
    running.delete(this);
    this.#workerd?.kill("SIGKILL");
    rmSync(this.#options.storage, { recursive: true, force: true });
  }

  /**
   * The process goes first: miniflare has more to end, and would restart a workerd that ends
   * before it is told.
   */
  async #end() {
    const workerd = this.#workerd;
    this.#workerd = undefined;
    const exit = isRunning(workerd) ? once(workerd, "exit") : undefined;
    workerd.kill("SIGKILL");
    await Promise.all([exit, this.#miniflare.dispose()]);
  }
}

const isRunning = ({ exitCode, signalCode }) => exitCode === null && signalCode === null;

function miniflareOptions({ worker, entry, modules, vars, onLog, storage, log }) {
  const { name, compatibilityDate, compatibilityFlags, kvNamespaces, durableObjects } = worker;
  const manifest = [...modules].map(([path, contents]) => [path, { type: path.endsWith(".wasm") ? "wasm" : "esm", contents }]);
  const env = [
    ...Object.entries(vars).map(([variable, value]) => [variable, { type: typeof value === "string" ? "text" : "json", value }]),
    ...kvNamespaces.map((namespace) => [namespace, { type: "kv", id: namespace }]),
    ...durableObjects.map(({ name: binding, className }) => [binding, { type: "durable-object", worker: name, exportName: className }]),
  ];
  const classes = durableObjects.map(({ className, isSqlite }) => [className, { type: "durable-object", storage: isSqlite ? "sqlite" : "legacy-kv" }]);
  return {
    host: "127.0.0.1",
    port: 0,
    log,
    logRequests: false,
    handleStructuredLogs: onLog,
    // Nothing reads `request.cf`, and a sample of it would be downloaded.
    cf: false,
    telemetry: { enabled: false },
    // No other process is to find these Workers.
    enableDevRegistry: false,
    resourcePersistencePath: storage,
    unsafeLocalExplorer: true,
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
    ],
  };
}

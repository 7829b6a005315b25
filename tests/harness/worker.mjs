// Starts the built Worker in workerd, on real KV bindings that begin empty. tests/README.md says
// how the harness works as a whole.
import assert from "node:assert/strict";
import { after } from "node:test";
import { startLocalWorker } from "../../scripts/local-worker.mjs";
import { send } from "./http.mjs";

/** Vars of every test. A test file changes those that it is about. */
const DEFAULT_VARS = {
  CACHE_UPSTREAMS: "",
  ROUTING_ORIGINS: "",
  ROUTING_INSECURE: "true",
  TENANT_DOMAIN: "",
  PLATFORM_HOSTS: "",
  UPSTREAM_TIMEOUT_MS: "10000",
};

/** The Worker's secret `API_TOKEN` in tests. Nothing else accepts it. */
export const WORKER_TOKEN = "token-of-the-integration-tests";

/** The field that authorizes a request. */
export const bearer = { Authorization: `Bearer ${WORKER_TOKEN}` };

/** Log lines of a panic or another trap, a hung request, or an unexpected exit of workerd. */
const CRASH = /panicked|critical|RuntimeError|Reinitializing|had hung|workerd ended/i;
/** Log lines of an uncaught exception, such as one in a body after its head was sent. */
const UNCAUGHT = /Uncaught/i;

/**
 * Starts the Worker for a test file, and stops it after the last test.
 *
 * - `vars` override the defaults above. A var that is `undefined` keeps its value of
 *   wrangler.toml.
 * - `faulty` starts the Worker behind tests/faulty/entry.mjs, which makes KV operations fail on
 *   request. `entry` names another module to start behind. With either, the vars of wrangler.toml
 *   are not set.
 * - `restApi` serves the REST API over KV, through which the tool fills it.
 * - `analyticsDatasets` are bindings of Workers Analytics Engine, `[{ name, dataset }]`.
 * - `secrets` replace the default secret `API_TOKEN`. A `.dev.vars` is never read.
 * - `mayCrash` is for tests that crash the Worker; without it a crash fails the file.
 * - `mayBreakOff` is for tests in which the Worker aborts a body; without it an uncaught exception
 *   fails the file.
 */
export async function startWorker({
  faulty = false,
  entry = faulty ? "tests/faulty/entry.mjs" : undefined,
  secrets,
  restApi = false,
  analyticsDatasets = [],
  mayCrash = false,
  mayBreakOff = mayCrash,
  ...given
} = {}) {
  const set = Object.entries({ ...DEFAULT_VARS, ...given.vars }).filter(([, value]) => value !== undefined);
  const logged = [];
  const lines = () => logged.map(({ message }) => message);
  const worker = await startLocalWorker({
    entry,
    restApi,
    analyticsDatasets,
    vars: (ofWrangler) => ({ ...(entry ? {} : ofWrangler), ...Object.fromEntries(set), ...(secrets ?? { API_TOKEN: WORKER_TOKEN }) }),
    onLog: (line) => logged.push(line),
  });
  after(async () => {
    const crashes = lines().filter((line) => CRASH.test(line) || (!mayBreakOff && UNCAUGHT.test(line)));
    await worker.stop();
    if (!mayCrash) assert.deepEqual(crashes, [], "a request crashed the Worker");
  });
  return {
    get url() {
      return worker.url;
    },
    /**
     * The URL of workerd's own socket. Requests and responses pass byte for byte, whatever their
     * encoding.
     */
    get directUrl() {
      return worker.directUrl;
    },
    /** True if the Worker was started with `restApi`. */
    hasRestApi: restApi,
    /** The process id of workerd. */
    get pid() {
      return worker.pid;
    },
    /** The real bindings: to fill KV, and to read what the Worker wrote. */
    get env() {
      return worker.env;
    },
    /**
     * Evicts a key's Durable Object from memory; the next request creates it again from its
     * storage. Fails if the object is busy for half a minute. Blocks this process, so no request
     * may be in progress.
     */
    evict: (key) => worker.evict("KEY_WRITER", key),
    /** Does the same with the object that adds the metrics up. */
    evictMetrics: () => worker.evict("METRICS_STORE", "metrics"),
    /**
     * Empties the Worker's memory, as if another isolate began on the same KV. Takes
     * milliseconds, a restart half a second of CPU time. Only for a Worker behind
     * tests/faulty/entry.mjs.
     */
    async emptyMemory() {
      assert.equal((await send({ url: worker.directUrl }, "/.memory", { method: "DELETE" })).status, 204);
    },
    /**
     * Does the same, and changes vars and secrets from those of the start, as a deploy does;
     * `undefined` removes one. The objects keep theirs.
     */
    async setVars(vars) {
      const body = JSON.stringify(vars, (_name, value) => (value === undefined ? null : value));
      assert.equal((await send({ url: worker.directUrl }, "/.vars", { method: "PUT", body })).status, 204);
    },
    /** Kills workerd without notice and starts it again on the same storage. The URLs change. */
    killAndRestart: () => worker.killAndRestart(),
    /** Returns every line of the log so far. */
    lines,
    /** Returns the lines of the log that are JSON objects, parsed, each with its `stream`. */
    log: () => logged.flatMap(({ level, message }) => asRecord(level, message)),
  };
}

function asRecord(stream, message) {
  try {
    const record = JSON.parse(message);
    return typeof record === "object" && record !== null ? [{ stream, ...record }] : [];
  } catch {
    return [];
  }
}

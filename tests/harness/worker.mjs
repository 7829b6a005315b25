// Starts the built Worker in workerd, on real KV bindings that begin empty.
import assert from "node:assert/strict";
import { after } from "node:test";
import { startLocalWorker } from "../../scripts/local-worker.mjs";

const DEFAULT_VARS = {
  CACHE_UPSTREAMS: "",
  ROUTING_ORIGINS: "",
  ROUTING_INSECURE: "true",
  TENANT_DOMAIN: "",
  PLATFORM_HOSTS: "",
  UPSTREAM_TIMEOUT_MS: "10000",
};

/** The token that the tests use; never one that anything else accepts. */
export const WORKER_TOKEN = "token-of-the-integration-tests";

/**
 * What a panic, a request that can never end, a rejection that nobody handles, or the end of
 * workerd leaves in the log.
 */
const CRASH = /panicked|critical|RuntimeError|Reinitializing|had hung|workerd ended/i;
/** What workerd logs of a body that breaks off after its head, which no client can be told otherwise. */
const UNCAUGHT = /Uncaught/i;

/**
 * Starts the Worker once for a test file and stops it after the last test.
 *
 * - `vars` are set on top of those above; one that is `undefined` stays as wrangler.toml has it.
 * - `faulty` starts the Worker behind tests/faulty/entry.mjs, which makes KV operations fail on
 *   request; `entry` behind yet another module. It has no vars of wrangler.toml then, only those
 *   given here.
 * - `secrets` are instead of the token. Those of a `.dev.vars` are never set.
 * - `mayCrash` is for tests that crash the Worker; with all others a crash fails the file.
 *   `mayBreakOff` is for tests of bodies that the Worker breaks off; with all others an
 *   exception that nobody catches fails the file.
 */
export async function startWorker({
  faulty = false,
  entry = faulty ? "tests/faulty/entry.mjs" : undefined,
  secrets,
  mayCrash = false,
  mayBreakOff = mayCrash,
  ...given
} = {}) {
  const set = Object.entries({ ...DEFAULT_VARS, ...given.vars }).filter(([, value]) => value !== undefined);
  const logged = [];
  const lines = () => logged.map(({ message }) => message);
  const worker = await startLocalWorker({
    entry,
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
     * The address of the Worker itself: what it receives and sends goes over the wire byte for
     * byte, whatever the encoding.
     */
    get directUrl() {
      return worker.directUrl;
    },
    /** The process id of the workerd that runs the Worker. */
    get pid() {
      return worker.pid;
    },
    /** The real bindings, to seed and to look at what the Worker wrote. */
    get env() {
      return worker.env;
    },
    /**
     * Evicts a key's object from memory; it is made again from its storage when it is needed.
     * Fails where the object is still busy after half a minute, and blocks this process
     * meanwhile: let no request be under way.
     */
    evict: (key) => worker.evict("KEY_WRITER", key),
    /**
     * Kills workerd, in the midst of whatever it does, and starts it again on the same storage.
     */
    killAndRestart: () => worker.killAndRestart(),
    /** Every line of the log. */
    lines,
    /** The lines that the Worker logged as JSON objects, parsed. */
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

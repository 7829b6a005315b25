// Starts the built Worker in workerd, on real KV bindings that begin empty, through wrangler's test harness.
import assert from "node:assert/strict";
import { subscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { after } from "node:test";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";

process.env.WRANGLER_SEND_METRICS ??= "false";
// Nothing here reads `request.cf`; without this every start asks the network for a sample of it.
process.env.CLOUDFLARE_CF_FETCH_ENABLED ??= "false";

// Beside miniflare's entry, which rewrites Accept-Encoding, recodes bodies and resolves dots in paths, workerd opens a socket for
// the Worker itself: `direct`. wrangler has no setting for it, so that the options are changed on their way to miniflare.
const require = createRequire(import.meta.url);
const ofWrangler = createRequire(require.resolve("wrangler"));
const { ...miniflareOfWrangler } = ofWrangler("miniflare");
const { convertV4MiniflareOptions } = miniflareOfWrangler;
miniflareOfWrangler.convertV4MiniflareOptions = ({ workers, ...options }) => {
  const [{ unsafeDirectSockets = [{ host: "127.0.0.1", port: 0 }], ...first }, ...others] = workers;
  return convertV4MiniflareOptions({ ...options, workers: [{ ...first, unsafeDirectSockets }, ...others] });
};
ofWrangler.cache[ofWrangler.resolve("miniflare")].exports = miniflareOfWrangler;
const wrangler = require("wrangler");

// Three things that wrangler's harness does are taken out here, because the tests would see them instead of the Worker:
// - the build command runs at every start. `npm test` has built the Worker once, and test files run beside each other.
// - the Worker's fetches go through Node's `fetch`, which turns a refused connection into a 500 response and cannot pass on a
//   body that breaks off. Without that setting workerd uses the network itself, as under `wrangler dev`.
// - requests go through a proxy that rewrites HTML and repeats requests. The tests talk to the runtime behind it.
const DevEnv = wrangler.unstable_DevEnv;
let latest;
wrangler.unstable_DevEnv = class extends DevEnv {
  constructor(...options) {
    super(...options);
    const set = this.config.set.bind(this.config);
    this.config.set = ({ dev: { outboundService, ...dev }, build, ...input }, ...rest) =>
      set({ ...input, dev, build: { ...build, custom: { command: "" } } }, ...rest);
    latest = this;
  }
};

// The workerd that started last. A harness starts two, first that of its proxy.
let runtime;
subscribe("child_process", ({ process: child }) => {
  child.once("spawn", () => {
    if (child.spawnfile.endsWith("workerd")) runtime = child;
  });
});

/** Starts the harness; the miniflare that runs workerd for it. */
async function listen(harness) {
  const started = harness.listen();
  const environment = latest;
  await started;
  return environment.runtimes[0].mf;
}

const root = fileURLToPath(new URL("../..", import.meta.url));

const vars = {
  CACHE_UPSTREAMS: "",
  ROUTING_ORIGINS: "",
  ROUTING_INSECURE: "true",
  TENANT_DOMAIN: "",
  PLATFORM_HOSTS: "",
  UPSTREAM_TIMEOUT_MS: "10000",
};

/** The token that the tests use; never one that anything else accepts. */
export const TOKEN = "token-of-the-integration-tests";

/** What a panic, a request that can never end, or a rejection that nobody handles leaves in the log. */
const crash = /panicked|critical|RuntimeError|Reinitializing|had hung/i;
/** What workerd logs of a body that breaks off after its head, which no client can be told otherwise. */
const uncaught = /Uncaught/i;

/**
 * Starts the Worker once for a test file and stops it after the last test.
 *
 * - `vars` are set on top of those above; one that is `undefined` stays as wrangler.toml has it.
 * - `faulty` starts the Worker behind tests/faulty/entry.mjs, which makes KV operations fail on request. It has no secrets
 *   and vars but those given here, not even from a `.dev.vars`. `configPath` starts it behind yet another entry.
 * - `mayCrash` is for tests that crash the Worker; with all others a crash fails the file. `mayBreakOff` is for tests of bodies that
 *   the Worker breaks off; with all others an exception that nobody catches fails the file.
 */
export async function startWorker({ faulty = false, configPath, secrets, mayCrash = false, mayBreakOff = mayCrash, ...given } = {}) {
  assert.ok(existsSync(`${root}build/entry.js`), "build/entry.js is missing: run `npm run build` first");
  const set = Object.entries({ ...vars, ...given.vars }).filter(([, value]) => value !== undefined);
  const harness = wrangler.createTestHarness({
    root,
    workers: [
      {
        configPath: configPath ?? (faulty ? "tests/faulty/wrangler.toml" : "wrangler.toml"),
        vars: Object.fromEntries(set),
        secrets: secrets ?? { API_TOKEN: TOKEN },
      },
    ],
  });
  const miniflare = await listen(harness);
  let workerd = runtime;
  let url = await miniflare.ready;
  let direct = await miniflare.unsafeGetDirectURL();
  let env = await harness.getWorker().getEnv();
  const lines = () => harness.getLogs().map(({ message }) => message);
  after(async () => {
    const crashes = lines().filter((line) => crash.test(line) || (!mayBreakOff && uncaught.test(line)));
    await harness.close();
    if (!mayCrash) assert.deepEqual(crashes, [], "a request crashed the Worker");
  });
  return {
    get url() {
      return url;
    },
    /** The address of the Worker itself: what it receives and sends goes over the wire byte for byte, whatever the encoding. */
    get direct() {
      return direct;
    },
    /** The process id of the workerd that runs the Worker. */
    get pid() {
      return workerd.pid;
    },
    /** The real bindings, to seed and to look at what the Worker wrote. */
    get env() {
      return env;
    },
    /**
     * Evicts a key's object from memory; it is made again from its storage when it is needed. Fails where the object is still
     * busy after half a minute, and blocks this process meanwhile: let no request be under way.
     */
    evict: (key) => harness.getWorker().evictDurableObject("KEY_WRITER", { name: key }),
    /** Kills workerd, in the midst of whatever it does, and starts it again on the same storage. */
    async kill() {
      // miniflare sees that its process is gone and starts another.
      const exit = once(workerd, "exit");
      workerd.kill("SIGKILL");
      await exit;
      await setImmediate();
      url = await miniflare.ready;
      direct = await miniflare.unsafeGetDirectURL();
      workerd = runtime;
      env = await harness.getWorker().getEnv();
    },
    /** Every line of the log. */
    lines,
    /** The lines that the Worker logged as JSON objects, parsed. */
    log: () => harness.getLogs().flatMap(({ level, message }) => asRecord(level, message)),
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

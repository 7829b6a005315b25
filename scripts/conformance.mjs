// `npm run conformance`: runs the public suite of HTTP cache tests (https://cache-tests.fyi)
// against /cache of the built Worker, or against another cache.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { devNull } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "./build.mjs";
import { Failure, main, ROOT, run, start } from "./run.mjs";
import { nodeEnvironment } from "./setup.mjs";

const SUITE = "http-cache-tests";
const VERSION = "0.4.5"; // the only edition on npm
const HOME = join(ROOT, ".tools", SUITE);
const PACKAGE = join(HOME, "node_modules", SUITE);

const IGNORED_AGE = "This edition wants it stale; RFC 9111 §5.1 has an invalid Age ignored, as later editions of the suite do.";
const FIRST_AGE = "This edition wants it stale; RFC 9111 §5.1 has the first of several Age values count, as later editions of the suite do.";
const NO_METHOD = "workerd responds to the method M-SEARCH with 501 before a Worker sees the request.";

/**
 * Required tests that kv-edge fails, with the reason. Any other required test that fails sets exit
 * code 1.
 */
const KNOWN = {
  "age-parse-nonnumeric": IGNORED_AGE,
  "age-parse-negative": IGNORED_AGE,
  "age-parse-float": IGNORED_AGE,
  "age-parse-parameter": IGNORED_AGE,
  "age-parse-numeric-parameter": IGNORED_AGE,
  "age-parse-prefix-twoline": FIRST_AGE,
  "age-parse-dup-0": FIRST_AGE,
  "age-parse-dup-0-twoline": FIRST_AGE,
  "age-parse-dup-old": FIRST_AGE,
  "invalidate-M-SEARCH": NO_METHOD,
  "invalidate-M-SEARCH-cl": NO_METHOD,
  "headers-store-Set-Cookie":
    "With max-age alone a cookie goes to the client that asked, and to nobody else: it may be that client's session. CDN-Cache-Control, s-maxage or public shares it.",
  "304-etag-update-response-ETag":
    "A 304 with another strong ETag than the stored response's updates nothing (RFC 9111 §4.3.4), so the upstream is asked again.",
  "304-etag-update-response-Set-Cookie": "A cookie of a 304 goes to the client that asked, and to nobody else; later editions of the suite do not require it.",
};

const HELP = `npm run conformance [-- options]

Runs the public suite of HTTP cache tests (${SUITE} ${VERSION}, installed once into .tools/) against /cache of the built Worker.
Exit code 1: a required test fails that is not a known exception.

  --id ID      this test only, with its requests and responses
  --all        a line for every test, not only for those that fail
  --json FILE  writes every result to FILE as well
  --base URL   a cache that is already up, in place of the Worker; {origin} in it stands for the suite's server, as in
               http://localhost:8787/cache/{origin}
  --port N     the port of the suite's server on 127.0.0.1, for a cache that forwards to a fixed one (any free port)
  --help       this text`;

/** The kinds of tests, and their results by the symbols of the suite's lib/display.mjs. */
const KINDS = ["required", "optimal", "check"];
const RESULTS = {
  "✅": "pass",
  "⛔️": "fail",
  "⚠️": "fail",
  Y: "yes",
  N: "no",
  "🔹": "setup",
  "↻": "retry",
  "⚪️": "skipped",
};
const EXPLAINED = { setup: "its preparation failed: ", retry: "a request was repeated: " };
const FAILED = ["fail", "setup", "retry"];

/** Binds the suite's server to 127.0.0.1; by default it listens on all interfaces. */
const LOOPBACK = `data:text/javascript,${encodeURIComponent(
  'import { Server } from "node:net"; const { listen } = Server.prototype; Server.prototype.listen = function (port) { return listen.call(this, Number(port), "127.0.0.1"); };',
)}`;

await main(async () => {
  const options = parseOptions();
  if (options.help) return console.log(HELP);
  const env = nodeEnvironment();
  await installSuite(env);
  if (!options.base) await build({ quick: false });

  const [{ default: suites }, client, display] = await Promise.all(["tests/index.mjs", "client/runner.mjs", "lib/display.mjs"].map(load));
  const selected = select(suites, options.id);
  const server = await startServer(options, env);
  const worker = options.base ? undefined : await startWorker(server.origin, options);
  const base = (options.base ?? `${worker.directUrl}cache/{origin}`).replace("{origin}", server.origin);
  const started = Date.now();
  try {
    await requireResponse(base);
    const counted = number(selected.flatMap(({ tests }) => tests).length);
    console.log(`Running ${counted} against ${base}${options.id ? "" : " (half a minute: many wait until a response is stale)"}`);
    await client.runTests(selected, fetchOfSuite(), false, base);
  } finally {
    server.stop();
    await worker?.stop();
  }
  const seconds = (Date.now() - started) / 1000;

  const tests = assess(suites, selected, client.getResults(), display, { base, id: options.id });
  const totals = Object.fromEntries(KINDS.map((kind) => [kind, tally(tests.filter((test) => test.kind === kind))]));
  if (options.json) writeFileSync(options.json, `${JSON.stringify({ suite: SUITE, version: VERSION, base, seconds, totals, tests }, null, 2)}\n`);
  const unexpected = report(tests, totals, options);
  console.log(`\n${number(tests.length)} in ${seconds.toFixed(0)} s; required ones that fail unexpectedly: ${unexpected}`);
  if (unexpected > 0) process.exitCode = 1;
});

function parseOptions() {
  const text = { type: "string" };
  const is = { type: "boolean" };
  let values;
  try {
    ({ values } = parseArgs({ options: { id: text, all: is, json: text, base: text, port: text, help: { ...is, short: "h" } } }));
  } catch (error) {
    throw new Failure(`${error.message}\n\n${HELP}`);
  }
  const port = Number(values.port ?? 0);
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new Failure(`--port takes a number from 0 to 65535, not "${values.port}".`);
  if (values.base !== undefined && !URL.canParse(values.base)) throw new Failure(`--base takes a URL, not "${values.base}".`);
  return { ...values, base: values.base?.replace(/\/$/, ""), port };
}

/**
 * Installs the suite into .tools/. It is not in devDependencies, because it depends on an npm that
 * would hide the real one.
 */
async function installSuite(env) {
  const manifest = join(PACKAGE, "package.json");
  if (existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version === VERSION) return;
  console.log(`Installing ${SUITE} ${VERSION} into .tools/ (once, a few seconds)`);
  const args = ["install", `${SUITE}@${VERSION}`, "--prefix", HOME, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  await run("npm", args, { doing: `installing ${SUITE} ${VERSION}`, env });
}

function load(path) {
  return import(pathToFileURL(join(PACKAGE, path)).href);
}

/**
 * Returns the HTTP client that the suite is written for, with a timeout, so that no test holds up
 * the others.
 */
function fetchOfSuite() {
  const fetch = createRequire(join(PACKAGE, "package.json"))("node-fetch");
  return (url, init) => fetch(url, { timeout: 20_000, ...init });
}

/**
 * Returns the suites with the tests that concern caches other than a browser's, or with the one
 * requested test.
 */
function select(suites, id) {
  const wanted = (test) => (id ? test.id === id : !test.browser_only);
  const selected = suites.map((suite) => ({ ...suite, tests: suite.tests.filter(wanted) })).filter(({ tests }) => tests.length > 0);
  if (selected.length === 0) throw new Failure(`The suite has no test "${id}".`);
  if (id) selected[0].tests[0].dump = true;
  return selected;
}

async function requireResponse(base) {
  const response = await fetch(`${base}/index.html`, { signal: AbortSignal.timeout(20_000) }).catch((error) => error);
  if (response instanceof Error) throw new Failure(`Nothing responds at ${base} (${response.cause?.code ?? response.message}).`);
  await response.arrayBuffer();
}

async function startServer({ port, id }, env) {
  const child = start("node", ["--import", LOOPBACK, join(PACKAGE, "server", "server.mjs")], {
    cwd: PACKAGE,
    env: { ...env, npm_config_protocol: "http", npm_config_port: String(port), npm_config_pidfile: devNull },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (chunk) => (errors = (errors + chunk).slice(-2000)));
  const origin = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const address = /^Listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(line)?.[1];
      if (address) resolve(address);
      else if (id) console.log(line);
    });
    child.once("error", reject);
    child.once("close", () =>
      reject(
        new Failure(errors.includes("EADDRINUSE") ? `Port ${port} is occupied: choose another with --port.` : `The suite's server did not start.\n${errors}`),
      ),
    );
  });
  return { origin, stop: () => child.kill() };
}

/**
 * Starts the Worker. Imports miniflare late, once `npm install` is known to be done. The suite
 * uses the Worker's own socket, since miniflare's Worker in front would be tested too.
 */
async function startWorker(origin, { id }) {
  const { startLocalWorker } = await import("./local-worker.mjs");
  const onLog = id ? ({ message }) => console.log(message) : undefined;
  return startLocalWorker({ vars: (ofWrangler) => ({ ...ofWrangler, CACHE_UPSTREAMS: origin }), onLog });
}

/** Returns the result of each test. */
function assess(suites, selected, results, display, { base, id }) {
  return selected.flatMap((suite) =>
    suite.tests.map((test) => {
      const [, , sign] = display.determineTestResult(suites, test.id, results, !id);
      const found = results[test.id];
      const kind = test.kind ?? "required";
      return {
        id: test.id,
        suite: suite.name,
        name: test.name,
        kind,
        result: RESULTS[sign] ?? "fail",
        message: Array.isArray(found) ? found[1].replaceAll(base, "") : undefined,
        known: kind === "required" ? KNOWN[test.id] : undefined,
      };
    }),
  );
}

function tally(tests) {
  const counts = {};
  for (const { result } of tests) counts[result] = (counts[result] ?? 0) + 1;
  return counts;
}

/** Prints the results, and returns how many required tests fail unexpectedly. */
function report(tests, totals, { all, id }) {
  if (all || id) {
    for (const name of new Set(tests.map(({ suite }) => suite))) {
      console.log(`\n${name}`);
      for (const test of tests.filter(({ suite }) => suite === name)) console.log(`  ${test.result.padEnd(7)}  ${test.kind.padEnd(8)}  ${line(test)}`);
    }
  }
  const failing = tests.filter(({ kind, result }) => kind !== "check" && FAILED.includes(result));
  const required = failing.filter(({ kind }) => kind === "required");
  const unexpected = required.filter(({ known }) => !known);
  if (!id) {
    list("Required tests that fail", unexpected, line);
    list(
      "Known exceptions",
      required.filter(({ known }) => known),
      ({ id: name, known }) => `${name}: ${known}`,
    );
    list(
      "Optimal tests that fail",
      failing.filter(({ kind }) => kind === "optimal"),
      line,
    );
    list(
      "Known exceptions that pass now: take them out of scripts/conformance.mjs",
      tests.filter(({ known, result }) => known && result === "pass"),
      line,
    );
    console.log(`\n${"".padEnd(8)}${["pass", "fail", "setup", "retry", "skipped"].map((name) => name.padStart(9)).join("")}`);
    for (const kind of ["required", "optimal"]) {
      console.log(kind.padEnd(8) + ["pass", "fail", "setup", "retry", "skipped"].map((result) => String(totals[kind][result] ?? 0).padStart(9)).join(""));
    }
    const { yes = 0, no = 0, ...rest } = totals.check;
    console.log(`check   ${yes} yes, ${no} no, ${Object.values(rest).reduce((sum, found) => sum + found, 0)} without a response`);
    console.log("\nsetup: what the test builds on did not happen; skipped: a test it depends on failed.");
  }
  return unexpected.length;
}

function number(tests) {
  return tests === 1 ? "1 test" : `${tests} tests`;
}

function line({ id, name, result, message }) {
  const passed = result === "pass" || result === "yes" || result === "skipped";
  return `${id}: ${name}${message && !passed ? ` — ${EXPLAINED[result] ?? ""}${message}` : ""}`;
}

function list(title, tests, text) {
  if (tests.length === 0) return;
  console.log(`\n${title} (${tests.length})`);
  for (const test of tests) console.log(`  ${text(test)}`);
}

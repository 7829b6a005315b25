// `npm test`: formatting, lints, documentation, and all tests: unit, fuzz, integration (the built
// Worker) and browser. Stages run in parallel, as `ROWS` shows. The first stage that fails ends
// the run.
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { freemem } from "node:os";
import { join } from "node:path";
import { allFeatures, build } from "./build.mjs";
import { buildTool } from "./cli.mjs";
import { lintText } from "./lint-text.mjs";
import { Failure, holdOutput, main, outputOf, ROOT, run, show } from "./run.mjs";
import { findChromium, setUp, WASM_TARGET } from "./setup.mjs";

/** The crates that are Workers: kv-edge, and the one of `npm run bench:minimal`. */
const WORKERS = ["kv-edge", "minimal-worker"];

const STAGES = {
  fmt: { about: "formatting (cargo fmt --check)", component: "rustfmt", cargo: ["fmt", "--all", "--check"] },
  "lint-text": { about: "lints, length of comments and prose, names of types, import cycles", run: lintText },
  "lint-js": { about: "lints, JavaScript (biome ci)", run: lintJavaScript },
  clippy: {
    about: "lints of all but the Workers, native (cargo clippy)",
    component: "clippy",
    cargo: ["clippy", "--workspace", ...WORKERS.flatMap((crate) => ["--exclude", crate]), "--all-targets", "--", "-D", "warnings"],
  },
  "clippy-wasm": {
    about: "lints of the Workers and the crates they use, wasm (cargo clippy)",
    component: "clippy",
    cargo: ["clippy", ...WORKERS.flatMap((crate) => ["--package", crate]), "--all-targets", "--target", WASM_TARGET, "--", "-D", "warnings"],
  },
  features: { about: "lints of each feature alone, and of none (cargo clippy)", run: lintFeatures },
  doc: { about: "documentation, warnings as errors (cargo doc)", run: doc },
  unit: { about: "unit tests (cargo test)", cargo: ["test", "--workspace"] },
  build: { about: "the Worker and the tool", run: buildAll },
  integration: { about: "integration tests (node --test)", needsBuild: true, takesWords: true, run: integration },
  postgres: { about: "unit tests on a PostgreSQL (cargo test -- --ignored)", run: withPostgres },
  fuzz: { about: "20 seconds of random requests and records (cargo test --test fuzz_routing)", run: fuzz },
  docs: {
    about: "links and examples of the documentation (node --test)",
    needsBuild: true,
    takesWords: true,
    run: documentation,
  },
  browser: { about: "tests in headless Chromium (node --test)", needsBuild: true, takesWords: true, run: inBrowser },
};

/**
 * The rows run in parallel, the stages of a row in turn. A stage that needs the build waits for
 * it. The output of the first row is shown as it comes, that of another stage when the stage ends.
 */
const ROWS = [
  ["build", "integration"],
  ["fmt", "lint-text", "lint-js", "clippy", "clippy-wasm", "features", "doc", "unit", "postgres", "fuzz", "docs"],
  ["browser"],
];

const HELP = `npm test [-- --only STAGE[,STAGE…] [WORD…]]

Stages: ${Object.keys(STAGES).join(", ")}. Without --only, all of them. Three rows of stages run in parallel: the build and \`integration\`; lints, unit tests and \`docs\`; \`browser\`. The output of the second and third row appears when a stage ends.
\`integration\`, \`docs\` and \`browser\` run the build before them, and take words: they run only files whose names contain all of them: npm test -- --only integration http-cache purge`;

const NO_CHROMIUM =
  "No Chromium was found on PATH: install one (Debian: `apt-get install chromium-headless-shell`; elsewhere Chromium or Google Chrome), or set CHROMIUM_BIN to the path of one.";

/** The free memory that the temporary files of the tests need, with plenty to spare, in bytes. */
const TEMPORARY_BYTES = 8 * 1024 ** 3;

await main(async () => {
  const [flag, list, ...words] = process.argv.slice(2);
  if (flag === "--help" || flag === "-h") return console.log(HELP);
  if (flag !== undefined && (flag !== "--only" || !list)) throw new Failure(`Unknown argument ${flag}.\n\n${HELP}`);
  const selected = list ? list.split(",") : Object.keys(STAGES);
  for (const name of selected) if (!STAGES[name]) throw new Failure(`No stage is called "${name}".\n\n${HELP}`);
  const wordless = selected.find((name) => !STAGES[name].takesWords);
  if (words.length > 0 && wordless) throw new Failure(`The stage ${wordless} takes no words such as "${words[0]}".\n\n${HELP}`);

  const env = await setUp();
  if (selected.includes("browser")) {
    env.CHROMIUM_BIN = findChromium();
    // Now, not after everything else has passed.
    if (list && !env.CHROMIUM_BIN) throw new Failure(NO_CHROMIUM);
  }
  const isNeeded = (name) => selected.includes(name) || (name === "build" && selected.some((other) => STAGES[other].needsBuild));
  const names = Object.keys(STAGES).filter(isNeeded);
  const skipped = names.filter((name) => name === "browser" && !env.CHROMIUM_BIN);
  const running = names.filter((name) => !skipped.includes(name));
  const [first, ...others] = ROWS.map((row) => row.filter((name) => running.includes(name))).filter((row) => row.length > 0);
  let markBuilt;
  const built = new Promise((resolve) => (markBuilt = resolve));
  const inTurn = async (row, runIt) => {
    for (const name of row) {
      if (STAGES[name].needsBuild) await built;
      await runIt(() => runStage(name, env, words));
      if (name === "build") markBuilt();
    }
  };
  await Promise.all([inTurn(first, (stage) => stage()), ...others.map((row) => inTurn(row, holdOutput))]);
  for (const name of skipped) console.log(`\n── ${name} SKIPPED. ${NO_CHROMIUM}`);
  console.log(`\nkv-edge: ${list ? names.join(", ") : "everything"} passed${skipped.length > 0 ? `, but ${skipped.join(", ")} did not run` : ""}.`);
});

async function runStage(name, env, words) {
  const stage = STAGES[name];
  show(`\n── ${name}: ${stage.about}`);
  const started = Date.now();
  if (stage.cargo) await cargo(stage, env);
  else await stage.run(env, words);
  show(`── ${name} passed in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

async function cargo({ about, component, cargo: args }, env) {
  if (component && outputOf("cargo", [args[0], "--version"]) === undefined) {
    await run("rustup", ["component", "add", component], { doing: `adding ${component} (rustup component add ${component})` });
  }
  await run("cargo", args, { doing: about, env });
}

/** Checks the format too. Biome writes colours even into pipes. */
function lintJavaScript(env) {
  const args = ["ci", "--error-on-warnings", ...(process.stdout.isTTY ? [] : ["--colors=off"])];
  return run("biome", args, { doing: STAGES["lint-js"].about, env, stdio: ["ignore", "inherit", "inherit"] });
}

/** Builds the Worker, and the tool, with which tests push files. */
async function buildAll(env) {
  await build({ quick: false });
  env.KV_EDGE_CLI = await buildTool(env, { forTests: true });
}

/**
 * Lints each feature of Cargo.toml alone: code that several jobs share may contain nothing that
 * only an absent job uses.
 */
async function lintFeatures(env) {
  for (const features of [...(await allFeatures()), ""]) {
    console.log(`cargo clippy --no-default-features --features "${features}"`);
    const args = ["clippy", "--quiet", "--package", "kv-edge", "--lib", "--no-default-features", "--features", features];
    await run("cargo", [...args, "--target", WASM_TARGET, "--", "-D", "warnings"], { doing: STAGES.features.about, env });
  }
}

/**
 * Documents the crates, the tool, which is left out unless it is named, and the Worker for
 * WebAssembly, where clippy has compiled its packages.
 */
async function doc(env) {
  const options = { doing: STAGES.doc.about, env: { ...env, RUSTDOCFLAGS: "-D warnings" } };
  const workers = WORKERS.flatMap((crate) => ["--exclude", crate]);
  await run("cargo", ["doc", "--workspace", ...workers, "--lib", "--bin", "kv-edge", "--no-deps"], options);
  await run("cargo", ["doc", "--package", "kv-edge", "--no-deps", "--target", WASM_TARGET], options);
}

/**
 * Runs batches with fresh seeds for 20 seconds, or for KV_EDGE_FUZZ_SECONDS. The loop is here,
 * because the crate may not read a clock.
 */
async function fuzz(env) {
  const seconds = Number(process.env.KV_EDGE_FUZZ_SECONDS ?? 20);
  if (!(seconds >= 0)) throw new Failure(`KV_EDGE_FUZZ_SECONDS takes a number of seconds, not "${process.env.KV_EDGE_FUZZ_SECONDS}".`);
  const args = ["test", "--quiet", "--workspace", "--test", "fuzz_routing"];
  await run("cargo", [...args, "--no-run"], { doing: STAGES.fuzz.about, env });
  const started = Date.now();
  do {
    await run("cargo", [...args, "--", "--nocapture"], { doing: STAGES.fuzz.about, env: { ...env, KV_EDGE_FUZZ_BATCHES: "10" } });
  } while (Date.now() - started < seconds * 1000);
}

/** Runs the tool's tests that need a database, one after the other, on a database of their own. */
async function withPostgres(env) {
  // Imported late, when its packages are known to be installed.
  const { startPostgres } = await import("../tests/harness/postgres.mjs");
  const database = await startPostgres();
  try {
    // A test target beside the program: without one, cargo resolves other features of the packages
    // than for the unit tests, and compiles them once more.
    const args = ["test", "--workspace", "--bin", "kv-edge", "--test", "help", "config::source", "--", "--ignored", "--test-threads=1"];
    await run("cargo", args, { doing: STAGES.postgres.about, env: { ...env, TEST_DATABASE_URL: database.url() } });
  } finally {
    await database.stop();
  }
}

/**
 * Runs five files at a time, since many of them mostly wait. The time limit, far above the slowest
 * file on a slow machine, fails a test that never ends.
 */
function integration(env, words) {
  return nodeTests("tests", words, STAGES.integration.about, ["--test-timeout=900000", "--test-concurrency=5"], env);
}

/** Runs one file at a time: the examples of all pages share one `npm start`, in their order. */
function documentation(env, words) {
  return nodeTests("tests/docs", words, STAGES.docs.about, ["--test-timeout=600000", "--test-concurrency=1"], env);
}

/** Runs one file at a time, since film.test.mjs keeps the browser busy. */
function inBrowser(env, words) {
  return nodeTests("tests/browser", words, STAGES.browser.about, ["--test-timeout=600000", "--test-concurrency=1"], env);
}

/** Runs the test files of a folder whose names contain all these words. */
async function nodeTests(folder, words, doing, flags, env) {
  const names = existsSync(join(ROOT, folder))
    ? readdirSync(join(ROOT, folder))
        .filter((name) => name.endsWith(".test.mjs"))
        .sort()
    : [];
  const files = names.filter((name) => words.every((word) => name.includes(word)));
  if (files.length === 0) throw new Failure(`No test fits: ${folder}/ has ${names.join(", ") || "no *.test.mjs"}.`);
  await run("node", ["--test", ...flags, ...files.map((name) => join(folder, name))], {
    doing,
    // Each file runs in its own process, which loads miniflare: reuse what Node has compiled.
    env: { ...env, NODE_COMPILE_CACHE: join(ROOT, "node_modules", ".cache", "compiled"), ...temporaryFiles() },
    stdio: ["ignore", "inherit", "inherit"],
  });
}

/**
 * Returns the variable that puts the temporary files of tests into memory, if the machine has
 * enough. The local KV makes and deletes thousands of small files: on a disk, the search for free
 * inodes takes a fifth of the tests' CPU time. A `TMPDIR` of the user's is not changed.
 */
function temporaryFiles() {
  const memory = "/dev/shm";
  if (process.env.TMPDIR || !existsSync(memory)) return {};
  const mount = readFileSync("/proc/mounts", "utf8").match(/^\S+ \/dev\/shm \S+ (\S+)/m);
  // Tests run programs that they have written there.
  const isUsable = mount !== null && !mount[1].split(",").includes("noexec");
  const { bavail, bsize } = statfsSync(memory);
  if (!isUsable || Math.min(bavail * bsize, freemem()) < TEMPORARY_BYTES) return {};
  const folder = mkdtempSync(join(memory, "kv-edge-tests-"));
  // PostgreSQL runs as another user, whose folder is below this one.
  chmodSync(folder, 0o711);
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return { TMPDIR: folder };
}

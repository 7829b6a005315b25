// Builds the Worker and the page of its console into build/ with cargo, wasm-bindgen, wasm-opt and
// esbuild. It is also wrangler's [build] command, so it runs at each change under `wrangler dev`
// and before a deploy.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { buildConsole } from "./console.mjs";
import { cargoProgress, Failure, main, outputOf, ROOT, run, show, targetFolder } from "./run.mjs";
import { setUp, WASM_TARGET } from "./setup.mjs";
import { readToml } from "./toml.mjs";

const HELP = `npm run build [-- --features NAME[,NAME…]]

  npm run build                                  builds the Worker with all jobs into build/
  npm run build -- --features cache,assets       with these jobs alone

Features: `;

const INPUTS = [
  "src",
  "crates",
  "Cargo.toml",
  "Cargo.lock",
  ".cargo",
  "rust-toolchain.toml",
  "console",
  "package-lock.json",
  "scripts/build.mjs",
  "scripts/console.mjs",
  "scripts/setup.mjs",
  "scripts/wasm-bindings",
];
const WASM = "index_bg.wasm";
const OUTPUTS = ["entry.js", WASM];
/** What workerd supports and rustc or wasm-bindgen use. A newer wasm-opt must not use more. */
const WASM_FEATURES = ["mutable-globals", "sign-ext", "nontrapping-float-to-int", "bulk-memory", "multivalue", "reference-types", "exception-handling"];
const STAMP = ".inputs";

/** Returns the default features of Cargo.toml: the jobs, not the parts that several jobs share. */
export async function allFeatures() {
  const { features } = await readToml("Cargo.toml");
  return features.default;
}

/**
 * Builds the Worker with these features, all if none are named, into the folder `out` of the
 * project, unless what is there is up to date. `quick` compiles faster and optimizes less: right
 * for local serving, never for a deploy or a measurement.
 */
export async function build({ quick, features, out = "build" }) {
  features ??= await allFeatures();
  const names = features.toSorted().join(",");
  const inputs = fingerprint();
  // wrangler neither serves nor deploys if the folder of the console is missing.
  mkdirSync(join(ROOT, out, "console"), { recursive: true });
  const stamps = (quick ? ["quick", "full"] : ["full"]).map((kind) => `${kind} ${names} ${inputs}`);
  if (stamps.includes(stamp(out)) && isBuilt(out)) {
    show("The build is up to date");
    return;
  }
  const env = await setUp();
  const first = !existsSync(join(targetFolder(env), WASM_TARGET, quick ? "quick" : "release"));
  const what = features.length === (await allFeatures()).length ? "" : ` with ${names} alone`;
  show(`Building the Worker${what}${first ? " (the first time about a minute)" : ""}`);
  const started = Date.now();
  mkdirSync(join(ROOT, out), { recursive: true });
  writeFileSync(join(ROOT, out, STAMP), `unfinished ${names}`);
  const profile = quick ? "quick" : "release";
  // A folder of its own: two `npm start` may build at once.
  const staging = mkdtempSync(join(ROOT, out, "staging-"));
  try {
    await makeModules({ crate: "kv-edge", features: names, profile, entry: "src/platform/entry.mjs", out: staging }, env);
    if (features.includes("console")) await buildConsole(out);
    // The last step, so that a build that fails leaves the previous Worker whole.
    for (const name of OUTPUTS) renameSync(join(staging, name), join(ROOT, out, name));
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  writeFileSync(join(ROOT, out, STAMP), stamps[0]);
  show(`Built in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

/**
 * Makes the modules of a Worker in the folder `out`, an absolute path: `entry.js`, and the
 * WebAssembly of the crate, with these features and one of Cargo.toml's profiles. With `quick`,
 * wasm-opt is left out. `entry` is the module that workerd is to load, as a path in the project.
 * `env` is what `setUp` returns.
 */
export async function makeModules({ crate, features, profile, entry, out }, env) {
  await Promise.all([compile(crate, profile, features, env), buildBindingsTool(env)]);
  const compiled = join(targetFolder(env), WASM_TARGET, profile, `${crate.replaceAll("-", "_")}.wasm`);
  await run(bindingsTool(env), [compiled, out], { doing: "making the bindings (wasm-bindgen)", env });
  if (profile !== "quick") await optimize(join(out, WASM), env);
  await bundle(entry, out, env);
}

function compile(crate, profile, features, env) {
  const args = ["build", "--lib", "--package", crate, "--profile", profile, "--target", WASM_TARGET, "--no-default-features", "--features", features];
  // The macros of `worker` then use the executor of js-sys, on which `src/platform/executor.rs`
  // relies.
  return run("cargo", args, { doing: "compiling the Worker", env: { ...env, ...cargoProgress, RUST_BACKTRACE: "0", WASM_BINDGEN_USE_JS_SYS: "1" } });
}

/** Compiles scripts/wasm-bindings for this machine, without the settings of the Worker. */
function buildBindingsTool(env) {
  const { CARGO_BUILD_TARGET, RUSTFLAGS, ...envOfHost } = env;
  const args = ["build", "--package", "wasm-bindings", ...(existsSync(bindingsTool(env)) ? ["--quiet"] : [])];
  return run("cargo", args, { doing: "compiling wasm-bindings", env: { ...envOfHost, ...cargoProgress } });
}

const bindingsTool = (env) => join(targetFolder(env), "debug", "wasm-bindings");

/**
 * Makes the wasm smaller. Function names go, too: they are a tenth of the upload, and nothing
 * reads them, since a panic has its file and line.
 */
async function optimize(wasm, env) {
  const args = ["-O", ...WASM_FEATURES.map((feature) => `--enable-${feature}`), "--strip-debug", "--strip-producers", wasm, "-o", wasm];
  await run(env.WASM_OPT_BIN, args, { doing: "optimizing the wasm (wasm-opt)", env });
}

/** Bundles the entry, the bindings and the glue into one module beside the wasm. */
async function bundle(entry, out, env) {
  const bindings = join(out, "index.js");
  // In workerd a plain `import` of a wasm file gives its module, and `import source` is unknown.
  writeFileSync(bindings, readFileSync(bindings, "utf8").replace("import source ", "import "));
  const args = [
    entry,
    `--alias:kv-edge-bindings=${bindings}`,
    "--bundle",
    "--format=esm",
    "--minify",
    `--external:./${WASM}`,
    "--external:cloudflare:*",
    `--outfile=${join(out, "entry.js")}`,
    "--log-level=warning",
  ];
  await run(env.ESBUILD_BIN, args, { doing: "bundling the entry (esbuild)", env });
}

function isBuilt(out) {
  return OUTPUTS.every((name) => existsSync(join(ROOT, out, name)));
}

/**
 * Returns what was built last: kind, features, and the hash of the sources, or `unfinished` and
 * the features. An empty text if nothing was.
 */
function stamp(out) {
  const path = join(ROOT, out, STAMP);
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

/** Returns a hash of the sources, the compiler's version and RUSTFLAGS. */
function fingerprint() {
  const hash = createHash("sha256");
  hash.update(`${outputOf("rustc", ["--version"])}\n${process.env.RUSTFLAGS ?? ""}\n`);
  for (const input of INPUTS) addTo(hash, input);
  return hash.digest("hex");
}

function addTo(hash, path) {
  const full = join(ROOT, path);
  if (!existsSync(full)) return;
  let names;
  try {
    names = readdirSync(full).sort();
  } catch {
    hash.update(`${path}\0`).update(createHash("sha256").update(readFileSync(full)).digest());
    return;
  }
  for (const name of names) addTo(hash, `${path}/${name}`);
}

/** Returns the features that options such as `cache,assets` name, or all without an option. */
export async function parseFeatures(options = []) {
  const all = await allFeatures();
  const names = options.flatMap((option) => option.split(",")).map((name) => name.trim());
  const unknown = names.find((name) => !all.includes(name));
  if (unknown !== undefined) throw new Failure(`There is no feature "${unknown}". There are: ${all.join(", ")}.`);
  return names.length > 0 ? [...new Set(names)] : all;
}

/**
 * Returns the features of the existing build, or all if there is none. wrangler names no features,
 * and has to serve and deploy what was built.
 */
export async function builtFeatures(out = "build") {
  const [, names] = stamp(out).split(" ");
  const all = await allFeatures();
  const built = names?.split(",") ?? [];
  return built.length > 0 && built.every((name) => all.includes(name)) ? built : all;
}

/**
 * Runs as a script. `wrangler dev` holds back every request after its build command has failed, so
 * if there is a previous build, it stays, and the script prints the failure but succeeds.
 */
async function script() {
  let options;
  try {
    ({ values: options } = parseArgs({ options: { features: { type: "string", multiple: true }, help: { type: "boolean", short: "h" } } }));
  } catch (error) {
    throw new Failure(`${error.message}\n\n${HELP}${(await allFeatures()).join(", ")}`);
  }
  if (options.help) return show(HELP + (await allFeatures()).join(", "));
  const byWrangler = process.env.WRANGLER_COMMAND;
  const features = byWrangler && !options.features ? await builtFeatures() : await parseFeatures(options.features);
  const local = byWrangler === "dev";
  try {
    await build({ quick: local, features });
  } catch (error) {
    if (!local || !isBuilt("build") || !(error instanceof Failure)) throw error;
    console.error(`kv-edge: ${error.message} The previous build keeps serving.`);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main(script);

// Builds the Worker into build/: cargo for wasm, wasm-bindgen, wasm-opt and esbuild, driven by worker-build.
// Also wrangler's [build] command, so it runs at each change under `wrangler dev` and before a deploy.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT, Failure, ask, cargoProgress, main, run } from "./run.mjs";
import { setUp } from "./setup.mjs";

const INPUTS = ["src", "crates", "Cargo.toml", "Cargo.lock", ".cargo", "rust-toolchain.toml", "package-lock.json", "scripts/build.mjs", "scripts/setup.mjs"];
const OUTPUTS = ["build/entry.js", "build/index_bg.wasm"];
const STAMP = join(ROOT, "build", ".inputs");

/** `quick` leaves out wasm-opt, most of the time of a rebuild: right for local serving, never for a deploy or a measurement. */
export async function build({ quick }) {
  const inputs = fingerprint();
  const stamps = quick ? [`quick ${inputs}`, `full ${inputs}`] : [`full ${inputs}`];
  if (existsSync(STAMP) && stamps.includes(readFileSync(STAMP, "utf8")) && built()) {
    console.log("The build is up to date");
    return;
  }
  const env = await setUp();
  const first = !existsSync(join(ROOT, "target", "wasm32-unknown-unknown", "release"));
  console.log(first ? "Building the Worker (the first time about a minute)" : "Building the Worker");
  const started = Date.now();
  rmSync(STAMP, { force: true });
  await run(env.WORKER_BUILD_BIN, ["--release", ...(quick ? ["--no-opt"] : [])], {
    doing: "the build",
    env: { ...env, ...cargoProgress, RUST_BACKTRACE: "0" },
  });
  // The names of functions are a tenth of the upload, and nothing reads them: a panic tells its file and line by itself.
  if (!quick)
    await run(env.WASM_OPT_BIN, ["--strip-debug", "--strip-producers", "build/index_bg.wasm", "-o", "build/index_bg.wasm"], {
      doing: "stripping the wasm",
      env,
    });
  // The entry and what worker-build made become one module beside the wasm.
  const bundle = [
    "src/platform/entry.mjs",
    "--bundle",
    "--format=esm",
    "--minify",
    "--external:./index_bg.wasm",
    "--external:cloudflare:workers",
    "--outfile=build/entry.js",
  ];
  await run(env.ESBUILD_BIN, [...bundle, "--log-level=warning"], { doing: "bundling the entry", env });
  writeFileSync(STAMP, stamps[0]);
  console.log(`Built in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

function built() {
  return OUTPUTS.every((path) => existsSync(join(ROOT, path)));
}

/** A hash over everything the build's output depends on. */
function fingerprint() {
  const hash = createHash("sha256");
  hash.update(`${ask("rustc", ["--version"])}\n${process.env.RUSTFLAGS ?? ""}\n`);
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
    hash.update(`${path}\0`).update(createHash("sha256").update(readFileSync(full)).digest()); // a file
    return;
  }
  for (const name of names) addTo(hash, `${path}/${name}`);
}

/** As a script. `wrangler dev` holds back every request after its build command failed, so it keeps the build before. */
async function script() {
  const local = process.env.WRANGLER_COMMAND === "dev";
  try {
    await build({ quick: local });
  } catch (error) {
    if (!local || !built() || !(error instanceof Failure)) throw error;
    console.error(`kv-edge: ${error.message} The Worker as it was built before goes on serving.`);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main(script);

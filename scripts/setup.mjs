// Finds the tools that a build needs in their exact versions, and installs those that are missing.
import { accessSync, constants, existsSync, readFileSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";
import { cargoProgress, Failure, outputOf, ROOT, run } from "./run.mjs";

const WORKER_BUILD = "0.8.7";
const WASM_TARGET = "wasm32-unknown-unknown";
const BIN = join(ROOT, "node_modules", ".bin");
const TOOLS = join(ROOT, ".tools");

/** Installs what is missing, and returns the environment for worker-build, wrangler and cargo. */
export async function setUp() {
  const env = nodeEnvironment();
  checkRust();
  await addWasmTarget();
  const workerBuild = await installTool("worker-build", "worker-build", WORKER_BUILD, "3 minutes");
  const wasmBindgen = await installTool("wasm-bindgen", "wasm-bindgen-cli", lockedVersion("wasm-bindgen"), "2 minutes");
  rmSync(join(TOOLS, "target"), { recursive: true, force: true });
  return {
    ...env,
    WORKER_BUILD_BIN: workerBuild,
    WASM_BINDGEN_BIN: wasmBindgen,
    WASM_OPT_BIN: join(BIN, "wasm-opt"),
    ESBUILD_BIN: join(BIN, "esbuild"),
  };
}

/** Checks the npm packages, and returns an environment whose `node` is new enough for wrangler. */
export function nodeEnvironment() {
  const wanted = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).devDependencies;
  for (const [name, version] of Object.entries(wanted)) {
    const manifest = join(ROOT, "node_modules", name, "package.json");
    const found = existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version;
    if (!found) throw new Failure(`The npm package ${name} is missing: run \`npm install\` first.`);
    if (found !== version) throw new Failure(`The npm package ${name} is ${found}, package.json asks for ${version}: run \`npm install\`.`);
  }
  const env = {
    ...process.env,
    PATH: [BIN, process.env.PATH].join(delimiter),
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_HIDE_BANNER: "true", // and the note that a newer version exists
    // The local runtime would download a sample of `request.cf`.
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
  };
  const node = outputOf("node", ["--version"], env);
  const [major, minor] = (node ?? "v0.0").slice(1).split(".").map(Number);
  if (major < 22 || (major === 22 && minor < 12)) {
    throw new Failure(
      `wrangler needs Node 22.12 or later, and \`node\` is ${node ?? "missing"}: run \`npm install\` again with install scripts allowed, or install a newer Node.`,
    );
  }
  return env;
}

/**
 * Returns the path of a Chromium for the tests: the one in CHROMIUM_BIN, one on PATH, or Debian's,
 * which root installs.
 */
export async function chromium() {
  const named = process.env.CHROMIUM_BIN;
  if (named) {
    if (!executable(named)) throw new Failure(`CHROMIUM_BIN names ${named}, which is no program: set it to the path of a Chromium or Chrome, or leave it out.`);
    return named;
  }
  const found = () => ["chromium", "chromium-browser", "google-chrome"].map(pathOf).find((path) => path && outputOf(path, ["--version"]));
  let path = found();
  const isDebian = existsSync("/etc/os-release") && /^ID=debian$/m.test(readFileSync("/etc/os-release", "utf8"));
  if (!path && isDebian && process.getuid() === 0) {
    console.log("Installing Chromium (once, about a minute): apt-get install chromium");
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    for (const args of [
      ["update", "-q"],
      ["install", "-q", "-y", "--no-install-recommends", "chromium"],
    ]) {
      await run("apt-get", args, { doing: "installing Chromium (apt-get install chromium)", env });
    }
    path = found();
  }
  if (path) return path;
  throw new Failure(
    "No Chromium was found on PATH: install one (Debian: `apt-get install chromium`; elsewhere Chromium or Google Chrome), or set CHROMIUM_BIN to the path of one. The other stages do without: `npm test -- --only " +
      "fmt,lint-js,clippy,clippy-wasm,doc,unit,fuzz,integration,docs`.",
  );
}

function checkRust() {
  if (!onPath("cargo") || !onPath("rustc")) {
    throw new Failure("Rust's `cargo` was not found on PATH: install Rust from https://rustup.rs, or add ~/.cargo/bin to PATH.");
  }
  const found = outputOf("rustc", ["--version"])?.match(/\d+\.\d+/)?.[0];
  if (!found) throw new Failure("`rustc --version` fails: run `rustup default stable` to choose a Rust toolchain.");
  const wanted = readFileSync(join(ROOT, "Cargo.toml"), "utf8").match(/rust-version = "(\d+\.\d+)/)[1];
  if (Number(found.split(".")[1]) < Number(wanted.split(".")[1])) {
    throw new Failure(`Rust ${found} is too old, ${wanted} or later is needed: run \`rustup update stable\`.`);
  }
  // Rust links build scripts and procedural macros with the C compiler, also when the target is
  // wasm.
  if (outputOf("cc", ["--version"]) === undefined) {
    throw new Failure("A C compiler (`cc`) was not found: install one (Debian, Ubuntu: `apt-get install build-essential`; macOS: `xcode-select --install`).");
  }
}

async function addWasmTarget() {
  const sysroot = outputOf("rustc", ["--print", "sysroot"]);
  if (sysroot && existsSync(join(sysroot, "lib", "rustlib", WASM_TARGET, "lib"))) return;
  if (!onPath("rustup")) {
    throw new Failure(`The Rust target ${WASM_TARGET} is missing, and \`rustup\`, which adds it, was not found on PATH: install it from https://rustup.rs.`);
  }
  console.log(`Adding the Rust target ${WASM_TARGET} (about 10 seconds)`);
  await run("rustup", ["target", "add", WASM_TARGET], { doing: `adding the Rust target ${WASM_TARGET}` });
}

/**
 * Returns the path of a program in exactly this version: an existing one, or one built into
 * .tools/.
 */
async function installTool(name, crate, version, time) {
  const known = [join(TOOLS, "bin"), ...(process.env.PATH ?? "").split(delimiter)].map((folder) => join(folder, name));
  const found = known.find((path) => executable(path) && outputOf(path, ["--version"])?.match(/\d+\.\d+\.\d+\S*/)?.[0] === version);
  if (found) return found;
  console.log(`Installing ${crate} ${version} into .tools/ (once, about ${time} on two cores)`);
  // Without the settings that are meant for the project, not for its tools.
  const { CARGO_BUILD_TARGET, RUSTFLAGS, ...env } = process.env;
  // Not --locked: the lock file in the package may name crate versions that a mirror does not
  // have. One target folder for all tools lets them share compiled crates, and an interrupted
  // installation go on.
  const args = ["install", crate, "--version", version, "--root", TOOLS, "--target-dir", join(TOOLS, "target")];
  await run("cargo", args, { doing: `installing ${crate} ${version}`, env: { ...env, ...cargoProgress } });
  return join(TOOLS, "bin", name);
}

/** Returns the version in Cargo.lock: wasm-bindgen's program and library must have the same. */
function lockedVersion(name) {
  const lock = readFileSync(join(ROOT, "Cargo.lock"), "utf8");
  const version = lock.match(new RegExp(`name = "${name}"\\nversion = "([^"]+)"`))?.[1];
  if (!version) throw new Failure(`Cargo.lock names no ${name}: restore the committed Cargo.lock.`);
  return version;
}

function onPath(name) {
  return pathOf(name) !== undefined;
}

function pathOf(name) {
  return (process.env.PATH ?? "")
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find(executable);
}

function executable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

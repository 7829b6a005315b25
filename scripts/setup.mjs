// Checks the tools that a build needs: the npm packages in the versions of package.json, Node and
// Rust not too old, a C compiler. If one is missing, a `Failure` says how to install it; only the
// Rust target for WebAssembly is installed here. Finds a Chromium, too.
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { Failure, outputOf, ROOT, run } from "./run.mjs";

export const WASM_TARGET = "wasm32-unknown-unknown";
const BIN = join(ROOT, "node_modules", ".bin");

/**
 * Checks the tools, adds the Rust target if it is missing, and returns the environment for cargo,
 * wrangler and the rest.
 */
export async function setUp() {
  const env = nodeEnvironment();
  checkRust();
  await addWasmTarget();
  return {
    ...env,
    WASM_OPT_BIN: join(BIN, "wasm-opt"),
    ESBUILD_BIN: join(BIN, "esbuild"),
  };
}

/** Checks the npm packages, and returns an environment whose `node` is new enough for wrangler. */
export function nodeEnvironment() {
  const wanted = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).devDependencies;
  for (const [name, specifier] of Object.entries(wanted)) {
    // A second version of a package has another name: `npm:cloudflare@5.2.0`.
    const version = specifier.slice(specifier.lastIndexOf("@") + 1);
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
 * The names of a Chromium on PATH. The first is made for automation: without the windows of a
 * whole browser, the same tests take half the CPU time.
 */
const CHROMIUMS = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];

/**
 * Returns the path of a Chromium: the one in CHROMIUM_BIN, or one on PATH; undefined if there is
 * none. Throws a `Failure` if CHROMIUM_BIN names no program.
 */
export function findChromium() {
  const named = process.env.CHROMIUM_BIN;
  if (!named) return CHROMIUMS.map(pathOf).find((path) => path && outputOf(path, ["--version"]));
  if (executable(named)) return named;
  throw new Failure(`CHROMIUM_BIN names ${named}, which is no program: set it to the path of a Chromium or Chrome, or leave it out.`);
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

// Builds the command-line tool `kv-edge` for this machine.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { cargoProgress, run, targetFolder } from "./run.mjs";

/**
 * Builds the tool if it is out of date, and returns its path. `log` is called before the first
 * build, which takes long. `quick` compiles twice as fast, and the tool runs slower: fine for the
 * few files of the demo. `forTests` does the same, but what it compiles is shared with the unit
 * tests.
 */
export async function buildTool(env, { log = console.log, quick = false, forTests = false } = {}) {
  const { CARGO_BUILD_TARGET, RUSTFLAGS, ...envOfHost } = env; // meant for the Worker
  const isDebug = quick || forTests;
  const path = join(targetFolder(env), isDebug ? "debug" : "release", "kv-edge");
  const first = !existsSync(path);
  if (first) log("Building the command-line tool (the first time about a minute)");
  // Cargo enables the features of dependencies that all chosen packages and tests need.
  const what = forTests ? ["--workspace", "--bin", "kv-edge", "--test", "help"] : ["--package", "kv-edge-cli"];
  const args = ["build", ...what, ...(isDebug ? [] : ["--release"]), ...(first ? [] : ["--quiet"])];
  await run("cargo", args, { doing: "building the command-line tool", env: { ...envOfHost, ...cargoProgress } });
  return path;
}

// Builds the command-line tool `kv-edge` for this machine.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { cargoProgress, run, targetFolder } from "./run.mjs";

/**
 * Builds the tool if it is out of date, and returns its path. `log` is called before the first
 * build, which takes long. `quick` compiles twice as fast, and the tool runs slower: fine for the
 * few files of the demo and of the tests.
 */
export async function buildTool(env, { log = console.log, quick = false } = {}) {
  const { CARGO_BUILD_TARGET, RUSTFLAGS, ...envOfHost } = env; // meant for the Worker
  const path = join(targetFolder(env), quick ? "debug" : "release", "kv-edge");
  const first = !existsSync(path);
  if (first) log("Building the command-line tool (the first time about a minute)");
  const args = ["build", "--package", "kv-edge-cli", ...(quick ? [] : ["--release"]), ...(first ? [] : ["--quiet"])];
  await run("cargo", args, { doing: "building the command-line tool", env: { ...envOfHost, ...cargoProgress } });
  return path;
}

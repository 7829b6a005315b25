// Builds the command-line tool `kv-edge` for this machine.
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { cargoProgress, ROOT, run } from "./run.mjs";

/**
 * Builds the tool if it is out of date, and returns its path. `log` is called with what it does.
 */
export async function buildTool(env, log = console.log) {
  const { CARGO_BUILD_TARGET, RUSTFLAGS, ...own } = env; // meant for the Worker
  const path = join(resolve(ROOT, env.CARGO_TARGET_DIR ?? "target"), "release", "kv-edge");
  const first = !existsSync(path);
  if (first) log("Building the command-line tool (the first time about a minute)");
  const args = ["build", "--release", "--package", "kv-edge-cli", ...(first ? [] : ["--quiet"])];
  await run("cargo", args, { doing: "building the command-line tool", env: { ...own, ...cargoProgress } });
  return path;
}

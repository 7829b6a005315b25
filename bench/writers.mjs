// Simulates many writers of one key, without retries, with them, and by the Durable Object,
// against a KV that accepts one put a second (the `simulation` crate, in virtual time). The
// benchmark's own KV accepts every put, so its timings do not show how writers of one key hinder
// each other.
import { spawnSync } from "node:child_process";

import { Failure, ROOT } from "../scripts/run.mjs";

function writers(...options) {
  const example = ["run", "--release", "--quiet", "-p", "simulation", "--example", "writers"];
  const { status, stdout, stderr, error } = spawnSync("cargo", [...example, "--", ...options], {
    cwd: ROOT,
    encoding: "utf8",
  });
  if (error) throw new Failure(`The simulation of the writers needs \`cargo\`, which does not start (${error.code}).`);
  if (status !== 0) throw new Failure(`The simulation of the writers failed: ${stderr.slice(-2000)}`);
  return stdout;
}

/** Returns `{ table, figures }`: what is printed, and the same for `--json`. */
export function simulateWriters() {
  return { table: writers().trimEnd(), figures: JSON.parse(writers("--json")) };
}

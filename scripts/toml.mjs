import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Failure, ROOT } from "./run.mjs";

/** Returns what a TOML file of the project says. */
export async function readToml(path) {
  // As a promise, so that who has not installed it yet is told in a sentence.
  const { parse } = await import("smol-toml").catch(() => {
    throw new Failure("The npm package smol-toml is missing: run `npm install` first.");
  });
  return parse(readFileSync(join(ROOT, path), "utf8"));
}

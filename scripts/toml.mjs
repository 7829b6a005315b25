// Reads TOML files of the project.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Failure, ROOT } from "./run.mjs";

/** Returns a TOML file of the project, parsed. */
export async function readToml(path) {
  // Imported late, so that a missing package is reported in one sentence.
  const { parse } = await import("smol-toml").catch(() => {
    throw new Failure("The npm package smol-toml is missing: run `npm install` first.");
  });
  return parse(readFileSync(join(ROOT, path), "utf8"));
}

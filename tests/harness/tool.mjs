// Runs the real `kv-edge`, and makes folders of files for it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";

/** The command-line tool: `KV_EDGE_CLI`, or the one that `npm test` has built. */
const CLI = process.env.KV_EDGE_CLI ?? fileURLToPath(new URL("../../target/release/kv-edge", import.meta.url));

/**
 * Creates a folder with these files, `{ "docs/about.html": text or bytes }`, and returns its path.
 * It is removed after the test that calls this, or outside of tests after the last one.
 */
export function makeFolder(files) {
  const folder = mkdtempSync(join(tmpdir(), "kv-edge-files-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

/**
 * Runs the tool to its end: `{ code, signal, stdout, stderr }`. `running` is called with the
 * process when it starts; `input` is its standard input.
 */
export async function runTool(args, { env = {}, input, running } = {}) {
  // Without the developer's own credentials.
  const { CLOUDFLARE_API_TOKEN, CLOUDFLARE_ACCOUNT_ID, TO_CLOUDFLARE_API_TOKEN, ...inherited } = process.env;
  const child = spawn(CLI, args, { env: { ...inherited, ...env }, stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"] });
  running?.(child);
  child.stdin?.on("error", () => {}).end(input); // It may end before it has read all of it.
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].setEncoding("utf8").on("data", (text) => (output[name] += text));
  const [code, signal] = await once(child, "close");
  return { code, signal, ...output };
}

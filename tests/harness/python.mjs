// Packages of PyPI, unmodified, each in a virtual environment of its own.
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "../../scripts/run.mjs";

const execute = promisify(execFile);

/**
 * Returns how to run Python with a package, such as `cloudflare==5.9.0`: `run(args, options)`
 * resolves to `{ stdout }`. If there is no Python, or pip cannot install the package, it returns
 * why as `missing`. The virtual environment stays for the next run.
 */
export async function pythonWith(requirement) {
  const folder = join(ROOT, "node_modules/.cache/kv-edge", requirement);
  const python = join(folder, "bin/python");
  const [name, version] = requirement.split("==");
  const isInstalled = () => execute(python, ["-c", `from importlib.metadata import version; assert version("${name}") == "${version}"`]);
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: "1" };
  const run = (args, options) => execute(python, args, { env, maxBuffer: 64 * 1024 * 1024, ...options });
  try {
    await isInstalled();
    return { run };
  } catch {
    // The first run.
  }
  try {
    mkdirSync(folder, { recursive: true });
    await execute("python3", ["-m", "venv", "--clear", folder]);
    await execute(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement], { timeout: 240_000 });
    await isInstalled();
    return { run };
  } catch (error) {
    return { missing: `no Python with ${requirement}: ${error.message.trim().split("\n").at(-1)}` };
  }
}

// Bundles the browser page of console/ into the folder that the Worker serves at /console/.
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { Failure, ROOT, run } from "./run.mjs";
import { nodeEnvironment } from "./setup.mjs";

/** The most bytes of script and styles after gzip. */
const BYTES_MAX = 250 * 1024;

/** The folder of static assets below a build. The page is in the folder `console` in it. */
export const ASSETS = "console";

/**
 * Builds the page into `console/console/` below the folder `out` of the project, so that its paths
 * are those of the URLs. Throws a `Failure` if the bundle is too large.
 */
export async function buildConsole(out = "build") {
  const folder = join(ROOT, out, ASSETS, "console");
  mkdirSync(folder, { recursive: true });
  const env = nodeEnvironment();
  const args = [
    "console/src/main.jsx",
    "--bundle",
    "--minify",
    "--format=esm",
    "--target=es2023,chrome120,firefox121,safari17.2",
    "--jsx=automatic",
    "--jsx-import-source=preact",
    "--legal-comments=none",
    '--define:process.env.NODE_ENV="production"',
    `--outfile=${join(folder, "app.js")}`,
    "--log-level=warning",
  ];
  await run("esbuild", args, { doing: "bundling the console (esbuild)", env });
  copyFileSync(join(ROOT, "console", "index.html"), join(folder, "index.html"));
  const bytes = ["app.js", "app.css"].reduce((sum, name) => sum + gzipSync(readFileSync(join(folder, name))).length, 0);
  if (bytes > BYTES_MAX) throw new Failure(`The console has ${bytes} bytes after gzip; at most ${BYTES_MAX} are allowed.`);
}

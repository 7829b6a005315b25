// Runs the shell blocks of README.md and docs/ against one `npm start`, and compares what they
// print with the block that follows. Only the ports and the place of the local KV differ.
//
//   ```sh          is run, and must end with 0. If no output is shown below it, a curl in it that
//                  gets a status of 400 or more fails it
//   ```sh no-run   is not run: it needs an account, a database or another terminal
//   ```text        right after a block that is run: what it prints. `…` stands for any text within
//                  a line, and alone on its line for any lines
//   ```json        likewise, compared as one JSON value, whatever its layout. "…" stands for any
//                  value, as the last item of a list for more items, and as a member ("…": "…")
//                  for more members
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { atPort, portsAfter } from "../../demo/upstreams.mjs";
import { findFreePorts } from "../../scripts/ports.mjs";
import { ROOT } from "../../scripts/run.mjs";
import { matchesJson, matchesText } from "./expected.mjs";
import { blocksOf, pages } from "./markdown.mjs";

const START_MS = 300_000;
const BLOCK_MS = 120_000;

/** These change what the demo responds, so its examples would fail. */
const varsFile = [".dev.vars", ".env"].find((name) => existsSync(join(ROOT, name)));
const skip = varsFile && `${varsFile} may change what the demo responds; continuous integration runs the examples without it`;

const written = pages().filter((page) => page === "README.md" || page.startsWith("docs/"));
const examples = written
  .map((page) => ({ page, blocks: blocksOf(page).filter(({ info }) => info[0] === "sh" && !info.includes("no-run")) }))
  .filter(({ blocks }) => blocks.length > 0);

const folder = mkdtempSync(join(tmpdir(), "kv-edge-docs-"));
let port;
let demo;

before(async () => {
  if (skip) return;
  for (const [name, options] of Object.entries({ strict: ["fail-with-body"], plain: [] })) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, ".curlrc"), ["silent", "show-error", ...options].join("\n"));
  }
  port = await findFreePorts((first) => ({ "kv-edge": first, ...portsAfter(first) }));
  rmSync(join(ROOT, statePath()), { recursive: true, force: true });
  demo = await startDemo(port);
  // Without KV_EDGE_CLI this builds the tool, so that no example shows it being built.
  const { code, output } = await run("npx kv-edge --version", "plain");
  assert.equal(code, 0, output);
});

after(async () => {
  if (demo?.exitCode === null) {
    demo.kill("SIGINT");
    await once(demo, "exit");
  }
  if (port) rmSync(join(ROOT, statePath()), { recursive: true, force: true });
  rmSync(folder, { recursive: true, force: true });
});

for (const { page, blocks } of examples) {
  describe(page, { skip }, () => {
    for (const { line, text, next } of blocks) {
      const expected = ["text", "json"].includes(next?.info[0]) ? next : undefined;
      test(`the example on line ${line} ${expected ? "prints what is shown" : "runs"}`, { timeout: BLOCK_MS }, async () => {
        const { code, output } = await run(asStarted(text), expected ? "plain" : "strict");
        const shown = expected && atPort(expected.lines.join("\n"), port);
        const isShown = !expected || (expected.info[0] === "json" ? matchesJson(output, shown) : matchesText(output, shown));
        const said = `${page}:${line}\n\n${text}\n\nprints (exit code ${code})\n\n${output}`;
        assert.ok(isShown, `${said}\nnot what line ${expected?.line} shows`);
        assert.equal(code, 0, said);
      });
    }
  });
}

test("every page but three has an example that runs", () => {
  const without = written.filter((page) => !examples.some((example) => example.page === page));
  assert.deepEqual(without, ["docs/README.md", "docs/benchmarks.md", "docs/deploy.md"]);
});

/** Where `npm start -- --port N` has its local KV. */
const statePath = () => join(".wrangler", `state-${port}`);

/** The block with the ports of the demo that was started, and the local KV of that port. */
function asStarted(text) {
  return atPort(text.replaceAll("\\\n", " "), port)
    .split("\n")
    .map((line) => {
      if (/\bwrangler kv\b/.test(line)) return line.replace(/ --local\b/, ` --local --persist-to ${statePath()}`);
      return /\bkv-edge \w/.test(line) ? line.replace(/ --local(?![=\w])/, ` --local=${port}`) : line;
    })
    .join("\n");
}

/** Runs a script in the root of the project. `output` is what it prints, without colours. */
async function run(script, curl) {
  const env = { ...process.env, PATH: [join(ROOT, "node_modules", ".bin"), process.env.PATH].join(delimiter), CURL_HOME: join(folder, curl), NO_COLOR: "1" };
  const child = spawn("bash", ["-e", "-c", `exec 2>&1\n${script}`], {
    cwd: ROOT,
    env: { ...env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (chunk) => (output += chunk));
  const [code] = await once(child, "close");
  return { code, output: stripVTControlCharacters(output).replaceAll("\r", "") };
}

/** Starts `npm start` on the port; resolves when it says that it is ready. */
async function startDemo(port) {
  const child = spawn("node", ["scripts/start.mjs", "--port", String(port)], { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  process.on("exit", () => child.kill("SIGINT"));
  const said = [];
  await new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`npm start ${why}:\n${said.join("\n")}`));
    const timer = setTimeout(() => fail(`was not ready after ${START_MS / 1000} s`), START_MS);
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        said.push(line);
        if (line.startsWith("Ready.")) {
          clearTimeout(timer);
          resolve();
        }
      });
    }
    child.once("close", (code) => {
      clearTimeout(timer);
      fail(`ended with ${code}`);
    });
  });
  return child;
}

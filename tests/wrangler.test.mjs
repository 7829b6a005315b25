// What only wrangler shows: it reads wrangler.toml as the tests do, the Worker runs under
// `wrangler dev`, and the tool finds the local KV there. All other tests but those in tests/docs
// start workerd themselves; see scripts/local-worker.mjs.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { parse } from "smol-toml";
import { ROOT } from "../scripts/run.mjs";
import { readWorkerConfig } from "../scripts/worker-config.mjs";
import { makeFolder, runTool } from "./harness/tool.mjs";

const require = createRequire(import.meta.url);
const folder = mkdtempSync(join(tmpdir(), "kv-edge-wrangler-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/**
 * Copies wrangler.toml without its build command, which `npm test` has run, to a folder without a
 * `.dev.vars`.
 */
const { build: _build, env: _environments, ...config } = parse(readFileSync(join(ROOT, "wrangler.toml"), "utf8"));
const configPath = join(folder, "wrangler.json");
const assets = { ...config.assets, directory: join(ROOT, config.assets.directory) };
writeFileSync(configPath, JSON.stringify({ ...config, main: join(ROOT, config.main), assets }));

function wrangler(...args) {
  const env = { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", CLOUDFLARE_CF_FETCH_ENABLED: "false" };
  const child = spawn(process.execPath, [join(ROOT, "node_modules/wrangler/bin/wrangler.js"), ...args, "--config", configPath], {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  const output = { text: "" };
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output.text += text));
  return { child, output };
}

test("the tests run on the miniflare and the workerd that wrangler brings", () => {
  const wanted = require("wrangler/package.json").dependencies;
  const ofMiniflare = createRequire(require.resolve("miniflare"));
  assert.equal(require("miniflare/package.json").version, wanted.miniflare, "set miniflare in package.json to the version that wrangler asks for");
  assert.equal(ofMiniflare("workerd/package.json").version, wanted.workerd);
});

test("wrangler reads the bindings of the tests from wrangler.toml, and can deploy the build", async () => {
  const { child, output } = wrangler("deploy", "--dry-run", "--outdir", join(folder, "bundle"));
  const [code] = await once(child, "close");
  assert.equal(code, 0, output.text);
  const listed = [...output.text.matchAll(/^env\.(\w+)/gm)].map(([, name]) => name);
  const { vars, kvNamespaces, durableObjects, staticFiles } = await readWorkerConfig();
  const bound = [...Object.keys(vars), ...kvNamespaces, ...durableObjects.map(({ name }) => name), staticFiles.name];
  assert.deepEqual(listed.sort(), bound.sort(), output.text);
  const bundle = readFileSync(join(folder, "bundle", "entry.js"), "utf8");
  assert.doesNotMatch(bundle, /limited-/, "the limit of the demo is never deployed");
});

test("wrangler dev serves the Worker and the console's files, with the REST API over its KV that `kv-edge assets push --local` talks to", async () => {
  const { child, output } = wrangler("dev", "--local", "--ip", "127.0.0.1", "--port", "0", "--show-interactive-dev-session=false");
  const ended = once(child, "close");
  try {
    const port = await Promise.race([once(child, "message").then(([message]) => JSON.parse(message).port), ended.then(() => undefined)]);
    assert.ok(port, `wrangler dev does not serve: ${output.text}`);
    const { staticFiles } = await readWorkerConfig();
    const base = `http://127.0.0.1:${port}`;
    assert.equal((await fetch(`${base}/healthz`)).status, 200);
    const console = await fetch(`${base}/console/`);
    assert.deepEqual([console.status, await console.text()], [200, readFileSync(join(staticFiles.directory, "console", "index.html"), "utf8")]);
    // wrangler would serve the file without this field if the Worker were not the first to get the
    // request.
    assert.match(console.headers.get("content-security-policy"), /^default-src 'none'/);
    const pushed = await runTool(["assets", "push", makeFolder({ "about.html": "<h1>About</h1>" }), `--local=${base}`]);
    assert.equal(pushed.code, 0, `${pushed.stdout}\n${pushed.stderr}`);
    const page = await fetch(`${base}/about`);
    assert.deepEqual([page.status, await page.text()], [200, "<h1>About</h1>"]);
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
});

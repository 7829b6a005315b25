// `npm run screenshots`: takes the pictures of docs/console.md from a started demo (`npm start`).
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { PORT } from "../demo/upstreams.mjs";
import { buildTool } from "./cli.mjs";
import { Failure, main, ROOT, run } from "./run.mjs";
import { withStatic } from "./seed.mjs";
import { findChromium, nodeEnvironment } from "./setup.mjs";

const HELP = `npm run screenshots [-- --port N] [-- --token T]

Takes the pictures of docs/console.md from the demo that \`npm start\` serves at port ${PORT} (or N), signed in with its token (or T).
Meanwhile it pushes two releases with changed files to the demo, and then the demo's own files again.`;

const FOLDER = join(ROOT, "docs", "console");

/** Makes some requests, so that the cache and the counts have something to show. */
async function visit(base, articlePort) {
  for (let round = 0; round < 20; round += 1) {
    const paths = [
      `/cache/http://127.0.0.1:${articlePort}/clock`,
      `/cache?url=http://127.0.0.1:${articlePort}/article`,
      "/",
      "/hello-world",
      "/config?userId=user-id-def",
    ];
    for (const path of paths) await (await fetch(base + path)).arrayBuffer();
  }
}

/**
 * Calls `look` while the demo serves the third of three releases, so that there is something to
 * compare and to roll back to. Afterwards it serves its own files again.
 */
async function withReleases(port, look) {
  const tool = process.env.KV_EDGE_CLI ?? (await buildTool(nodeEnvironment(), { quick: true }));
  const push = (folder) => run(tool, ["assets", "push", folder, `--local=http://127.0.0.1:${port}`], { doing: "pushing a release" });
  await withStatic(port, async (demo) => {
    const folder = mkdtempSync(join(tmpdir(), "kv-edge-releases-"));
    try {
      cpSync(resolve(ROOT, demo), folder, { recursive: true });
      mkdirSync(join(folder, "guide"));
      writeFileSync(join(folder, "guide", "index.html"), "<!doctype html><title>Guide</title><p>How it works.");
      await push(folder);
      for (const name of ["tea.html", "coffee.html"]) writeFileSync(join(folder, "guide", name), `<!doctype html><title>${name}</title>`);
      appendFileSync(join(folder, "style.css"), "p { text-wrap: pretty; }\n");
      rmSync(join(folder, "maintenance.html"));
      await push(folder);
      await look();
    } finally {
      rmSync(folder, { recursive: true, force: true });
      await push(demo);
    }
  });
}

const WIDE = { viewport: { width: 1280, height: 800 }, colorScheme: "light" };

/**
 * The pictures: name, place in the console, what to do there, and options of the browser context.
 */
const pictures = (articlePort) => [
  ["browse", "#/browse/USER_CONFIGURATION", async (page) => page.getByText("user-id-def", { exact: true }).click(), {}],
  ["browse-phone", "#/browse/assets", async () => {}, { viewport: { width: 400, height: 800 }, colorScheme: "dark" }],
  ["flags", "#/flags", async () => {}, {}],
  ["storefronts", "#/storefronts", async (page) => page.getByText("tea", { exact: true }).first().click(), { colorScheme: "dark" }],
  [
    "releases",
    "#/releases",
    // The demo's own release is two before the one that is served.
    async (page) =>
      page
        .getByRole("button", { name: /^Compare/ })
        .nth(1)
        .click(),
    {},
  ],
  [
    "cache",
    "#/cache",
    async (page) => {
      const url = `http://127.0.0.1:${articlePort}/clock`;
      // It is fresh for five seconds.
      await page.evaluate(async (path) => (await fetch(path)).arrayBuffer(), `/cache/${url}`);
      await page.getByPlaceholder("https://example.com/").fill(url);
      await page.keyboard.press("Enter");
    },
    {},
  ],
  ["writes", "#/writes", async (page) => page.getByRole("button", { name: "Write", exact: true }).click(), { colorScheme: "dark" }],
  [
    "metrics",
    "#/metrics",
    async (page) => {
      // The charts have no minute that is not over, so the page takes it to be later.
      await page.evaluate((ms) => {
        Date.now = () => ms;
      }, Date.now() + 120_000);
      await page.getByRole("button", { name: "Refresh" }).click();
    },
    {},
  ],
];

/** Opens a page that is signed in. */
async function open(browser, base, token, look) {
  const context = await browser.newContext(look);
  const page = await context.newPage();
  await page.goto(`${base}/console/`);
  await page.getByLabel("Token").fill(token);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Sign out" }).waitFor();
  return page;
}

await main(async () => {
  const { port, token, help } = parseArgs({
    options: { port: { type: "string", default: String(PORT) }, token: { type: "string", default: "local-demo-token" }, help: { type: "boolean", short: "h" } },
  }).values;
  if (help) return console.log(HELP);
  const base = `http://localhost:${port}`;
  await fetch(base).catch((error) => {
    throw new Failure(`Nothing serves ${base}: run \`npm start\` in another terminal first.`, { cause: error });
  });
  const articlePort = Number(port) + 1;
  await visit(base, articlePort);
  mkdirSync(FOLDER, { recursive: true });
  const browser = await chromium.launch({ executablePath: findChromium(), headless: true, args: ["--no-sandbox"] });
  const take = async () => {
    for (const [name, place, prepare, look] of pictures(articlePort)) {
      const page = await open(browser, base, token, { ...WIDE, ...look });
      await page.goto(`${base}/console/${place}`);
      await prepare(page);
      // The console checks what is typed after a pause.
      await page.waitForTimeout(2000);
      await page.screenshot({ path: join(FOLDER, `${name}.png`) });
      await page.context().close();
      console.log(`docs/console/${name}.png`);
    }
  };
  try {
    await withReleases(Number(port), take);
  } finally {
    await browser.close();
  }
});

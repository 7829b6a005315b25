// `npm run screenshots`: takes the pictures of docs/console.md from a started demo (`npm start`).
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { PORT } from "../demo/upstreams.mjs";
import { Failure, main, ROOT } from "./run.mjs";
import { findChromium } from "./setup.mjs";

const HELP = `npm run screenshots [-- --port N] [-- --token T]

Takes the pictures of docs/console.md from the demo that \`npm start\` serves at port ${PORT} (or N), signed in with its token (or T).`;

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

const WIDE = { viewport: { width: 1280, height: 800 }, colorScheme: "light" };

/**
 * The pictures: name, place in the console, what to do there, and options of the browser context.
 */
const pictures = (articlePort) => [
  ["browse", "#/browse/USER_CONFIGURATION", async (page) => page.getByText("user-id-def", { exact: true }).click(), {}],
  ["browse-phone", "#/browse/assets", async () => {}, { viewport: { width: 400, height: 800 }, colorScheme: "dark" }],
  ["flags", "#/flags", async () => {}, {}],
  ["storefronts", "#/storefronts", async (page) => page.getByText("tea", { exact: true }).first().click(), { colorScheme: "dark" }],
  ["releases", "#/releases", async () => {}, {}],
  [
    "cache",
    "#/cache",
    async (page) => {
      await page.getByPlaceholder("https://example.com/").fill(`http://127.0.0.1:${articlePort}/clock`);
      await page.keyboard.press("Enter");
    },
    {},
  ],
  ["writes", "#/writes", async (page) => page.getByRole("button", { name: "Write", exact: true }).click(), { colorScheme: "dark" }],
  ["metrics", "#/metrics", async () => {}, {}],
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
  try {
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
  } finally {
    await browser.close();
  }
});

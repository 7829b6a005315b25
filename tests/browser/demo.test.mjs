// The start page of the demo in a browser: each panel sends its requests to the Worker and shows
// the responses.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { portsAfter, startUpstreams } from "../../demo/upstreams.mjs";
import { findFreePorts } from "../../scripts/ports.mjs";
import { demoRecords, withStatic } from "../../scripts/seed.mjs";
import { startAssets } from "../harness/assets.mjs";
import { WORKER_TOKEN } from "../harness/worker.mjs";
import { DEADLINE_MS, startBrowser, visitor } from "./browser.mjs";

/** The upstreams have the ports after this one, as in the demo; the Worker has any. */
const port = await findFreePorts(portsAfter);
const { article, storefrontA, storefrontB } = portsAfter(port);
const upstreams = await startUpstreams(portsAfter(port));
after(() => {
  for (const server of upstreams) server.close().closeAllConnections();
});

const assets = await startAssets({
  entry: "demo/entry.mjs",
  faulty: false,
  vars: {
    CACHE_UPSTREAMS: `http://127.0.0.1:${article}`,
    ROUTING_ORIGINS: [storefrontA, storefrontB].map((port) => `http://127.0.0.1:${port}`).join(","),
  },
});
const browser = await startBrowser();
const base = assets.worker.directUrl.origin;

before(async () => {
  for (const [namespace, key, value] of demoRecords(port)) await assets.worker.env[namespace].put(key, value);
  await withStatic(port, (folder) => assets.push(folder));
});

/** Opens the page. `panel(id)` returns what a test does in a panel, and sees there. */
async function open(options) {
  const { page, problems } = await visitor(browser, base, options);
  await page.goto("/", { waitUntil: "networkidle" });
  await page.getByLabel("Token").fill(WORKER_TOKEN);
  const panel = (id) => {
    const root = page.locator(`#${id}`);
    return {
      root,
      outcome: () => root.getByRole("status").innerText(),
      request: () => root.locator(".request").innerText(),
      body: async () => (await root.getByRole("region", { name: "Body" }).innerText()).trimEnd(),
      frame: root.frameLocator("iframe"),
      /** Returns the header fields that the panel highlights, by their names. */
      fields: async () =>
        Object.fromEntries(await root.locator(".response dt").evaluateAll((all) => all.map((dt) => [dt.textContent, dt.nextSibling.textContent]))),
      async press(name) {
        await root.getByRole("button", { name, exact: true }).click();
        await page.locator(`#${id}[aria-busy=false]`).waitFor({ timeout: DEADLINE_MS });
      },
    };
  };
  return { page, problems, panel };
}

test("it loads completely, under its policy", async () => {
  const { page, problems } = await visitor(browser, base);
  const loaded = [];
  page.on("response", (response) => loaded.push([new URL(response.url()).pathname, response.status()]));
  const response = await page.goto("/", { waitUntil: "networkidle" });
  assert.match(response.headers()["content-security-policy"], /^default-src 'self'/);
  assert.equal(await page.title(), "kv-edge");
  for (const path of ["/", "/style.css", "/demo.js", "/writes.js", "/exchange.js", "/logo.png"]) {
    assert.deepEqual(
      loaded.filter(([known]) => known === path),
      [[path, 200]],
    );
  }
  assert.ok(await page.locator("header img").evaluate((image) => image.complete && image.naturalWidth > 0), "the picture shows");
  assert.deepEqual(problems, []);
});

describe("the panel", () => {
  test("cache: a second request is a hit with its Age, a purge ends that, and an article comes from the cache as JSON", async () => {
    const { problems, panel } = await open();
    const { press, outcome, request, fields, body } = panel("cache");
    await press("Ask the clock");
    await press("Ask the clock");
    assert.match(await outcome(), /^200 OK in \d+ ms$/);
    assert.equal(await request(), `GET /cache/http://127.0.0.1:${article}/clock`);
    const { Age, "Cache-Status": status } = await fields();
    assert.match(Age, /^\d$/);
    assert.match(status, /^kv-edge; hit; ttl=/);
    assert.match(await body(), /^\{\n {2}"time": ".+",\n {2}"responses": \d+\n\}$/);

    await press("Purge its responses");
    assert.equal(await request(), `POST /cache/purge\nContent-Type: application/json\nAuthorization: Bearer ${WORKER_TOKEN}\n\n{"tag":"clocks"}`);
    assert.match(await body(), /^\{\n {2}"purged": \[/);
    await press("Ask the clock");
    assert.match((await fields())["Cache-Status"], /; fwd=.*; stored/);

    await press("Stop or start the clock");
    assert.equal(await body(), "The clock is down.");
    await press("Stop or start the clock");
    assert.equal(await body(), "The clock is up.");

    await press("Read an article");
    await press("Read an article");
    assert.match(await body(), /"fromCache": true\n\}$/);
    assert.deepEqual(problems, []);
  });

  test("configuration and flags: each user gets their own page, and flags depend on user and country", async () => {
    const { problems, panel } = await open();
    const { root, press, request, fields, body, frame } = panel("config");
    await press("user-id-abc");
    await frame.getByRole("heading", { name: "Welcome to My App" }).waitFor();
    assert.equal(await frame.locator(".preview-banner").count(), 0);
    await press("user-id-def");
    await frame.locator(".preview-banner").waitFor();

    await press("Evaluate");
    assert.equal(await request(), `POST /ofrep/v1/evaluate/flags\nContent-Type: application/json\n\n{"context":{"targetingKey":"user-id-def","country":"DE"}}`);
    assert.match((await fields()).ETag, /^"/);
    await root.getByLabel("Flag").selectOption("new-checkout");
    await press("Evaluate");
    assert.equal(JSON.parse(await body()).reason, "TARGETING_MATCH");
    assert.deepEqual(problems, []);
  });

  test("storefronts: each reaches its own server, and a visitor keeps their variant", async () => {
    const { problems, panel } = await open();
    const { press, outcome, request, fields, body } = panel("storefronts");
    await press("An odd path of storefrontB");
    assert.equal(await request(), "GET /stores/storefrontB/a//b%2Fc/");
    assert.equal(JSON.parse(await body()).url, "/shop/a//b%2Fc/");
    await press("Visit tea");
    const { "X-Variant": variant } = await fields();
    assert.match(variant, /^(green|black)$/);
    for (let visit = 0; visit < 3; visit += 1) {
      await press("Visit tea");
      assert.equal((await fields())["X-Variant"], variant, "a visitor keeps theirs");
    }
    await press("As 20 new visitors");
    const [, first, second = "0"] = (await outcome()).match(/^20 visitors: (\d+) \w+(?:, (\d+) \w+)?\. The last one: 200 OK in /);
    assert.equal(Number(first) + Number(second), 20);
    assert.deepEqual(problems, []);
  });

  test("files and translations: the chosen language is served, and so are a range, a 304 and the target of a redirect", async () => {
    const { problems, panel } = await open();
    const { root, press, outcome, request, fields, body, frame } = panel("files");
    await root.getByLabel("Language").selectOption("ja");
    await press("Greeting");
    await frame.getByText("こんにちは、世界！").first().waitFor();
    await root.getByLabel("Language").selectOption("de-CH");
    await press("Page");
    await frame.getByRole("heading", { name: "Über diese Seite" }).waitFor();
    assert.equal(await request(), "GET /about\nAccept-Language: de-CH");
    assert.equal((await fields())["Content-Language"], "de");

    await press("A picture");
    assert.ok(await root.getByAltText("The picture /logo.png").evaluate((image) => image.decode().then(() => image.naturalWidth > 0)));
    const { ETag } = await fields();
    await press("Its first 8 bytes");
    assert.match(await outcome(), /^206 /);
    assert.equal(await body(), "89 50 4e 47 0d 0a 1a 0a");
    await press("Is it still the same?");
    assert.match(await outcome(), /^304 /);
    assert.equal(await request(), `GET /logo.png\nIf-None-Match: ${ETag}`);
    await press("A redirect");
    assert.match(await outcome(), /^200 OK in .*, redirected to \/about\?lang=de$/);
    assert.deepEqual(problems, []);
  });
});

test("a server that does not respond, and one that refuses, are shown as such", async () => {
  const { page, panel } = await open();
  const { press, outcome, body } = panel("config");
  await page.route("**/config?*", (route) => route.abort());
  await press("user-id-abc");
  assert.match(await outcome(), /^No response: /);
  await page.route("**/ofrep/**", (route) => route.fulfill({ status: 503, json: { code: "flags_unavailable" } }));
  await press("Evaluate");
  assert.match(await outcome(), /^503 Service Unavailable in /);
  assert.equal(await body(), '{\n  "code": "flags_unavailable"\n}');
});

describe("the panel of writes", () => {
  /** Makes the writes; returns the rows of the table by their names. */
  async function compare({ panel }, writes, limited) {
    const { root, press } = panel("writes");
    await root.getByLabel("Writes", { exact: true }).fill(String(writes));
    await root.getByRole("switch").setChecked(limited);
    await press("Write with each strategy");
    const rows = await root.locator("tr[data-row]").evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
    return Object.fromEntries(rows.map(([name, ...cells]) => [name, cells]));
  }

  test("with KV's limit, direct loses all writes but one, the others none, coalesce with one put", async () => {
    const opened = await open();
    const { acknowledged, lost, puts, elapsed } = await compare(opened, 3, true);
    assert.deepEqual({ acknowledged, lost }, { acknowledged: ["1", "3", "3"], lost: ["2", "0", "0"] });
    assert.deepEqual([puts[0], puts[2]], ["3", "1"]);
    assert.ok(Number(puts[1]) > 3, `backoff makes ${puts[1]} puts`);
    for (const time of elapsed) assert.match(time, /^[\d.]+ m?s$/);

    const { root, outcome, request, frame } = opened.panel("writes");
    assert.match(await outcome(), /^Of 3 writes, direct lost 2 in .* with 3 puts; backoff lost none in .*; coalesce lost none in .* with 1 put\.$/);
    assert.match(await request(), /^POST \/writes\/limited-counter-coalesce\?n=3&strategy=coalesce\n/);
    await frame.getByRole("heading", { name: "3 writes to limited-counter-coalesce" }).waitFor();
    await root.getByRole("button", { name: "Show the exchange of backoff" }).click();
    await frame.getByRole("heading", { name: "3 writes to limited-counter-backoff" }).waitFor();
    assert.ok(await frame.locator("svg:visible").count(), "the timeline shows");
    assert.deepEqual(opened.problems, []);
  });

  test("without the limit none is lost", async () => {
    const opened = await open();
    const { lost, puts } = await compare(opened, 5, false);
    assert.deepEqual({ lost, puts }, { lost: ["0", "0", "0"], puts: ["5", "5", "1"] });
    assert.match(await opened.panel("writes").request(), /^POST \/writes\/counter-coalesce\?/);
    assert.deepEqual(opened.problems, []);
  });

  test("a refusal is shown", async () => {
    const opened = await open();
    await opened.page.getByLabel("Token").fill("wrong");
    await compare(opened, 2, true);
    assert.match(await opened.panel("writes").outcome(), /^Not all were written: 401 /);
  });
});

describe("everybody can use it", () => {
  test("with the keyboard alone: a button sends a request, and the switch changes", async () => {
    const { page, problems, panel } = await open();
    await page.locator("#cache").getByRole("button").first().focus();
    await page.keyboard.press("Enter");
    await page.locator("#cache[aria-busy=false]").waitFor();
    assert.match(await panel("cache").outcome(), /^200 OK/);
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Purge its responses");
    await page.getByRole("switch", { name: "with KV's limit of one write a second" }).focus();
    await page.keyboard.press("Space");
    assert.equal(await page.getByRole("switch").isChecked(), false);
    assert.deepEqual(problems, []);
  });

  test("with a screen reader: names, landmarks, and a status in each panel", async () => {
    const { page } = await open();
    for (const name of ["Cache", "Configuration and flags", "Storefronts", "Files and translations", "Writes"]) {
      const region = page.getByRole("region", { name, exact: true });
      assert.equal(await region.count(), 1, name);
      assert.equal(await region.getByRole("status").count(), 1, name);
      assert.equal(await page.getByRole("navigation").getByRole("link", { name }).count(), 1, name);
    }
    const unnamed = await page.evaluate(() =>
      [...document.querySelectorAll("button, input, select")]
        .filter((control) => !(control.textContent.trim() && control.localName === "button") && !control.ariaLabel && !control.labels?.length)
        .map(({ outerHTML }) => outerHTML),
    );
    assert.deepEqual(unnamed, []);
  });

  for (const [width, colorScheme] of [360, 1280].flatMap((width) => ["light", "dark"].map((scheme) => [width, scheme]))) {
    test(`at ${width} px, ${colorScheme}: nothing is cut off, and text stands out`, async () => {
      const { page, problems, panel } = await open({ viewport: { width, height: 740 }, colorScheme });
      await panel("cache").press("Ask the clock");
      await panel("config").press("user-id-def");
      await panel("storefronts").press("As 20 new visitors");
      await panel("files").press("Page");
      await panel("writes").root.getByLabel("Writes", { exact: true }).fill("2");
      await panel("writes").press("Write with each strategy");
      await page.locator("details").evaluateAll((all) => {
        for (const details of all) details.open = true;
      });
      const pageWidth = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(pageWidth <= width, `the page is ${pageWidth} px wide`);
      const pale = await page.evaluate(paleTexts);
      assert.deepEqual(pale, []);
      assert.equal(
        await page.evaluate(() => getComputedStyle(document.body).backgroundColor),
        { light: "rgb(245, 247, 248)", dark: "rgb(16, 22, 28)" }[colorScheme],
      );
      assert.deepEqual(problems, []);
    });
  }
});

/** Runs in the page. Returns the texts whose contrast is below the 4.5 of WCAG 1.4.3. */
function paleTexts() {
  const luminance = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const backgroundOf = (node) => {
    const color = getComputedStyle(node).backgroundColor;
    return color === "rgba(0, 0, 0, 0)" ? backgroundOf(node.parentElement) : color;
  };
  const contrast = (node) => {
    const [high, low] = [getComputedStyle(node).color, backgroundOf(node)].map(luminance).sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const hasText = (node) => [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
  return [...document.body.querySelectorAll("*")]
    .filter((node) => node.checkVisibility() && hasText(node) && contrast(node) < 4.5)
    .map((node) => node.outerHTML);
}

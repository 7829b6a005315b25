// The page of a run of `/writes` in a browser: its script draws the timeline, under the policy of
// the page.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bearer, startWorker } from "../harness/worker.mjs";
import { startBrowser, visitor } from "./browser.mjs";

const worker = await startWorker({ faulty: false });
const browser = await startBrowser();
const base = worker.directUrl.origin;

/**
 * Opens the page of a run, with the given report in place of its own, whose times differ from run
 * to run.
 */
async function openReport(report, options) {
  const { page, problems } = await visitor(browser, base, options);
  await page.route("**/writes/*", async (route) => {
    const response = await route.fetch({ method: "POST", headers: { ...bearer, accept: "text/html" } });
    const body = await response.text();
    const embeddedReport = /(?<= id="report">).*(?=<\/script>)/;
    assert.match(body, embeddedReport);
    await route.fulfill({ response, body: report ? body.replace(embeddedReport, () => JSON.stringify(report).replaceAll("<", "\\u003c")) : body });
  });
  await page.goto("/writes/drawn?n=3&strategy=backoff");
  return { page, problems };
}

const put = (endedMs, isAccepted) => ({ startedMs: Math.max(0, endedMs - 20), endedMs, taken: isAccepted });

const write = (attempt, outcome, puts, endedMs, message) => ({
  attempt,
  success: outcome !== "failed",
  ...(message && { error: { message } }),
  tries: puts.length,
  startedMs: 0,
  endedMs,
  outcome,
  puts,
});

const BUSY = "KV PUT failed: 429 Too Many Requests";

/** A write that KV accepted at once, one at the second try, one never. */
const MIXED = {
  elapsedMs: 2000,
  attempts: [
    write(1, "accepted", [put(20, true)], 20),
    write(2, "accepted", [put(20, false), put(1000, true)], 1000),
    write(3, "failed", [put(20, false), put(500, false)], 2000, BUSY),
  ],
};

const texts = (page, selector) => page.locator(selector).allTextContents();
const attributes = (page, selector, name) => page.locator(selector).evaluateAll((found, name) => found.map((one) => one.getAttribute(name)), name);
const legend = (page) => texts(page, ".legend li");

test("a real run is drawn under its own policy, with its table collapsed", async () => {
  const { page, problems } = await openReport();
  await page.locator("svg.run").waitFor({ state: "visible" });
  assert.deepEqual(await texts(page, ".run .number"), ["1", "2", "3"]);
  assert.equal(await page.locator("table").isVisible(), false);
  assert.deepEqual(problems, []);
});

test("without JavaScript there is the table, and no empty timeline", async () => {
  const { page } = await openReport(undefined, { javaScriptEnabled: false });
  assert.ok(await page.locator("table").isVisible());
  assert.equal(await page.locator("tr").count(), 4);
  assert.equal(await page.locator("svg.run").isVisible(), false);
  assert.equal(await page.locator(".legend").isVisible(), false);
});

for (const width of [1200, 360]) {
  test(`at ${width} px the timeline takes most of the width, and nothing is cut off`, async () => {
    const { page } = await openReport(MIXED, { viewport: { width, height: 800 } });
    const { width: drawn, height } = await page.locator("svg.run").boundingBox();
    assert.ok(drawn > width / 2 && height > 3 * 10, `${drawn} x ${height}`);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth));
  });
}

describe("the timeline", () => {
  test("has a row for each write, with its number and outcome", async () => {
    const { page } = await openReport(MIXED);
    assert.deepEqual(await texts(page, ".run .number"), ["1", "2", "3"]);
    assert.deepEqual(await texts(page, ".run .word"), ["accepted", "accepted", "failed"]);
    assert.deepEqual((await texts(page, ".run g>title")).at(-1), `Write 3: failed at 2.00 s. ${BUSY}`);
    assert.equal(await page.locator("#run-desc").textContent(), "A row for each write, from 0 to 2.00 s. 2 accepted. 1 failed.");
  });

  test("has a mark at the end of each try, whose shape shows whether KV accepted it", async () => {
    const { page } = await openReport(MIXED);
    assert.deepEqual(await attributes(page, ".run use.accepted", "x"), ["1.00%", "50.00%"]);
    assert.deepEqual(await attributes(page, ".run use.refused", "x"), ["1.00%", "1.00%", "25.00%"]);
    assert.deepEqual(await attributes(page, ".run use.gave-up", "x"), ["100.00%"]);
    assert.deepEqual(await attributes(page, ".run .under-way", "x1"), ["0.00%", "0.00%", "49.00%", "0.00%", "24.00%"]);
    assert.deepEqual(await attributes(page, ".run .wait", "x2"), ["50.00%", "100.00%"]);
    assert.ok((await texts(page, ".run use>title")).includes("Put 2: accepted, 980 ms to 1.00 s"));
    assert.deepEqual(await legend(page), ["put, accepted by KV", "put, refused or without a response", "put under way", "waiting", "failed: no more tries"]);
  });

  test("draws a write without a put as a bar to its end, superseded or stored", async () => {
    const { page } = await openReport({ elapsedMs: 1000, attempts: [write(1, "superseded", [], 500), write(2, "stored", [], 1000)] });
    assert.deepEqual(await attributes(page, ".run .without-put", "x2"), ["50.00%", "100.00%"]);
    assert.deepEqual(await attributes(page, ".run use.not-put", "x"), ["50.00%", "100.00%"]);
    assert.deepEqual(await legend(page), ["superseded: a later write took its place", "stored: will be put"]);
  });

  test("escapes KV's messages", async () => {
    const message = "</title></script><script>document.title = 1</script>&amp;";
    const { page, problems } = await openReport({ elapsedMs: 5, attempts: [write(1, "failed", [], 5, message)] });
    assert.equal((await texts(page, ".run g>title")).at(-1), `Write 1: failed at 5 ms. ${message}`);
    assert.deepEqual(problems, []);
  });

  for (const [elapsedMs, labels] of [
    [0, "0 1 ms"],
    [7, "0 2 4 6 ms"],
    [30, "0 5 10 15 20 25 30 ms"],
    [999, "0 200 400 600 800 ms"],
    [1000, "0 0.2 0.4 0.6 0.8 1 s"],
    [2500, "0 0.5 1 1.5 2 2.5 s"],
    [3001, "0 1 2 3 s"],
    [60_000, "0 10 20 30 40 50 60 s"],
    [150_000, "0 150 s"],
  ]) {
    test(`ticks are round and few: ${elapsedMs} ms`, async () => {
      const { page } = await openReport({ elapsedMs, attempts: [write(1, "accepted", [{ startedMs: 0, endedMs: 0, taken: true }], 0)] });
      assert.equal((await texts(page, ".axis text")).join(" "), labels);
      assert.deepEqual(await attributes(page, ".run use.accepted", "x"), ["0.00%"]);
    });
  }

  test("draws all of the maximum, 100 writes of 20 puts, with the time axis below them too", async () => {
    const puts = Array.from({ length: 20 }, (_, index) => put(index * 3000, false));
    const attempts = Array.from({ length: 100 }, (_, index) => write(index + 1, "failed", puts, 60_000, BUSY));
    const { page, problems } = await openReport({ elapsedMs: 60_000, attempts });
    assert.equal(await page.locator(".run use.refused").count(), 2000);
    assert.equal(await page.locator(".axis text").count(), 14);
    assert.deepEqual(problems, []);
  });
});

// The console's panel of metrics, in a browser and on the built Worker. It fits a phone and a wide
// window, is accessible dark and light, and works with the keyboard alone.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { send } from "../harness/http.mjs";
import { startUpstream } from "../harness/upstream.mjs";
import { bearer, startWorker } from "../harness/worker.mjs";
import { assertUsable, button, colorsOf, consoleOf, drawnIn, keyboardOf, rowsOf, startConsole, until } from "./console.mjs";

const upstream = await startUpstream();
const { browser, open } = await startConsole();

/**
 * Checks that a chart, whose table is open, shows each of its lines, unless a later one covers it,
 * and that the highest value is near the top.
 */
async function assertCharted(page, name) {
  const chart = page.getByRole("figure").filter({ hasText: name });
  const rows = await rowsOf(page, `${name} as a table`);
  const columns = rows[0].slice(1).map((_, index) => rows.map((cells) => Number(cells[index + 1].replaceAll(/[^\d.]/g, ""))));
  const highest = columns.map((values) => Math.max(...values));
  assert.ok(Math.max(...highest) > 0, `${name} has no value above 0`);
  const drawn = await drawnIn(chart.getByRole("img", { name }), await colorsOf(chart.locator(".legend")));
  for (const [index, { share, top }] of drawn.entries()) {
    const isCovered = columns.slice(index + 1).some((later) => isDeepStrictEqual(later, columns[index]));
    if (!isCovered) assert.ok(share > 0, `the line ${index} of ${name} is not drawn`);
    if (!isCovered && highest[index] === Math.max(...highest)) assert.ok(top < 0.2, `the line ${index} of ${name} ends at ${top} of the height`);
  }
}

describe("the panel of metrics", () => {
  test("says that they are off", async () => {
    const { page, assertClean } = await open("#/metrics");
    await page.getByText("Metrics are off.").waitFor();
    await assertUsable(page);
    assertClean();
  });

  test("draws requests, hit ratio, errors, operations of KV and their cost, with the numbers in tables", async () => {
    const counting = await startWorker({ vars: { METRICS: "on", CACHE_UPSTREAMS: upstream.origin } });
    const cachedUrl = upstream.serve((_request, response) => response.writeHead(200, { "cache-control": "max-age=300" }).end("stored"));
    for (let requests = 0; requests < 4; requests += 1) await send(counting, `/cache/${cachedUrl}`);
    await counting.env.WRITES.put("known", "value");
    for (let requests = 0; requests < 6; requests += 1) await send(counting, "/writes/known", { headers: bearer });
    await send(counting, "/writes/missing", { headers: bearer });
    const { page, assertClean } = await consoleOf(browser, counting.directUrl.origin)("#/metrics");
    // Counts arrive ten seconds after they were made, and the panel asks every ten seconds.
    const counts = async (path) => (await rowsOf(page, "Counts of each route")).find(([route]) => route === path);
    const writes = () => counts("/writes/{key}");
    await until(async () => assert.deepEqual((await writes())?.slice(1, 4), ["7", "1", "0"]), "requests, 4xx and 5xx");
    const [, , , , , , reads, ...rest] = await writes();
    assert.deepEqual([reads, ...rest], ["7", "0", "0", "0", "$0.0000035"]);
    // The first request reads the response and lists the purges; the others find both in memory.
    await until(async () => assert.deepEqual((await counts("/cache/{URL}"))?.slice(5, 7), ["75 %", "1"]), "the hit ratio, and the reads");
    const charts = [
      "Requests a second, by route",
      "Hit ratio: values and lists from memory",
      "Errors a minute",
      "KV operations a minute",
      "Cost of KV a minute",
      "Other calls a minute",
    ];
    for (const name of charts) await page.getByRole("figure").filter({ hasText: name }).getByText("As a table").click();
    // What is not over, or not handed over by each isolate, is in no chart.
    const { points } = (await send(counting, "/console/api/metrics?resolution=minute", { headers: bearer })).json();
    const newestMs = Date.parse(points.at(-1).time);
    /** Returns the newest time of the charts if the page's clock has this time. */
    const newestAt = async (nowMs) => {
      await page.evaluate((ms) => {
        Date.now = () => ms;
      }, nowMs);
      const reply = page.waitForResponse((response) => response.url().includes("/console/api/metrics"));
      await button(page, "Refresh").click();
      await (await reply).finished();
      await page.waitForTimeout(200);
      return (await rowsOf(page, "Requests a second, by route as a table"))[0][0];
    };
    const [before, after] = [await newestAt(newestMs + 69_000), await newestAt(newestMs + 70_000)];
    const timeOf = (ms) => new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }).format(ms);
    assert.deepEqual([before, after], [timeOf(newestMs - 60_000), timeOf(newestMs)]);
    for (const name of charts) await until(() => assertCharted(page, name), `the chart of ${name}`);
    await page.getByText("may be too low, never too high").waitFor();
    await until(async () => {
      const counted = (await rowsOf(page, "KV operations a minute as a table")).reduce((sum, [, reads]) => sum + Number(reads), 0);
      assert.ok(counted >= 7, `${counted} reads`);
    }, "the table of a chart, which is made once it is open");
    await assertUsable(page);

    // With the keyboard alone: another range, and the numbers of a chart.
    const { press, assertFocus, shiftTabTo, tabTo } = keyboardOf(page);
    await shiftTabTo("Range");
    await press("End");
    await page.getByRole("img", { name: "Errors an hour" }).waitFor();
    await assertFocus("Range");
    await tabTo("As a table");
    await press("Enter");
    await tabTo("Requests a second, by route as a table");
    await until(async () => assert.equal((await rowsOf(page, "Requests a second, by route as a table")).length, 743), "an hour a row");
    assertClean();
  });
});

// Opens the console in a browser, signed in, and checks a page with axe-core.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { WORKER_TOKEN } from "../harness/worker.mjs";
import { visitor } from "./browser.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What Chromium logs for a response that is an error, and for a request that the page aborted. */
const OF_CALLS = /^console: Failed to load resource: the server responded with a status of|net::ERR_ABORTED$/;

/**
 * Returns a function that opens the console at a place such as `#/flags` as a new visitor, who
 * signs in with `token` unless that is null. It returns
 * `{ page, problems, context, assertClean }`; with `mayFail`, assertClean ignores the problems of
 * single calls.
 */
export function consoleOf(browser, base) {
  return async (place = "", { token = WORKER_TOKEN, mayFail = false, ...options } = {}) => {
    const { page, problems, context } = await visitor(browser, base, options);
    await page.goto(`/console/${place}`);
    if (token !== null) {
      await page.getByLabel("Token").fill(token);
      await page.keyboard.press("Enter");
      await page.getByRole("button", { name: "Sign out" }).waitFor();
    }
    /** Checks that nothing went wrong in the page. */
    const assertClean = () => assert.deepEqual(mayFail ? problems.filter((problem) => !OF_CALLS.test(problem)) : problems, []);
    return { page, problems, context, assertClean };
  };
}

/** Checks that axe-core has no finding that is serious or critical. */
export async function assertAccessible(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  const lines = found.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`));
  assert.deepEqual(lines, []);
}

/** Checks that neither the page nor its panel scrolls sideways. */
export async function assertFits(page) {
  const [content, room] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(content <= room, `the page is ${content} px wide in a window of ${room} px`);
  const main = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.querySelector("main");
    return [scrollWidth, clientWidth];
  });
  assert.ok(main[0] <= main[1], `the panel is ${main[0]} px wide in ${main[1]} px`);
}

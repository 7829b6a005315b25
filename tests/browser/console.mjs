// Starts the console and opens it in a browser, signed in, checks a page with axe-core in each
// size and scheme, and uses it with the keyboard alone.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { eventually } from "../harness/eventually.mjs";
import { startWorker, WORKER_TOKEN } from "../harness/worker.mjs";
import { startBrowser, visitor } from "./browser.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The windows in which each view has to be usable, in px, and the schemes of colours. */
const WIDTHS = [400, 1280];
const SCHEMES = ["light", "dark"];

/** The rules of axe-core that look at colours. All others find the same in the other scheme. */
const OF_COLORS = ["color-contrast", "link-in-text-block"];

/** The most presses of Tab from one control to another. */
const TABS_MAX = 150;

/**
 * Starts a Worker whose namespaces may be changed, and a browser. Returns both, and `open` of
 * `consoleOf`.
 */
export async function startConsole({ vars } = {}) {
  const [worker, browser] = await Promise.all([startWorker({ vars: { KV_API_WRITABLE: "*", ...vars } }), startBrowser()]);
  return { worker, browser, open: consoleOf(browser, worker.directUrl.origin) };
}

/**
 * Returns a function that opens the console at a place such as `#/flags` as a new visitor, who
 * signs in with `token` unless that is null. It returns `{ page, problems, context, goTo,
 * assertClean }`. `goTo(place)` leads the visitor to another place, for a small part of the time
 * that another visitor takes.
 */
export function consoleOf(browser, base) {
  return async (place = "", { token = WORKER_TOKEN, ...options } = {}) => {
    // A transition would show axe-core a colour that is on its way to another one.
    const { page, problems, context } = await visitor(browser, base, { reducedMotion: "reduce", ...options });
    await page.goto(`/console/${place}`);
    if (token !== null) {
      await page.getByLabel("Token").fill(token);
      await page.keyboard.press("Enter");
      await page.getByRole("button", { name: "Sign out" }).waitFor();
    }
    const goTo = (place) => page.goto(`/console/${place}`);
    /**
     * Checks that nothing went wrong in the page since the last check, except the failures of
     * calls that the test has provoked: each is `[status, path]`, and at least one call whose path
     * ends like that has failed with the status. "aborted" is the status of a call that the page
     * gave up.
     */
    const assertClean = (...provoked) => {
      for (const [status, path] of provoked) assert.ok(problems.some(isFailure(status, path)), `no call of ${path} has failed with ${status}`);
      const rest = problems.filter((problem) => !provoked.some(([status, path]) => isFailure(status, path)(problem)));
      problems.length = 0;
      assert.deepEqual(rest, []);
    };
    return { page, problems, context, goTo, assertClean };
  };
}

/** Returns a function that tells whether a problem of a page is such a failure. */
function isFailure(status, path) {
  const pattern =
    status === "aborted" ? /^request: (\S+) net::ERR_ABORTED$/ : new RegExp(`^console: Failed to load resource: .* status of ${status} .*? (http\\S+)$`);
  return (problem) => {
    const url = pattern.exec(problem)?.[1];
    return url !== undefined && new URL(url).pathname.endsWith(path);
  };
}

/**
 * Checks that axe-core has no finding that is serious or critical. While a dialog is open, all
 * else is inert, and not looked at. With `rules`, those alone are checked.
 */
async function assertAccessible(page, rules) {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(AXE);
  const found = await page.evaluate(async (rules) => {
    const shown = document.querySelector("dialog[open]") ?? document;
    const { violations } = await globalThis.axe.run(shown, { resultTypes: ["violations"], preload: false, ...(rules && { runOnly: rules }) });
    return violations.map(({ id, impact, nodes }) => ({
      id,
      impact,
      nodes: nodes.map(({ target, failureSummary }) => `${target.join(" ")}: ${failureSummary}`),
    }));
  }, rules);
  const serious = found.filter(({ impact }) => ["serious", "critical"].includes(impact));
  assert.deepEqual(
    serious.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node}`)),
    [],
  );
}

/** Checks that neither the page nor its panel scrolls sideways. */
export async function assertFits(page) {
  const [content, room] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(content <= room, `the page is ${content} px wide in a window of ${room} px`);
  const boxes = await page.evaluate(() =>
    [...document.querySelectorAll("main, dialog")].map(({ tagName, scrollWidth, clientWidth }) => [tagName, scrollWidth, clientWidth]),
  );
  for (const [name, content, room] of boxes) assert.ok(content <= room, `<${name.toLowerCase()}> is ${content} px wide in ${room} px`);
}

/**
 * Checks that nothing to press is out of view sideways: neither outside of the window, nor where a
 * box around it would have to scroll first.
 */
async function assertInView(page) {
  const hidden = await page.evaluate(() => {
    const root = document.documentElement;
    const isCut = (element) => {
      const { left, right } = element.getBoundingClientRect();
      // No box around a dialog cuts it.
      const parentOf = (box) => (box.matches("dialog") ? root : box.parentElement);
      for (let box = parentOf(element); box !== null; box = parentOf(box)) {
        const clips = box === root || getComputedStyle(box).overflowX !== "visible";
        const edges = box === root ? { left: 0, right: root.clientWidth } : box.getBoundingClientRect();
        // Edges may lie between two pixels.
        if (clips && (left < edges.left - 1 || right > edges.right + 1)) return true;
      }
      return false;
    };
    return [...document.querySelectorAll("button, a[href], summary")]
      .filter((element) => element.checkVisibility() && isCut(element))
      .map((element) => element.getAttribute("aria-label") ?? element.innerText);
  });
  assert.deepEqual(hidden, [], "these are out of view");
}

/** Waits until `check` throws no longer. */
export async function until(check, what) {
  let problem;
  const holds = async () => {
    try {
      await check();
      return true;
    } catch (error) {
      problem = error;
      return false;
    }
  };
  await eventually(holds, what, 20_000).catch(() => assert.fail(`${what}: ${problem.message}`));
}

export const button = (page, name) => page.getByRole("button", { name, exact: true });

/** Replaces the text of an editor, as somebody who selects all and pastes. */
export async function paste(page, label, text) {
  const editor = page.getByRole("textbox", { name: label });
  await editor.click();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.insertText(text);
}

/** Returns the rows of a table in a section with this label, each as the texts of its cells. */
export const rowsOf = (page, label) =>
  page
    .getByRole("region", { name: label, exact: true })
    .locator("tbody tr")
    .evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText.replaceAll(/\s+/g, " ").trim())));

/** How far a channel of a pixel may be from that of a colour, because edges are smoothed. */
const SMOOTHED = 24;

/**
 * Returns how much of an element's picture has each of these colours, which are what
 * `getComputedStyle` returns, as `{ share, inMiddle, top }`: the shares of all pixels and of those
 * in the middle row, and the share of the height above the first one, which is 1 if there is none.
 */
export async function drawnIn(locator, colors) {
  const png = (await locator.screenshot()).toString("base64");
  const look = async ({ png, colors, smoothed }) => {
    const bytes = Uint8Array.from(atob(png), (character) => character.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    const { width, height } = image;
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    return colors.map((color) => {
      const channels = color.match(/\d+/g).slice(0, 3).map(Number);
      const inRows = Array(height).fill(0);
      for (let pixel = 0; pixel < width * height; pixel += 1) {
        if (channels.every((channel, index) => Math.abs(data[pixel * 4 + index] - channel) <= smoothed)) inRows[Math.floor(pixel / width)] += 1;
      }
      const top = inRows.findIndex((inRow) => inRow > 0);
      return {
        share: inRows.reduce((sum, inRow) => sum + inRow, 0) / (width * height),
        inMiddle: inRows[Math.floor(height / 2)] / width,
        top: top === -1 ? 1 : top / height,
      };
    });
  };
  return locator.page().evaluate(look, { png, colors, smoothed: SMOOTHED });
}

/** Returns the colours of the swatches in an element, in their order. */
export const colorsOf = (element) => element.locator(".swatch").evaluateAll((swatches) => swatches.map((swatch) => getComputedStyle(swatch).backgroundColor));

/** Checks that a number is at most `within` from the expected one. */
export const assertNear = (actual, expected, within, what) => assert.ok(Math.abs(actual - expected) <= within, `${what}: ${actual}, not ${expected}`);

/** Checks that the bar of a split is divided as the table below it says. */
export async function assertBarDivided(page, label) {
  const picture = page.getByRole("figure", { name: label, exact: true });
  const counts = (await rowsOf(page, label)).map(([, count]) => Number(count.replaceAll(",", "")));
  const total = counts.reduce((sum, count) => sum + count, 0);
  const drawn = await drawnIn(picture.locator(".shares-bar"), await colorsOf(picture));
  for (const [index, { inMiddle }] of drawn.entries()) assertNear(inMiddle, counts[index] / total, 0.02, `the share of row ${index} in the bar`);
}

/**
 * Checks that what a page shows fits a phone and a wide window, with all that can be pressed in
 * view, and is accessible there, dark and light. The page has its own size and scheme again
 * afterwards.
 */
export async function assertUsable(page) {
  const before = page.viewportSize();
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 800 });
    for (const [index, colorScheme] of SCHEMES.entries()) {
      await page.emulateMedia({ colorScheme });
      const explain = (error) => assert.fail(`at ${width} px, ${colorScheme}: ${error.message}`);
      await assertFits(page).catch(explain);
      await assertInView(page).catch(explain);
      await assertAccessible(page, index > 0 ? OF_COLORS : undefined).catch(explain);
    }
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(before);
}

/**
 * Returns what somebody without a mouse does in a page. `press(...keys)` presses keys,
 * `type(text)` types. `replace(text)` types in place of what the focused control contains.
 * `tabTo(name)` tabs on to the control with this name, a text or a pattern; `shiftTabTo(name)`
 * tabs back to it. `assertFocus(name)` waits until that control has the focus.
 */
export function keyboardOf(page) {
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  /** Returns the name of the control that has the focus, "" if none has it. */
  const focused = () =>
    page.evaluate(() => {
      let element = document.activeElement;
      while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
      if (element === null || element === document.body) return "";
      return (element.getAttribute("aria-label") ?? element.labels?.[0]?.innerText ?? element.innerText).trim();
    });
  const isNamed = (control, name) => (typeof name === "string" ? control === name : name.test(control));
  const tab = async (key, name) => {
    const passed = [];
    for (let presses = 0; presses < TABS_MAX; presses += 1) {
      await press(key);
      const control = await focused();
      if (isNamed(control, name)) return;
      passed.push(control.slice(0, 40));
    }
    assert.fail(`${key} does not get to ${name}, only to ${[...new Set(passed)].join(", ")}`);
  };
  const assertFocus = async (name) => {
    let control;
    const look = async () => {
      control = await focused();
      return isNamed(control, name);
    };
    await eventually(look, "", 10_000).catch(() => assert.fail(`the focus is on ${control || "nothing"} and not on ${name}`));
  };
  const type = (text) => page.keyboard.insertText(text);
  return {
    press,
    type,
    replace: async (text) => {
      await press("ControlOrMeta+a");
      await type(text);
    },
    tabTo: (name) => tab("Tab", name),
    shiftTabTo: (name) => tab("Shift+Tab", name),
    assertFocus,
  };
}

/**
 * Returns a function that has the calls of a path fail at `act()`, looks at the page with
 * `look()`, and lets somebody without a mouse try again once they fail no longer.
 */
export function failOnceIn(page) {
  const { press, tabTo } = keyboardOf(page);
  return async (path, act, look = async () => {}) => {
    await page.route(path, (route) => route.fulfill({ status: 503, json: { errors: [{ code: 1, message: "KV is away." }] } }));
    await act();
    await page.getByRole("alert").filter({ hasText: "KV is away." }).waitFor();
    await look();
    await page.unroute(path);
    await tabTo("Try again");
    await press("Enter");
    await page.getByRole("alert").waitFor({ state: "detached" });
  };
}

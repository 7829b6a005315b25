// The console's panel of releases, in a browser and on the built Worker: what changed between two,
// and going back to one. It fits a phone and a wide window, is accessible dark and light, and
// works with the keyboard alone.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { startAssets } from "../harness/assets.mjs";
import { send } from "../harness/http.mjs";
import { startBrowser } from "./browser.mjs";
import { assertUsable, button, consoleOf, failOnceIn, keyboardOf, rowsOf, until } from "./console.mjs";

const [assets, browser] = await Promise.all([startAssets({ faulty: false, vars: { KV_API_WRITABLE: "*" } }), startBrowser()]);
const { worker } = assets;
const open = consoleOf(browser, worker.directUrl.origin);

before(async () => {
  await assets.push({ "index.html": "<title>one</title>", "old.html": "old" });
  await assets.push({ "index.html": "<title>two</title>", "new.html": "new" });
});

describe("the panel of releases", () => {
  test("lists them, shows what changed, and rolls back after a confirmation", async () => {
    const { page, assertClean } = await open("#/releases");
    const served = async () => (await rowsOf(page, "Releases")).find(([name]) => name.endsWith(" served"))?.[0];
    await until(async () => assert.equal((await rowsOf(page, "Releases")).length, 2), "two releases");
    await assertUsable(page);
    const second = await served();

    await button(page, /^Compare/).click();
    const changed = page.getByRole("region", { name: "What changed" });
    await changed.getByText("1 added, 1 changed, 1 removed, 0 unchanged").waitFor();
    assert.match(await changed.innerText(), /Added \(1\)\s+\/new\.html/i);
    await assertUsable(page);

    await page.getByRole("button", { name: /^Roll back to/ }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("1 added, 1 changed, 1 removed").waitFor();
    await assertUsable(page);
    await dialog.getByRole("button", { name: "Cancel" }).click();
    assert.equal(await served(), second);

    await page.getByRole("button", { name: /^Roll back to/ }).click();
    await dialog.getByRole("button", { name: "Roll back" }).click();
    await page.getByText(/^Rolled back from/).waitFor();
    await until(async () => assert.notEqual(await served(), second), "the first release is served");
    assert.match((await send(worker, "/")).text, /one/);
    assertClean();
  });

  test("replaces no release that somebody else has switched to after the list was read", async () => {
    const { page, assertClean } = await open("#/releases");
    const back = page.getByRole("button", { name: /^Roll back to/ }).first();
    await back.waitFor();
    await assets.push({ "index.html": "<title>three</title>" });
    const { current } = await assets.pointer();
    await back.click();
    await page.getByRole("dialog").getByRole("button", { name: "Roll back" }).click();
    await page
      .getByRole("alert")
      .getByText(/^Somebody has switched the release in the meantime/)
      .waitFor();
    assert.equal((await assets.pointer()).current, current);
    const { press, assertFocus, tabTo } = keyboardOf(page);
    await tabTo("Read the releases again");
    await press("Enter");
    await page.getByText(`${current} served`).waitFor();
    await assertFocus("Releases");
    assert.equal(await page.getByRole("alert").count(), 0);
    assertClean([409, "/releases/rollback"]);
  });
});

test("the list of releases, and what changed between two, are read again, and the focus is not lost", async () => {
  const { page, goTo, assertClean } = await open();
  const { press, assertFocus } = keyboardOf(page);
  const failOnce = failOnceIn(page);
  await failOnce("**/console/api/releases", () => goTo("#/releases"));
  await page.getByRole("region", { name: "Releases" }).waitFor();
  await assertFocus("Releases");
  const compare = page.getByRole("button", { name: /^Compare/ }).first();
  await failOnce("**/releases/changes?*", () => compare.click());
  await page.getByText(/\d unchanged\./).waitFor();
  await assertFocus("What changed");
  await failOnce("**/releases/changes?*", async () => {
    await page
      .getByRole("button", { name: /^Roll back to/ })
      .first()
      .click();
  });
  await page
    .getByRole("dialog")
    .getByText(/For visitors: \d/)
    .waitFor();
  await assertFocus(/^Serve/);
  await press("Escape");
  assertClean([503, "/releases"], [503, "/changes"]);
});

test("the keyboard alone compares two releases and rolls back to one, and the focus is never lost", async () => {
  const { page, assertClean } = await open();
  const { press, assertFocus, tabTo, shiftTabTo } = keyboardOf(page);
  await shiftTabTo("Releases");
  await press("Enter");
  await page.getByRole("region", { name: "Releases" }).waitFor();
  await tabTo(/^Compare/);
  await press("Enter");
  await page.getByRole("region", { name: "What changed" }).waitFor();
  await assertFocus(/^Compare/);
  await tabTo("From");
  await press("End");
  await tabTo("To");
  await press("End");
  await page.getByText("0 added, 0 changed, 0 removed").waitFor();
  await assertFocus("To");
  await shiftTabTo(/^Roll back to/);
  await press("Enter");
  await assertFocus("Cancel");
  await press("Escape");
  await assertFocus(/^Roll back to/);
  await press("Enter");
  await tabTo("Roll back");
  await press("Enter");
  await page.getByText(/^Rolled back from/).waitFor();
  await assertFocus("Releases");
  assertClean();
});

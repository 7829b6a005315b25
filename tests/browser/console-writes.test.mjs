// The console's panel of writes, in a browser and on the built Worker: a run and its timeline. It
// fits a phone and a wide window, is accessible dark and light, and works with the keyboard alone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { uniqueName } from "../harness/names.mjs";
import { assertUsable, button, keyboardOf, rowsOf, startConsole } from "./console.mjs";

const { worker, open } = await startConsole();
const { WRITES } = worker.env;

test("the panel of writes draws the timeline of a run, or says why there is none", async (context) => {
  const { page, assertClean } = await open("#/writes");

  for (const [strategy, puts] of [
    ["direct", "5"],
    ["backoff", "5"],
    ["coalesce", "1"],
  ]) {
    await context.test(`draws the timeline of 5 writes with ${strategy}`, async () => {
      const key = uniqueName("run");
      await page.getByLabel("Key").fill(key);
      await page.getByLabel("Writes", { exact: true }).fill("5");
      await page.getByLabel("Strategy").selectOption(strategy);
      await button(page, "Write").click();
      await page.getByRole("heading", { name: `5 writes to ${key}: ${strategy}` }).waitFor();
      const figures = page.getByRole("region", { name: "The run" }).locator("dd");
      assert.deepEqual((await figures.allInnerTexts()).slice(0, 3), ["5 of 5", puts, "0"]);
      await page.getByRole("img", { name: /^Timeline of the run A row for each write, from 0 to .* \d accepted\./ }).waitFor();
      await page.getByText("As a table").click();
      assert.equal((await rowsOf(page, "The writes as a table")).length, 5);
      assert.match(await WRITES.get(key), /^Write attempt #/);
      assertClean();
    });
  }

  await context.test("a run fits each window, as a picture and as a table", () => assertUsable(page));

  await context.test("says at the field which keys cannot be written", async () => {
    for (const [key, problem] of [
      [".", 'The key is ".", which Workers KV does not accept. Choose another name.'],
      ["..", 'The key is "..", which Workers KV does not accept. Choose another name.'],
      ["", "The key is empty."],
      ["k".repeat(513), "The key has 513 bytes; Workers KV accepts 512 at most."],
    ]) {
      await page.getByLabel("Key").fill(key);
      await page.getByText(problem, { exact: true }).waitFor();
      assert.ok(await button(page, "Write").isDisabled(), key);
      await page.keyboard.press("Enter");
    }
    await assertUsable(page);
    // Each call would have failed.
    assertClean();
  });

  await context.test("shows why a run is refused", async () => {
    await page.route("**/writes/*", (route) => route.fulfill({ status: 503, json: { detail: "KV is away." } }));
    await page.getByLabel("Key").fill("refused");
    await button(page, "Write").click();
    await page.getByRole("alert").getByText("KV is away.").waitFor();
    assertClean([503, "/writes/refused"]);
  });
});

test("the keyboard alone begins a run and reads it as a table, and the focus is never lost", async () => {
  const { page, assertClean } = await open();
  const { press, replace, assertFocus, tabTo, shiftTabTo } = keyboardOf(page);
  const key = uniqueName("run");
  await shiftTabTo("Writes");
  await press("Enter");
  await tabTo("Key");
  await replace(key);
  await tabTo("Writes");
  await replace("5");
  await tabTo("Strategy");
  await press("Home");
  await tabTo("Write");
  await press("Enter");
  await page.getByRole("heading", { name: `5 writes to ${key}: direct` }).waitFor();
  await assertFocus("Write");
  await tabTo("As a table");
  await press("Enter");
  await tabTo("The writes as a table");
  assert.equal((await rowsOf(page, "The writes as a table")).length, 5);
  assertClean();
});

// The console's panel of flags, in a browser and on the built Worker: the editor of the
// definitions, and what a context gets. It fits a phone and a wide window, is accessible dark and
// light, and works with the keyboard alone.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, test } from "node:test";
import { signToken } from "../harness/kv-api.mjs";
import {
  assertBarDivided,
  assertNear,
  assertUsable,
  button,
  colorsOf,
  drawnIn,
  failOnceIn,
  keyboardOf,
  paste,
  rowsOf,
  startConsole,
  until,
} from "./console.mjs";

const { worker, open } = await startConsole();
const { USER_CONFIGURATION } = worker.env;

const json = (value) => JSON.stringify(value, null, 2);
const DEMO_FLAGS = JSON.parse(readFileSync(new URL("../../demo/flags.json", import.meta.url), "utf8"));

before(async () => {
  await USER_CONFIGURATION.put("flags", json(DEMO_FLAGS));
  await USER_CONFIGURATION.put("user-id-def", json({ preview_features_enabled: true }));
});

describe("the panel of flags", () => {
  const EDITOR = "Definitions of the flags, as JSON";
  const CONTEXT = "Evaluation context, as JSON";
  const openFlags = async (options) => {
    const opened = await open("#/flags", options);
    await opened.page.getByText("· no faults").waitFor();
    return opened;
  };
  const findings = (page) => page.getByRole("list", { name: "Faults and warnings" });

  test("shows faults beside the line while somebody types, and saves only without faults", async () => {
    const { page, assertClean } = await openFlags();
    assert.ok(await button(page, "Save").isDisabled(), "nothing has changed");
    await paste(page, EDITOR, json({ flags: { ...DEMO_FLAGS.flags, broken: { defalt: "on" } } }));
    await findings(page)
      .getByText(/^Fault/)
      .first()
      .waitFor();
    await page.locator(".cm-lint-marker-error").first().waitFor();
    assert.match(await findings(page).innerText(), /broken/);
    assert.ok(await button(page, "Save").isDisabled());
    await assertUsable(page);

    const changed = { flags: { ...DEMO_FLAGS.flags, added: { default: "on" } } };
    await paste(page, EDITOR, json(changed));
    await button(page, "Save").click();
    await page.getByText("Saved · no faults").waitFor();
    assert.deepEqual(JSON.parse(await USER_CONFIGURATION.get("flags")), changed);
    assertClean();
  });

  test("shows a warning beside the line, and saves all the same", async () => {
    const { page, assertClean } = await openFlags();
    const rules = [100, 50].map((percentage) => ({ percentage, variant: "on" }));
    const warned = json({ flags: { twice: { default: "off", rules } } });
    await paste(page, EDITOR, warned);
    const marker = page.locator(".cm-lint-marker-warning");
    await marker.waitFor();
    assert.match(await findings(page).innerText(), /^Warning flags\.twice\.rules\[1\] it never applies/);
    assert.equal(
      await findings(page)
        .getByText(/^Fault/)
        .count(),
      0,
    );
    // The second rule begins in line 10.
    const [line, mark] = await Promise.all([page.locator(".cm-line").nth(9), marker].map((element) => element.boundingBox()));
    assert.ok(Math.abs(line.y + line.height / 2 - mark.y - mark.height / 2) < line.height / 2, `the line is at ${line.y}, its mark at ${mark.y}`);
    await assertUsable(page);
    await button(page, "Save").click();
    await page.getByText("Saved · no faults").waitFor();
    assert.equal(await USER_CONFIGURATION.get("flags"), warned);
    assert.match(await findings(page).innerText(), /^Warning/);
    assertClean();
    await USER_CONFIGURATION.put("flags", json(DEMO_FLAGS));
  });

  test("names the line of text that is no JSON", async () => {
    const { page, assertClean } = await openFlags();
    await paste(page, EDITOR, '{\n  "flags": {\n    oops\n  }\n}');
    assert.match(await findings(page).innerText(), /line 3/);
    await button(page, "Discard changes").click();
    await page.getByText("As stored · no faults").waitFor();
    assertClean();
  });

  test("drops the answer to a text that is no longer there", async () => {
    const { page, assertClean } = await openFlags();
    await page.route("**/flags/check", async (route) => {
      const isFirst = route.request().postData().includes("first");
      const response = await route.fetch();
      if (isFirst) await new Promise((resolve) => setTimeout(resolve, 1500));
      await route.fulfill({ response });
    });
    await paste(page, EDITOR, '{"flags": {"first": {}}}');
    await page.waitForRequest("**/flags/check");
    await paste(page, EDITOR, '{"flags": {"second": {"default": "on"}}}');
    await page.waitForTimeout(2000);
    assert.equal(await findings(page).count(), 0);
    assert.equal(await button(page, "Save").isEnabled(), true);
    assertClean();
  });

  test("notices that somebody else has changed them in between, and keeps what was typed until told", async () => {
    const { page, assertClean } = await openFlags();
    const mine = { flags: { mine: { default: "on" } } };
    const theirs = { flags: { theirs: { default: "off" } } };
    await paste(page, EDITOR, json(mine));
    await USER_CONFIGURATION.put("flags", json(theirs));
    await button(page, "Save").click();
    await page.getByText("Somebody else has changed or deleted this").waitFor();
    assert.deepEqual(JSON.parse(await USER_CONFIGURATION.get("flags")), theirs);
    // What is typed while the choice is open is checked like everything else.
    await paste(page, EDITOR, json({ flags: { mine: { defalt: "on" } } }));
    await page.getByText(/faults?, cannot be saved/).waitFor();
    assert.ok(await button(page, "Overwrite theirs").isDisabled());
    await paste(page, EDITOR, json(mine));
    await page.getByText("Changed · no faults").waitFor();
    // Consent is for the version that can be read here, and no later one.
    const shown = page.locator(".notice pre");
    const look = () => page.locator("summary", { hasText: "What is stored now" }).click();
    await look();
    assert.equal(await shown.innerText(), json(theirs));
    await assertUsable(page);
    const [load, overwrite] = await Promise.all(["Load theirs, drop mine", "Overwrite theirs"].map((name) => button(page, name).boundingBox()));
    assert.ok(overwrite.x - load.x - load.width >= 4, "the buttons touch");
    const later = { flags: { later: { default: "off" } } };
    await USER_CONFIGURATION.put("flags", json(later));
    await button(page, "Overwrite theirs").click();
    await shown.waitFor({ state: "hidden" });
    await look();
    assert.equal(await shown.innerText(), json(later));
    assert.deepEqual(JSON.parse(await USER_CONFIGURATION.get("flags")), later);
    await USER_CONFIGURATION.delete("flags");
    await button(page, "Overwrite theirs").click();
    await page.getByText("Nothing is stored now.").waitFor();
    await button(page, "Overwrite theirs").click();
    await page.getByText("Saved · no faults").waitFor();
    assert.deepEqual(JSON.parse(await USER_CONFIGURATION.get("flags")), mine);

    await USER_CONFIGURATION.put("flags", json(theirs));
    await paste(page, EDITOR, json({ flags: {} }));
    await button(page, "Save").click();
    await button(page, "Load theirs, drop mine").click();
    await page.getByText("As stored · no faults").waitFor();
    assert.match(await page.getByRole("textbox", { name: EDITOR }).innerText(), /theirs/);
    assertClean();
    await USER_CONFIGURATION.put("flags", json(DEMO_FLAGS));
  });

  test("a save changes no byte that nobody touched: one line, line endings, a byte order mark", async () => {
    const { page, goTo, assertClean } = await open();
    for (const [before, shown, typed, after] of [
      ['{"flags": {}}', '{\n  "flags": {}\n}', '{\n  "flags": {"a": {"default": "on"}}\n}', '{"flags": {"a": {"default": "on"}}}'],
      ['{\r\n"flags": {}}\r\n', '{\n"flags": {}}\n', '{\n"flags": {} }\n', '{\r\n"flags": {} }\r\n'],
      ['\ufeff{"flags":{}}', '{\n  "flags": {}\n}', '{"flags":{"a":{"default":"on"}}}', '\ufeff{"flags":{"a":{"default":"on"}}}'],
    ]) {
      await USER_CONFIGURATION.put("flags", Buffer.from(before));
      await goTo("#/browse");
      await page.getByRole("heading", { name: "Namespaces" }).waitFor();
      await goTo("#/flags");
      await page.getByText("As stored · no faults").waitFor();
      assert.equal((await page.getByRole("textbox", { name: EDITOR }).locator(".cm-line").allTextContents()).join("\n"), shown);
      await paste(page, EDITOR, typed);
      await button(page, "Save").click();
      await page.getByText("Saved · no faults").waitFor();
      assert.equal(Buffer.from(await USER_CONFIGURATION.get("flags", "arrayBuffer")).toString(), after);
      assertClean();
    }
    await USER_CONFIGURATION.put("flags", json(DEMO_FLAGS));
  });

  test("shows what was saved to somebody who left the panel while the save ran", async () => {
    const { page, assertClean } = await openFlags();
    let answer;
    const isAnswered = new Promise((resolve) => {
      answer = resolve;
    });
    await page.route("**/values/flags", async (route) => {
      if (route.request().method() === "PUT") await isAnswered;
      await route.continue();
    });
    const saved = json({ flags: { late: { default: "on" } } });
    await paste(page, EDITOR, saved);
    await button(page, "Save").click();
    await button(page, "Saving…").waitFor();
    await page.getByRole("link", { name: "Writes" }).click();
    await page.getByRole("heading", { name: "Writes" }).waitFor();
    const reply = page.waitForResponse((response) => response.request().method() === "PUT");
    answer();
    await (await reply).finished();
    await page.waitForTimeout(200);
    await page.getByRole("link", { name: "Flags" }).click();
    await page.getByText("As stored · no faults").waitFor();
    assert.equal(await USER_CONFIGURATION.get("flags"), saved);
    assertClean();
    await USER_CONFIGURATION.put("flags", json(DEMO_FLAGS));
  });

  test("a first read that fails can be tried again", async () => {
    const { page, assertClean } = await open("");
    await page.route("**/console/api/values?*", (route) => route.fulfill({ status: 503, json: { errors: [{ code: 1, message: "KV is away." }] } }));
    await page.getByRole("link", { name: "Flags" }).click();
    await page.getByRole("alert").filter({ hasText: "KV is away." }).waitFor();
    await page.unroute("**/console/api/values?*");
    const { press, assertFocus, tabTo } = keyboardOf(page);
    await tabTo("Try again");
    await press("Enter");
    await assertFocus("As stored · no faults");
    assertClean([503, "/console/api/values"]);
  });

  test("keeps what was typed while another panel is shown", async () => {
    const { page, assertClean } = await openFlags();
    await paste(page, EDITOR, json({ flags: { draft: { default: "on" } } }));
    await page.getByRole("link", { name: "Writes" }).click();
    await page.getByRole("heading", { name: "Writes" }).waitFor();
    await page.getByRole("link", { name: "Flags" }).click();
    await page.getByText("Changed · no faults").waitFor();
    assert.match(await page.getByRole("textbox", { name: EDITOR }).innerText(), /draft/);
    await button(page, "Sign out").click();
    await page.getByRole("dialog", { name: "Sign out and drop your unsaved changes?" }).waitFor();
    assertClean();
  });

  test("shows what a context gets: value, variant, reason, and the rule that held", async () => {
    const { page, assertClean } = await openFlags();
    const evaluated = async (context) => {
      await paste(page, CONTEXT, json(context));
      return () => rowsOf(page, "What this context gets");
    };
    const rows = await evaluated({ targetingKey: "user-id-def", screen: "wide", appVersion: "1.0.0" });
    await until(async () => {
      const byName = Object.fromEntries((await rows()).map(([name, ...cells]) => [name, cells]));
      assert.deepEqual(byName["page-size"]?.slice(0, 2), ["50", "large"]);
      assert.match(byName["page-size"][2], /^TARGETING_MATCH Rule 1: \{"match":\[\{"attribute":"screen"/);
      assert.deepEqual(byName["new-checkout"].slice(0, 2), ["true", "on"]);
      assert.match(byName["new-checkout"][2], /^TARGETING_MATCH Rule 2: /);
      assert.match(byName.search[2], /^(DEFAULT|STATIC)$/);
    }, "the evaluation");

    // What cannot be the key of a record is no call that fails.
    await paste(page, CONTEXT, json({ targetingKey: ".", screen: "wide" }));
    await page.getByText("A context without faults is evaluated.").waitFor();
    await paste(page, CONTEXT, json({ targetingKey: "user-id-def", screen: "wide", appVersion: "1.0.0" }));
    await page.getByText("With another record of this user").click();
    await paste(page, "Record of the user, as JSON", json({ preview_features_enabled: false }));
    await until(async () => {
      const [, , , reason] = (await rows()).find(([name]) => name === "new-checkout");
      assert.doesNotMatch(reason, /Rule 2/);
    }, "the evaluation with the other record");
    assertClean();
  });

  test("draws how a rollout divides 1,000 users, with the numbers as a table", async () => {
    const { page, assertClean } = await openFlags();
    await page.getByLabel("Flag", { exact: true }).selectOption("new-checkout");
    await page.getByRole("img", { name: "Variants of new-checkout: a dot for each of 1,000 users" }).waitFor();
    const rows = Object.fromEntries((await rowsOf(page, "Variants of new-checkout")).map(([name, users]) => [name, Number(users.replace(",", ""))]));
    assert.equal(rows.on + rows.off, 1000);
    assert.ok(Math.abs(rows.on - 250) < 50, `${rows.on} of 1,000 at 25 %`);
    await assertBarDivided(page, "Variants of new-checkout");

    const dots = page.getByRole("img", { name: "Variants of new-checkout" });
    const paths = await dots
      .locator("path")
      .evaluateAll((drawn) => drawn.map((path) => [getComputedStyle(path).fill, path.getAttribute("d").match(/M/g).length]));
    const colors = await colorsOf(page.getByRole("figure", { name: "Variants of new-checkout" }));
    const users = Object.values(rows);
    assert.deepEqual(Object.fromEntries(paths), Object.fromEntries(users.map((count, index) => [colors[index], count])));
    const areas = (await drawnIn(dots, colors)).map(({ share }) => share);
    const area = areas.reduce((sum, one) => sum + one, 0);
    // A dot has 7 of the 9 px of its cell in each direction, and the edges are smoothed.
    assert.ok(area > 0.35, `${area} of the picture are dots`);
    for (const [index, count] of users.entries()) assertNear(areas[index] / area, count / 1000, 0.02, `the share of row ${index} in the dots`);
    assertClean();
  });

  test("a token that reads the definitions alone tries them out for users without a record, and no call is refused", async () => {
    const { page, assertClean } = await openFlags({ token: signToken({ sub: "definitions", namespace: "USER_CONFIGURATION", prefix: "flags" }) });
    await paste(page, CONTEXT, json({ targetingKey: "user-id-def", screen: "wide", appVersion: "1.0.0" }));
    await until(async () => {
      const rows = Object.fromEntries((await rowsOf(page, "What this context gets")).map(([name, ...cells]) => [name, cells]));
      assert.match(rows["page-size"]?.[2] ?? "", /^TARGETING_MATCH/);
      // With the stored record, the second rule holds.
      assert.doesNotMatch(rows["new-checkout"][2], /Rule 2/);
    }, "the evaluation without a record");
    await page.getByText("With another record of this user").click();
    await page.getByText("The token does not read the records of users").waitFor();
    assertClean();
  });

  test("offers no saving to a token that only reads, and no panel of other namespaces", async () => {
    const token = signToken({ sub: "reader", namespace: "USER_CONFIGURATION" });
    const { page, assertClean } = await openFlags({ token });
    await page.getByText("Read-only · As stored · no faults").waitFor();
    assert.equal(await button(page, "Save").count(), 0);
    for (const name of ["Storefronts", "Releases", "Cache", "Writes", "Metrics"]) assert.equal(await page.getByRole("link", { name }).count(), 0, name);
    assertClean();
  });
});

test("the check of a record, what a context gets, and a rollout are tried again, and the focus is not lost", async () => {
  await USER_CONFIGURATION.put("flags", json(DEMO_FLAGS));
  const { page, goTo, assertClean } = await open();
  const { assertFocus } = keyboardOf(page);
  const failOnce = failOnceIn(page);
  await failOnce(
    "**/flags/check",
    () => goTo("#/flags"),
    () => page.getByText("As stored · not checked").waitFor(),
  );
  await assertFocus("As stored · no faults");
  const retype = async (name) => {
    await paste(page, "Evaluation context, as JSON", json({ targetingKey: name }));
  };
  await failOnce("**/flags/evaluate", () => retype("bob"));
  await page.getByRole("region", { name: "What this context gets" }).waitFor();
  await assertFocus("Try a context");
  await failOnce("**/flags/sample", () => retype("eve"));
  await page.getByRole("img", { name: /a dot for each of 1,000 users$/ }).waitFor();
  await assertFocus("Rollout over 1,000 users");
  assertClean([503, "/check"], [503, "/evaluate"], [503, "/sample"]);
});

test("the keyboard alone does what a mouse does, and the focus is never lost", async (context) => {
  const { page, assertClean } = await open();
  const { press, type, replace, assertFocus, tabTo, shiftTabTo } = keyboardOf(page);

  await context.test("flags are changed and saved", async () => {
    await shiftTabTo("Flags");
    await press("Enter");
    await page.getByText("· no faults").waitFor();
    await tabTo("Definitions of the flags, as JSON");
    await replace('{"flags": {"typed": {"default": "on"}}}');
    await page.getByText("Changed · no faults").waitFor();
    await press("Shift+Tab");
    await assertFocus("Save");
    await press("Enter");
    await page.getByText("Saved · no faults").waitFor();
    await assertFocus("Save");
    assert.equal(await USER_CONFIGURATION.get("flags"), '{"flags": {"typed": {"default": "on"}}}');
  });

  await context.test("what was typed is dropped, and a conflict is answered both ways", async () => {
    const mine = '{"flags": {"mine": {"default": "on"}}}';
    const retype = async () => {
      await tabTo("Definitions of the flags, as JSON");
      await replace(mine);
      await page.getByText("Changed · no faults").waitFor();
    };
    await retype();
    await shiftTabTo("Discard changes");
    await press("Enter");
    await page.getByText("As stored · no faults").waitFor();
    await assertFocus("Discard changes");
    for (const [theirs, answer, state] of [
      ["first", "Load theirs, drop mine", "As stored · no faults"],
      ["second", "Overwrite theirs", "Saved · no faults"],
    ]) {
      await retype();
      await USER_CONFIGURATION.put("flags", json({ flags: { [theirs]: { default: "on" } } }));
      await shiftTabTo("Save");
      await press("Enter");
      await page.getByText("Somebody else has changed or deleted this").waitFor();
      await assertFocus("Save");
      await tabTo(answer);
      await press("Enter");
      await assertFocus(state);
    }
    assert.equal(await USER_CONFIGURATION.get("flags"), mine);
  });

  await context.test("a context is tried, and a rollout is chosen", async () => {
    await USER_CONFIGURATION.put("flags", json({ flags: { first: { default: "on" }, second: { default: "off" } } }));
    await shiftTabTo("Writes");
    await press("Enter");
    await page.getByRole("heading", { name: "Writes" }).waitFor();
    await shiftTabTo("Flags");
    await press("Enter");
    await page.getByRole("region", { name: "What this context gets" }).waitFor();
    await tabTo("Evaluation context, as JSON");
    await replace('{"targetingKey": "bob"}');
    await tabTo("With another record of this user");
    await press("Enter");
    await tabTo("Record of the user, as JSON");
    await type("{}");
    await tabTo("What this context gets");
    await tabTo("Flag");
    await press("End");
    await page.getByRole("img", { name: "Variants of second: a dot for each of 1,000 users" }).waitFor();
    await assertFocus("Flag");
    await USER_CONFIGURATION.put("flags", json(DEMO_FLAGS));
  });
  assertClean();
});

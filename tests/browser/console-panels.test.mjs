// The panels of the console for jobs, in a browser and on the built Worker: flags, storefronts,
// releases, the cache, writes and metrics. Each fits a phone and a wide window, is accessible dark
// and light, and works with the keyboard alone.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { startAssets } from "../harness/assets.mjs";
import { eventually } from "../harness/eventually.mjs";
import { send } from "../harness/http.mjs";
import { signToken } from "../harness/kv-api.mjs";
import { uniqueName } from "../harness/names.mjs";
import { startUpstream } from "../harness/upstream.mjs";
import { bearer, startWorker } from "../harness/worker.mjs";
import { startBrowser } from "./browser.mjs";
import { assertUsable, consoleOf, drawnIn, keyboardOf } from "./console.mjs";

const [upstream, otherUpstream] = await Promise.all([startUpstream(), startUpstream()]);
const assets = await startAssets({
  faulty: false,
  vars: {
    CACHE_UPSTREAMS: upstream.origin,
    CACHE_REFRESH: "0",
    ROUTING_ORIGINS: `green.example,black.example,plain.example,${upstream.origin},${otherUpstream.origin}`,
    KV_API_WRITABLE: "*",
  },
});
const { worker } = assets;
const { USER_CONFIGURATION, ROUTING_CONFIG, CACHE_KV, WRITES } = worker.env;
const browser = await startBrowser();
const open = consoleOf(browser, worker.directUrl.origin);

const json = (value) => JSON.stringify(value, null, 2);
const DEMO_FLAGS = JSON.parse(readFileSync(new URL("../../demo/flags.json", import.meta.url), "utf8"));
const TEA = {
  variants: [
    { name: "green", origin: "https://green.example", weight: 80 },
    { name: "black", origin: "https://black.example/base", weight: 20 },
  ],
};

before(async () => {
  await USER_CONFIGURATION.put("flags", json(DEMO_FLAGS));
  await USER_CONFIGURATION.put("user-id-def", json({ preview_features_enabled: true }));
  await ROUTING_CONFIG.put("tea", JSON.stringify(TEA));
  await assets.push({ "index.html": "<title>one</title>", "old.html": "old" });
  await assets.push({ "index.html": "<title>two</title>", "new.html": "new" });
});

/** Replaces the text of an editor, as somebody who selects all and pastes. */
async function paste(page, label, text) {
  const editor = page.getByRole("textbox", { name: label });
  await editor.click();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.insertText(text);
}

/** Returns the rows of a table in a section with this label, each as the texts of its cells. */
const rowsOf = (page, label) =>
  page
    .getByRole("region", { name: label, exact: true })
    .locator("tbody tr")
    .evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText.replaceAll(/\s+/g, " ").trim())));

/** Waits until `check` throws no longer. */
async function until(check, what) {
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

const button = (page, name) => page.getByRole("button", { name, exact: true });

/** Returns the colours of the swatches in an element, in their order. */
const colorsOf = (element) => element.locator(".swatch").evaluateAll((swatches) => swatches.map((swatch) => getComputedStyle(swatch).backgroundColor));

const assertNear = (actual, expected, within, what) => assert.ok(Math.abs(actual - expected) <= within, `${what}: ${actual}, not ${expected}`);

/** Checks that the bar of a split is divided as the table below it says. */
async function assertBarDivided(page, label) {
  const picture = page.getByRole("figure", { name: label, exact: true });
  const counts = (await rowsOf(page, label)).map(([, count]) => Number(count.replaceAll(",", "")));
  const total = counts.reduce((sum, count) => sum + count, 0);
  const drawn = await drawnIn(picture.locator(".shares-bar"), await colorsOf(picture));
  for (const [index, { inMiddle }] of drawn.entries()) assertNear(inMiddle, counts[index] / total, 0.02, `the share of row ${index} in the bar`);
}

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

describe("the panel of storefronts", () => {
  const openRecord = async (key, options) => {
    const opened = await open(`#/storefronts/${encodeURIComponent(key)}`, options);
    await opened.page.getByText("· no faults").waitFor();
    return opened;
  };
  const editorOf = (key) => `Record of ${key}, as JSON`;

  test("lists records by prefix, and more of them on demand", async () => {
    await Promise.all(Array.from({ length: 120 }, (_, index) => ROUTING_CONFIG.put(`many-${index}`, '{"origin": "https://plain.example"}')));
    const { page, assertClean } = await open("#/storefronts");
    const list = page.getByRole("navigation", { name: "Storefronts" });
    await page.getByLabel("Prefix").fill("many-");
    await list.getByText("100 records loaded, there are more").waitFor();
    const { press, assertFocus, tabTo } = keyboardOf(page);
    await tabTo("Load more");
    await press("Enter");
    await list.getByText("120 records").waitFor();
    assert.equal(await list.getByRole("link").count(), 120);
    // The button is gone, and before it was this row.
    await assertFocus("many-99");
    await page.getByLabel("Prefix").fill("te");
    await list.getByText("1 record", { exact: true }).waitFor();
    await list.getByRole("link", { name: "tea" }).click();
    await page.getByRole("heading", { name: "tea" }).waitFor();
    assertClean();
  });

  test("checks the record while somebody types, and saves a new one", async () => {
    const key = uniqueName("shop");
    const { page, assertClean } = await open("#/storefronts");
    await page.getByLabel("New storefront").fill(key);
    await page.keyboard.press("Enter");
    await page.getByRole("textbox", { name: editorOf(key) }).waitFor();
    await paste(page, editorOf(key), '{"orgin": "https://plain.example"}');
    await page.getByRole("list", { name: "Faults and warnings" }).getByText(/orgin/).first().waitFor();
    assert.ok(await button(page, "Save").isDisabled());
    await assertUsable(page);
    await paste(page, editorOf(key), '{"origin": "https://plain.example"}');
    await button(page, "Save").click();
    await page.getByText("Saved · no faults").waitFor();
    assert.equal(await ROUTING_CONFIG.get(key), '{"origin": "https://plain.example"}');
    assertClean();
  });

  test("a token with a prefix is offered new storefronts with that prefix alone", async () => {
    const prefix = `${uniqueName("crew")}-`;
    const token = signToken({ sub: "crew", namespace: "ROUTING_CONFIG", prefix, write: true });
    const { page, assertClean } = await open("#/storefronts", { token });
    const name = page.getByLabel("New storefront");
    const refused = page.getByText(`The token reaches only keys that begin with “${prefix}”.`);
    await refused.waitFor();
    await name.fill("tea");
    assert.ok(await button(page, "Begin its record").isDisabled());
    await page.keyboard.press("Enter");
    assert.equal(await page.getByRole("heading", { name: "tea" }).count(), 0);
    await assertUsable(page);
    await name.fill(`${prefix}tea`);
    await refused.waitFor({ state: "detached" });
    await page.keyboard.press("Enter");
    await paste(page, editorOf(`${prefix}tea`), '{"origin": "https://plain.example"}');
    await button(page, "Save").click();
    await page.getByText("Saved · no faults").waitFor();
    assert.equal(await ROUTING_CONFIG.get(`${prefix}tea`), '{"origin": "https://plain.example"}');
    assertClean();
  });

  test("shows how 1,000 visitors are split, and where a URL leads", async () => {
    const { page, assertClean } = await openRecord("tea");
    const split = async () => Object.fromEntries((await rowsOf(page, "Visitors of tea")).map(([name, visitors]) => [name, Number(visitors)]));
    await until(async () => {
      const { green, black } = await split();
      assert.equal(green + black, 1000);
      assert.ok(Math.abs(green - 800) < 60, `${green} of 1,000 at 80 %`);
    }, "the split");
    await assertBarDivided(page, "Visitors of tea");

    const destination = () => page.getByLabel("Destination").innerText();
    await page.getByLabel("URL, or path of the storefront").fill("https://kv-edge.example.workers.dev/stores/tea/cart?x=1");
    await until(async () => assert.match(await destination(), /https:\/\/(green\.example|black\.example\/base)\/cart\?x=1/), "the target");

    await paste(page, editorOf("tea"), json({ ...TEA, active: "black" }));
    await until(async () => assert.match(await destination(), /https:\/\/black\.example\/base\/cart\?x=1/), "the active variant");
    await assertUsable(page);

    // What is still being typed is no call that fails.
    await page.getByLabel("URL, or path of the storefront").fill("htt");
    await page.getByText("A URL begins with https:// or http://").waitFor();
    await page.getByLabel("URL, or path of the storefront").fill("/");
    await page.getByLabel("Request fields").fill("a b: c");
    await page.getByText("A header field is “name: value”").waitFor();
    await page.getByLabel("Request fields").fill("X-Group green");
    await page.getByText("A header field is “name: value”").waitFor();
    await page.getByLabel("Request fields").fill("X-Group: green\nx-group: large");
    await page.getByLabel("Country").fill("Ö");
    await page.getByText("A country is two letters, or T1 for Tor").waitFor();
    await page.waitForTimeout(500);
    const routed = page.waitForRequest("**/console/api/storefronts/route");
    await page.getByLabel("Country").fill("de");
    const { fields, country } = (await routed).postDataJSON();
    assert.deepEqual({ fields, country }, { fields: { "x-group": "green, large" }, country: "DE" });
    assertClean();
  });

  test("shows whom the record refuses, and why", async () => {
    const key = uniqueName("closed");
    await ROUTING_CONFIG.put(key, json({ origin: "https://plain.example", access: { deny: { countries: ["KP"] } } }));
    const { page, assertClean } = await openRecord(key);
    await page.getByLabel("Country").fill("kp");
    await page.getByText(/The visitor gets 403 \(access_denied\)/).waitFor();
    assertClean();
  });

  test("names an upstream whose circuit is open", async () => {
    const key = uniqueName("failing");
    await ROUTING_CONFIG.put(key, json({ origin: `${upstream.origin}/failing`, fallback: otherUpstream.origin }));
    upstream.serve((_request, response) => response.writeHead(503).end(), "/failing/");
    for (let n = 0; n < 5; n += 1) assert.equal((await send(worker, `/stores/${key}/`)).status, 200);
    const { page, assertClean } = await openRecord(key);
    await page
      .getByLabel("Destination")
      .getByText(/^circuit open, tried again in \d+ s$/)
      .waitFor();
    assertClean();
  });

  test("shows markup in a key and a record as text", async () => {
    const key = "<script>document.title='run'</script><img src=x>";
    await ROUTING_CONFIG.put(key, json({ origin: "https://plain.example", headers: { request: { set: { "X-A": "<script>document.title='run'</script>" } } } }));
    const { page, assertClean } = await openRecord(key);
    await page.getByRole("heading", { name: key }).waitFor();
    assert.equal(await page.title(), "Storefronts – kv-edge console");
    assertClean();
  });
});

describe("the panel of releases", () => {
  test("lists them, shows what changed, and rolls back after a confirmation", async () => {
    const { page, assertClean } = await open("#/releases");
    const served = async () => (await rowsOf(page, "Releases")).find(([name]) => name.endsWith(" served"))?.[0];
    await until(async () => assert.equal((await rowsOf(page, "Releases")).length, 2), "two releases");
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

test("the panel of the cache shows what is stored of a URL, and purges it", async (context) => {
  const { page, assertClean } = await open("#/cache");
  const CACHEABLE = { "cache-control": "public, max-age=300", "cache-tag": "news", "content-type": "text/plain" };
  const store = async (headers = CACHEABLE) => {
    const url = upstream.serve((_request, response) => response.writeHead(200, headers).end("stored"));
    await send(worker, `/cache/${url}`);
    await until(async () => assert.notEqual(await CACHE_KV.get(`GET ${url}`), null), "the response in KV");
    return url;
  };
  const lookUp = async (url) => {
    await page.getByLabel("URL", { exact: true }).first().fill(url);
    await page.keyboard.press("Enter");
  };

  await context.test("says that a URL is not stored", async () => {
    await lookUp(`${upstream.origin}/never`);
    await page.getByText("is not stored.").waitFor();
    assertClean();
  });

  await context.test("shows for how long a response is fresh, and purges it soft, then hard", async () => {
    await lookUp(await store());
    await page.getByText("is stored, in 1 variant.").waitFor();
    await page.getByText(/^fresh for \d/).waitFor();

    await button(page, "Purge soft").click();
    await assertUsable(page);
    await page.getByRole("dialog").getByRole("button", { name: "Purge soft" }).click();
    await page.getByText("purged soft: stale").waitFor();

    await page.getByRole("radio", { name: /^Hard/ }).check();
    await button(page, "Purge hard").click();
    await page.getByRole("dialog").getByRole("button", { name: "Purge hard" }).click();
    await page.getByText(/is not stored\.|purged hard: not used/).waitFor();
    assertClean();
  });

  await context.test("shows each variant with the request fields that select it", async () => {
    const url = upstream.serve((request, response) =>
      response.writeHead(200, { ...CACHEABLE, vary: "Accept-Language" }).end(request.headers["accept-language"]),
    );
    for (const language of ["de", "fr"]) await send(worker, `/cache/${url}`, { headers: { "accept-language": language } });
    await until(async () => assert.equal((await CACHE_KV.list({ prefix: `GET ${url}` })).keys.length >= 2, true), "two variants in KV");
    await lookUp(url);
    await page.getByText("is stored, in 2 variants.").waitFor();
    assert.equal(await page.getByText("accept-language", { exact: true }).count(), 2);
    await page.getByText("Fields and key").first().click();
    await assertUsable(page);
    assertClean();
  });

  await context.test("shows the page as JSON beside the variants, and does not count it as one", async () => {
    const url = upstream.serve((_request, response) => response.writeHead(200, { ...CACHEABLE, "content-type": "text/html" }).end("<title>A page</title>"));
    await send(worker, `/cache?url=${url}`);
    const kinds = async () => {
      const { variants } = (await send(worker, `/console/api/cache?url=${url}`, { headers: bearer })).json();
      return variants.map(({ kind }) => kind);
    };
    await until(async () => assert.deepEqual(await kinds(), ["url", "page"]), "page and JSON in KV");
    await lookUp(url);
    await page.getByText("is stored, in 1 variant and as JSON.").waitFor();
    assert.equal(await page.getByText("page as JSON", { exact: true }).count(), 1);

    await CACHE_KV.delete(`GET ${url}`);
    await page.getByRole("button", { name: "Look it up" }).click();
    await page.getByText("is stored as JSON only.").waitFor();
    assertClean();
  });

  await context.test("purges a tag", async () => {
    const url = await store({ ...CACHEABLE, "cache-tag": "sports" });
    await lookUp(url);
    await page.getByText("is stored").waitFor();
    await page.getByLabel("What").selectOption("tag");
    await page.getByRole("radio", { name: /^Soft/ }).check();
    assert.ok(await button(page, "Purge soft").isDisabled(), "no tag is named");
    await page.getByLabel("Tag", { exact: true }).fill("sports");
    await button(page, "Purge soft").click();
    await page.getByRole("dialog").getByRole("button", { name: "Purge soft" }).click();
    await page.getByText("purged soft: stale").waitFor();
    assertClean();
  });

  await context.test("offers no purge to a token of one namespace", async () => {
    const { page, assertClean } = await open("#/cache", { token: signToken({ sub: "looker", namespace: "CACHE_KV" }) });
    await page.getByRole("heading", { name: "Cache" }).waitFor();
    assert.equal(await page.getByRole("heading", { name: "Purge" }).count(), 0);
    assertClean();
  });
});

test("the panel of writes draws the timeline of a run", async (context) => {
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
      [".", 'The key is ".", which no URL can carry.'],
      ["..", 'The key is "..", which no URL can carry.'],
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

test("what has failed is tried again in each panel, and the focus is not lost", async (context) => {
  await USER_CONFIGURATION.put("flags", json(DEMO_FLAGS));
  const { page, goTo, assertClean } = await open();
  const { press, assertFocus, tabTo } = keyboardOf(page);
  /** Has the call of a path fail at `act()`, and tries it again once it does not. */
  const failOnce = async (path, act, look = async () => {}) => {
    await page.route(path, (route) => route.fulfill({ status: 503, json: { errors: [{ code: 1, message: "KV is away." }] } }));
    await act();
    await page.getByRole("alert").filter({ hasText: "KV is away." }).waitFor();
    await look();
    await page.unroute(path);
    await tabTo("Try again");
    await press("Enter");
    await page.getByRole("alert").waitFor({ state: "detached" });
  };

  await context.test("releases, and what changed between two", async () => {
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

  await context.test("the list of storefronts, a route and a split", async () => {
    const list = page.getByRole("navigation", { name: "Storefronts" });
    await failOnce(
      "**/keys?*",
      () => goTo("#/storefronts"),
      async () => {
        assert.equal(await list.getByRole("status").innerText(), "");
        await assertUsable(page);
      },
    );
    await list.getByRole("link").first().waitFor();
    await assertFocus("Prefix");
    await page.getByLabel("Prefix").fill("tea");
    await list.getByText("1 record", { exact: true }).waitFor();
    await failOnce("**/storefronts/route", () => goTo("#/storefronts/tea"));
    await page.getByLabel("Destination").waitFor();
    await assertFocus("Where a request goes");
    await failOnce("**/storefronts/sample", () => page.getByLabel("Country").fill("de"));
    await page.getByRole("figure", { name: "Visitors of tea" }).waitFor();
    await assertFocus("Split of 1,000 visitors");
    assertClean([503, "/keys"], [503, "/route"], [503, "/sample"]);
  });

  await context.test("the check of a record, what a context gets, and a rollout", async () => {
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
});

test("the keyboard alone does in the panels of jobs what a mouse does, and the focus is never lost", async (context) => {
  const cached = upstream.serve((_request, response) => response.writeHead(200, { "cache-control": "public, max-age=300" }).end("stored"));
  await send(worker, `/cache/${cached}`);
  await until(async () => assert.notEqual(await CACHE_KV.get(`GET ${cached}`), null), "the response in KV");
  const { page, assertClean } = await open();
  const { press, type, assertFocus, tabTo, shiftTabTo } = keyboardOf(page);
  /** Types a text in place of what the control has that has the focus. */
  const replace = async (text) => {
    await press("ControlOrMeta+a");
    await type(text);
  };
  const record = json({ ...TEA, active: "black" });

  await context.test("flags: they are changed and saved", async () => {
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

  await context.test("flags: what was typed is dropped, and a conflict is answered both ways", async () => {
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

  await context.test("flags: a context is tried, and a rollout is chosen", async () => {
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

  await context.test("storefronts: a record is begun", async () => {
    const key = uniqueName("shop");
    await shiftTabTo("Storefronts");
    await press("Enter");
    await tabTo("New storefront");
    await type(key);
    await press("Enter");
    await page.getByText("Not stored yet").waitFor();
    await tabTo(`Record of ${key}, as JSON`);
    await replace('{"origin": "https://plain.example"}');
    await page.getByText("Not stored yet · no faults").waitFor();
    await shiftTabTo("Save");
    await press("Enter");
    await page.getByText("Saved · no faults").waitFor();
    await assertFocus("Save");
    assert.equal(await ROUTING_CONFIG.get(key), '{"origin": "https://plain.example"}');
  });

  await context.test("storefronts: a record is found, changed and saved", async () => {
    await shiftTabTo("Storefronts");
    await press("Enter");
    await tabTo("Prefix");
    await type("te");
    await page.getByText("1 record", { exact: true }).waitFor();
    await tabTo("tea");
    await press("Enter");
    await page.getByText("As stored · no faults").waitFor();
    await tabTo("Record of tea, as JSON");
    await replace(record);
    await page.getByText("Changed · no faults").waitFor();
    await press("Shift+Tab");
    await assertFocus("Save");
    await press("Enter");
    await page.getByText("Saved · no faults").waitFor();
    await assertFocus("Save");
    assert.deepEqual(JSON.parse(await ROUTING_CONFIG.get("tea")), JSON.parse(record));
    await tabTo("Country");
    await type("de");
    await tabTo("Visitor");
    const routed = page.waitForResponse((response) => response.url().endsWith("/storefronts/route") && response.request().postDataJSON().visitor !== undefined);
    await type("0123456789abcdef");
    assert.equal((await (await routed).json()).variant, "black");
    await page.getByLabel("Destination").getByText("https://black.example/base/").waitFor();
    await ROUTING_CONFIG.put("tea", JSON.stringify(TEA));
  });

  await context.test("releases: two are compared, and one is rolled back to", async () => {
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
  });

  await context.test("the cache: a URL is looked up and purged", async () => {
    await shiftTabTo("Cache");
    await press("Enter");
    await tabTo("URL");
    await type(cached);
    await tabTo("Look it up");
    await press("Enter");
    await page.getByText("is stored, in 1 variant.").waitFor();
    await assertFocus("Look it up");
    await tabTo("Fields and key");
    await press("Enter");
    await page.getByText("key in KV").waitFor();
    await tabTo("What");
    await tabTo(/^Soft:/);
    await press("ArrowDown");
    await tabTo("Purge hard");
    await press("Enter");
    await assertFocus("Cancel");
    await tabTo("Purge hard");
    await press("Enter");
    await page.getByText(/^Purged\./).waitFor();
    await assertFocus("Purge hard");
  });

  await context.test("writes: a run begins, and is read as a table", async () => {
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
  });
  assertClean();
});

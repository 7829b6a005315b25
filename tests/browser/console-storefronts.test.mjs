// The console's panel of storefronts, in a browser and on the built Worker: their records, and
// where visitors are sent. It fits a phone and a wide window, is accessible dark and light, and
// works with the keyboard alone.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { send } from "../harness/http.mjs";
import { signToken } from "../harness/kv-api.mjs";
import { uniqueName } from "../harness/names.mjs";
import { startUpstream } from "../harness/upstream.mjs";
import { assertBarDivided, assertUsable, button, failOnceIn, keyboardOf, paste, rowsOf, startConsole, until } from "./console.mjs";

const [upstream, otherUpstream] = await Promise.all([startUpstream(), startUpstream()]);
const { worker, open } = await startConsole({
  vars: { ROUTING_ORIGINS: `green.example,black.example,plain.example,${upstream.origin},${otherUpstream.origin}` },
});
const { ROUTING_CONFIG } = worker.env;

const json = (value) => JSON.stringify(value, null, 2);
const TEA = {
  variants: [
    { name: "green", origin: "https://green.example", weight: 80 },
    { name: "black", origin: "https://black.example/base", weight: 20 },
  ],
};

before(() => ROUTING_CONFIG.put("tea", JSON.stringify(TEA)));

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
    await page.getByLabel("Prefix").fill("shop");
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
    await page.getByRole("navigation", { name: "Storefronts" }).getByRole("link", { name: key }).waitFor();
    assert.equal(await ROUTING_CONFIG.get(key), '{"origin": "https://plain.example"}');
    assertClean();
  });

  test("shows what somebody else has saved before it is overwritten, and keeps either", async () => {
    const key = uniqueName("shop");
    const to = (path) => `{\n  "origin": "https://plain.example/${path}"\n}`;
    await ROUTING_CONFIG.put(key, to("first"));
    const { page, assertClean } = await openRecord(key);
    const shown = () =>
      page
        .getByRole("textbox", { name: editorOf(key) })
        .locator(".cm-line")
        .allTextContents();
    const conflict = page.getByRole("alert").filter({ hasText: "Somebody else has changed or deleted this since you opened it." });
    const saveMine = async (mine) => {
      await paste(page, editorOf(key), to(mine));
      await page.getByText("Changed · no faults").waitFor();
      await button(page, "Save").click();
      await conflict.waitFor();
    };
    await paste(page, editorOf(key), to("mine"));
    await page.getByText("Changed · no faults").waitFor();
    await ROUTING_CONFIG.put(key, to("theirs"));
    await button(page, "Save").click();
    await conflict.waitFor();
    await conflict.getByText("What is stored now").click();
    await conflict.getByText('/theirs"').waitFor();
    await assertUsable(page);
    assert.equal(await ROUTING_CONFIG.get(key), to("theirs"));
    await button(page, "Load theirs, drop mine").click();
    await page.getByText("As stored · no faults").waitFor();
    assert.deepEqual(await shown(), to("theirs").split("\n"));
    await page.getByLabel("Destination").getByText("https://plain.example/theirs/").waitFor();

    // Consent to overwrite is for the version that was shown.
    await ROUTING_CONFIG.put(key, to("theirs-again"));
    await saveMine("mine-again");
    await ROUTING_CONFIG.put(key, to("theirs-at-last"));
    await button(page, "Overwrite theirs").click();
    await conflict.getByText("What is stored now").click();
    await conflict.getByText('/theirs-at-last"').waitFor();
    assert.equal(await ROUTING_CONFIG.get(key), to("theirs-at-last"));
    await button(page, "Overwrite theirs").click();
    await page.getByText("Saved · no faults").waitFor();
    assert.equal(await ROUTING_CONFIG.get(key), to("mine-again"));

    // A deletion is a change, too, and writing the record again is no conflict with oneself.
    await ROUTING_CONFIG.delete(key);
    await saveMine("kept");
    await conflict.getByText("Nothing is stored now.").waitFor();
    await button(page, "Overwrite theirs").click();
    await page.getByText("Saved · no faults").waitFor();
    await paste(page, editorOf(key), to("last"));
    await page.getByText("Changed · no faults").waitFor();
    await button(page, "Save").click();
    await until(async () => assert.equal(await ROUTING_CONFIG.get(key), to("last")), "the record in KV");
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

test("the list of storefronts, a route and a split are tried again, and the focus is not lost", async () => {
  const { page, goTo, assertClean } = await open();
  const { assertFocus } = keyboardOf(page);
  const failOnce = failOnceIn(page);
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

test("the keyboard alone does what a mouse does, and the focus is never lost", async (context) => {
  const { page, assertClean } = await open();
  const { press, type, replace, assertFocus, tabTo, shiftTabTo } = keyboardOf(page);
  const record = json({ ...TEA, active: "black" });

  await context.test("a record is begun", async () => {
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

  await context.test("a record is found, changed and saved", async () => {
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
  assertClean();
});

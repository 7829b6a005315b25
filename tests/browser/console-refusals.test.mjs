// The console in a browser: names that KV does not accept, and what the token does not reach or
// may not change. The page says so where somebody types or opens them, and makes no call that the
// Worker would refuse.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { send } from "../harness/http.mjs";
import { assertResult, NAMESPACES, signToken } from "../harness/kv-api.mjs";
import { uniqueName } from "../harness/names.mjs";
import { bearer } from "../harness/worker.mjs";
import { choose, editor, input, lines, link, newFolder, place, rows, said, save, settles, startBrowse, type } from "./browse.mjs";
import { assertUsable, button, keyboardOf } from "./console.mjs";

const { worker, open, KV, stored } = await startBrowse();
const { ROUTING_CONFIG } = worker.env;
const RECORD = '{"origin": "https://plain.example"}';

/** Records the paths and queries of the calls that a page makes from now on. */
function callsOf(page) {
  const calls = [];
  page.on("request", (request) => {
    const { pathname, search } = new URL(request.url());
    if (/^\/(client|console\/api)\//.test(pathname)) calls.push(`${request.method()} ${pathname}${search}`);
  });
  return calls;
}

/** Makes a namespace as a client does, and returns its id. */
async function createNamespace(title) {
  const options = { method: "POST", headers: { ...bearer, "Content-Type": "application/json" }, body: JSON.stringify({ title }) };
  return assertResult(await send({ url: worker.directUrl }, `/client/v4${NAMESPACES}`, options)).id;
}

/** Returns what is said at a field. */
const helpOf = (page, label) =>
  page.getByLabel(label, { exact: true }).evaluate((field) => document.getElementById(field.getAttribute("aria-describedby"))?.innerText);

const dotsRefused = (key) => `The key is "${key}", which Workers KV does not accept. Choose another name.`;

describe("a key that is a segment of dots, which a browser resolves in a URL", () => {
  test("is not read if an address names it, in Browse and as a storefront", async () => {
    const { page, goTo, assertClean } = await open("#/browse/WRITES");
    await said(page, "that is all");
    const calls = callsOf(page);
    for (const key of [".", ".."]) {
      await goTo(place("", key));
      await page.getByText(dotsRefused(key)).waitFor();
      assert.equal(await button(page, "Save").count(), 0);
      await goTo(`#/storefronts/${key}`);
      await page.getByText(dotsRefused(key)).waitFor();
      assert.equal(await page.getByRole("textbox", { name: /^Record of/ }).count(), 0);
      await assertUsable(page);
    }
    const long = "k".repeat(513);
    await goTo(`#/storefronts/${long}`);
    await page.getByText("The key has 513 bytes; Workers KV accepts 512 at most.").waitFor();
    await goTo(place("", long));
    await page.getByText("The key has 513 bytes; Workers KV accepts 512 at most.").waitFor();
    await assertUsable(page);
    await button(page, "Close").click();
    await page.locator('[role="listbox"]:focus').waitFor();
    assert.equal(new URL(page.url()).hash, place(""));
    await said(page, "that is all");
    assert.deepEqual(
      calls.filter((call) => !/\/(namespaces|keys)\?/.test(call) || /prefix=|limit=10$/.test(call)),
      [],
    );
    assertClean();
  });

  test("is refused as somebody types it: a new key, a copy, another name, a storefront", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "1");
    const { page, goTo, assertClean } = await open(place(folder, `${folder}a`));
    const assertRefuses = async (label, action, key = "..", allowed = `${folder}b`) => {
      await page.getByLabel(label, { exact: true }).fill(key);
      await settles(() => helpOf(page, label), dotsRefused(key));
      assert.ok(await button(page, action).isDisabled(), `${action} with "${key}"`);
      await page.getByLabel(label, { exact: true }).fill(allowed);
      await page.getByText(dotsRefused(key)).waitFor({ state: "detached" });
      assert.ok(await button(page, action).isEnabled(), `${action} with "${allowed}"`);
    };
    await choose(page, "Actions", "Copy…");
    await assertRefuses("As key", "Copy");
    await button(page, "Cancel").click();
    await choose(page, "Actions", "Rename…");
    await assertRefuses("New name", "Rename", ".");
    await button(page, "Cancel").click();
    await button(page, "New key").click();
    await assertRefuses("Key", "Save", ".");
    await assertRefuses("Key", "Save", "..");
    await page.getByLabel("Key", { exact: true }).fill("..");
    await assertUsable(page);
    const buffer = Buffer.from('{"key":"..","value":"1"}\n');
    await choose(page, "More", "Import…");
    await page.locator("dialog input[type=file]").setInputFiles({ name: "pairs.ndjson", mimeType: "text/plain", buffer });
    await page
      .getByRole("alert")
      .filter({ hasText: `Line 1: "..": ${dotsRefused("..")}` })
      .waitFor();
    await button(page, "Cancel").click();
    await goTo("#/storefronts");
    await assertRefuses("New storefront", "Begin its record", "..", "tea");
    assertClean();
  });

  test("is told from keys that only look like it: they are written, read, renamed, copied and deleted as themselves", async () => {
    const names = ["%2e", "%2E.", "a/../b", "./a", "../a", "a/..", "...", "\\..\\a", "..%2f", "/../"];
    const { page, goTo, assertClean } = await open(place(""));
    for (const name of names) {
      await goTo(`${place("")}?new=yes`);
      await input(page, "Key").fill(name);
      await button(page, "Text").click();
      await type(page, "made");
      await save(page);
      await page.locator(".key-title").getByText(name, { exact: true }).waitFor();
      assert.equal(await stored(name), "made", name);
      await page.reload();
      await settles(() => lines(page), ["made"]);
      await type(page, "changed");
      await save(page);
      await said(page, "Saved");
      assert.equal(await stored(name), "changed", name);
      await choose(page, "Actions", "Rename…");
      await page.getByLabel("New name").fill(`${name}%2e`);
      await button(page, "Rename").click();
      await page.locator(".key-title").getByText(`${name}%2e`, { exact: true }).waitFor();
      assert.deepEqual([await stored(name), await stored(`${name}%2e`)], [null, "changed"], name);
      await choose(page, "Actions", "Delete…");
      await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
      await page.getByRole("region", { name: "Details of the key" }).waitFor({ state: "detached" });
      assert.equal(await stored(`${name}%2e`), null, name);
    }
    await goTo("#/storefronts/%252e");
    await type(page, RECORD, /^Record of/);
    await page.getByText("· no faults").waitFor();
    await save(page);
    await page.getByText("Saved · no faults").waitFor();
    assert.equal(await ROUTING_CONFIG.get("%2e"), RECORD);
    assertClean();
  });

  test("as the title of a namespace is refused, and one that has it can be renamed", async () => {
    const id = await createNamespace("..");
    const { page, assertClean } = await open("#/browse");
    await link(page, "..").click();
    await page.getByText("No URL can carry the title “..”. Rename the namespace to see its keys.").waitFor();
    await keyboardOf(page).assertFocus("Browse");
    await assertUsable(page);
    await page.goBack();
    await button(page, "New namespace").click();
    await input(page, "Title").fill(".");
    await settles(() => helpOf(page, "Title"), "No URL can carry the title “.”.");
    await input(page, "Title").fill(" ");
    await settles(() => helpOf(page, "Title"), "A title has more than spaces.");
    assert.ok(await button(page, "Create").isDisabled());
    await button(page, "Cancel").click();
    const title = uniqueName("dots");
    await page.getByRole("row", { name: id }).getByRole("button", { name: "Rename…" }).click();
    await input(page, "Title").fill(title);
    await button(page, "Rename").click();
    await link(page, title).click();
    await said(page, "0 keys loaded, that is all");
    assertClean();
  });
});

describe("the longest key", () => {
  test("is shorter in a namespace that a client created, and each field says by how much", async () => {
    const title = uniqueName("made");
    await createNamespace(title);
    const folder = newFolder();
    await KV.put(`${folder}a`, "1");
    /** Returns a name with so many bytes. */
    const named = (count) => `${folder}${"é".repeat((count - folder.length) / 2)}${"k".repeat((count - folder.length) % 2)}`;
    const { page, goTo, assertClean } = await open(`${place("", undefined, title)}?new=yes`);
    const ofCreated = "The key has 480 bytes; this namespace accepts 479 at most.";
    const ofBinding = "The key has 513 bytes; Workers KV accepts 512 at most.";
    /** Types the longest name and one that is too long, and checks that the button follows. */
    const assertMost = async (label, action, count, problem) => {
      await page.getByLabel(label, { exact: true }).fill(named(count + 1));
      await settles(() => helpOf(page, label), problem);
      assert.ok(await button(page, action).isDisabled());
      await page.getByLabel(label, { exact: true }).fill(named(count));
      await page.getByText(problem).waitFor({ state: "detached" });
      assert.ok(await button(page, action).isEnabled());
    };
    await assertMost("Key", "Save", 479, ofCreated);
    await type(page, "1");
    await save(page);
    await page.locator(".key-title", { hasText: named(479) }).waitFor();
    await choose(page, "Actions", "Rename…");
    await assertMost("New name", "Rename", 479, ofCreated);
    await button(page, "Cancel").click();
    await choose(page, "More", "Upload files…");
    await page.locator("dialog input[type=file]").setInputFiles({ name: "abc", mimeType: "text/plain", buffer: Buffer.from("1") });
    await assertMost("Prefix", "Upload", 476, ofCreated);
    await page.getByLabel("Prefix", { exact: true }).fill(named(477));
    await assertUsable(page);
    await button(page, "Cancel").click();
    await choose(page, "More", "Import…");
    const buffer = Buffer.from([479, 480].map((count) => JSON.stringify({ key: named(count), value: "1" })).join("\n"));
    await page.locator("dialog input[type=file]").setInputFiles({ name: "pairs.ndjson", mimeType: "text/plain", buffer });
    await page
      .getByRole("alert")
      .filter({ hasText: `Line 2: "${named(480)}": ${ofCreated}` })
      .waitFor();
    await button(page, "Cancel").click();
    await page.getByLabel("Keys that begin with").fill(named(480));
    await page.getByText("The prefix has 480 bytes; this namespace accepts 479 at most.").waitFor();

    await goTo(place(folder, `${folder}a`));
    await editor(page).waitFor();
    await choose(page, "Actions", "Copy…");
    await assertMost("As key", "Copy", 512, ofBinding);
    await page.getByLabel("Into namespace").selectOption(title);
    await settles(() => helpOf(page, "As key"), "The key has 512 bytes; this namespace accepts 479 at most.");
    assert.ok(await button(page, "Copy").isDisabled());
    await assertMost("As key", "Copy", 479, ofCreated);
    await button(page, "Cancel").click();
    await button(page, "New key").click();
    await assertMost("Key", "Save", 512, ofBinding);
    await type(page, "1");
    await save(page);
    await page.locator(".key-title", { hasText: named(512) }).waitFor();
    assertClean();
  });
});

describe("a token with a prefix", () => {
  const reason = (prefix) => `The token reaches only keys that begin with “${prefix}”.`;

  test("is told so where it lists, filters or opens what it does not reach, in Browse", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "1");
    const { page, goTo, assertClean } = await open(place(folder), { token: signToken({ namespace: "WRITES", prefix: folder, write: true }) });
    await rows(page).first().waitFor();
    const calls = callsOf(page);
    const empty = page.locator(".empty");
    await goTo(place("other/"));
    await settles(() => empty.innerText(), reason(folder));
    await assertUsable(page);
    await goTo(place("", "other"));
    await page.getByRole("region", { name: "Details of the key" }).getByText(reason(folder)).waitFor();
    await button(page, "Close").click();
    await rows(page).first().waitFor();
    // Above its own prefix it sees what is below that.
    await page.getByLabel("Keys that begin with").fill(folder.slice(0, 2));
    await settles(() => new URL(page.url()).hash, place(folder.slice(0, 2)));
    await said(page, "1 key loaded, that is all");
    await page.getByLabel("Keys that begin with").fill("x");
    await settles(() => empty.innerText(), reason(folder));
    await page.getByLabel("Keys that begin with").fill("");
    await rows(page).first().waitFor();
    await goTo(place(`${folder}x`));
    await settles(() => empty.innerText(), "No key begins with this prefix.");
    assert.deepEqual(
      calls.filter((call) => call.includes("other") || /prefix=x/.test(call)),
      [],
    );
    assertClean();
  });

  test("is told so in the list of storefronts, at the record of another one, and where a request leads there", async () => {
    const prefix = `${uniqueName("crew")}-`;
    await ROUTING_CONFIG.put("tea", RECORD);
    await ROUTING_CONFIG.put(`${prefix}tea`, RECORD);
    const token = signToken({ sub: "crew", namespace: "ROUTING_CONFIG", prefix, write: true });
    const { page, goTo, assertClean } = await open(`#/storefronts/${prefix}tea`, { token });
    const [route, split] = ["Where a request goes", "Split"].map((name) => page.getByRole("region", { name, exact: true }));
    await route.getByLabel("Destination").waitFor();
    const leadsTo = `The request leads to the record “tea”. ${reason(prefix)}`;
    await page.getByLabel("URL, or path of the storefront").fill("https://kv-edge.example.workers.dev/stores/tea/cart");
    await route.getByText(leadsTo).waitFor();
    await split.getByText(leadsTo).waitFor();
    await assertUsable(page);
    await page.getByLabel("URL, or path of the storefront").fill(`https://kv-edge.example.workers.dev/stores/${prefix}tea/cart`);
    await route.getByText("https://plain.example/cart").waitFor();
    const calls = callsOf(page);
    await page.getByLabel("Prefix").fill("te");
    await settles(() => helpOf(page, "Prefix"), reason(prefix));
    await settles(() => page.getByRole("navigation", { name: "Storefronts" }).getByRole("link").count(), 0);
    assert.equal(await page.getByText("0 records").count(), 0);
    await assertUsable(page);
    await page.getByLabel("Prefix").fill("");
    await page.getByText("1 record", { exact: true }).waitFor();
    await goTo("#/storefronts/tea");
    await page.getByRole("main").getByText(reason(prefix)).last().waitFor();
    assert.equal(await page.getByRole("textbox", { name: /^Record of/ }).count(), 0);
    assert.deepEqual(
      calls.filter((call) => /prefix=te|key=tea/.test(call)),
      [],
    );
    assertClean();
  });
});

describe("what the token may", () => {
  test("a token that only reads is offered no change, and sees the keys with its prefix alone", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, '{"a":1}');
    const { page, goTo, assertClean } = await open("", { token: signToken({ namespace: "WRITES", prefix: folder }) });
    await rows(page).first().waitFor();
    assert.deepEqual(await rows(page).allInnerTexts(), ["a"]);
    assert.deepEqual(await page.getByRole("navigation", { name: "Panels" }).getByRole("link").allInnerTexts(), ["Browse"]);
    await rows(page).first().click();
    await editor(page).waitFor();
    await type(page, "changed");
    assert.deepEqual(await lines(page), ["{", '  "a": 1', "}"]);
    for (const name of ["New key", "Save", "New namespace"]) assert.equal(await button(page, name).count(), 0, name);
    await page.locator("summary", { hasText: "More" }).click();
    await page.locator("summary", { hasText: "Actions" }).click();
    for (const name of ["Import…", "Upload files…", "Delete by prefix…", "Rename…", "Delete…", "Replace with a file…"]) {
      assert.equal(await button(page, name).count(), 0, name);
    }
    await assertUsable(page);
    await goTo(`${place(folder)}?new=yes`);
    await page.locator(".key-details").waitFor({ state: "detached" });
    assertClean();
  });

  test("a token that writes changes keys with its prefix", async () => {
    const folder = newFolder();
    const { page, assertClean } = await open("", { token: signToken({ namespace: "WRITES", prefix: folder, write: true }) });
    await button(page, "New key").click();
    assert.equal(await input(page, "Key").inputValue(), folder);
    await input(page, "Key").fill(`${folder}mine`);
    await type(page, "[1]");
    await save(page);
    await rows(page).filter({ hasText: "mine" }).waitFor();
    assert.equal(await stored(`${folder}mine`), "[1]");
    assertClean();
  });

  test("a token with a prefix is offered no other name: the field says why as somebody types", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "1");
    const { page, assertClean } = await open("", { token: signToken({ namespace: "WRITES", prefix: folder, write: true }) });
    const reason = `The token reaches only keys that begin with “${folder}”.`;
    const refused = page.getByText(reason, { exact: true });
    /** Types into a field what the token may and may not, and checks that the button follows. */
    const assertFollows = async (field, action, { allowed = `${folder}b`, others = [folder.slice(0, -1), "other", ""] } = {}) => {
      for (const name of others) {
        await field.fill(name);
        await refused.waitFor();
        assert.ok(await button(page, action).isDisabled(), `${action} with "${name}"`);
      }
      await field.fill(allowed);
      await refused.waitFor({ state: "detached" });
      assert.ok(await button(page, action).isEnabled(), `${action} with "${allowed}"`);
    };
    await button(page, "New key").click();
    await assertFollows(input(page, "Key"), "Save");
    await input(page, "Key").fill("other");
    await assertUsable(page);
    await button(page, "Close").click();

    await rows(page).first().click();
    await choose(page, "Actions", "Copy…");
    await assertFollows(input(page, "As key"), "Copy");
    await input(page, "As key").fill("other");
    await assertUsable(page);
    await button(page, "Cancel").click();
    await choose(page, "Actions", "Rename…");
    await assertFollows(input(page, "New name"), "Rename");
    await button(page, "Cancel").click();
    await button(page, "Close").click();

    await choose(page, "More", "Upload files…");
    await page.locator("dialog input[type=file]").setInputFiles({ name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("1") });
    await assertFollows(input(page, "Prefix"), "Upload", { allowed: folder, others: ["other/", ""] });
    await button(page, "Cancel").click();
    await choose(page, "More", "Delete by prefix…");
    await assertFollows(input(page, "Prefix"), "Count");
    await button(page, "Cancel").click();
    await choose(page, "More", "Export…");
    await assertFollows(input(page, "Prefix"), "Export");
    await button(page, "Cancel").click();
    await choose(page, "More", "Import…");
    const pairs = [`${folder}b`, "other"].map((key) => JSON.stringify({ key, value: "1" })).join("\n");
    await page.locator("dialog input[type=file]").setInputFiles({ name: "pairs.ndjson", mimeType: "text/plain", buffer: Buffer.from(pairs) });
    await page
      .getByRole("alert")
      .filter({ hasText: `Line 2: "other": ${reason}` })
      .waitFor();
    assert.ok(await button(page, "Write").isDisabled());
    assertClean();
  });

  test("above its prefix a token is offered names with the prefix all the same", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "1");
    const { page, assertClean } = await open(place(""), { token: signToken({ namespace: "WRITES", prefix: folder, write: true }) });
    await rows(page).first().waitFor();
    await button(page, "New key").click();
    assert.equal(await input(page, "Key").inputValue(), folder);
    for (const action of ["Upload files…", "Delete by prefix…", "Export…"]) {
      await choose(page, "More", action);
      assert.equal(await input(page, "Prefix").inputValue(), folder, action);
      await button(page, "Cancel").click();
    }
    assertClean();
  });

  test("the list of revoked tokens is read-only for a token that writes, and is left out of a deletion", async () => {
    const { USER_CONFIGURATION } = worker.env;
    await USER_CONFIGURATION.put("kv-edge:revoked-tokens", '["nobody"]');
    await USER_CONFIGURATION.put("kv-edge:other", "1");
    const token = signToken({ namespace: "USER_CONFIGURATION", prefix: "kv-edge:", write: true });
    const { page, assertClean } = await open(place("kv-edge:", "kv-edge:revoked-tokens", "USER_CONFIGURATION"), { token });
    await page.getByText("The token may not change “kv-edge:revoked-tokens”.").waitFor();
    assert.equal(await button(page, "Save").count(), 0);
    await button(page, "New key").click();
    await input(page, "Key").fill("kv-edge:revoked-tokens");
    assert.ok(await button(page, "Save").isDisabled());
    await button(page, "Close").click();
    await choose(page, "More", "Delete by prefix…");
    await button(page, "Count").click();
    await said(page, "1 key with this prefix. Deleting them cannot be undone. The token may not delete kv-edge:revoked-tokens.");
    await button(page, "Delete 1 key").click();
    await said(page, "1 key deleted.");
    assert.deepEqual(await Promise.all(["revoked-tokens", "other"].map((name) => stored(`kv-edge:${name}`, USER_CONFIGURATION))), ['["nobody"]', null]);
    await USER_CONFIGURATION.delete("kv-edge:revoked-tokens");
    assertClean();
  });
});

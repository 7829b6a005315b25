// The console in a browser: in its panel "Browse" a key's value, metadata and expiration are
// changed, also while somebody else changes them.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { choose, lines, newFolder, place, rows, said, save, settles, startBrowse, type } from "./browse.mjs";
import { assertUsable, button } from "./console.mjs";

const { worker, open, KV, stored } = await startBrowse();

describe("a value and its metadata", () => {
  test("a value is saved as compact as it was, with metadata and an expiration", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, '{"n":12345678901234567890,"on":false}');
    const { page, assertClean } = await open(place(folder, `${folder}a`));
    await type(page, '{\n  "n": 12345678901234567890,\n  "on": true\n}');
    await type(page, '{"by": "ann"}', "Metadata");
    await page.getByLabel("Expires").selectOption("in");
    await page.getByLabel("Amount").fill("2");
    await save(page);
    await said(page, "Saved");
    const { value, metadata } = await KV.getWithMetadata(`${folder}a`);
    assert.equal(value, '{"n":12345678901234567890,"on":true}');
    assert.deepEqual(metadata, { by: "ann" });
    const [{ expiration }] = (await KV.list({ prefix: folder })).keys;
    assert.ok(Math.abs(expiration - Date.now() / 1000 - 2 * 86400) < 120, `${expiration}`);
    assert.match(await rows(page).first().innerText(), /"by":"ann".*\s+in 2 d/);
    // A second change keeps what it does not touch.
    await type(page, '{"on": 1}');
    await save(page);
    await settles(() => stored(`${folder}a`), '{"on":1}');
    const [again] = (await KV.list({ prefix: folder })).keys;
    assert.deepEqual([again.expiration, again.metadata], [expiration, { by: "ann" }]);
    assertClean();
  });

  test("a save changes no byte that nobody touched: line endings, indentation, one line", async () => {
    const folder = newFolder();
    const values = {
      crlf: '{\r\n    "a": 1\r\n}\r\n',
      python: '{"a": 1, "b": [1, 2]}\n',
      text: "1\r\n2\r\n",
      mixed: "1\r\n2\n",
    };
    for (const [key, value] of Object.entries(values)) await KV.put(folder + key, value);
    const { page, assertClean } = await open(place(folder));
    for (const key of ["crlf", "python", "text"]) {
      await rows(page).filter({ hasText: key }).click();
      await page.locator(".key-title", { hasText: key }).waitFor();
      const shown = (await lines(page)).join("\n");
      await type(page, shown.replace("1", "7"));
      // The view from which it is saved makes no difference.
      await button(page, "Hex").click();
      await save(page);
      await said(page, "Saved");
      assert.equal(await stored(folder + key), values[key].replace("1", "7"), key);
    }
    await rows(page).filter({ hasText: "mixed" }).click();
    await page.getByText("An editor would change this text").waitFor();
    await type(page, "x");
    assert.ok(await button(page, "Save").isDisabled());
    assertClean();
  });

  test("text that is not JSON is not saved as JSON, and its place is marked", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, '{"on":false}');
    const { page, assertClean } = await open(place(folder, `${folder}a`));
    await type(page, '{"on": fals}');
    await page.locator(".cm-lintRange-error").waitFor();
    await save(page);
    await said(page, "The value is not JSON");
    await button(page, "Hex").click();
    await save(page);
    await said(page, "The value is not JSON");
    await button(page, "JSON").click();
    assert.equal(await stored(`${folder}a`), '{"on":false}');
    // What is missing stands after the last character.
    await type(page, '{"on":');
    await settles(() => page.locator(".cm-lintRange-error").allTextContents(), [":"]);
    await type(page, "{", "Metadata");
    await type(page, '{"on": true}');
    await save(page);
    await said(page, "The metadata is not JSON");
    await button(page, "Discard changes").click();
    assert.deepEqual(await lines(page), ["{", '  "on": false', "}"]);
    assertClean();
  });

  test("a fault of a record is marked at the member that it is about", async () => {
    const definitions = { flags: { fine: { variants: { on: true }, default: "on" }, "a.b": { variants: { on: true }, default: "gone" } } };
    await worker.env.USER_CONFIGURATION.put("flags", JSON.stringify(definitions, null, 2));
    const { page, assertClean } = await open("#/flags");
    const marked = page.locator(".cm-lintRange-error");
    await marked.first().waitFor();
    assert.match((await marked.allTextContents()).join(""), /^"default": "gone"$/);
    assertClean();
  });

  test("a number in metadata that is stored rounded is said to be so as somebody types it", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "1");
    const { page, assertClean } = await open(place(folder, `${folder}a`));
    const metadata = (n) => `{"n": ${n}, "exact": [9007199254740992, -0.50, 1E3, 0, 1e-7, "9007199254740993"]}`;
    await type(page, metadata("1e400"), "Metadata");
    await said(page, "numbers of JavaScript: 1e400 is stored as null.");
    await type(page, metadata("9007199254740993"), "Metadata");
    await said(page, "numbers of JavaScript: 9007199254740993 is stored as 9007199254740992.");
    await assertUsable(page);
    await save(page);
    await said(page, "Saved");
    assert.equal((await KV.getWithMetadata(`${folder}a`)).metadata.n, 9007199254740992);
    await type(page, metadata("1"), "Metadata");
    await page.getByText("numbers of JavaScript").waitFor({ state: "detached" });
    assertClean();
  });
});

describe("an expiration", () => {
  test("an expiration that nobody touches stays, even in the hour that comes twice in autumn", async () => {
    const folder = newFolder();
    const expiration = Date.UTC(2037, 9, 25, 1, 30) / 1000;
    await KV.put(`${folder}a`, "first", { expiration });
    const { page, assertClean } = await open(place(folder, `${folder}a`), { timezoneId: "Europe/Berlin" });
    await type(page, "second");
    await save(page);
    await said(page, "Saved");
    assert.deepEqual((await KV.list({ prefix: folder })).keys, [{ name: `${folder}a`, expiration }]);
    assertClean();
  });

  test("an expiration that KV cannot tell is never written as none, and an error has a way out", async () => {
    const folder = newFolder();
    const key = `${folder}a`;
    const expiration = Math.floor(Date.now() / 1000) + 7200;
    await KV.put(key, "first", { expiration });
    const { page, assertClean } = await open(place(folder));
    const path = "**/WRITES/keys?*limit=10";
    await rows(page).first().waitFor();
    await page.route(path, (route) => route.fulfill({ status: 503, json: { errors: [{ code: 10001, message: "no list" }] } }));
    await rows(page).first().click();
    await page.getByRole("alert").filter({ hasText: "no list" }).waitFor();
    await page.unroute(path);
    // KV lists a key up to a minute after it can be read.
    await page.route(path, (route) => route.fulfill({ json: { result: [], success: true, errors: [], messages: [], result_info: {} } }));
    await button(page, "Read again").click();
    await page.locator(".chip", { hasText: "expiration unknown" }).waitFor();
    await type(page, "second");
    await save(page);
    await said(page, "its expiration is unknown");
    assert.equal(await stored(key), "first");
    await page.unroute(path);
    await button(page, "Discard changes").click();
    await choose(page, "Actions", "Read again");
    await page.locator(".chip", { hasText: "expires in" }).waitFor();
    await type(page, "second");
    await save(page);
    await said(page, "Saved");
    assert.deepEqual((await KV.list({ prefix: folder })).keys, [{ name: key, expiration }]);
    assert.equal(await stored(key), "second");
    assertClean([503, "/keys"]);
  });

  test("an expiration that KV does not take is refused at its field", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "1");
    const { page, assertClean } = await open(place(folder, `${folder}a`));
    /** Returns what is said at a field. */
    const helpOf = (label) => page.getByLabel(label).evaluate((field) => document.getElementById(field.getAttribute("aria-describedby"))?.innerText);
    await page.getByLabel("Expires").selectOption("in");
    for (const [amount, problem] of [
      ["24856", "KV keeps a key for 24,855 days at most."],
      ["0.0001", "The expiration must be at least 60 seconds from now."],
      ["24855", undefined],
      ["1000000000", "KV keeps a key for 24,855 days at most."],
    ]) {
      await page.getByLabel("Amount").fill(amount);
      await settles(() => helpOf("Amount"), problem);
    }
    await assertUsable(page);
    await save(page);
    await said(page, "KV keeps a key for 24,855 days at most.");
    await page.getByLabel("Expires").selectOption("at");
    await settles(() => helpOf("Date and time"), "Choose a date and a time.");
    await page.getByLabel("Date and time").fill("2040-01-01T00:00");
    await settles(async () => (await helpOf("Date and time"))?.replace(/\d.*/, "…"), "KV knows no expiration after …");
    await page.getByLabel("Date and time").fill("2037-01-01T00:00");
    await settles(() => helpOf("Date and time"), undefined);
    assert.deepEqual((await KV.list({ prefix: folder })).keys, [{ name: `${folder}a` }]);
    assertClean();
  });
});

describe("a change by somebody else", () => {
  test("a change by somebody else is noticed before it is overwritten", async () => {
    const folder = newFolder();
    const key = `${folder}a`;
    await KV.put(key, "first");
    const { page, assertClean } = await open(place(folder, key));
    await type(page, "mine");
    await KV.put(key, "theirs");
    await save(page);
    const dialog = page.getByRole("dialog", { name: "Somebody changed this key" });
    await dialog.waitFor();
    assert.match(await dialog.innerText(), /theirs[\s\S]*mine[\s\S]*no compare-and-swap/);
    await assertUsable(page);
    await page.keyboard.press("Escape");
    assert.equal(await stored(key), "theirs");
    await save(page);
    await button(page, "Take what is stored").click();
    assert.deepEqual(await lines(page), ["theirs"]);
    await type(page, "mine again");
    // The same bytes with other metadata are a change, too.
    await KV.put(key, "theirs", { metadata: { by: "bob" } });
    await save(page);
    await dialog.waitFor();
    await button(page, "Replace with mine").click();
    await said(page, "Saved");
    assert.equal(await stored(key), "mine again");
    // Nobody changed it since: our own write is no conflict.
    await type(page, "once more");
    await save(page);
    await settles(() => stored(key), "once more");
    assertClean();
  });

  test("a change of the expiration alone by somebody else is noticed", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "first");
    const { page, assertClean } = await open(place(folder, `${folder}a`));
    await type(page, "mine");
    await KV.put(`${folder}a`, "first", { expirationTtl: 3600 });
    await save(page);
    await page.getByRole("dialog", { name: "Somebody changed this key" }).waitFor();
    assertClean();
  });

  test("a deletion by somebody else is noticed", async () => {
    const folder = newFolder();
    for (const key of ["a", "b"]) await KV.put(folder + key, "first");
    const { page, assertClean } = await open(place(folder, `${folder}a`));
    await type(page, "mine");
    await KV.delete(`${folder}a`);
    for (const key of ["b", "a"]) {
      await rows(page).filter({ hasText: key }).click();
      await page.locator(".key-title", { hasText: new RegExp(`/${key}$`) }).waitFor();
    }
    await save(page);
    await page.getByRole("dialog", { name: "Somebody deleted this key" }).waitFor();
    await button(page, "Write it again").click();
    await said(page, "Saved");
    assert.equal(await stored(`${folder}a`), "mine");
    assert.deepEqual(await lines(page), ["mine"]);
    assertClean();
  });

  test("consent to replace what somebody else has stored is for the version that was shown", async () => {
    const folder = newFolder();
    const key = `${folder}a`;
    await KV.put(key, "first");
    const { page, assertClean } = await open(place(folder, key));
    await type(page, "mine");
    await KV.put(key, "theirs");
    await save(page);
    const dialog = page.getByRole("dialog", { name: "Somebody changed this key" });
    await dialog.getByText("theirs", { exact: true }).waitFor();
    await KV.put(key, "theirs again");
    await button(page, "Replace with mine").click();
    await dialog.getByText("theirs again").waitFor();
    assert.equal(await stored(key), "theirs again");
    await KV.delete(key);
    await button(page, "Replace with mine").click();
    await page.getByRole("dialog", { name: "Somebody deleted this key" }).waitFor();
    await KV.put(key, "back");
    await button(page, "Write it again").click();
    await dialog.getByText("back").waitFor();
    assert.equal(await stored(key), "back");
    await button(page, "Replace with mine").click();
    await said(page, "Saved");
    assert.equal(await stored(key), "mine");
    assertClean();
  });
});

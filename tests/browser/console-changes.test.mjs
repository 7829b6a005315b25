// The console in a browser: in its panel "Browse" one key and its value are changed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { choose, editor, input, lines, NARROW, newFolder, place, rows, said, save, settles, startBrowse, type } from "./browse.mjs";
import { assertUsable, button } from "./console.mjs";

const { worker, open, KV, stored } = await startBrowse();

test("the name of a key is copied, or the page says that the browser does not allow it", async () => {
  const folder = newFolder();
  await KV.put(`${folder}a`, "1");
  const { page, context, assertClean } = await open(place(folder, `${folder}a`));
  await context.grantPermissions([]);
  await choose(page, "Actions", "Copy the key's name");
  await said(page, "The browser does not let this page write to the clipboard.");
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await choose(page, "Actions", "Copy the key's name");
  await said(page, "The key's name is in the clipboard.");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `${folder}a`);
  assertClean();
});

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
  await page.getByLabel("Date and time").fill("2040-01-01T00:00");
  await settles(async () => (await helpOf("Date and time"))?.replace(/\d.*/, "…"), "KV knows no expiration after …");
  await page.getByLabel("Date and time").fill("2037-01-01T00:00");
  await settles(() => helpOf("Date and time"), undefined);
  assert.deepEqual((await KV.list({ prefix: folder })).keys, [{ name: `${folder}a` }]);
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

test("what is typed for a new key is there again, and signing out asks before it drops that", async () => {
  const folder = newFolder();
  await KV.put(`${folder}a`, "a");
  const { page, assertClean } = await open(place(folder));
  await button(page, "New key").click();
  await input(page, "Key").fill(`${folder}new`);
  await type(page, "[1]");
  await rows(page).filter({ hasText: "a" }).click();
  await page.locator(".key-title").waitFor();
  await button(page, "New key").click();
  assert.equal(await input(page, "Key").inputValue(), `${folder}new`);
  assert.deepEqual(await lines(page), ["[1]"]);
  await assertUsable(page);
  await button(page, "Sign out").click();
  await assertUsable(page);
  await button(page, "Cancel").click();
  await save(page);
  await page.locator(".key-title", { hasText: "new" }).waitFor();
  assert.equal(await stored(`${folder}new`), "[1]");
  await button(page, "Sign out").click();
  await page.getByLabel("Token").waitFor();
  assertClean();
});

test("the address decides whether a key is shown or made, so Back closes the form of a new key", async () => {
  const folder = newFolder();
  for (const key of ["a", "b"]) await KV.put(folder + key, key);
  const { page, goTo, assertClean } = await open(place(folder));
  const isShown = async (key) => {
    await page.locator(".key-title", { hasText: new RegExp(`/${key}$`) }).waitFor();
    assert.equal(await input(page, "Key").count(), 0);
    assert.equal(new URL(page.url()).hash, place(folder, folder + key));
  };
  await rows(page).filter({ hasText: "a" }).click();
  await isShown("a");
  await button(page, "New key").click();
  await input(page, "Key").fill(`${folder}new`);
  await type(page, "[1]");
  await page.goBack();
  await isShown("a");
  await page.goForward();
  await settles(() => input(page, "Key").inputValue(), `${folder}new`);
  await goTo(place(folder, `${folder}b`));
  await isShown("b");
  await page.goBack();
  await settles(() => lines(page), ["[1]"]);
  await save(page);
  await isShown("new");
  await page.goBack();
  await isShown("a");

  // On a phone the form takes the place of the list.
  await page.setViewportSize(NARROW.viewport);
  await page.goBack();
  await page.getByRole("listbox").waitFor();
  await button(page, "New key").click();
  await input(page, "Key").waitFor();
  await page.reload();
  await input(page, "Key").waitFor();
  assert.ok(!(await page.getByRole("listbox").isVisible()));
  await page.goBack();
  await page.locator('[role="listbox"]:focus').waitFor();
  assert.equal(new URL(page.url()).hash, place(folder));
  assertClean();
});

test("a new key has the name of the folder in the address until somebody types another one", async () => {
  const folder = newFolder();
  const folders = ["a/", "b/"].map((name) => folder + name);
  for (const name of folders) await KV.put(`${name}key`, "1");
  const { page, goTo, assertClean } = await open(place(folders[0]));
  await rows(page).first().waitFor();
  await button(page, "New key").click();
  assert.equal(await input(page, "Key").inputValue(), folders[0]);
  // By hand in the address, with a value that was typed and without.
  await goTo(`${place(folders[1])}?new=yes`);
  await settles(() => input(page, "Key").inputValue(), folders[1]);
  await type(page, "[1]");
  await page.goBack();
  await settles(() => input(page, "Key").inputValue(), folders[0]);
  assert.deepEqual(await lines(page), ["[1]"]);
  // A folder that is clicked is shown, and the form is there again after Back.
  await page.getByRole("link", { name: folder.slice(0, -1), exact: true }).click();
  await settles(() => rows(page).allInnerTexts(), ["a/\n1", "b/\n1"]);
  assert.equal(await input(page, "Key").count(), 0);
  await button(page, "New key").click();
  assert.equal(await input(page, "Key").inputValue(), folder);
  assert.deepEqual(await lines(page), ["[1]"]);
  // What was typed as the name stays.
  await input(page, "Key").fill(`${folder}typed`);
  await goTo(`${place(folders[1])}?new=yes`);
  await settles(() => rows(page).allInnerTexts(), ["key"]);
  assert.equal(await input(page, "Key").inputValue(), `${folder}typed`);
  await save(page);
  await page.locator(".key-title", { hasText: `${folder}typed` }).waitFor();
  assert.equal(await stored(`${folder}typed`), "[1]");
  assertClean();
});

test("nothing can be typed while a save runs, and its late reply leads nobody back", async () => {
  const folder = newFolder();
  await KV.put(`${folder}a`, "a");
  const { page, assertClean } = await open(place(folder));
  let answer;
  const isAnswered = new Promise((resolve) => {
    answer = resolve;
  });
  await page.route("**/values/*", async (route) => {
    if (route.request().method() === "PUT") await isAnswered;
    await route.continue();
  });
  await button(page, "New key").click();
  await input(page, "Key").fill(`${folder}new`);
  await type(page, "[1]");
  await save(page);
  await button(page, "Saving…").waitFor();
  await type(page, "[2]");
  assert.deepEqual(await lines(page), ["[1]"]);
  await rows(page).filter({ hasText: "a" }).click();
  await page.locator(".key-title").waitFor();
  answer();
  await settles(() => stored(`${folder}new`), "[1]");
  await page.waitForTimeout(200);
  assert.match(await page.locator(".key-title").innerText(), /a$/);
  await button(page, "New key").click();
  assert.equal(await input(page, "Key").inputValue(), folder);
  assertClean();
});

test("a deletion that ends late leads nobody away from another key", async () => {
  const folder = newFolder();
  for (const key of ["a", "b"]) await KV.put(folder + key, key);
  const { page, assertClean } = await open(place(folder, `${folder}a`));
  let answer;
  const isAnswered = new Promise((resolve) => {
    answer = resolve;
  });
  await page.route("**/values/*", async (route) => {
    if (route.request().method() === "DELETE") await isAnswered;
    await route.continue();
  });
  await choose(page, "Actions", "Delete…");
  await assertUsable(page);
  await button(page, "Delete").click();
  await button(page, "Cancel").click();
  await rows(page).filter({ hasText: "b" }).click();
  await page.locator(".key-title", { hasText: /b$/ }).waitFor();
  answer();
  await settles(() => stored(`${folder}a`), null);
  await page.waitForTimeout(200);
  assert.match(await page.locator(".key-title").innerText(), /b$/);
  assertClean();
});

test("a key is deleted only as it was shown", async () => {
  const folder = newFolder();
  const key = `${folder}a`;
  await KV.put(key, "first");
  const { page, assertClean } = await open(place(folder, key));
  await editor(page).waitFor();
  await KV.put(key, "theirs");
  await choose(page, "Actions", "Delete…");
  await button(page, "Delete").click();
  await page.getByRole("alert").filter({ hasText: "Somebody else has changed or deleted this since you opened it." }).waitFor();
  assert.equal(await stored(key), "theirs");
  await assertUsable(page);
  await button(page, "Cancel").click();
  await choose(page, "Actions", "Read again");
  await settles(() => lines(page), ["theirs"]);
  await choose(page, "Actions", "Delete…");
  await button(page, "Delete").click();
  await page.getByText("No key begins with this prefix.").waitFor();
  assert.equal(await stored(key), null);
  assertClean();
});

test("consent to replace a key is for that key alone, and a rename deletes only what it has copied", async () => {
  const folder = newFolder();
  for (const key of ["a", "b", "c"]) await KV.put(folder + key, key);
  const { page, assertClean } = await open(place(folder, `${folder}a`));
  await choose(page, "Actions", "Rename…");
  const rename = async (name) => {
    await page.getByLabel("New name").fill(folder + name);
    await button(page, "Rename").click();
  };
  await rename("b");
  await page.getByLabel("Replace the key that exists").check();
  await rename("c");
  await page.getByRole("alert").filter({ hasText: "exists there" }).waitFor();
  assert.ok(!(await page.getByLabel("Replace the key that exists").isChecked()));
  await assertUsable(page);
  await KV.put(`${folder}a`, "theirs");
  await rename("d");
  await page.getByRole("alert").filter({ hasText: "Somebody else has changed or deleted this since you opened it." }).waitFor();
  assert.deepEqual(await Promise.all(["a", "b", "c", "d"].map((key) => stored(folder + key))), ["theirs", "b", "c", null]);
  await button(page, "Cancel").click();
  await type(page, "typed");
  await page.locator("summary", { hasText: "Actions" }).click();
  for (const name of ["Copy…", "Rename…"]) assert.ok(await button(page, name).isDisabled(), name);
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

test("a key is made, copied into another namespace, renamed and deleted", async () => {
  const folder = newFolder();
  const { page, assertClean } = await open(place(folder));
  await button(page, "New key").click();
  await input(page, "Key").fill(`${folder}new`);
  await type(page, '{"a": 1}');
  await type(page, "7", "Metadata");
  await save(page);
  await rows(page).filter({ hasText: "new" }).waitFor();
  assert.equal(await stored(`${folder}new`), '{"a": 1}');
  await choose(page, "Actions", "Copy…");
  await page.getByLabel("Into namespace").selectOption("USER_CONFIGURATION");
  await page.getByLabel("As key").fill(`${folder}copied`);
  await button(page, "Copy").click();
  await page.getByRole("heading", { name: "USER_CONFIGURATION" }).waitFor();
  assert.deepEqual((await worker.env.USER_CONFIGURATION.getWithMetadata(`${folder}copied`)).metadata, 7);
  await page.goBack();
  await choose(page, "Actions", "Rename…");
  await page.getByLabel("New name").fill(`${folder}renamed`);
  await button(page, "Rename").click();
  await page.locator(".key-title", { hasText: "renamed" }).waitFor();
  assert.deepEqual([await stored(`${folder}new`), await stored(`${folder}renamed`)], [null, '{"a": 1}']);
  await choose(page, "Actions", "Delete…");
  await button(page, "Delete").click();
  await page.getByText("No key begins with this prefix.").waitFor();
  assert.equal(await stored(`${folder}renamed`), null);
  assertClean();
});

test("a new key may be empty", async () => {
  const folder = newFolder();
  const { page, assertClean } = await open(place(folder));
  await button(page, "New key").click();
  await input(page, "Key").fill(`${folder}empty`);
  await save(page);
  await page.locator(".chip", { hasText: "Empty" }).waitFor();
  assert.equal(await stored(`${folder}empty`), "");
  assertClean();
});

test("a new key stands where KV lists it, also if it begins with an emoji", async () => {
  const folder = newFolder();
  // UTF-16 has the surrogates of an emoji before U+FB00.
  const names = ["a", "\ufb00", "\u{1f600}", "\u{1f601}"];
  for (const name of names.filter((name) => name !== "\u{1f600}")) await KV.put(folder + name, "1");
  const { page, assertClean } = await open(place(folder));
  await rows(page).nth(2).waitFor();
  await button(page, "New key").click();
  await input(page, "Key").fill(`${folder}\u{1f600}`);
  await type(page, "1");
  await save(page);
  await settles(() => rows(page).allInnerTexts(), names);
  // A reload would abort the reading of its details.
  await page.locator(".chip", { hasText: "does not expire" }).waitFor();
  await page.reload();
  await settles(() => rows(page).allInnerTexts(), names);
  assertClean();
});

test("a new key or a renamed one does not silently replace one that exists", async () => {
  const folder = newFolder();
  await KV.put(`${folder}a`, "a");
  await KV.put(`${folder}b`, "b");
  const { page, assertClean } = await open(place(folder));
  await button(page, "New key").click();
  await input(page, "Key").fill(`${folder}a`);
  await button(page, "Text").click();
  await type(page, "other");
  await save(page);
  await page.getByRole("dialog", { name: "This key exists already" }).waitFor();
  await button(page, "Cancel").click();
  await rows(page).filter({ hasText: "b" }).click();
  await choose(page, "Actions", "Rename…");
  await page.getByLabel("New name").fill(`${folder}a`);
  await button(page, "Rename").click();
  await page.getByRole("alert").filter({ hasText: "exists there" }).waitFor();
  assert.deepEqual([await stored(`${folder}a`), await stored(`${folder}b`)], ["a", "b"]);
  assertClean();
});

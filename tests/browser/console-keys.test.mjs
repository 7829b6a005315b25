// The console in a browser: in its panel "Browse" keys are made, copied, renamed and deleted.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { choose, editor, input, lines, NARROW, newFolder, place, rows, said, save, settles, startBrowse, type } from "./browse.mjs";
import { assertUsable, button } from "./console.mjs";

const { worker, open, KV, stored } = await startBrowse();

describe("a new key", () => {
  test("what is typed for a new key is there again, and signing out asks before it drops that", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "a");
    const { page, assertClean } = await open(place(folder));
    await button(page, "New key").click();
    await input(page, "Key").fill(`${folder}new`);
    // The name alone, and then also a value.
    await rows(page).filter({ hasText: "a" }).click();
    await page.locator(".key-title").waitFor();
    await button(page, "New key").click();
    assert.equal(await input(page, "Key").inputValue(), `${folder}new`);
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
    await said(page, "Saved.");
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

  test("what is typed as text is there again as text", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "a");
    const { page, assertClean } = await open(place(folder));
    await button(page, "New key").click();
    await input(page, "Key").fill(`${folder}text`);
    await page.getByText("Text", { exact: true }).first().click();
    await type(page, "no JSON");
    await rows(page).filter({ hasText: "a" }).click();
    await page.locator(".key-title").waitFor();
    await button(page, "New key").click();
    await settles(() => lines(page), ["no JSON"]);
    await save(page);
    await page.locator(".key-title", { hasText: "text" }).waitFor();
    assert.equal(await stored(`${folder}text`), "no JSON");
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
});

describe("a key that is copied, renamed or deleted", () => {
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
});

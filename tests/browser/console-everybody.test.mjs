// The console in a browser for everybody: keyboard, small windows, dark and light, odd texts, many
// keys.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { eventually } from "../harness/eventually.mjs";
import { uniqueName } from "../harness/names.mjs";
import { WORKER_TOKEN } from "../harness/worker.mjs";
import { choose, editor, input, lines, link, NARROW, newFolder, place, rows, said, settles, startBrowse } from "./browse.mjs";
import { assertFits, assertUsable, button, drawnIn, keyboardOf } from "./console.mjs";

const { worker, open, KV, stored } = await startBrowse();

describe("for everybody", () => {
  test("the keyboard alone signs in, finds a key, changes and saves it", async () => {
    const folder = newFolder();
    for (const key of ["dir/a", "dir/b"]) await KV.put(folder + key, '"old"');
    const { page, assertClean } = await open(place(folder), { token: null });
    const { press, type: typeText, assertFocus, tabTo, shiftTabTo } = keyboardOf(page);
    await page.locator("#token:focus").waitFor();
    await page.keyboard.type(WORKER_TOKEN);
    await press("Enter");
    await rows(page).first().waitFor();
    await tabTo(/^Keys of WRITES/);
    await press("Enter");
    await rows(page).filter({ hasText: "b" }).waitFor();
    // The focus stays in the list, which has the keys of the folder now.
    await page.locator('[role="listbox"]:focus').waitFor();
    await press("ArrowDown", "Enter");
    await editor(page).waitFor();
    await tabTo(/^Value of/);
    await press("Control+a");
    await typeText('"new"');
    await tabTo("Save");
    await press("Enter");
    await said(page, "Saved");
    await assertFocus("Save");
    assert.deepEqual([await stored(`${folder}dir/a`), await stored(`${folder}dir/b`)], ['"old"', '"new"']);
    await shiftTabTo("Actions");
    await press("Enter");
    await tabTo("Delete…");
    await press("Enter");
    await page.getByRole("dialog", { name: "Delete this key?" }).waitFor();
    await press("Escape");
    await assertFocus("Actions");
    await tabTo("Close");
    await press("Enter");
    await page.locator('[role="listbox"]:focus').waitFor();
    await press("Home", "Backspace");
    await settles(() => rows(page).allInnerTexts(), ["dir/\n2"]);
    await shiftTabTo("New key");
    await press("Enter");
    await assertFocus("Key");
    await press("End");
    await typeText("c");
    await tabTo(/^Value of/);
    await typeText("3");
    await tabTo("Save");
    await press("Enter");
    await page.locator(".key-title", { hasText: `${folder}c` }).waitFor();
    await page.locator(".key-details:focus").waitFor();
    await shiftTabTo("More");
    await press("Enter");
    await tabTo("Delete by prefix…");
    await press("Enter");
    await tabTo("Count");
    await press("Enter");
    await said(page, "3 keys with this prefix");
    await assertFocus("Cancel");
    await tabTo("Delete 3 keys");
    await press("Enter");
    await said(page, "3 keys deleted.");
    await assertFocus("Close");
    await press("Enter");
    await assertFocus("More");
    assertClean();
  });

  test("the keyboard alone goes into a namespace, through its folders and back", async () => {
    const folder = newFolder();
    await KV.put(`${folder}dir/a`, "1");
    const { page, assertClean } = await open(place(`${folder}dir/`));
    const { press, assertFocus, tabTo, shiftTabTo } = keyboardOf(page);
    await page.locator("main:focus").waitFor();
    // To leave a list while it loads would abort a call.
    await settles(() => rows(page).allInnerTexts(), ["a"]);
    await tabTo(folder.slice(0, -1));
    await press("Enter");
    await assertFocus(`Keys of WRITES in ${folder}`);
    await settles(() => rows(page).allInnerTexts(), ["dir/\n1"]);
    await page.goBack();
    await assertFocus(`Keys of WRITES in ${folder}dir/`);
    await settles(() => rows(page).allInnerTexts(), ["a"]);
    await shiftTabTo("Namespaces");
    await press("Enter");
    await page.getByRole("heading", { name: "Namespaces" }).waitFor();
    await assertFocus("Namespaces");
    await tabTo("WRITES");
    await press("Enter");
    await assertFocus("Keys of WRITES");
    await said(page, "that is all");
    await shiftTabTo("Cache");
    await press("Enter");
    await tabTo("URL");
    await page.goBack();
    await said(page, "that is all");
    await page.locator("main:focus").waitFor();
    assertClean();
  });

  test("the keyboard alone makes a namespace, renames and deletes it", async () => {
    const title = uniqueName("title");
    const { page, assertClean } = await open();
    const { press, type: typeText, assertFocus, tabTo } = keyboardOf(page);
    await page.route("**/storage/kv/namespaces?*", (route) => route.fulfill({ status: 503, json: { errors: [{ code: 1, message: "KV is away." }] } }));
    await tabTo("New namespace");
    await press("Enter");
    await assertFocus("Title");
    await typeText(title);
    await press("Enter");
    await assertFocus("Try again");
    await page.unrouteAll();
    await press("Enter");
    await link(page, title).waitFor();
    await assertFocus("Namespaces");
    await tabTo("Rename…");
    await press("Enter");
    await assertFocus("Title");
    await press("End");
    await typeText("-renamed");
    await press("Enter");
    await link(page, `${title}-renamed`).waitFor();
    await assertFocus("Rename…");
    await tabTo("Delete…");
    await press("Enter");
    await assertFocus("Title");
    await typeText(`${title}-renamed`);
    await tabTo("Delete");
    await press("Enter");
    await link(page, `${title}-renamed`).waitFor({ state: "detached" });
    await assertFocus("Namespaces");
    assertClean([503, "/storage/kv/namespaces"]);
  });

  test("the keyboard alone reads a key again, copies, renames and deletes it", async () => {
    const folder = newFolder();
    const key = `${folder}a`;
    for (const name of ["a", "ab"]) await KV.put(folder + name, "1");
    const { page, assertClean } = await open(place(folder, key));
    const { press, type: typeText, assertFocus, tabTo } = keyboardOf(page);
    const act = async (action) => {
      await tabTo("Actions");
      await press("Enter");
      await tabTo(action);
      await press("Enter");
    };
    await editor(page).waitFor();
    await KV.put(key, "2");
    await act("Read again");
    await settles(() => lines(page), ["2"]);
    await assertFocus("Details of the key");
    await KV.delete(key);
    await act("Read again");
    await page.getByText("This key does not exist.").waitFor();
    await assertFocus("Details of the key");
    await KV.put(key, "3");
    await tabTo("Read again");
    await press("Enter");
    await settles(() => lines(page), ["3"]);
    await assertFocus("Details of the key");

    await act("Copy…");
    await assertFocus("Into namespace");
    await press("Tab", "End");
    await typeText("b");
    await press("Enter");
    await page.getByRole("alert").filter({ hasText: "exists there" }).waitFor();
    await assertFocus("As key");
    await tabTo("Replace the key that exists");
    const failure = { status: 503, json: { errors: [{ code: 1, message: "KV is away." }] } };
    await page.route("**/values/*", (route) => route.fulfill(failure));
    await press("Space", "Enter");
    await page.getByRole("alert").filter({ hasText: "KV is away." }).waitFor();
    // The box was disabled meanwhile.
    await assertFocus("As key");
    await page.unrouteAll();
    await press("Enter");
    await page.locator(".key-title", { hasText: `${key}b` }).waitFor();
    await assertFocus("Details of the key");
    assert.equal(await stored(`${key}b`), "3");

    await act("Copy…");
    await assertFocus("Into namespace");
    await press("U");
    await tabTo("Copy");
    await press("Enter");
    await page.getByRole("heading", { name: "USER_CONFIGURATION" }).waitFor();
    await assertFocus("Details of the key");
    assert.equal(await stored(`${key}b`, worker.env.USER_CONFIGURATION), "3");

    await act("Rename…");
    await assertFocus("New name");
    await press("End");
    await typeText("c");
    await press("Enter");
    await page.locator(".key-title", { hasText: `${key}bc` }).waitFor();
    await assertFocus("Details of the key");

    await act("Delete…");
    await assertFocus("Cancel");
    await tabTo("Delete");
    await press("Enter");
    await assertFocus("Keys of USER_CONFIGURATION");
    assert.deepEqual(await Promise.all(["b", "bc"].map((end) => stored(key + end, worker.env.USER_CONFIGURATION))), [null, null]);
    assertClean([503, encodeURIComponent(`${key}b`)]);
  });

  test("the keyboard alone answers a conflict, drops what was typed, and signs out", async () => {
    const folder = newFolder();
    const key = `${folder}a`;
    await KV.put(key, "first");
    const { page, assertClean } = await open(place(folder, key));
    const { press, type: typeText, assertFocus, tabTo, shiftTabTo } = keyboardOf(page);
    /** Changes what somebody else has changed since. */
    const provoke = async (mine, theirs) => {
      await tabTo(/^Value of/);
      await press("Control+a");
      await typeText(mine);
      await KV.put(key, theirs);
      await tabTo("Save");
      await press("Enter");
      await assertFocus(theirs);
    };
    await editor(page).waitFor();
    await provoke("mine", "theirs");
    await tabTo("Take what is stored");
    await press("Enter");
    await settles(() => lines(page), ["theirs"]);
    await assertFocus("Save");
    await provoke("mine again", "theirs again");
    await press("Escape");
    await assertFocus("Save");
    await press("Enter");
    await assertFocus("theirs again");
    await tabTo("Replace with mine");
    await press("Enter");
    await said(page, "Saved");
    await assertFocus("Save");
    assert.equal(await stored(key), "mine again");

    await shiftTabTo("New key");
    await press("Enter");
    await assertFocus("Key");
    await tabTo(/^Value of/);
    await typeText("1");
    await tabTo("Discard changes");
    await press("Enter");
    await settles(() => lines(page), [""]);
    await assertFocus("Discard changes");
    await shiftTabTo("Close");
    await press("Enter");
    await assertFocus(`Keys of WRITES in ${folder}`);
    await shiftTabTo("New key");
    await press("Enter");
    await assertFocus("Key");
    await tabTo(/^Value of/);
    await typeText("2");
    await shiftTabTo("Sign out");
    await press("Enter");
    await assertFocus("Cancel");
    await press("Escape");
    await assertFocus("Sign out");
    await press("Enter");
    await assertFocus("Cancel");
    await tabTo("Sign out");
    await press("Enter");
    await assertFocus("Token");
    assertClean();
  });

  test("the keyboard alone exports, imports and uploads", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "1");
    const { page, assertClean } = await open(place(folder));
    const { press, assertFocus, tabTo } = keyboardOf(page);
    const openDialog = async (name) => {
      await tabTo("More");
      await press("Enter");
      await tabTo(name);
      await press("Enter");
    };
    let file;
    page.on("filechooser", (chooser) => chooser.setFiles(file));
    await rows(page).first().waitFor();
    await openDialog("Export…");
    await assertFocus("Prefix");
    await tabTo("Format");
    await press("End");
    await tabTo("Export");
    const download = page.waitForEvent("download");
    await press("Enter");
    const buffer = readFileSync(await (await download).path());
    assert.deepEqual(JSON.parse(buffer), [{ key: `${folder}a`, value: "1" }]);
    await assertFocus("Export");
    await press("Escape");
    await assertFocus("More");

    await KV.delete(`${folder}a`);
    await openDialog("Import…");
    await assertFocus("File");
    file = { name: "pairs.json", mimeType: "application/json", buffer };
    await press("Enter");
    await said(page, "None of the keys exists yet.");
    await assertFocus("Cancel");
    await tabTo("Write 1 pair");
    await press("Enter");
    await said(page, "1 pair written.");
    await assertFocus("Close");
    await press("Enter");
    await assertFocus("More");
    assert.equal(await stored(`${folder}a`), "1");

    await openDialog("Upload files…");
    await assertFocus("Files");
    file = { name: "a", mimeType: "text/plain", buffer: Buffer.from("2") };
    await press("Enter");
    await page.getByText(/^1 file, /).waitFor();
    await tabTo("Upload");
    await press("Enter");
    await said(page, "1 key would be replaced");
    await assertFocus("Cancel");
    await tabTo("Replace and upload");
    await press("Enter");
    await said(page, "1 file uploaded.");
    await assertFocus("Close");
    await press("Enter");
    await assertFocus("More");
    assert.equal(await stored(`${folder}a`), "2");
    assertClean();
  });

  test("the form to sign in fits each window, and the page has the colours of the system", async () => {
    const { page, assertClean } = await open("", { token: null });
    await page.getByLabel("Token").waitFor();
    await assertUsable(page);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      const [red] = (await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).match(/\d+/g);
      assert.ok(colorScheme === "dark" ? red < 64 : red > 192, `the background is ${red}`);
    }
    assertClean();
  });

  test("long names fit each window, and at 400 px list and value take turns", async () => {
    const folder = `${newFolder()}${"a-long-name-".repeat(8)}/`;
    await KV.put(`${folder}dir/${"k".repeat(120)}`, "in a folder");
    await KV.put(`${folder}${"k".repeat(120)}`, `{"long":"${"v".repeat(300)}"}`, { metadata: { note: "m".repeat(200) }, expirationTtl: 3600 });
    const { page, assertClean } = await open("", NARROW);
    await link(page, "WRITES").waitFor();
    await assertFits(page);
    await page.goto(`/console/${place(folder)}`);
    await rows(page).first().waitFor();
    await assertUsable(page);
    await rows(page).last().click();
    await editor(page).waitFor();
    assert.ok(!(await page.getByRole("listbox").isVisible()));
    assert.ok(await page.getByRole("heading", { level: 1 }).isVisible());
    await assertUsable(page);
    await choose(page, "Actions", "Delete…");
    await assertFits(page);
    await button(page, "Cancel").click();
    await button(page, "Close").click();
    await page.getByRole("listbox").waitFor();
    assertClean();
  });
});

test("many keys are counted, deleted, listed and filtered; a list of 100,000 stays smooth", async (context) => {
  const { page, goTo, assertClean } = await open("#/browse");
  await context.test("exactly the keys that were counted are deleted, and the prefix cannot be changed meanwhile", async () => {
    const folder = newFolder();
    for (const key of ["a", "b"]) await KV.put(folder + key, "x");
    await goTo(place(folder));
    await choose(page, "More", "Delete by prefix…");
    let answer;
    const isAnswered = new Promise((resolve) => {
      answer = resolve;
    });
    await page.route("**/keys?*", async (route) => {
      await isAnswered;
      await route.continue();
    });
    await button(page, "Count").click();
    await button(page, "Stop").waitFor();
    assert.ok(await input(page, "Prefix").isDisabled());
    answer();
    await button(page, "Delete 2 keys").waitFor();
    await KV.put(`${folder}later`, "x");
    await button(page, "Delete 2 keys").click();
    await said(page, "2 keys deleted.");
    assert.deepEqual(await Promise.all(["a", "b", "later"].map((key) => stored(folder + key))), [null, null, "x"]);
    await page.unrouteAll();
    await button(page, "Close").click();
    assertClean();
  });

  await context.test("what runs in a dialog takes the focus from nobody", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "x");
    await goTo(place(folder));
    await choose(page, "More", "Delete by prefix…");
    let answer;
    const isAnswered = new Promise((resolve) => {
      answer = resolve;
    });
    await page.route("**/keys?*", async (route) => {
      await isAnswered;
      await route.continue();
    });
    await button(page, "Count").click();
    await button(page, "Stop").waitFor();
    // After the last control of the page, Tab goes on to the browser's own.
    await keyboardOf(page).tabTo("");
    answer();
    await button(page, "Delete 1 key").waitFor();
    await keyboardOf(page).assertFocus("");
    await page.unrouteAll();
    await button(page, "Cancel").click();
    assertClean();
  });

  await context.test("bars show how far an import, an upload and a deletion are", async () => {
    const folder = newFolder();
    await goTo(place(folder));
    /** Holds the calls of these paths. Returns a function that waits for one, and lets it pass. */
    const hold = async (paths) => {
      const held = [];
      await page.route(paths, async (route) => {
        if (route.request().method() !== "GET") await new Promise((resolve) => held.push(resolve));
        await route.continue();
      });
      return async () => (await eventually(() => held.shift(), `a call of ${paths}`))();
    };
    /** Checks how much of the bar is filled at each count, and lets a call pass after each. */
    const assertFills = async (label, counts, total, pass) => {
      const bar = page.getByRole("progressbar", { name: label });
      for (const count of counts) {
        await said(page, `${label}: ${count} of ${total}`);
        const isFilled = async () => {
          const color = await bar.evaluate((element) => getComputedStyle(element).accentColor);
          // Of a bar that was just replaced, the style is empty.
          if (color === "") return false;
          const [{ inMiddle }] = await drawnIn(bar, [color]);
          return Math.abs(inMiddle - count / total) < 0.03;
        };
        await eventually(isFilled, `${count} of ${total} of the bar “${label}” are filled`);
        await pass();
      }
    };
    await choose(page, "More", "Import…");
    const pairs = Array.from({ length: 900 }, (_, index) => JSON.stringify({ key: `${folder}${index}`, value: "x" })).join("\n");
    await page.locator("dialog input[type=file]").setInputFiles({ name: "pairs.ndjson", mimeType: "text/plain", buffer: Buffer.from(pairs) });
    const passWrite = await hold("**/bulk");
    await button(page, "Write 900 pairs").click();
    await assertFills("Written", [0, 400, 800], 900, passWrite);
    await said(page, "900 pairs written.");
    await button(page, "Close").click();

    await choose(page, "More", "Upload files…");
    const files = ["a", "b", "c"].map((name) => ({ name, mimeType: "text/plain", buffer: Buffer.from("x") }));
    await page.locator("dialog input[type=file]").setInputFiles(files);
    const passUpload = await hold("**/values/*");
    await button(page, "Upload").click();
    await assertFills("Uploaded", [0, 1, 2], 3, passUpload);
    await said(page, "3 files uploaded.");
    await button(page, "Close").click();

    await choose(page, "More", "Delete by prefix…");
    await button(page, "Count").click();
    const passDelete = await hold("**/bulk/delete");
    await button(page, "Delete 903 keys").click();
    await assertFills("Deleted", [0, 400, 800], 903, passDelete);
    await said(page, "903 keys deleted.");
    await page.unrouteAll();
    await button(page, "Close").click();
    assertClean();
  });

  await context.test("an upload that fails says how many files it has written, and may be tried again", async () => {
    const folder = newFolder();
    await goTo(place(folder));
    let isRefused = true;
    await page.route("**/values/*", async (route) => {
      if (!isRefused || !route.request().url().includes("b.txt")) return route.continue();
      await route.fulfill({ status: 400, json: { result: null, success: false, errors: [{ code: 10033, message: "refused" }], messages: [] } });
    });
    await choose(page, "More", "Upload files…");
    const files = ["a.txt", "b.txt"].map((name) => ({ name, mimeType: "text/plain", buffer: Buffer.from(name) }));
    await page.locator("dialog input[type=file]").setInputFiles(files);
    await button(page, "Upload").click();
    await said(page, "At least 1 file uploaded.");
    isRefused = false;
    await button(page, "Upload").click();
    await said(page, "1 key would be replaced");
    await assertUsable(page);
    await button(page, "Replace and upload").click();
    await said(page, "2 files uploaded.");
    assert.deepEqual(await Promise.all(["a.txt", "b.txt"].map((name) => stored(folder + name))), ["a.txt", "b.txt"]);
    await page.unrouteAll();
    await button(page, "Close").click();
    assertClean([400, "b.txt"]);
  });

  await context.test("Escape stops what runs, shows what was done, and closes the dialog only then", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "x");
    await goTo(place(folder));
    await choose(page, "More", "Delete by prefix…");
    await button(page, "Count").click();
    await page.route("**/bulk/delete", () => {});
    await button(page, "Delete 1 key").click();
    await button(page, "Stop").waitFor();
    await page.keyboard.press("Escape");
    await said(page, "At least 0 keys deleted.");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await choose(page, "More", "Delete by prefix…");
    await button(page, "Count").waitFor();
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await button(page, "Cancel").click();
    assertClean(["aborted", "/bulk/delete"]);
  });

  await context.test("choosing a file anew forgets the one before, so that it can be chosen again after it was corrected", async () => {
    const folder = newFolder();
    await goTo(place(folder));
    await choose(page, "More", "Import…");
    const file = page.locator("dialog input[type=file]");
    await file.setInputFiles({ name: "pairs.ndjson", mimeType: "text/plain", buffer: Buffer.from("[1]") });
    await page.getByRole("alert").filter({ hasText: "Line 1:" }).waitFor();
    const chooser = page.waitForEvent("filechooser");
    await file.click();
    await chooser;
    assert.equal(await file.inputValue(), "");
    assert.equal(await page.getByRole("alert").filter({ hasText: "Line 1:" }).count(), 0);
    await button(page, "Cancel").click();
    assertClean();
  });

  await context.test("a pair that has expired, and whose key exists, is left out and counted once", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "old");
    await goTo(place(folder));
    const buffer = Buffer.from(`{"key":"${folder}a","value":"1","expiration":1}\n{"key":"${folder}b","value":"2"}\n`);
    await choose(page, "More", "Import…");
    await page.locator("dialog input[type=file]").setInputFiles({ name: "pairs.ndjson", mimeType: "text/plain", buffer });
    await button(page, "Write 1 pair").click();
    await said(page, "1 pair written.");
    assert.deepEqual(await Promise.all(["a", "b"].map((key) => stored(folder + key))), ["old", "2"]);
    assertClean();
  });
});

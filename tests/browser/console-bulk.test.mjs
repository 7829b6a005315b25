// The console in a browser: in its panel "Browse" values and namespaces go into files and come
// back, and many keys are changed at once.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { eventually } from "../harness/eventually.mjs";
import { choose, editor, input, newFolder, place, rows, said, settles, startBrowse } from "./browse.mjs";
import { assertUsable, button, drawnIn, keyboardOf } from "./console.mjs";

const { open, KV, stored } = await startBrowse();

test("keys are deleted by prefix after they were counted", async () => {
  const folder = newFolder();
  for (let n = 0; n < 30; n += 1) await KV.put(`${folder}gone/${n}`, "x");
  await KV.put(`${folder}kept`, "x");
  const { page, assertClean } = await open(place(folder));
  await choose(page, "More", "Delete by prefix…");
  await input(page, "Prefix").fill(`${folder}gone/`);
  await button(page, "Count").click();
  await said(page, "30 keys with this prefix");
  await assertUsable(page);
  await button(page, "Delete 30 keys").click();
  await said(page, "30 keys deleted");
  await button(page, "Close").click();
  await settles(() => rows(page).allInnerTexts(), ["kept"]);
  assert.deepEqual(
    (await KV.list({ prefix: folder })).keys.map(({ name }) => name),
    [`${folder}kept`],
  );
  assertClean();
});

test("values and whole namespaces go into files and come back", async (context) => {
  const { page, goTo, assertClean } = await open("#/browse");
  await context.test("files are uploaded as keys, and a value is downloaded byte for byte", async () => {
    const folder = newFolder();
    await goTo(place(folder));
    const bytes = Buffer.from([0, 255, 13, 10, 128]);
    await choose(page, "More", "Upload files…");
    await page.locator("dialog input[type=file]").setInputFiles([
      { name: "a.bin", mimeType: "application/octet-stream", buffer: bytes },
      { name: "b.txt", mimeType: "text/plain", buffer: Buffer.from("text") },
    ]);
    await assertUsable(page);
    await button(page, "Upload").click();
    await said(page, "2 files uploaded");
    await button(page, "Close").click();
    await rows(page).filter({ hasText: "a.bin" }).click();
    await page.locator(".hex-row").waitFor();
    const arrives = page.waitForEvent("download");
    await choose(page, "Actions", "Download");
    const download = await arrives;
    assert.equal(download.suggestedFilename(), "a.bin");
    assert.deepEqual(readFileSync(await download.path()), bytes);
    assertClean();
  });

  await context.test("a file that is too long is named", async () => {
    await goTo(place(newFolder()));
    await choose(page, "More", "Upload files…");
    const file = (name, length) => ({ name, mimeType: "text/plain", buffer: Buffer.alloc(length) });
    await page.locator("dialog input[type=file]").setInputFiles([file("a.txt", 4), file("long.bin", 25 * 1024 * 1024 + 1)]);
    await page.getByText("long.bin: The value has 26,214,401 bytes").waitFor();
    assert.ok(await button(page, "Upload").isDisabled());
    await button(page, "Cancel").click();
    assertClean();
  });

  await context.test("a downloaded file has the last part of the key's name, without an extension that the key has not", async () => {
    const folder = newFolder();
    // Chromium saves no file whose name begins with a dot.
    const files = { bin: "bin", dl: "dl", ".hidden": "hidden", "a/b.json": "b.json" };
    for (const key of Object.keys(files)) await KV.put(folder + key, key === "bin" ? new Uint8Array([0, 255]).buffer : "{}");
    for (const [key, file] of Object.entries(files)) {
      await goTo(place(folder, folder + key));
      await page.locator(".key-title", { hasText: folder + key }).waitFor();
      const arrives = page.waitForEvent("download");
      await choose(page, "Actions", "Download");
      assert.equal((await arrives).suggestedFilename(), file, key);
    }
    assertClean();
  });

  await context.test("a shorter value is shown from its start after the end of a long one was in view", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "short");
    await goTo(place(folder, `${folder}a`));
    await editor(page).waitFor();
    const long = { name: "long", mimeType: "application/octet-stream", buffer: Buffer.alloc(1024 * 1024 + 1) };
    await page.locator("input[type=file]").setInputFiles(long);
    await button(page, "Hex").click();
    await button(page, "Next").click();
    await page.locator(".hex-row", { hasText: "00100000" }).waitFor();
    await button(page, "Discard changes").click();
    await page.locator(".hex-row", { hasText: "short" }).waitFor();
    assertClean();
  });

  await context.test("what is exported in either format is imported again", async () => {
    const folder = newFolder();
    await KV.put(`${folder}text`, 'é "\n', { metadata: { a: 1 }, expiration: 2_000_000_000 });
    await KV.put(`${folder}bytes`, new Uint8Array([0, 255]).buffer);
    const ndjson = `{"key":"${folder}bytes","value":"AP8=","base64":true}\n{"key":"${folder}text","value":"é \\"\\n","metadata":{"a":1},"expiration":2000000000}\n`;
    const json = `[\n${ndjson.trimEnd().replace("\n", ",\n")}\n]\n`;
    await goTo(place(folder));
    for (const [format, expected] of Object.entries({ ndjson, json })) {
      await choose(page, "More", "Export…");
      await page.getByLabel("Format").selectOption(format);
      const arrives = page.waitForEvent("download");
      await button(page, "Export").click();
      const file = await (await arrives).path();
      assert.equal(readFileSync(file, "utf8"), expected);
      if (format === "json") await assertUsable(page);
      await button(page, "Close").click();
      await KV.delete(`${folder}text`);
      await choose(page, "More", "Import…");
      await page.locator("dialog input[type=file]").setInputFiles(file);
      await said(page, "1 of the keys exists already");
      if (format === "json") await assertUsable(page);
      await button(page, "Write 1 pair").click();
      await said(page, "1 pair written");
      await button(page, "Close").click();
      assert.deepEqual(await KV.getWithMetadata(`${folder}text`).then(({ value, metadata }) => [value, metadata]), ['é "\n', { a: 1 }]);
    }
    assertClean();
  });

  await context.test("a file has the latest expiration that KV knows, and one with a later one is refused with its line", async () => {
    const folder = newFolder();
    const latest = 2_147_483_647;
    await goTo(place(folder));
    const choosePairs = async (...ends) => {
      const buffer = Buffer.from(ends.map((end, index) => JSON.stringify({ key: `${folder}${index}`, value: "1", ...end })).join("\n"));
      await page.locator("dialog input[type=file]").setInputFiles({ name: "pairs.ndjson", mimeType: "text/plain", buffer });
    };
    await choose(page, "More", "Import…");
    for (const [end, problem] of [
      [{ expiration: latest + 1 }, `"${folder}1": KV knows no expiration after `],
      [{ expiration_ttl: latest + 1 }, `"${folder}1": KV keeps a key for 24,855 days at most.`],
    ]) {
      await choosePairs({}, end);
      await page
        .getByRole("alert")
        .filter({ hasText: `Line 2: ${problem}` })
        .waitFor();
      assert.ok(await button(page, "Write").isDisabled());
    }
    // A lifetime takes precedence, so that the time is not looked at.
    await choosePairs({ expiration: latest }, { expiration_ttl: latest }, { expiration: latest + 1, expiration_ttl: 3600 });
    await button(page, "Write 3 pairs").click();
    await said(page, "3 pairs written.");
    await button(page, "Close").click();
    assert.deepEqual(await Promise.all([0, 1, 2].map((index) => stored(`${folder}${index}`))), ["1", "1", "1"]);
    assertClean();
  });

  await context.test("an import looks again before it writes: it keeps what was created since, or asks before it replaces that", async () => {
    const folder = newFolder();
    const values = () => Promise.all(["a", "b", "c"].map((key) => stored(folder + key)));
    await goTo(place(folder));
    const choosePairs = async () => {
      const buffer = Buffer.from(["a", "b", "c"].map((key) => JSON.stringify({ key: folder + key, value: "new" })).join("\n"));
      await choose(page, "More", "Import…");
      await page.locator("dialog input[type=file]").setInputFiles({ name: "pairs.ndjson", mimeType: "text/plain", buffer });
    };
    await choosePairs();
    await said(page, "None of the keys exists yet.");
    await KV.put(`${folder}b`, "theirs");
    await button(page, "Write 3 pairs").click();
    await said(page, "2 pairs written. 1 value was kept.");
    assert.deepEqual(await values(), ["new", "theirs", "new"]);
    await button(page, "Close").click();

    await KV.put(`${folder}a`, "old");
    for (const key of ["b", "c"]) await KV.delete(folder + key);
    await choosePairs();
    await said(page, "1 of the keys exists already");
    await page.getByLabel("Keys that exist").selectOption("replace");
    await KV.put(`${folder}b`, "theirs");
    await button(page, "Write 3 pairs").click();
    await said(page, `2 of the keys exist already, 1 of them since the last check: ${folder}b, ${folder}a. Write again to replace their values.`);
    assert.deepEqual(await values(), ["old", "theirs", null]);
    await assertUsable(page);
    await button(page, "Write 3 pairs").click();
    await said(page, "3 pairs written.");
    assert.deepEqual(await values(), ["new", "new", "new"]);
    await button(page, "Close").click();

    for (const key of ["a", "b", "c"]) await KV.delete(folder + key);
    await choosePairs();
    await said(page, "None of the keys exists yet.");
    for (const key of ["a", "b", "c"]) await KV.put(folder + key, "theirs");
    await button(page, "Write 3 pairs").click();
    await said(page, "3 of the keys exist already, 3 of them since the last check");
    assert.ok(await button(page, "Write").isDisabled());
    await button(page, "Cancel").click();
    assert.deepEqual(await values(), ["theirs", "theirs", "theirs"]);
    assertClean();
  });

  await context.test("an import that is stopped as it looks again writes nothing, and may be tried again", async () => {
    const folder = newFolder();
    await goTo(place(folder));
    await choose(page, "More", "Import…");
    const buffer = Buffer.from(JSON.stringify({ key: `${folder}a`, value: "1" }));
    await page.locator("dialog input[type=file]").setInputFiles({ name: "pairs.ndjson", mimeType: "text/plain", buffer });
    await button(page, "Write 1 pair").waitFor();
    await page.route("**/keys?*", () => {});
    await button(page, "Write 1 pair").click();
    await said(page, "Checked: 0");
    await button(page, "Stop").click();
    await page.locator("dialog").getByText("Stopped.").waitFor();
    await page.unrouteAll({ behavior: "ignoreErrors" });
    assert.equal(await stored(`${folder}a`), null);
    await button(page, "Write 1 pair").click();
    await said(page, "1 pair written.");
    await button(page, "Close").click();
    assertClean(["aborted", "/keys"]);
  });

  await context.test("an upload asks again if more keys exist than it has shown", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "old");
    await goTo(place(folder));
    await choose(page, "More", "Upload files…");
    const files = ["a", "b"].map((name) => ({ name, mimeType: "text/plain", buffer: Buffer.from("new") }));
    await page.locator("dialog input[type=file]").setInputFiles(files);
    await button(page, "Upload").click();
    await said(page, "1 key would be replaced");
    await KV.put(`${folder}b`, "theirs");
    await button(page, "Replace and upload").click();
    await said(page, `2 keys would be replaced: ${folder}a, ${folder}b.`);
    assert.deepEqual(await Promise.all(["a", "b"].map((key) => stored(folder + key))), ["old", "theirs"]);
    await button(page, "Replace and upload").click();
    await said(page, "2 files uploaded.");
    await button(page, "Close").click();
    assertClean();
  });

  await context.test("a file without pairs has nothing to write", async () => {
    await goTo(place(newFolder()));
    await choose(page, "More", "Import…");
    for (const text of ["", "[]"]) {
      await page.locator("dialog input[type=file]").setInputFiles({ name: "pairs.json", mimeType: "text/plain", buffer: Buffer.from(text) });
      await said(page, "The file has no pairs.");
      assert.ok(await button(page, "Write").isDisabled());
      await page.locator("dialog input[type=file]").setInputFiles([]);
      await page.getByText("The file has no pairs.").waitFor({ state: "detached" });
    }
    await button(page, "Cancel").click();
    assertClean();
  });

  await context.test("a file with a mistake is refused with its line, before the first write", async () => {
    const folder = newFolder();
    await goTo(place(folder));
    await choose(page, "More", "Import…");
    const text = `{"key":"${folder}a","value":"1"}\n{"key":"${folder}b","value":2}\n`;
    await page.locator("dialog input[type=file]").setInputFiles({ name: "pairs.ndjson", mimeType: "text/plain", buffer: Buffer.from(text) });
    await page.getByRole("alert").filter({ hasText: "Line 2:" }).waitFor();
    assert.ok(await button(page, "Write").isDisabled());
    await assertUsable(page);
    assert.equal(await stored(`${folder}a`), null);
    assertClean();
  });
});

test("the dialogs for many keys change exactly what was counted, show how far they are, and can be stopped", async (context) => {
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
          // Of a bar that was just replaced, the style is empty, and there is no picture.
          if (color === "") return false;
          const [drawn] = await drawnIn(bar, [color]).catch(() => []);
          return drawn !== undefined && Math.abs(drawn.inMiddle - count / total) < 0.03;
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

test("pairs that a busy KV has not written, and keys that it has not deleted, are sent again", async () => {
  const folder = newFolder();
  const { page, assertClean } = await open(place(folder));
  const calls = [];
  // Workers KV accepts one write a second to a key; the local KV has no limit.
  await page.route("**/bulk{,/delete}", async (route) => {
    const request = route.request();
    const sent = request.postDataJSON();
    calls.push(sent.length);
    if (calls.length % 2 === 0) return route.continue();
    const [first, ...rest] = sent;
    const response = await route.fetch({ postData: JSON.stringify(rest) });
    assert.equal(response.status(), 200);
    const result = { successful_key_count: rest.length, unsuccessful_keys: [first.key ?? first] };
    await route.fulfill({ status: 429, json: { result, success: false, errors: [{ code: 10429, message: "too many requests" }], messages: [] } });
  });
  const buffer = Buffer.from([1, 2, 3].map((n) => JSON.stringify({ key: `${folder}${n}`, value: `${n}` })).join("\n"));
  await choose(page, "More", "Import…");
  await page.locator("dialog input[type=file]").setInputFiles({ name: "pairs.ndjson", mimeType: "text/plain", buffer });
  await button(page, "Write 3 pairs").click();
  await said(page, "3 pairs written.");
  await button(page, "Close").click();
  assert.deepEqual(await Promise.all([1, 2, 3].map((n) => stored(`${folder}${n}`))), ["1", "2", "3"]);
  await choose(page, "More", "Delete by prefix…");
  await button(page, "Count").click();
  await button(page, "Delete 3 keys").click();
  await said(page, "3 keys deleted.");
  assert.deepEqual((await KV.list({ prefix: folder })).keys, []);
  assert.deepEqual(calls, [3, 1, 3, 1]);
  assertClean([429, "/bulk"], [429, "/bulk/delete"]);
});

// The console in a browser, under its Content-Security-Policy: signing in, and the panel "Browse".
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { eventually } from "../harness/eventually.mjs";
import { signToken } from "../harness/kv-api.mjs";
import { uniqueName } from "../harness/names.mjs";
import { startWorker, WORKER_TOKEN } from "../harness/worker.mjs";
import { startBrowser } from "./browser.mjs";
import { assertFits, assertUsable, consoleOf, drawnIn, keyboardOf } from "./console.mjs";

const worker = await startWorker({ vars: { KV_API_WRITABLE: "WRITES,USER_CONFIGURATION", KV_API_NAMESPACES: "KV_NAMESPACES" } });
const browser = await startBrowser();
const open = consoleOf(browser, worker.directUrl.origin);
const KV = worker.env.WRITES;
const NARROW = { viewport: { width: 400, height: 760 } };

/** Returns a folder of WRITES that no other test uses. */
const newFolder = () => `${uniqueName("f")}/`;

/** Returns the place of a folder, or of a key in it. */
function place(prefix, key, namespace = "WRITES") {
  const path = [namespace, ...prefix.split("/")].map(encodeURIComponent).join("/");
  return `#/browse/${path}${key === undefined ? "" : `?${new URLSearchParams({ key })}`}`;
}

const stored = async (key, namespace = KV) => namespace.get(key);
const rows = (page) => page.locator(".key-row");
const editor = (page, name = /^Value of/) => page.getByRole("textbox", { name });
const lines = (page, name) => editor(page, name).locator(".cm-line").allTextContents();
const button = (page, name) => page.getByRole("button", { name, exact: true });
const save = (page) => button(page, "Save").click();
const link = (page, name) => page.getByRole("link", { name, exact: true });
const input = (page, name) => page.getByRole("textbox", { name, exact: true });
const said = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor();

/** Waits until `look` returns `expected`. */
async function settles(look, expected) {
  let last;
  const isSettled = async () => {
    last = await look();
    return isDeepStrictEqual(last, expected);
  };
  await eventually(isSettled, "").catch(() => assert.deepEqual(last, expected));
}

/** Replaces the text of an editor as somebody who types. */
async function type(page, text, name) {
  await editor(page, name).focus();
  await page.keyboard.press("Control+a");
  await page.keyboard.press("Delete");
  await page.keyboard.insertText(text);
}

async function choose(page, menu, action) {
  await page.locator("summary", { hasText: menu }).click();
  await button(page, action).click();
}

describe("signing in", () => {
  test("the frame is there before any script or data", async () => {
    const { page, assertClean } = await open("", { token: null, javaScriptEnabled: false });
    assert.match(await page.locator("body").innerText(), /kv-edge console/);
    assertClean();
  });

  test("a wrong token is refused with a sentence, a right one is kept in the tab alone", async () => {
    const { page, context, assertClean } = await open("", { token: null });
    await page.getByLabel("Token").fill("wrong");
    await button(page, "Sign in").click();
    await page.getByRole("alert").filter({ hasText: "does not accept this token" }).waitFor();
    await page.getByLabel("Token").fill(WORKER_TOKEN);
    await button(page, "Sign in").click();
    await page.getByRole("heading", { name: "Namespaces" }).waitFor();
    assert.ok(!page.url().includes(WORKER_TOKEN));
    assert.deepEqual(await context.cookies(), []);
    assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length]), [0, 1]);
    await page.reload();
    await page.getByRole("heading", { name: "Namespaces" }).waitFor();
    await button(page, "Sign out").click();
    await page.getByLabel("Token").waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    assertClean([401, "/console/api/session"]);
  });

  test("a token that is no longer accepted leads back to the form, and no change is lost", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "before");
    const { page, assertClean } = await open(place(folder, `${folder}a`));
    await type(page, "after");
    await page.route("**/client/v4/**", (route) => route.fulfill({ status: 401, json: { errors: [{ code: 10000, message: "Authentication error" }] } }));
    await save(page);
    await page.getByRole("alert").filter({ hasText: "no longer accepted" }).waitFor();
    await page.unroute("**/client/v4/**");
    await page.getByLabel("Token").fill(WORKER_TOKEN);
    await page.keyboard.press("Enter");
    await said(page, "unsaved changes are back");
    assert.deepEqual(await lines(page), ["after"]);
    await save(page);
    await said(page, "Saved");
    assert.equal(await stored(`${folder}a`), "after");
    assertClean([401, "/keys"]);
  });

  test("a renewed token gets the changes back; one with another scope signs in only after they are dropped on purpose", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "before");
    const token = (name, prefix = folder) => signToken({ namespace: "WRITES", prefix, write: true, sub: name });
    const { page, assertClean } = await open(place(folder, `${folder}a`), { token: token("first") });
    const signInAgain = async (next) => {
      await page.getByLabel("Token").fill(next);
      await page.keyboard.press("Enter");
    };
    await type(page, "after");
    await page.route("**/client/v4/**", (route) => route.fulfill({ status: 401, json: { errors: [{ code: 10000, message: "Authentication error" }] } }));
    await save(page);
    await page.getByRole("alert").filter({ hasText: "no longer accepted" }).waitFor();
    await page.unroute("**/client/v4/**");
    await signInAgain(token("other", ""));
    await page.getByRole("dialog", { name: "Sign in and drop the unsaved changes?" }).waitFor();
    await assertUsable(page);
    assert.equal(await editor(page).count(), 0);
    await button(page, "Cancel").click();
    await page.getByRole("alert").filter({ hasText: "kept for a token with the same scope" }).waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    await signInAgain(token("renewed"));
    await said(page, "unsaved changes are back");
    assert.deepEqual(await lines(page), ["after"]);
    await page.evaluate(() => sessionStorage.setItem("kv-edge-token", "expired"));
    await save(page);
    await signInAgain(token("other", ""));
    await button(page, "Drop them and sign in").click();
    await editor(page).waitFor();
    assert.deepEqual(await lines(page), ["before"]);
    assertClean([401, "/keys"], [401, "/console/api/values"]);
  });
});

test("looking", async (context) => {
  const { page, goTo, assertClean } = await open("#/browse");
  await context.test("namespaces say what they hold and whether they can be changed", async () => {
    await goTo("#/browse");
    const row = (title) => page.getByRole("row").filter({ has: page.getByRole("link", { name: title, exact: true }) });
    assert.match(await row("WRITES").innerText(), /read and write/);
    assert.match(await row("CACHE_KV").innerText(), /Stored responses of the cache\s[0-9a-f\s]+read-only/);
    await assertUsable(page);
    assertClean();
  });

  await context.test("prefixes are folders with the number of their keys, and a filter narrows them", async () => {
    const folder = newFolder();
    for (const key of ["fruit/apple", "fruit/pear", "fruit/exotic/durian", "tea", "toast"]) await KV.put(folder + key, key);
    await goTo(place(folder));
    await rows(page).nth(2).waitFor();
    assert.deepEqual(await rows(page).allInnerTexts(), ["fruit/\n3", "tea", "toast"]);
    await rows(page).first().click();
    await page.getByRole("heading", { name: "fruit" }).waitFor();
    await settles(() => rows(page).allInnerTexts(), ["exotic/\n1", "apple", "pear"]);
    await page.getByLabel("Keys that begin with").fill("a");
    await settles(() => rows(page).allInnerTexts(), ["apple"]);
    await page.getByRole("link", { name: folder.slice(0, -1) }).click();
    await page.getByLabel("Folders").uncheck();
    await settles(() => rows(page).count(), 5);
    await page.getByLabel("Sort what is loaded").selectOption("nameDescending");
    await settles(() => rows(page).first().innerText(), `${folder}toast`);
    await page.getByLabel("Folders").check();
    await page.getByLabel("Sort what is loaded").selectOption("name");
    assertClean();
  });

  await context.test("JSON is laid out with its numbers as they were written; text, bytes and images are shown as such", async () => {
    const folder = newFolder();
    await KV.put(`${folder}json`, '{"n":12345678901234567890,"a":[],"b":[1]}', { metadata: { by: "ann" }, expirationTtl: 3 * 3600 });
    await KV.put(`${folder}text`, "two\nlines");
    await KV.put(`${folder}bytes`, new Uint8Array([0, 255, 65]).buffer);
    await KV.put(`${folder}image`, readFileSync(new URL("../../static/logo.png", import.meta.url)));
    await KV.put(
      `${folder}svg`,
      '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)" width="9" height="9"><style>rect{fill:red}</style><script>alert(2)</script><rect width="9" height="9"/></svg>',
    );
    await goTo(place(folder, `${folder}json`));
    await editor(page).waitFor();
    assert.deepEqual(await lines(page), ["{", '  "n": 12345678901234567890,', '  "a": [],', '  "b": [', "    1", "  ]", "}"]);
    assert.deepEqual(await lines(page, "Metadata"), ["{", '  "by": "ann"', "}"]);
    const facts = page.locator(".details .chip");
    assert.deepEqual(await facts.allInnerTexts(), ["JSON", "41 B", "expires in 3 h"]);
    await assertUsable(page);
    const look = async (key, kind) => {
      await rows(page).filter({ hasText: key }).click();
      await settles(() => facts.first().innerText(), kind);
    };
    await look("text", "Text");
    assert.deepEqual(await lines(page), ["two", "lines"]);
    await look("bytes", "Binary");
    assert.match(await page.locator(".hex-row").innerText(), /^00000000 {2}00 ff 41 .* \.\.A$/);
    await assertUsable(page);
    await look("image", "PNG image");
    const drawn = (name) => page.getByRole("img", { name: `The value of ${folder}${name}` }).evaluate((image) => image.decode().then(() => image.naturalWidth));
    assert.ok((await drawn("image")) > 10);
    await assertUsable(page);
    await look("svg", "SVG image");
    assert.equal(await drawn("svg"), 9);
    assertClean();
  });

  await context.test("a value of megabytes is shown whole, whether it has many lines or one", async () => {
    const folder = newFolder();
    await KV.put(`${folder}json`, JSON.stringify(Array.from({ length: 50_000 }, (_, id) => ({ id, name: `item ${id}` }))));
    await KV.put(`${folder}line`, `${"a line ".repeat(400_000)}and its end`);
    await goTo(place(folder, `${folder}json`));
    await editor(page).focus();
    await page.keyboard.press("Control+End");
    await settles(async () => (await lines(page)).slice(-3), ['    "name": "item 49999"', "  }", "]"]);
    await rows(page).filter({ hasText: "line" }).click();
    await page.locator(".chip", { hasText: "Text" }).waitFor();
    await editor(page).focus();
    await page.keyboard.press("Control+End");
    await settles(async () => (await lines(page)).at(-1).endsWith("and its end"), true);
    assertClean();
  });

  await context.test("a key that does not exist is said to be so, and is no failure for the browser", async () => {
    const folder = newFolder();
    await goTo(place(folder, `${folder}gone`));
    await page.getByText("This key does not exist.").waitFor();
    await KV.put(`${folder}gone`, "back");
    await button(page, "Read again").click();
    await editor(page).waitFor();
    assert.deepEqual(await lines(page), ["back"]);
    assertClean();
  });

  await context.test("a script in key, value and metadata is text", async () => {
    const folder = newFolder();
    const script = "<script>alert(1)</script><img src=x onerror=alert(2)>";
    await KV.put(folder + script.replaceAll("/", ""), script, { metadata: { [script]: script } });
    await goTo(place(folder));
    page.on("dialog", () => assert.fail("a script ran"));
    await rows(page).first().click();
    await editor(page).waitFor();
    assert.deepEqual(await lines(page), [script]);
    assert.match((await lines(page, "Metadata")).join(""), /<script>/);
    assert.match(await page.locator(".key-title").innerText(), /<script>/);
    assert.equal(await page.locator("main script, main img").count(), 0);
    assertClean();
  });

  await context.test("the list names the row that the keyboard acts on while it is drawn, and leads back to it", async () => {
    const folder = newFolder();
    await Promise.all(Array.from({ length: 150 }, (_, index) => KV.put(`${folder}${String(index).padStart(3, "0")}`, "")));
    await goTo(place(folder));
    const list = page.getByRole("listbox");
    /**
     * Returns the text of the row that is named, `null` if none is, and `undefined` if it does not
     * exist.
     */
    const named = () =>
      list.evaluate((element) => {
        const id = element.getAttribute("aria-activedescendant");
        return id === null ? null : document.getElementById(id)?.innerText;
      });
    await said(page, "150 keys loaded");
    await list.focus();
    await page.keyboard.press("ArrowDown");
    await settles(named, "001");
    await list.evaluate((element) => {
      element.scrollTop = element.scrollHeight;
    });
    await rows(page).filter({ hasText: "149" }).waitFor();
    assert.equal(await named(), null);
    await page.keyboard.press("ArrowDown");
    await settles(named, "002");
    assert.ok(await rows(page).filter({ hasText: "002" }).isVisible());
    assertClean();
  });

  await context.test("a key that is opened while the filter waits stays open, and the filter says what the address does", async () => {
    const folder = newFolder();
    for (const key of ["a1", "a2", "b"]) await KV.put(folder + key, key);
    await goTo(place(folder, `${folder}a2`));
    await page.locator(".key-row.active", { hasText: "a2" }).waitFor();
    await page.getByLabel("Keys that begin with").fill("a");
    await rows(page).filter({ hasText: "a1" }).click();
    await settles(() => rows(page).count(), 2);
    await page.locator(".key-title", { hasText: /a1$/ }).waitFor();
    await page.goBack();
    await page.locator(".key-title", { hasText: /a2$/ }).waitFor();
    await settles(() => page.getByLabel("Keys that begin with").inputValue(), "");
    assertClean();
  });

  await context.test("with 100,000 keys loaded the list has only the rows in view, and scrolls at once", async () => {
    await goTo("#/browse");
    // The list of KV, without the minutes that it takes to write as many keys.
    await page.route("**/WRITES/keys?*", (route) => {
      const from = Number(new URL(route.request().url()).searchParams.get("cursor") ?? 0);
      const result = Array.from({ length: 1000 }, (_, index) => ({ name: `many-${String(from + index).padStart(6, "0")}`, metadata: { n: from + index } }));
      const next = from + 1000 < 100_000 ? String(from + 1000) : "";
      route.fulfill({ json: { result, success: true, errors: [], messages: [], result_info: { count: 1000, cursor: next } } });
    });
    await link(page, "WRITES").click();
    await said(page, "1,000 keys loaded, more follow");
    await page.getByLabel("Sort what is loaded").selectOption("nameDescending");
    await said(page, "only those loaded are sorted");
    await page.getByLabel("Sort what is loaded").selectOption("name");
    await button(page, "Load more").click();
    await said(page, "2,000 keys loaded");
    await button(page, "Load all").click();
    await said(page, "100,000 keys loaded, that is all");
    const list = page.getByRole("listbox");
    // The button that has loaded them is gone.
    await page.locator('[role="listbox"]:focus').waitFor();
    await page.keyboard.press("End");
    await rows(page).filter({ hasText: "many-099999" }).waitFor();
    assert.ok((await rows(page).count()) < 100);
    // Each step of a scroll through the whole list makes the rows in view, and no others.
    const steps = await list.evaluate(async (element) => {
      const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
      let added = 0;
      const observer = new MutationObserver((changes) => {
        for (const { addedNodes } of changes) added += addedNodes.length;
      });
      observer.observe(element, { childList: true, subtree: true });
      const steps = [];
      for (let step = 0; step <= 60; step += 1) {
        added = 0;
        element.scrollTop = (element.scrollHeight * step) / 60;
        await frame();
        await frame();
        const top = element.getBoundingClientRect().top + 1;
        const inView = [...element.querySelectorAll(".key-row")].find((row) => row.getBoundingClientRect().bottom > top);
        steps.push({
          added,
          rows: element.querySelectorAll(".key-row").length,
          shown: Number(inView.innerText.slice("many-".length, "many-".length + 6)) - element.scrollTop / 34,
        });
      }
      observer.disconnect();
      return steps;
    });
    for (const { added, rows, shown } of steps) {
      assert.ok(added < 500 && rows < 100, `a step has added ${added} nodes, and the list has ${rows} rows`);
      assert.ok(Math.abs(shown) <= 1, `the first row in view is ${shown} rows away from its place`);
    }
    await page.unroute("**/WRITES/keys?*");
    assertClean();
  });
});

describe("changing", () => {
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
    await type(page, "{", "Metadata");
    await type(page, '{"on": true}');
    await save(page);
    await said(page, "The metadata are not JSON");
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
});

test("files", async (context) => {
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

describe("a busy KV", () => {
  test("pairs that were not written, and keys that were not deleted, are sent again", async () => {
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
});

describe("what the token may", () => {
  test("a token that only reads is offered no change, and sees the keys with its prefix alone", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, '{"a":1}');
    const { page, assertClean } = await open("", { token: signToken({ namespace: "WRITES", prefix: folder }) });
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

  test("no new namespace is offered by a Worker without a home for it", async () => {
    const fixed = await startWorker({ vars: { KV_API_WRITABLE: "*" } });
    const { page, assertClean } = await consoleOf(browser, fixed.directUrl.origin)("#/browse");
    await link(page, "KV_NAMESPACES").waitFor();
    assert.equal(await button(page, "New namespace").count(), 0);
    assertClean();
  });

  test("a binding that KV_API_WRITABLE does not list is read-only for everybody", async () => {
    const { page, assertClean } = await open(place("", undefined, "CACHE_KV"));
    await page.getByText("KV_API_WRITABLE does not list").waitFor();
    assert.equal(await button(page, "New key").count(), 0);
    assertClean();
  });

  test("a namespace is made, renamed and deleted, which takes its title", async () => {
    const { page, assertClean } = await open();
    await button(page, "New namespace").click();
    await input(page, "Title").fill("made");
    await assertUsable(page);
    await button(page, "Create").click();
    await link(page, "made").waitFor();
    await button(page, "Rename…").click();
    await assertUsable(page);
    await input(page, "Title").fill("renamed");
    await button(page, "Rename").click();
    await link(page, "renamed").waitFor();
    await button(page, "Delete…").click();
    await input(page, "Title").fill("wrong");
    await button(page, "Delete").click();
    await page.getByRole("alert").filter({ hasText: "not the same" }).waitFor();
    await assertUsable(page);
    await input(page, "Title").fill("renamed");
    await button(page, "Delete").click();
    await link(page, "renamed").waitFor({ state: "detached" });
    assertClean();
  });
});

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
    await assertFocus("Read the namespaces again");
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
    await assertUsable(page);
    await choose(page, "Actions", "Delete…");
    await assertFits(page);
    await button(page, "Cancel").click();
    await button(page, "Close").click();
    await page.getByRole("listbox").waitFor();
    assertClean();
  });
});

test("many keys", async (context) => {
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
        const color = await bar.evaluate((element) => getComputedStyle(element).accentColor);
        const [{ inMiddle }] = await drawnIn(bar, [color]);
        assert.ok(Math.abs(inMiddle - count / total) < 0.03, `${label} ${count} of ${total}: ${inMiddle} of the bar is filled`);
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

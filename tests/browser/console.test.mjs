// The console in a browser, under its Content-Security-Policy: signing in, what the panel "Browse"
// shows, and which namespaces can be changed.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { signToken } from "../harness/kv-api.mjs";
import { startWorker, WORKER_TOKEN } from "../harness/worker.mjs";
import { choose, editor, input, lines, link, NARROW, newFolder, place, rows, said, save, settles, startBrowse, type } from "./browse.mjs";
import { assertFits, assertUsable, button, consoleOf } from "./console.mjs";

const { browser, open, KV, stored } = await startBrowse();

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
});

describe("the panel Browse", async () => {
  const { page, goTo, assertClean } = await open("#/browse");

  test("namespaces say what they hold and whether they can be changed", async () => {
    await goTo("#/browse");
    const row = (title) => page.getByRole("row").filter({ has: page.getByRole("link", { name: title, exact: true }) });
    assert.match(await row("WRITES").innerText(), /read and write/);
    assert.match(await row("CACHE_KV").innerText(), /Stored responses of the cache\s[0-9a-f\s]+read-only/);
    await assertUsable(page);
    assertClean();
  });

  test("prefixes are folders with the number of their keys, and a filter narrows them", async () => {
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

  test("JSON is laid out with its numbers as they were written; text, bytes and images are shown as such", async () => {
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

  test("a value of megabytes is shown whole, whether it has many lines or one", async () => {
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

  test("JSON that is nested too deeply to be laid out is shown as it is stored", async () => {
    const folder = newFolder();
    const value = `${"[".repeat(16_500)}${"]".repeat(16_500)}`;
    await KV.put(`${folder}deep`, value);
    await goTo(place(folder, `${folder}deep`));
    await page.locator(".chip", { hasText: "JSON" }).waitFor();
    const [line, ...others] = await lines(page);
    assert.deepEqual([value.startsWith(line.slice(0, 100)), others], [true, []]);
    assertClean();
  });

  test("a key that does not exist is said to be so, and is no failure for the browser", async () => {
    const folder = newFolder();
    await goTo(place(folder, `${folder}gone`));
    await page.getByText("This key does not exist.").waitFor();
    await KV.put(`${folder}gone`, "back");
    await button(page, "Read again").click();
    await editor(page).waitFor();
    assert.deepEqual(await lines(page), ["back"]);
    assertClean();
  });

  test("an address with an empty key is that of the folder", async () => {
    const folder = newFolder();
    await KV.put(`${folder}a`, "a");
    await goTo(`${place(folder)}?key=`);
    await settles(() => rows(page).allInnerTexts(), ["a"]);
    assert.equal(await page.getByRole("region", { name: "Details of the key" }).count(), 0);
    assertClean();
  });

  test("a script in key, value and metadata is text", async () => {
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

  test("the list names the row that the keyboard acts on while it is drawn, and leads back to it", async () => {
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

  test("a key that is opened while the filter waits stays open, and the filter says what the address does", async () => {
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

  test("with 100,000 keys loaded the list has only the rows in view, and scrolls at once", async () => {
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

describe("the namespaces that can be changed", () => {
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

// The pages of static/ in a browser: in three languages, and under their Content-Security-Policy.
// demo.test.mjs has the start page.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startAssets } from "../harness/assets.mjs";
import { eventually } from "../harness/eventually.mjs";
import { DEADLINE_MS, startBrowser, visitor } from "./browser.mjs";

const assets = await startAssets({ faulty: false });
const browser = await startBrowser();
const base = assets.worker.directUrl.origin;

const titles = { en: "About this page", de: "Über diese Seite", fr: "À propos de cette page" };
const folder = fileURLToPath(new URL("../../static", import.meta.url));

before(() => assets.push(folder));

/** Checks that the page, and its response, are in this language. */
async function assertShown(page, response, language) {
  assert.equal(response.status(), 200);
  assert.equal(response.headers()["content-language"], language);
  assert.equal(await page.locator("html").getAttribute("lang"), language);
  assert.equal(await page.locator("h1").innerText(), titles[language]);
  assert.equal(await page.locator("nav [aria-current]").getAttribute("hreflang"), language);
}

describe("a page in three languages", () => {
  const cases = [
    ["a browser in German", { locale: "de" }, "/about", "de"],
    ["a browser in Canadian French", { locale: "fr-CA" }, "/about", "fr"],
    ["a browser in British English", { locale: "en-GB" }, "/about", "en"],
    ["a browser in Japanese, which the page is not in", { locale: "ja" }, "/about", "en"],
    ["?lang comes before the browser's language", { locale: "de" }, "/about?lang=fr", "fr"],
    ["?lang with the language of about.html itself", { locale: "de" }, "/about?lang=en", "en"],
    ["the cookie comes before the browser's language", { locale: "de", cookie: "fr" }, "/about", "fr"],
    ["?lang comes before the cookie", { locale: "de", cookie: "fr" }, "/about?lang=en", "en"],
    ["the address of the German file itself", { locale: "fr" }, "/about.de", "de"],
    ["the redirect of _redirects", { locale: "fr" }, "/de/about", "de"],
  ];
  for (const [what, { locale, cookie }, path, language] of cases) {
    test(what, async () => {
      const { context, page, problems } = await visitor(browser, base, { locale });
      if (cookie) await context.addCookies([{ name: "lang", value: cookie, url: base }]);
      await assertShown(page, await page.goto(path), language);
      assert.deepEqual(problems, []);
    });
  }

  // The browser's cached `/about` must not outlive the choice.
  test("a choice on the page lasts until the visitor goes back to the browser's language", async () => {
    const { page, problems } = await visitor(browser, base, { locale: "de" });
    const follow = async (link) => (await Promise.all([page.waitForNavigation(), page.locator(link).click()]))[0];
    await assertShown(page, await page.goto("/about"), "de");
    await assertShown(page, await follow("[hreflang=fr]"), "fr");
    await assertShown(page, await page.goto("/about"), "fr");
    await assertShown(page, await follow("[hreflang=en]"), "en");
    await assertShown(page, await page.goto("/about"), "en");
    await assertShown(page, await follow("[data-any-language]"), "de");
    await assertShown(page, await page.goto("/about"), "de");
    assert.deepEqual(problems, []);
  });
});

test("the 404 page has its style and its picture at a deep path, too", async () => {
  const { page, problems } = await visitor(browser, base);
  const response = await page.goto("/not/to/be/found", { waitUntil: "networkidle" });
  assert.equal(response.status(), 404);
  assert.equal(await page.locator("h1").innerText(), "Nothing here");
  assert.ok(await page.locator("header img").evaluate((image) => image.complete && image.naturalWidth > 0), "the picture shows");
  assert.equal(await page.locator("header").evaluate((header) => getComputedStyle(header).display), "flex");
  assert.deepEqual(
    problems.filter((problem) => !/^console: .* 404 /.test(problem)),
    [],
  );
});

test("the Content-Security-Policy is enforced: an inline script does not run, one in a file of the site does", async () => {
  const page = (body) => `<!doctype html><html lang="en"><title>before</title>${body}</html>`;
  await assets.push({
    "inline.html": page(`<script>document.title = "after"</script>`),
    "file.html": page(`<script src="/file.js"></script>`),
    "file.js": `document.title = "after"`,
  });
  const inline = await visitor(browser, base);
  await inline.page.goto("/inline");
  assert.equal(await inline.page.title(), "before");
  await eventually(() => inline.problems.some((problem) => problem.startsWith("policy: script-src-elem inline")), "the browser complains", DEADLINE_MS);
  const file = await visitor(browser, base);
  await file.page.goto("/file");
  assert.equal(await file.page.title(), "after");
  assert.deepEqual(file.problems, []);
});

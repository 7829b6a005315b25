// Pages in several languages: `about.de.html` beside `about.html` is `/about` in German (RFC 4647,
// RFC 9110 §12.5.4).
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { startAssets } from "./harness/assets.mjs";
import { listMembers } from "./harness/http.mjs";

const assets = await startAssets();

const page = (lang, text) => `<!doctype html><html${lang ? ` lang="${lang}"` : ""}><title>${text}</title></html>`;
const files = {
  "about.html": page("en", "about"),
  "about.de.html": page("de", "über"),
  "about.fr.html": page("fr", "à propos"),
  "about.pt-BR.html": page("pt-BR", "sobre"),
  "about.zh-Hans.html": page("zh-Hans", "关于"),
  "about.zh-Hant.html": page("zh-Hant", "關於"),
  "about.es-419.html": page("es-419", "acerca"),
  "unmarked.html": page("", "unmarked"),
  "unmarked.de.html": page("", "unmarkiert"),
  "alone.html": page("en", "alone"),
  "index.html": page("en", "start"),
  "index.de.html": page("de", "Anfang"),
  "docs/index.html": page("en", "docs"),
  "docs/index.fr.html": page("fr", "docs en français"),
  // Names with a dot that are no translations.
  "release.v2.html": page("en", "v2"),
  "release.html": page("en", "release"),
  "jquery.slim.js": "slim",
  "jquery.js": "whole",
  "style.de.css": "a{}",
  "style.css": "b{}",
};
const languages = ["de", "en", "es-419", "fr", "pt-BR", "zh-Hans", "zh-Hant"];
const fileOf = (language) => (language === "en" ? "about.html" : `about.${language}.html`);

/** Checks that the response is `/about` in this language. */
function assertAboutPage(response, language) {
  assert.equal(response.status, 200, response.headers.location ?? response.text);
  assert.equal(response.text, files[fileOf(language)]);
  assert.equal(response.headers["content-language"], language);
}

before(() => assets.push(files));

describe("by Accept-Language", () => {
  const cases = [
    [undefined, "en"],
    ["", "en"],
    ["de", "de"],
    ["en", "en"],
    // RFC 4647 §3.4: a more specific range is shortened from its end until it matches.
    ["de-AT", "de"],
    ["de-CH-1996", "de"],
    ["fr-Latn-CA", "fr"],
    ["en-GB", "en"],
    ["zh-Hant-TW", "zh-Hant"],
    ["zh-Hans-CN", "zh-Hans"],
    // A range with a region or a script.
    ["pt-BR", "pt-BR"],
    ["zh-Hant", "zh-Hant"],
    ["es-419", "es-419"],
    // Case does not matter.
    ["DE", "de"],
    ["ZH-hant-tw", "zh-Hant"],
    // The script that is used in the region (CLDR, likely subtags).
    ["zh-TW", "zh-Hant"],
    ["zh-HK,zh;q=0.9,en;q=0.8", "zh-Hant"],
    ["zh-MO, en;q=0.5", "zh-Hant"],
    ["zh-SG", "zh-Hans"],
    ["zh", "zh-Hans"],
    // Nothing else matches: the same language in another region (as with the option `loose` of
    // npm's accept-language-parser).
    ["pt", "pt-BR"],
    ["pt-PT", "pt-BR"],
    ["es", "es-419"],
    ["es-MX", "es-419"],
    // Even such a match comes before the next range.
    ["pt, de;q=0.9", "pt-BR"],
    // Weights count in any order; of equal ones the first.
    ["fr;q=0.5, de;q=0.8", "de"],
    ["en;q=0.1, fr;q=0.2", "fr"],
    ["de, fr", "de"],
    ["fr, de", "fr"],
    ["es-MX;q=0.4, de;q=0.9", "de"],
    ["de-AT;q=0.3, zh-Hant-HK;q=0.7, *;q=0.1", "zh-Hant"],
    // q=0 excludes.
    ["de;q=0, fr;q=0.1", "fr"],
    ["de;q=0", "en"],
    ["pt;q=0, pt-BR;q=0", "en"],
    // Languages that are not there, invalid weights and invalid ranges are ignored.
    ["xx, de;q=0.1", "de"],
    ["tlh", "en"],
    ["deu", "en"],
    ["de;q=abc, fr;q=0.1", "fr"],
    ["de;q=1.5, fr;q=0.1", "fr"],
    ["*", "en"],
    ["-, --, de-", "en"],
    ["<script>", "en"],
    [`${"xx,".repeat(3000)}`, "en"],
  ];
  for (const [field, language] of cases) {
    test(`${field === undefined ? "no field" : JSON.stringify(field.slice(0, 60))} gets ${language}`, async () => {
      const headers = field === undefined ? {} : { "Accept-Language": field };
      const response = await assets.get("/about", headers);
      assertAboutPage(response, language);
      assert.deepEqual(
        listMembers(response.headers.vary).filter((name) => name !== "Accept-Encoding"),
        ["Accept-Language", "Cookie"],
      );
      const head = await assets.head("/about", headers);
      assert.deepEqual([head.status, head.headers["content-language"], head.headers.etag], [200, language, response.headers.etag]);
    });
  }
});

describe("by ?lang=, then by the cookie, then by Accept-Language", () => {
  for (const [query, cookie, field, language] of [
    ["?lang=fr", "lang=de", "zh-Hans", "fr"],
    ["?lang=zh-Hant", undefined, "de", "zh-Hant"],
    ["?lang=FR", undefined, undefined, "fr"],
    ["?lang=en", undefined, "de", "en"],
    ["?a=1&lang=fr&b=2", undefined, "de", "fr"],
    ["", "lang=fr", "de", "fr"],
    ["", "a=1; lang=pt-BR; b=2", "de", "pt-BR"],
    ["", "lang=en", "de", "en"],
    // A language that is not there is ignored.
    ["?lang=xx", "lang=fr", "de", "fr"],
    ["?lang=xx", "lang=yy", "de", "de"],
    ["?lang=", undefined, "de", "de"],
    ["", "lang=", "de", "de"],
    ["", "xlang=fr; languages=zh-Hans", "de", "de"],
    ["?language=fr", undefined, "de", "de"],
    ["?lang=%zz", undefined, "de", "de"],
    ["?lang=%3Cscript%3E", undefined, undefined, "en"],
  ]) {
    test(`${query || "no query"}, Cookie: ${cookie}, Accept-Language: ${field}: ${language}`, async () => {
      const headers = { ...(cookie && { Cookie: cookie }), ...(field && { "Accept-Language": field }) };
      const response = await assets.get(`/about${query}`, headers);
      assertAboutPage(response, language);
      // If the query decides, no field could have changed the response.
      const settled = /[?&]lang=(fr|en|zh-hant)\b/i.test(query);
      assert.deepEqual(
        listMembers(response.headers.vary).filter((name) => name !== "Accept-Encoding"),
        settled ? [] : ["Accept-Language", "Cookie"],
      );
    });
  }
});

test("Content-Location is the URL at which that language alone is served", async () => {
  for (const language of languages) {
    const { headers } = await assets.get("/about", { "Accept-Language": language });
    const address = headers["content-location"];
    assert.equal(address, language === "en" ? "/about?lang=en" : `/about.${language}`);
    for (const other of ["fr", "xx", "zh-Hans"]) {
      assertAboutPage(await assets.get(address, { "Accept-Language": other, Cookie: `lang=${other}` }), language);
    }
  }
});

test("Link names every language once, and the negotiated path (hreflang)", async () => {
  const { headers } = await assets.get("/about", { "Accept-Language": "de" });
  const links = headers.link.split(/,\s*(?=<)/).map((link) => {
    const [, target, hreflang] = /^<([^>]+)>; ?rel="?alternate"?; ?hreflang="?([^"]+)"?$/.exec(link) ?? [];
    return [hreflang, target];
  });
  const expected = languages.map((language) => [language, language === "en" ? "/about?lang=en" : `/about.${language}`]);
  assert.deepEqual(Object.fromEntries(links), Object.fromEntries([...expected, ["x-default", "/about"]]));
  assert.equal(links.length, expected.length + 1);
});

test("each language has its own ETag, which does not match another language", async () => {
  const tags = new Map();
  for (const language of languages) {
    const { headers } = await assets.get("/about", { "Accept-Language": language });
    assert.match(headers.etag, /^"[^"]+"$/);
    assert.ok(!tags.has(headers.etag));
    tags.set(headers.etag, language);
  }
  for (const [etag, language] of tags) {
    const notModified = await assets.get("/about", { "Accept-Language": language, "If-None-Match": etag });
    assert.equal(notModified.status, 304);
    assert.deepEqual(
      listMembers(notModified.headers.vary).filter((name) => name !== "Accept-Encoding"),
      ["Accept-Language", "Cookie"],
    );
    const other = language === "de" ? "fr" : "de";
    assert.equal((await assets.get("/about", { "Accept-Language": other, "If-None-Match": etag })).status, 200);
  }
});

test("the same bytes in two languages are two representations", async () => {
  await assets.push({ "same.html": page("", "same"), "same.de.html": page("", "same"), "same.fr.html": page("", "same") });
  const [de, fr] = await Promise.all(["de", "fr"].map((field) => assets.get("/same", { "Accept-Language": field })));
  assert.equal(de.text, fr.text);
  assert.notEqual(de.headers.etag, fr.headers.etag);
  await assets.push(files);
});

test("a language's own path serves that language, whatever Accept-Language and the cookie say; that with .html redirects to it", async () => {
  for (const [path, language] of [
    ["/about.de", "de"],
    ["/about.pt-BR", "pt-BR"],
    ["/index.de", "de"],
    ["/docs/index.fr", "fr"],
  ]) {
    const response = await assets.get(path, { "Accept-Language": "zh-Hans", Cookie: "lang=zh-Hans" });
    assert.equal(response.status, 200, path);
    assert.equal(response.text, files[`${path.slice(1)}.html`]);
    assert.equal(response.headers["content-language"], language);
    assert.deepEqual(
      listMembers(response.headers.vary).filter((name) => name !== "Accept-Encoding"),
      [],
    );
  }
  const { status, headers } = await assets.get("/about.de.html?x=1");
  assert.deepEqual([status, headers.location], [307, "/about.de?x=1"]);
});

test("the index of a folder has languages too", async () => {
  for (const [path, field, file] of [
    ["/", "de-CH", "index.de.html"],
    ["/", "fr", "index.html"],
    ["/?lang=de", "fr", "index.de.html"],
    ["/docs/", "fr", "docs/index.fr.html"],
    ["/docs/", "de", "docs/index.html"],
  ]) {
    assert.equal((await assets.get(path, { "Accept-Language": field })).text, files[file], `${path} ${field}`);
  }
  assert.equal((await assets.get("/docs", { "Accept-Language": "fr" })).headers.location, "/docs/");
});

test("a file without a language is the fallback", async () => {
  const [plain, german] = await Promise.all(["fr", "de"].map((field) => assets.get("/unmarked", { "Accept-Language": field })));
  assert.equal(plain.text, files["unmarked.html"]);
  assert.equal(plain.headers["content-language"], undefined);
  assert.equal(german.text, files["unmarked.de.html"]);
  assert.equal(german.headers["content-language"], "de");
  assert.deepEqual(
    listMembers(plain.headers.vary).filter((name) => name !== "Accept-Encoding"),
    ["Accept-Language", "Cookie"],
  );
});

test("--language sets the language of pages without one", async () => {
  await assets.push(files, "--language", "it");
  assert.equal((await assets.get("/unmarked", { "Accept-Language": "fr" })).headers["content-language"], "it");
  assert.equal((await assets.get("/about?lang=en")).headers["content-language"], "en");
  assert.equal((await assets.get("/unmarked?lang=it", { "Accept-Language": "de" })).text, files["unmarked.html"]);
});

test("a file without translations is not negotiated", async () => {
  for (const [path, file] of [
    ["/alone", "alone.html"],
    ["/release", "release.html"],
    ["/release.v2", "release.v2.html"],
    ["/jquery.js", "jquery.js"],
    ["/style.css", "style.css"],
  ]) {
    const response = await assets.get(path, { "Accept-Language": "de", Cookie: "lang=de" });
    assert.equal(response.text, files[file], path);
    assert.deepEqual(
      listMembers(response.headers.vary).filter((name) => name !== "Accept-Encoding"),
      [],
    );
    assert.equal(response.headers.link, undefined);
    assert.equal(response.headers["content-location"], undefined);
  }
});

test("a byte range is part of the page in the negotiated language, and If-Range of another language gets the whole page", async () => {
  const whole = Buffer.from(files["about.zh-Hans.html"]);
  const response = await assets.get("/about", { "Accept-Language": "zh-Hans", Range: "bytes=-30" });
  assert.equal(response.status, 206);
  assert.ok(response.bytes.equals(whole.subarray(-30)));
  const { headers } = await assets.get("/about", { "Accept-Language": "zh-Hans" });
  assert.equal(response.headers.etag, headers.etag);
  const mixed = await assets.get("/about", { "Accept-Language": "de", Range: "bytes=-30", "If-Range": headers.etag });
  assert.deepEqual([mixed.status, mixed.text], [200, files["about.de.html"]]);
});

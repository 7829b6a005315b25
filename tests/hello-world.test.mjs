// `GET /hello-world`, the documented translated page: which language a visitor gets, and from
// which file.
import assert from "node:assert/strict";
import { before, beforeEach, describe, test } from "node:test";
import { pushAssets } from "./harness/assets.mjs";
import { send, sendForJson } from "./harness/http.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { makeFolder } from "./harness/tool.mjs";
import { startWorker } from "./harness/worker.mjs";

// A changed file takes effect at once.
const worker = await startWorker({ restApi: true, vars: { ASSETS_REFRESH: "0" } });
const { assets } = worker.env;

const messages = {
  en: "Hello World!",
  es: "¡Hola Mundo!",
  fr: "Bonjour le monde!",
  de: "Hallo Welt!",
  zh: "你好，世界！",
  ja: "こんにちは、世界！",
  hi: "नमस्ते दुनिया!",
  ar: "مرحبا بالعالم!",
};
const file = Object.entries(messages).map(([language_code, message]) => ({ language_code, message }));

const hello = (acceptLanguage) => send(worker, "/hello-world", { headers: acceptLanguage === undefined ? {} : { "Accept-Language": acceptLanguage } });

function assertGreeting(response, language, message = messages[language]) {
  assert.equal(response.status, 200, response.text);
  const { headers, text } = response;
  assert.equal(headers["content-type"], "text/html; charset=utf-8");
  assert.equal(headers["content-language"], language);
  assert.equal(headers.vary, "Accept-Language, Cookie");
  const html = language === "ar" ? '<html lang="ar" dir="rtl">' : `<html lang="${language}">`;
  assert.ok(text.includes(html), text);
  assert.match(text, /^<!DOCTYPE html>/i);
  assert.match(text, /<title>Hello World translation<\/title>/);
  assert.equal(text.match(/<h1>([\s\S]*?)<\/h1>/)?.[1], message);
}

describe("with the eight documented languages", () => {
  beforeEach(() => assets.put("hello-world.json", JSON.stringify(file)));

  for (const language of Object.keys(messages)) {
    test(`Accept-Language: ${language} gets ${language}`, async () => {
      assertGreeting(await hello(language), language);
    });
  }

  const cases = [
    // Case does not matter.
    ["FR", "fr"],
    ["De-ch", "de"],
    // A narrower tag finds the language.
    ["de-CH", "de"],
    ["de-CH-1996", "de"],
    ["zh-Hans-CN", "zh"],
    ["zh-TW, en;q=0.5", "zh"],
    ["ar-EG", "ar"],
    ["en-GB,en;q=0.9", "en"],
    // Weights count in any order.
    ["fr;q=0.5, de;q=0.8", "de"],
    ["en;q=0.1,hi;q=0.2", "hi"],
    ["ja;q=0.001, es;q=0.002", "es"],
    ["es;q=0.9, fr", "fr"],
    ["de-AT;q=0.3, ja-JP;q=0.7, *;q=0.1", "ja"],
    ["fr ; q=0.2 ,\tes ; q=0.3", "es"],
    // Of equal weights, the first counts.
    ["es, fr", "es"],
    ["fr, es", "fr"],
    ["hi;q=0.5, ja;q=0.5", "hi"],
    // A weight of 0 excludes.
    ["fr;q=0, de;q=0.1", "de"],
    ["de;q=0", "en"],
    ["ja;q=0.000, es;q=0.1", "es"],
    ["de;q=0.0, fr;q=0", "en"],
    // Unknown languages are ignored.
    ["xx, ja;q=0.1", "ja"],
    ["pt-BR, pt;q=0.9, fr;q=0.4", "fr"],
    ["tlh", "en"],
    ["deu", "en"],
    ["d", "en"],
    // Invalid language ranges are ignored.
    ["", "en"],
    [",,,", "en"],
    [";;;q=", "en"],
    ["q=1", "en"],
    ["de;q=abc, fr;q=0.1", "fr"],
    ["es;q=NaN, fr;q=0.1", "fr"],
    ["<script>", "en"],
    ["-, --, de-", "en"],
    [`${"x-".repeat(2000)}x, ja`, "ja"],
    [`${"xx,".repeat(2000)}`, "en"],
  ];
  for (const [field, language] of cases) {
    test(`Accept-Language: ${JSON.stringify(field.slice(0, 60))} gets ${language}`, async () => {
      assertGreeting(await hello(field), language);
    });
  }

  test("?lang= comes first, then the cookie lang", async () => {
    const headers = { "Accept-Language": "ja", Cookie: "a=b; lang=fr" };
    const byCookie = await send(worker, "/hello-world", { headers });
    assertGreeting(byCookie, "fr");
    const byUrl = await send(worker, "/hello-world?lang=de-CH", { headers });
    assert.deepEqual([byUrl.status, byUrl.headers["content-language"], byUrl.headers.vary], [200, "de", undefined]);
    assertGreeting(await send(worker, "/hello-world?lang=tlh", { headers }), "fr");
  });

  test("another region precedes the next language, and the script of the requested region precedes another script", async () => {
    const added = { "nl-BE": "Hallo wereld!", "zh-Hant": "你好，世界！（繁體）" };
    await assets.put("hello-world.json", JSON.stringify([...file, ...Object.entries(added).map(([language_code, message]) => ({ language_code, message }))]));
    for (const [field, language] of [
      ["nl, en;q=0.7", "nl-BE"],
      ["zh-TW", "zh-Hant"],
      ["zh-HK, zh;q=0.9", "zh-Hant"],
      ["zh-CN", "zh"],
    ]) {
      assertGreeting(await hello(field), language, added[language] ?? messages[language]);
    }
  });

  test("no Accept-Language gets English", async () => {
    assertGreeting(await hello(undefined), "en");
  });

  test("HEAD gets the response to GET, without a body", async () => {
    const headers = { "Accept-Language": "ar" };
    const response = await send(worker, "/hello-world", { method: "HEAD", headers });
    assert.equal(response.status, 200);
    assert.equal(response.headers["content-type"], "text/html; charset=utf-8");
    assert.equal(response.headers["content-language"], "ar");
    assert.equal(response.text, "");
  });

  test("POST gets 405", async () => {
    const response = await sendForJson(worker, "/hello-world", { method: "POST" });
    assertProblem(response, 405, "method_not_allowed");
    assert.match(response.headers.allow, /\bGET\b/);
  });
});

test("a missing file gets English, whatever is accepted", async () => {
  await assets.delete("hello-world.json");
  assertGreeting(await hello("de"), "en");
});

const brokenFiles = [
  "",
  "not json",
  "{",
  "null",
  "42",
  "{}",
  "[]",
  '[{"language_code":"de"}]',
  '[{"language_code":7,"message":"Hallo"}]',
  '[["de","Hallo"]]x',
  new Uint8Array([0xff, 0xfe, 0x5b, 0x5d]),
];
for (const broken of brokenFiles) {
  test(`the broken file ${typeof broken === "string" ? broken : "of bytes"} gets English`, async () => {
    await assets.put("hello-world.json", broken);
    assertGreeting(await hello("de"), "en");
  });
}

test("a file without English gets English if no language matches", async () => {
  await assets.put("hello-world.json", '[{"language_code":"de","message":"Hallo"}]');
  assertGreeting(await hello("fr"), "en");
  assertGreeting(await hello("de"), "de", "Hallo");
});

test("the file's own English message is the one shown", async () => {
  await assets.put("hello-world.json", '[{"language_code":"en","message":"Howdy"}]');
  assertGreeting(await hello("fr"), "en", "Howdy");
});

test("the message is HTML-escaped", async () => {
  const message = "</h1><script>alert('x')</script> & <b>\"";
  await assets.put("hello-world.json", JSON.stringify([{ language_code: "de", message }]));
  const { text } = await hello("de");
  const shown = text.match(/<h1>([\s\S]*?)<\/h1>/)[1];
  assert.doesNotMatch(shown, /[<>]/);
  assert.doesNotMatch(text, /<script/);
  const named = { lt: "<", gt: ">", amp: "&", quot: '"' };
  const decoded = shown
    .replace(/&#(x?)([0-9a-f]+);/gi, (_, hex, code) => String.fromCodePoint(Number.parseInt(code, hex ? 16 : 10)))
    .replace(/&(lt|gt|amp|quot);/g, (_, name) => named[name]);
  assert.equal(decoded, message);
});

describe("with a release", () => {
  before(async () => {
    await assets.put("hello-world.json", JSON.stringify(file));
    await pushAssets(
      worker,
      makeFolder({ "hello-world.json": JSON.stringify([{ language_code: "de", message: "Hallo aus der Datei!" }]), "other.txt": "other" }),
    );
  });

  test("its file is read, not the unversioned key", async () => {
    assertGreeting(await hello("de"), "de", "Hallo aus der Datei!");
    assertGreeting(await hello("fr"), "en");
  });

  test("the file of the next release is read after the switch", async () => {
    await pushAssets(worker, makeFolder({ "hello-world.json": JSON.stringify([{ language_code: "fr", message: "Bonjour du fichier!" }]) }));
    assertGreeting(await hello("fr"), "fr", "Bonjour du fichier!");
    assertGreeting(await hello("de"), "en");
  });

  test("a release without the file leaves it to the unversioned key", async () => {
    await pushAssets(worker, makeFolder({ "other.txt": "other" }));
    assertGreeting(await hello("ja"), "ja");
  });

  test("a broken file gets English", async () => {
    await pushAssets(worker, makeFolder({ "hello-world.json": "{" }));
    assertGreeting(await hello("de"), "en");
  });
});

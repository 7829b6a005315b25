// `/cache/{absolute URL}`: which of a URL's responses matches a request (RFC 9111 §4.1).
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertForwarded, assertHit, freshFor, startCache } from "./harness/http-cache.mjs";

const cache = await startCache();
const { kv, advanceClock, resource } = cache;

/** Responds with X-A and X-B of the request as the body, so that a wrong variant shows. */
const varying =
  (vary, ...lines) =>
  (request) => ({
    headers: freshFor(100, ...[vary].flat().map((value) => `Vary: ${value}`), ...lines),
    body: JSON.stringify(["X-A", "X-B"].map((name) => request.field(name) ?? null)),
  });

/**
 * Vary, requests in turn, and whose response each gets: its own, or that of an earlier one.
 */
const selections = [
  ["the same value is a hit, another one is not", "X-A", [{ "X-A": "1" }, { "X-A": "2" }, { "X-A": "1" }, { "X-A": "2" }], [0, 1, 0, 1]],
  ["a value is not the beginning of another", "X-A", [{ "X-A": "1" }, { "X-A": "12" }, { "X-A": "1" }], [0, 1, 0]],
  ["a missing field fits a missing field only", "X-A", [{}, { "X-A": "1" }, {}, { "X-A": "" }], [0, 1, 0, 3]],
  [
    "a field that Vary does not name does not count",
    "X-A",
    [
      { "X-A": "1", "X-B": "1" },
      { "X-A": "1", "X-B": "2" },
    ],
    [0, 0],
  ],
  [
    "all fields that Vary names count",
    "X-A, X-B",
    [
      { "X-A": "1", "X-B": "1" },
      { "X-A": "1", "X-B": "2" },
      { "X-A": "2", "X-B": "1" },
      { "X-A": "1", "X-B": "1" },
    ],
    [0, 1, 2, 0],
  ],
  ["values do not change their field", "X-A, X-B", [{ "X-A": "1" }, { "X-B": "1" }, { "X-A": "1" }], [0, 1, 0]],
  [
    "names in another case and order, on two lines, are the same names",
    ["x-b ,", "X-a"],
    [
      { "X-A": "1", "X-B": "2" },
      { "X-A": "1", "X-B": "3" },
      { "X-A": "1", "X-B": "2" },
    ],
    [0, 1, 0],
  ],
  ["white space around commas means nothing", "X-A", [{ "X-A": "a, b" }, { "X-A": "a,b" }, { "X-A": "a ,\tb" }], [0, 0, 0]],
  ["two lines are one list", "X-A", [{ "X-A": "a, b" }, { "X-A": ["a", "b"] }], [0, 0]],
  ["the order of an unknown field counts", "X-A", [{ "X-A": "a, b" }, { "X-A": "b, a" }], [0, 1]],
  ["the case of an unknown field counts", "X-A", [{ "X-A": "a" }, { "X-A": "A" }], [0, 1]],
  ["a field that no request has", "X-Never", [{}, {}], [0, 0]],
  [
    "a language in another case is the same",
    "Accept-Language",
    [{ "Accept-Language": "en-GB" }, { "Accept-Language": "EN-gb" }, { "Accept-Language": "de" }],
    [0, 0, 2],
  ],
  [
    "weights order languages, not their places",
    "Accept-Language",
    [{ "Accept-Language": "de;q=0.5, en" }, { "Accept-Language": "en, de;q=0.5" }, { "Accept-Language": "de, en;q=0.5" }],
    [0, 0, 2],
  ],
  [
    "a media type's order and case mean nothing",
    "Accept",
    [{ Accept: "text/html, text/plain;q=0.5" }, { Accept: "TEXT/plain;q=0.5,text/html" }, { Accept: "text/plain" }],
    [0, 0, 2],
  ],
];
for (const [rule, vary, requests, expected] of selections) {
  test(`variants: ${rule}`, async () => {
    let turn = 0;
    const page = resource(() => {
      turn += 1;
      return { headers: freshFor(100, ...[vary].flat().map((value) => `Vary: ${value}`)), body: `response ${turn}` };
    });
    const texts = [];
    for (const [index, headers] of requests.entries()) {
      const isMiss = expected[index] === index;
      const response = isMiss ? await page.getAndStore(headers) : await page.get(headers);
      if (isMiss) assertForwarded(response, index === 0 ? "uri-miss" : "vary-miss");
      else assertHit(response, texts[expected[index]]);
      texts.push(response.text);
    }
    assert.equal(page.requestCount, new Set(expected).size);
  });
}

for (const vary of ["*", "X-A, *", "*, X-A"]) {
  test(`Vary: ${vary} matches no request`, async () => {
    const page = resource({ headers: freshFor(100, `Vary: ${vary}`) });
    for (const text of ["1", "2"]) assertForwarded(await page.get({ "X-A": "1" }), "uri-miss", text, { stored: undefined });
    await page.assertNotStored();
  });
}

test("twenty variants are stored side by side, and each request gets its own", async () => {
  const page = resource(varying("X-A, X-B"));
  const requests = Array.from({ length: 20 }, (_, index) => ({ "X-A": `${index % 5}`, "X-B": `${Math.floor(index / 5)}` }));
  for (const headers of requests) await page.getAndStore(headers);
  for (const headers of requests) {
    const hit = await page.get(headers);
    assertHit(hit, JSON.stringify([headers["X-A"], headers["X-B"]]));
    assert.equal(hit.headers.vary, "X-A, X-B");
  }
  assert.equal(page.requestCount, 20);
});

test("variants that are requested at the same time do not mix", async () => {
  const page = resource(varying("X-A"));
  const values = Array.from({ length: 60 }, (_, index) => `${index % 6}`);
  for (let rounds = 0; rounds < 3; rounds += 1) {
    const responses = await Promise.all(values.map((value) => page.get({ "X-A": value })));
    for (const [index, { text }] of responses.entries()) assert.equal(text, JSON.stringify([values[index], null]));
  }
});

test("each variant becomes stale and is validated by itself", async () => {
  const page = resource((request) => {
    const tag = `"${request.field("X-A")}"`;
    const headers = freshFor(100, "Vary: X-A", `ETag: ${tag}`);
    return request.field("If-None-Match") === tag ? { status: 304, headers } : { headers, body: `of ${tag}` };
  });
  await page.getAndStore({ "X-A": "1" });
  await advanceClock(60);
  await page.getAndStore({ "X-A": "2" });
  await advanceClock(60);
  assertForwarded(await page.getAndStore({ "X-A": "1" }), "stale", 'of "1"', { "fwd-status": 304 });
  assertHit(await page.get({ "X-A": "2" }), 'of "2"');
  await advanceClock(60);
  assertHit(await page.get({ "X-A": "1" }), 'of "1"');
  assertForwarded(await page.getAndStore({ "X-A": "2" }), "stale", 'of "2"', { "fwd-status": 304 });
  assert.deepEqual(
    page.requests.map((request) => request.field("If-None-Match")),
    [undefined, undefined, '"1"', '"2"'],
  );
});

test("a response with another Vary sets a new rule: responses stored under the old one are not used", async () => {
  let vary = "X-A";
  const page = resource((request, turn) => ({ headers: freshFor(100, `Vary: ${vary}`), body: `${turn} ${request.field("X-A")} ${request.field("X-B")}` }));
  await page.getAndStore({ "X-A": "1", "X-B": "1" });
  await page.getAndStore({ "X-A": "2", "X-B": "1" });
  vary = "X-B";
  const changed = await page.getAndStore({ "X-A": "3", "X-B": "1" });
  assertForwarded(changed, "vary-miss", "3 3 1");
  assertHit(await page.get({ "X-A": "3", "X-B": "1" }), "3 3 1");
  // Under the new rule these two requests match.
  assertHit(await page.get({ "X-A": "4", "X-B": "1" }), "3 3 1");
  assertForwarded(await page.get({ "X-A": "2", "X-B": "2" }), "vary-miss", "4 2 2");
});

test("a response that no longer varies matches every request", async () => {
  const page = resource([{ headers: freshFor(100, "Vary: X-A") }, { headers: freshFor(100) }]);
  await page.getAndStore({ "X-A": "1" });
  assertForwarded(await page.getAndStore({ "X-A": "2" }), "vary-miss", "2");
  assertHit(await page.get({ "X-A": "3" }), "2");
});

test("a response in a request's preferred language matches it, whatever else it accepts", async () => {
  const page = resource((request) => {
    const language = request.field("Accept-Language").startsWith("de") ? "de" : "en";
    return { headers: freshFor(100, "Vary: Accept-Language", `Content-Language: ${language}`), body: language };
  });
  await page.getAndStore({ "Accept-Language": "de, en;q=0.5" });
  for (const wanted of ["de", "de;q=0.9, fr;q=0.1", "DE, *;q=0.1"]) {
    assertHit(await page.get({ "Accept-Language": wanted }), "de");
  }
  assertForwarded(await page.getAndStore({ "Accept-Language": "en" }), "vary-miss", "en");
  assertForwarded(await page.get({ "Accept-Language": "fr" }), "vary-miss", "en");
  for (const wanted of ["en, de;q=0.9", "en, de", "fr, de;q=0.5"]) {
    assert.equal((await page.get({ "Accept-Language": wanted })).text, "en");
  }
});

test("a client's Accept-Encoding selects no variant: the platform requests all encodings, and encodes for the client", async () => {
  const page = resource({ headers: freshFor(100, "Vary: Accept-Encoding") });
  await page.getAndStore({ "Accept-Encoding": "gzip" });
  for (const encoding of ["identity", "br", "gzip, br;q=0.5"]) assertHit(await page.get({ "Accept-Encoding": encoding }));
  assert.equal((await page.get({ "Accept-Encoding": "identity" })).text, "1");
  assert.equal(page.requestCount, 1);
});

test("neither keys nor metadata contain the values that select a variant, which may be secrets", async () => {
  const page = resource({ headers: freshFor(100, "Vary: Cookie, X-A") });
  for (const secret of ["s3cret-one", "s3cret-two"]) await page.getAndStore({ Cookie: `session=${secret}`, "X-A": secret });
  const { keys } = await kv.list({ prefix: page.key });
  assert.equal(keys.length, 2);
  assert.deepEqual(keys.map(({ name }) => name.replace(page.key, "").slice(0, 1)).sort(), ["", "#"]);
  assert.ok(!JSON.stringify(keys).includes("s3cret"));
});

test("a hit of a variant costs two reads at most", async () => {
  const page = resource(varying("X-A"));
  await page.getAndStore({ "X-A": "1" });
  await page.getAndStore({ "X-A": "2" });
  for (const [value, readsMax] of [
    ["1", 1],
    ["2", 2],
  ]) {
    const before = await page.kvReadCount();
    assertHit(await page.get({ "X-A": value }), JSON.stringify([value, null]));
    const reads = (await page.kvReadCount()) - before;
    assert.ok(reads >= 1 && reads <= readsMax, `${reads} reads`);
  }
});

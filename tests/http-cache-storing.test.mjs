// `/cache/{absolute URL}`: what is stored, and for how long it is fresh (RFC 9111 §3, §4.2, §5.2;
// RFC 9213).
import assert from "node:assert/strict";
import { test } from "node:test";
import { sendForJson } from "./harness/http.mjs";
import { assertAboutSeconds, assertForwarded, assertHit, freshFor, parseCacheStatus, startCache } from "./harness/http-cache.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { httpDate } from "./harness/scripted-upstream.mjs";

const cache = await startCache();
const { advanceClock, resource } = cache;

const DAY = 86_400;
/** Fields of a response, and for how many seconds it is fresh on arrival. */
const lifetimes = [
  ["max-age", ["Cache-Control: max-age=100"], 100],
  ["s-maxage before max-age", ["Cache-Control: max-age=1, s-maxage=100"], 100],
  ["s-maxage before Expires", () => ["Cache-Control: s-maxage=100", `Expires: ${httpDate(-5)}`], 100],
  ["max-age before Expires", () => ["Cache-Control: max-age=100", `Expires: ${httpDate(-5)}`], 100],
  ["max-age before Expires: 0", ["Cache-Control: max-age=100", "Expires: 0"], 100],
  ["Expires", () => [`Expires: ${httpDate(100)}`], 100],
  ["Expires less Date, and the age that Date shows", () => [`Date: ${httpDate(-50)}`, `Expires: ${httpDate(100)}`], 100],
  ["Age, which is taken off", ["Cache-Control: max-age=150", "Age: 50"], 100],
  ["the age that Date shows, which is taken off", () => ["Cache-Control: max-age=150", `Date: ${httpDate(-50)}`], 100],
  ["an Age that is no number, as none", ["Cache-Control: max-age=100", "Age: abc"], 100],
  ["CDN-Cache-Control before Cache-Control", ["CDN-Cache-Control: max-age=100", "Cache-Control: max-age=1"], 100],
  ["CDN-Cache-Control before no-store", ["CDN-Cache-Control: max-age=100", "Cache-Control: no-store"], 100],
  ["CDN-Cache-Control before private", ["CDN-Cache-Control: max-age=100", "Cache-Control: private"], 100],
  ["CDN-Cache-Control before Expires", () => ["CDN-Cache-Control: max-age=100", `Expires: ${httpDate(-5)}`], 100],
  ["an empty CDN-Cache-Control, which counts for nothing", ["CDN-Cache-Control:", "Cache-Control: max-age=100"], 100],
  ["a CDN-Cache-Control that is no dictionary, which counts for nothing", ["CDN-Cache-Control: max-age=1, &&&", "Cache-Control: max-age=100"], 100],
  ["a quoted number", ['Cache-Control: max-age="100"'], 100],
  ["directives in capitals", ["Cache-Control: MAX-AGE=100"], 100],
  ["white space and empty elements", ["Cache-Control: ,\t max-age=100 ,,"], 100],
  ["unknown directives", ['Cache-Control: foo, bar=1, baz="q", max-age=100'], 100],
  ["the first of two max-age", ["Cache-Control: max-age=100, max-age=1"], 100],
  ["the first of two max-age lines", ["Cache-Control: max-age=100", "Cache-Control: max-age=1"], 100],
  ["a directive that only stands in quotes", ['Cache-Control: x="a, no-store, max-age=1", max-age=100'], 100],
  ["a quote escaped in a quoted string", ['Cache-Control: x="\\", no-store, \\"", max-age=100'], 100],
  ["a second line of Cache-Control", ["Cache-Control: public", "Cache-Control: max-age=100"], 100],
  ["Pragma: no-cache in a response, which means nothing", ["Cache-Control: max-age=100", "Pragma: no-cache"], 100],
  ["no-cache for a field, which speaks of that field only", ['Cache-Control: max-age=100, no-cache="x-a"'], 100],
  ["private for a field, which speaks of that field only", ['Cache-Control: max-age=100, private="x-a"'], 100],
  ["must-revalidate, which says nothing before it is stale", ["Cache-Control: max-age=100, must-revalidate"], 100],
  ["immutable", ["Cache-Control: max-age=100, immutable"], 100],
  ["must-understand, of a status that is understood, before no-store", ["Cache-Control: must-understand, no-store, max-age=100"], 100],
  ["a tenth of the time since Last-Modified", () => [`Last-Modified: ${httpDate(-1000)}`], 100],
  ["a day if that tenth is longer", () => [`Last-Modified: ${httpDate(-100 * DAY)}`], DAY],
  [
    "public and Last-Modified, for a status that is not heuristically cacheable",
    () => ["Cache-Control: public", `Last-Modified: ${httpDate(-1000)}`],
    100,
    403,
  ],
  ["a max-age beyond 2^31", ["Cache-Control: max-age=99999999999"], 400 * DAY],
];
for (const [rule, headers, seconds, status = 200] of lifetimes) {
  test(`freshness lifetime: ${rule}`, async () => {
    const page = resource({ status, headers });
    assertForwarded(await page.getAndStore(), "uri-miss", "1", { "fwd-status": status });
    await advanceClock(seconds - 10);
    const hit = await page.get();
    assertHit(hit, "1");
    assert.equal(hit.status, status);
    if (seconds <= DAY) assertAboutSeconds(parseCacheStatus(hit).ttl, 10, "ttl");
    if (seconds > DAY) return;
    await advanceClock(20);
    assertForwarded(await page.get(), "stale", "2");
  });
}

/** Fields of responses that are stale on arrival, or two seconds later. */
const neverFresh = [
  ["max-age=0", ["Cache-Control: max-age=0"]],
  ["a max-age that is no number", ["Cache-Control: max-age=abc"]],
  ["a negative max-age", ["Cache-Control: max-age=-100"]],
  ["a max-age with a fraction", ["Cache-Control: max-age=100.5"]],
  ["max-age in single quotes", ["Cache-Control: max-age='100'"]],
  ["an invalid max-age, whatever Expires says", () => ["Cache-Control: max-age=abc", `Expires: ${httpDate(100)}`]],
  ["the first of two max-age", ["Cache-Control: max-age=0, max-age=100"]],
  ["s-maxage=0 before max-age", ["Cache-Control: max-age=100, s-maxage=0"]],
  ["no-cache", ["Cache-Control: max-age=100, no-cache"]],
  ["no-cache in capitals", ["Cache-Control: max-age=100, No-Cache"]],
  ["no-cache on a line of its own", ["Cache-Control: max-age=100", "Cache-Control: no-cache"]],
  ["an Age beyond max-age", ["Cache-Control: max-age=100", "Age: 200"]],
  ["a Date further back than max-age", () => ["Cache-Control: max-age=100", `Date: ${httpDate(-200)}`]],
  ["Expires: 0", ["Expires: 0"]],
  ["an Expires that is no date", ["Expires: soon"]],
  ["an Expires in the past", () => [`Expires: ${httpDate(-5)}`]],
  ["an Expires of now", () => [`Expires: ${httpDate()}`]],
  ["Expires: 0 beside Last-Modified", () => ["Expires: 0", `Last-Modified: ${httpDate(-1000)}`]],
  ["CDN-Cache-Control: max-age=0", ["CDN-Cache-Control: max-age=0", "Cache-Control: max-age=100"]],
  ["CDN-Cache-Control without a lifetime, whatever Expires says", () => ["CDN-Cache-Control: must-revalidate", `Expires: ${httpDate(100)}`]],
  ["a Last-Modified of now", () => [`Last-Modified: ${httpDate()}`]],
  ["a Last-Modified to come", () => [`Last-Modified: ${httpDate(1000)}`]],
];
for (const [rule, lines] of neverFresh) {
  for (const validator of [[], ['ETag: "a"']]) {
    test(`a response ${validator.length > 0 ? "with a validator " : ""}is not reused without the upstream: ${rule}`, async () => {
      const page = resource({ headers: () => [...(typeof lines === "function" ? lines() : lines), ...validator] });
      assert.equal((await page.get()).text, "1");
      await advanceClock(2);
      assert.equal((await page.get()).text, "2");
      assert.equal(page.requestCount, 2);
    });
  }
}

const bearer = { Authorization: "Bearer x" };
/** Responses that are not stored: their fields, and what differs from a 200 to a plain GET. */
const notStored = [
  ["no-store", freshFor(100, "Cache-Control: no-store")],
  ["no-store in capitals", ["Cache-Control: max-age=100, NO-STORE"]],
  ["no-store with a value", ["Cache-Control: max-age=100, no-store=1"]],
  ["private", ["Cache-Control: max-age=100, private"]],
  ["private with s-maxage", ["Cache-Control: private, s-maxage=100"]],
  ["CDN-Cache-Control: no-store", ["CDN-Cache-Control: no-store", "Cache-Control: max-age=100"]],
  ["CDN-Cache-Control: private", ["CDN-Cache-Control: private, max-age=100", "Cache-Control: max-age=100"]],
  ["Vary: *", freshFor(100, "Vary: *")],
  ["Vary: * among others", freshFor(100, "Vary: accept, *")],
  ["no freshness and no validator", ["X-Own: 1"]],
  ["must-understand of a status that is not understood", ["Cache-Control: max-age=100, must-understand"], { status: 599 }],
  // RFC 6585: "MUST NOT be stored by a cache".
  ...[428, 429, 431, 511].map((status) => [`the status ${status}`, freshFor(100), { status }]),
  ["the request's Authorization", freshFor(100), { request: bearer }],
  ["the request's Authorization, with CDN-Cache-Control: max-age", ["CDN-Cache-Control: max-age=100"], { request: bearer }],
  ["the request's no-store", freshFor(100), { request: { "Cache-Control": "no-store" }, fwd: "bypass" }],
  ["a partial response", freshFor(100, "Content-Range: bytes 0-0/5"), { status: 206 }],
  ["a response to HEAD", freshFor(100), { method: "HEAD" }],
  ["a response to OPTIONS", freshFor(100), { method: "OPTIONS", fwd: "method" }],
];
for (const [rule, headers, { status = 200, request, method = "GET", fwd = "uri-miss" } = {}] of notStored) {
  test(`a response is not stored: ${rule}`, async () => {
    const page = resource({ status, headers });
    const response = await page.request(method, { headers: request });
    assert.equal(response.status, status);
    assertForwarded(response, fwd, undefined, { stored: undefined, "fwd-status": status });
    assert.equal((await page.get()).text, "2");
    assert.equal(page.requestCount, 2);
    if (request === undefined && method === "GET") await page.assertNotStored();
  });
}

for (const directive of ["public", "s-maxage=100", "must-revalidate"]) {
  test(`a response to Authorization is stored if it has ${directive}`, async () => {
    const page = resource({ headers: [`Cache-Control: max-age=100, ${directive}`] });
    assertForwarded(await page.getAndStore(bearer), "uri-miss", "1");
    assertHit(await page.get(bearer), "1");
    assertHit(await page.get(), "1");
  });
}

test("a request with Authorization gets a response that was stored without it", async () => {
  const page = resource({ headers: freshFor(100) });
  await page.getAndStore();
  assertHit(await page.get(bearer), "1");
});

for (const status of [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]) {
  test(`the status ${status} is heuristically cacheable`, async () => {
    const page = resource({ status, headers: () => [`Last-Modified: ${httpDate(-1000)}`] });
    await page.getAndStore();
    const hit = await page.get();
    assertHit(hit, status === 204 ? "" : "1");
    assert.equal(hit.status, status);
    assert.equal(page.requestCount, 1);
  });
}

for (const status of [201, 202, 302, 303, 307, 400, 401, 403, 406, 409, 418, 500, 503, 599]) {
  test(`the status ${status} is not heuristically cacheable; with explicit freshness it is stored`, async () => {
    const heuristic = resource({ status, headers: () => [`Last-Modified: ${httpDate(-1000)}`] });
    await heuristic.get();
    assert.equal((await heuristic.get()).text, "2");

    const explicit = resource({ status, headers: freshFor(100, "Location: /next") });
    await explicit.getAndStore();
    const hit = await explicit.get();
    assertHit(hit, "1");
    assert.equal(hit.status, status);
    assert.equal(hit.headers.location, "/next");
  });
}

test("cookies are stored only with a response that addresses shared caches, each as its own line", async () => {
  const cookies = ["Set-Cookie: a=1; Path=/", "Set-Cookie: b=2"];
  for (const [lines, kept] of [
    [() => [`Last-Modified: ${httpDate(-1000)}`, ...cookies], undefined],
    [freshFor(100, ...cookies), undefined],
    [
      ["Cache-Control: s-maxage=100", ...cookies],
      ["a=1; Path=/", "b=2"],
    ],
  ]) {
    const page = resource({ headers: lines });
    assert.deepEqual((await page.getAndStore()).headers["set-cookie"], ["a=1; Path=/", "b=2"]);
    const hit = await page.get();
    assertHit(hit, "1");
    assert.deepEqual(hit.headers["set-cookie"], kept);
  }
});

const hopByHop = [
  "Connection: X-Hop, x-other",
  "X-Hop: 1",
  "X-Other: 1",
  "Keep-Alive: timeout=5",
  "Proxy-Connection: keep-alive",
  "Proxy-Authenticate: Basic",
  "TE: x",
  "Trailer: X-T",
  "Upgrade: h2c",
];
test("hop-by-hop fields and those that Connection lists are neither passed on nor stored; others are", async () => {
  const endToEnd = ["X-Own: a  b", "X-Two: 1", "X-Two: 2", "Content-Type: text/x-test; a=b", "Content-Language: de", 'ETag: W/"x,y"', "X-Empty:"];
  const page = resource({ headers: freshFor(100, ...hopByHop, ...endToEnd) });
  for (const response of [await page.getAndStore(), await page.get()]) {
    const { headers } = response;
    for (const name of ["x-hop", "x-other", "proxy-connection", "proxy-authenticate", "te", "trailer", "upgrade"]) {
      assert.equal(headers[name], undefined, name);
    }
    assert.notEqual(headers["keep-alive"], "timeout=5");
    assert.equal(headers["x-own"], "a  b");
    assert.equal(headers["x-two"], "1, 2");
    assert.equal(headers["content-type"], "text/x-test; a=b");
    assert.equal(headers["content-language"], "de");
    assert.equal(headers.etag, 'W/"x,y"');
    assert.equal(headers["x-empty"], "");
    assert.equal(headers["cache-control"], "max-age=100");
  }
  assert.equal(page.requestCount, 1);
});

for (const directive of ["no-cache", "private"]) {
  test(`the fields that ${directive} names are passed on, but not stored`, async () => {
    const page = resource({ headers: [`Cache-Control: max-age=100, ${directive}="X-A, set-cookie"`, "X-A: 1", "X-B: 1", "Set-Cookie: a=1"] });
    const miss = await page.getAndStore();
    assert.equal(miss.headers["x-a"], "1");
    assert.deepEqual(miss.headers["set-cookie"], ["a=1"]);
    const hit = await page.get();
    assertHit(hit, "1");
    assert.equal(hit.headers["x-a"], undefined);
    assert.equal(hit.headers["set-cookie"], undefined);
    assert.equal(hit.headers["x-b"], "1");
  });
}

/**
 * Directives of a request for a response that is fresh for another 50 of its 100 seconds; and the
 * outcome: "hit", why it is forwarded, or the status of an error.
 */
const freshDirectives = [
  ["nothing", {}, "hit"],
  ["no-cache", { "Cache-Control": "no-cache" }, "request"],
  ["no-store", { "Cache-Control": "no-store" }, "bypass"],
  ["max-age=0", { "Cache-Control": "max-age=0" }, "request"],
  ["max-age=40", { "Cache-Control": "max-age=40" }, "request"],
  ["max-age=60", { "Cache-Control": "max-age=60" }, "hit"],
  ["min-fresh=40", { "Cache-Control": "min-fresh=40" }, "hit"],
  ["min-fresh=60", { "Cache-Control": "min-fresh=60" }, "request"],
  ["max-stale", { "Cache-Control": "max-stale" }, "hit"],
  ["only-if-cached", { "Cache-Control": "only-if-cached" }, "hit"],
  ["only-if-cached, max-age=40", { "Cache-Control": "only-if-cached, max-age=40" }, 504],
  ["only-if-cached, no-cache", { "Cache-Control": "only-if-cached, no-cache" }, 504],
  ["an unknown directive", { "Cache-Control": 'x="no-cache"' }, "hit"],
  ["Pragma: no-cache", { Pragma: "no-cache" }, "request"],
  ["Pragma: no-cache beside Cache-Control", { Pragma: "no-cache", "Cache-Control": "max-age=60" }, "hit"],
  ["another Pragma", { Pragma: "x" }, "hit"],
];
/** The same for a response that has been stale for 50 seconds; "max-stale" is a hit, too. */
const staleDirectives = [
  ["nothing", {}, "stale"],
  ["max-stale", { "Cache-Control": "max-stale" }, "max-stale"],
  ["max-stale=60", { "Cache-Control": "max-stale=60" }, "max-stale"],
  ["max-stale=40", { "Cache-Control": "max-stale=40" }, "stale"],
  ["max-stale, max-age=140", { "Cache-Control": "max-stale, max-age=140" }, "stale"],
  ["only-if-cached", { "Cache-Control": "only-if-cached" }, 504],
  ["only-if-cached, max-stale", { "Cache-Control": "only-if-cached, max-stale" }, "max-stale"],
  ...["must-revalidate", "proxy-revalidate", "s-maxage=100", "no-cache"].map((forbids) => [
    `max-stale, if the response says ${forbids}`,
    { "Cache-Control": "max-stale" },
    "stale",
    `, ${forbids}`,
  ]),
];
for (const [state, seconds, table] of [
  ["fresh", 50, freshDirectives],
  ["stale", 150, staleDirectives],
]) {
  for (const [rule, headers, outcome, more = ""] of table) {
    test(`a request with ${rule} for a response that is ${state}: ${outcome}`, async () => {
      const page = resource({ headers: [`Cache-Control: max-age=100${more}`, 'ETag: "a"'] });
      await page.getAndStore();
      await advanceClock(seconds);
      const response = await page.getForJson(headers);
      if (outcome === 504) assertProblem(response, 504, "not_cached");
      else if (outcome === "hit") assertHit(response, "1");
      else if (outcome === "max-stale") assertHit(response, "1", { detail: "max-stale" });
      else assertForwarded(response, outcome, "2");
      assert.equal(page.requestCount, response.text === "2" ? 2 : 1);
    });
  }
}

test("only-if-cached gets 504 if nothing is stored, without the upstream", async () => {
  const page = resource({ headers: freshFor(100) });
  assertProblem(await page.getForJson({ "Cache-Control": "only-if-cached" }), 504, "not_cached");
  assert.equal(page.requestCount, 0);
});

test("the response to a no-cache request replaces the stored one; the response to a no-store request does not", async () => {
  const page = resource({ headers: freshFor(100) });
  await page.getAndStore();
  assertForwarded(await page.getAndStore({ "Cache-Control": "no-cache" }), "request", "2", { stored: true });
  assertHit(await page.get(), "2");
  assertForwarded(await page.get({ "Cache-Control": "no-store" }), "bypass", "3", { stored: undefined });
  assertHit(await page.get(), "2");
});

test("path and query identify a resource with its own response", async () => {
  const { path } = resource((request) => ({ headers: freshFor(100), body: request.target }));
  const targets = ["", "?", "?a=1", "?a=2", "?a=1&b", "?a=1%26b"].map((query) => cache.resourceAt(path, { query }));
  for (const target of targets) await target.getAndStore();
  for (const target of targets) assertHit(await target.get(), target.url.replace(cache.upstream.origin, ""));
  const plain = await sendForJson(cache.worker, `/cache/${cache.upstream.origin}${path}`);
  assertHit(plain, path);
});

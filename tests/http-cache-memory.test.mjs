// `/cache/{absolute URL}`: what an isolate serves from memory without reading KV, for ten seconds
// (CACHE_REFRESH); and of parallel misses, which ones wait for the response to the first.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "./harness/eventually.mjs";
import { kvCallsFor } from "./harness/faults.mjs";
import { openRequest, send } from "./harness/http.mjs";
import { assertAboutSeconds, assertForwarded, assertHit, freshFor, gate, parseCacheStatus, startCache } from "./harness/http-cache.mjs";

const { advanceClock, resource } = await startCache({ vars: { CACHE_REFRESH: "10" } });

const KV_DOWN = { get: ["500"], put: ["500"], delete: ["500"], list: ["500"] };
const KIB = 1024;

test("a response is read from KV once in CACHE_REFRESH seconds", async () => {
  const page = resource({ headers: freshFor(1000) });
  await page.getAndStore();
  const before = await page.kvReadCount();
  for (let hits = 0; hits < 20; hits += 1) assertHit(await page.get(), "1");
  assert.equal(await page.kvReadCount(), before);
  await advanceClock(11);
  for (let hits = 0; hits < 20; hits += 1) assertHit(await page.get(), "1");
  assert.equal(await page.kvReadCount(), before + 1);
  assert.equal(page.requestCount, 1);
});

test("a response in memory does not need KV, even if KV fails from the beginning", async () => {
  const page = resource({ headers: freshFor(1000) });
  assertForwarded(await page.get({}, { faults: KV_DOWN }), "miss", "1", { detail: "kv-unavailable" });
  for (let hits = 0; hits < 3; hits += 1) assertHit(await page.get({}, { faults: KV_DOWN }), "1");
  assert.equal(page.requestCount, 1);
});

test("memory does not extend a response's freshness, and its Age grows", async () => {
  const page = resource({ headers: freshFor(6) });
  await page.getAndStore();
  await advanceClock(3);
  const hit = await page.get();
  assertHit(hit, "1");
  assertAboutSeconds(hit.headers.age, 3, "Age");
  await advanceClock(6);
  assertForwarded(await page.get(), "stale", "2");
});

test("a condition, a range and a HEAD are served from memory too", async () => {
  const page = resource({ headers: freshFor(1000, 'ETag: "a"'), body: "0123456789" });
  await page.getAndStore();
  const before = await page.kvReadCount();
  assert.equal((await page.get({ "If-None-Match": '"a"' })).status, 304);
  assert.equal((await page.get({ Range: "bytes=2-3" })).text, "23");
  assertHit(await page.head(), "");
  assertHit(await page.get(), "0123456789");
  assert.equal(await page.kvReadCount(), before);
});

test("variants are in memory side by side", async () => {
  const page = resource((request) => ({ headers: freshFor(1000, "Vary: X-A"), body: request.field("X-A") }));
  for (const value of ["1", "2"]) await page.getAndStore({ "X-A": value });
  for (const value of ["1", "2", "1", "2"]) assertHit(await page.get({ "X-A": value }), value);
  const before = await page.kvReadCount();
  for (const value of ["1", "2", "1", "2"]) assertHit(await page.get({ "X-A": value }, { faults: KV_DOWN }), value);
  assert.equal(await page.kvReadCount(), before);
});

for (const [size, isRemembered] of [
  [0, true],
  [64 * KIB, true],
  [64 * KIB + 1, false],
  [1024 * KIB, false],
]) {
  test(`a body of ${size} bytes is ${isRemembered ? "served from memory" : "read from KV each time"}, the same bytes each time`, async () => {
    const body = randomBytes(size);
    const page = resource({ headers: freshFor(1000), body });
    await page.getAndStore();
    const before = await page.kvReadCount();
    for (let hits = 0; hits < 3; hits += 1) {
      const hit = await page.get();
      assertHit(hit);
      assert.ok(hit.bytes.equals(body));
    }
    const reads = (await page.kvReadCount()) - before;
    if (isRemembered) assert.equal(reads, 0);
    else assert.equal(reads, 3);
  });
}

test("memory is bounded: the least recently used response is evicted", async () => {
  const body = randomBytes(60 * KIB);
  const pages = Array.from({ length: 200 }, () => resource({ headers: freshFor(10_000), body }));
  for (const page of pages) await page.get();
  const [first, last] = [pages[0], pages.at(-1)];
  await Promise.all([first.waitUntilStored(), last.waitUntilStored()]);
  const reads = [await first.kvReadCount(), await last.kvReadCount()];
  assertHit(await last.get());
  assertHit(await first.get());
  assert.deepEqual([await first.kvReadCount(), await last.kvReadCount()], [reads[0] + 1, reads[1]]);
});

test("a POST removes the response from memory at once", async () => {
  const page = resource({ headers: freshFor(1000) });
  await page.getAndStore();
  assertHit(await page.get(), "1");
  await page.request("POST", { body: "x", faults: KV_DOWN });
  assert.notEqual((await page.get()).text, "1");
});

test("a newer response replaces the older one at once", async () => {
  const page = resource({ headers: freshFor(1000) });
  await page.getAndStore();
  assertForwarded(await page.get({ "Cache-Control": "no-cache" }), "request", "2");
  assertHit(await page.get(), "2");
});

test("a response that must not be stored is not in memory either", async () => {
  for (const lines of [["Cache-Control: no-store, max-age=1000"], ["Cache-Control: private, max-age=1000"], freshFor(1000, "Vary: *")]) {
    const page = resource({ headers: lines });
    for (const text of ["1", "2", "3"]) assert.equal((await page.get()).text, text);
  }
});

test("fields that are not stored are not in memory either", async () => {
  const page = resource({ headers: ['Cache-Control: max-age=1000, private="X-A"', "X-A: 1", "Connection: X-Hop", "X-Hop: 1"] });
  await page.get();
  const hit = await page.get({}, { faults: KV_DOWN });
  assertHit(hit, "1");
  for (const name of ["x-a", "x-hop"]) assert.equal(hit.headers[name], undefined);
});

test("concurrent visitors all get the right response", async () => {
  const pages = Array.from({ length: 5 }, (_, index) => resource({ headers: freshFor(1000), body: `page ${index}`, delayMs: 30 }));
  for (let rounds = 0; rounds < 3; rounds += 1) {
    const asked = Array.from({ length: 50 }, (_, index) => index % 5);
    const responses = await Promise.all(asked.map((index) => pages[index].get()));
    for (const [at, { text }] of responses.entries()) assert.equal(text, `page ${asked[at]}`);
  }
});

test("a body without a length replaces the one in memory as soon as it is complete", async () => {
  const page = resource([
    { headers: freshFor(2), body: "old" },
    { headers: freshFor(100), body: "new", framing: "chunked" },
  ]);
  await page.getAndStore();
  await advanceClock(3);
  assertForwarded(await page.get(), "stale", "new");
  await eventually(async () => parseCacheStatus(await page.get()).hit, "the new body in memory");
  assert.equal(page.requestCount, 2);
});

/** Sends `count` requests at once, then opens the gate that the upstream's response waits for. */
async function requestAtOnce(page, count, open, headers = () => ({})) {
  const responses = Array.from({ length: count }, (_, number) => page.get(headers(number)));
  await eventually(() => page.requestCount > 0, "the first request");
  // By then the Worker has received the others, too.
  await sleep(300);
  open();
  return Promise.all(responses);
}

test("of 100 parallel misses of a URL one asks the upstream", async () => {
  const { open, promise: opened } = gate();
  const page = resource([{ headers: freshFor(1000), until: opened }]);
  const responses = await requestAtOnce(page, 100, open);
  assert.deepEqual(new Set(responses.map(({ text }) => text)), new Set(["1"]));
  assert.equal(page.requestCount, 1);
  assert.equal(responses.filter((response) => parseCacheStatus(response).hit === true).length, 99);
});

test("of 100 parallel misses of a page view one makes it and puts it into KV", async () => {
  const { open, promise: opened } = gate();
  const page = resource([{ headers: freshFor(1000), body: "<title>T</title>", until: opened }]);
  page.get = () => send(page.worker, `/cache?url=${encodeURIComponent(page.url)}`);
  const responses = await requestAtOnce(page, 100, open);
  assert.deepEqual(new Set(responses.map((response) => response.json().data.title)), new Set(["T"]));
  assert.equal(responses.filter((response) => response.json().fromCache).length, 99);
  const puts = () => kvCallsFor(page.worker, `page:${page.url}`, "put");
  await eventually(async () => (await puts()).length > 0, "the put");
  assert.deepEqual([page.requestCount, (await puts()).length], [1, 1]);
});

test("of parallel misses of two variants one asks the upstream for each, after the first response shows that they vary", async () => {
  const { open, promise: opened } = gate();
  const page = resource([{ headers: freshFor(1000, "Vary: X-A"), until: opened }, { headers: freshFor(1000, "Vary: X-A") }]);
  const responses = await requestAtOnce(page, 40, open, (number) => ({ "X-A": String(number % 2) }));
  assert.equal(page.requestCount, 2);
  for (const variant of [0, 1]) assert.equal(new Set(responses.filter((_, number) => number % 2 === variant).map(({ text }) => text)).size, 1);
});

test("parallel misses of a response that may not be stored get one of their own each", async () => {
  const { open, promise: opened } = gate();
  const page = resource([{ headers: ["Cache-Control: no-store"], until: opened }, { headers: ["Cache-Control: no-store"] }]);
  const responses = await requestAtOnce(page, 20, open);
  assert.equal(page.requestCount, 20);
  assert.equal(new Set(responses.map(({ text }) => text)).size, 20);
});

test("if the first of parallel misses fails, only it gets the error", async () => {
  const { open, promise: opened } = gate();
  const page = resource([{ status: 503, until: opened }, { headers: freshFor(1000) }]);
  const responses = await requestAtOnce(page, 10, open);
  assert.equal(responses.filter(({ status }) => status === 503).length, 1);
  assert.equal(responses.filter(({ status }) => status === 200).length, 9);
});

/** Checks that of a request with these fields and one without, neither waits for the other. */
async function assertNoWaiting(fields) {
  for (const [first, second] of [
    [fields, {}],
    [{}, fields],
  ]) {
    const { open, promise: opened } = gate();
    const page = resource([{ headers: freshFor(1000), until: opened }, { headers: freshFor(1000) }]);
    const early = page.get(first);
    await eventually(() => page.requestCount === 1, "the first request");
    assert.equal((await page.get(second)).text, "2");
    open();
    await early;
  }
}

test("a request with credentials neither waits nor lets others wait", () => assertNoWaiting({ Cookie: "session=a" }));

test("if the client of the first request leaves, the next one gets a response all the same", async () => {
  const page = resource([{ headers: freshFor(1000), delayMs: 500 }, { headers: freshFor(1000) }]);
  const { request } = openRequest({ url: page.worker.directUrl }, `/cache/${page.url}`);
  request.end();
  await eventually(() => page.requestCount === 1, "the first request");
  request.destroy();
  await sleep(100);
  assert.equal((await page.get()).status, 200);
});

for (const [name, fields] of [
  ["a range", { Range: "bytes=0-1" }],
  ["a condition of its own", { "If-None-Match": '"a"' }],
]) {
  test(`a request with ${name} neither waits nor lets others wait`, () => assertNoWaiting(fields));
}

// `/cache/{absolute URL}`, with memory off: what is stored in Workers KV, what it costs, and what
// is served if KV fails.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { assertForwarded, assertHit, freshFor, parseCacheStatus, startCache } from "./harness/http-cache.mjs";
import { assertProblem } from "./harness/problem.mjs";

const cache = await startCache();
const { kv, advanceClock, resource } = cache;

const MIB = 1024 * 1024;
const random = randomBytes(MIB);
const sha256 = (text) => createHash("sha256").update(text).digest("hex");

/** Returns the value in KV, its metadata, and its expiration in seconds since the Unix epoch. */
async function inKv(key) {
  const { value, metadata } = await kv.getWithMetadata(key, "arrayBuffer");
  const [{ expiration }] = (await kv.list({ prefix: key })).keys.filter(({ name }) => name === key);
  return { bytes: Buffer.from(value), metadata, expiration };
}

for (const [name, script] of [
  ["a short response", { headers: freshFor(100), body: "short" }],
  ["a response with many fields", { headers: freshFor(100, `X-Long: ${"x".repeat(4000)}`), body: "short" }],
  ["a long response", { headers: freshFor(100), body: random.subarray(0, MIB) }],
  ["an empty response", { headers: freshFor(100), body: "" }],
]) {
  test(`${name}: a hit costs one KV read, a miss one read and one put`, async () => {
    const page = resource(script);
    await page.getAndStore();
    assert.deepEqual(
      (await page.kvCalls()).map(({ operation }) => operation.slice(0, 3)),
      ["get", "put"],
    );
    for (let hits = 1; hits <= 3; hits += 1) {
      const hit = await page.get();
      assertHit(hit);
      assert.ok(hit.bytes.equals(Buffer.from(script.body)));
      assert.equal(await page.kvReadCount(), 1 + hits);
    }
    assert.equal((await page.kvCalls()).length, 5);
    assert.equal(page.requestCount, 1);
  });
}

test("the value is the body, byte for byte; the metadata has status and fields", async () => {
  const body = random.subarray(0, 5000);
  const page = resource({ status: 203, headers: freshFor(100, 'ETag: "a"', "Content-Type: text/x-test"), body });
  await page.getAndStore();
  const { bytes, metadata } = await inKv(page.key);
  assert.ok(bytes.equals(body));
  const { s: status, f: fields } = JSON.parse(metadata.head);
  assert.equal(status, 203);
  assert.ok(fields.includes("text/x-test"), fields);
  assert.ok(JSON.stringify(metadata).length <= 1024);
});

test("fields that do not fit into the metadata precede the body in the value, within KV's limits", async () => {
  const body = random.subarray(0, 5000);
  for (const size of [500, 800, 1000, 1100, 3000, 12_000]) {
    const value = 'ü"\\'.repeat(size).slice(0, size);
    const page = resource({ headers: freshFor(100, `X-Long: ${encodeURIComponent(value).slice(0, size)}`), body });
    const miss = await page.getAndStore();
    const { bytes, metadata } = await inKv(page.key);
    assert.ok(JSON.stringify(metadata).length <= 1024, `${JSON.stringify(metadata).length} bytes of metadata`);
    assert.ok(bytes.subarray(-body.length).equals(body));
    if (size > 1024) assert.ok(bytes.length > body.length + size);
    const hit = await page.get();
    assertHit(hit);
    assert.ok(hit.bytes.equals(body), `${size}`);
    assert.equal(hit.headers["x-long"], miss.headers["x-long"]);
    assert.equal((await page.get({ Range: "bytes=1-3" })).bytes.compare(body.subarray(1, 4)), 0);
  }
});

/** Directives, and for how many seconds at least KV must store the response. */
for (const [directives, seconds] of [
  ["max-age=1", 60],
  ["max-age=7200", 7200],
  ["max-age=100, stale-while-revalidate=7200", 7300],
  ["max-age=100, stale-if-error=7200", 7300],
  ["max-age=99999999999", 30 * 86_400],
]) {
  test(`a response with ${directives} expires in KV after ${seconds} seconds and some time`, async () => {
    const page = resource({ headers: [`Cache-Control: ${directives}`] });
    const before = Math.floor(Date.now() / 1000);
    await page.getAndStore();
    const { expiration } = await inKv(page.key);
    assert.ok(expiration >= before + seconds, `${expiration - before}`);
    assert.ok(expiration <= before + 31 * 86_400, `${expiration - before}`);
    if (seconds > 60) assert.ok(expiration <= before + seconds + 7200, `${expiration - before}`);
    for (const { ttl } of await page.kvCalls("put")) assert.ok(Number.isInteger(ttl) && ttl >= 60, `${ttl}`);
  });
}

test("a response that is already stale is stored for at least 60 seconds", async () => {
  const page = resource({ headers: ["Cache-Control: no-cache", 'ETag: "a"'] });
  await page.getAndStore();
  for (const { ttl } of await page.kvCalls("put")) assert.ok(ttl >= 60);
});

test("the key is the method and the URL, or the SHA-256 of a URL that is too long", async () => {
  const { path } = resource((request) => ({ headers: freshFor(100), body: request.target.slice(-1) }));
  const length = 512 - `GET ${cache.upstream.origin}${path}?`.length;
  const fits = cache.resourceAt(path, { query: `?${"q".repeat(length)}` });
  assert.equal(fits.key.length, 512);
  await fits.getAndStore();
  const ends = ["x", "y"].map((end) => cache.resourceAt(path, { query: `?${"q".repeat(length)}${end}` }));
  for (const page of ends) {
    page.key = `GET sha256:${sha256(page.url)}`;
    await page.getAndStore();
  }
  for (const [index, page] of [fits, ...ends].entries()) assertHit(await page.get(), "qxy"[index]);
});

for (const fault of ["429", "500", "no response", "quota"]) {
  test(`a refused put (${fault}) does not change the response, and leaves the stored one`, async () => {
    const page = resource((_request, turn) => ({ headers: freshFor(100, 'ETag: "a"'), body: `response ${turn}` }));
    await page.getAndStore();
    await advanceClock(150);
    const response = await page.get({}, { faults: { put: [fault] } });
    assertForwarded(response, "stale", "response 2");
    await eventually(async () => (await page.kvCalls("put")).filter(({ endedMs }) => endedMs).length >= 2, "the put that is refused");
    assert.equal(await kv.get(page.key), "response 1");
  });
}

test("a put that is refused once with 429 is retried", async () => {
  const page = resource({ headers: freshFor(100), body: "response" });
  await page.get({}, { faults: { put: ["429", "ok"] } });
  await page.waitUntilStored();
  assertHit(await page.get(), "response");
});

const failures = ["500", "503", "429", "400", "quota", "no response", "throws a string", "throws undefined"];
for (const fault of failures) {
  test(`a read of KV that fails (${fault}) is a miss, and Cache-Status says so`, () => assertMissWith(fault));
}

async function assertMissWith(fault) {
  const page = resource({ headers: freshFor(1000) });
  await page.getAndStore();
  const response = await page.get({}, { faults: { get: [fault] } });
  assert.equal(response.status, 200);
  assertForwarded(response, "miss", "2", { "fwd-status": 200, detail: "kv-unavailable" });
}

describe("KV that is slow", { concurrency: true }, () => {
  test("a read of KV that never ends times out as a miss, and Cache-Status says so", () => assertMissWith("never"));

  test("a client does not wait for the put", async () => {
    const page = resource({ headers: freshFor(100), body: "response" });
    const response = await page.get({}, { faults: { put: ["slow for 3000"] } });
    assertForwarded(response, "uri-miss", "response", { stored: true });
    assert.ok(
      (await page.kvCalls("put")).every(({ done }) => !done),
      "the response waited for the put",
    );
    assert.equal(await kv.get(page.key), null);
    await page.waitUntilStored();
    assertHit(await page.get(), "response");
  });
});

test("if every operation of KV fails, everything is forwarded", async () => {
  const page = resource({ headers: freshFor(1000) });
  const faults = { get: ["500"], put: ["500"], delete: ["500"], list: ["500"] };
  for (const [method, text] of [
    ["GET", "1"],
    ["HEAD", ""],
    ["POST", "3"],
    ["GET", "4"],
  ]) {
    const response = await page.request(method, { faults });
    assert.equal(response.status, 200);
    assert.equal(response.text, text);
  }
});

test("only-if-cached gets 504 if KV cannot be read", async () => {
  const page = resource({ headers: freshFor(1000) });
  await page.getAndStore();
  const headers = { "Cache-Control": "only-if-cached", Accept: "application/json" };
  assertProblem(await page.get(headers, { faults: { get: ["500"] } }), 504, "not_cached");
  assert.equal(page.requestCount, 1);
});

const padded = freshFor(1000, `X-Long: ${"x".repeat(2000)}`);
/**
 * Broken records, made of the good value and metadata. The head, status and fields, is in the
 * metadata, beside the body; one that is too long for them precedes the body in the value, and the
 * metadata is its length.
 */
const broken = [
  ["no metadata", (value) => ({ value })],
  ["metadata of another kind", (value) => ({ value, metadata: [] })],
  ["metadata null", (value) => ({ value, metadata: null })],
  ["a text as metadata", (value) => ({ value, metadata: "{" })],
  ["a number as metadata that is beyond the value", () => ({ value: "short", metadata: 1_000_000 })],
  ["a negative number as metadata", (value) => ({ value, metadata: -1 })],
  ["a fraction as metadata", (value) => ({ value, metadata: 1.5 })],
  ["a head that is not JSON", (value) => ({ value: `x${value}`, metadata: 20 })],
  ["a body that was cut off", (value, metadata) => ({ value: value.slice(0, -3), metadata })],
  ["a body with something more", (value, metadata) => ({ value: `${value}more`, metadata })],
  ["an empty value", (_value, metadata) => ({ value: "", metadata })],
  ["a page's JSON", () => ({ value: '{"title":"t","content":"c","lastUpdated":"2026-01-01T00:00:00.000Z"}' })],
];
/** Fields and lengths that no stored response can have, as changes of the head. */
for (const [name, change] of [
  ["a field whose name is no name", (head) => ({ ...head, f: `${head.f}a b\nc\n` })],
  ["a field with a carriage return", (head) => ({ ...head, f: `${head.f}x-a\nb\rc\n` })],
  ["a field with a NUL", (head) => ({ ...head, f: `${head.f}x-a\nb\0c\n` })],
  ["a length that is not that of the body", (head) => ({ ...head, l: head.l + 1000 })],
  ["a length beyond that of any value", (head) => ({ ...head, l: 1e18 })],
])
  for (const body of ["a whole body", "long ".repeat(40_000)])
    test(`${name}, of a body of ${body.length} bytes: a miss with a reason, and it is replaced`, async () => {
      const page = resource({ headers: freshFor(1000), body });
      await page.getAndStore();
      const { value, metadata } = await kv.getWithMetadata(page.key);
      const head = JSON.stringify(change(JSON.parse(metadata.head)));
      await kv.put(page.key, value, { metadata: { ...metadata, head } });
      const response = await page.getAndStore({ Range: `bytes=${body.length}-` });
      assertForwarded(response, "miss", undefined, { detail: "broken-record", stored: true });
      assertHit(await page.get(), body);
    });
for (const [form, headers] of [
  ["beside", freshFor(1000)],
  ["before", padded],
]) {
  for (const [name, breaking] of broken) {
    test(`${name}, with the head ${form} the body: a miss with a reason, and it is replaced`, async () => {
      const page = resource({ headers, body: "a whole body" });
      await page.getAndStore();
      const { value, metadata } = await kv.getWithMetadata(page.key);
      const { value: put, metadata: beside } = breaking(value, metadata);
      assert.notDeepEqual([put, beside], [value, metadata]);
      await kv.put(page.key, put, beside === undefined ? {} : { metadata: beside });
      const response = await page.getAndStore();
      assert.equal(response.status, 200);
      assertForwarded(response, "miss", "a whole body", { detail: "broken-record", stored: true });
      assertHit(await page.get(), "a whole body");
    });
  }
}

test("a broken variant is a miss too, and the others stay", async () => {
  const page = resource((request) => ({ headers: freshFor(1000, "Vary: X-A"), body: request.field("X-A") }));
  for (const value of ["1", "2"]) await page.getAndStore({ "X-A": value });
  const { keys } = await kv.list({ prefix: `${page.key}#` });
  assert.equal(keys.length, 1);
  await kv.put(keys[0].name, "broken");
  const texts = await Promise.all(["1", "2"].map(async (value) => (await page.get({ "X-A": value })).text));
  assert.deepEqual(texts, ["1", "2"]);
  assert.equal(parseCacheStatus(await page.get({ "X-A": "1" })).hit, true);
});

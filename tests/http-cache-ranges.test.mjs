// `/cache/{absolute URL}`: ranges of responses that are stored, stale, or not stored yet (RFC 9110
// §14, RFC 9111 §3.3).
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { assertForwarded, assertHit, freshFor, startCache } from "./harness/http-cache.mjs";

const { advanceClock, resource } = await startCache();

const MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT";
const digits = { headers: freshFor(1000, 'ETag: "a"', `Last-Modified: ${MODIFIED}`, "Content-Type: text/x-test"), body: "0123456789" };
const shared = resource(digits);
await shared.getAndStore();

/** A Range for "0123456789", the status, the body, and its Content-Range. */
const ranges = [
  ["bytes=0-3", 206, "0123", "bytes 0-3/10"],
  ["bytes=0-0", 206, "0", "bytes 0-0/10"],
  ["bytes=9-9", 206, "9", "bytes 9-9/10"],
  ["bytes=4-", 206, "456789", "bytes 4-9/10"],
  ["bytes=0-", 206, "0123456789", "bytes 0-9/10"],
  ["bytes=8-100", 206, "89", "bytes 8-9/10"],
  ["bytes=8-99999999999999999999", 206, "89", "bytes 8-9/10"],
  ["bytes=-3", 206, "789", "bytes 7-9/10"],
  ["bytes=-100", 206, "0123456789", "bytes 0-9/10"],
  ["Bytes=0-3", 206, "0123", "bytes 0-3/10"],
  ["bytes=10-", 416, undefined, "bytes */10"],
  ["bytes=10-20", 416, undefined, "bytes */10"],
  ["bytes=99999999999999999999-", 416, undefined, "bytes */10"],
  ["bytes=-0", 416, undefined, "bytes */10"],
  // Malformed, of another unit, or several ranges that do not touch: a 200 is a valid response
  // (RFC 9110 §14.2).
  ["bytes=5-2", 200, "0123456789"],
  ["bytes=a-b", 200, "0123456789"],
  ["bytes=1", 200, "0123456789"],
  ["bytes=-", 200, "0123456789"],
  ["bytes=--1", 200, "0123456789"],
  ["bytes=+1-2", 200, "0123456789"],
  ["bytes 0-3", 200, "0123456789"],
  ["0-3", 200, "0123456789"],
  ["items=0-3", 200, "0123456789"],
  ["bytes=", 200, "0123456789"],
  ["bytes=0-1,4-5", 200, "0123456789"],
];
for (const [range, status, part, contentRange] of ranges) {
  test(`Range: ${range} of ten bytes gets ${status}${contentRange ? `, ${contentRange}` : ", the whole"}`, async () => {
    const response = await shared.get({ Range: range });
    assert.equal(response.status, status, response.text);
    assert.equal(response.headers["content-range"], contentRange);
    if (part !== undefined) {
      assertHit(response, part);
      assert.equal(response.headers["content-length"], String(part.length));
      assert.equal(response.headers["content-type"], "text/x-test");
      assert.equal(response.headers.etag, '"a"');
    }
    assert.equal(shared.requestCount, 1);
  });
}

const conditional = [
  ["its entity tag", '"a"', 206],
  ["another entity tag", '"b"', 200],
  ["its entity tag as a weak one", 'W/"a"', 200],
  ["its Last-Modified", MODIFIED, 206],
  ["a later date, which is not that of the part the client has", "Wed, 21 Oct 2015 07:28:01 GMT", 200],
  ["an earlier date", "Wed, 21 Oct 2015 07:27:59 GMT", 200],
  ["something else", "a", 200],
];
for (const [name, ifRange, status] of conditional) {
  test(`a Range with an If-Range of ${name} gets ${status}`, async () => {
    const response = await shared.get({ Range: "bytes=0-3", "If-Range": ifRange });
    assert.equal(response.status, status);
    assertHit(response, status === 206 ? "0123" : "0123456789");
  });
}

test("If-Range never matches a weak entity tag", async () => {
  const page = resource({ headers: freshFor(1000, 'ETag: W/"a"'), body: "0123456789" });
  await page.getAndStore();
  assert.equal((await page.get({ Range: "bytes=0-3", "If-Range": 'W/"a"' })).status, 200);
  assert.equal((await page.get({ Range: "bytes=0-3" })).status, 206);
});

test("If-Range without a Range is ignored", async () => {
  const response = await shared.get({ "If-Range": '"b"' });
  assert.equal(response.status, 200);
  assertHit(response, "0123456789");
});

test("a Range of a HEAD is ignored", async () => {
  const response = await shared.head({ Range: "bytes=0-3" });
  assert.equal(response.status, 200);
  assert.equal(response.headers["content-range"], undefined);
  assertHit(response, "");
});

test("a precondition is evaluated before the Range: 304", async () => {
  assert.equal((await shared.get({ Range: "bytes=0-3", "If-None-Match": '"a"' })).status, 304);
  assert.equal((await shared.get({ Range: "bytes=0-3", "If-None-Match": '"b"' })).status, 206);
});

test("a Range applies to a stored 200 only", async () => {
  const page = resource({ ...digits, status: 404 });
  await page.getAndStore();
  const response = await page.get({ Range: "bytes=0-3" });
  assert.equal(response.status, 404);
  assertHit(response, "0123456789");
});

test("an empty body has no satisfiable range", async () => {
  const page = resource({ headers: freshFor(1000), body: "" });
  await page.getAndStore();
  const response = await page.get({ Range: "bytes=0-" });
  assert.equal(response.status, 416);
  assert.equal(response.headers["content-range"], "bytes */0");
});

const large = randomBytes(1_000_000);
for (const [framing, size] of [
  ["length", 60_000],
  ["length", 70_000],
  ["length", 1_000_000],
  ["chunked", 1_000_000],
]) {
  test(`ranges of ${size} bytes with the framing ${framing} are those bytes`, async () => {
    const body = large.subarray(0, size);
    const page = resource({ headers: freshFor(1000), body, framing });
    await page.getAndStore();
    for (const [from, to] of [
      [0, 9],
      [size - 10, size - 1],
      [Math.floor(size / 2), Math.floor(size / 2) + 9999],
      [0, size - 1],
      [1, size - 2],
    ]) {
      const response = await page.get({ Range: `bytes=${from}-${to}` });
      assert.equal(response.status, 206);
      assert.equal(response.headers["content-range"], `bytes ${from}-${to}/${size}`);
      assert.ok(response.complete && response.bytes.equals(body.subarray(from, to + 1)), `${from}-${to}`);
      assertHit(response);
    }
    assert.equal(page.requestCount, 1);
  });
}

test("a range of an encoded body is a range of its encoded bytes", async () => {
  const zipped = gzipSync(large.subarray(0, 2000));
  const page = resource({ headers: freshFor(1000, "Content-Encoding: gzip"), body: zipped });
  await page.getAndStore({ "Accept-Encoding": "gzip" });
  const response = await page.get({ Range: "bytes=10-99", "Accept-Encoding": "gzip" });
  assert.equal(response.status, 206);
  assert.equal(response.headers["content-encoding"], "gzip");
  assert.equal(response.headers["content-range"], `bytes 10-99/${zipped.length}`);
  assert.deepEqual(response.bytes, zipped.subarray(10, 100));
});

test("a range may cut a multi-byte character", async () => {
  const page = resource({ headers: freshFor(1000), body: "a€日b" });
  await page.getAndStore();
  const response = await page.get({ Range: "bytes=2-5" });
  assert.deepEqual(response.bytes, Buffer.from("a€日b").subarray(2, 6));
});

/** An upstream that responds to any Range with the first four bytes. */
const rangeUpstream = (request) => {
  if (request.field("If-None-Match") === '"a"') return { status: 304, headers: freshFor(1000, 'ETag: "a"') };
  if (request.field("Range") === undefined) return digits;
  const headers = freshFor(1000, 'ETag: "a"', "Content-Range: bytes 0-3/10");
  return { status: 206, headers, body: "0123" };
};

test("with nothing stored the Range is forwarded; its 206 is passed on and not stored", async () => {
  const page = resource(rangeUpstream);
  for (let asked = 1; asked <= 2; asked += 1) {
    const response = await page.get({ Range: "bytes=0-3", "If-Range": '"a"' });
    assert.equal(response.status, 206);
    assert.equal(response.headers["content-range"], "bytes 0-3/10");
    assertForwarded(response, "uri-miss", "0123", { "fwd-status": 206, stored: undefined });
    assert.equal(page.requests[asked - 1].field("Range"), "bytes=0-3");
    assert.equal(page.requests[asked - 1].field("If-Range"), '"a"');
  }
  await page.assertNotStored();
  assertForwarded(await page.getAndStore(), "uri-miss", "0123456789");
  assertHit(await page.get({ Range: "bytes=4-5" }), "45");
});

test("a stale response is validated as a whole; the range is taken from the result", async () => {
  const page = resource(rangeUpstream);
  await page.getAndStore();
  await advanceClock(1500);
  const response = await page.get({ Range: "bytes=4-5" });
  assert.equal(response.status, 206);
  assertForwarded(response, "stale", "45", { "fwd-status": 304 });
  assert.equal(page.requests[1].field("Range"), undefined);
});

test("a stale response without a validator is fetched as a whole; the range is taken from it, or the whole is sent", async () => {
  const page = resource((request, turn) =>
    request.field("Range") === undefined
      ? { headers: freshFor(1000), body: `${turn}123456789` }
      : { status: 206, headers: ["Content-Range: bytes 0-0/1"], body: "x" },
  );
  await page.getAndStore();
  await advanceClock(1500);
  const response = await page.get({ Range: "bytes=0-1" });
  assert.equal(page.requests[1].field("Range"), undefined);
  assert.equal(response.text, response.status === 206 ? "21" : "2123456789");
});

// `/cache/{absolute URL}`: the request that reaches the upstream, and its response byte for byte.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { openRequest, send } from "./harness/http.mjs";
import { assertForwarded, assertHit, freshFor, startCache } from "./harness/http-cache.mjs";

// Without tests/faulty/entry.mjs, so that nothing of the tests is between client and upstream.
const cache = await startCache({ faulty: false });
const { resource, upstream, worker } = cache;

const isStored = (page) => cache.kv.list({ prefix: page.key }).then(({ keys }) => keys.length > 0);

/**
 * Fields of the client, and their combined values at the upstream; undefined if they do not
 * arrive.
 */
const fields = [
  ["an ordinary field", { "X-Own": "a  b" }, { "X-Own": "a  b" }],
  ["two identical fields", { "X-Two": ["1", "2"] }, { "X-Two": "1, 2" }],
  ["an empty field", { "X-Empty": "" }, { "X-Empty": "" }],
  ["Cookie and Authorization", { Cookie: "a=1; b=2", Authorization: "Basic eDp5" }, { Cookie: "a=1; b=2", Authorization: "Basic eDp5" }],
  [
    "a range and conditions, if nothing is stored",
    { Range: "bytes=0-1", "If-Range": '"x"', "If-None-Match": 'W/"x"' },
    { Range: "bytes=0-1", "If-Range": '"x"', "If-None-Match": 'W/"x"' },
  ],
  [
    "Accept, Accept-Language and User-Agent",
    { Accept: "text/html;q=0.5", "Accept-Language": "de, en;q=0.1", "User-Agent": "u (x)" },
    { Accept: "text/html;q=0.5", "Accept-Language": "de, en;q=0.1", "User-Agent": "u (x)" },
  ],
  ["Cache-Control and Pragma", { "Cache-Control": "no-cache, x=y", Pragma: "no-cache" }, { "Cache-Control": "no-cache, x=y", Pragma: "no-cache" }],
  ["Keep-Alive", { "Keep-Alive": "timeout=5" }, { "Keep-Alive": undefined }],
  ["Proxy-Connection", { "Proxy-Connection": "keep-alive" }, { "Proxy-Connection": undefined }],
  ["Proxy-Authorization", { "Proxy-Authorization": "Basic eDp5" }, { "Proxy-Authorization": undefined }],
  ["TE", { TE: "gzip" }, { TE: undefined }],
  ["an Upgrade", { Connection: "Upgrade", Upgrade: "h2c" }, { Upgrade: undefined, Connection: undefined }],
  ["an Upgrade to an unknown protocol", { Connection: "Upgrade", Upgrade: "x-socket" }, { Upgrade: undefined, Connection: undefined }],
  [
    "what Connection lists",
    { Connection: "close, X-Hop,x-other", "X-Hop": "1", "X-Other": "2", "X-Kept": "3" },
    { Connection: undefined, "X-Hop": undefined, "X-Other": undefined, "X-Kept": "3" },
  ],
  ["what Connection must not take away", { Connection: "Via, CDN-Loop" }, { Via: "1.1 kv-edge", "CDN-Loop": "kv-edge" }],
  ["no Via and no CDN-Loop", {}, { Via: "1.1 kv-edge", "CDN-Loop": "kv-edge" }],
  [
    "a Via and a CDN-Loop of others",
    { Via: "1.0 fred, 2 barney", "CDN-Loop": "other; v=1" },
    { Via: "1.0 fred, 2 barney, 1.1 kv-edge", "CDN-Loop": "other; v=1, kv-edge" },
  ],
  ["a CDN-Loop that only looks alike", { "CDN-Loop": "kv-edges, x-kv-edge" }, { "CDN-Loop": "kv-edges, x-kv-edge, kv-edge" }],
];
for (const [name, headers, expected] of fields) {
  test(`fields: ${name}`, async () => {
    for (const method of ["GET", "HEAD", "DELETE"]) {
      const page = resource({ headers: ["Cache-Control: no-store"] });
      assert.equal((await page.request(method, { headers })).status, 200);
      const [request, ...more] = page.requests;
      assert.deepEqual(more, []);
      assert.equal(request.line, `${method} ${page.path} HTTP/1.1`);
      for (const [field, value] of Object.entries(expected)) assert.equal(request.field(field), value, `${field} of\n${request.head}`);
      assert.deepEqual(request.values("Host"), [upstream.host]);
      assert.equal(request.field("Transfer-Encoding"), undefined);
    }
  });
}

test("fields: the client's Host does not reach the upstream", async () => {
  const page = resource({});
  await page.get({ Host: "127.0.0.1:1" });
  assert.deepEqual(page.requests[0].values("Host"), [upstream.host]);
});

const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
for (const [method, body] of [
  ["POST", everyByte],
  ["PUT", everyByte],
  ["PATCH", everyByte],
  ["DELETE", everyByte],
  ["POST", Buffer.alloc(0)],
  ["PUT", randomBytes(300_000)],
  ["PROPFIND", Buffer.from("<propfind/>")],
]) {
  test(`${method} with ${body.length} bytes arrives as it was sent, and so does its response`, async () => {
    const page = resource({ status: 201, headers: ["Location: /new", "X-Own: 1"], body: everyByte });
    const response = await page.request(method, { body, headers: { "Content-Type": "text/x-test" } });
    assert.equal(response.status, 201);
    assert.equal(response.headers.location, "/new");
    assert.equal(response.headers["x-own"], "1");
    assert.deepEqual(response.bytes, everyByte);
    assertForwarded(response, "method", undefined, { "fwd-status": 201, stored: undefined });
    const [request] = page.requests;
    assert.equal(request.line, `${method} ${page.path} HTTP/1.1`);
    assert.equal(request.field("Content-Type"), "text/x-test");
    assert.equal(request.field("Content-Length"), String(body.length));
    assert.deepEqual(request.body, body);
  });
}

test("a chunked body arrives whole", async () => {
  const body = randomBytes(200_000);
  const page = resource({});
  const { request, response } = openRequest(worker, `/cache/${page.url}`, { method: "POST", headers: { "Transfer-Encoding": "chunked" } });
  request.end(body);
  assert.equal((await response).statusCode, 200);
  assert.deepEqual(page.requests[0].body, body);
});

test("an upload of 20 MB arrives whole", async () => {
  const body = randomBytes(20_000_000);
  const page = resource({});
  assert.equal((await page.request("PUT", { body })).status, 200);
  const [request] = page.requests;
  assert.equal(request.size, body.length);
  assert.equal(request.hash, createHash("sha256").update(body).digest("hex"));
});

/** Requests a page and looks into KV until it is stored, for five seconds at most. */
async function getAndStore(page, headers) {
  const response = await page.get(headers);
  for (let tries = 0; tries < 200 && !(await isStored(page)); tries += 1) await new Promise((resolve) => setTimeout(resolve, 25));
  return response;
}

for (const [name, body] of [
  ["every byte", everyByte],
  ["nothing", Buffer.alloc(0)],
  ["a few bytes that are no text", Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28])],
  ["64 KiB", randomBytes(65_536)],
  ["64 KiB and a byte", randomBytes(65_537)],
  ["3 MB", randomBytes(3_000_000)],
]) {
  for (const framing of ["length", "chunked", "close"]) {
    test(`a response of ${name}, with the framing ${framing}, is passed on and stored byte for byte`, async () => {
      const page = resource({ headers: freshFor(1000, "Content-Type: application/octet-stream"), body, framing });
      for (const response of [await getAndStore(page), await page.get()]) {
        assert.equal(response.status, 200);
        assert.equal(response.headers["content-type"], "application/octet-stream");
        assert.ok(response.complete && response.bytes.equals(body));
      }
      assertHit(await page.get());
      assert.equal(page.requestCount, 1);
    });
  }
}

const text = "some text that is compressed ".repeat(500);
for (const [encoding, body] of [
  ["gzip", gzipSync(text)],
  ["br", brotliCompressSync(text)],
  ["x-own", everyByte],
]) {
  for (const framing of ["length", "chunked"]) {
    test(`a body with Content-Encoding: ${encoding}, with the framing ${framing}, is not encoded again`, async () => {
      const lines = [`Content-Encoding: ${encoding}`, 'ETag: "strong"', "Content-Type: text/plain"];
      const page = resource({ headers: freshFor(1000, ...lines), body, framing });
      const headers = { "Accept-Encoding": encoding === "br" ? "br, gzip" : "gzip" };
      for (const response of [await getAndStore(page, headers), await page.get(headers)]) {
        assert.equal(response.headers["content-encoding"], encoding);
        assert.equal(response.headers.etag, '"strong"');
        assert.ok(response.bytes.equals(body), `${response.bytes.length} bytes, not ${body.length}`);
      }
      assert.equal(page.requestCount, 1);
      // KV has the same bytes.
      const value = Buffer.from(await cache.kv.get(page.key, "arrayBuffer"));
      assert.ok(value.subarray(-body.length).equals(body));
    });
  }
}

test("a client that accepts no encoding gets a stored encoded response decoded, or as it is with its Content-Encoding", async () => {
  const page = resource({ headers: freshFor(1000, "Content-Encoding: gzip", "Content-Type: text/plain"), body: gzipSync(text) });
  await getAndStore(page, { "Accept-Encoding": "gzip" });
  const response = await page.get({ "Accept-Encoding": "identity" });
  if (response.headers["content-encoding"] === undefined) assert.equal(response.text, text);
  else assert.ok(response.bytes.equals(gzipSync(text)));
});

test("fields are unchanged: lines of one name in order, each cookie by itself", async () => {
  const lines = [
    "Set-Cookie: a=1; Path=/",
    "X-Two: 1",
    "Set-Cookie: b=2, c",
    "X-Two: 2",
    "set-cookie: a=3",
    "X-Odd: ;,\"\\'",
    "Link: </a>; rel=x, </b>; rel=y",
  ];
  const page = resource({ headers: ["Cache-Control: public, max-age=1000", ...lines] });
  for (const { headers } of [await getAndStore(page), await page.get()]) {
    assert.deepEqual(headers["set-cookie"], ["a=1; Path=/", "b=2, c", "a=3"]);
    assert.equal(headers["x-two"], "1, 2");
    assert.equal(headers["x-odd"], ";,\"\\'");
    assert.equal(headers.link, "</a>; rel=x, </b>; rel=y");
  }
});

for (const status of [200, 201, 204, 205, 404, 418, 451, 500, 599]) {
  test(`the status ${status} is unchanged`, async () => {
    const page = resource({ status, headers: ["Cache-Control: no-store"], body: status === 205 ? "" : undefined });
    const response = await page.get();
    assert.equal(response.status, status);
    assert.equal(response.complete, true);
    assert.equal(response.text, [204, 205].includes(status) ? "" : "1");
  });
}

test("a status that HTTP does not have causes a 502", async () => {
  const page = resource({ status: 999 });
  assert.equal((await page.get()).status, 502);
});

test("/cache itself is the documented page, not the upstream's response", async () => {
  const page = resource({ headers: ["Content-Type: text/html"], body: "<title>T</title>" });
  const response = await send(worker, `/cache?url=${encodeURIComponent(page.url)}`);
  assert.equal(response.status, 200);
  assert.equal(response.json().data.title, "T");
});

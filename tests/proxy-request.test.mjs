// The request that a storefront's upstream receives, byte for byte: its line, its fields, its
// body.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { openRequest, send, sendForJson } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { startRawUpstream } from "./harness/raw-upstream.mjs";
import { storefrontsOf } from "./harness/storefronts.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startRawUpstream();
const worker = await startWorker({ vars: { ROUTING_ORIGINS: upstream.origin, TENANT_DOMAIN: "shops.example.com" } });
const storefronts = storefrontsOf(worker);
await storefronts.put("plain", { origin: upstream.origin });
await storefronts.put("based", { origin: `${upstream.origin}/shop/` });
const visitorHost = `127.0.0.1:${worker.url.port}`;

/** Sends a request, and returns what the upstream received. */
async function receivedRequest(path, options) {
  const before = upstream.requests.length;
  const response = await send(worker, path, options);
  const requests = upstream.requests.slice(before);
  assert.equal(requests.length, 1, `${requests.length} requests arrived, and the response is ${response.status} ${response.text}`);
  return requests[0];
}

/**
 * What follows `/stores/{id}`, and what follows the upstream's base in the request line; undefined
 * if it belongs to the id.
 */
const targets = [
  ["", "/"],
  ["/", "/"],
  ["?", "/?"],
  ["/?", "/?"],
  ["/a", "/a"],
  ["/a/", "/a/"],
  ["//", "//"],
  ["///a", "///a"],
  ["/a//b///c//", "/a//b///c//"],
  ["/a%2Fb%2fc", "/a%2Fb%2fc"],
  ["/%2E%2E%2F", "/%2E%2E%2F"],
  ["/%2e%2e%2fadmin", "/%2e%2e%2fadmin"],
  ["/..%2F..%2Fadmin", "/..%2F..%2Fadmin"],
  ["/a/%2E%2E%2Fb", "/a/%2E%2E%2Fb"],
  ["/a/../b", "/b"],
  ["/a/%2e%2E/b", "/b"],
  ["/a/./b", "/a/b"],
  ["/a\\b", "/a/b"],
  ["/a%5Cb", "/a%5Cb"],
  ["/a%20b%20", "/a%20b%20"],
  ["/a%09b%0D%0AX:%20y", "/a%09b%0D%0AX:%20y"],
  ["/a;b;c=1/d;e", "/a;b;c=1/d;e"],
  ["/:@!$&'()*+,;=~-._", "/:@!$&'()*+,;=~-._"],
  ["/%41%7e%zz%", "/%41%7e%zz%"],
  ["/%00%ff", "/%00%ff"],
  ["//evil.example/x", "//evil.example/x"],
  ["///evil.example/x", "///evil.example/x"],
  ["/\\evil.example/x", "//evil.example/x"],
  ["/@evil.example/x", "/@evil.example/x"],
  ["/http://evil.example/x", "/http://evil.example/x"],
  ["/.evil.example", "/.evil.example"],
  [":80/x", undefined],
  ["/a?", "/a?"],
  ["/a??b?c", "/a??b?c"],
  ["/a?&&=&a&a=&=b", "/a?&&=&a&a=&=b"],
  ["/a?q=%20+%2B%zz", "/a?q=%20+%2B%zz"],
  ["/a?u=https://other.example/../b", "/a?u=https://other.example/../b"],
  ["/a?q=a/../b//c\\d", "/a?q=a/../b//c\\d"],
  ["/a?x=%C3%A9&y=%ff", "/a?x=%C3%A9&y=%ff"],
  ["/a?q={}[]|~`^", "/a?q={}[]|~`^"],
];
for (const [sent, line] of targets) {
  test(`${JSON.stringify(sent)} after the id becomes ${line ?? "another id"} in the request line`, async () => {
    if (line === undefined) {
      assert.equal((await send(worker, `/stores/plain${sent}`)).status, 404);
      return;
    }
    assert.equal((await receivedRequest(`/stores/plain${sent}`)).line, `GET ${line} HTTP/1.1`);
    const request = await receivedRequest(`/stores/based${sent}`);
    assert.equal(request.line, `GET /shop${line} HTTP/1.1`);
    assert.deepEqual(request.values("Host"), [upstream.host]);
  });
}

/**
 * Fields of the visitor, and their combined values at the upstream; undefined if they do not
 * arrive.
 */
const fields = [
  ["an ordinary field", { "X-Own": "a  b" }, { "X-Own": "a  b" }],
  ["two identical fields", { "X-Two": ["1", "2"] }, { "X-Two": "1, 2" }],
  ["an empty field", { "X-Empty": "" }, { "X-Empty": "" }],
  ["Cookie and Authorization", { Cookie: "a=1; b=2", Authorization: "Basic eDp5" }, { Cookie: "a=1; b=2", Authorization: "Basic eDp5" }],
  ["a range and conditions", { Range: "bytes=0-1", "If-None-Match": 'W/"x"' }, { Range: "bytes=0-1", "If-None-Match": 'W/"x"' }],
  ["Accept and User-Agent", { Accept: "text/html;q=0.5", "User-Agent": "u (x)" }, { Accept: "text/html;q=0.5", "User-Agent": "u (x)" }],
  ["Keep-Alive", { "Keep-Alive": "timeout=5" }, { "Keep-Alive": undefined }],
  ["Proxy-Connection", { "Proxy-Connection": "keep-alive" }, { "Proxy-Connection": undefined }],
  ["Proxy-Authorization", { "Proxy-Authorization": "Basic eDp5" }, { "Proxy-Authorization": undefined }],
  ["Proxy-Authenticate", { "Proxy-Authenticate": "Basic" }, { "Proxy-Authenticate": undefined }],
  ["TE", { TE: "gzip" }, { TE: undefined }],
  ["an Upgrade other than websocket", { Connection: "Upgrade", Upgrade: "h2c" }, { Upgrade: undefined, Connection: undefined }],
  [
    "what Connection lists",
    { Connection: "close, X-Hop,x-other", "X-Hop": "1", "X-Other": "2", "X-Kept": "3" },
    { Connection: undefined, "X-Hop": undefined, "X-Other": undefined, "X-Kept": "3" },
  ],
  ["what a second Connection lists", { Connection: ["X-Hop", "x-other"], "X-Hop": "1", "X-Other": "2" }, { "X-Hop": undefined, "X-Other": undefined }],
  [
    "a field that Connection must not take away",
    { Connection: "X-Forwarded-For, Via, CDN-Loop" },
    { "X-Forwarded-For": "127.0.0.1", Via: "1.1 kv-edge", "CDN-Loop": "kv-edge" },
  ],
  [
    "X-Forwarded-*, no matter who wrote them",
    { "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil", "X-Forwarded-Port": "1", "X-Forwarded-Zork": "z" },
    {
      "X-Forwarded-For": "127.0.0.1",
      "X-Forwarded-Proto": "http",
      "X-Forwarded-Host": visitorHost,
      "X-Forwarded-Prefix": "/stores/plain",
      "X-Forwarded-Port": undefined,
      "X-Forwarded-Zork": undefined,
    },
  ],
  [
    "what only a proxy may say of host, URL, method and client",
    {
      "X-Host": "evil.example",
      "X-Original-URL": "/admin",
      "X-Rewrite-URL": "/admin",
      "X-HTTP-Method-Override": "DELETE",
      "X-Method-Override": "DELETE",
      X_Forwarded_Host: "evil.example",
      CF_Connecting_IP: "6.6.6.6",
      "Client-Cert": ":AA==:",
      "X-Middleware-Subrequest": "middleware",
      Proxy: "http://evil.example",
    },
    {
      "X-Host": undefined,
      "X-Original-URL": undefined,
      "X-Rewrite-URL": undefined,
      "X-HTTP-Method-Override": undefined,
      "X-Method-Override": undefined,
      X_Forwarded_Host: undefined,
      CF_Connecting_IP: undefined,
      "Client-Cert": undefined,
      "X-Middleware-Subrequest": undefined,
      Proxy: undefined,
    },
  ],
  // The local runtime reads the scheme of the request from this field.
  ["the scheme", { "X-Forwarded-Proto": "https" }, { "X-Forwarded-Proto": "https", Forwarded: `for=127.0.0.1;host="${visitorHost}";proto=https` }],
  ["Forwarded, no matter who wrote it", { Forwarded: "for=6.6.6.6;host=evil.example" }, { Forwarded: `for=127.0.0.1;host="${visitorHost}";proto=http` }],
  [
    "the visitor's address, which the platform says",
    { "CF-Connecting-IP": "192.0.2.7" },
    { "X-Forwarded-For": "192.0.2.7", Forwarded: `for=192.0.2.7;host="${visitorHost}";proto=http` },
  ],
  [
    "the visitor's IPv6 address",
    { "CF-Connecting-IP": "2001:db8::7" },
    { "X-Forwarded-For": "2001:db8::7", Forwarded: `for="[2001:db8::7]";host="${visitorHost}";proto=http` },
  ],
  [
    "CF-*, as the platform set them",
    { "CF-IPCountry": "CH", "CF-Ray": "8a1b-ZRH", "CF-Visitor": '{"scheme":"https"}' },
    { "CF-IPCountry": "CH", "CF-Ray": "8a1b-ZRH", "CF-Visitor": '{"scheme":"https"}' },
  ],
  ["no Via and no CDN-Loop", {}, { Via: "1.1 kv-edge", "CDN-Loop": "kv-edge" }],
  [
    "a Via and a CDN-Loop of others",
    { Via: "1.0 fred, 2 barney", "CDN-Loop": "other; v=1" },
    { Via: "1.0 fred, 2 barney, 1.1 kv-edge", "CDN-Loop": "other; v=1, kv-edge" },
  ],
  ["a CDN-Loop that only looks alike", { "CDN-Loop": "kv-edges, x-kv-edge" }, { "CDN-Loop": "kv-edges, x-kv-edge, kv-edge" }],
  ["the token that forces a variant, without a variant", { "X-Force-Variant-Token": "a secret" }, { "X-Force-Variant-Token": undefined }],
];
for (const [name, headers, expected] of fields) {
  test(`fields: ${name}`, async () => {
    const request = await receivedRequest("/stores/plain/x", { headers });
    for (const [field, value] of Object.entries(expected)) {
      assert.equal(request.field(field), value, `${field} of\n${request.head}`);
    }
    assert.deepEqual(request.values("Host"), [upstream.host]);
    assert.equal(request.field("Transfer-Encoding"), undefined);
  });
}

test("fields: X-Forwarded-Prefix is what the visitor sent, not decoded", async () => {
  await storefronts.put("café a/b", { origin: upstream.origin });
  const request = await receivedRequest("/stores/caf%C3%A9%20a%2fb/x");
  assert.equal(request.line, "GET /x HTTP/1.1");
  assert.equal(request.field("X-Forwarded-Prefix"), "/stores/caf%C3%A9%20a%2fb");
});

test("fields: a request by host has no prefix, and names that host", async () => {
  const request = await receivedRequest("/x", { headers: { Host: "plain.shops.example.com:8443", "X-Forwarded-Prefix": "/evil" } });
  assert.equal(request.field("X-Forwarded-Prefix"), undefined);
  assert.equal(request.field("X-Forwarded-Host"), "plain.shops.example.com:8443");
  assert.equal(request.field("Forwarded"), 'for=127.0.0.1;host="plain.shops.example.com:8443";proto=http');
  assert.deepEqual(request.values("Host"), [upstream.host]);
});

for (const loop of ["kv-edge", "other, kv-edge", "kv-edge; v=1", "a;b=c ,kv-edge ;x=y, d"]) {
  test(`a CDN-Loop ${JSON.stringify(loop)} is a loop: 508, and nothing is fetched`, async () => {
    const before = upstream.requests.length;
    const response = await sendForJson(worker, "/stores/plain/x", { headers: { "CDN-Loop": loop } });
    assertProblem(response, 508, "loop_detected");
    assert.equal(upstream.requests.length, before);
  });
}

test("TRACE gets 405, and nothing is fetched", async () => {
  const before = upstream.requests.length;
  assert.equal((await send(worker, "/stores/plain/x", { method: "TRACE" })).status, 405);
  assert.equal(upstream.requests.length, before);
});

test("the record's edits of the request are applied", async () => {
  const headers = { request: { set: { "X-A": "1", "X-Own": "theirs" }, remove: ["X-B", "cookie"] } };
  const id = await storefronts.add({ origin: upstream.origin, headers });
  const request = await receivedRequest(`/stores/${id}/x`, { headers: { "X-Own": ["a", "b"], "x-b": "1", Cookie: "a=1", "X-C": "kept" } });
  assert.deepEqual(request.values("X-A"), ["1"]);
  assert.deepEqual(request.values("X-Own"), ["theirs"]);
  for (const name of ["X-B", "Cookie"]) assert.equal(request.field(name), undefined, name);
  assert.equal(request.field("X-C"), "kept");
});

const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
/** A method with its body, and how the body is framed at the upstream. */
const bodies = [
  ["GET", undefined, {}],
  ["HEAD", undefined, {}],
  // The runtime frames an empty body, except for the two methods above.
  ["OPTIONS", undefined, { "Content-Length": "0" }],
  ["DELETE", undefined, { "Content-Length": "0" }],
  ["POST", everyByte, { "Content-Length": "256" }],
  ["PUT", everyByte, { "Content-Length": "256" }],
  ["PATCH", everyByte, { "Content-Length": "256" }],
  ["DELETE", everyByte, { "Content-Length": "256" }],
  ["POST", "", { "Content-Length": "0" }],
  ["PUT", "", { "Content-Length": "0" }],
  ["PROPFIND", "<propfind/>", { "Content-Length": "11" }],
];
for (const [method, body, framing] of bodies) {
  const what = body === undefined ? "without a body" : `with ${body.length} bytes`;
  test(`${method} ${what} arrives as it was sent`, async () => {
    const request = await receivedRequest("/stores/plain/x?y", { method, body, headers: { "Content-Type": "text/x-test" } });
    assert.equal(request.line, `${method} /x?y HTTP/1.1`);
    assert.equal(request.field("Content-Type"), "text/x-test");
    for (const name of ["Content-Length", "Transfer-Encoding"]) assert.equal(request.field(name), framing[name], name);
    assert.deepEqual(request.body, Buffer.from(body ?? ""));
  });
}

for (const length of [0, 1, 300_000]) {
  // Trailer is hop-by-hop, like the framing to which it belongs.
  test(`a chunked body of ${length} bytes arrives chunked`, async () => {
    const body = randomBytes(length);
    const path = `/${uniqueName("chunked")}`;
    const { request, response } = openRequest(worker, `/stores/plain${path}`, {
      method: "POST",
      headers: { "Transfer-Encoding": "chunked", Trailer: "X-Sum" },
    });
    request.end(body);
    assert.equal((await response).statusCode, 200);
    const [seen] = upstream.requestsTo(path);
    assert.equal(seen.field("Content-Length"), undefined);
    assert.equal(seen.field("Transfer-Encoding"), "chunked");
    assert.equal(seen.field("Trailer"), undefined);
    assert.deepEqual(seen.body, body);
  });
}

/** Returns the peak memory of workerd, in bytes. */
async function peakMemory() {
  const [, kilobytes] = (await readFile(`/proc/${worker.pid}/status`, "utf8")).match(/^VmHWM:\s+(\d+) kB$/m);
  return Number(kilobytes) * 1024;
}

for (const framing of ["with a Content-Length", "in chunks"]) {
  test(`an upload of 100 MB ${framing} arrives whole and is not buffered`, async () => {
    const piece = randomBytes(100_000);
    const pieces = 1000;
    const path = `/${uniqueName("upload")}`;
    const before = await peakMemory();
    const headers = framing === "in chunks" ? {} : { "Content-Length": piece.length * pieces };
    const { request, response } = openRequest(worker, `/stores/plain${path}`, { method: "POST", headers });
    const hash = createHash("sha256");
    for (let sent = 0; sent < pieces; sent += 1) {
      hash.update(piece);
      if (!request.write(piece)) await once(request, "drain");
    }
    request.end();
    assert.equal((await response).statusCode, 200);
    const [seen] = upstream.requestsTo(path);
    assert.equal(seen.size, piece.length * pieces);
    assert.equal(seen.hash, hash.digest("hex"));
    const grown = (await peakMemory()) - before;
    assert.ok(grown < 60_000_000, `workerd's peak memory grew by ${grown} bytes`);
  });
}

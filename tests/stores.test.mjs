// `/stores/{id}/…`: which upstream a request reaches, what arrives there, and what comes back.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { eventually } from "./harness/eventually.mjs";
import { openRequest, send, sendForJson } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { respondWithRedirect, startUpstream } from "./harness/upstream.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startUpstream();
const worker = await startWorker({ vars: { ROUTING_ORIGINS: upstream.origin } });
const { ROUTING_CONFIG } = worker.env;

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** Adds a storefront whose record names the upstream and a base path. */
async function storefront(basePath = "") {
  const id = uniqueName("shop");
  await ROUTING_CONFIG.put(id, JSON.stringify({ origin: upstream.origin + basePath }));
  return id;
}

for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
  test(`${method} reaches the upstream with its headers, body and query`, async () => {
    const id = await storefront();
    const body = method === "GET" || method === "OPTIONS" ? undefined : "a body";
    const headers = {
      "X-Custom": "kept",
      Cookie: "session=1",
      Authorization: "Basic eDp5",
      ...(body && { "Content-Type": "text/x-test" }),
    };
    const response = await send(worker, `/stores/${id}/orders?page=2&sort=-date`, { method, body, headers });
    assert.equal(response.status, 200);
    const received = response.json();
    assert.equal(received.method, method);
    assert.equal(received.url, "/orders?page=2&sort=-date");
    assert.equal(received.headers["x-custom"], "kept");
    assert.equal(received.headers.cookie, "session=1");
    assert.equal(received.headers.authorization, "Basic eDp5");
    assert.equal(received.headers.host, `127.0.0.1:${upstream.port}`);
    assert.equal(Buffer.from(received.body, "base64").toString(), body ?? "");
    if (body) assert.equal(received.headers["content-type"], "text/x-test");
  });
}

test("HEAD reaches the upstream as HEAD and has no body", async () => {
  const id = await storefront();
  const path = `/${uniqueName("head")}`;
  const response = await send(worker, `/stores/${id}${path}`, { method: "HEAD" });
  assert.equal(response.status, 200);
  assert.equal(response.text, "");
  assert.equal(response.headers["x-storefront-id"], id);
  assert.equal(upstream.requests.find(({ url }) => url === path).method, "HEAD");
});

test("the response names the Worker and the storefront, in place of the upstream's fields", async () => {
  const id = await storefront();
  const url = upstream.serve((_request, response) => {
    response.writeHead(200, { "x-served-by": "upstream", "x-storefront-id": "other", "x-own": "1" });
    response.end("ok");
  });
  const { headers, text } = await send(worker, `/stores/${id}${new URL(url).pathname}`);
  assert.equal(headers["x-served-by"], "Cloudflare Worker");
  assert.equal(headers["x-storefront-id"], id);
  assert.equal(headers["x-own"], "1");
  assert.equal(text, "ok");
});

const paths = [
  ["", "/"],
  ["?q=1", "/?q=1"],
  ["/", "/"],
  ["/?q=1", "/?q=1"],
  ["/a", "/a"],
  ["/a/", "/a/"],
  ["//", "//"],
  ["//a", "//a"],
  ["/a//b///c/", "/a//b///c/"],
  ["/a%2Fb", "/a%2Fb"],
  ["/a%2fb", "/a%2fb"],
  ["/a%20b", "/a%20b"],
  ["/%41", "/%41"],
  ["/%zz", "/%zz"],
  ["/100%", "/100%"],
  ["/%C3%A9%ff", "/%C3%A9%ff"],
  ["/a+b", "/a+b"],
  ["/a;v=1,2", "/a;v=1,2"],
  ["/:@!$&'()*", "/:@!$&'()*"],
  ["/a?q=%20+a&q=b&&c", "/a?q=%20+a&q=b&&c"],
  ["/a?q=a/../b//c", "/a?q=a/../b//c"],
  ["/a?u=https://other.example/", "/a?u=https://other.example/"],
  ["/a/../b", "/b"],
  ["/stores/other/x", "/stores/other/x"],
];
for (const [after, arrives] of paths) {
  test(`what follows the id, ${JSON.stringify(after)}, arrives as ${arrives}`, async () => {
    const plain = await storefront();
    assert.equal((await send(worker, `/stores/${plain}${after}`)).json().url, arrives);
    for (const base of ["/shop", "/shop/", "/a//b%2Fc"]) {
      const id = await storefront(base);
      const response = await send(worker, `/stores/${id}${after}`);
      assert.equal(response.json().url, base.replace(/\/$/, "") + arrives);
    }
  });
}

const hostile = [
  ["//evil.example/x", "//evil.example/x"],
  ["///evil.example", "///evil.example"],
  ["/\\evil.example/x", "//evil.example/x"],
  ["/\\\\evil.example/x", "///evil.example/x"],
  ["/@evil.example/", "/@evil.example/"],
  ["/:8080/", "/:8080/"],
  ["/http://evil.example/", "/http://evil.example/"],
  ["/%2f%2fevil.example", "/%2f%2fevil.example"],
  ["/%5cevil.example", "/%5cevil.example"],
  ["/..%2f..%2fadmin", "/..%2f..%2fadmin"],
  ["?@evil.example", "/?@evil.example"],
  ["/%23@evil.example", "/%23@evil.example"],
  ["/%00", "/%00"],
  ["/%0d%0aHost:%20evil.example", "/%0d%0aHost:%20evil.example"],
];
for (const [after, arrives] of hostile) {
  test(`the path ${JSON.stringify(after)} does not change the host`, async () => {
    const id = await storefront();
    const response = await send(worker, `/stores/${id}${after}`);
    assert.equal(response.status, 200, response.text);
    const received = response.json();
    assert.equal(received.url, arrives);
    assert.equal(received.headers.host, `127.0.0.1:${upstream.port}`);
  });
}

test("no path leaves the upstream's base path", async () => {
  const id = await storefront("/shop");
  for (const [after, status, ...urls] of [
    ["/../../admin", 404],
    ["/%2e%2e/%2E%2E/admin", 404],
    ["/x/..\\..\\admin", 404],
    ["/x/../y/%2e%2e/admin", 200, "/shop/admin"],
  ]) {
    const before = upstream.requests.length;
    assert.equal((await send(worker, `/stores/${id}${after}`)).status, status, after);
    assert.deepEqual(
      upstream.requests.slice(before).map(({ url }) => url),
      urls,
    );
  }
});

const ids = [
  ["two%20words", "two words"],
  ["caf%C3%A9", "café"],
  ["%E6%97%A5%E6%9C%AC", "日本"],
  ["a%2Fb", "a/b"],
  ["line%0Abreak", "line\nbreak"],
  ["100%25", "100%"],
  ["a+b", "a+b"],
];
for (const [encoded, id] of ids) {
  test(`the id ${encoded} is the key ${JSON.stringify(id)}`, async () => {
    await ROUTING_CONFIG.put(id, JSON.stringify({ origin: upstream.origin }));
    const response = await send(worker, `/stores/${encoded}/x`);
    assert.equal(response.status, 200, response.text);
    assert.equal(response.json().url, "/x");
    assert.match(response.headers["x-storefront-id"], /^[\x20-\x7e]+$/);
  });
}

test("a request body streams: the upstream has its beginning before the client has sent its end", async () => {
  const id = await storefront();
  const path = `/${uniqueName("upload")}`;
  const { request, response } = openRequest(worker, `/stores/${id}${path}`, { method: "POST" });
  request.write("first,");
  const record = await eventually(
    () => upstream.requests.find(({ url, chunks }) => url === path && chunks.length > 0),
    "the beginning of the body at the upstream",
  );
  assert.equal(Buffer.concat(record.chunks).toString(), "first,");
  request.end("last");
  const received = await response;
  const body = Buffer.concat(await received.toArray()).toString();
  assert.equal(Buffer.from(JSON.parse(body).body, "base64").toString(), "first,last");
});

test("a response streams: the client has its beginning before the upstream has sent its end", async () => {
  const id = await storefront();
  let finish;
  const url = upstream.serve((_request, response) => {
    response.writeHead(200, { "content-type": "text/plain" });
    response.write("first,");
    finish = () => response.end("last");
  });
  const { request, response } = openRequest(worker, `/stores/${id}${new URL(url).pathname}`);
  request.end();
  const received = await response;
  const [first] = await once(received, "data");
  assert.equal(first.toString(), "first,");
  finish();
  assert.equal(Buffer.concat(await received.toArray()).toString(), "last");
  assert.equal(received.complete, true);
});

test("ten MiB pass unchanged in both directions", async () => {
  const id = await storefront();
  const bytes = randomBytes(10 * 1024 * 1024);
  const url = upstream.serve((request, response) => {
    response.writeHead(200, { "content-type": "application/octet-stream" });
    request.pipe(response);
  });
  const path = `/stores/${id}${new URL(url).pathname}`;
  const response = await send(worker, path, { method: "PUT", body: bytes });
  assert.equal(response.complete, true);
  assert.equal(response.bytes.length, bytes.length);
  assert.equal(sha256(response.bytes), sha256(bytes));
});

for (const status of [201, 204, 304, 400, 404, 418, 500, 503]) {
  test(`the upstream's ${status} is passed on unchanged`, async () => {
    const id = await storefront();
    const url = upstream.serve((_request, response) => {
      response.writeHead(status, { "x-own": "1" });
      response.end(status === 204 || status === 304 ? undefined : "the upstream's words");
    });
    const response = await send(worker, `/stores/${id}${new URL(url).pathname}`);
    assert.equal(response.status, status);
    assert.equal(response.headers["x-own"], "1");
    assert.equal(response.headers["x-storefront-id"], id);
    assert.equal(response.text, status === 204 || status === 304 ? "" : "the upstream's words");
  });
}

for (const status of [600, 999]) {
  test(`a status ${status} of the upstream, which HTTP does not have, causes a 502`, async () => {
    const id = await storefront();
    const url = upstream.serve((_request, response) => response.writeHead(status).end("odd"));
    assertProblem(await sendForJson(worker, `/stores/${id}${new URL(url).pathname}`), 502, "origin_failed");
  });
}

for (const status of [301, 302, 303, 307, 308]) {
  test(`the upstream's redirect ${status} is passed on to the client, not followed`, async () => {
    const id = await storefront();
    const target = upstream.serve((_request, response) => response.end("followed"));
    const url = upstream.serve(respondWithRedirect(target, status));
    const response = await send(worker, `/stores/${id}${new URL(url).pathname}`, { method: "POST", body: "x" });
    assert.equal(response.status, status);
    assert.equal(response.headers.location, new URL(`/stores/${id}${new URL(target).pathname}`, worker.url).href);
    assert.equal(upstream.requestCount(target), 0);
  });
}

test("each Set-Cookie of the upstream arrives", async () => {
  const id = await storefront();
  const cookies = ["a=1; Path=/; HttpOnly", "b=2; Expires=Wed, 21 Oct 2037 07:28:00 GMT"];
  const url = upstream.serve((_request, response) => {
    response.writeHead(200, { "set-cookie": cookies });
    response.end();
  });
  const response = await send(worker, `/stores/${id}${new URL(url).pathname}`);
  assert.deepEqual(
    response.headers["set-cookie"].map((cookie) => cookie.split("; ").sort()),
    [["a=1", "HttpOnly", `Path=/stores/${id}`].sort(), ["b=2", "Expires=Wed, 21 Oct 2037 07:28:00 GMT", `Path=/stores/${id}`].sort()],
  );
});

test("a compressed response is readable for the client", async () => {
  const id = await storefront();
  const text = "compressed ".repeat(500);
  const url = upstream.serve((_request, response) => {
    response.writeHead(200, { "content-type": "text/plain", "content-encoding": "gzip" });
    response.end(gzipSync(text));
  });
  const response = await fetch(new URL(`/stores/${id}${new URL(url).pathname}`, worker.url));
  assert.equal(await response.text(), text);
});

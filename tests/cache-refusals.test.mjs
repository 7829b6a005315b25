// `GET /cache?url=U`: URLs that are refused, upstreams that fail, long pages, redirects.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { eventually } from "./harness/eventually.mjs";
import { send, sendForJson } from "./harness/http.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";
import { breakInBody, closedOrigin, respondWithPage, respondWithRedirect, startUpstream, unlistedUrls } from "./harness/upstream.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startUpstream();
const second = await startUpstream();
const unlisted = await startUpstream();
const closed = await closedOrigin();
const worker = await startWorker({
  vars: { CACHE_UPSTREAMS: `${upstream.origin}, ${second.origin}/ ,${closed},https://exact.invalid` },
});
const { CACHE_KV } = worker.env;

const MIB = 1024 * 1024;
const html = "<title>A page</title><body>words</body>";
const pathOf = (url) => `/cache?url=${encodeURIComponent(url)}`;
const cached = (url) => send(worker, pathOf(url));
const cachedForJson = (url) => sendForJson(worker, pathOf(url));

async function assertNothingStored(url) {
  assert.equal(await CACHE_KV.get(`page:${url}`), null);
}

for (const query of ["", "?", "?url", "?url=", "?URL=x", "?u=http://a.example/"]) {
  test(`/cache${query} gets 400: there is no url`, async () => {
    assertPlainError(await send(worker, `/cache${query}`), 400, "Please provide a url query parameter");
    assertProblem(await sendForJson(worker, `/cache${query}`), 400, "missing_url");
  });
}

for (const encoded of ["%", "http://%zz", "http://127.0.0.1/%ff"]) {
  test(`the percent-encoding url=${encoded} gets 400`, async () => {
    assertProblem(await sendForJson(worker, `/cache?url=${encoded}`), 400, "bad_percent_encoding");
  });
}

const { port } = upstream;
const invalid = [
  "not a url",
  "/relative",
  "//127.0.0.1/",
  `127.0.0.1:${port}/`,
  "http://",
  "http:///",
  "http://[/",
  "http://a b/",
  "http://127.0.0.1:99999/",
  "ftp://127.0.0.1/",
  "file:///etc/passwd",
  "javascript:alert(1)",
  "data:text/html,<title>x</title>",
  "ws://127.0.0.1/",
  `http://user@127.0.0.1:${port}/`,
  `http://user:password@127.0.0.1:${port}/`,
  `http://127.0.0.1:${port}@unlisted.invalid/`,
];
for (const url of invalid) {
  test(`${url.replaceAll(port, "PORT")} is no http(s) URL that may be fetched: 400`, async () => {
    assertProblem(await cachedForJson(url), 400, "invalid_url");
    assertPlainError(await cached(url), 400, /./);
  });
}

const refused = [
  ...unlistedUrls(port, unlisted),
  `https://unlisted.invalid/?${upstream.origin}`,
  `https://unlisted.invalid/#${upstream.origin}`,
  `http://unlisted.invalid\\@127.0.0.1:${port}/x`,
  "http://[::1]/x",
  "http://169.254.169.254/x",
];
for (const url of refused) {
  const name = url.replace(unlisted.origin, "http://127.0.0.1:ANOTHER").replaceAll(port, "PORT");
  test(`the origin of ${name} is not on CACHE_UPSTREAMS: 403, and nothing is fetched`, async () => {
    assertProblem(await cachedForJson(url), 403, "upstream_not_allowed");
    assertPlainError(await cached(url), 403, /./);
    assert.deepEqual(unlisted.requests, []);
    assert.ok(upstream.requests.every((request) => request.url !== "/x"));
  });
}

for (const [name, url] of [
  ["in capitals", `HTTP://127.0.0.1:${port}`],
  ["with the address written otherwise", `http://0x7f.1:${port}`],
  ["with a tab in it", `http://127.0.\t0.1:${port}`],
]) {
  test(`an allowed origin ${name} is the same origin`, async () => {
    const served = upstream.serve(respondWithPage(html));
    const response = await cached(url + new URL(served).pathname);
    assert.equal(response.status, 200, response.text);
    assert.equal(response.json().data.title, "A page");
  });
}

test("an upstream that cannot be reached causes a 502", async () => {
  assertProblem(await cachedForJson(`${closed}/x`), 502, "upstream_failed");
  assertPlainError(await cached(`${closed}/x`), 502, /./);
  await assertNothingStored(`${closed}/x`);
});

test("an upstream that ends the connection without a response causes a 502", async () => {
  const url = upstream.serve((request) => request.socket.destroy());
  assertProblem(await cachedForJson(url), 502, "upstream_failed");
  await assertNothingStored(url);
});

for (const [name, handler] of [
  ["in chunks", breakInBody()],
  ["with a Content-Length", breakInBody({ length: 1000 })],
]) {
  test(`an upstream that dies in the middle of a body ${name} causes a 502, and nothing is stored`, async () => {
    const url = upstream.serve(handler);
    assertProblem(await cachedForJson(url), 502, "upstream_failed");
    await assertNothingStored(url);
    // The next visitor does not get half a page either.
    assertProblem(await cachedForJson(url), 502, "upstream_failed");
  });
}

for (const [name, headers] of [
  ["in chunks", {}],
  ["with a Content-Length", { "content-length": 8 * MIB + 1 }],
]) {
  test(`a page of more than 8 MiB ${name} causes a 502, and nothing is stored`, async () => {
    const filled = `<title>T</title><body>words${" ".repeat(8 * MIB + 1 - 27)}`;
    assert.equal(filled.length, 8 * MIB + 1);
    const url = upstream.serve(respondWithPage(filled, { headers }));
    const response = await cachedForJson(url);
    assertProblem(response, 502, "upstream_failed");
    assert.match(response.json().detail, /longer than 8 MiB/);
    await assertNothingStored(url);
  });
}

test("an unclosed element in the head does not hide the body", async () => {
  const response = await cached(upstream.serve(respondWithPage("<head><template><link></head><body>words</body>")));
  assert.equal(response.json().data.content, "words");
});

test("the limit applies to the decompressed page", async () => {
  const bomb = gzipSync(`<title>T</title><body>${"word ".repeat(3 * MIB)}`);
  const headers = { "content-encoding": "gzip", "content-length": bomb.length };
  const url = upstream.serve(respondWithPage(bomb, { headers }));
  assertProblem(await cachedForJson(url), 502, "upstream_failed");
  await assertNothingStored(url);
});

test("a compressed page is read", async () => {
  const packed = gzipSync("<title>T</title><body>packed words");
  const headers = { "content-encoding": "gzip", "content-length": packed.length };
  const response = await cached(upstream.serve(respondWithPage(packed, { headers })));
  assert.equal(response.json().data.content, "packed words");
});

test("a page of 8 MiB is read", async () => {
  const filled = `<title>T</title><body>words${" ".repeat(8 * MIB - 27)}`;
  const response = await cached(upstream.serve(respondWithPage(filled)));
  assert.equal(response.status, 200, response.text);
  assert.equal(response.json().data.content, "words");
});

for (const status of [301, 302, 303, 307, 308]) {
  test(`a redirect ${status} to an allowed origin is followed, and stored under the requested URL`, async () => {
    const target = second.serve(respondWithPage(html));
    const url = upstream.serve(respondWithRedirect(target, status));
    const miss = await cached(url);
    assert.equal(miss.status, 200, miss.text);
    assert.equal(miss.json().data.title, "A page");
    // The upstream's Date is in whole seconds, so the response may seem to be a second old.
    assert.match(miss.headers["cache-status"], /fwd-status=200; stored; ttl=(59|60)$/);
    await eventually(async () => (await cached(url)).json().fromCache, "the page is stored");
    assert.ok(second.requestCount(target) >= 1);
    assert.equal(await CACHE_KV.get(`page:${target}`), null);
  });
}

test("a relative redirect is followed", async () => {
  const target = upstream.serve(respondWithPage(html));
  const url = upstream.serve(respondWithRedirect(new URL(target).pathname.slice(1)));
  assert.equal((await cached(url)).json().data.title, "A page");
});

function chain(length, target) {
  let next = target;
  for (let hops = 0; hops < length; hops += 1) next = upstream.serve(respondWithRedirect(next));
  return next;
}

test("five redirects are followed, a sixth is not: 502", async () => {
  const target = upstream.serve(respondWithPage(html));
  assert.equal((await cached(chain(5, target))).json().data.title, "A page");
  assertProblem(await cachedForJson(chain(6, target)), 502, "upstream_redirect");
  assert.equal(upstream.requestCount(target), 1);
});

test("redirects in a loop end: 502", async () => {
  const path = "/loop";
  upstream.serve(respondWithRedirect(upstream.origin + path), path);
  assertProblem(await cachedForJson(upstream.origin + path), 502, "upstream_redirect");
  await assertNothingStored(upstream.origin + path);
});

for (const [name, location] of [
  ["an origin off the list", () => `${unlisted.origin}/landed`],
  ["another scheme", () => `https://127.0.0.1:${port}/landed`],
  ["a file", () => "file:///etc/passwd"],
  ["a user and password", () => `http://user:password@127.0.0.1:${port}/landed`],
  ["what is no URL", () => "http://["],
  ["a host through //", () => `//127.0.0.1:${unlisted.port}/landed`],
]) {
  test(`a redirect to ${name} is not followed: 502, and nothing is stored`, async () => {
    const url = upstream.serve(respondWithRedirect(location()));
    const problem = assertProblem(await cachedForJson(url), 502, "upstream_redirect");
    assert.ok(!problem.detail.includes("landed"));
    assert.deepEqual(unlisted.requests, []);
    assert.equal(upstream.requestCount("/landed"), 0);
    await assertNothingStored(url);
  });
}

// `/stores/{id}/…`: the requests that reach no upstream, and upstreams that fail.
import assert from "node:assert/strict";
import { test } from "node:test";
import { send, sendForJson } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";
import { breakInBody, closedOrigin, startUpstream } from "./harness/upstream.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startUpstream();
const unlisted = await startUpstream();
const closed = await closedOrigin();
const worker = await startWorker({
  vars: {
    // Written as people write lists. `.invalid` is never a host (RFC 6761), so a fetch from it
    // fails once it is tried.
    ROUTING_ORIGINS: ` ${upstream.origin} ,${closed}/,,https://*.shops.invalid, https://exact.invalid:8443, not an upstream`,
  },
});
const { ROUTING_CONFIG } = worker.env;

async function storefront(record) {
  const id = uniqueName("shop");
  await ROUTING_CONFIG.put(id, typeof record === "string" ? record : JSON.stringify(record));
  return id;
}

for (const path of ["/stores", "/stores/", "/stores?x=1", "/stores//", "/stores//a", "/stores/../stores/"]) {
  test(`${path} names no storefront and gets 400 with the welcome text`, async () => {
    assertPlainError(await send(worker, path), 400, "Welcome to our multi-tenant platform. Please specify a storefront ID in the URL path.");
    assertProblem(await sendForJson(worker, path, { method: "POST" }), 400, "missing_storefront_id");
  });
}

for (const [path, id] of [
  ["/stores/x", "x"],
  ["/stores/nobody/a/b?c", "nobody"],
  ["/stores/caf%C3%A9/", "café"],
  ["/stores/a%2Fb/", "a/b"],
  ["/stores/../stores/y", "y"],
]) {
  test(`${path}: no such storefront, 404 with the decoded id`, async () => {
    assertPlainError(await send(worker, path), 404, `Storefront "${id}" not found.`);
    const problem = assertProblem(await sendForJson(worker, path), 404, "storefront_not_found");
    assert.equal(problem.detail, `Storefront "${id}" not found.`);
  });
}

for (const id of ["%", "%zz", "x%2", "%ff", "%C3%28"]) {
  test(`the id ${id}, which cannot be decoded, gets 400`, async () => {
    assertProblem(await sendForJson(worker, `/stores/${id}/x`), 400, "bad_percent_encoding");
  });
}

test("an id of 512 bytes is looked up, one of 513 cannot be a key", async () => {
  assert.equal((await send(worker, `/stores/${"k".repeat(512)}/`)).status, 404);
  assertProblem(await sendForJson(worker, `/stores/${"k".repeat(513)}/`), 400, "invalid_key");
  assertProblem(await sendForJson(worker, `/stores/${encodeURIComponent("€".repeat(171))}/`), 400, "invalid_key");
});

const brokenRecords = [
  "not json",
  "",
  "{",
  "null",
  "[]",
  "42",
  '"http://127.0.0.1"',
  {},
  { origin: null },
  { origin: 7 },
  { origin: "" },
  { origin: "not a url" },
  { origin: "/relative" },
  { origin: "//127.0.0.1" },
  { origin: "ftp://127.0.0.1" },
  { origin: "javascript:alert(1)" },
  { origin: "http://" },
  { origin: "http://user:password@127.0.0.1" },
  { origins: [upstream.origin] },
  [upstream.origin],
];
for (const record of brokenRecords) {
  test(`the record ${JSON.stringify(record)} is broken: 502`, async () => {
    const id = await storefront(record);
    assertProblem(await sendForJson(worker, `/stores/${id}/x`), 502, "broken_record");
    const plain = await send(worker, `/stores/${id}/x`);
    assertPlainError(plain, 502, /./);
  });
}

const { port } = upstream;
const refused = [
  unlisted.origin,
  `https://127.0.0.1:${port}`,
  `http://localhost:${port}`,
  "http://127.0.0.1",
  `http://127.0.0.1.evil.invalid:${port}`,
  "https://shops.invalid",
  "https://evilshops.invalid",
  "https://a.shops.invalid.evil.invalid",
  "https://a.shops.invalid:8443",
  "http://a.shops.invalid",
  "https://exact.invalid",
  "https://exact.invalid:8444",
  "https://not", // the first word of the entry that is no origin
];
for (const origin of refused) {
  const name = origin.replaceAll(String(port), "PORT").replace(unlisted.origin, "http://127.0.0.1:ANOTHER");
  test(`the origin ${name} is not on ROUTING_ORIGINS: 502, and nothing is fetched`, async () => {
    const id = await storefront({ origin });
    const problem = assertProblem(await sendForJson(worker, `/stores/${id}/x`), 502, "origin_not_allowed");
    // The response does not reveal the storefront's upstream.
    assert.ok(!problem.detail.includes(origin));
    assert.deepEqual(unlisted.requests, []);
    assert.ok(upstream.requests.every(({ url }) => url !== "/x"));
  });
}

for (const origin of ["https://a.shops.invalid", "https://a.b.shops.invalid", "https://exact.invalid:8443"]) {
  test(`the origin ${origin} is on ROUTING_ORIGINS: it is tried`, async () => {
    const id = await storefront({ origin });
    assertProblem(await sendForJson(worker, `/stores/${id}/x`), 502, "origin_failed");
  });
}

test("neither a path nor a scheme in capitals matters for ROUTING_ORIGINS", async () => {
  const id = await storefront({ origin: `HTTP://127.0.0.1:${port}/base` });
  assert.equal((await send(worker, `/stores/${id}/y`)).json().url, "/base/y");
});

for (const method of ["GET", "POST"]) {
  test(`an upstream that cannot be reached causes a 502 (${method})`, async () => {
    const id = await storefront({ origin: closed });
    const body = method === "POST" ? "x" : undefined;
    assertProblem(await sendForJson(worker, `/stores/${id}/x`, { method, body }), 502, "origin_failed");
    assertPlainError(await send(worker, `/stores/${id}/x`, { method, body }), 502, /./);
  });
}

test("an upstream that ends the connection without a response causes a 502", async () => {
  const id = await storefront({ origin: upstream.origin });
  const url = upstream.serve((request) => request.socket.destroy());
  const path = `/stores/${id}${new URL(url).pathname}`;
  assertProblem(await sendForJson(worker, path), 502, "origin_failed");
});

for (const [name, handler] of [
  ["in chunks", breakInBody()],
  ["with a Content-Length", breakInBody({ length: 1000 })],
]) {
  test(`a body ${name} that the upstream breaks off is broken off for the client too`, async () => {
    const id = await storefront({ origin: upstream.origin });
    const url = upstream.serve(handler);
    const response = await send(worker, `/stores/${id}${new URL(url).pathname}`);
    assert.equal(response.status, 200);
    assert.equal(response.headers["x-storefront-id"], id);
    assert.equal(response.complete, false);
    assert.equal(response.text, "<title>Half</title><body>half");
  });
}

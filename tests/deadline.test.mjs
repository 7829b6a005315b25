// `UPSTREAM_TIMEOUT_MS`: `/cache` does not wait forever for a page, nor `/stores` for the head of
// a response. Tests that each request ends, not when.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openRequest, send, sendForJson } from "./harness/http.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";
import { neverRespond } from "./harness/raw-upstream.mjs";
import { stallInBody, startUpstream } from "./harness/upstream.mjs";
import { startWorker } from "./harness/worker.mjs";

// Long enough for a response over loopback on a busy machine.
const DEADLINE_MS = 1000;

const upstream = await startUpstream();
const worker = await startWorker({
  vars: {
    CACHE_UPSTREAMS: upstream.origin,
    ROUTING_ORIGINS: upstream.origin,
    UPSTREAM_TIMEOUT_MS: String(DEADLINE_MS),
  },
});
const { CACHE_KV, ROUTING_CONFIG } = worker.env;
await ROUTING_CONFIG.put("shop", JSON.stringify({ origin: upstream.origin }));

const cachePath = (url) => `/cache?url=${encodeURIComponent(url)}`;
const storePath = (url) => `/stores/shop${new URL(url).pathname}`;

for (const [name, handler] of [
  ["never responds", neverRespond],
  ["stops in the middle of a page", stallInBody],
]) {
  test(`/cache: an upstream that ${name} causes a 504, and nothing is stored`, async () => {
    const url = upstream.serve(handler);
    const [problem, plain] = await Promise.all([sendForJson(worker, cachePath(url)), send(worker, cachePath(url))]);
    assertProblem(problem, 504, "upstream_timeout");
    assertPlainError(plain, 504, /./);
    assert.equal(await CACHE_KV.get(`page:${url}`), null);
  });
}

test("/cache: an upstream that hangs behind a redirect causes a 504", async () => {
  const url = upstream.serve((_request, response) => {
    response.writeHead(302, { location: upstream.serve(neverRespond) });
    response.end();
  });
  assertProblem(await sendForJson(worker, cachePath(url)), 504, "upstream_timeout");
});

test("/cache: a stored page is served while its upstream hangs", async () => {
  const url = upstream.serve(neverRespond);
  const data = { title: "T", content: "c", lastUpdated: "2026-01-01T00:00:00.000Z" };
  await CACHE_KV.put(`page:${url}`, JSON.stringify(data));
  assert.deepEqual((await send(worker, cachePath(url))).json(), { data, fromCache: true });
});

for (const method of ["GET", "POST"]) {
  test(`/stores: an upstream that never responds causes a 504 (${method})`, async () => {
    const path = storePath(upstream.serve(neverRespond));
    const body = method === "POST" ? "a body" : undefined;
    const options = { method, body };
    const [problem, plain] = await Promise.all([sendForJson(worker, path, options), send(worker, path, options)]);
    assertProblem(problem, 504, "origin_timeout");
    assertPlainError(plain, 504, /./);
  });
}

test("/stores: an upload that takes longer than the deadline is not cut off", async () => {
  // The upstream echoes requests for which it has no handler.
  const { request, response } = openRequest(worker, "/stores/shop/upload", { method: "POST" });
  request.write("first half, ");
  await sleep(2 * DEADLINE_MS);
  request.end("second half");
  const received = await response;
  assert.equal(received.statusCode, 200);
  const echoed = JSON.parse(Buffer.concat(await received.toArray()).toString());
  assert.equal(Buffer.from(echoed.body, "base64").toString(), "first half, second half");
});

test("/stores: the deadline applies to the head of the response; a slow body is not cut off", async () => {
  const url = upstream.serve(async (_request, response) => {
    response.writeHead(200, { "content-type": "text/plain" });
    response.write("slow, ");
    await sleep(2 * DEADLINE_MS);
    response.end("but whole");
  });
  const response = await send(worker, storePath(url));
  assert.equal(response.status, 200);
  assert.equal(response.complete, true);
  assert.equal(response.text, "slow, but whole");
});

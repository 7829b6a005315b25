// Visitors' own faults, what a visitor and the log get to see of an upstream's, and which of an
// upstream's fields are dropped under a path prefix.
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { openRequest, send, sendForJson } from "./harness/http.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { neverRespond, respond, respondFailure, respondOk, startRawUpstreams } from "./harness/raw-upstream.mjs";
import { storefrontsOf } from "./harness/storefronts.mjs";
import { startWorker } from "./harness/worker.mjs";

const { routingOrigins, upstreamOf } = await startRawUpstreams(30);
const worker = await startWorker({ vars: { ROUTING_ORIGINS: routingOrigins, UPSTREAM_TIMEOUT_MS: "5000" } });
const storefronts = storefrontsOf(worker);

async function shop(handler, record = {}) {
  const upstream = upstreamOf(handler);
  return { upstream, id: await storefronts.add({ origin: upstream.origin, ...record }) };
}

const get = (id, headers) => sendForJson(worker, `/stores/${id}/x`, { headers });

for (const method of ["GET", "HEAD"]) {
  test(`${method} with an empty body, Content-Length: 0, reaches the upstream without one`, async () => {
    const { upstream, id } = await shop(respondOk());
    const response = await send(worker, `/stores/${id}/x`, { method, headers: { "Content-Length": "0" } });
    assert.equal(response.status, 200);
    assert.equal(upstream.requests.length, 1);
    assert.equal(upstream.requests[0].method, method);
    for (const name of ["Content-Length", "Transfer-Encoding"]) assert.equal(upstream.requests[0].field(name), undefined);
  });
}

test("GET with a body, which the platform cannot send, gets 400, and is not a failure of the upstream", async () => {
  const { upstream, id } = await shop(respondOk());
  for (let requests = 0; requests < 6; requests += 1) {
    const response = await sendForJson(worker, `/stores/${id}/x`, { body: "a body" });
    assertProblem(response, 400, "unexpected_body");
  }
  assert.equal(upstream.requests.length, 0);
  assert.equal((await get(id)).status, 200);
});

test("uploads that stall until the deadline do not open the circuit for others", async () => {
  const { id } = await shop(respondOk());
  const slow = await storefronts.add({ origin: upstreamOf(neverRespond).origin, timeoutMs: 100 });
  const uploads = Array.from({ length: 6 }, async () => {
    const { request, response } = openRequest(worker, `/stores/${slow}/x`, { method: "POST" });
    request.write("the beginning");
    const { statusCode } = await response;
    request.on("error", () => {}).destroy();
    return statusCode;
  });
  assert.deepEqual(await Promise.all(uploads), Array(6).fill(504));
  assertProblem(await get(slow), 504, "origin_timeout");
  assert.equal((await get(id)).status, 200);
});

test("a request that hangs is not retried at another variant, which still serves its own visitors", async () => {
  const good = upstreamOf(respondOk());
  const variants = [
    { name: "hangs", origin: upstreamOf(neverRespond).origin, weight: 1 },
    { name: "good", origin: good.origin, weight: 1 },
  ];
  const split = { by: "header", name: "X-Group" };
  const id = await storefronts.add({ variants, split, timeoutMs: 300 });
  for (let requests = 0; requests < 2; requests += 1) {
    const late = await get(id, { "X-Group": "hangs" });
    assertProblem(late, 504, "origin_timeout");
    assert.equal(late.headers["x-variant"], "hangs");
    assert.equal(late.headers["x-storefront-id"], id);
    assert.equal(late.headers["x-served-by"], "Cloudflare Worker");
  }
  assert.equal(good.requests.length, 0, "there is no second try after the deadline");
  assert.equal((await get(id, { "X-Group": "good" })).headers["x-variant"], "good");
});

test("fields that would affect other storefronts are dropped under a path prefix", async () => {
  const fields = ["Service-Worker-Allowed: /", 'Clear-Site-Data: "*"'];
  const { id } = await shop(respond("200 OK", fields));
  const { headers } = await get(id);
  assert.equal(headers["service-worker-allowed"], undefined);
  assert.equal(headers["clear-site-data"], undefined);
});

test("a missing fallback page is logged, and the failure is the response", async () => {
  const { id } = await shop(respondFailure(), { fallback: { asset: "nowhere.html" } });
  assert.equal((await get(id)).status, 503);
  const isMeant = ({ code, detail }) => code === "fallback_failed" && detail.startsWith(id);
  const { detail } = await eventually(() => worker.log().find(isMeant), "a line in the log");
  assert.match(detail, /the page nowhere\.html of assets: Not found/);
});

test("a maintenance page has the request id of its log line", async () => {
  await worker.env.assets.put("back-soon.html", "<p>Back soon");
  const { id } = await shop(respondFailure(), { fallback: { asset: "back-soon.html" } });
  const { status, text, headers } = await get(id);
  assert.deepEqual([status, text, headers["routing-source"]], [503, "<p>Back soon", "fallback"]);
  const isMeant = ({ requestId, code }) => code === "maintenance" && requestId === headers["x-request-id"];
  await eventually(() => worker.log().some(isMeant), "a line in the log");
});

test("the log names the storefront and the upstream of a failure, a retry and a circuit that opens", async () => {
  const { upstream, id } = await shop(respondFailure());
  for (let requests = 0; requests < 5; requests += 1) assert.equal((await get(id)).status, 503);
  assertProblem(await get(id), 502, "circuit_open");
  const place = `${id}: ${upstream.origin}`;
  const logged = () => worker.log().filter(({ detail }) => detail.startsWith(place));
  await eventually(() => logged().some(({ code }) => code === "circuit_open"), "the last line in the log");
  const codes = logged().map(({ code }) => code);
  // The fifth failure opens the circuit, so that request is not retried.
  assert.equal(codes.filter((code) => code === "tried_again").length, 4);
  assert.equal(codes.filter((code) => code === "circuit_opened").length, 1);
  assert.equal(codes.filter((code) => code === "circuit_open").length, 1);
});

// METRICS: each isolate counts what its routes do and hands its counts over to one object, whose
// counts `GET /metrics` shows to those who may see them. What is counted of each kind of request.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { pushAssets } from "./harness/assets.mjs";
import { eventually } from "./harness/eventually.mjs";
import { send } from "./harness/http.mjs";
import { freshFor } from "./harness/http-cache.mjs";
import { NAMESPACES as API_NAMESPACES, signToken } from "./harness/kv-api.mjs";
import { since, startMetrics } from "./harness/metrics.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { startScriptedUpstream } from "./harness/scripted-upstream.mjs";
import { makeFolder } from "./harness/tool.mjs";
import { bearer, startWorker } from "./harness/worker.mjs";

const NAMESPACES = `/client/v4${API_NAMESPACES}`;

const shop = await startScriptedUpstream();
shop.serveByDefault({ body: "shop" });
const { worker, resource, advanceClock, get, authorized, control, handedOver, waitUntilQuiet } = await startMetrics({ vars: { ROUTING_ORIGINS: shop.origin } });
const { env } = worker;

describe("what a route counts", () => {
  test("the put of a coalesced write counts to KEY_WRITER, the write itself to its route", async () => {
    const key = uniqueName("coalesced");
    const before = await handedOver();
    assert.equal((await authorized(`/writes/${key}?strategy=coalesce`, { method: "POST", body: "v" })).status, 200);
    const after = await handedOver();
    assert.deepEqual(since(before, after, "/writes/{key}"), { requests: 1, statuses: { 200: 1 }, objectCalls: 1 });
    assert.deepEqual(since(before, after, "KEY_WRITER"), { writes: 1, statuses: {} });
  });

  test("a storefront's record is read once, and then comes from memory", async () => {
    await env.ROUTING_CONFIG.put("coffee", JSON.stringify({ origin: shop.origin }));
    const before = await handedOver();
    for (let n = 0; n < 3; n += 1) assert.equal((await get("/stores/coffee/")).status, 200);
    assert.deepEqual(since(before, await handedOver(), "/stores/{storefrontId}"), {
      requests: 3,
      statuses: { 200: 3 },
      reads: 1,
      keysRead: 1,
      memoryHits: 2,
      upstreamCalls: 3,
    });
  });

  test("a record that is refreshed after a response counts to the route of its request: from memory, and as a read", async () => {
    const id = uniqueName("refreshed");
    await env.USER_CONFIGURATION.put(id, JSON.stringify({ preview_features_enabled: true }));
    await env.ROUTING_CONFIG.put(id, JSON.stringify({ origin: shop.origin }));
    const requests = { "/config": `/config?userId=${id}`, "/stores/{storefrontId}": `/stores/${id}/` };
    const before = await handedOver();
    for (const path of Object.values(requests)) assert.equal((await get(path)).status, 200);
    await advanceClock(3);
    for (const path of Object.values(requests)) assert.equal((await get(path)).status, 200);
    await advanceClock(-3);
    await waitUntilQuiet();
    const after = await handedOver();
    const ofRoute = { requests: 2, statuses: { 200: 2 }, reads: 2, keysRead: 2, memoryHits: 1 };
    assert.deepEqual(since(before, after, "/config"), ofRoute);
    assert.deepEqual(since(before, after, "/stores/{storefrontId}"), { ...ofRoute, upstreamCalls: 2 });
  });

  test("what happens after a response counts to its route: storing, and refreshing in the background", async () => {
    const page = resource({ headers: freshFor(5, "Cache-Control: stale-while-revalidate=60"), body: "page" });
    const before = await handedOver();
    await page.getAndStore();
    await advanceClock(11);
    await page.get();
    await page.waitForRequests(2);
    await eventually(async () => (await page.kvCalls("put")).length === 2, "the refreshed response is stored");
    await waitUntilQuiet();
    const { requests, writes, upstreamCalls } = since(before, await handedOver(), "/cache/{URL}");
    assert.deepEqual({ requests, writes, upstreamCalls }, { requests: 2, writes: 2, upstreamCalls: 2 });
  });

  test("a bulk write of 1,500 keys counts each put, and also requests that the Worker sends to itself", async () => {
    const pairs = Array.from({ length: 1500 }, (_, n) => ({ key: `bulk-${n}`, value: "v" }));
    const before = await handedOver();
    const known = (await control("/.invocations")).length;
    assert.equal((await authorized(`${NAMESPACES}/WRITES/bulk`, { method: "PUT", body: JSON.stringify(pairs) })).status, 200);
    const { requests, writes } = since(before, await handedOver(), "/client/v4");
    const puts = (await control("/.kv-calls?under=bulk-")).filter(({ operation }) => operation === "put");
    assert.equal(writes, puts.length);
    const isOfApi = ({ path }) => path.startsWith("/client/v4/");
    assert.equal(requests, (await control("/.invocations")).slice(known).filter(isOfApi).length);
    assert.ok(requests > 1, `${requests} requests`);
  });

  test("a file in several values counts each read, also those after the response has begun", async () => {
    const film = randomBytes(45 * 1024 * 1024);
    await pushAssets(worker, makeFolder({ "film.bin": film }));
    await eventually(async () => (await get("/film.bin", { method: "HEAD" })).status === 200, "the release is served");
    await waitUntilQuiet();
    const before = await handedOver();
    const made = (await control("/.kv-calls?under=")).length;
    assert.ok((await get("/film.bin")).bytes.equals(film));
    const reads = (await control("/.kv-calls?under=")).slice(made).filter(({ operation }) => operation === "get");
    assert.ok(reads.length > 1, `${reads.length} reads`);
    assert.equal(since(before, await handedOver(), "/{key}").reads, reads.length);
  });

  test("the list of purges that a hit is checked against counts as a value from memory, too", async () => {
    const page = resource({ headers: freshFor(100), body: "page" });
    await page.getAndStore();
    const before = await handedOver();
    for (let n = 0; n < 3; n += 1) await page.get();
    const { requests, reads = 0, memoryHits } = since(before, await handedOver(), "/cache/{URL}");
    // A response that is not read comes from memory. The list may have to be read once.
    const listHits = memoryHits - (requests - reads);
    assert.ok(listHits === requests || listHits === requests - 1, `${listHits} of ${requests}`);
  });

  test("a file of a previous release counts three values from memory: the release, its own manifest, its bytes", async () => {
    const old = `/old.${randomBytes(8).toString("hex")}.css`;
    await pushAssets(worker, makeFolder({ [old.slice(1)]: "old {}" }));
    await pushAssets(worker, makeFolder({ "new.css": "new {}" }));
    await eventually(async () => (await get("/new.css")).status === 200, "the new release is served");
    assert.equal((await get(old)).text, "old {}");
    const before = await handedOver();
    assert.equal((await get(old)).text, "old {}");
    assert.equal(since(before, await handedOver(), "/{key}").memoryHits, 3);
  });

  test("the milliseconds are those that a request waits", async () => {
    const page = resource({ headers: ["Cache-Control: no-store"], body: "slow", delayMs: 300 });
    const before = await handedOver();
    await page.get();
    const after = await handedOver();
    const milliseconds = after["/cache/{URL}"].milliseconds - before["/cache/{URL}"].milliseconds;
    assert.ok(milliseconds >= 290, `${milliseconds} ms`);
  });
});

describe("GET /metrics", () => {
  test("it needs the token, and GET or HEAD", async () => {
    assertProblem(await get("/metrics"), 401, "unauthorized");
    assertProblem(await authorized("/metrics", { method: "POST" }), 405, "method_not_allowed");
    assert.equal((await authorized("/metrics", { method: "HEAD" })).status, 200);
  });

  test("the console's call takes two resolutions, and a token that may do everything", async () => {
    assertProblem(await authorized("/console/api/metrics?resolution=day"), 400, "unknown_resolution");
    assert.equal((await authorized("/console/api/metrics")).json().resolution, "minute");
    for (const query of ["period=0", "period=86401", "period=1h", "resolution=hour&period=2678401"])
      assertProblem(await authorized(`/console/api/metrics?${query}`), 400, "bad_period");
    assert.equal((await authorized("/console/api/metrics?resolution=hour&period=86401")).status, 200);
    const Authorization = `Bearer ${signToken({ namespace: "WRITES" })}`;
    assertProblem(await get("/console/api/metrics", { headers: { Authorization } }), 403, "out_of_scope");
    assert.equal((await authorized("/console/api/session")).json().metrics, true);
  });
});

test("with METRICS off, nothing is counted and no object is called", async () => {
  const off = await startWorker({ faulty: true });
  const request = (path) => send(off, path, { headers: bearer });
  for (let n = 0; n < 5; n += 1) await request("/healthz");
  await send(off, "/.clock?offsetMs=60000", { method: "PUT" });
  await request("/writes/a");
  assertProblem(await request("/metrics"), 404, "metrics_off");
  assertProblem(await request("/console/api/metrics"), 404, "metrics_off");
  assert.equal((await request("/console/api/session")).json().metrics, false);
  assert.equal((await (await request("/.object-calls")).json()).METRICS_STORE, 0);
});

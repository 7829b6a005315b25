// METRICS: each isolate counts what its routes do and hands its counts over to one object, whose
// counts `GET /metrics` shows. They are compared with the statuses that clients got, the calls
// that tests/faulty/entry.mjs recorded, and the requests that upstreams received.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { eventually } from "./harness/eventually.mjs";
import { send } from "./harness/http.mjs";
import { freshFor, startCache } from "./harness/http-cache.mjs";
import { NAMESPACES as API_NAMESPACES, signToken } from "./harness/kv-api.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { pythonWith } from "./harness/python.mjs";
import { startScriptedUpstream } from "./harness/scripted-upstream.mjs";
import { makeFolder, pushAssets } from "./harness/site.mjs";
import { bearer, startWorker } from "./harness/worker.mjs";
import { setFaults } from "./harness/writes.mjs";

const NAMESPACES = `/client/v4${API_NAMESPACES}`;

/** The routes that show the counts. A test does not count how often it reads them. */
const READING = new Set(["/metrics", "/console/api/{call}"]);

const shop = await startScriptedUpstream();
shop.serveByDefault({ body: "shop" });
const { worker, upstream, resource, advanceClock } = await startCache({
  restApi: true,
  vars: {
    METRICS: "on",
    CACHE_REFRESH: "2",
    CONFIG_REFRESH: "2",
    ROUTING_REFRESH: "2",
    ASSETS_REFRESH: "2",
    ROUTING_ORIGINS: shop.origin,
    KV_API_WRITABLE: "*",
    KV_API_NAMESPACES: "KV_NAMESPACES",
  },
});
const { env } = worker;

const get = (path, options) => send(worker, path, options);
const authorized = (path, { headers, ...options } = {}) => send(worker, path, { headers: { ...bearer, ...headers }, ...options });
const control = async (path) => (await send(worker, path)).json();

/** Returns the counts of each route in a resolution, added up. */
async function counts(resolution = "hour", at = worker) {
  const response = await send(at, `/console/api/metrics?resolution=${resolution}`, { headers: bearer });
  assert.equal(response.status, 200, response.text);
  const total = {};
  for (const { routes } of response.json().points) {
    for (const [route, { statuses, ...numbers }] of Object.entries(routes)) {
      total[route] ??= { statuses: {} };
      // Costs are exact to the billionth of a dollar, but not as sums of floating point numbers.
      for (const [name, number] of Object.entries(numbers)) total[route][name] = Math.round(((total[route][name] ?? 0) + number) * 1e9) / 1e9;
      for (const [status, number] of Object.entries(statuses)) total[route].statuses[status] = (total[route].statuses[status] ?? 0) + number;
    }
  }
  return total;
}

const requestsOf = (all, route) => all[route]?.requests ?? 0;

/** Requests to `/healthz` so far. Every hand-over of a test ends with one. */
let healthChecks = 0;
async function healthz() {
  healthChecks += 1;
  assert.equal((await get("/healthz")).status, 200);
}

/**
 * Makes the isolate hand over, and returns all counts once they contain those of every request so
 * far.
 */
async function handedOver() {
  await healthz();
  await advanceClock(11);
  await healthz();
  // The clock goes back, because an alarm that is set by a clock ahead of the real one comes late.
  await advanceClock(-11);
  return eventually(async () => {
    const all = await counts();
    return requestsOf(all, "/healthz") === healthChecks && all;
  }, "the counts are handed over");
}

/** Returns what a route has counted since `before`, without times, costs and what is 0. */
function since(before, after, route) {
  const [old, now] = [before[route] ?? { statuses: {} }, after[route] ?? { statuses: {} }];
  const difference = (a, b) =>
    Object.fromEntries(
      Object.keys(b)
        .map((name) => [name, b[name] - (a[name] ?? 0)])
        .filter(([, value]) => value !== 0),
    );
  const { statuses, milliseconds: _time, costDollars: _cost, ...numbers } = now;
  const { statuses: oldStatuses, ...oldNumbers } = old;
  return { ...difference(oldNumbers, numbers), statuses: difference(oldStatuses, statuses) };
}

/** Waits until KV was not called for a second and a half, and every call has ended. */
async function waitUntilQuiet() {
  let last = -1;
  let unchanged = 0;
  await eventually(async () => {
    const calls = await control("/.kv-calls?under=");
    unchanged = calls.length === last && calls.every(({ endedMs }) => endedMs !== undefined) ? unchanged + 1 : 0;
    last = calls.length;
    return unchanged > 60;
  }, "KV is quiet");
}

const OPERATIONS = { get: "reads", getWithMetadata: "reads", bulk: "reads", put: "writes", delete: "deletes", list: "lists" };

/** Adds KV calls up as the metrics do. */
function added(calls) {
  const sums = { reads: 0, keysRead: 0, writes: 0, deletes: 0, lists: 0 };
  for (const { operation, keys } of calls) {
    sums[OPERATIONS[operation]] += 1;
    if (OPERATIONS[operation] === "reads") sums.keysRead += keys?.length ?? 1;
  }
  return sums;
}

/** Adds the counts of KV of some routes up. */
function kvOf(all, isMeant) {
  const routes = Object.entries(all).filter(([route]) => isMeant(route));
  const sum = (name) => routes.reduce((total, [, numbers]) => total + numbers[name], 0);
  return Object.fromEntries(["reads", "keysRead", "writes", "deletes", "lists"].map((name) => [name, sum(name)]));
}

const isObject = (route) => route === "KEY_WRITER" || route === "NAMESPACE_LIST";

/** Returns a random number generator, always the same: `pick(list)` and `below(n)`. */
function randomness(seed) {
  let state = seed;
  const below = (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  return { below, pick: (list) => list[below(list.length)] };
}

describe("1,000 random requests to all routes but the console's calls", () => {
  const { below, pick } = randomness(20);

  /** Returns a random request: `[route, send]`. */
  function randomRequest(paths, id) {
    const key = `key-${below(20)}`;
    const value = `${NAMESPACES}/WRITES/values/${key}`;
    const page = pick(paths);
    return pick([
      ["/healthz", healthz],
      ["/get-started", () => get("/get-started")],
      ["/cache/{URL}", () => get(`/cache/${page}`, { method: pick(["GET", "GET", "GET", "HEAD", "POST", "TRACE"]) })],
      ["/cache/{URL}", () => get(`/cache/${page}?${below(30)}`)],
      ["/cache", () => get(`/cache?url=${encodeURIComponent(page)}`)],
      ["/cache", () => get("/cache")],
      ["/cache/purge", () => authorized("/cache/purge", { method: "POST", body: JSON.stringify({ urls: [page], soft: below(2) === 0 }) })],
      ["/config", () => get(`/config?userId=user-${below(9)}`)],
      ["/config", () => authorized("/config", { method: "POST", body: JSON.stringify({ userIds: Array.from({ length: 120 }, (_, n) => `user-${n}`) }) })],
      ["/ofrep/v1/evaluate/flags", () => evaluate("", `user-${below(9)}`)],
      ["/ofrep/v1/evaluate/flags/{key}", () => evaluate(pick(["/a", "/missing"]), `user-${below(9)}`)],
      ["/stores/{storefrontId}", () => get(pick([`/stores/${id}/x`, "/stores/missing", "/stores"]), { method: pick(["GET", "POST"]) })],
      ["/{key}", () => get(pick(["/", "/page.html", "/missing", `/missing-${below(50)}`]), { method: pick(["GET", "HEAD", "PUT"]) })],
      ["/hello-world", () => get("/hello-world", { headers: { "Accept-Language": pick(["de", "en", "fr"]) } })],
      ["/writes/{key}", () => authorized(`/writes/${key}?strategy=${pick(["direct", "backoff"])}`, { method: "POST", body: "v" })],
      ["/writes/{key}", () => authorized(`/writes/${key}?strategy=coalesce&wait=durable`, { method: "POST", body: "v" })],
      ["/writes/{key}", () => authorized(`/writes/${key}${pick(["", "?consistent=1"])}`)],
      ["/writes/{key}", () => get(`/writes/${key}`)],
      ["/client/v4", () => authorized(value, { method: "PUT", body: "v" })],
      ["/client/v4", () => authorized(value, { method: pick(["GET", "DELETE"]) })],
      ["/client/v4", () => authorized(`${NAMESPACES}/WRITES/metadata/${key}`)],
      ["/client/v4", () => authorized(`${NAMESPACES}/WRITES/keys?prefix=key-`)],
      ["/client/v4", () => authorized(`${NAMESPACES}/WRITES/bulk/get`, { method: "POST", body: JSON.stringify({ keys: ["key-1", "key-2", "key-3"] }) })],
      [
        "/client/v4",
        () =>
          authorized(`${NAMESPACES}/WRITES/bulk`, {
            method: "PUT",
            body: JSON.stringify([
              { key: `${key}-a`, value: "v" },
              { key: `${key}-b`, value: "v" },
            ]),
          }),
      ],
      ["/client/v4", () => authorized(NAMESPACES)],
      ["/client/v4", () => authorized(NAMESPACES, { method: "POST", body: JSON.stringify({ title: uniqueName("made") }) })],
      ["/client/v4", () => get(NAMESPACES)],
      ["/console", () => get("/console")],
      ["/metrics", () => get("/metrics")],
    ]);
  }

  const evaluate = (flag, targetingKey) =>
    get(`/ofrep/v1/evaluate/flags${flag}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ context: { targetingKey } }),
    });

  test("the counts equal, exactly, what clients got, what KV saw, and what upstreams and objects received", async () => {
    const paths = Array.from({ length: 5 }, () => resource({ headers: freshFor(5, "Cache-Control: stale-while-revalidate=60"), body: "page" }).url);
    await env.USER_CONFIGURATION.put("flags", JSON.stringify({ flags: { a: { default: "off", rules: [{ percentage: 50, variant: "on" }] } } }));
    for (const n of [1, 3, 5]) await env.USER_CONFIGURATION.put(`user-${n}`, JSON.stringify({ preview_features_enabled: true }));
    await env.ROUTING_CONFIG.put("tea", JSON.stringify({ origin: shop.origin }));
    await env.assets.put("index.html", "index");
    await env.assets.put("page.html", "page");
    await env.assets.put("hello-world.json", JSON.stringify([{ language_code: "en", message: "Hello World!" }]));

    const received = {};
    for (let batch = 0; batch < 100; batch += 1) {
      const requests = Array.from({ length: 10 }, () => randomRequest(paths, "tea"));
      await Promise.all(
        requests.map(async ([route, run]) => {
          const response = await run();
          if (response === undefined) return;
          received[route] ??= {};
          received[route][response.status] = (received[route][response.status] ?? 0) + 1;
        }),
      );
    }
    await waitUntilQuiet();
    const all = await handedOver();

    const counted = Object.fromEntries(Object.entries(all).filter(([route]) => !READING.has(route)));
    const statuses = Object.fromEntries(Object.entries(counted).map(([route, numbers]) => [route, numbers.statuses]));
    for (const route of Object.keys(received).filter((route) => !READING.has(route))) assert.deepEqual(statuses[route], received[route], route);
    assert.deepEqual(statuses["/healthz"], { 200: healthChecks });
    assert.equal(all["/metrics"].statuses[401], received["/metrics"][401]);

    const calls = await control("/.kv-calls?under=");
    assert.ok(calls.length > 500, `${calls.length} calls of KV`);
    const by = (who) => added(calls.filter((call) => call.by === who));
    assert.deepEqual(
      kvOf(all, (route) => !isObject(route)),
      by("worker"),
    );
    assert.deepEqual(kvOf(all, isObject), by("object"));
    const inInvocations = (await control("/.invocations")).reduce((sum, { calls }) => sum + calls, 0);
    const { reads, writes, deletes, lists } = kvOf(all, (route) => !isObject(route));
    assert.equal(reads + writes + deletes + lists, inInvocations);

    const sum = (name) => Object.values(counted).reduce((total, numbers) => total + numbers[name], 0);
    assert.equal(sum("upstreamCalls"), upstream.requests.length + shop.requests.length);
    const objectCalls = await control("/.object-calls");
    assert.equal(sum("objectCalls"), objectCalls.KEY_WRITER + objectCalls.NAMESPACE_LIST);
    assert.ok(sum("memoryHits") > 50, `${sum("memoryHits")} values from memory`);

    const minutes = await counts("minute");
    for (const route of Object.keys(counted)) assert.deepEqual(minutes[route], counted[route], route);
  });
});

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
    assert.equal((await authorized(`${NAMESPACES}/WRITES/bulk`, { method: "PUT", body: JSON.stringify(pairs) })).status, 200);
    const { requests, writes } = since(before, await handedOver(), "/client/v4");
    const puts = (await control("/.kv-calls?under=bulk-")).filter(({ operation }) => operation === "put");
    assert.equal(writes, puts.length);
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

describe("handing over", () => {
  test("without a further request, a timer hands the counts over", async () => {
    await handedOver();
    const before = await counts();
    assert.equal((await get("/hello-world")).status, 200);
    await eventually(async () => requestsOf(await counts(), "/hello-world") === requestsOf(before, "/hello-world") + 1, "the timer hands over");
  });

  test("a failing object fails no request, and the counts arrive later, each once", async () => {
    const before = await handedOver();
    const handOvers = async () => (await control("/.object-calls")).METRICS_STORE;
    await setFaults(worker, "metrics", { object: ["throws", "lost response", "throws", "lost response", "ok"] });
    for (let n = 0; n < 5; n += 1) {
      const made = await handOvers();
      assert.equal((await get("/hello-world")).status, 200);
      await advanceClock(11);
      await healthz();
      await eventually(async () => (await handOvers()) > made, "the counts are handed over, or not");
    }
    await setFaults(worker, "metrics", {});
    const after = await handedOver();
    assert.equal(requestsOf(after, "/hello-world") - requestsOf(before, "/hello-world"), 5);
    assert.ok(worker.log().some(({ code }) => code === "metrics_not_handed_over"));
  });

  test("an object that is evicted, or killed with the whole process, keeps what was handed over", async () => {
    const before = await handedOver();
    await worker.evictMetrics();
    assert.deepEqual(since(before, await counts(), "/stores/{storefrontId}"), { statuses: {} });
    await worker.killAndRestart();
    const after = await counts();
    for (const route of Object.keys(before).filter((route) => !READING.has(route))) assert.deepEqual(after[route], before[route], route);
  });

  test("an isolate that ends loses only what it has not handed over, and the next one counts on", async () => {
    await advanceClock(0);
    const before = await handedOver();
    assert.equal((await get("/hello-world")).status, 200);
    await worker.emptyMemory();
    healthChecks = requestsOf(await counts(), "/healthz");
    assert.equal((await get("/hello-world")).status, 200);
    const after = await handedOver();
    assert.equal(requestsOf(after, "/hello-world") - requestsOf(before, "/hello-world"), 1);
  });

  test("a Worker without the binding METRICS_STORE responds as ever, but for a 503 to /metrics", async () => {
    const response = await get("/hello-world", { headers: { "X-Kv-Faults": '{"METRICS_STORE":"missing"}' } });
    assert.equal(response.status, 200);
    const missing = await authorized("/metrics", { headers: { "X-Kv-Faults": '{"METRICS_STORE":"missing"}' } });
    assertProblem(missing, 503, "metrics_unavailable");
  });
});

describe("GET /metrics", async () => {
  const { run, missing } = await pythonWith("prometheus_client==0.26.0");

  test("the parser of the PyPI package prometheus_client reads a scrape, whose sums are those of the console", { skip: missing }, async () => {
    const all = await handedOver();
    const scrape = await authorized("/metrics");
    assert.equal(scrape.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert.ok(scrape.text.endsWith("# EOF\n"));
    const script = fileURLToPath(new URL("fixtures/openmetrics_client.py", import.meta.url));
    const running = run([script]);
    running.child.stdin.end(scrape.text);
    const families = JSON.parse((await running).stdout);
    assert.ok(families.every(({ type, help }) => type === "counter" && help !== ""));
    const sum = (family, isMeant) =>
      families
        .find(({ name }) => name === family)
        .samples.filter(({ labels }) => isMeant(labels))
        .reduce((total, { value }) => total + value, 0);
    for (const [route, numbers] of Object.entries(all).filter(([route]) => !READING.has(route))) {
      const isMeant = (labels) => labels.route === route;
      assert.equal(sum("kv_edge_requests", isMeant), numbers.requests, route);
      assert.equal(
        sum("kv_edge_kv_operations", (labels) => isMeant(labels) && labels.operation === "read"),
        numbers.reads,
        route,
      );
      assert.equal(sum("kv_edge_kv_keys_read", isMeant), numbers.keysRead, route);
      assert.equal(sum("kv_edge_memory_hits", isMeant), numbers.memoryHits, route);
      assert.ok(Math.abs(sum("kv_edge_kv_cost_dollars", isMeant) - numbers.costDollars) < 1e-9, route);
    }
  });

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

// METRICS: the counts of random requests to all routes are compared, route by route, with the
// statuses that clients got, the calls that tests/faulty/entry.mjs recorded, and the requests that
// upstreams received; and the text of `GET /metrics` with the counts.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { pushAssets } from "./harness/assets.mjs";
import { freshFor } from "./harness/http-cache.mjs";
import { NAMESPACES as API_NAMESPACES, signToken } from "./harness/kv-api.mjs";
import { asOperator, CAUSE, READING, refreshVars, since, startMetrics, withFields } from "./harness/metrics.mjs";
import { uniqueName } from "./harness/names.mjs";
import { pythonWith } from "./harness/python.mjs";
import { startScriptedUpstream } from "./harness/scripted-upstream.mjs";
import { makeFolder } from "./harness/tool.mjs";

const NAMESPACES = `/client/v4${API_NAMESPACES}`;

const { run, missing } = await pythonWith("prometheus_client==0.26.0");
const shop = await startScriptedUpstream();
shop.serveByDefault({ body: "shop" });
/** An upstream that fails, so that its circuit opens. */
const closedShop = await startScriptedUpstream();
closedShop.serveByDefault({ status: 503 });
const { worker, upstream, resource, get, authorized, control, counts, healthz, handedOver, waitUntilQuiet } = await startMetrics({
  vars: { ROUTING_ORIGINS: `${shop.origin},${closedShop.origin}` },
});
const { env } = worker;

const OPERATIONS = { get: "reads", getWithMetadata: "reads", bulk: "reads", put: "writes", delete: "deletes", list: "lists" };

/** The classes of Durable Objects whose calls are counted. */
const CLASSES = ["KEY_WRITER", "NAMESPACE_LIST"];

/** What clients, KV, objects and upstreams have seen, added up by what caused it as metrics do. */
class Observed {
  byCause = {};

  add(cause, name, number = 1) {
    this.byCause[cause] ??= { statuses: {} };
    this.byCause[cause][name] = (this.byCause[cause][name] ?? 0) + number;
  }

  response(cause, status) {
    this.add(cause, "requests");
    const { statuses } = this.byCause[cause];
    statuses[status] = (statuses[status] ?? 0) + 1;
  }

  kvCall({ cause, operation, keys = [null] }) {
    this.add(cause, OPERATIONS[operation]);
    if (OPERATIONS[operation] === "reads") this.add(cause, "keysRead", keys.length);
  }

  invocation({ cause, objectCalls }) {
    for (const name of CLASSES.filter((name) => objectCalls[name] > 0)) this.add(cause, "objectCalls", objectCalls[name]);
  }

  /** The JSON of a page is the same for everybody, so `/cache` forwards no field of a client. */
  upstreamRequest(request) {
    this.add(request.field(CAUSE) ?? "/cache", "upstreamCalls");
  }
}

/** Returns a random number generator, always the same: `pick(list)` and `below(n)`. */
function randomness(seed) {
  let state = seed;
  const below = (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  return { below, pick: (list) => list[below(list.length)] };
}

describe("random requests to all routes", () => {
  const failing = (faults, options) => withFields({ "X-Kv-Faults": JSON.stringify(faults) }, options);
  const post = (body) => ({ method: "POST", body: JSON.stringify(body) });
  const flagsOf = (user) => withFields({ "Content-Type": "application/json" }, post({ context: { targetingKey: `user-${user}` } }));

  /**
   * Returns a random request: `[route, needed, path, options]`. `needed` is how many values,
   * absences of a value and pages of a list it needs of KV: each comes from memory, or is read or
   * listed. That is known of a request by the documentation of its route, but for the cache: a
   * request that waits for another one of the same URL looks again each time. The console's calls,
   * which are for people, look past the memory.
   */
  function randomRequest(random, pages) {
    const { below, pick } = random;
    const key = `key-${below(20)}`;
    const values = `${NAMESPACES}/WRITES/values/${key}`;
    const page = pick(pages);
    return pick([
      ["/healthz", 1, "/healthz"],
      ["/get-started", 1, "/get-started"],
      ["/get-started", 0, "/get-started", failing({ USERS_NOTIFICATION_CONFIG: { put: ["500"] } })],
      ["/cache/{URL}", null, `/cache/${page}`, { method: pick(["GET", "GET", "GET", "HEAD", "POST", "TRACE"]) }],
      ["/cache/{URL}", null, `/cache/${page}?${below(30)}`],
      ["/cache/{URL}", null, `/cache/${page}?${below(30)}`, failing({ CACHE_KV: { get: ["500", "ok"], put: ["500", "ok"] } })],
      ["/cache", null, `/cache?url=${encodeURIComponent(page)}`],
      ["/cache", null, "/cache"],
      ["/cache/purge", 0, "/cache/purge", asOperator(post({ urls: [page], soft: below(2) === 0 }))],
      ["/config", 1, `/config?userId=user-${below(9)}`],
      ["/config", 120, "/config", asOperator(post({ userIds: Array.from({ length: 120 }, (_, n) => `user-${n}`) }))],
      // Only the flag `b` needs the user's record beside the definitions.
      ["/ofrep/v1/evaluate/flags", 2, "/ofrep/v1/evaluate/flags", flagsOf(below(9))],
      ["/ofrep/v1/evaluate/flags/{key}", 1, `/ofrep/v1/evaluate/flags/${pick(["a", "missing"])}`, flagsOf(below(9))],
      ["/ofrep/v1/evaluate/flags/{key}", 2, "/ofrep/v1/evaluate/flags/b", flagsOf(below(9))],
      ["/stores/{storefrontId}", 1, `/stores/${pick(["tea/x", "tea/broken", "closed/", "missing"])}`, { method: pick(["GET", "POST"]) }],
      ["/stores/{storefrontId}", 0, "/stores"],
      // The release, or that there is none, and the file or the translations.
      ["/{key}", 2, pick(["/", "/page.html", "/missing", `/missing-${below(50)}`]), { method: pick(["GET", "HEAD"]) }],
      ["/{key}", 0, "/page.html", { method: "PUT" }],
      ["/hello-world", 2, "/hello-world", withFields({ "Accept-Language": pick(["de", "en", "fr"]) })],
      ["/writes/{key}", 0, `/writes/${key}?strategy=${pick(["direct", "backoff"])}`, asOperator({ method: "POST", body: "v" })],
      ["/writes/{key}", 0, `/writes/${key}?strategy=direct`, failing({ WRITES: { put: ["429"] } }, asOperator({ method: "POST", body: "v" }))],
      ["/writes/{key}", 0, `/writes/${key}?strategy=coalesce&wait=durable`, asOperator({ method: "POST", body: "v" })],
      ["/writes/{key}", 1, `/writes/${key}`, asOperator()],
      ["/writes/{key}", 0, `/writes/${key}?consistent=1`, asOperator()],
      ["/writes/{key}", 0, `/writes/${key}`],
      ["/client/v4", 0, values, asOperator({ method: pick(["PUT", "DELETE"]), body: "v" })],
      // The value, and when it expires. A signed token needs the list of revoked ones, too.
      ["/client/v4", 2, values, asOperator()],
      ["/client/v4", 3, values, withFields({ Authorization: `Bearer ${signToken({ namespace: "WRITES" })}` })],
      ["/client/v4", 1, `${NAMESPACES}/WRITES/metadata/${key}`, asOperator()],
      ["/client/v4", 1, `${NAMESPACES}/WRITES/keys?prefix=key-`, asOperator()],
      ["/client/v4", 3, `${NAMESPACES}/WRITES/bulk/get`, asOperator(post({ keys: ["key-1", "key-2", "key-3"] }))],
      [
        "/client/v4",
        0,
        `${NAMESPACES}/WRITES/bulk`,
        asOperator({ method: "PUT", body: JSON.stringify(["a", "b"].map((end) => ({ key: `${key}-${end}`, value: "v" }))) }),
      ],
      ["/client/v4", 0, NAMESPACES, asOperator()],
      ["/client/v4", 0, NAMESPACES, asOperator(post({ title: uniqueName("made") }))],
      ["/client/v4", 0, NAMESPACES],
      ["/console", 0, "/console"],
      ["/console/api/{call}", null, `/console/api/cache?url=${encodeURIComponent(page)}`, asOperator()],
      ["/console/api/{call}", null, pick(["/console/api/releases", "/console/api/session"]), asOperator()],
      ["/metrics", 0, "/metrics"],
    ]);
  }

  /**
   * Sends 1,000 random requests, ten at a time. Returns what is counted of each route and class:
   * `counted` by the metrics, `observed` without `memoryHits` by everybody else, and `needed` by
   * the requests, as far as that is known.
   */
  async function sendRandomRequests(seed) {
    const random = randomness(seed);
    const pages = Array.from({ length: 5 }, () => resource({ headers: freshFor(5, "Cache-Control: stale-while-revalidate=60"), body: "page" }).url);
    await waitUntilQuiet();
    const before = await handedOver();
    const upstreams = [upstream, shop, closedShop];
    const recorded = async () => [await control("/.kv-calls?under="), await control("/.invocations"), ...upstreams.map(({ requests }) => [...requests])];
    const known = (await recorded()).map(({ length }) => length);
    const observed = new Observed();
    const needed = {};
    const note = (route, needs, { status }) => {
      observed.response(route, status);
      needed[route] = needs === null ? null : (needed[route] ?? 0) + needs;
    };
    for (let batch = 0; batch < 100; batch += 1) {
      const requests = Array.from({ length: 10 }, () => randomRequest(random, pages));
      await Promise.all(
        requests.map(async ([route, needs, path, options]) => {
          note(route, needs, await (route === "/healthz" ? healthz() : get(path, withFields({ [CAUSE]: route }, options))));
        }),
      );
    }
    await waitUntilQuiet();
    const after = await handedOver();
    // Those of `handedOver`.
    for (let n = 0; n < 2; n += 1) note("/healthz", 1, { status: 200 });

    const [calls, invocations, ...requests] = (await recorded()).map((list, index) => list.slice(known[index]));
    for (const call of calls) observed.kvCall(call);
    for (const invocation of invocations) observed.invocation(invocation);
    for (const request of requests.flat()) observed.upstreamRequest(request);
    const counted = Object.fromEntries(Object.keys(after).map((name) => [name, since(before, after, name)]));
    assert.deepEqual(counted["/metrics"].statuses[401], observed.byCause["/metrics"].statuses[401]);
    for (const all of [counted, observed.byCause]) for (const route of READING) all[route] = inKv(all[route]);
    return { counted, observed: observed.byCause, needed };
  }

  /** Returns the counts of KV alone: how often a test reads the counts is not compared. */
  const inKv = (numbers) => Object.fromEntries(Object.entries(numbers).filter(([name]) => name === "keysRead" || Object.values(OPERATIONS).includes(name)));

  const withoutMemoryHits = (counted) => Object.fromEntries(Object.entries(counted).map(([name, { memoryHits: _, ...others }]) => [name, others]));

  before(async () => {
    const flags = {
      a: { default: "off", rules: [{ percentage: 50, variant: "on" }] },
      b: { default: "off", rules: [{ match: [{ attribute: "preview_features_enabled", eq: true }], variant: "on" }] },
    };
    await env.USER_CONFIGURATION.put("flags", JSON.stringify({ flags }));
    for (const n of [1, 3, 5]) await env.USER_CONFIGURATION.put(`user-${n}`, JSON.stringify({ preview_features_enabled: true }));
    await env.ROUTING_CONFIG.put("tea", JSON.stringify({ origin: shop.origin }));
    await env.ROUTING_CONFIG.put("closed", JSON.stringify({ origin: closedShop.origin }));
    shop.serve({ status: 500 }, "/broken");
    await env.assets.put("index.html", "index");
    await env.assets.put("page.html", "page");
    await env.assets.put("hello-world.json", JSON.stringify([{ language_code: "en", message: "Hello World!" }]));
  });

  test("after 1,000 of them, the counts of each route equal, exactly, what clients got, and what KV, objects and upstreams saw", async () => {
    const { counted, observed } = await sendRandomRequests(20);
    assert.deepEqual(withoutMemoryHits(counted), observed);
    // Each count, and each class of statuses, is of something.
    const sum = (name) => Object.values(counted).reduce((total, numbers) => total + (numbers[name] ?? 0), 0);
    for (const name of ["reads", "writes", "deletes", "lists", "objectCalls", "upstreamCalls", "memoryHits"])
      assert.ok(sum(name) > 20, `${name}: ${sum(name)}`);
    const statuses = Object.values(counted).flatMap((numbers) => Object.keys(numbers.statuses ?? {}));
    assert.deepEqual([...new Set(statuses.map(([first]) => first))].sort(), ["2", "3", "4", "5"]);

    const objectCalls = await control("/.object-calls");
    assert.equal(sum("objectCalls"), objectCalls.KEY_WRITER + objectCalls.NAMESPACE_LIST);
    const [hours, minutes] = [await counts("hour"), await counts("minute")];
    for (const route of Object.keys(counted).filter((route) => !READING.has(route))) assert.deepEqual(minutes[route], hours[route], route);
  });

  describe("if no record in memory has to be refreshed", () => {
    before(() => worker.setVars(refreshVars(3600)));
    after(() => worker.setVars({}));

    test("after 1,000 of them, each value that a request needed is counted once: from memory, read or listed", async () => {
      const { counted, observed, needed } = await sendRandomRequests(21);
      assert.deepEqual(withoutMemoryHits(counted), observed);
      const found = ({ keysRead = 0, lists = 0, memoryHits = 0 }) => keysRead + lists + memoryHits;
      const routes = Object.keys(needed).filter((route) => needed[route] !== null);
      assert.deepEqual(
        Object.fromEntries(routes.map((route) => [route, found(counted[route])])),
        Object.fromEntries(routes.map((route) => [route, needed[route]])),
      );
    });

    test("one after the other, requests to the cache need two: the stored response and the list of purges", async () => {
      const { below, pick } = randomness(22);
      const pages = Array.from({ length: 20 }, () => resource({ headers: freshFor(3000), body: "page" }));
      const before = await handedOver();
      for (let n = 0; n < 200; n += 1) {
        const page = pick(pages);
        if (below(20) === 0) await authorized("/cache/purge", post({ urls: [page.url] }));
        await pick([page.get, page.head])();
      }
      await waitUntilQuiet();
      const { requests, keysRead, lists, memoryHits } = since(before, await handedOver(), "/cache/{URL}");
      assert.equal(requests, 200);
      assert.ok(memoryHits > 200, `${memoryHits} values from memory`);
      assert.equal(keysRead + lists + memoryHits, 2 * requests);
    });

    test("one after the other, requests for the JSON of a page need two, and two more if the page is looked for", async () => {
      const { pick } = randomness(23);
      const pages = Array.from({ length: 10 }, () => resource({ headers: freshFor(3000, "Content-Type: text/html"), body: "<p>page</p>" }));
      const before = await handedOver();
      const seen = new Set();
      for (let n = 0; n < 100; n += 1) {
        const { url } = pick(pages);
        seen.add(url);
        assert.equal((await get(`/cache?url=${encodeURIComponent(url)}`)).status, 200);
      }
      await waitUntilQuiet();
      const { requests, keysRead, lists = 0, memoryHits } = since(before, await handedOver(), "/cache");
      assert.equal(requests, 100);
      assert.equal(keysRead + lists + memoryHits, 2 * requests + 2 * seen.size);
    });

    test("a file of a release needs two: the release with its manifest and, if it is sent, the file's bytes", async () => {
      const { pick } = randomness(24);
      await pushAssets(worker, makeFolder({ "style.css": "a {}", "data.json": "{}", "about.html": "about" }));
      await worker.emptyMemory();
      const etags = {};
      for (const path of ["/style.css", "/data.json", "/about"]) etags[path] = (await get(path)).headers.etag;
      const before = await handedOver();
      const expected = { requests: 100, statuses: {}, memoryHits: 0 };
      for (let n = 0; n < 100; n += 1) {
        const path = pick(Object.keys(etags));
        const [options, status, needed] = pick([
          [{}, 200, 2],
          [{ method: "HEAD" }, 200, 1],
          [{ headers: { "If-None-Match": etags[path] } }, 304, 1],
        ]);
        assert.equal((await get(path, options)).status, status);
        expected.statuses[status] = (expected.statuses[status] ?? 0) + 1;
        expected.memoryHits += needed;
      }
      assert.deepEqual(since(before, await handedOver(), "/{key}"), expected);
    });
  });
});

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
  // The parser lets a sample pass that is there twice (OpenMetrics 1.0, "MetricFamily").
  const samples = families.flatMap(({ samples }) => samples.map(({ name, labels }) => JSON.stringify([name, labels])));
  assert.equal(new Set(samples).size, samples.length);
  const sum = (family, ofSamples) =>
    families
      .find(({ name }) => name === family)
      .samples.filter(({ labels }) => Object.entries(ofSamples).every(([name, value]) => labels[name] === value))
      .reduce((total, { value }) => total + value, 0);
  for (const [route, numbers] of Object.entries(all).filter(([route]) => !READING.has(route))) {
    const scraped = {
      requests: sum("kv_edge_requests", { route }),
      statuses: Object.fromEntries(Object.keys(numbers.statuses).map((status) => [status, sum("kv_edge_requests", { route, status })])),
      milliseconds: Math.round(sum("kv_edge_request_duration_seconds", { route }) * 1000),
      reads: sum("kv_edge_kv_operations", { route, operation: "read" }),
      writes: sum("kv_edge_kv_operations", { route, operation: "write" }),
      deletes: sum("kv_edge_kv_operations", { route, operation: "delete" }),
      lists: sum("kv_edge_kv_operations", { route, operation: "list" }),
      keysRead: sum("kv_edge_kv_keys_read", { route }),
      memoryHits: sum("kv_edge_memory_hits", { route }),
      objectCalls: sum("kv_edge_object_calls", { route }),
      upstreamCalls: sum("kv_edge_upstream_calls", { route }),
      costDollars: Math.round(sum("kv_edge_kv_cost_dollars", { route }) * 1e9) / 1e9,
    };
    assert.deepEqual(scraped, numbers, route);
  }
});

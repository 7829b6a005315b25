// `POST /cache/purge`: invalidates responses by URL, prefix or tag, or all of them; softly, it
// makes them stale.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { eventually } from "./harness/eventually.mjs";
import { send, sendForJson } from "./harness/http.mjs";
import { assertForwarded, assertHit, freshFor, gate, parseCacheStatus, startCache } from "./harness/http-cache.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { clock } from "./harness/scripted-upstream.mjs";
import { bearer, WORKER_TOKEN } from "./harness/worker.mjs";

const cache = await startCache({ upstreamCount: 5, vars: { CACHE_REFRESH: "10" } });
const { unusedUpstream, kv, advanceClock, resource, upstream, worker } = cache;

const post = (body, { headers = bearer, faults, path = "/cache/purge" } = {}) =>
  sendForJson(worker, path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(faults && { "X-Kv-Faults": JSON.stringify({ CACHE_KV: faults }) }), ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });

/** Purges, checks the report, and returns its time. */
async function purge(body, purged) {
  const before = clock.now() - 1;
  const response = await post(body);
  assert.equal(response.status, 200, response.text);
  assert.match(response.headers["content-type"], /^application\/json\b/);
  const { atMs, ...rest } = response.json();
  assert.deepEqual(rest, { purged });
  assert.ok(Number.isInteger(atMs) && atMs >= before && atMs <= clock.now() + 1, `${atMs}`);
  return atMs;
}

const page = (...lines) => resource({ headers: freshFor(10_000, ...lines) });
const isGone = async (one) => assert.equal(parseCacheStatus(await one.get()).hit, undefined, `${one.url} is not purged`);

test("a purged URL is not served from the cache any more, in this isolate at once; another one is", async () => {
  const [one, other] = [page(), page()];
  for (const each of [one, other]) await each.getAndStore();
  await purge({ url: one.url }, [{ url: one.url }]);
  assert.equal((await one.get()).text, "2");
  assertHit(await other.get(), "1");
});

for (const [name, refresh] of [
  ["from memory", 0],
  ["from KV", 11],
]) {
  test(`a purge applies to responses served ${name}, and not to those stored later`, async () => {
    const one = page();
    await one.getAndStore();
    await purge({ url: one.url }, [{ url: one.url }]);
    await advanceClock(refresh + 1);
    assert.equal((await one.getAndStore()).text, "2");
    assertHit(await one.get(), "2");
    await advanceClock(refresh);
    assertHit(await one.get(), "2");
    assert.equal(one.requestCount, 2);
  });
}

test("a purge of a URL includes all its variants, and no other query", async () => {
  const one = resource((_request, turn) => ({ headers: freshFor(10_000, "Vary: X-A"), body: `${turn}` }));
  const query = cache.resourceAt(one.path, { query: "?a" });
  for (const value of ["1", "2", "3"]) await one.getAndStore({ "X-A": value });
  await query.getAndStore({ "X-A": "1" });
  await purge({ url: one.url }, [{ url: one.url }]);
  for (const [index, value] of ["1", "2", "3"].entries()) assert.equal((await one.get({ "X-A": value })).text, String(5 + index));
  assertHit(await query.get({ "X-A": "1" }), "4");
});

test("a prefix purges every URL that begins with it, byte for byte", async () => {
  const path = `/${uniqueName("folder")}`;
  const at = (tail) => resource({ headers: freshFor(10_000) }, { path: `${path}${tail}` });
  const inside = [at("/a"), at("/a/b"), at("/ab")];
  const outside = [at("/b"), at("/A"), at("")];
  const query = cache.resourceAt(inside[0].path, { query: "?a=1" });
  for (const one of [...inside, query, ...outside]) await one.getAndStore();
  const prefix = `${upstream.origin}${path}/a`;
  await purge({ prefix }, [{ prefix }]);
  for (const one of [...inside, query]) await isGone(one);
  for (const one of outside) assertHit(await one.get());
});

test("an origin is a prefix, and purges no other origin", async () => {
  const [at, other] = [unusedUpstream(), unusedUpstream()];
  const [one, two] = [at, at].map((of) => cache.resource({ headers: freshFor(10_000) }, { at: of }));
  const elsewhere = cache.resource({ headers: freshFor(10_000) }, { at: other });
  for (const each of [one, two, elsewhere]) await each.getAndStore();
  assert.equal((await post({ prefix: `${at.origin}/` })).status, 200);
  for (const each of [one, two]) await isGone(each);
  assertHit(await elsewhere.get(), "1");
});

for (const [field, line] of [
  ["Cache-Tag", (tag) => `Cache-Tag: other, ${tag} ,more`],
  ["Surrogate-Key", (tag) => `Surrogate-Key: other  ${tag} more`],
]) {
  test(`a tag purges every response that names it in ${field}`, async () => {
    const tag = uniqueName("tag");
    const tagged = [page(line(tag)), page(line(tag))];
    const others = [page(line(`${tag}0`)), page()];
    for (const one of [...tagged, ...others]) await one.getAndStore();
    await purge({ tag }, [{ tag }]);
    for (const one of tagged) await isGone(one);
    for (const one of others) assertHit(await one.get(), "1");
  });
}

test("many targets are purged with one request", async () => {
  const tag = uniqueName("tag");
  const [one, two, three, tagged, other] = [page(), page(), page(), page(`Cache-Tag: ${tag}`), page()];
  for (const each of [one, two, three, tagged, other]) await each.getAndStore();
  const body = { urls: [one.url, two.url], prefixes: [three.url], tags: [tag] };
  const response = await post(body);
  assert.equal(response.status, 200, response.text);
  const { purged } = response.json();
  const expected = [{ url: one.url }, { url: two.url }, { prefix: three.url }, { tag }];
  const inOrder = (targets) => targets.map((target) => JSON.stringify(target)).sort();
  assert.deepEqual(inOrder(purged), inOrder(expected));
  for (const each of [one, two, three, tagged]) await isGone(each);
  assertHit(await other.get(), "1");
});

test("thirty targets are purged", async () => {
  const urls = Array.from({ length: 30 }, (_, index) => `${upstream.origin}/thirty/${index}`);
  assert.equal((await post({ urls })).json().purged.length, 30);
});

test("a purge is a record in KV, one write for a target: its key begins with purge:, its metadata says what and when", async () => {
  const one = page();
  await one.getAndStore();
  const calls = async () => (await send(worker, "/.kv-calls?under=purge%3A")).json().filter(({ operation }) => operation === "put");
  const before = (await calls()).length;
  const atMs = await purge({ url: one.url }, [{ url: one.url }]);
  const [call, ...more] = (await calls()).slice(before);
  assert.deepEqual(more, []);
  assert.ok(call.key.startsWith("purge:"));
  assert.deepEqual(call.metadata, { url: one.url, atMs });
  // The stored responses of a URL are deleted too, so the record is needed only until KV shows
  // that everywhere.
  assert.equal(call.ttl, 3600);
});

test("a purge that another isolate made takes effect within 60 seconds and CACHE_REFRESH", async () => {
  const tag = uniqueName("tag");
  const [one, tagged, other] = [page(), page(`Cache-Tag: ${tag}`), page()];
  for (const each of [one, tagged, other]) await each.getAndStore();
  await advanceClock(1);
  const atMs = clock.now();
  await kv.put(`purge:${uniqueName("elsewhere")}`, "", { metadata: { url: one.url, atMs } });
  await kv.put(`purge:${uniqueName("elsewhere")}`, "", { metadata: { tag, atMs } });
  await advanceClock(75);
  for (const each of [one, tagged]) {
    await eventually(async () => parseCacheStatus(await each.get()).hit === undefined, `${each.url} is purged`);
  }
  assertHit(await other.get(), "1");
});

for (const [what, options] of [
  ["is broken", { metadata: { tag: 1 } }],
  ["has no metadata", undefined],
]) {
  test(`a purge that ${what} may be one of anything: what was stored before is not used, and the log says so`, async () => {
    const one = page();
    await one.getAndStore();
    assertHit(await one.get(), "1");
    const key = `purge:${uniqueName("broken")}`;
    await kv.put(key, "", options);
    await advanceClock(75);
    await eventually(async () => parseCacheStatus(await one.get()).hit === undefined, `${one.url} is purged`);
    assert.ok(worker.log().some(({ code }) => code === "broken_purge"));
    await kv.delete(key);
    await advanceClock(75);
    await eventually(async () => parseCacheStatus(await one.get()).hit === true, `${one.url} is stored again`);
  });
}

test("a response that was requested before a purge is not stored after it", async () => {
  const upstreamGate = gate();
  const one = resource((_request, turn) => ({ headers: freshFor(10_000), until: turn === 1 ? upstreamGate.promise : undefined }));
  const early = one.get();
  await one.waitForRequests(1);
  await advanceClock(1);
  await purge({ url: one.url }, [{ url: one.url }]);
  upstreamGate.open();
  assert.equal((await early).text, "1");
  // In KV, the early one would be found again once the record of the purge has expired.
  assert.equal((await one.getAndStore()).text, "2");
  assert.equal((await one.kvCalls("put")).length, 1);
});

test("a purged response is not served stale either", async () => {
  const at = unusedUpstream();
  const headers = freshFor(100, "Cache-Control: stale-while-revalidate=10000, stale-if-error=10000");
  const one = cache.resource([{ headers }, { status: 503 }, { breaksAt: "head" }], { at });
  await one.getAndStore();
  await purge({ url: one.url }, [{ url: one.url }]);
  assert.equal((await one.get()).status, 503);
  await advanceClock(70);
  assertProblem(await one.getForJson(), 502, "upstream_failed");
});

test("a URL is purged in another spelling of its scheme, and its fragment is ignored", async () => {
  const one = page();
  await one.getAndStore();
  await purge({ url: `${one.url.replace("http:", "HTTP:")}#f` }, [{ url: one.url }]);
  await isGone(one);
});

const GOOD = `${upstream.origin}/x`;
/** Invalid bodies. */
const invalid = [
  ["nothing", ""],
  ["no JSON", "{"],
  ["null", "null"],
  ["a text", JSON.stringify(GOOD)],
  ["a list", [GOOD]],
  ["no target", {}],
  ["an unknown name", { uri: GOOD }],
  ["an unknown name beside a good one", { url: GOOD, everything: true }],
  ["a URL that is no text", { url: 1 }],
  ["a URL that is null", { url: null }],
  ["a list in place of one URL", { url: [GOOD] }],
  ["one URL in place of a list", { urls: GOOD }],
  ["an empty list", { urls: [] }],
  ["a list with something else in it", { urls: [GOOD, 1] }],
  ["31 targets", { urls: Array.from({ length: 31 }, (_, index) => `${GOOD}/${index}`) }],
  ["31 targets in several lists", { urls: Array(20).fill(GOOD), tags: Array.from({ length: 11 }, (_, index) => `t${index}`) }],
  ["a path", { url: "/x" }],
  ["no http URL", { url: "ftp://127.0.0.1/x" }],
  ["a URL with a user", { url: GOOD.replace("http://", "http://user@") }],
  ["an empty URL", { url: "" }],
  ["an origin that is not listed", { url: "http://unlisted.invalid/x" }],
  ["a prefix that is no whole origin", { prefix: upstream.origin.slice(0, -1) }],
  ["a prefix without a host", { prefix: "http://" }],
  ["an empty prefix", { prefix: "" }],
  ["an empty tag", { tag: "" }],
];
for (const [name, body] of invalid) {
  test(`a purge of ${name} gets 400, with an error message, and nothing is purged`, async () => {
    const before = (await kv.list({ prefix: "purge:" })).keys.length;
    const problem = assertProblem(await post(body), 400, "invalid_purge");
    assert.match(problem.detail, /[a-z].*\.$/);
    assert.equal((await kv.list({ prefix: "purge:" })).keys.length, before);
  });
}

test("of two purges of a tag the later one counts, even if the earlier one is written last", async () => {
  const tag = uniqueName("tag");
  const [one, other] = [page(`Cache-Tag: ${tag}`), page(`Cache-Tag: ${tag}`)];
  const earlier = post({ tag }, { faults: { put: ["429", "429", "ok"] } });
  await setTimeout(50); // Its time is that of its request.
  for (const each of [one, other]) await each.getAndStore();
  await setTimeout(50);
  await purge({ tag }, [{ tag }]);
  assert.equal((await earlier).status, 200);
  await isGone(one);
  await advanceClock(21); // Now the list in KV is read again.
  await isGone(other);
});

test("the error names the place of the fault", async () => {
  for (const [body, place] of [
    [{ urls: [GOOD, 1] }, /urls.*1|1.*urls/],
    [{ url: "/x" }, /url/],
    [{ nonsense: 1 }, /nonsense/],
  ]) {
    assert.match((await post(body)).json().detail, place);
  }
});

test("a body of more than 64 KiB is refused", async () => {
  const response = await post({ tag: "x".repeat(65 * 1024) });
  assert.ok([400, 413].includes(response.status), `${response.status}`);
});

for (const [name, headers] of [
  ["no token", {}],
  ["another token", { Authorization: `Bearer ${WORKER_TOKEN}x` }],
  ["an empty token", { Authorization: "Bearer " }],
  ["the token of another scheme", { Authorization: `Basic ${WORKER_TOKEN}` }],
]) {
  test(`a purge with ${name} gets 401, and nothing is purged`, async () => {
    const one = page();
    await one.getAndStore();
    assertProblem(await post({ url: one.url }, { headers }), 401, "unauthorized");
    assertProblem(await post("{", { headers }), 401, "unauthorized");
    assertHit(await one.get(), "1");
  });
}

for (const method of ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
  test(`${method} /cache/purge gets 405`, async () => {
    const response = await send(worker, "/cache/purge", { method, headers: bearer });
    assert.equal(response.status, 405);
    assert.equal(response.headers.allow, "POST");
    if (method === "GET") assertProblem(response, 405, "method_not_allowed");
  });
}

// KV is tried several times, with pauses.
describe("a KV that refuses", { concurrency: true }, () => {
  for (const [fault, status, code] of [
    ["500", 503, "kv_unavailable"],
    ["429", 429, "kv_rate_limited"],
    ["no response", 503, "kv_unavailable"],
  ]) {
    test(`a purge that KV refuses (${fault}) gets ${status}, since it would take effect in this isolate only`, async () => {
      const one = page();
      await one.getAndStore();
      assertProblem(await post({ url: one.url }, { faults: { put: [fault] } }), status, code);
    });
  }

  test("a purge whose write is refused once is retried", async () => {
    const one = page();
    await one.getAndStore();
    assert.equal((await post({ url: one.url }, { faults: { put: ["500", "ok"] } })).status, 200);
    await isGone(one);
  });
});

test("a purge of a URL that is not stored succeeds", async () => {
  await purge({ url: GOOD }, [{ url: GOOD }]);
  const one = page();
  assertForwarded(await one.getAndStore(), "uri-miss", "1");
});

describe("a soft purge", () => {
  /** Purges softly, and checks the report. */
  async function purgeSoftly(body) {
    const response = await post({ ...body, soft: true });
    assert.equal(response.status, 200, response.text);
    const { atMs: _, ...rest } = response.json();
    assert.deepEqual(rest, { purged: [body], soft: true });
  }

  for (const [name, refresh] of [
    ["from memory", 0],
    ["from KV", 11],
  ]) {
    test(`visitors get the old response ${name} while one request refreshes it`, async () => {
      const refreshing = gate();
      const one = resource([{ headers: freshFor(10_000) }, { headers: freshFor(10_000), until: refreshing.promise }]);
      await one.getAndStore();
      await purgeSoftly({ url: one.url });
      await advanceClock(refresh);
      for (let visitor = 0; visitor < 10; visitor += 1) assertHit(await one.get(), "1", { detail: "soft-purge" });
      await eventually(() => one.requestCount === 2, "a refresh");
      refreshing.open();
      await one.waitUntilStored(2);
      assertHit(await one.get(), "2");
      assert.equal(one.requestCount, 2);
    });
  }

  test("if the upstream is down right after it, visitors get the old response", async () => {
    // Each response has a new connection: the runtime repeats a request that fails on a reused
    // one.
    const script = [{ headers: freshFor(10_000), closes: true }, { status: 503, closes: true }, { breaksAt: "head" }, { headers: freshFor(10_000) }];
    const one = resource(script, { at: unusedUpstream() });
    await one.getAndStore();
    await purgeSoftly({ tag: "of-the-outage" });
    await purgeSoftly({ prefix: one.url });
    for (let second = 0; second < 3; second += 1) {
      assertHit(await one.get(), "1", { detail: "soft-purge" });
      await advanceClock(1);
    }
  });

  test("a client that wants a current response gets one from the upstream", async () => {
    const one = page();
    await one.getAndStore();
    await purgeSoftly({ url: one.url });
    assert.equal((await one.get({ "Cache-Control": "max-age=1000" })).text, "2");
    assertHit(await one.get(), "2");
  });

  test("it does not undo a hard purge of the same target", async () => {
    const one = page();
    await one.getAndStore();
    await purge({ prefix: one.url }, [{ prefix: one.url }]);
    await purgeSoftly({ prefix: one.url });
    assert.equal((await one.get()).text, "2");
  });
});

test("after a soft purge of 1,000 hot pages each is refreshed with one request, and no visitor waits", async () => {
  // Memory lasts longer than the test on any machine, so no request reads an old value from KV.
  const hot = await startCache({ vars: { CACHE_REFRESH: "3600" } });
  const counts = new Map();
  /** Fifty pages are requested at a time. Each fifty have a gate of their own. */
  const gates = Array.from({ length: 20 }, gate);
  hot.upstream.serveByDefault(({ target }) => {
    const turn = (counts.get(target) ?? 0) + 1;
    counts.set(target, turn);
    const { promise } = gates[Math.floor(Number(target.slice(1)) / 50)];
    return { headers: freshFor(10_000, "Cache-Tag: hot"), body: String(turn), until: turn > 1 ? promise : undefined };
  });
  /** Requests each page `times` times at once. */
  const requestAll = async (times, check, then = () => {}) => {
    for (const [which, { open }] of gates.entries()) {
      const paths = Array.from({ length: 50 * times }, (_, index) => `/cache/${hot.upstream.origin}/${50 * which + (index % 50)}`);
      for (const response of await Promise.all(paths.map((path) => send(hot.worker, path)))) check(response);
      then(open);
    }
  };
  await requestAll(1, (response) => assert.equal(response.text, "1"));
  const purged = await send(hot.worker, "/cache/purge", { method: "POST", headers: bearer, body: JSON.stringify({ tag: "hot", soft: true }) });
  assert.equal(purged.status, 200, purged.text);
  // The upstream sends nothing before a page's visitors have been served. It then sends at once:
  // the runtime ends a refresh 30 seconds after the response that it follows.
  await requestAll(
    2,
    (response) => assertHit(response, "1", { detail: "soft-purge" }),
    (open) => open(),
  );
  await eventually(() => [...counts.values()].every((count) => count === 2), "the refreshes");
  // Refreshed responses are stored in any order: each page is asked for until it shows its own.
  await eventually(async () => {
    let old = 0;
    await requestAll(1, (response) => {
      if (response.text !== "2") old += 1;
    });
    return old === 0;
  }, "the refreshed responses");
  assert.deepEqual(new Set(counts.values()), new Set([2]));
});

test("all responses are purged, hard or softly", async () => {
  const [one, other] = [page(), page("Cache-Tag: a")];
  for (const each of [one, other]) await each.getAndStore();
  const response = await post({ all: true, soft: true });
  assert.equal(response.status, 200, response.text);
  for (const each of [one, other]) assertHit(await each.get(), "1", { detail: "soft-purge" });
  for (const each of [one, other]) await each.waitUntilStored(2);
  await purge({ all: true }, [{ all: true }]);
  for (const each of [one, other]) assert.equal((await each.get()).text, "3");
});

// `GET /console/api/cache?url=…`: what KV holds for a URL of the shared cache. Rust tests show how
// a stored response is described; here the responses are those that `/cache` has stored.
// `POST /console/api/cache/check-purge`: what is wrong with a purge.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { assertOutcome, consoleApi } from "./harness/console.mjs";
import { eventually } from "./harness/eventually.mjs";
import { send } from "./harness/http.mjs";
import { assertAboutSeconds, assertForwarded, assertHit, freshFor, startCache } from "./harness/http-cache.mjs";
import { signToken } from "./harness/kv-api.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { clock } from "./harness/scripted-upstream.mjs";
import { bearer } from "./harness/worker.mjs";

const { advanceClock, kv, resource, worker } = await startCache();
const call = consoleApi(worker);

const look = (url, options) => call(`cache?${new URLSearchParams({ url })}`, options);

/** Returns what is stored for a resource. */
const stored = async ({ url }) => assertOutcome(await look(url));

/** Returns the one response that is stored for a resource. */
async function onlyVariant(one) {
  const { variants } = await stored(one);
  assert.equal(variants.length, 1, JSON.stringify(variants));
  return variants[0];
}

async function purge(body) {
  const response = await send(worker, "/cache/purge", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...bearer },
    body: JSON.stringify(body),
  });
  assert.equal(response.status, 200, response.text);
}

test("a URL of which nothing is stored has no variants", async () => {
  const one = resource({ headers: freshFor(100) });
  assert.deepEqual(await stored(one), { url: one.url, isStored: false, variants: [], isComplete: true });
});

test("a stored response has its status, times, fields and length, and is fresh until its lifetime ends", async () => {
  const one = resource({ headers: freshFor(100, "X-A: 1", 'ETag: "e"', "Content-Type: text/plain"), body: "hello" });
  await one.getAndStore();
  const { url, isStored, isComplete } = await stored(one);
  assert.deepEqual([url, isStored, isComplete], [one.url, true, true]);
  const { ttlSeconds, storedAt, fields, ...rest } = await onlyVariant(one);
  assert.deepEqual(rest, { key: one.key, kind: "url", status: 200, isFresh: true, purged: null, isReachable: true, selectedBy: null, bytes: 5 });
  assertAboutSeconds(ttlSeconds, 100, "ttlSeconds");
  assert.match(storedAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assertAboutSeconds(Date.parse(storedAt) / 1000, clock.now() / 1000, "storedAt");
  assert.deepEqual([fields["x-a"], fields.etag, fields["content-type"], fields["cache-control"]], ["1", '"e"', "text/plain", "max-age=100"]);
  await advanceClock(105);
  const stale = await onlyVariant(one);
  assertAboutSeconds(stale.ttlSeconds, -5, "ttlSeconds");
  assert.deepEqual([stale.isFresh, stale.isReachable], [false, true]);
  assert.equal(one.requestCount, 1, "a look-up sends no request to the upstream");
});

test("the URL is read as /cache reads it, and shown in canonical form", async () => {
  const one = resource({ headers: freshFor(100) });
  await one.getAndStore();
  const { origin, pathname } = new URL(one.url);
  for (const spelling of [`${origin}/x/..${pathname}#part`, `${origin.replace("http", "HTTP")}${pathname}`, ` ${one.url}\n`]) {
    assert.equal(assertOutcome(await look(spelling)).url, one.url, spelling);
    assert.equal(assertOutcome(await look(spelling)).isStored, true, spelling);
  }
});

test("each variant has the fields that select it, their values hashed", async () => {
  const one = resource((request) => ({ headers: freshFor(100, "Vary: X-A, Accept-Language"), body: request.field("X-A") }));
  await one.getAndStore({ "X-A": "secret-1" });
  await one.getAndStore({ "X-A": "secret-22" });
  await one.getAndStore({ "X-A": "secret-333", "Accept-Language": "de" });
  const response = await look(one.url);
  const { variants } = assertOutcome(response);
  assert.deepEqual(variants.map(({ kind, bytes, isFresh, isReachable }) => [kind, bytes, isFresh, isReachable]).sort(), [
    ["url", 8, true, true],
    ["variant", 10, true, true],
    ["variant", 9, true, true],
  ]);
  assert.equal(variants[0].key, one.key);
  for (const { key, selectedBy } of variants) {
    assert.ok(key === one.key || key.startsWith(`${one.key}#`), key);
    assert.deepEqual(Object.keys(selectedBy), ["accept-language", "x-a"]);
    assert.match(selectedBy["x-a"], /^[\w-]{22}$/);
  }
  assert.deepEqual(variants.map(({ bytes, selectedBy }) => [bytes, selectedBy["accept-language"] === null]).sort(), [
    [10, false],
    [8, true],
    [9, true],
  ]);
  assert.equal(new Set(variants.map(({ selectedBy }) => selectedBy["x-a"])).size, 3);
  // Another URL that begins with this one is not among them.
  await resource({ headers: freshFor(100) }, { path: `${one.path}/below` }).getAndStore();
  assert.equal((await stored(one)).variants.length, 3);
});

test("variants that a change of Vary has made unreachable are reported as unreachable", async () => {
  let vary = "X-A";
  const one = resource(() => ({ headers: freshFor(10, `Vary: ${vary}`) }));
  await one.getAndStore({ "X-A": "1" });
  await one.getAndStore({ "X-A": "2" });
  vary = "X-B";
  await advanceClock(11);
  await one.getAndStore({ "X-A": "1" });
  const reachable = (await stored(one)).variants.map(({ kind, isReachable }) => [kind, isReachable]);
  assert.deepEqual(reachable, [
    ["url", true],
    ["variant", false],
  ]);
});

test("variants of a URL that is too long for a key are found", async () => {
  for (const length of [430, 470, 700]) {
    const one = resource({ headers: freshFor(100, "Vary: X-A") }, { query: `?${"q".repeat(length)}` });
    for (const value of ["1", "2"]) {
      assertForwarded(await one.get({ "X-A": value }), value === "1" ? "uri-miss" : "vary-miss");
      await eventually(async () => (await stored(one)).variants.length === Number(value), `variant ${value} of a URL of ${length} bytes`);
    }
  }
});

test("of more than 41 variants, 41 are listed, and the list says that it is not complete", async () => {
  const one = resource({ headers: freshFor(1000, "Vary: X-A") });
  await one.getAndStore({ "X-A": "1" });
  await one.getAndStore({ "X-A": "2" });
  const [name] = (await kv.list({ prefix: `${one.key}#` })).keys.map(({ name }) => name);
  const { value, metadata } = await kv.getWithMetadata(name);
  for (let n = 0; n < 1200; n += 1) await kv.put(`${one.key}#${String(n).padStart(64, "0")}`, value, { metadata });
  const { variants, isComplete } = await stored(one);
  assert.deepEqual([variants.length, isComplete], [41, false]);
});

test("the JSON view of a page is shown beside the page itself", async () => {
  const one = resource({ headers: freshFor(100, "Content-Type: text/html"), body: "<title>t</title><p>text" });
  const response = await send(worker, `/cache?${new URLSearchParams({ url: one.url })}`);
  assert.equal(response.status, 200, response.text);
  await eventually(async () => (await stored(one)).variants.some(({ kind }) => kind === "page"), "the page");
  const { variants } = await stored(one);
  const page = variants.find(({ kind }) => kind === "page");
  assert.deepEqual([page.key, page.isFresh, page.isReachable, page.selectedBy], [`page:${one.url}`, true, true, null]);
});

describe("purges", () => {
  for (const [name, target] of [
    ["its URL", ({ url }) => ({ url })],
    ["a prefix", ({ url }) => ({ prefix: url })],
    ["its tag", ({ path }) => ({ tag: `tag-of-${path.slice(1)}` })],
  ]) {
    test(`after a soft purge of ${name}, a response is stale but reachable`, async () => {
      const one = tagged();
      await one.getAndStore();
      await purge({ ...target(one), soft: true });
      const { purged, isFresh, isReachable, ttlSeconds } = await onlyVariant(one);
      assert.deepEqual([purged, isFresh, isReachable], ["soft", false, true]);
      assertAboutSeconds(ttlSeconds, 1000, "ttlSeconds");
    });
  }

  test("after a hard purge of a tag or prefix, a response is in KV but not reachable; one that is stored later is", async () => {
    for (const target of [({ path }) => ({ tag: `tag-of-${path.slice(1)}` }), ({ url }) => ({ prefix: url })]) {
      const one = tagged();
      await one.getAndStore();
      await purge(target(one));
      const { purged, isFresh, isReachable } = await onlyVariant(one);
      assert.deepEqual([purged, isFresh, isReachable], ["hard", false, false]);
      await advanceClock(1);
      await one.getAndStore();
      const again = await onlyVariant(one);
      assert.deepEqual([again.purged, again.isFresh, again.isReachable], [null, true, true]);
    }
  });

  test("after a hard purge of its URL, only responses under variant keys are left, which nothing reaches", async () => {
    const one = resource({ headers: freshFor(1000, "Vary: X-A") });
    for (const value of ["1", "2"]) await one.getAndStore({ "X-A": value });
    await purge({ url: one.url });
    const { variants } = await stored(one);
    assert.deepEqual(
      variants.map(({ kind, purged, isReachable }) => [kind, purged, isReachable]),
      [["variant", "hard", false]],
    );
  });

  /** A resource with a tag of its own. */
  function tagged() {
    const one = resource(() => ({ headers: freshFor(1000, `Cache-Tag: tag-of-${one.path.slice(1)}`) }));
    return one;
  }
});

test("what is described as fresh is a hit, and what is described as not reachable is a miss", async () => {
  const one = resource({ headers: freshFor(50) });
  await one.getAndStore();
  assert.equal((await onlyVariant(one)).isFresh, true);
  assertHit(await one.get());
  await purge({ prefix: one.url });
  assert.equal((await onlyVariant(one)).isReachable, false);
  assertForwarded(await one.get(), "miss");
});

test("records that this build cannot read are not shown", async () => {
  const one = resource({ headers: freshFor(100) });
  for (const head of ['{"v":1,"s":200}', "{", '{"v":2}']) {
    await kv.put(one.key, "x", { metadata: { head, length: 1 } });
    assert.deepEqual((await stored(one)).variants, [], head);
  }
  await kv.put(one.key, "x");
  assert.deepEqual((await stored(one)).variants, []);
});

test("a URL that the cache may not fetch, another query or another method is refused", async () => {
  const { url } = resource({});
  assertProblem(await look("https://evil.example/"), 403, "upstream_not_allowed");
  assertProblem(await look("no-url"), 400, "invalid_url");
  for (const query of ["", "?url=", "?URL=a", `?url=${url}&x=1`]) assertProblem(await call(`cache${query}`), 400, "invalid_parameter");
  assertProblem(await look(url, { method: "DELETE" }), 405, "method_not_allowed");
  assertProblem(await call("cache/x"), 404, "not_found");
});

describe("tokens", () => {
  const token = (claims) => signToken({ namespace: "CACHE_KV", ...claims });

  test("only a token that reaches all of CACHE_KV sees what is stored", async () => {
    const one = resource({ headers: freshFor(100) });
    await one.getAndStore();
    assert.equal(assertOutcome(await look(one.url, { token: token() })).isStored, true);
    for (const claims of [{ namespace: "WRITES" }, { namespace: "assets", write: true }, { prefix: "GET " }, { prefix: "purge:" }]) {
      assertProblem(await look(one.url, { token: token(claims) }), 403, "out_of_scope");
    }
    for (const refused of [null, "wrong", token({ exp: 1 })]) assertProblem(await look(one.url, { token: refused }), 401, "unauthorized");
  });
});

test("if KV fails, the answer is an error and not that nothing is stored", async () => {
  const one = resource({ headers: freshFor(100) });
  await one.getAndStore();
  for (const faults of [{ list: ["500"] }, { get: ["500"] }]) {
    const response = await look(one.url, { headers: { "X-Kv-Faults": JSON.stringify({ CACHE_KV: faults }) } });
    assert.ok(response.status >= 500, `${JSON.stringify(faults)}: ${response.status} ${response.text}`);
  }
});

test("a purge is checked as /cache/purge checks it, and nothing is purged", async () => {
  const check = (json) => call("cache/check-purge", { json });
  const one = resource({ headers: freshFor(100) });
  await one.getAndStore();
  for (const [purge, problem] of [
    [{ url: one.url }, null],
    [{ all: true, soft: true }, null],
    [{ url: "abc" }, "it does not start with http:// or https://"],
    [{ prefix: "https://elsewhere.example/" }, "the origin https://elsewhere.example is not on the list CACHE_UPSTREAMS"],
    [{ tag: "Grüße" }, "it has characters that are not printable ASCII"],
  ]) {
    const [member] = Object.keys(purge);
    assert.deepEqual(assertOutcome(await check(purge)), { faults: problem === null ? [] : [{ path: member, problem }], warnings: [] });
  }
  assert.equal((await onlyVariant(one)).purged, null);
  assertProblem(await check({ tag: "x".repeat(64 * 1024) }), 413, "body_too_large");
  assertProblem(await call("cache/check-purge", { json: { url: one.url }, token: signToken({ sub: "looker", namespace: "CACHE_KV" }) }), 403, "out_of_scope");
  assertProblem(await call("cache/check-purge"), 405, "method_not_allowed");
  assertProblem(await call("cache/check"), 404, "not_found");
});

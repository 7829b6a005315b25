// `GET /cache?url=U`, the documented JSON, as a view on the shared cache: how long a page is
// stored, and what invalidates it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { kvCallsFor } from "./harness/faults.mjs";
import { send } from "./harness/http.mjs";
import { assertHit, freshFor, startCache } from "./harness/http-cache.mjs";
import { uniqueName } from "./harness/names.mjs";
import { httpDate } from "./harness/scripted-upstream.mjs";
import { WORKER_TOKEN } from "./harness/worker.mjs";

const cache = await startCache({ upstreamCount: 4 });
const { unusedUpstream, kv, advanceClock, worker } = cache;

/**
 * Returns a page whose title is the number of its request. `script[n]` changes the response to
 * request n.
 */
function pageOf(lines, { at, ...script } = {}) {
  const page = cache.resource(
    (_request, turn) => ({ headers: typeof lines === "function" ? lines() : lines, body: `<title>${turn}</title>`, ...script, ...script[turn] }),
    { at },
  );
  return Object.assign(page, {
    async view(headers) {
      const response = await send(worker, `/cache?url=${encodeURIComponent(page.url)}`, { headers });
      assert.equal(response.status, 200, response.text);
      const { data, fromCache, ...rest } = response.json();
      assert.deepEqual(rest, {});
      return { title: data.title, fromCache };
    },
    waitUntilPageStored: () => eventually(() => kv.get(`page:${page.url}`), `the page of ${page.url}`),
  });
}

/**
 * What says how long the response is fresh, and for how many seconds the page is served from the
 * cache.
 */
for (const [rule, lines, seconds] of [
  ["no lifetime", [], 60],
  ["max-age", freshFor(300), 300],
  ["max-age, less than a minute", freshFor(30), 30],
  ["Expires", () => [`Expires: ${httpDate(300)}`], 300],
  ["CDN-Cache-Control", ["CDN-Cache-Control: max-age=300", "Cache-Control: no-store"], 300],
]) {
  test(`a page with ${rule} is served from the cache for ${seconds} seconds`, async () => {
    const page = pageOf(lines);
    assert.deepEqual(await page.view(), { title: "1", fromCache: false });
    await page.waitUntilPageStored();
    await advanceClock(seconds - 10);
    assert.deepEqual(await page.view(), { title: "1", fromCache: true });
    await advanceClock(20);
    assert.deepEqual(await page.view(), { title: "2", fromCache: false });
  });
}

for (const lines of [["Cache-Control: no-store"], ["Cache-Control: private, max-age=100"], ["Cache-Control: max-age=0"]]) {
  test(`a page with ${lines[0]} is fetched each time`, async () => {
    const page = pageOf(lines);
    for (const title of ["1", "2", "3"]) assert.deepEqual(await page.view(), { title, fromCache: false });
  });
}

test("the value under `page:` is the documented JSON and nothing else", async () => {
  const page = pageOf(freshFor(300, 'ETag: "a"'));
  await page.view();
  await page.waitUntilPageStored();
  assert.deepEqual(Object.keys(await kv.get(`page:${page.url}`, "json")), ["title", "content", "lastUpdated"]);
});

test("a page and its response are stored side by side, with one request to the upstream", async () => {
  const viewed = pageOf(freshFor(300));
  assert.deepEqual(await viewed.view(), { title: "1", fromCache: false });
  await viewed.waitUntilStored();
  assertHit(await viewed.get(), "<title>1</title>");
  const asked = pageOf(freshFor(300));
  await asked.getAndStore();
  assert.deepEqual(await asked.view(), { title: "1", fromCache: true });
  for (const page of [viewed, asked]) assert.equal(page.requestCount, 1);
});

test("a failing upstream: a page is served stale only if its response allows it", async () => {
  const failing = { 2: { breaksAt: "head" }, closes: true };
  const page = pageOf(["Cache-Control: max-age=100, stale-if-error=100"], { at: unusedUpstream(), ...failing });
  await page.view();
  await page.waitUntilPageStored();
  await advanceClock(150);
  assert.equal((await page.view()).title, "1");
  const strict = pageOf(["Cache-Control: max-age=100"], { at: unusedUpstream(), ...failing });
  await strict.view();
  await strict.waitUntilPageStored();
  await advanceClock(150);
  assert.equal((await send(worker, `/cache?url=${encodeURIComponent(strict.url)}`)).status, 502);
});

test("while its upstream fails, a stale page is served again and again, and not put into KV again", async () => {
  const broken = { breaksAt: "head" };
  const page = pageOf(["Cache-Control: max-age=100, stale-if-error=100"], { at: unusedUpstream(), 2: broken, 3: broken, closes: true });
  await page.view();
  await page.waitUntilPageStored();
  await advanceClock(150);
  for (let visitor = 0; visitor < 3; visitor += 1) assert.deepEqual(await page.view(), { title: "1", fromCache: true });
  assert.equal((await kvCallsFor(worker, `page:${page.url}`, "put")).length, 1);
});

test("a POST to its URL invalidates a page", async () => {
  const page = pageOf(freshFor(300));
  await page.view();
  await page.waitUntilPageStored();
  await page.request("POST", { body: "x" });
  assert.deepEqual(await page.view(), { title: "3", fromCache: false });
});

for (const by of ["url", "prefix", "tag"]) {
  test(`a purge by ${by} includes the page`, async () => {
    const tag = uniqueName("tag");
    const page = pageOf(freshFor(300, `Cache-Tag: ${tag}`));
    await page.view();
    await page.waitUntilPageStored();
    const body = JSON.stringify({ [by]: by === "tag" ? tag : page.url });
    const headers = { Authorization: `Bearer ${WORKER_TOKEN}`, "Content-Type": "application/json" };
    const response = await send(worker, "/cache/purge", { method: "POST", headers, body });
    assert.equal(response.status, 200, response.text);
    assert.deepEqual(await page.view(), { title: "2", fromCache: false });
  });
}

test("a page does not depend on the visitor: it is fetched without cookies and credentials", async () => {
  const page = pageOf(freshFor(300, "Vary: Cookie"));
  await page.view({ Cookie: "a=1", Authorization: "Bearer x" });
  for (const name of ["Cookie", "Authorization"]) assert.equal(page.requests[0].field(name), undefined);
});

test("after a soft purge, an upstream that fails is not asked again by the next visitors", async () => {
  const page = pageOf(freshFor(1000), { 2: { status: 503 }, 3: { status: 503 } });
  await page.view();
  await page.waitUntilPageStored();
  const purge = { method: "POST", headers: { Authorization: `Bearer ${WORKER_TOKEN}` }, body: JSON.stringify({ url: page.url, soft: true }) };
  assert.equal((await send(worker, "/cache/purge", purge)).status, 200);
  assert.deepEqual(await page.view(), { title: "1", fromCache: true });
  await eventually(() => page.requestCount === 2, "the refresh");
  for (let visitor = 0; visitor < 5; visitor += 1) assert.deepEqual(await page.view(), { title: "1", fromCache: true });
  assert.equal(page.requestCount, 2);
});

// `/cache/{absolute URL}`: what a response says about its way: Age, Cache-Status (RFC 9211),
// Via, Server-Timing, Date; and that the fields about caching are the upstream's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAboutSeconds, assertForwarded, assertHit, freshFor, gate, parseCacheStatus, startCache } from "./harness/http-cache.mjs";
import { httpDate } from "./harness/scripted-upstream.mjs";

const { advanceClock, resource } = await startCache({ vars: { CACHE_REFRESH: "10" } });

/** How a response is produced, and its Cache-Status. */
const members = [
  ["a miss that is stored", async (page) => page.get(), /^kv-edge; fwd=uri-miss; fwd-status=200; stored; ttl=(99|100)$/],
  ["a miss that is not stored", async (page) => page.get({ "Cache-Control": "no-store" }), /^kv-edge; fwd=bypass; fwd-status=200$/],
  ["a hit", async (page) => (await page.getAndStore(), advanceClock(50), page.get()), /^kv-edge; hit; ttl=(49|50|4\d)$/],
  [
    "a stale response that is fetched again",
    async (page) => (await page.getAndStore(), await advanceClock(150), page.get()),
    /^kv-edge; fwd=stale; fwd-status=200; stored; ttl=(99|100)$/,
  ],
  [
    "a stale response that the request accepts",
    async (page) => (await page.getAndStore(), await advanceClock(150), page.get({ "Cache-Control": "max-stale" })),
    /^kv-edge; hit; ttl=-5\d; detail=max-stale$/,
  ],
  [
    "a request that refuses stored responses",
    async (page) => (await page.getAndStore(), page.get({ "Cache-Control": "no-cache" })),
    /^kv-edge; fwd=request; fwd-status=200; stored; ttl=(99|100)$/,
  ],
  ["a request with another method", async (page) => page.request("POST", { body: "x" }), /^kv-edge; fwd=method; fwd-status=200$/],
  [
    "a miss because KV fails",
    async (page) => page.get({}, { faults: { get: ["500"] } }),
    /^kv-edge; fwd=miss; fwd-status=200; stored; ttl=(99|100); detail=kv-unavailable$/,
  ],
];
for (const [name, ask, expected] of members) {
  test(`Cache-Status says what happened: ${name}`, async () => {
    assert.match((await ask(resource({ headers: freshFor(100) }))).headers["cache-status"], expected);
  });
}

test("Cache-Status of a validation has the 304 as fwd-status, and the new lifetime", async () => {
  const page = resource([{ headers: freshFor(100, 'ETag: "a"') }, { status: 304, headers: freshFor(200, 'ETag: "a"') }]);
  await page.getAndStore();
  await advanceClock(150);
  assert.match((await page.get()).headers["cache-status"], /^kv-edge; fwd=stale; fwd-status=304; stored; ttl=(199|200)$/);
});

test("Cache-Status names the directive by which a stale response is a hit", async () => {
  const upstreamGate = gate();
  const page = resource([
    { headers: freshFor(100, "Cache-Control: stale-while-revalidate=100, stale-if-error=1000") },
    { until: upstreamGate.promise, status: 503 },
  ]);
  await page.getAndStore();
  await advanceClock(120);
  assert.match((await page.get()).headers["cache-status"], /^kv-edge; hit; ttl=-2\d; detail=stale-while-revalidate$/);
  upstreamGate.open();
  await page.waitForRequests(2);
  await advanceClock(200);
  assert.match((await page.get()).headers["cache-status"], /^kv-edge; hit; ttl=-22\d; detail=stale-if-error$/);
});

test("Cache-Status is appended once to the upstream's own", async () => {
  const page = resource({ headers: freshFor(100, 'Cache-Status: "a, cache"; hit, other; fwd=miss') });
  const miss = await page.getAndStore();
  assert.match(miss.headers["cache-status"], /^"a, cache"; hit, other; fwd=miss, kv-edge; fwd=uri-miss;/);
  const hit = await page.get();
  assertHit(hit, "1");
  assert.equal(hit.headers["cache-status"].split("kv-edge").length, 2, hit.headers["cache-status"]);
});

test("Age is the time since the upstream's response; kv-edge adds one to hits alone", async () => {
  const page = resource({ headers: freshFor(1000) });
  assert.equal((await page.getAndStore()).headers.age, undefined);
  for (const seconds of [0, 5, 25]) {
    await advanceClock(seconds);
    assert.match((await page.get()).headers.age, /^\d+$/);
  }
  assertAboutSeconds((await page.get()).headers.age, 30, "Age");
});

for (const [name, lines] of [
  ["Age", () => ["Age: 70"]],
  ["Date", () => [`Date: ${httpDate(-70)}`]],
  ["Date, if it shows a higher age than Age", () => ["Age: 20", `Date: ${httpDate(-70)}`]],
]) {
  test(`Age starts with the upstream's ${name}`, async () => {
    const page = resource({ headers: () => freshFor(1000, ...lines()) });
    await page.getAndStore();
    await advanceClock(50);
    const hit = await page.get();
    assertHit(hit, "1");
    assertAboutSeconds(hit.headers.age, 120, "Age");
    assertAboutSeconds(parseCacheStatus(hit).ttl, 880, "ttl");
  });
}

test("Age starts again with a validation", async () => {
  const page = resource([{ headers: freshFor(100, 'ETag: "a"', "Age: 50") }, { status: 304, headers: freshFor(100, 'ETag: "a"') }]);
  await page.getAndStore();
  await advanceClock(150);
  const validated = await page.getAndStore();
  assertAboutSeconds(validated.headers.age ?? 0, 0, "Age");
  await advanceClock(20);
  assertAboutSeconds((await page.get()).headers.age, 20, "Age");
});

test("Via names kv-edge once, last, whether a response is a hit or forwarded", async () => {
  for (const [lines, expected] of [
    [[], "1.1 kv-edge"],
    [["Via: 1.0 fred", "Via: 2 barney"], "1.0 fred, 2 barney, 1.1 kv-edge"],
  ]) {
    const page = resource({ headers: freshFor(100, 'ETag: "a"', ...lines) });
    const responses = [await page.getAndStore(), await page.get(), await page.head(), await page.get({ Range: "bytes=0-0" })];
    await advanceClock(11);
    responses.push(await page.get(), await page.request("POST", { body: "x" }));
    for (const { headers } of responses) assert.equal(headers.via, expected);
  }
});

test("Server-Timing has the parts that happened, in milliseconds", async () => {
  const page = resource({ headers: freshFor(100), delayMs: 60 });
  const part = String.raw`dur=\d+(\.\d+)?`;
  const miss = (await page.getAndStore()).headers["server-timing"];
  assert.match(miss, new RegExp(`^kv;${part}, upstream;${part}$`));
  const [, upstreamMs] = miss.match(/upstream;dur=([\d.]+)/);
  assert.ok(Number(upstreamMs) >= 50, miss);
  assert.equal((await page.get()).headers["server-timing"], undefined, "from memory");
  await advanceClock(11);
  assert.match((await page.get()).headers["server-timing"], new RegExp(`^kv;${part}$`));
  assert.match((await page.request("POST", { body: "x" })).headers["server-timing"], new RegExp(`^upstream;${part}$`));
});

test("Date is the upstream's, or the time of arrival if it has none", async () => {
  const page = resource({ headers: () => freshFor(1000, `Date: ${httpDate(-70)}`) });
  const { headers } = await page.getAndStore();
  await advanceClock(50);
  assert.equal((await page.get()).headers.date, headers.date);

  const before = Date.parse(httpDate());
  const without = resource({ headers: freshFor(1000), date: false });
  await without.getAndStore();
  await advanceClock(50);
  const hit = await without.get();
  const date = Date.parse(hit.headers.date);
  assert.ok(date >= before - 1000 && date <= before + 10_000, hit.headers.date);
  assertAboutSeconds(hit.headers.age, 50, "Age");
});

test("Cache-Control, Expires and Vary are the upstream's", async () => {
  const expires = httpDate(5000);
  const page = resource({
    headers: ["Cache-Control: public, max-age=100, x=y", "CDN-Cache-Control: max-age=1000", `Expires: ${expires}`, "Vary: X-A, accept"],
  });
  for (const { headers } of [await page.getAndStore(), await page.get()]) {
    assert.equal(headers["cache-control"], "public, max-age=100, x=y");
    assert.equal(headers.expires, expires);
    assert.equal(headers.vary, "X-A, accept");
  }
});

test("Cache-Status tells a response that is passed on from a stored one", async () => {
  const page = resource({ headers: freshFor(100) });
  const responses = await Promise.all(Array.from({ length: 10 }, () => page.get()));
  for (const response of responses) assert.ok(parseCacheStatus(response).hit === true || parseCacheStatus(response).fwd === "uri-miss");
  await page.waitUntilStored();
  assertHit(await page.get());
  assertForwarded(await page.get({ "Cache-Control": "no-store" }), "bypass");
});

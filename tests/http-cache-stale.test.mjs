// `/cache/{absolute URL}`: stale responses while an upstream is slow, failing or gone (RFC 5861;
// RFC 9111 §4.2.4).
import assert from "node:assert/strict";
import http from "node:http";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../scripts/ports.mjs";
import { assertAboutSeconds, assertForwarded, assertHit, freshFor, gate, parseCacheStatus, startCache } from "./harness/http-cache.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { httpDate } from "./harness/scripted-upstream.mjs";

/** Starts an upstream that stops listening at `close()`. */
async function startClosableUpstream() {
  const headers = () => ({ "Cache-Control": "max-age=100, stale-if-error=1000", Date: httpDate() });
  const server = http.createServer((_request, response) => response.writeHead(200, headers()).end("1"));
  // No other test file gets the port after it was closed.
  const port = await freePort();
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  after(close);
  return { origin: `http://127.0.0.1:${port}`, close };
}

const TIMEOUT_MS = 1000;
const closableUpstream = await startClosableUpstream();
// Timeouts open circuits, so a test that makes an upstream hang has its own upstream.
const cache = await startCache({ upstreamCount: 110, extraUpstreams: [closableUpstream.origin], vars: { UPSTREAM_TIMEOUT_MS: String(TIMEOUT_MS) } });
const { unusedUpstream, advanceClock } = cache;
const resource = (script) => cache.resource(script, { at: unusedUpstream() });

const ERROR = { detail: "stale-if-error" };
const WHILE = { detail: "stale-while-revalidate" };

const statuses = Object.fromEntries([500, 502, 503, 504].map((status) => [status, { status, body: "the upstream's words" }]));
/** Failures without a whole response, and the error if nothing stale may be served. */
const unreachable = {
  "no response in time": { script: { hangs: true }, problem: [504, "upstream_timeout"] },
  "a closed connection": { script: { breaksAt: "head" }, problem: [502, "upstream_failed"] },
  "a reset connection": { script: { breaksAt: "head", reset: true }, problem: [502, "upstream_failed"] },
  "an end in the middle of the head": { script: { breaksAt: "in head" }, problem: [502, "upstream_failed"] },
  "an end in the middle of a short body": { script: { headers: freshFor(100), body: "12345", breaksAt: 2 }, problem: [502, "upstream_failed"] },
};
const upstreamErrors = [...Object.entries(statuses), ...Object.entries(unreachable).map(([name, { script }]) => [name, script])];

/**
 * Returns a stored resource that has been stale for 50 seconds, and whose upstream sends this
 * response from now on, or these in turn. `directives` follow `max-age=100` in its Cache-Control.
 */
async function staleResource(directives, script, lines = []) {
  const page = resource([{ headers: [`Cache-Control: max-age=100${directives}`, ...lines], closes: true }, ...[script].flat()]);
  await page.getAndStore();
  await advanceClock(150);
  return page;
}

test("stale-while-revalidate: the response does not wait for the upstream, and is fresh after its refresh", async () => {
  const upstreamGate = gate();
  const page = await staleResource(", stale-while-revalidate=100", { headers: freshFor(100), until: upstreamGate.promise });
  const stale = await page.get();
  assertHit(stale, "1", WHILE);
  assertAboutSeconds(parseCacheStatus(stale).ttl, -50, "ttl");
  assertAboutSeconds(stale.headers.age, 150, "Age");
  await page.waitForRequests(2);
  upstreamGate.open();
  await page.waitUntilStored(2);
  assertHit(await page.get(), "2");
  assert.equal(page.requestCount, 2);
});

test("stale-while-revalidate: one of many requests refreshes", async () => {
  const upstreamGate = gate();
  const page = await staleResource(", stale-while-revalidate=100", { headers: freshFor(100), until: upstreamGate.promise });
  for (let rounds = 0; rounds < 3; rounds += 1) {
    const responses = await Promise.all(Array.from({ length: 10 }, () => page.get()));
    for (const response of responses) assertHit(response, "1", WHILE);
  }
  await page.waitForRequests(2);
  upstreamGate.open();
  await page.waitUntilStored(2);
  assert.equal(page.requestCount, 2);
});

test("stale-while-revalidate: the refresh is a validation if there is a validator", async () => {
  const page = await staleResource(", stale-while-revalidate=100", { status: 304, headers: freshFor(100, 'ETag: "a"') }, ['ETag: "a"']);
  assertHit(await page.get(), "1", WHILE);
  await page.waitUntilStored(2);
  assert.equal(page.requests[1].field("If-None-Match"), '"a"');
  assertHit(await page.get(), "1");
});

test("stale-while-revalidate: the refresh is a GET of the whole, even for a Range or HEAD", async () => {
  for (const [method, headers] of [
    ["HEAD", {}],
    ["GET", { Range: "bytes=0-0", "If-None-Match": '"x"' }],
  ]) {
    const page = await staleResource(", stale-while-revalidate=100", { headers: freshFor(100) });
    assertHit(await page.request(method, { headers }), undefined, WHILE);
    await page.waitUntilStored(2);
    assert.equal(page.requests[1].method, "GET");
    for (const name of ["Range", "If-None-Match"]) assert.equal(page.requests[1].field(name), undefined);
    assertHit(await page.get(), "2");
  }
});

test("stale-while-revalidate: past its window the response waits for the upstream", async () => {
  const page = await staleResource(", stale-while-revalidate=40", { headers: freshFor(100) });
  assertForwarded(await page.get(), "stale", "2");
});

test("stale-while-revalidate: a request that limits the age does not get a stale response", async () => {
  for (const directive of ["max-age=120", "no-cache", "min-fresh=1"]) {
    const page = await staleResource(", stale-while-revalidate=100", { headers: freshFor(100) });
    assertForwarded(await page.get({ "Cache-Control": directive }), "stale", "2");
  }
});

for (const [name, trouble] of [
  ["503", { status: 503 }],
  ["a closed connection", { breaksAt: "head" }],
  ["no response in time", { hangs: true }],
]) {
  test(`stale-while-revalidate: after a failed refresh (${name}) the stored response stays, and the next refresh backs off`, async () => {
    const page = await staleResource(", stale-while-revalidate=100000", [trouble, { headers: freshFor(100) }]);
    assertHit(await page.get(), "1", WHILE);
    await page.waitForRequests(2);
    await sleep(trouble.hangs ? TIMEOUT_MS + 300 : 100);
    for (let asked = 0; asked < 3; asked += 1) assertHit(await page.get(), "1", WHILE);
    await sleep(100);
    assert.equal(page.requestCount, 2);
    await advanceClock(70);
    assertHit(await page.get(), "1", WHILE);
    await page.waitUntilStored(2);
    assertHit(await page.get(), "3");
    assert.equal(page.requestCount, 3);
  });
}

for (const forbids of ["must-revalidate", "proxy-revalidate", "s-maxage=100", "no-cache"]) {
  test(`${forbids} forbids every stale response`, async () => {
    const directives = `, stale-while-revalidate=100, stale-if-error=100, ${forbids}`;
    const slow = await staleResource(directives, { headers: freshFor(100) }, ['ETag: "a"']);
    assertForwarded(await slow.get(), "stale", "2");
    const failing = await staleResource(directives, statuses[503], ['ETag: "a"']);
    const response = await failing.get({ "Cache-Control": "max-stale, stale-if-error=100" });
    assert.equal(response.status, 503);
    assert.equal(response.text, "the upstream's words");
    const gone = await staleResource(directives, { breaksAt: "head" }, ['ETag: "a"']);
    assertProblem(await gone.getForJson(), 502, "upstream_failed");
  });
}

for (const [name, script] of upstreamErrors) {
  test(`stale-if-error: ${name} gets the stale response`, async () => {
    const page = await staleResource(", stale-if-error=100", script);
    const response = await page.get();
    assertHit(response, "1", ERROR);
    assert.equal(response.status, 200);
    assertAboutSeconds(response.headers.age, 150, "Age");
    assert.equal(page.requestCount, 2);
  });
}

test("stale-if-error: a refused connection gets the stale response, also for HEAD and a Range", async () => {
  const page = cache.resourceAt("/x", { at: { origin: closableUpstream.origin, requestsTo: () => [] } });
  await page.getAndStore();
  await advanceClock(150);
  closableUpstream.close();
  for (const ask of [() => page.get(), () => page.head(), () => page.get({ Range: "bytes=0-0" })]) {
    assertHit(await ask(), undefined, ERROR);
    await advanceClock(70);
  }
});

for (const status of [400, 401, 403, 404, 410, 429, 501]) {
  test(`stale-if-error: ${status} is not an error: it is passed on`, async () => {
    const page = await staleResource(", stale-if-error=100", { status });
    const response = await page.get();
    assert.equal(response.status, status);
    assertForwarded(response, "stale", "2", { "fwd-status": status });
  });
}

test("stale-if-error: past its window the error is passed on, or reported", async () => {
  const failing = await staleResource(", stale-if-error=40", statuses[500]);
  assert.equal((await failing.get()).status, 500);
  for (const { script, problem: expected } of Object.values(unreachable)) {
    assertProblem(await (await staleResource(", stale-if-error=40", script)).getForJson(), ...expected);
  }
});

for (const [name, script] of upstreamErrors) {
  test(`without the directive ${name} is not hidden by a stale response`, async () => {
    const page = await staleResource("", script);
    if (name in unreachable) {
      assertProblem(await page.getForJson(), ...unreachable[name].problem);
      return;
    }
    const response = await page.get();
    assert.equal(response.status, script.status);
    assertForwarded(response, "stale", "the upstream's words", { "fwd-status": script.status });
  });
}

test("a request may allow a stale response in place of an error", async () => {
  const page = await staleResource("", statuses[500]);
  assertHit(await page.get({ "Cache-Control": "stale-if-error=100" }), "1", ERROR);
  await advanceClock(100);
  assert.equal((await page.get({ "Cache-Control": "stale-if-error=100" })).status, 500);
});

test("a hanging upstream is waited for once: the next time the stale response is sent at once", async () => {
  const page = await staleResource(", stale-if-error=100000", { hangs: true });
  assertHit(await page.get(), "1", ERROR);
  assert.equal(page.requestCount, 2);
  for (let asked = 0; asked < 5; asked += 1) assertHit(await page.get(), "1", ERROR);
  assert.equal(page.requestCount, 2);
});

test("the backoff from a failing upstream grows to a minute at most, and ends with a response", async () => {
  const failures = Array(7).fill({ breaksAt: "head" });
  const page = await staleResource(", stale-if-error=100000", [...failures, { headers: freshFor(100) }]);
  for (let failed = 1; failed <= 6; failed += 1) {
    assertHit(await page.get(), "1", ERROR);
    assert.equal(page.requestCount, failed + 1, `try ${failed}`);
    await advanceClock(65);
  }
  assertHit(await page.get(), "1", ERROR);
  assert.equal(page.requestCount, 8);
  // The backoff is 60 s by now.
  for (let waited = 0; waited < 2; waited += 1) {
    await advanceClock(20);
    assertHit(await page.get(), "1", ERROR);
    assert.equal(page.requestCount, 8);
  }
  await advanceClock(25);
  assertForwarded(await page.getAndStore(), "stale", "9", { "fwd-status": 200 });
  assertHit(await page.get(), "9");
});

test("with nothing stored an upstream's error is passed on, and a missing response is reported", async () => {
  for (const [status, script] of Object.entries(statuses)) {
    const response = await resource(script).get();
    assert.equal(response.status, Number(status));
    assertForwarded(response, "uri-miss", "the upstream's words", { "fwd-status": Number(status), stored: undefined });
  }
  for (const { script, problem: expected } of Object.values(unreachable)) {
    const page = resource(script);
    const problem = assertProblem(await page.getForJson(), ...expected);
    assert.ok(!JSON.stringify(problem).includes("127.0.0.1"));
    assert.equal(page.requestCount, 1);
    await page.assertNotStored();
  }
});

test("a POST is sent once, and its failure is reported, whatever is stored", async () => {
  const page = await staleResource(", stale-if-error=100", { breaksAt: "head" });
  const response = await page.request("POST", { body: "x", headers: { Accept: "application/json" } });
  assertProblem(response, 502, "upstream_failed");
  assert.equal(page.requestCount, 2);
});

/** Makes an upstream fail five times at once, each at its own path. */
const failFiveTimes = (at, trouble) => Promise.all(Array.from({ length: 5 }, () => cache.resource(trouble, { at }).get()));

test("after five timeouts the upstream is an outlier: it gets a request only if nothing stale can be served", async () => {
  const at = unusedUpstream();
  const hot = cache.resource({ headers: freshFor(10_000) }, { at });
  const stale = cache.resource({ headers: freshFor(100, "Cache-Control: stale-if-error=1000") }, { at });
  const strict = cache.resource({ headers: freshFor(100, "Cache-Control: must-revalidate") }, { at });
  for (const page of [hot, stale, strict]) await page.getAndStore();
  await advanceClock(150);
  await failFiveTimes(at, { hangs: true });
  const sent = at.requests.length;
  assertHit(await stale.get(), "1", ERROR);
  assertHit(await hot.get(), "1");
  assert.equal(at.requests.length, sent);
  const untouched = cache.resource({ headers: freshFor(100) }, { at });
  assert.equal((await untouched.get()).text, "1");
  assertForwarded(await strict.get(), "stale", "2");
  assert.equal((await untouched.request("POST", { body: "x" })).status, 200);

  await advanceClock(11);
  assertForwarded(await stale.get(), "stale", "2");
});

test("a hundred hanging requests do not fail requests for another resource of the upstream", async () => {
  const at = unusedUpstream();
  const hanging = Array.from({ length: 10 }, () => cache.resource({ hangs: true }, { at }));
  for (let round = 0; round < 5; round += 1) {
    await Promise.all([...hanging, ...hanging].map((page) => page.get()));
    for (const headers of [{}, { "CF-Connecting-IP": "192.0.2.200" }]) {
      assert.equal((await cache.resource({ headers: freshFor(100) }, { at }).get(headers)).text, "1");
    }
  }
});

test("a resource that hangs five times opens a circuit: the next request gets 502 at once", async () => {
  const page = resource({ hangs: true });
  for (let asked = 0; asked < 5; asked += 1) assertProblem(await page.getForJson(), 504, "upstream_timeout");
  const response = await page.getForJson();
  assertProblem(response, 502, "circuit_open");
  assert.match(response.headers["retry-after"], /^([1-9]|10)$/);
  assert.equal(page.requests.length, 5);
});

for (const [name, trouble] of [
  ["503", { status: 503 }],
  ["a closed connection", { breaksAt: "head" }],
]) {
  test(`${name} opens no circuit, neither of its resource nor of its upstream`, async () => {
    const at = unusedUpstream();
    await failFiveTimes(at, trouble);
    assert.equal((await cache.resource({ headers: freshFor(100) }, { at }).get()).text, "1");
    const page = cache.resource(trouble, { at });
    for (let asked = 0; asked < 6; asked += 1) await page.get();
    // The runtime repeats a request that fails on a reused connection.
    assert.ok(page.requestCount >= 6, `${page.requestCount} requests`);
  });
}

test("long bodies and ranges are served stale too", async () => {
  const body = "0123456789".repeat(20_000);
  const page = resource([{ headers: freshFor(100, "Cache-Control: stale-if-error=1000"), body }, { breaksAt: "head" }]);
  await page.getAndStore();
  await advanceClock(150);
  const whole = await page.get();
  assertHit(whole, body, ERROR);
  const part = await page.get({ Range: "bytes=199990-" });
  assertHit(part, "0123456789", ERROR);
  assert.equal(part.status, 206);
});

test("a failed validation leaves the stored response", async () => {
  const page = await staleResource(", stale-if-error=100", [statuses[500], { status: 304, headers: freshFor(100, 'ETag: "a"') }], ['ETag: "a"']);
  assertHit(await page.get(), "1", ERROR);
  await advanceClock(30);
  assertForwarded(await page.get(), "stale", "1", { "fwd-status": 304 });
  assert.deepEqual(
    page.requests.map((request) => request.field("If-None-Match")),
    [undefined, '"a"', '"a"'],
  );
});

test("a fresh response is served without the upstream, even if it hangs", async () => {
  const page = resource([{ headers: freshFor(100) }, { hangs: true }]);
  await page.getAndStore();
  for (let asked = 0; asked < 5; asked += 1) assertHit(await page.get(), "1");
  assert.equal(page.requestCount, 1);
});

test("a popular response is refreshed shortly before it expires, by one of its requests; all of them are hits", async () => {
  const page = resource([{ headers: freshFor(100), delayMs: 500 }, { headers: freshFor(100) }]);
  await page.getAndStore();
  // The upstream took 0.5 s, so that with 1 s left each request refreshes with a probability of
  // about a seventh.
  await advanceClock(98);
  const responses = await Promise.all(Array.from({ length: 60 }, () => page.get()));
  for (const response of responses) assertHit(response);
  await page.waitUntilStored(2);
  assert.equal(page.requestCount, 2);
  assertHit(await page.get(), "2");
});

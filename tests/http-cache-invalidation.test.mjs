// `/cache/{absolute URL}`: unsafe methods, what they invalidate (RFC 9111 §4.4), and which
// response to a POST is stored for GET (RFC 9110 §9.3.3).
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { assertForwarded, assertHit, freshFor, gate, parseCacheStatus, startCache } from "./harness/http-cache.mjs";

const cache = await startCache({ upstreamCount: 2 });
const { advanceClock, resource } = cache;
const other = cache.unusedUpstream();

/** Responds to GET with a fresh response, and to other methods with `response`. */
const except = (response) => (request) => (request.method === "GET" ? { headers: freshFor(1000) } : response);

for (const method of ["POST", "PUT", "DELETE", "PATCH", "PROPPATCH", "LOCK"]) {
  test(`${method} is forwarded and invalidates the stored response of its URL`, async () => {
    const page = resource(except({ status: 200, headers: ["X-Own: 1"], body: "done" }));
    await page.getAndStore();
    const response = await page.request(method, { body: "x" });
    assertForwarded(response, "method", "done", { "fwd-status": 200, stored: undefined });
    assert.equal(response.headers["x-own"], "1");
    assert.equal((await page.get()).text, "3");
  });
}

for (const status of [200, 201, 202, 204, 301, 303, 307, 308]) {
  test(`${status} to POST invalidates the stored response`, async () => {
    const page = resource(except({ status }));
    await page.getAndStore();
    assert.equal((await page.request("POST", { body: "x" })).status, status);
    assert.equal((await page.get()).text, "3");
  });
}

for (const status of [400, 401, 403, 404, 409, 422, 429, 500, 503]) {
  test(`${status} to POST invalidates nothing`, async () => {
    const page = resource(except({ status }));
    await page.getAndStore();
    assert.equal((await page.request("POST", { body: "x" })).status, status);
    assertHit(await page.get(), "1");
  });
}

for (const method of ["OPTIONS", "HEAD"]) {
  test(`${method} is safe: it invalidates nothing`, async () => {
    const page = resource(except({ status: 200, headers: ["Location: /x"] }));
    await page.getAndStore();
    assert.equal((await page.request(method)).status, 200);
    assertHit(await page.get(), "1");
  });
}

/**
 * Fields of a POST's response, with PATH, HOST and ORIGIN of another resource, and whether they
 * invalidate it.
 */
const named = [
  ["its absolute URL", "ORIGINPATH", true],
  ["its path", "PATH", true],
  ["its URL without a scheme", "//HOSTPATH", true],
  ["its absolute URL with a fragment", "ORIGINPATH#f", true],
  ["its path by a detour", "/x/..PATH", true],
  ["another path", "/x", false],
  ["its path and a query", "PATH?x", false],
  ["no URL", "http://[", false],
  ["its path at another origin", "http://elsewhere.invalidPATH", false],
  ["its path with another scheme", "https://HOSTPATH", false],
];
for (const field of ["Location", "Content-Location"]) {
  for (const [name, value, isInvalid] of named) {
    test(`${field} with ${name} in the response to a POST ${isInvalid ? "invalidates" : "does not invalidate"} the other resource`, async () => {
      const target = resource({ headers: freshFor(1000) });
      await target.getAndStore();
      const location = value.replace("ORIGIN", target.upstream.origin).replace("HOST", target.upstream.host).replace("PATH", target.path);
      const page = resource({ status: 201, headers: [`${field}: ${location}`] });
      assert.equal((await page.request("POST", { body: "x" })).status, 201);
      const response = await target.get();
      if (isInvalid) assert.equal(response.text, "2");
      else assertHit(response, "1");
    });
  }
}

test("a response does not invalidate URLs of another upstream", async () => {
  const target = resource({ headers: freshFor(1000) }, { at: other });
  await target.getAndStore();
  for (const field of ["Location", "Content-Location"]) {
    const page = resource({ status: 201, headers: [`${field}: ${target.url}`] });
    assert.equal((await page.request("POST", { body: "x" })).status, 201);
  }
  assertHit(await target.get(), "1");
});

test("Location in an error response invalidates nothing", async () => {
  const target = resource({ headers: freshFor(1000) });
  await target.getAndStore();
  const page = resource({ status: 409, headers: [`Location: ${target.path}`] });
  assert.equal((await page.request("POST", { body: "x" })).status, 409);
  assertHit(await target.get(), "1");
});

test("all variants of a URL are invalidated", async () => {
  const page = resource((request) => (request.method === "GET" ? { headers: freshFor(1000, "Vary: X-A") } : {}));
  for (const value of ["1", "2", "3"]) await page.getAndStore({ "X-A": value });
  await page.request("DELETE");
  for (const [index, value] of ["1", "2", "3"].entries()) assert.equal((await page.get({ "X-A": value })).text, String(5 + index));
});

test("URLs with another query are not invalidated", async () => {
  const page = resource(except({}));
  const one = cache.resourceAt(page.path, { query: "?a=1" });
  await page.getAndStore();
  await one.getAndStore();
  await one.request("PUT", { body: "x" });
  assertHit(await page.get(), "1");
  assert.equal((await one.get()).text, "4");
});

test("invalidation takes effect in its isolate at once, even if KV refuses the delete", async () => {
  const page = resource(except({}));
  await page.getAndStore();
  await page.request("POST", { body: "x", faults: { delete: ["500"], put: ["500"] } });
  const response = await page.get();
  assert.equal(response.text, "3");
  assert.equal(parseCacheStatus(response).hit, undefined);
});

test("an invalidated response is deleted from KV", async () => {
  const page = resource(except({}));
  await page.getAndStore();
  await page.request("POST", { body: "x" });
  await eventually(async () => (await cache.kv.get(page.key)) === null, "the delete");
  // Later than the isolate remembers an invalidation.
  await advanceClock(150);
  assert.equal((await page.get()).text, "3");
});

test("a response that was requested before the POST is not stored after it", async () => {
  const upstreamGate = gate();
  const page = resource((request, turn) => {
    if (request.method !== "GET") return { body: "done" };
    return turn === 1 ? { headers: freshFor(1000), until: upstreamGate.promise } : { headers: freshFor(1000) };
  });
  const early = page.get();
  await page.waitForRequests(1);
  assert.equal((await page.request("POST", { body: "x" })).text, "done");
  upstreamGate.open();
  assert.equal((await early).text, "1");
  assert.equal((await page.get()).text, "3");
});

test("a response that was requested after the POST is stored", async () => {
  const page = resource(except({}));
  await page.getAndStore();
  await page.request("POST", { body: "x" });
  await advanceClock(1);
  await page.getAndStore();
  assertHit(await page.get(), "3");
});

/**
 * Fields of a POST's response, with its own URL and PATH, and whether it is stored for GET.
 */
const posts = [
  ["max-age and Content-Location, its URL", ["Cache-Control: max-age=1000", "Content-Location: URL"], true],
  ["max-age and Content-Location, its path", ["Cache-Control: max-age=1000", "Content-Location: PATH"], true],
  ["s-maxage and Content-Location", ["Cache-Control: s-maxage=1000", "Content-Location: URL"], true],
  ["max-age alone", ["Cache-Control: max-age=1000"], false],
  ["max-age and another Content-Location", ["Cache-Control: max-age=1000", "Content-Location: /x"], false],
  ["max-age and its URL as Location", ["Cache-Control: max-age=1000", "Location: URL"], false],
  ["Content-Location alone", ["Content-Location: URL"], false],
  ["Content-Location and a heuristic lifetime", ["Content-Location: URL", "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT"], false],
  ["no-store", ["Cache-Control: max-age=1000, no-store", "Content-Location: URL"], false],
];
for (const [name, lines, isStored] of posts) {
  test(`a response to POST with ${name} is ${isStored ? "stored for GET" : "not stored"}`, async () => {
    const page = resource((request) => ({
      headers: request.method === "GET" ? [] : lines.map((line) => line.replace("URL", page.url).replace("PATH", page.path)),
    }));
    const response = await page.request("POST", { body: "x" });
    assertForwarded(response, "method", "1", { stored: isStored ? true : undefined });
    if (isStored) await page.waitUntilStored();
    await advanceClock(1);
    const next = await page.get();
    if (isStored) assertHit(next, "1");
    else assert.equal(next.text, "2");
    assert.equal((await page.request("POST", { body: "x" })).text, String(page.requestCount), "a POST is never served from the store");
  });
}

test("a POST's response replaces the stored one", async () => {
  const page = resource((request) => ({ headers: freshFor(1000, ...(request.method === "POST" ? [`Content-Location: ${page.url}`] : [])) }));
  await page.getAndStore();
  await page.request("POST", { body: "x" });
  await page.waitUntilStored(2);
  assertHit(await page.get(), "2");
});

test("a stream that ends when the cache has forgotten the writes since is not stored", async () => {
  const upstreamGate = gate();
  const page = resource((request, turn) => {
    if (request.method === "POST") return { status: 204 };
    return { headers: freshFor(1000), ...(turn === 1 && { framing: "chunked", until: upstreamGate.promise }) };
  });
  const early = page.get();
  await page.waitForRequests(1);
  assert.equal((await page.request("POST", { body: "x" })).status, 204);
  await advanceClock(125);
  // The next response that is stored makes it forget.
  await resource({ headers: freshFor(1000) }).getAndStore();
  upstreamGate.open();
  assert.equal((await early).text, "1");
  assert.equal((await page.getAndStore()).text, "3");
  assert.equal((await page.kvCalls("put")).length, 1);
});

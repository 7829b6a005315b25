// `/cache/{absolute URL}`: nobody gets a response to another visitor's credentials, unless the
// upstream says explicitly that it is fresh for shared caches. A visitor cannot override host,
// path or method at the upstream. Also: short bodies that break off, bytes over 0x7F in fields,
// and spellings of a URL.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { send } from "./harness/http.mjs";
import { assertForwarded, assertHit, freshFor, parseCacheStatus, startCache } from "./harness/http-cache.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { httpDate } from "./harness/scripted-upstream.mjs";
import { WORKER_TOKEN } from "./harness/worker.mjs";

const { unusedUpstream, kv, advanceClock, resource, worker } = await startCache({ upstreamCount: 8, vars: { CACHE_CREDENTIALS: "X-Session" } });

/**
 * Fields that upstreams send with personal pages, without regard to shared caches.
 */
const privateDirectives = [
  ["an ETag alone", ['ETag: "page"']],
  ["Last-Modified alone", () => [`Last-Modified: ${httpDate(-10 * 86_400)}`]],
  ["Expires: 0 and an ETag", ["Expires: 0", 'ETag: "page"']],
  ["max-age=0 and an ETag", ["Cache-Control: max-age=0", 'ETag: "page"']],
  ["max-age=0 and Last-Modified", () => ["Cache-Control: max-age=0", `Last-Modified: ${httpDate(-10 * 86_400)}`]],
  ["Pragma: no-cache and Last-Modified", () => ["Pragma: no-cache", `Last-Modified: ${httpDate(-10 * 86_400)}`]],
  ['no-cache="set-cookie" and an ETag', ['Cache-Control: no-cache="set-cookie"', 'ETag: "page"', "Set-Cookie: session=1"]],
  ["no-cache, max-age and an ETag", ["Cache-Control: no-cache, max-age=60", 'ETag: "page"']],
];
const ALICE = [{ Cookie: "session=alice" }, { Authorization: "Bearer alice" }, { "X-Api-Key": "alice" }, { "X-Session": "alice" }];
const ASKS = ["", "max-stale", "only-if-cached, max-stale", "stale-if-error=1000"];
const BOB = [{}, { Cookie: "session=bob" }];

const isAlice = (request) => ALICE.some((alice) => Object.entries(alice).every(([name, value]) => request.field(name) === value));

/** A page that names its visitor, and never responds with 304. */
const personalPage = (headers) => (request) => ({ headers, body: isAlice(request) ? "page of alice" : "page of somebody else" });

for (const [rule, headers] of privateDirectives) {
  test(`a response to credentials with ${rule} is not shared`, async () => {
    for (const alice of ALICE) {
      for (const control of ASKS) {
        for (const bob of BOB) {
          const page = resource(personalPage(headers));
          const first = await page.get(alice);
          assert.equal(first.text, "page of alice");
          assert.equal(parseCacheStatus(first).stored, undefined, first.headers["cache-status"]);
          const second = await page.get(control ? { ...bob, "Cache-Control": control } : bob);
          assert.doesNotMatch(second.text, /alice/, `${JSON.stringify(alice)}, then ${JSON.stringify(bob)} with ${control}`);
        }
      }
    }
  });
}

test("a response to a Cookie that is explicitly fresh for shared caches is shared, without the cookie it sets", async () => {
  for (const control of ["max-age=60", "s-maxage=60", "public, max-age=60"]) {
    const page = resource({ headers: [`Cache-Control: ${control}`, "Set-Cookie: session=alice"] });
    const first = await page.getAndStore({ Cookie: "session=alice" });
    assert.deepEqual(first.headers["set-cookie"], ["session=alice"], "whoever requested it gets it");
    const second = await page.get({ Cookie: "session=bob" });
    assertHit(second, "1");
    assert.equal(second.headers["set-cookie"], undefined, control);
  }
});

test("a cookie is stored only with a response that addresses shared caches", async () => {
  for (const [field, shares] of [
    ["Cache-Control: max-age=60", false],
    ["Cache-Control: public, max-age=60", true],
    ["CDN-Cache-Control: max-age=60", true],
  ]) {
    const page = resource({ headers: [field, "Set-Cookie: a=1"] });
    await page.getAndStore();
    assert.deepEqual((await page.get()).headers["set-cookie"], shares ? ["a=1"] : undefined, field);
  }
});

test("a cookie in the response to a POST is never shared", async () => {
  // Such a response may satisfy a GET (RFC 9110 §9.3.3), but the body of a POST can be a password.
  const page = resource((request) => ({
    headers: [...freshFor(60).map((line) => `${line}, public`), `Content-Location: ${page.path}`, "Set-Cookie: session=alice"],
    body: request.method,
  }));
  const login = await page.request("POST", { body: "user=alice" });
  assert.deepEqual(login.headers["set-cookie"], ["session=alice"]);
  await page.waitUntilStored();
  const second = await page.get();
  assertHit(second, "POST");
  assert.equal(second.headers["set-cookie"], undefined);
});

test("a response that has to be validated is not served without validation, whatever the client says", async () => {
  const page = resource({ headers: ['ETag: "a"'] });
  await page.getAndStore();
  assertProblem(await page.getForJson({ "Cache-Control": "only-if-cached, max-stale" }), 504, "not_cached");
  assertForwarded(await page.get({ "Cache-Control": "max-stale" }), "stale");
});

test("a validation by one visitor does not change what others get", async () => {
  // RFC 9111 §3.2 would store the fields of a 304.
  const page = resource((request) => {
    const status = request.field("If-None-Match") ? 304 : 200;
    return { status, headers: ['ETag: "a"', `X-Name: ${request.field("Cookie") ?? "nobody"}`] };
  });
  await page.getAndStore();
  assert.equal((await page.get({ Cookie: "alice" })).headers["x-name"], "alice");
  assert.equal((await page.get()).headers["x-name"], "nobody");
  assert.equal((await page.kvCalls("put")).length, 1);
});

test("fields of a visitor's 304 are not shared, though the stored response is", async () => {
  const page = resource((request) => {
    const isKnown = request.field("If-None-Match") !== undefined;
    const freshness = request.field("Cookie") ? [] : ["Cache-Control: max-age=5"];
    return { status: isKnown ? 304 : 200, headers: ['ETag: "a"', `X-Name: ${request.field("Cookie") ?? "nobody"}`, ...freshness] };
  });
  await page.getAndStore();
  await advanceClock(10);
  assert.equal((await page.get({ Cookie: "alice" })).headers["x-name"], "alice");
  await advanceClock(1);
  assert.equal((await page.get()).headers["x-name"], "nobody");
});

for (const version of [1, 9]) {
  test(`a record of version ${version} counts as missing, and is not a fault`, async () => {
    // Version 1 could contain responses to credentials.
    const page = resource({ headers: freshFor(1000) });
    await page.getAndStore();
    const { value, metadata } = await kv.getWithMetadata(page.key);
    const other = { ...metadata, head: metadata.head.replace('"v":2', `"v":${version}`) };
    assert.notDeepEqual(other, metadata);
    await kv.put(page.key, value, { metadata: other });
    assertForwarded(await page.get(), "uri-miss", "2", { detail: undefined, stored: true });
  });
}

const SPOOFED = {
  "X-Forwarded-Host": "evil.example",
  "X-Forwarded-For": "192.0.2.1",
  Forwarded: "host=evil.example",
  "X-Host": "evil.example",
  "X-Original-URL": "/evil",
  "X-Rewrite-URL": "/evil",
  "X-HTTP-Method-Override": "DELETE",
  "X-Force-Variant": "green",
  "X-Force-Variant-Token": "the-token",
};
test("fields that override host, path, method or client address, and kv-edge's own, do not reach the upstream", async () => {
  for (const method of ["GET", "HEAD", "POST"]) {
    const page = resource({ headers: freshFor(100) });
    await page.request(method, { headers: { ...SPOOFED, "X-Own": "1" } });
    const [request] = page.requests;
    for (const name of Object.keys(SPOOFED)) assert.equal(request.field(name), undefined, `${method} ${name}`);
    assert.equal(request.field("X-Own"), "1");
  }
});

/** Fields of responses that are not stored. */
const UNSTORED = [
  ["private", ["Cache-Control: private"]],
  ["no-store", ["Cache-Control: no-store"]],
  ["no directive", []],
];
for (const [name, headers] of UNSTORED) {
  test(`a short body that breaks off with ${name} is an error, not half a body`, async () => {
    const page = resource({ headers, body: "a whole body", breaksAt: 5, closes: true }, { at: unusedUpstream() });
    assertProblem(await page.getForJson(), 502, "upstream_failed");
  });

  test(`a stale response replaces a short body that breaks off with ${name}`, async () => {
    const whole = { headers: ["Cache-Control: max-age=1, stale-if-error=1000"], body: "a whole body" };
    const page = resource([whole, { headers, body: "another body", breaksAt: 5, closes: true }]);
    await page.getAndStore();
    await advanceClock(5);
    assertHit(await page.get(), "a whole body", { detail: "stale-if-error" });
  });
}

test("a short response to a POST that breaks off is an error too", async () => {
  const page = resource({ body: "a whole body", breaksAt: 5, closes: true });
  assert.equal((await page.request("POST", { body: "x" })).status, 502);
});

/** Returns the value of a field, which Node reads as Latin-1. */
const field = (response, name) => response.rawHeaders[response.rawHeaders.findIndex((other) => other.toLowerCase() === name) + 1];
const LATIN1 = [
  ["Content-Disposition", 'attachment; filename="M\xe4rz.pdf"'],
  ["Location", "/caf\xe9"],
  ["ETag", '"gr\xfcn"'],
  ["Set-Cookie", "name=J\xfcrgen"],
  ["X-Note", "\xff\x80"],
];
for (const [name, value] of LATIN1) {
  test(`bytes over 0x7F in ${name} that are not UTF-8 are passed on unchanged, and the response is not stored`, async () => {
    const page = resource({ headers: freshFor(100, `${name}: ${value}`), body: "x" });
    for (const turn of [1, 2]) {
      const response = await page.get();
      assert.equal(field(response, name.toLowerCase()), value);
      assertForwarded(response, "uri-miss", "x", { stored: undefined, detail: "obs-text" });
      assert.equal(page.requestCount, turn);
    }
    await page.assertNotStored();
  });
}

test("UTF-8 in a field is stored and sent unchanged", async () => {
  const value = Buffer.from("März", "utf8").toString("latin1");
  const page = resource({ headers: freshFor(100, `X-Note: ${value}`) });
  assert.equal(field(await page.getAndStore(), "x-note"), value);
  const hit = await page.get();
  assertHit(hit);
  assert.equal(field(hit, "x-note"), value);
});

test("a 304 whose fields have such bytes is replaced by an unconditional request", async () => {
  const page = resource([
    { headers: ['ETag: "a"'], body: "one" },
    { status: 304, headers: ['ETag: "a"', "X-Note: \xfc"] },
    { headers: ['ETag: "a"', "X-Note: \xfc"], body: "one" },
  ]);
  await page.getAndStore();
  const response = await page.get();
  assert.equal(field(response, "x-note"), "\xfc");
  assert.equal(response.text, "one");
});

test("equivalent spellings of a URL are one URL for the cache, for purges and for the upstream", async () => {
  const page = resource({ headers: freshFor(100) }, { path: `/${randomUUID()}/%C3%BC~` });
  await page.getAndStore();
  const written = ["%c3%bc%7e", "%C3%bc~"].map((end) => page.url.replace(/%C3%BC~$/, end));
  for (const url of written) assertHit(await send(worker, `/cache/${url}`), "1");
  for (const [turn, url] of written.entries()) {
    const body = JSON.stringify({ url });
    const purge = await send(worker, "/cache/purge", { method: "POST", headers: { Authorization: `Bearer ${WORKER_TOKEN}` }, body });
    assert.deepEqual(purge.json().purged, [{ url: page.url }]);
    assertForwarded(await page.get(), "uri-miss", String(turn + 2));
    await page.waitUntilStored(turn + 2);
  }
});

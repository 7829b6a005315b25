// `/cache/{absolute URL}`: validating stored responses at the upstream, and evaluating clients'
// preconditions (RFC 9111 §3.2, §4.3; RFC 9110 §13).
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAboutSeconds, assertForwarded, assertHit, freshFor, parseCacheStatus, startCache } from "./harness/http-cache.mjs";
import { httpDate } from "./harness/scripted-upstream.mjs";

const { advanceClock, resource } = await startCache();

const MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT";
const conditionsOf = (request) => ({ none: request.field("If-None-Match"), since: request.field("If-Modified-Since") });

/** The validators of a stored response, and the preconditions that the upstream gets. */
const conditions = [
  ["an entity tag", ['ETag: "a"'], { none: '"a"', since: undefined }],
  ["a weak entity tag", ['ETag: W/"a"'], { none: 'W/"a"', since: undefined }],
  ["Last-Modified", [`Last-Modified: ${MODIFIED}`], { none: undefined, since: MODIFIED }],
  ["both", ['ETag: "a"', `Last-Modified: ${MODIFIED}`], { none: '"a"', since: MODIFIED }],
  ["no validator", [], { none: undefined, since: undefined }],
];
for (const [name, validators, expected] of conditions) {
  test(`the request for a stale response with ${name} has the preconditions that this allows`, async () => {
    const page = resource({ headers: freshFor(100, ...validators) });
    await page.getAndStore();
    await advanceClock(150);
    assertForwarded(await page.get(), "stale", "2", { "fwd-status": 200, stored: true });
    assert.deepEqual(conditionsOf(page.requests[1]), expected);
  });
}

test("a 304 freshens the stored response and updates its fields", async () => {
  const page = resource([
    { headers: freshFor(100, 'ETag: "a"', "X-Old: 1", "X-Both: 1", "Content-Type: text/x-test", "Content-Language: de"), body: "kept" },
    { status: 304, headers: ["Cache-Control: max-age=200", 'ETag: "a"', "X-Both: 2", "X-New: 2", "Connection: X-Hop", "X-Hop: 1"] },
  ]);
  await page.getAndStore();
  await advanceClock(150);
  const validated = await page.getAndStore();
  assertForwarded(validated, "stale", "kept", { "fwd-status": 304, stored: true });
  assert.equal(validated.status, 200);
  assertAboutSeconds(parseCacheStatus(validated).ttl, 200, "ttl");
  await advanceClock(150);
  const hit = await page.get();
  assertHit(hit, "kept");
  for (const { headers } of [validated, hit]) {
    assert.equal(headers["x-old"], "1");
    assert.equal(headers["x-both"], "2");
    assert.equal(headers["x-new"], "2");
    assert.equal(headers["x-hop"], undefined);
    assert.equal(headers["content-type"], "text/x-test");
    assert.equal(headers["content-language"], "de");
    assert.equal(headers["cache-control"], "max-age=200");
  }
  assert.equal(page.requestCount, 2);
});

test("a 304 does not change the fields that describe the body", async () => {
  const page = resource([
    { headers: freshFor(100, 'ETag: "a"', "Content-Encoding: x-own"), body: "kept" },
    { status: 304, headers: freshFor(100, 'ETag: "a"', "Content-Encoding: x-other", "Content-Length: 1", "Content-Range: bytes 0-0/1") },
  ]);
  await page.getAndStore();
  await advanceClock(150);
  for (const response of [await page.getAndStore(), await page.get()]) {
    assert.equal(response.text, "kept");
    assert.equal(response.complete, true);
    assert.equal(response.headers["content-encoding"], "x-own");
    assert.equal(response.headers["content-range"], undefined);
  }
});

test("a 304 with another entity tag does not freshen the stored response: no tag is ever sent with another one's body", async () => {
  const page = resource((request, turn) => {
    const tag = turn === 1 ? '"a"' : '"b"';
    const isConditional = request.field("If-None-Match") !== undefined;
    return isConditional ? { status: 304, headers: freshFor(100, `ETag: ${tag}`) } : { headers: freshFor(100, `ETag: ${tag}`), body: `of ${tag}` };
  });
  await page.getAndStore();
  await advanceClock(150);
  for (let asked = 0; asked < 3; asked += 1) {
    const response = await page.get();
    assert.equal(response.status, 200);
    assert.equal(response.text, `of ${response.headers.etag}`);
  }
});

test("no-cache with a validator is stored, and validated each time", async () => {
  const page = resource((request, turn) => {
    const headers = ["Cache-Control: max-age=100, no-cache", 'ETag: "a"'];
    return request.field("If-None-Match") === '"a"' ? { status: 304, headers } : { headers, body: `body of ${turn}` };
  });
  await page.getAndStore();
  for (let asked = 2; asked <= 4; asked += 1) {
    const response = await page.get();
    assert.equal(response.status, 200);
    assertForwarded(response, "stale", "body of 1", { "fwd-status": 304 });
    assert.equal(page.requestCount, asked);
  }
});

for (const status of [500, 503, 404, 429]) {
  test(`a ${status} in reply to a validation is passed on, without a stale directive`, async () => {
    const page = resource([{ headers: freshFor(100, 'ETag: "a"') }, { status, body: "trouble" }, { headers: freshFor(100, 'ETag: "b"') }]);
    await page.getAndStore();
    await advanceClock(150);
    const response = await page.get();
    assert.equal(response.status, status);
    assertForwarded(response, "stale", "trouble", { "fwd-status": status });
    await advanceClock(70);
    assert.equal((await page.get()).text, "3");
  });
}

test("HEAD is served from a fresh response to GET, without a body", async () => {
  const page = resource({ headers: freshFor(100, "X-Own: 1", "Content-Type: text/x-test") });
  await page.getAndStore();
  const response = await page.head();
  assertHit(response, "");
  assert.equal(response.status, 200);
  assert.equal(response.headers["x-own"], "1");
  assert.equal(response.headers["content-type"], "text/x-test");
  assert.equal(page.requestCount, 1);
});

test("HEAD with nothing stored is forwarded as HEAD, and its response does not satisfy a GET", async () => {
  const page = resource({ headers: freshFor(100, "X-Own: 1") });
  const response = await page.head();
  assertForwarded(response, "uri-miss", "", { "fwd-status": 200, stored: undefined });
  assert.equal(response.headers["x-own"], "1");
  assertForwarded(await page.get(), "uri-miss", "2");
  assert.deepEqual(
    page.requests.map(({ method }) => method),
    ["HEAD", "GET"],
  );
});

/**
 * Fields of the response to HEAD besides a new lifetime, and whether the stored response is still
 * valid (RFC 9111 §4.3.5).
 */
const headResponses = [
  ["the same entity tag and length", { headers: ['ETag: "a"', `Last-Modified: ${MODIFIED}`], length: 4 }, true],
  ["another entity tag", { headers: ['ETag: "b"', `Last-Modified: ${MODIFIED}`], length: 4 }, false],
  ["another Last-Modified", { headers: ['ETag: "a"', `Last-Modified: ${httpDate(-5000)}`], length: 4 }, false],
  ["another length", { headers: ['ETag: "a"', `Last-Modified: ${MODIFIED}`], length: 5 }, false],
];
for (const [name, { headers, length }, isValid] of headResponses) {
  for (const [state, ageSeconds, fields, fwd] of [
    ["stale", 150, {}, "stale"],
    ["fresh", 10, { "Cache-Control": "no-cache" }, "request"],
  ]) {
    test(`a response to HEAD with ${name} ${isValid ? "updates" : "invalidates"} the stored response, which is ${state}`, async () => {
      const page = resource((request, turn) =>
        request.method === "HEAD"
          ? { headers: freshFor(200, "X-New: 2", ...headers), length, body: "" }
          : { headers: freshFor(100, "X-Old: 1", 'ETag: "a"', `Last-Modified: ${MODIFIED}`), body: `no ${turn}` },
      );
      await page.getAndStore();
      await advanceClock(ageSeconds);
      const head = await page.head(fields);
      assert.equal(head.status, 200);
      assertForwarded(head, fwd, "");
      assert.equal(page.requests[1].method, "HEAD");
      if (isValid) {
        await page.waitUntilStored(2);
        const hit = await page.get();
        assertHit(hit, "no 1");
        assert.equal(hit.headers["x-new"], "2");
        assert.equal(page.requestCount, 2);
      } else {
        await advanceClock(1);
        assert.equal((await page.get()).text, "no 3");
      }
    });
  }
}

const TAG = 'ETag: "a,b"';
/** Validators of a fresh stored response, the client's preconditions, and the status. */
const clients = [
  ["its entity tag", [TAG], { "If-None-Match": '"a,b"' }, 304],
  ["another entity tag", [TAG], { "If-None-Match": '"a"' }, 200],
  ["its entity tag as a weak one", [TAG], { "If-None-Match": 'W/"a,b"' }, 304],
  ["its entity tag, stored as a weak one, as a strong one", ['ETag: W/"a"'], { "If-None-Match": '"a"' }, 304],
  ["a list with its entity tag", [TAG], { "If-None-Match": '"x", "a,b" , W/"y"' }, 304],
  ["two lines, one with its entity tag", [TAG], { "If-None-Match": ['"x"', '"a,b"'] }, 304],
  ["any entity tag", [TAG], { "If-None-Match": "*" }, 304],
  ["any entity tag, and none is stored", [], { "If-None-Match": "*" }, 304],
  ["an entity tag, and none is stored", [], { "If-None-Match": '"a"' }, 200],
  ["its Last-Modified", [`Last-Modified: ${MODIFIED}`], { "If-Modified-Since": MODIFIED }, 304],
  ["a later date", [`Last-Modified: ${MODIFIED}`], { "If-Modified-Since": "Wed, 21 Oct 2015 07:28:01 GMT" }, 304],
  ["an earlier date", [`Last-Modified: ${MODIFIED}`], { "If-Modified-Since": "Wed, 21 Oct 2015 07:27:59 GMT" }, 200],
  ["its Last-Modified in an old form", [`Last-Modified: ${MODIFIED}`], { "If-Modified-Since": "Wednesday, 21-Oct-15 07:28:00 GMT" }, 304],
  ["an invalid date", [`Last-Modified: ${MODIFIED}`], { "If-Modified-Since": "yesterday" }, 200],
  ["a date after its Date, if no Last-Modified is stored", [], () => ({ "If-Modified-Since": httpDate() }), 304],
  ["a date before its Date, if no Last-Modified is stored", [], () => ({ "If-Modified-Since": httpDate(-1000) }), 200],
  ["another entity tag, which counts alone, and its date", [TAG, `Last-Modified: ${MODIFIED}`], { "If-None-Match": '"x"', "If-Modified-Since": MODIFIED }, 200],
  [
    "its entity tag, which counts alone, and an earlier date",
    [TAG, `Last-Modified: ${MODIFIED}`],
    { "If-None-Match": '"a,b"', "If-Modified-Since": "Wed, 21 Oct 2015 07:27:59 GMT" },
    304,
  ],
  ["its entity tag and a Range", [TAG], { "If-None-Match": '"a,b"', Range: "bytes=0-0" }, 304],
];
for (const [name, validators, given, status] of clients) {
  test(`a client with ${name} gets ${status} from the cache, also for HEAD`, async () => {
    const page = resource({ headers: freshFor(100, ...validators) });
    await page.getAndStore();
    await advanceClock(10);
    const headers = typeof given === "function" ? given() : given;
    for (const method of ["GET", "HEAD"]) {
      const response = await page.request(method, { headers });
      assert.equal(response.status, status, method);
      assertHit(response, status === 200 && method === "GET" ? "1" : "");
    }
    assert.equal(page.requestCount, 1);
  });
}

test("a 304 from the cache has the required fields, and none that describe a body", async () => {
  const expires = httpDate(10_000);
  const lines = ['ETag: "a"', "Content-Location: /x", `Expires: ${expires}`, "Vary: X-A", "Content-Type: text/x-test", "Content-Language: de"];
  const page = resource({ headers: freshFor(100, ...lines), body: "a body" });
  const { headers: first } = await page.getAndStore();
  await advanceClock(10);
  const { status, headers, text } = await page.get({ "If-None-Match": '"a"' });
  assert.equal(status, 304);
  assert.equal(text, "");
  assert.equal(headers.etag, '"a"');
  assert.equal(headers["content-location"], "/x");
  assert.equal(headers.expires, expires);
  assert.equal(headers.vary, "X-A");
  assert.equal(headers["cache-control"], "max-age=100");
  assert.equal(headers.date, first.date);
  assertAboutSeconds(headers.age, 10, "Age");
  for (const name of ["content-type", "content-language", "content-length", "transfer-encoding"]) assert.equal(headers[name], undefined, name);
});

test("with nothing stored a client's preconditions are forwarded; the 304 is passed on and not stored", async () => {
  const page = resource((request) =>
    request.field("If-None-Match") === '"mine"' ? { status: 304, headers: freshFor(100, 'ETag: "mine"') } : { headers: freshFor(100, 'ETag: "a"') },
  );
  const response = await page.get({ "If-None-Match": '"mine"', "If-Modified-Since": MODIFIED });
  assert.equal(response.status, 304);
  assertForwarded(response, "uri-miss", "", { "fwd-status": 304, stored: undefined });
  assert.deepEqual(conditionsOf(page.requests[0]), { none: '"mine"', since: MODIFIED });
  const plain = await page.get();
  assert.equal(plain.status, 200);
  assertForwarded(plain, "uri-miss", "2");
});

test("a stored response is validated with its own tag; the client's is compared with the result", async () => {
  const script = (request) => {
    const headers = freshFor(100, 'ETag: "a"');
    return request.field("If-None-Match") === '"a"' ? { status: 304, headers } : { headers, body: "kept" };
  };
  for (const [named, status, text] of [
    ['"a"', 304, ""],
    ['"old"', 200, "kept"],
  ]) {
    const page = resource(script);
    await page.getAndStore();
    await advanceClock(150);
    const response = await page.get({ "If-None-Match": named });
    assert.equal(response.status, status);
    assertForwarded(response, "stale", text, { "fwd-status": 304 });
    assert.deepEqual(conditionsOf(page.requests[1]), { none: '"a"', since: undefined });
  }
});

test("the replacement of a stale response is compared with the client's tag too", async () => {
  const page = resource([{ headers: freshFor(100, 'ETag: "a"') }, { headers: freshFor(100, 'ETag: "b"') }]);
  await page.getAndStore();
  await advanceClock(150);
  const response = await page.get({ "If-None-Match": '"a"' });
  assert.equal(response.status, 200);
  assertForwarded(response, "stale", "2", { "fwd-status": 200 });
});

test("a stale response without a validator is fetched without the client's preconditions", async () => {
  const page = resource({ headers: freshFor(100) });
  await page.getAndStore();
  await advanceClock(150);
  assert.equal((await page.get({ "If-None-Match": '"x"' })).text, "2");
  assert.deepEqual(conditionsOf(page.requests[1]), { none: undefined, since: undefined });
});

for (const headers of [{ "If-Match": '"x"' }, { "If-Unmodified-Since": MODIFIED }]) {
  const [[name, value]] = Object.entries(headers);
  test(`${name} is left to the upstream, whatever is stored`, async () => {
    const page = resource((request) => (request.field(name) ? { status: 412, body: "failed" } : { headers: freshFor(100, 'ETag: "a"') }));
    await page.getAndStore();
    const response = await page.get(headers);
    assert.equal(response.status, 412);
    assert.equal(response.text, "failed");
    assert.equal(page.requests[1].field(name), value);
    assertHit(await page.get(), "1");
  });
}

test("a 304 about another response, and then an error: the stale response is served", async () => {
  const page = resource([{ headers: ["Cache-Control: max-age=1, stale-if-error=100", 'ETag: "a"'] }, { status: 304, headers: ['ETag: "b"'] }, { status: 503 }]);
  await page.getAndStore();
  await advanceClock(2);
  assertHit(await page.get(), "1", { detail: "stale-if-error" });
  assert.equal(page.requestCount, 3);
});

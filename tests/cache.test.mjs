// `GET /cache?url=U`: what is fetched, what is stored, what is served from the store.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { send, sendForJson } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { respondWithPage, startUpstream } from "./harness/upstream.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startUpstream();
const worker = await startWorker({ vars: { CACHE_UPSTREAMS: upstream.origin } });
const { CACHE_KV } = worker.env;

const html = "<html><head><title>A page</title></head><body><p>Its text</p></body></html>";
const requestPage = (url, options) => send(worker, `/cache?url=${encodeURIComponent(url)}`, options);
const stored = (url) => eventually(() => CACHE_KV.get(`page:${url}`, "json"), `the page of ${url} in CACHE_KV`);

function assertMiss(response, { status = 200, isStored = status === 200, detail } = {}) {
  assert.equal(response.status, 200, response.text);
  assert.match(response.headers["content-type"], /^application\/json\b/);
  assert.equal(response.json().fromCache, false);
  const cacheStatus = `kv-edge; fwd=uri-miss; fwd-status=${status}` + (isStored ? "; stored; ttl=60" : "") + (detail ? `; detail=${detail}` : "");
  // A second may pass between the upstream's `Date` and the response.
  assert.equal(response.headers["cache-status"].replace("; ttl=59", "; ttl=60"), cacheStatus);
}

function assertHit(response) {
  assert.equal(response.status, 200, response.text);
  assert.match(response.headers["content-type"], /^application\/json\b/);
  assert.equal(response.json().fromCache, true);
}

test("a miss is fetched, returned and stored; a hit is the same page, and is not fetched", async () => {
  const url = upstream.serve(respondWithPage(html));
  const before = Date.now();
  const miss = await requestPage(url);
  assertMiss(miss);
  const { data, ...rest } = miss.json();
  assert.deepEqual(rest, { fromCache: false });
  assert.deepEqual(Object.keys(data).sort(), ["content", "lastUpdated", "title"]);
  assert.equal(data.title, "A page");
  assert.equal(data.content, "Its text");
  assert.match(data.lastUpdated, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.ok(Date.parse(data.lastUpdated) >= before - 1000);

  assert.deepEqual(await stored(url), data);
  for (let hits = 0; hits < 3; hits += 1) {
    const hit = await requestPage(url);
    assertHit(hit);
    assert.deepEqual(hit.json(), { data, fromCache: true });
  }
  assert.equal(upstream.requestCount(url), 1);
});

test("a stored page without Cache-Control expires 60 seconds after the put", async () => {
  const url = upstream.serve(respondWithPage(html));
  const before = Math.floor(Date.now() / 1000);
  await requestPage(url);
  await stored(url);
  const after = Math.ceil(Date.now() / 1000);
  const { keys } = await CACHE_KV.list({ prefix: `page:${url}` });
  const [{ name, expiration }] = keys;
  assert.equal(name, `page:${url}`);
  assert.ok(before + 60 <= expiration && expiration <= after + 60, `${before} ${expiration} ${after}`);
});

test("the page is served from the record, no matter who wrote it", async () => {
  const url = `${upstream.origin}/${uniqueName("seeded")}`;
  const data = { title: "Seeded", content: 'quotes " and \\ and 日本 & <b>', lastUpdated: "2026-01-02T03:04:05.678Z" };
  await CACHE_KV.put(`page:${url}`, JSON.stringify(data));
  const hit = await requestPage(url);
  assertHit(hit);
  assert.deepEqual(hit.json().data, data);
  assert.equal(upstream.requestCount(url), 0);
});

for (const record of [
  "not json",
  "",
  "{",
  "null",
  "[]",
  "42",
  '"text"',
  "{}",
  '{"title":"t"}',
  '{"title":1,"content":"c","lastUpdated":"2026-01-01T00:00:00.000Z"}',
  '{"title":"t","content":null,"lastUpdated":"2026-01-01T00:00:00.000Z"}',
  '["t","c","2026-01-01T00:00:00.000Z"]',
  '{"title":"t","content":"c","lastUpdated":"2026-01-01T00:00:00.000Z"}}',
]) {
  test(`the broken record ${JSON.stringify(record)} is a miss, and is replaced`, async () => {
    const url = upstream.serve(respondWithPage(html));
    await CACHE_KV.put(`page:${url}`, record);
    assertMiss(await requestPage(url), { detail: "broken-record" });
    await eventually(async () => (await CACHE_KV.get(`page:${url}`)) !== record, "a new record");
    assertHit(await requestPage(url));
    assert.equal(upstream.requestCount(url), 1);
  });
}

for (const status of [201, 203, 299]) {
  test(`a page of status ${status} is stored`, async () => {
    const url = upstream.serve(respondWithPage(html, { status }));
    assertMiss(await requestPage(url), { status, isStored: true });
    await stored(url);
    assertHit(await requestPage(url));
  });
}

for (const status of [304, 400, 401, 403, 404, 410, 429, 500, 503]) {
  test(`a page of status ${status} is converted and returned, but never stored`, async () => {
    const body = status === 304 ? "" : html;
    const url = upstream.serve(respondWithPage(body, { status }));
    for (let fetches = 1; fetches <= 2; fetches += 1) {
      const miss = await requestPage(url);
      assertMiss(miss, { status });
      assert.equal(miss.json().data.title, status === 304 ? "No title found" : "A page");
      assert.equal(upstream.requestCount(url), fetches);
    }
    assert.equal(await CACHE_KV.get(`page:${url}`), null);
  });
}

test("each URL has its own page, the query included", async () => {
  const path = `/${uniqueName("own")}`;
  const urls = ["", "?a=1", "?a=2", "?a=1&b=%20", "/", "//"].map((tail) => upstream.origin + path + tail);
  for (const url of urls) {
    const target = url.replace(upstream.origin, "");
    upstream.serve(respondWithPage(`<title>${target.replaceAll("&", "&amp;")}</title>`), target);
  }
  for (const url of urls) {
    const miss = await requestPage(url);
    assertMiss(miss);
    assert.equal(miss.json().data.title, url.replace(upstream.origin, ""));
    await stored(url);
  }
  for (const url of urls) {
    const hit = await requestPage(url);
    assertHit(hit);
    assert.equal(hit.json().data.title, url.replace(upstream.origin, ""));
  }
});

test("the fragment is not part of the page's URL", async () => {
  const url = upstream.serve(respondWithPage(html));
  assertMiss(await requestPage(`${url}#one`));
  await stored(url);
  assertHit(await requestPage(`${url}#two`));
  assertHit(await requestPage(url));
  assert.equal(upstream.requestCount(url), 1);
});

test("a page's key contains the URL, or its SHA-256 if the key would be longer than 512 bytes", async () => {
  const base = upstream.serve(respondWithPage(html));
  const filled = (bytes) => `${base}?${"q".repeat(bytes - "page:".length - base.length - 1)}`;
  const fits = filled(512);
  const tooLong = filled(513);
  assertMiss(await requestPage(fits));
  await stored(fits);
  assertHit(await requestPage(fits));

  assertMiss(await requestPage(tooLong));
  const digest = createHash("sha256").update(tooLong).digest("hex");
  await eventually(() => CACHE_KV.get(`page:sha256:${digest}`), "the page under its hash");
  assertHit(await requestPage(tooLong));
});

test("long URLs that differ only at their end have their own pages", async () => {
  const base = upstream.serve(respondWithPage(html));
  const urls = ["x", "y"].map((end) => `${base}?${"q".repeat(3000)}${end}`);
  for (const url of urls) assertMiss(await requestPage(url));
  for (const url of urls) {
    const digest = createHash("sha256").update(url).digest("hex");
    await eventually(() => CACHE_KV.get(`page:sha256:${digest}`), "the page under its hash");
  }
  for (const url of urls) assertHit(await requestPage(url));
});

test("nothing of the visitor reaches the upstream, since the page is for everybody", async () => {
  const url = upstream.serve(respondWithPage(html));
  const headers = { Cookie: "session=secret", Authorization: "Bearer secret", "X-Custom": "secret" };
  assertMiss(await requestPage(url, { headers }));
  const received = upstream.requests.find((request) => request.url === new URL(url).pathname);
  assert.equal(received.method, "GET");
  assert.ok(!JSON.stringify(received.headers).includes("secret"));
});

test("concurrent visitors all get the page", async () => {
  const url = upstream.serve(respondWithPage(html));
  const responses = await Promise.all(Array.from({ length: 8 }, () => requestPage(url)));
  for (const response of responses) {
    assert.equal(response.status, 200);
    assert.equal(response.json().data.title, "A page");
  }
});

test("a request that waits for its upstream does not delay others", async () => {
  let finish;
  const slow = upstream.serve((_request, response) => {
    finish = () => response.end(html);
  });
  const waiting = requestPage(slow);
  await eventually(() => finish, "the request at the upstream");
  assertMiss(await requestPage(upstream.serve(respondWithPage(html))));
  assert.equal((await send(worker, "/config?userId=somebody")).status, 200);
  finish();
  assertMiss(await waiting);
});

test("POST gets 405", async () => {
  const url = upstream.serve(respondWithPage(html));
  const path = `/cache?url=${encodeURIComponent(url)}`;
  const response = await sendForJson(worker, path, { method: "POST" });
  assertProblem(response, 405, "method_not_allowed");
  assert.match(response.headers.allow, /\bGET\b/);
  assert.equal(upstream.requestCount(url), 0);
});

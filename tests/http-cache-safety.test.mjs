// `/cache/{absolute URL}`: which URLs are fetched, with which request line; that redirects and
// loops are not followed, and that nobody gets a response that was made for another visitor
// alone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { send, sendForJson } from "./harness/http.mjs";
import { assertForwarded, assertHit, freshFor, parseCacheStatus, startCache } from "./harness/http-cache.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";
import { startScriptedUpstream } from "./harness/scripted-upstream.mjs";
import { unlistedUrls } from "./harness/upstream.mjs";

const unlisted = await startScriptedUpstream();
// There is no token: `POST /cache/purge` stays closed.
const cache = await startCache({ extraUpstreams: ["https://exact.invalid", "https://*.wild.invalid"], secrets: {} });
const { resource, upstream, worker } = cache;
const { host, origin, port } = upstream;
unlisted.serveByDefault({ headers: freshFor(1000), body: "unlisted" });
upstream.serveByDefault((request) => ({ headers: freshFor(1000), body: request.target }));

const hidePorts = (text) => text.replaceAll(String(port), "PORT").replaceAll(String(unlisted.port), "ANOTHER");
const at = (path, options) => send(worker, path, options);
const atForJson = (path, options) => sendForJson(worker, path, options);

/** Checks that a path gets this error, and that no upstream receives a request. */
async function refused(path, status, code) {
  const before = upstream.requests.length;
  assertProblem(await atForJson(path), status, code);
  assertPlainError(await at(path), status, /./);
  assert.equal(upstream.requests.length, before);
  assert.deepEqual(unlisted.requests, []);
}

for (const url of [
  ...unlistedUrls(port, unlisted),
  "https://wild.invalid/x",
  "https://xwild.invalid/x",
  "http://a.wild.invalid/x",
  `https://unlisted.invalid/${origin}/x`,
  `https://unlisted.invalid/?${origin}`,
  "http://[::1]/x",
  "http://169.254.169.254/latest/meta-data/",
  "https:/unlisted.invalid/x",
]) {
  test(`the origin of ${hidePorts(url)} is not on CACHE_UPSTREAMS: 403, and nothing is fetched`, () => refused(`/cache/${url}`, 403, "upstream_not_allowed"));
}

for (const rest of [
  "",
  "x",
  "/x",
  `${host}/x`,
  `//${host}/x`,
  "http:",
  "http://",
  "http:///x",
  "http:///",
  "ftp://127.0.0.1/x",
  "file:///etc/passwd",
  "javascript:alert(1)",
  "data:text/html,x",
  `ws://${host}/x`,
  `http:${host}/x`,
  `http://user@${host}/x`,
  `http://user:password@${host}/x`,
  `http://:@${host}/x`,
  `${origin}@unlisted.invalid/x`,
  `${origin}:80/x`,
  "http://127.0.0.1:99999/x",
  "http://127.0.0.1:/x:y@z/",
  "http://127.0.0.1:8x/x",
  "http://[/x",
  "http://[::1/x",
  "http://a b/x",
  "http://a%20b/x",
  `http://127.0.0.1%3a${port}/x`,
  `http%3a//${host}/x`,
  "http://ex%61ct.invalid/x",
  "http://exact.invalid%00.unlisted.invalid/x",
]) {
  test(`${hidePorts(rest) || "nothing"} is not an http(s) URL that may be fetched: 400`, () =>
    refused(`/cache/${rest.replaceAll(" ", "%20")}`, 400, "invalid_url"));
}

test("one slash after the scheme is enough, and scheme and host are case-insensitive", async () => {
  const page = resource({ headers: freshFor(1000) });
  await page.getAndStore();
  for (const url of [`http:/${host}${page.path}`, `HTTP://${host}${page.path}`, `Http:/${host}${page.path}`]) {
    assertHit(await at(`/cache/${url}`), "1");
  }
  assert.equal(page.requestCount, 1);
});

test("a URL without a path means /", async () => {
  const response = await at(`/cache/${origin}`);
  assert.equal(response.status, 200);
  assert.equal(response.text, "/");
  assert.equal((await at(`/cache/${origin}?a=b`)).text, "/?a=b");
});

/**
 * What follows `/cache/`, and the target that the upstream receives, or the status if it receives
 * none.
 */
const paths = [
  [`${origin}/a/../b`, "/b"],
  [`${origin}/a/%2e%2E/b`, "/b"],
  [`${origin}/a/./b`, "/a/b"],
  [`${origin}/a/..%2fb`, "/a/..%2Fb"],
  [`${origin}/%2e%2e%2fb`, "/..%2Fb"],
  [`${origin}/a\\b`, "/a/b"],
  [`${origin}/a//b///`, "/a//b///"],
  [`${origin}//unlisted.invalid/x`, "//unlisted.invalid/x"],
  [`${origin}/@unlisted.invalid/x`, "/@unlisted.invalid/x"],
  [`${origin}/${unlisted.origin}/x`, `/${unlisted.origin}/x`],
  [`${origin}/a%0d%0aX-Injected:%201`, "/a%0D%0AX-Injected:%201"],
  [`${origin}/a?b=%0d%0aX-Injected:%201%0d%0a%0d%0aGET%20/x`, "/a?b=%0D%0AX-Injected:%201%0D%0A%0D%0AGET%20/x"],
  [`${origin}/a%20HTTP/1.1%0aHost:%20evil`, "/a%20HTTP/1.1%0AHost:%20evil"],
  [`${origin}/a%00%ff%zz%`, "/a%00%FF%zz%"],
  [`${origin}/a?`, "/a?"],
  [`${origin}/a??b&&=?c=/../d`, "/a??b&&=?c=/../d"],
  [`${origin}/a?u=http://unlisted.invalid/`, "/a?u=http://unlisted.invalid/"],
  [`${origin}/a%23b`, "/a%23b"],
  [`${origin}/..`, 400],
  [`${origin}/../..`, 400],
  [`${origin}/../${unlisted.host}/x`, 403],
  [`${origin}/%2e%2e/${unlisted.host}/x`, 403],
  [`${origin}/..\\${unlisted.host}/x`, 403],
  [`${origin}/a/../../${unlisted.host}/x`, 403],
  [`${origin}/../../x`, 403],
  [`x/../${unlisted.origin}/x`, 403],
];
for (const [sent, target] of paths) {
  const outcome = typeof target === "number" ? `gets ${target}, and nothing is fetched` : `fetches ${hidePorts(target)}`;
  test(`/cache/${hidePorts(JSON.stringify(sent))} ${outcome}`, async () => {
    const before = upstream.requests.length;
    const response = await at(`/cache/${sent}`, { headers: { "Cache-Control": "no-store" } });
    const seen = upstream.requests.slice(before);
    assert.deepEqual(unlisted.requests, []);
    if (typeof target === "number") {
      assert.equal(response.status, target, response.text);
      assert.deepEqual(seen, []);
      return;
    }
    assert.deepEqual(
      seen.map(({ line }) => line),
      [`GET ${target} HTTP/1.1`],
    );
    assert.deepEqual(seen[0].values("Host"), [host]);
    assert.equal(seen[0].field("X-Injected"), undefined);
  });
}

test("dot segments that leave /cache are another route", async () => {
  for (const path of [`/cache/${origin}/../../../../healthz`, "/cache/../healthz"]) {
    assert.equal((await at(path)).headers["cache-status"], undefined);
  }
});

test("a URL of 8192 bytes is accepted, a longer one refused: 414", async () => {
  const fits = `${origin}/${"x".repeat(8192 - origin.length - 1)}`;
  assert.equal((await at(`/cache/${fits}`)).status, 200);
  const response = await atForJson(`/cache/${fits}x`);
  assert.equal(response.status, 414, response.text);
  assert.equal(response.json().code, "url_too_long");
  assert.equal((await at(`/cache/${origin}/?${"x".repeat(9000)}`)).status, 414);
});

for (const loop of ["kv-edge", "other, kv-edge", "kv-edge; v=1", "a;b=c ,kv-edge ;x=y, d"]) {
  test(`a CDN-Loop ${JSON.stringify(loop)} is a loop: 508`, async () => {
    const before = upstream.requests.length;
    for (const method of ["GET", "POST"]) {
      const response = await atForJson(`/cache/${origin}/loop`, { method, headers: { "CDN-Loop": loop } });
      assertProblem(response, 508, "loop_detected");
    }
    assert.equal(upstream.requests.length, before);
  });
}

test("TRACE gets 405, and nothing is fetched", async () => {
  const before = upstream.requests.length;
  assert.equal((await at(`/cache/${origin}/x`, { method: "TRACE" })).status, 405);
  assert.equal(upstream.requests.length, before);
});

test("without the secret API_TOKEN a purge gets 503", async () => {
  for (const headers of [{}, { Authorization: "Bearer " }, { Authorization: "Bearer undefined" }]) {
    const response = await atForJson("/cache/purge", { method: "POST", headers, body: JSON.stringify({ url: `${origin}/x` }) });
    assertProblem(response, 503, "not_configured");
  }
});

for (const status of [301, 302, 303, 307, 308]) {
  test(`a ${status} is passed on as it is, and never followed`, async () => {
    for (const location of [`${unlisted.origin}/x`, "/next", `${origin}/next`]) {
      const page = resource({ status, headers: freshFor(100, `Location: ${location}`) });
      for (const response of [await page.getAndStore(), await page.get()]) {
        assert.equal(response.status, status);
        assert.equal(response.headers.location, location);
      }
      assert.equal(page.requestCount, 1);
    }
    assert.equal(upstream.requestCount("/next"), 0);
    assert.deepEqual(unlisted.requests, []);
  });
}

/** A handler that responds with the visitor's cookie or credentials, and with these fields. */
const respondPersonally =
  (...lines) =>
  (request) => ({ headers: lines, body: `for ${request.field("Cookie") ?? request.field("Authorization") ?? "nobody"}` });

for (const [name, lines] of [
  ["private", ["Cache-Control: private, max-age=1000"]],
  ["no-store", ["Cache-Control: no-store"]],
  ["Vary: *", freshFor(1000, "Vary: *")],
  ["Vary: Cookie", freshFor(1000, "Vary: Cookie")],
  ["no field about caching", []],
]) {
  test(`a response with ${name} is never served to another visitor`, async () => {
    const page = resource(respondPersonally(...lines));
    for (let rounds = 0; rounds < 2; rounds += 1) {
      for (const cookie of ["user=a", "user=b", undefined]) {
        const headers = cookie === undefined ? {} : { Cookie: cookie };
        assert.equal((await page.get(headers)).text, `for ${cookie ?? "nobody"}`);
      }
    }
  });
}

test("a response to Authorization with max-age alone is not served to other visitors, nor to anonymous ones", async () => {
  const page = resource(respondPersonally("Cache-Control: max-age=1000"));
  for (const authorization of ["Bearer a", "Bearer b", undefined, "Bearer a"]) {
    const headers = authorization === undefined ? {} : { Authorization: authorization };
    // An anonymous response is shared from then on.
    const response = await page.get(headers);
    if (parseCacheStatus(response).hit) assert.equal(response.text, "for nobody");
    else assert.equal(response.text, `for ${authorization ?? "nobody"}`);
  }
});

test("similar URLs have their own responses", async () => {
  const base = `/${"alike"}`;
  const targets = [
    base,
    `${base}/`,
    `${base}?`,
    `${base}%3F`,
    `/Alike`,
    `/${base}`,
    `${base}//`,
    `${base}%2F`,
    `${base}?a`,
    `${base}?A`,
    `${base}?a=`,
    `${base}%23x`,
  ];
  for (let rounds = 0; rounds < 2; rounds += 1) {
    for (const target of targets) assert.equal((await at(`/cache/${origin}${target}`)).text, target);
    // RFC 3986 §6.2.2.2: an unnecessary escape is equivalent, and the upstream gets the normalized
    // form.
    assert.equal((await at(`/cache/${origin}/%61like`)).text, base);
  }
});

test("the response to a range, to a HEAD, or to a POST without Content-Location is not served to a GET", async () => {
  const page = resource((request) => {
    if (request.field("Range")) return { status: 206, headers: freshFor(1000, "Content-Range: bytes 0-0/5"), body: "w" };
    return { headers: freshFor(1000), body: request.method === "POST" ? "posted" : "whole" };
  });
  assert.equal((await page.get({ Range: "bytes=0-0" })).status, 206);
  assert.equal((await page.head()).status, 200);
  assert.equal((await page.request("POST", { body: "x" })).text, "posted");
  assertForwarded(await page.get(), "uri-miss", "whole");
});

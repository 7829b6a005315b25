// kv-edge behind Workers Cache, which keys a response by path and query, not by host: no response
// is given to somebody for whom it was not made. A model of that cache stands in front of the real
// Worker, and random visitors ask for the same paths at different hosts, with different cookies,
// languages, tokens and codings. Whatever comes out of the cache is compared with what the Worker
// itself responds to that visitor.
//
// The seed is printed; KV_EDGE_CACHE_SEED=… makes the same requests again.
import assert from "node:assert/strict";
import http from "node:http";
import { after, test } from "node:test";
import { pushAssets, titledPage } from "./harness/assets.mjs";
import { send } from "./harness/http.mjs";
import { LONG_AGO, startScriptedUpstream } from "./harness/scripted-upstream.mjs";
import { randomFrom } from "./harness/soak-model.mjs";
import { makeFolder } from "./harness/tool.mjs";
import { bearer, startWorker } from "./harness/worker.mjs";
import { WorkersCache } from "./harness/workers-cache.mjs";

/** The requests of each test. */
const REQUESTS = 5000;
const seed = Number(process.env.KV_EDGE_CACHE_SEED ?? crypto.getRandomValues(new Uint32Array(1))[0]);
console.log(`workers-cache: KV_EDGE_CACHE_SEED=${seed}`);

/**
 * What the last segment of an upstream's path says about its response. `personal` names the
 * request field that identifies the visitor for whom the body is made.
 */
const KINDS = {
  public: { "Cache-Control": "public, max-age=3600" },
  plain: { "Cache-Control": "max-age=3600" },
  shared: { "Cache-Control": "s-maxage=600", ETag: '"same-everywhere"' },
  validated: { "Cache-Control": "no-cache", ETag: '"same-everywhere"' },
  cdn: { "Cache-Control": "private", "CDN-Cache-Control": "max-age=600" },
  cloudflare: { "Cache-Control": "no-store", "Cloudflare-CDN-Cache-Control": "max-age=600" },
  stale: { "Cache-Control": "max-age=1, stale-while-revalidate=600" },
  expires: { Expires: "Thu, 01 Jan 2099 00:00:00 GMT" },
  cookie: { "Cache-Control": "public, max-age=600", "Set-Cookie": "a=1" },
  language: { "Cache-Control": "public, max-age=600", Vary: "Accept-Language" },
  silent: { personal: "cookie" },
  private: { "Cache-Control": "private, max-age=600", personal: "cookie" },
  heuristic: { "Cache-Control": "public", "Last-Modified": LONG_AGO, personal: "cookie" },
  undirected: { "Cache-Control": "no-transform", "Last-Modified": LONG_AGO, personal: "cookie" },
  authorized: { "Cache-Control": "max-age=600", personal: "authorization" },
  withheld: { "Cache-Control": 'public, max-age=600, private="x-user"', "X-User": "somebody" },
  unvalidated: { "Cache-Control": 'public, max-age=600, no-cache="x-user"', "X-User": "somebody" },
  missing: { status: 404 },
};

/** Responds with those for whom the response is made, as JSON. */
function respond({ target, field }) {
  const [, site, path] = /^\/([^/?]*)\/?([^?]*)/.exec(target);
  const { personal, status = 200, ...fields } = KINDS[path.split("/").at(-1)] ?? KINDS.public;
  const audience = { site, path, language: fields.Vary ? (field("accept-language") ?? null) : null, user: personal ? (field(personal) ?? null) : null };
  const headers = Object.entries({ "Content-Type": "application/json", "X-Audience": "1", ...fields }).map(([name, value]) => `${name}: ${value}`);
  return { status, headers, body: JSON.stringify(audience) };
}

const upstream = await startScriptedUpstream();
upstream.serveByDefault((request) => respond({ target: request.target, field: (name) => request.field(name) }));

const script = `export const text = ${JSON.stringify("words ".repeat(200))};`;
const FILES = {
  "index.html": titledPage("start"),
  "about.html": titledPage("about"),
  "about.de.html": titledPage("über"),
  "style.css": "body { color: red }".repeat(40),
  "app.3f2a1b9c.js": script,
  public: "a file at a path of the upstreams",
  "404.html": titledPage("nothing here"),
};

/** One connection for each request in progress. */
const agent = new http.Agent({ keepAlive: true });
after(() => agent.destroy());

/** Starts a Worker with the records, files and users of all tests. */
async function start(vars) {
  const worker = await startWorker({ restApi: true, vars: { CACHE_UPSTREAMS: upstream.origin, ROUTING_ORIGINS: upstream.origin, ...vars } });
  const { ROUTING_CONFIG, USER_CONFIGURATION, assets, WRITES } = worker.env;
  const origin = (name) => `${upstream.origin}/of-${name}`;
  const variants = ["blue", "green"].map((name) => ({ name, origin: origin(name), weight: 1 }));
  for (const [key, record] of Object.entries({
    a: { origin: origin("a") },
    b: { origin: origin("b") },
    split: { variants },
    "domain:www.a.example": { storefront: "a" },
    "domain:www.own.example": { origin: origin("own") },
  })) {
    await ROUTING_CONFIG.put(key, JSON.stringify(record));
  }
  await USER_CONFIGURATION.put("ann", JSON.stringify({ preview_features_enabled: true }));
  await assets.put("hello-world.json", '[{"language_code":"en","message":"Hello World!"},{"language_code":"de","message":"Hallo Welt!"}]');
  await WRITES.put("k", "a value");
  await pushAssets(worker, makeFolder(FILES));
  const direct = { url: worker.directUrl };
  return async ({ method, path, headers, body }) => send(direct, path, { method, headers, body, agent });
}

/** The routes of kv-edge itself, and files. */
const OWN = [
  "/",
  "/about",
  "/about?lang=de",
  "/style.css",
  "/app.3f2a1b9c.js",
  "/public",
  "/nothing-there",
  "/healthz",
  "/get-started",
  "/hello-world",
  "/hello-world?lang=de",
  "/config",
  "/config?userId=ann",
  "/writes/k",
  "/ofrep/v1/evaluate/flags",
  "/%zz",
  `/cache?url=${encodeURIComponent(`${upstream.origin}/site/public`)}`,
  "/cache?url=nonsense",
];
const OF_UPSTREAMS = Object.keys(KINDS);

function pathOf({ pick, chance }) {
  if (chance(0.4)) return pick(OWN);
  const kind = pick(OF_UPSTREAMS);
  if (chance(0.5)) return `/cache/${upstream.origin}/site/${kind}`;
  return pick(["", "/stores/a", "/stores/b", "/stores/split", "/stores/nobody"]) + `/${kind}`;
}

/** Returns a random request of one of the visitors. */
function requestOf(random, hosts, visitors) {
  const { pick, chance } = random;
  const headers = {
    host: pick(hosts),
    cookie: pick([undefined, ...visitors, "lang=de"]),
    "accept-language": pick([undefined, "de", "en", "fr, de;q=0.5"]),
    "accept-encoding": pick([undefined, "gzip", "br, gzip", "identity"]),
    accept: pick([undefined, "*/*", "text/html", "application/json"]),
    authorization: chance(0.15) ? pick([bearer.Authorization, "Bearer someone"]) : undefined,
    "x-user": pick([undefined, "ann", "bob"]),
    range: chance(0.1) ? "bytes=0-3" : undefined,
    "if-none-match": chance(0.05) ? '"same-everywhere"' : undefined,
    "cache-control": chance(0.05) ? pick(["no-cache", "max-stale", "only-if-cached"]) : undefined,
  };
  const method = chance(0.9) ? pick(["GET", "GET", "GET", "HEAD"]) : pick(["POST", "OPTIONS", "PUT"]);
  const sent = Object.entries(headers).filter(([, value]) => value !== undefined);
  return { method, path: pathOf(random), headers: Object.fromEntries(sent), body: method === "POST" || method === "PUT" ? "{}" : undefined };
}

/**
 * Returns a body without what a page as JSON says of when it was read, and from where: those of a
 * response that stands in for an error are older.
 */
const bodyOf = ({ bytes }) => bytes.toString("latin1").replace(/"lastUpdated":"[^"]*"|"fromCache":(true|false)/g, "");

/** Returns why a response is not one for this visitor, whom the Worker would send `expected`. */
function mistakeIn(given, expected) {
  const differs = ["content-type", "content-language", "content-encoding"].find((name) => given.headers[name] !== expected.headers[name]);
  if (given.status !== expected.status || differs) return `${differs ?? "status"} is another one`;
  if (given.headers["x-audience"] === undefined) return bodyOf(given) === bodyOf(expected) ? undefined : "the body is another one";
  const [{ user, ...audience }, { user: expectedUser, ...expectedAudience }] = [given.json(), expected.json()];
  if (JSON.stringify(audience) !== JSON.stringify(expectedAudience)) return "it is of another site, path or language";
  // A response to a visitor without credentials is one for everybody.
  return user === null || user === expectedUser ? undefined : `it was made for ${user}`;
}

/** Returns visitors, each with the cookies of a session and of a variant. */
async function visitorsOf(run) {
  const visitors = [];
  for (const name of ["ann", "bob", "cay", "dan"]) {
    const first = await run({ method: "GET", path: "/stores/split/public", headers: { host: "platform.example" } });
    visitors.push(`session=${name}; ${first.headers["set-cookie"][0].split(";")[0]}`);
  }
  return visitors;
}

/**
 * Sends random requests through the cache to `run`. Returns how often each `Cf-Cache-Status` was
 * the result, and the first response that was given to somebody for whom it was not made.
 */
async function randomRequests(run, hosts, requests, withoutFields = []) {
  const random = randomFrom(seed);
  const visitors = await visitorsOf(run);
  let nowSeconds = 0;
  // The rest of the Worker's response stays as it is.
  const unprotected = async (request) => {
    const response = await run(request);
    const headers = Object.entries(response.headers).filter(([name]) => !withoutFields.includes(name));
    return { ...response, headers: Object.fromEntries(headers) };
  };
  // A Worker that fails makes the cache serve what is stale.
  const failing = (request) => (random.chance(0.02) ? { status: 500, headers: { "cache-control": "no-store" }, bytes: Buffer.alloc(0) } : unprotected(request));
  const cache = new WorkersCache(failing, () => nowSeconds);
  const counts = {};
  for (let sent = 0; sent < requests; sent += 1) {
    if (random.chance(0.01)) nowSeconds += random.pick([1, 10, 100, 1000, 10_000]);
    const request = requestOf(random, hosts, visitors);
    const { response, cacheStatus } = await cache.respond(request);
    counts[cacheStatus] = (counts[cacheStatus] ?? 0) + 1;
    if (["MISS", "EXPIRED", "BYPASS"].includes(cacheStatus)) continue;
    const { range: _range, "if-none-match": _tag, "cache-control": _control, ...headers } = request.headers;
    const expected = await run({ ...request, method: "GET", headers });
    const mistake = mistakeIn(response, expected);
    if (mistake) return { counts, mistake: { sent, cacheStatus, mistake, request, given: response.text, headers: response.headers, expected: expected.text } };
  }
  return { counts };
}

/** All hosts are the platform's: Workers Cache may share what it stores. */
const platform = { run: await start({ USER_ID_FROM: "header:X-User" }), hosts: ["platform.example", "other.example", "kv-edge.me.workers.dev"] };
/** Some hosts are storefronts'. */
const storefronts = {
  run: await start({ TENANT_DOMAIN: "shops.example", PLATFORM_HOSTS: "platform.example" }),
  hosts: [
    "platform.example",
    "shops.example",
    "a.shops.example",
    "b.shops.example",
    "split.shops.example",
    "www.a.example",
    "www.own.example",
    "nobody.example",
  ],
};

test(`${REQUESTS} random requests: nobody gets what was made for somebody else`, async () => {
  const { counts, mistake } = await randomRequests(platform.run, platform.hosts, REQUESTS);
  assert.equal(mistake, undefined, `KV_EDGE_CACHE_SEED=${seed} ${JSON.stringify(mistake, undefined, 2)}`);
  // The cache is of use: files and the responses of `/cache` come out of it.
  for (const cacheStatus of ["HIT", "REVALIDATED"]) assert.ok(counts[cacheStatus] > 100, JSON.stringify(counts));
});

test(`${REQUESTS} random requests to storefronts by host: nothing is stored`, async () => {
  const { counts, mistake } = await randomRequests(storefronts.run, storefronts.hosts, REQUESTS);
  assert.equal(mistake, undefined, `KV_EDGE_CACHE_SEED=${seed} ${JSON.stringify(mistake, undefined, 2)}`);
  assert.deepEqual(Object.keys(counts).sort(), ["BYPASS", "MISS"]);
});

for (const [name, { run, hosts }, withoutFields] of [
  ["storefronts by host without Cloudflare-CDN-Cache-Control", storefronts, ["cloudflare-cdn-cache-control"]],
  ["storefronts by path without Cloudflare-CDN-Cache-Control", platform, ["cloudflare-cdn-cache-control"]],
  ["responses without Cache-Control and Cloudflare-CDN-Cache-Control", platform, ["cloudflare-cdn-cache-control", "cache-control"]],
  ["responses without Vary", platform, ["vary"]],
]) {
  test(`the model finds a mistake: ${name}`, async () => {
    const { mistake } = await randomRequests(run, hosts, REQUESTS, withoutFields);
    assert.ok(mistake);
  });
}

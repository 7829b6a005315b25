// Every response says explicitly who may store it. A cache in front of the Worker would otherwise
// decide by itself: Workers Cache stores a 200 without `Cache-Control` for two hours, for
// everybody who asks for that path at any host. Console, KV REST API and metrics have tests of
// their own.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { pushAssets, titledPage } from "./harness/assets.mjs";
import { send } from "./harness/http.mjs";
import { LONG_AGO, startScriptedUpstream } from "./harness/scripted-upstream.mjs";
import { makeFolder } from "./harness/tool.mjs";
import { bearer, startWorker } from "./harness/worker.mjs";

const upstream = await startScriptedUpstream();
const { origin } = upstream;

/** The field that only Cloudflare follows, Workers Cache included, in place of `Cache-Control`. */
const TARGETED = "cloudflare-cdn-cache-control";
const PRIVATE = "private, no-store";
const NO_TRANSFORM = "no-store, no-transform";

async function start(vars) {
  const worker = await startWorker({
    restApi: true,
    vars: { CACHE_UPSTREAMS: origin, ROUTING_ORIGINS: origin, OFREP_ORIGINS: "https://page.example", CACHE_REFRESH: "0", ...vars },
  });
  const { assets, ROUTING_CONFIG, USER_CONFIGURATION } = worker.env;
  await assets.put("plain.txt", "a plain key");
  await assets.put("hello-world.json", '[{"language_code":"en","message":"Hello World!"},{"language_code":"de","message":"Hallo Welt!"}]');
  await ROUTING_CONFIG.put("shop", JSON.stringify({ origin }));
  await ROUTING_CONFIG.put("split", JSON.stringify({ variants: [{ name: "blue", origin, weight: 1 }] }));
  await ROUTING_CONFIG.put("broken", "{");
  await ROUTING_CONFIG.put("down", JSON.stringify({ origin: `${origin}/down`, fallback: { asset: "plain.txt" } }));
  await USER_CONFIGURATION.put("ann", JSON.stringify({ preview_features_enabled: true }));
  await USER_CONFIGURATION.put("flags", JSON.stringify({ flags: { f: { default: "on" } } }));
  const files = {
    "index.html": titledPage("start"),
    "app.3f2a1b9c.js": "1;",
    "style.css": "a{}",
    _redirects: "/old /style.css 301",
    _headers: "/app*\n  ! Cache-Control\n",
  };
  await pushAssets(worker, makeFolder(files));
  return worker;
}

const serve = (headers, more) => upstream.serve({ headers, body: "<title>t</title>", ...more });
const silent = serve([]);
const validated = serve(['ETag: "a"']);
const publicForValidation = serve(["Cache-Control: public", 'ETag: "a"']);
const shared = serve(["Cache-Control: public, max-age=60"]);
const fresh = serve(["Cache-Control: max-age=60"]);
const personal = serve(["Cache-Control: public", `Last-Modified: ${LONG_AGO}`]);
const page = serve(["Content-Type: text/html"]);
const namedByConnection = serve(["Connection: cache-control, vary", "Cache-Control: max-age=60", "Vary: Accept"]);
const moved = serve(["Location: /elsewhere"], { status: 301 });
upstream.serve({ status: 503 }, "/down/x");
const cached = (path) => `/cache/${origin}${path}`;
const json = JSON.stringify;
const context = json({ context: { targetingKey: "ann" } });
const FLAGS = "/ofrep/v1/evaluate/flags";

/**
 * Method, path, header fields and body of a request; the status and `Cache-Control` of the
 * response, and its `Cloudflare-CDN-Cache-Control`, if any.
 */
const requests = [
  ["GET", "/healthz", {}, undefined, 200, "no-store"],
  ["POST", "/healthz", {}, "x", 405, "no-store"],
  ["GET", "/get-started", {}, undefined, 200, "no-store"],
  ["HEAD", "/get-started", {}, undefined, 200, "no-store"],
  ["GET", "/hello-world", {}, undefined, 200, "no-cache"],
  ["GET", "/hello-world?lang=de", {}, undefined, 200, "no-cache"],

  ["GET", "/", {}, undefined, 200, "no-cache"],
  ["HEAD", "/", {}, undefined, 200, "no-cache"],
  ["GET", "/style.css", {}, undefined, 200, "public, max-age=0, must-revalidate"],
  ["GET", "/style.css", { Range: "bytes=0-0" }, undefined, 206, "public, max-age=0, must-revalidate"],
  ["GET", "/style.css", { Range: "bytes=9-" }, undefined, 416, "no-store"],
  ["GET", "/style.css", { "If-None-Match": "*" }, undefined, 304, "public, max-age=0, must-revalidate"],
  ["GET", "/style.css", { "If-Match": '"a"' }, undefined, 412, "no-store"],
  ["GET", "/app.3f2a1b9c.js", {}, undefined, 200, "no-cache"],
  ["GET", "/index.html", {}, undefined, 307, "public, max-age=0, must-revalidate"],
  ["GET", "/old", {}, undefined, 301, "public, max-age=0, must-revalidate"],
  ["GET", "/plain.txt", {}, undefined, 200, "no-cache"],
  ["GET", "/nothing-there", {}, undefined, 404, "no-store"],
  ["OPTIONS", "/style.css", {}, undefined, 405, "no-store"],
  ["GET", "/%zz", {}, undefined, 404, "no-store"],

  ["GET", "/config?userId=ann", {}, undefined, 200, PRIVATE],
  ["GET", "/config?userId=nobody", {}, undefined, 200, PRIVATE],
  ["GET", "/config", {}, undefined, 400, "no-store"],
  ["POST", "/config", bearer, json({ userIds: ["ann"] }), 200, "no-store"],
  ["POST", "/config", {}, json({ userIds: ["ann"] }), 401, "no-store"],

  ["POST", FLAGS, {}, context, 200, "private, no-cache, no-transform"],
  ["POST", FLAGS, { "If-None-Match": "*" }, context, 304, "private, no-cache, no-transform"],
  ["POST", `${FLAGS}/f`, {}, context, 200, "no-store"],
  ["POST", `${FLAGS}/none`, {}, context, 404, "no-store"],
  ["OPTIONS", FLAGS, { Origin: "https://page.example", "Access-Control-Request-Method": "POST" }, undefined, 204, "no-store"],
  ["GET", FLAGS, {}, undefined, 405, "no-store"],

  ["POST", "/writes/a?strategy=direct", bearer, "value", 200, NO_TRANSFORM],
  ["POST", "/writes/b?strategy=coalesce&wait=durable", bearer, "value", 202, NO_TRANSFORM],
  ["GET", "/writes/b?consistent=1", bearer, undefined, 200, NO_TRANSFORM],
  ["GET", "/writes/b?consistent=1", { ...bearer, "If-None-Match": "*" }, undefined, 304, NO_TRANSFORM],
  ["GET", "/writes/a", bearer, undefined, 200, NO_TRANSFORM],
  ["GET", "/writes/a", {}, undefined, 401, "no-store"],
  ["GET", "/writes/none", bearer, undefined, 404, "no-store"],

  ["GET", cached(silent), {}, undefined, 200, "private", "no-store"],
  ["GET", cached(silent), { Cookie: "session=alice" }, undefined, 200, "private", "no-store"],
  ["GET", cached(personal), { Cookie: "session=alice" }, undefined, 200, "public", "no-store"],
  ["GET", cached(personal), {}, undefined, 200, "public"],
  ["GET", cached(shared), {}, undefined, 200, "public, max-age=60"],
  ["GET", cached(shared), { Range: "bytes=0-0" }, undefined, 206, "public, max-age=60"],
  ["GET", cached(shared), { Range: "bytes=99-" }, undefined, 416, "private"],
  ["GET", cached(validated), {}, undefined, 200, "private", "no-store"],
  ["GET", cached(validated), { "If-None-Match": '"a"' }, undefined, 304, "private", "no-store"],
  ["GET", cached(publicForValidation), {}, undefined, 200, "public", "no-store"],
  ["GET", cached(namedByConnection), {}, undefined, 200, "max-age=60"],
  ["HEAD", cached(shared), {}, undefined, 200, "public, max-age=60"],
  ["GET", cached(moved), {}, undefined, 301, "private", "no-store"],
  ["POST", cached(silent), {}, "x", 200, "private", "no-store"],
  ["OPTIONS", cached(silent), {}, undefined, 200, "private", "no-store"],
  ["GET", "/cache/https://unlisted.example/", {}, undefined, 403, "no-store"],
  ["GET", `/cache?url=${encodeURIComponent(origin + page)}`, {}, undefined, 200, "no-cache"],
  ["GET", `/cache?url=${encodeURIComponent("https://unlisted.example/")}`, {}, undefined, 403, "no-store"],
  ["POST", "/cache/purge", bearer, json({ tag: "a" }), 200, "no-store"],
  ["POST", "/cache/purge", {}, json({ tag: "a" }), 401, "no-store"],

  ["GET", `/stores/shop${silent}`, { Cookie: "session=alice" }, undefined, 200, "private", "no-store"],
  ["GET", `/stores/shop${namedByConnection}`, {}, undefined, 200, "max-age=60", "no-store"],
  ["GET", `/stores/shop${fresh}`, {}, undefined, 200, "max-age=60", "no-store"],
  ["GET", `/stores/shop${shared}`, {}, undefined, 200, "public, max-age=60", "no-store"],
  ["GET", `/stores/split${silent}`, {}, undefined, 200, "private", "no-store"],
  ["GET", `/stores/split${fresh}`, {}, undefined, 200, "max-age=60, private", "no-store"],
  ["GET", `/stores/split${shared}`, {}, undefined, 200, "public, max-age=60", "no-store"],
  ["OPTIONS", `/stores/shop${silent}`, {}, undefined, 200, "private", "no-store"],
  ["GET", `/stores/shop${moved}`, {}, undefined, 301, "private", "no-store"],
  ["GET", "/stores/down/x", {}, undefined, 503, "no-store"],
  ["GET", "/stores/none/", {}, undefined, 404, "no-store"],
  ["GET", "/stores/broken/", {}, undefined, 502, "no-store"],
];

const titleOf = (method, path, headers) =>
  `${method} ${path.replace(/(:|%3A)\d+/g, "")}${Object.keys(headers).length > 0 ? ` with ${Object.keys(headers).join(", ")}` : ""}`;

describe("each route says who may store its response", async () => {
  const worker = await start({});
  for (const [method, path, headers, body, status, expected, targeted] of requests) {
    test(`${titleOf(method, path, headers)}: ${status}, ${expected}`, async () => {
      const response = await send(worker, path, { method, headers, body });
      assert.deepEqual([response.status, response.headers["cache-control"], response.headers[TARGETED]], [status, expected, targeted], response.text);
    });
  }
});

describe("if hosts name storefronts, Workers Cache stores no response of a platform host", async () => {
  const worker = await start({ TENANT_DOMAIN: "shops.example" });
  for (const [method, path, headers, body, status, expected] of requests) {
    test(titleOf(method, path, headers), async () => {
      const response = await send(worker, path, { method, headers, body });
      const { "cache-control": cacheControl, [TARGETED]: targeted } = response.headers;
      assert.deepEqual([response.status, cacheControl, targeted], [status, expected, "no-store"], response.text);
    });
  }

  test("and none of a storefront's host", async () => {
    for (const [host, status] of [
      ["shop.shops.example", 200],
      ["split.shops.example", 200],
      ["nobody.shops.example", 404],
      ["www.nobody.example", 404],
    ]) {
      const response = await send(worker, shared, { headers: { Host: host } });
      assert.deepEqual([response.status, response.headers[TARGETED]], [status, "no-store"], host);
    }
  });
});

test("a storefront's response tells Workers Cache no-store, whatever the origin tells CDNs", async () => {
  const worker = await start({});
  const path = serve([
    "Cache-Control: no-store",
    "CDN-Cache-Control: max-age=60",
    "Cloudflare-CDN-Cache-Control: max-age=60",
    "Cloudflare-CDN-Cache-Control: public",
  ]);
  const { headers } = await send(worker, `/stores/shop${path}`);
  assert.deepEqual([headers["cache-control"], headers["cdn-cache-control"], headers[TARGETED]], ["no-store", "max-age=60", "no-store"]);
});

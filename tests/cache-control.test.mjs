// Every response says explicitly who may store it. A cache in front of the Worker would otherwise
// decide by itself: Cloudflare's Workers Cache stores a 200 without `Cache-Control` for two hours,
// for everybody.
import assert from "node:assert/strict";
import { test } from "node:test";
import { send } from "./harness/http.mjs";
import { startScriptedUpstream } from "./harness/scripted-upstream.mjs";
import { bearer, startWorker } from "./harness/worker.mjs";

const upstream = await startScriptedUpstream();
const worker = await startWorker({ vars: { CACHE_UPSTREAMS: upstream.origin, ROUTING_ORIGINS: upstream.origin, CACHE_REFRESH: "0" } });
await worker.env.assets.put("plain.txt", "a plain key");
await worker.env.assets.put("hello-world.json", JSON.stringify([{ key: "hello-world", language_map: { en: "Hello World!", de: "Hallo Welt!" } }]));
await worker.env.ROUTING_CONFIG.put("shop", JSON.stringify({ origin: upstream.origin }));
await worker.env.USER_CONFIGURATION.put("ann", JSON.stringify({ preview_features_enabled: true }));

/** Upstream responses without cache directives; some could be stored. */
const silent = upstream.serve({ body: "x" });
const validated = upstream.serve({ headers: ['ETag: "a"'], body: "x" });
const page = upstream.serve({ headers: ["Content-Type: text/html"], body: "<title>t</title>" });

const requests = [
  ["GET", "/get-started"],
  ["HEAD", "/get-started"],
  ["GET", "/hello-world"],
  ["GET", "/hello-world?lang=de"],
  ["GET", "/plain.txt"],
  ["GET", "/nothing-there"],
  ["GET", "/healthz"],
  ["GET", "/config?userId=ann"],
  ["POST", "/config", bearer, JSON.stringify({ userIds: ["ann"] })],
  ["POST", "/ofrep/v1/evaluate/flags", {}, JSON.stringify({ context: { targetingKey: "ann" } })],
  ["POST", "/ofrep/v1/evaluate/flags/none", {}, JSON.stringify({ context: { targetingKey: "ann" } })],
  ["POST", "/writes/a?strategy=direct", bearer, "value"],
  ["GET", "/writes/a", bearer],
  ["GET", "/writes/a"],
  ["POST", "/cache/purge", bearer, JSON.stringify({ tag: "a" })],
  ["GET", `/cache/${upstream.origin}${silent}`],
  ["GET", `/cache/${upstream.origin}${silent}`, { Cookie: "session=alice" }],
  ["GET", `/cache/${upstream.origin}${validated}`],
  ["GET", `/cache/${upstream.origin}${validated}`, { "If-None-Match": '"a"' }],
  ["HEAD", `/cache/${upstream.origin}${validated}`],
  ["POST", `/cache/${upstream.origin}${silent}`, {}, "x"],
  ["GET", `/cache?url=${encodeURIComponent(upstream.origin + page)}`],
  ["GET", `/cache?url=${encodeURIComponent("https://unlisted.example/")}`],
  ["GET", `/stores/shop${silent}`, { Cookie: "session=alice" }],
  ["GET", "/stores/none/"],
];
for (const [method, path, headers = {}, body] of requests) {
  test(`${method} ${path.replace(/:\d+/g, "")}${headers.Cookie ? " with a cookie" : ""} says who may store the response`, async () => {
    const response = await send(worker, path, { method, headers, body });
    assert.ok(response.headers["cache-control"], `${response.status} ${JSON.stringify(response.headers)}`);
  });
}

test("an upstream's cache directives are passed on unchanged", async () => {
  const path = upstream.serve({ headers: ["Cache-Control: public, max-age=60"], body: "x" });
  for (const prefix of [`/cache/${upstream.origin}`, "/stores/shop"]) {
    assert.equal((await send(worker, prefix + path)).headers["cache-control"], "public, max-age=60");
  }
});

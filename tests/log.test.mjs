// The log: warnings and errors at their level, each with the id of its request, unless an object
// of KEY_WRITER logs it, and nothing that a visitor sent.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { eventually } from "./harness/eventually.mjs";
import { openRequest, send } from "./harness/http.mjs";
import { NAMESPACES } from "./harness/kv-api.mjs";
import { uniqueName } from "./harness/names.mjs";
import { neverRespond } from "./harness/raw-upstream.mjs";
import { breakInBody, closedOrigin, startUpstream } from "./harness/upstream.mjs";
import { bearer, startWorker, WORKER_TOKEN } from "./harness/worker.mjs";

const upstream = await startUpstream();
/** Another one, which may break off but never hangs, so that its circuit stays closed. */
const answeringUpstream = await startUpstream();
/** An origin at which nothing listens. */
const closed = await closedOrigin();
const worker = await startWorker({
  faulty: true,
  vars: {
    // With a wildcard the visitor chooses the host.
    CACHE_UPSTREAMS: `${upstream.origin},${answeringUpstream.origin},${closed},http://*.nowhere.invalid,https://*.nowhere.invalid`,
    CACHE_REFRESH: "0",
    CONFIG_REFRESH: "0",
    ROUTING_REFRESH: "0",
    ASSETS_REFRESH: "0",
    ROUTING_ORIGINS: `${upstream.origin},${closed},http://*.nowhere.invalid`,
    TENANT_DOMAIN: "shops.localhost",
    KV_API_WRITABLE: "WRITES",
    UPSTREAM_TIMEOUT_MS: "400",
  },
});
const { CACHE_KV, ROUTING_CONFIG, USER_CONFIGURATION, assets } = worker.env;
const API = `/client/v4${NAMESPACES}/WRITES`;

/** Text that a visitor sends wherever they can. No log line may contain its beginning. */
const PLANTED = "plantedsecret";
/** Its beginning, where no longer text is allowed: a language subtag has at most eight letters. */
const BEGINNING = PLANTED.slice(0, 8);
const fields = {
  Cookie: `session=${PLANTED}cookie`,
  Referer: `https://${PLANTED}referer.example/`,
  "User-Agent": `${PLANTED}agent`,
  "X-Own": `${PLANTED}field`,
  [`X-${PLANTED}`]: "a name",
  "If-None-Match": `"${PLANTED}tag"`,
  Range: `bytes=0-1, ${PLANTED}`,
  "Accept-Language": `de, x-${BEGINNING}`,
  "X-Forwarded-Host": `${PLANTED}.example`,
  Via: `1.1 ${PLANTED}via`,
  // Cloudflare's ids look different; without Cloudflare a visitor may send the field.
  "CF-Ray": `${PLANTED} ray`,
};
const query = `?q=${PLANTED}query&${PLANTED}name=1`;

/** Handlers of upstreams that fail in many ways. */
const broken = {
  dies: breakInBody(),
  "dies with a length": breakInBody({ length: 100_000 }),
  hangs: neverRespond,
  "responds with 500": (_request, response) => response.writeHead(500).end(PLANTED),
  "responds with 999": (_request, response) => {
    response.socket.end("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n");
  },
  "is no HTTP": (_request, response) => response.socket.end(`${PLANTED}\r\n\r\n`),
  closes: (_request, response) => response.socket.destroy(),
  "redirects elsewhere": (_request, response) => response.writeHead(302, { location: `https://${PLANTED}.elsewhere.invalid/` }).end(),
  "redirects in a loop": (request, response) => response.writeHead(302, { location: request.url }).end(),
  "is too long": (_request, response) => response.writeHead(200, { "cache-control": "max-age=60" }).end(Buffer.alloc(9 * 1024 * 1024, "x")),
  "has another coding": (_request, response) => response.writeHead(200, { "content-encoding": "x-own" }).end("x"),
  "is no gzip": (_request, response) => response.writeHead(200, { "content-encoding": "gzip" }).end("x"),
  "is a gzip that breaks off": (_request, response) =>
    response.writeHead(200, { "content-encoding": "gzip", "cache-control": "max-age=60" }).end(gzipSync("x".repeat(1000)).subarray(0, 20)),
  "has a field that is no field": (_request, response) => response.socket.end(`HTTP/1.1 200 OK\r\n${PLANTED}\r\n\r\n`),
};

const kvFailures = ["500", "429", "no response", "throws a string", "throws undefined"];
const faultsEverywhere = (fault) =>
  Object.fromEntries(
    ["CACHE_KV", "USER_CONFIGURATION", "ROUTING_CONFIG", "assets", "WRITES", "USERS_NOTIFICATION_CONFIG"].map((binding) => [
      binding,
      { get: [fault], put: [fault], delete: [fault], list: [fault], bulk: [fault] },
    ]),
  );

/** Sends a request that may fail in any way; its response does not matter. */
const sendAny = (path, { headers, ...options } = {}) => send(worker, path, { headers: { ...fields, ...headers }, ...options }).catch(() => {});

/**
 * Causes an internal failure and waits for its line, so that those of earlier requests are in the
 * log.
 */
async function waitForLog() {
  await ROUTING_CONFIG.put("fence", "not json");
  const id = uniqueName("fence");
  await send(worker, "/stores/fence/", { headers: { "CF-Ray": id } });
  await eventually(() => worker.log().some(({ requestId }) => requestId === id), "a line in the log");
}

const setClockOffset = (ms) => send(worker, `/.clock?offsetMs=${ms}`, { method: "PUT" });

let checkedLines = 0;

/** Checks all output, and the log since the previous check: it has at least so many lines. */
async function assertLog({ atLeast }) {
  await waitForLog();
  const lines = worker.lines();
  assert.deepEqual(
    lines.filter((line) => line.toLowerCase().includes(BEGINNING)),
    [],
    "a visitor wrote this",
  );
  assert.deepEqual(
    lines.filter((line) => line.includes(WORKER_TOKEN)),
    [],
  );
  assert.deepEqual(
    lines.filter((line) => /uncaught/i.test(line)),
    [],
  );
  const log = worker.log().slice(checkedLines);
  checkedLines += log.length;
  // One line is that of `waitForLog`.
  assert.ok(log.length - 1 >= atLeast, `${log.length - 1} lines`);
  for (const line of log) {
    assert.match(line.requestId ?? "", line.route === "KEY_WRITER" ? /^$/ : /^[\w-]+$/, JSON.stringify(line));
    assert.equal(line.stream, { warning: "warn", error: "error" }[line.level], JSON.stringify(line));
    assert.equal(line.level === "error", line.status !== undefined, JSON.stringify(line));
  }
}

test("failing upstreams of the cache log nothing that a visitor sent", async () => {
  for (const [index, [, handler]] of Object.entries(broken).entries()) {
    const url = upstream.serve(handler, `/${PLANTED}path${index}`);
    for (const path of [`/cache/${url}${query}`, `/cache?url=${encodeURIComponent(url + query)}`]) {
      await sendAny(path);
      await sendAny(path, { method: "HEAD" });
    }
    await sendAny(`/cache/${url}${query}`, { method: "POST", body: `${PLANTED}body` });
  }
  for (const origin of [closed, `http://${PLANTED}.nowhere.invalid`, `https://a.${PLANTED}.nowhere.invalid`]) {
    const url = `${origin}/${PLANTED}path${query}`;
    for (const path of [`/cache/${url}`, `/cache?url=${encodeURIComponent(url)}`]) await sendAny(path);
  }
  await assertLog({ atLeast: 30 });
  const named = worker.log().filter(({ detail }) => detail.includes("nowhere"));
  assert.ok(
    named.some(({ detail }) => detail.startsWith("http://*.nowhere.invalid: ")),
    JSON.stringify(named),
  );
  assert.ok(
    named.some(({ detail }) => detail.startsWith("https://*.nowhere.invalid: ")),
    JSON.stringify(named),
  );
});

test("stale responses and failing refreshes log nothing that a visitor sent", async () => {
  for (const control of ["max-age=10, stale-while-revalidate=100, stale-if-error=100", "max-age=10, stale-if-error=100"]) {
    for (const view of [false, true]) {
      let isBroken = false;
      const url = answeringUpstream.serve(
        (_request, response) => {
          if (isBroken) return response.socket.destroy();
          response.writeHead(200, { "content-type": "text/html", "content-length": 14, "cache-control": control, etag: `"${PLANTED}"` });
          response.end("<title>t</titl");
        },
        `/${uniqueName(PLANTED)}`,
      );
      const path = view ? `/cache?url=${encodeURIComponent(url + query)}` : `/cache/${url}${query}`;
      const { "If-None-Match": _, Range: __, Cookie: ___, ...plain } = fields;
      await send(worker, path, { headers: plain });
      await eventually(() => CACHE_KV.get(`${view ? "page:" : "GET "}${url}${query}`), "it is stored");
      isBroken = true;
      await setClockOffset(20_000);
      const before = worker.log().length;
      const id = uniqueName("stale");
      const response = await send(worker, path, { headers: { ...plain, "CF-Ray": id } });
      assert.equal(response.status, 200);
      await eventually(() => worker.log().length > before, "a line in the log");
      assert.deepEqual(
        worker
          .log()
          .slice(before)
          .map(({ level, requestId }) => [level, requestId])
          .slice(0, 1),
        [["warning", id]],
      );
      await setClockOffset(0);
    }
  }
  await assertLog({ atLeast: 4 });
});

test("bodies that break off while they are stored, and clients that disconnect, log nothing that a visitor sent", async () => {
  const url = answeringUpstream.serve((_request, response) => {
    response.writeHead(200, { "cache-control": "max-age=60" });
    response.write("x".repeat(200_000), () => setTimeout(() => response.destroy(), 20));
  }, `/${PLANTED}stream`);
  const before = worker.log().length;
  await sendAny(`/cache/${url}${query}`);
  await eventually(
    () =>
      worker
        .log()
        .slice(before)
        .some(({ code, requestId }) => code === "not_stored" && requestId),
    "a line in the log",
  );
  // A client that disconnects.
  const { request, response } = openRequest(worker, `/cache/${answeringUpstream.serve((_request, slow) => slow.writeHead(200).write("x"), `/${PLANTED}gone`)}`);
  request.end();
  await response;
  request.destroy();
  await assertLog({ atLeast: 1 });
});

test("a failing KV logs nothing that a visitor sent, on every route that calls it", async () => {
  await USER_CONFIGURATION.put("flags", JSON.stringify({ flags: { a: { default: "on" } } }));
  for (const fault of kvFailures) {
    const headers = { "X-Kv-Faults": JSON.stringify(faultsEverywhere(fault)) };
    const withToken = { ...headers, ...bearer };
    const json = { ...headers, "Content-Type": "application/json" };
    const body = `${PLANTED}body`;
    await Promise.all([
      sendAny(`/healthz${query}`, { headers }),
      sendAny(`/get-started${query}`, { headers }),
      sendAny(`/cache/${upstream.origin}/${PLANTED}${query}`, { headers }),
      sendAny(`/cache?url=${encodeURIComponent(`${upstream.origin}/${PLANTED}${query}`)}`, { headers }),
      sendAny("/cache/purge", { headers: withToken, method: "POST", body: JSON.stringify({ url: `${upstream.origin}/${PLANTED}` }) }),
      sendAny("/cache/purge", { headers: withToken, method: "POST", body: JSON.stringify({ tag: PLANTED }) }),
      sendAny(`/config?userId=${PLANTED}user`, { headers }),
      sendAny("/config", { headers: { ...json, ...bearer }, method: "POST", body: JSON.stringify({ userIds: [`${PLANTED}user`] }) }),
      sendAny("/ofrep/v1/evaluate/flags", { headers: json, method: "POST", body: JSON.stringify({ context: { targetingKey: `${PLANTED}user` } }) }),
      sendAny(`/ofrep/v1/evaluate/flags/${PLANTED}flag`, { headers: json, method: "POST", body: JSON.stringify({ context: { targetingKey: PLANTED } }) }),
      sendAny(`/stores/${PLANTED}store/${PLANTED}path${query}`, { headers, method: "POST", body }),
      sendAny(`/${PLANTED}${query}`, { headers: { ...headers, Host: `${PLANTED}.shops.localhost` } }),
      sendAny(`/hello-world?lang=${BEGINNING}`, { headers }),
      sendAny(`/${PLANTED}file.html${query}`, { headers }),
      sendAny("/", { headers }),
      ...["direct", "backoff", "coalesce"].flatMap((strategy) => [
        sendAny(`/writes/${PLANTED}key?strategy=${strategy}&timeoutMs=500`, { headers: withToken, method: "POST", body }),
        sendAny(`/writes/${PLANTED}key?strategy=${strategy}&n=2&timeoutMs=500`, { headers: withToken, method: "POST" }),
      ]),
      sendAny(`/writes/${PLANTED}key`, { headers: withToken }),
      sendAny(`/writes/${PLANTED}key?consistent=1`, { headers: withToken }),
      ...["GET", "PUT", "DELETE"].map((method) =>
        sendAny(`${API}/values/${PLANTED}key`, { headers: withToken, method, body: method === "PUT" ? body : undefined }),
      ),
      sendAny(`${API}/metadata/${PLANTED}key`, { headers: withToken }),
      sendAny(`${API}/keys?prefix=${PLANTED}`, { headers: withToken }),
      sendAny(`${API}/bulk`, { headers: withToken, method: "PUT", body: JSON.stringify([{ key: `${PLANTED}key`, value: PLANTED }]) }),
      sendAny(`${API}/bulk/get`, { headers: withToken, method: "POST", body: JSON.stringify({ keys: [`${PLANTED}key`] }) }),
    ]);
  }
  await sendAny(`/writes/${PLANTED}key?strategy=coalesce`, {
    headers: { ...bearer, "X-Kv-Faults": '{"KEY_WRITER":"missing"}' },
    method: "POST",
    body: PLANTED,
  });
  await send(worker, `/.kv-faults?key=${PLANTED}crash`, { method: "PUT", body: JSON.stringify({ object: ["throws"], put: ["500"] }) });
  await sendAny(`/writes/${PLANTED}crash?strategy=coalesce`, { headers: bearer, method: "POST", body: PLANTED });
  await sendAny(`/writes/${PLANTED}crash?consistent=1`, { headers: bearer });
  await assertLog({ atLeast: 30 });
});

test("failing upstreams of storefronts log nothing that a visitor sent", async () => {
  await assets.put("sorry.html", "<p>Sorry");
  const records = [
    { origin: closed },
    { origin: "http://gone.nowhere.invalid" },
    { origin: upstream.origin, fallback: { origin: closed } },
    { origin: closed, fallback: { asset: "sorry.html" } },
    { origin: closed, fallback: { asset: "missing.html" } },
    {
      variants: [
        { name: "a", origin: closed, weight: 1 },
        { name: "b", origin: upstream.origin, weight: 1 },
      ],
    },
  ];
  for (const [index, record] of records.entries()) await ROUTING_CONFIG.put(`shop-${index}`, JSON.stringify(record));
  await ROUTING_CONFIG.put("shop-text", "not json");
  const shops = [...records.keys(), "text"].map((index) => `shop-${index}`);
  for (const [index, [, handler]] of Object.entries(broken).entries()) {
    const path = `/${PLANTED}origin${index}`;
    upstream.serve(handler, path);
    await Promise.all(
      shops.flatMap((shop) => [
        sendAny(`/stores/${shop}${path}${query}`),
        sendAny(`${path}${query}`, { headers: { Host: `${shop}.shops.localhost` } }),
        sendAny(`/stores/${shop}${path}${query}`, { method: "POST", body: `${PLANTED}body` }),
      ]),
    );
  }
  await assertLog({ atLeast: 30 });
});

test("a warning has Cloudflare's id of its request, also if it is logged after the response", async () => {
  const id = uniqueName("8a1b2c3d4e5f6789-FRA");
  const faults = JSON.stringify({ CACHE_KV: { put: ["400"] } });
  const url = answeringUpstream.serve((_request, response) => response.writeHead(200, { "cache-control": "max-age=60" }).end("x"));
  const response = await send(worker, `/cache/${url}`, { headers: { "CF-Ray": id, "X-Kv-Faults": faults } });
  assert.equal(response.status, 200);
  const line = await eventually(() => worker.log().find(({ requestId }) => requestId === id), "a line in the log");
  assert.deepEqual([line.stream, line.level, line.code, line.status], ["warn", "warning", "kv_put_failed", undefined]);
});

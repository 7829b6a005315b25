// `/cache/{absolute URL}` under thousands of random requests, with upstreams and a KV that fail
// at random. Every response is kv-edge's own error, or one that the upstream sent for such a
// request. The latter is complete if the upstream's was, and not from before a purge or a write.
// Nobody gets a response to another visitor's credentials, unless it was explicitly fresh for
// shared caches.
//
// The decisions are tested natively, in millions of steps (http-cache's exchange_simulation).
// What workerd adds is tested here: `npm test` makes 2,500 requests, or as many as the machine
// manages in a minute, and prints their number: only the responses count, never the speed.
// KV_EDGE_SOAK_SECONDS sets the time. KV_EDGE_SOAK_REQUESTS sets the number, and then they are
// all made, unless the time is set too; `npm run soak` makes 100,000. The seed is printed;
// KV_EDGE_SOAK_SEED=… makes the same random choices again (the order in which requests arrive at
// the upstreams, and when an outage begins, are the machine's).
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { openSync, writeSync } from "node:fs";
import http from "node:http";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { eventually } from "./harness/eventually.mjs";
import { startScriptedUpstream } from "./harness/scripted-upstream.mjs";
import { bodyOf, identityOf, Model, randomFrom } from "./harness/soak-model.mjs";
import { startWorker, WORKER_TOKEN } from "./harness/worker.mjs";

const REQUESTS = Number(process.env.KV_EDGE_SOAK_REQUESTS ?? 2500);
const SECONDS = Number(process.env.KV_EDGE_SOAK_SECONDS ?? (process.env.KV_EDGE_SOAK_REQUESTS === undefined ? 60 : Number.POSITIVE_INFINITY));
const seed = Number(process.env.KV_EDGE_SOAK_SEED ?? crypto.getRandomValues(new Uint32Array(1))[0]);
const CONCURRENCY = 32;
/** Longer than any deadline of the Worker on any machine: a request that takes this long hangs. */
const HANGS_AFTER_MS = 120_000;
/** Fewer requests need not cover every outcome. */
const FULL_REQUESTS = 10_000;

// Each request adds a listener to its upstream's connection.
EventEmitter.defaultMaxListeners = 0;
const upstreams = await Promise.all(Array.from({ length: 6 }, startScriptedUpstream));
const worker = await startWorker({
  faulty: true,
  vars: { CACHE_UPSTREAMS: upstreams.map(({ origin }) => origin).join(","), CACHE_REFRESH: "1", UPSTREAM_TIMEOUT_MS: "400" },
});
const model = new Model(seed, upstreams);
const agent = new http.Agent({ keepAlive: true, maxSockets: CONCURRENCY });
const counts = new Map();
const count = (what) => counts.set(what, (counts.get(what) ?? 0) + 1);

const NEVER_DELETED = ["500"];
const KV_FAULTS = {
  put: [["limit"], ["limit"], ["limit"], ["429", "ok"], ["429"], ["500"], ["slow for 200"], ["slow for 1500"], ["lost response"], ["pretends"]],
  get: [
    ["500"],
    ["no response"],
    ["slow for 30"],
    ["slow for 30"],
    ["slow for 200", "ok"],
    ["missing"],
    ["missing", "ok"],
    ["ok", "500"],
    ["ok", "slow for 200"],
    ["throws a string"],
  ],
  delete: [["500", "ok"], ["no response", "ok"], ["slow for 300"], ["lost response"], NEVER_DELETED],
  list: [["500"], ["slow for 100"]],
};

/** The faults of KV for a request. */
function kvFaults({ chance, pick }, { policy }) {
  // If KV refuses a delete for good, the deleted response is back after two minutes. Only
  // responses that are heuristically fresh are usable for so long.
  const of = (operation) => pick(KV_FAULTS[operation].filter((faults) => !(policy.isHeuristic && faults === NEVER_DELETED)));
  const faults = { put: ["limit"] };
  for (const operation of Object.keys(KV_FAULTS)) if (chance(0.1)) faults[operation] = of(operation);
  if (chance(0.0005)) faults.get = ["never"];
  return faults;
}

/** Returns a request to a resource, often to the same few. */
function requestOf(random) {
  const { chance, pick, int } = random;
  const resource = model.resources[Math.floor(model.resources.length * random.random() ** 3)];
  const method = chance(0.03)
    ? pick(["POST", "POST", "PUT", "DELETE", "PATCH"])
    : chance(0.05) && (resource.policy.etag || resource.policy.modified)
      ? "HEAD"
      : "GET";
  const headers = { Accept: "application/json", "X-Kv-Faults": JSON.stringify({ CACHE_KV: kvFaults(random, resource) }) };
  if (resource.isZipped) headers["Accept-Encoding"] = "gzip";
  if (chance(0.9)) headers["X-Variant"] = pick(["a", "b", "c"]);
  if (chance(0.3)) headers["X-Other"] = pick(["a", "b"]);
  if (chance(0.1)) headers.Cookie = `session=${pick(["alice", "bob", "carol"])}`;
  if (chance(0.02)) headers.Authorization = `Bearer ${int(1, 1e9)}`;
  if (method === "GET") {
    if (chance(0.08)) headers.Range = chance(0.1) ? "bytes=999999-" : `bytes=${int(0, 500)}-${int(500, 100_000)}`;
    if (chance(0.05) && resource.etag) headers["If-None-Match"] = resource.etag;
    else if (chance(0.1) && resource.etag && headers.Range) headers["If-Range"] = resource.etag;
    if (chance(0.1)) {
      headers["Cache-Control"] = pick(["no-cache", "no-store", "max-age=0", "max-stale=3", "min-fresh=1", "only-if-cached", "stale-if-error=5"]);
    }
  }
  return {
    resource,
    method,
    headers,
    leaves: method === "GET" && chance(0.01),
    path: `/cache/${resource.url}`,
    body: method !== "GET" && method !== "HEAD" && chance(0.3) ? "a write" : undefined,
  };
}

/** Sends a request; `complete` is false if the body broke off. */
function sendRequest({ path, method, headers, body, leaves = false }) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = worker.url;
    const request = http.request({ hostname, port, path, method, headers, agent });
    request.on("error", reject);
    const chunks = [];
    let given;
    const timer = setTimeout(() => {
      request.destroy();
      resolve({ status: given?.statusCode, headers: given?.headers ?? {}, bytes: Buffer.concat(chunks), isLate: true });
    }, HANGS_AFTER_MS);
    request.on("response", (response) => {
      given = response;
      response.on("data", (chunk) => {
        chunks.push(chunk);
        if (leaves) response.destroy();
      });
      response.on("error", () => {});
      response.on("close", () => {
        clearTimeout(timer);
        resolve({ status: response.statusCode, headers: response.headers, complete: response.complete, bytes: Buffer.concat(chunks) });
      });
    });
    if (body !== undefined) request.setHeader("Content-Length", Buffer.byteLength(body));
    request.end(body);
  });
}

/** The errors that kv-edge itself sends here. */
const OWN_ERRORS = { 502: ["upstream_failed", "circuit_open"], 504: ["upstream_timeout", "not_cached"] };

/**
 * Returns what is wrong with a response, or undefined. `floor` has the oldest serial and version
 * that may still be served.
 */
function findViolation(sent, response, floor, sentMs) {
  const { resource, method, headers, leaves } = sent;
  const { status, bytes, complete, isLate } = response;
  if (isLate) return `no whole response in ${HANGS_AFTER_MS} ms`;
  const serial = response.headers["x-soak"];
  const isSafe = method === "GET" || method === "HEAD";
  if (serial === undefined) {
    if (status === 416 && headers.Range) return undefined;
    if (status === 304) {
      const [, , version] = /^"(\d+)-(\d+)-/.exec(response.headers.etag ?? "") ?? [];
      if (response.headers.etag === undefined || response.headers.etag !== headers["If-None-Match"]) return "304 for another ETag";
      return Number(version) < floor.version ? `304 for version ${version}, and ${floor.version} was written` : undefined;
    }
    if (method === "HEAD" && status in OWN_ERRORS) return undefined;
    // miniflare's Worker in front compresses uncompressed responses.
    const { code } = JSON.parse(response.headers["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes);
    count(`own error ${code}`);
    return OWN_ERRORS[status]?.includes(code) ? undefined : "an unexpected error of kv-edge";
  }

  const record = model.records.get(Number(serial));
  if (record === undefined) return `a response ${serial} that the upstream never gave`;
  sent.record = record;
  if (record.resource !== resource) return `the response of another URL, ${record.resource.url}`;
  if (isSafe !== ["GET", "HEAD"].includes(record.method) && record.isOneOff) return `the response to ${record.method}`;
  for (const [name, value] of Object.entries(record.selecting)) {
    const selectingValue = Object.entries(headers).find(([field]) => field.toLowerCase() === name)?.[1] ?? "-";
    if (selectingValue !== value) return `the variant ${name}: ${value}`;
  }
  if (record.isOneOff && record.givenTo !== undefined) return `a response for one request only, given before to ${record.givenTo}`;
  record.givenTo = sent.name;
  if (isSafe && record.serial < floor.serial) return `response ${serial} is from before ${floor.serial}, as of a purge or a write`;
  for (const cookie of response.headers["set-cookie"] ?? []) {
    // A validated response keeps its cookie.
    const from = model.records.get(Number(/^id=(\d+)$/.exec(cookie)[1]));
    if (from.sharesCookies) continue;
    if (from.cookieGivenTo !== undefined) return `the cookie ${cookie}, which was given before to ${from.cookieGivenTo}`;
    from.cookieGivenTo = sent.name;
  }
  const memberText = response.headers["cache-status"]?.split(",").at(-1) ?? "";
  if (/; hit/.test(memberText)) {
    const seconds = (sentMs - record.atMs) / 1000;
    const most = model.oldestHit(record, /detail=([\w-]+)/.exec(memberText)?.[1], headers["Cache-Control"]);
    if (record.control === "no-cache" && !/stale-if-error/.test(memberText)) return "a hit in spite of no-cache";
    if (seconds > most + 1.5) return `a hit ${seconds} s after the upstream responded; ${most} are allowed`;
  }

  if (status === 304) return response.headers.etag === headers["If-None-Match"] || record.status === 304 ? undefined : "304 for another ETag";
  const whole = bodyOf(record);
  if (status === 416) return undefined;
  if (status !== record.ofStatus && !(status === 206 && record.ofStatus === 200)) return `the status is not ${record.ofStatus}`;
  const length = response.headers["content-length"];
  if (method === "HEAD" || [204, 304].includes(status)) {
    if (method === "HEAD" && length !== undefined && Number(length) !== whole.length) return `not the length ${whole.length}`;
    return bytes.length === 0 ? undefined : "a body in a response that has none";
  }
  if ((response.headers["content-encoding"] === "gzip") !== record.isZipped) return "another encoding";
  let expected = whole;
  if (status === 206) {
    const [, from, to, of] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers["content-range"]) ?? [];
    if (!headers.Range?.startsWith(`bytes=${from}-`) || Number(of) !== whole.length) return "another range";
    expected = whole.subarray(Number(from), Number(to) + 1);
  }
  if (complete) return bytes.equals(expected) ? undefined : `not the bytes of ${record.identity}`;
  if (!bytes.equals(expected.subarray(0, bytes.length))) return `it broke off, and its beginning is not that of ${record.identity}`;
  return leaves || record.isBroken ? undefined : "it broke off, and the upstream's had not";
}

/** Counts what happened to a request. */
function recordOutcome(sent, { status, headers, complete }) {
  const memberText = headers["cache-status"]?.split(",").at(-1);
  if (memberText === undefined) return count(`no Cache-Status, ${status}`);
  const [kind, ...more] = memberText
    .split(";")
    .slice(1)
    .map((part) => part.trim());
  const detail = more.find((part) => part.startsWith("detail="));
  const isStored = more.includes("stored");
  if (kind === "hit" && !detail) count(/kv;/.test(headers["server-timing"] ?? "") ? "hit in KV" : "hit in memory");
  else count([kind, ...(more.includes("fwd-status=304") ? ["validated"] : []), ...(isStored ? ["stored"] : []), ...(detail ? [detail] : [])].join(" "));
  if (status === 206) count(kind === "hit" ? "206 of a hit" : "206 of the upstream");
  if (status === 416) count("416");
  if (status === 304) count(kind === "hit" ? "304 of a hit" : "304 of the upstream");
  if (sent.method !== "GET") count(sent.method === "HEAD" ? `HEAD, ${kind === "hit" ? "a hit" : "forwarded"}` : "a write");
  if (kind === "hit" && sent.resource.isZipped) count("gzip, a hit");
  if (!complete) count(sent.leaves ? "the client left" : "a body broke off");
  if (sent.record?.isOneOff && status < 300) count("a response for one request");
  return undefined;
}

async function runRequest(random, name) {
  const sent = { ...requestOf(random), name };
  const { resource, method } = sent;
  const { floor } = resource;
  const sentMs = Date.now();
  const response = await sendRequest(sent).catch((error) => {
    throw new Error(describeViolation(sent, { headers: {}, bytes: Buffer.alloc(0) }, floor, `no response: ${error.code ?? error.message}`));
  });
  let fault;
  try {
    fault = findViolation(sent, response, floor, sentMs);
  } catch (error) {
    fault = error.stack;
  }
  if (fault !== undefined) throw new Error(describeViolation(sent, response, floor, fault));
  recordOutcome(sent, response);
  if (response.headers.etag) resource.etag = response.headers.etag;
  const isWrite = method !== "GET" && method !== "HEAD";
  if (isWrite && sent.record && response.status < 400) {
    const { serial, version, other } = sent.record;
    model.raiseFloor(resource, serial, version);
    if (other) model.raiseFloor(other.resource, serial, other.version);
  }
}

async function purge(random) {
  const { chance, pick } = random;
  const { url, group, upstream } = pick(model.resources);
  const [target, covers] = pick([
    [{ url }, (resource) => resource.url === url],
    [{ prefix: `${upstream.origin}/g${group}/` }, (resource) => resource.upstream === upstream && resource.group === group],
    [{ tag: `g${group}` }, (resource) => resource.group === group],
    [{ url }, (resource) => resource.url === url],
  ]);
  const faults = { put: chance(0.3) ? pick(KV_FAULTS.put.slice(3)) : ["ok"] };
  const before = model.serial;
  const headers = { Authorization: `Bearer ${WORKER_TOKEN}`, "X-Kv-Faults": JSON.stringify({ CACHE_KV: faults }) };
  const { status, bytes } = await sendRequest({ path: "/cache/purge", method: "POST", headers, body: JSON.stringify(target) });
  assert.ok([200, 429, 503].includes(status), `a purge: ${status} ${bytes}`);
  count(status === 200 ? `purged by ${Object.keys(target)[0]}` : "a purge refused");
  if (status === 200) for (const resource of model.resources.filter(covers)) model.raiseFloor(resource, before + 1);
}

function describeViolation(sent, response, floor, fault) {
  const { record, resource, method, headers, name } = sent;
  const { status, bytes, complete } = response;
  const given = record && { ...record, resource: undefined, other: record.other && { path: record.other.resource.path, version: record.other.version } };
  return [
    `${name}: ${fault}`,
    `  request: ${method} ${resource.url} ${JSON.stringify(headers)}, floor ${JSON.stringify(floor)}`,
    `  response: ${status} ${JSON.stringify(response.headers)}, ${bytes.length} bytes, ${complete ? "complete" : "broken off"}: ${identityOf(bytes)}`,
    `  the upstream's: ${JSON.stringify(given)}`,
    ...resource.history.map((event) => `    ${event}`),
    `  KV_EDGE_SOAK_SEED=${seed}`,
  ].join("\n");
}

/**
 * Returns a function that shows progress on one line of the terminal, if there is a terminal and
 * KV_EDGE_SOAK_REQUESTS is set.
 */
function progress() {
  if (process.env.KV_EDGE_SOAK_REQUESTS === undefined) return () => {};
  let terminal;
  try {
    terminal = openSync("/dev/tty", "w");
  } catch {
    return () => {};
  }
  const startedMs = Date.now();
  return (done) => {
    const rate = Math.round((done * 1000) / (Date.now() - startedMs));
    writeSync(terminal, `\rsoak: ${done} of ${REQUESTS} requests, ${rate} a second ${done === REQUESTS ? "\n" : ""}`);
  };
}

/** Outcomes without which the soak proves nothing. */
const MUST_HAPPEN = [
  "hit in KV",
  "hit in memory",
  "hit detail=stale-while-revalidate",
  "hit detail=stale-if-error",
  "hit detail=max-stale",
  "fwd=uri-miss stored",
  "fwd=vary-miss stored",
  "fwd=stale validated stored",
  "fwd=stale stored",
  "fwd=request stored",
  "fwd=bypass",
  "fwd=miss stored detail=kv-unavailable",
  "fwd=miss stored detail=purged",
  "own error upstream_failed",
  "own error upstream_timeout",
  "own error circuit_open",
  "own error not_cached",
  "206 of a hit",
  "206 of the upstream",
  "304 of a hit",
  "304 of the upstream",
  "HEAD, a hit",
  "HEAD, forwarded",
  "416",
  "a write",
  "gzip, a hit",
  "the client left",
  "a body broke off",
  "a response for one request",
  "purged by url",
  "purged by prefix",
  "purged by tag",
  "a purge refused",
];

const budget = SECONDS === Number.POSITIVE_INFINITY ? "" : `, or as many as fit in ${SECONDS} s,`;
test(`${REQUESTS} requests${budget} with random faults: no wrong response`, { timeout: Number.POSITIVE_INFINITY }, async () => {
  console.log(`http-cache-soak: KV_EDGE_SOAK_SEED=${seed}`);
  const startedMs = Date.now();
  const show = progress();
  let begun = 0;
  let done = 0;
  let isOver = false;
  const client = async () => {
    while (begun < REQUESTS && Date.now() - startedMs < SECONDS * 1000 && !isOver) {
      begun += 1;
      const [name, random] = [`request ${begun}`, randomFrom(seed + begun * 104_729)];
      await (random.chance(0.012) ? purge(random) : runRequest(random, name));
      done += 1;
      if (done % 100 === 0) show(done);
    }
  };
  const outages = (async () => {
    const random = randomFrom(seed);
    for (; !isOver; await sleep(random.int(500, 1500))) model.turnOutage(random);
  })();
  try {
    await Promise.all(Array.from({ length: CONCURRENCY }, client));
  } finally {
    isOver = true;
    const seconds = (Date.now() - startedMs) / 1000;
    console.log(`${done} of ${REQUESTS} requests in ${seconds.toFixed(1)} s; the upstreams got ${model.serial}`);
    for (const [what, times] of [...counts].sort(([one], [other]) => (one < other ? -1 : 1))) console.log(`${String(times).padStart(7)}  ${what}`);
  }
  await outages;
  if (done >= FULL_REQUESTS)
    assert.deepEqual(
      MUST_HAPPEN.filter((what) => !counts.has(what)),
      [],
      "never happened",
    );

  // It still responds and stores.
  model.isQuiet = true;
  const resource = model.resources.find(({ policy, names }) => policy.fresh === 10 && names.length === 0);
  const isHit = async () =>
    (await sendRequest({ method: "GET", path: `/cache/${resource.url}`, headers: {} })).headers["cache-status"]?.startsWith("kv-edge; hit");
  await eventually(isHit, "a hit after all");
  agent.destroy();
});

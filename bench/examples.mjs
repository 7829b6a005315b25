// The examples: the requests that are timed, a few of which differ between kv-edge and the
// baseline (bench/baseline, plain JavaScript), and the goal of each: the most that kv-edge's CPU
// time per request may be, divided by the baseline's.

import { hash, STYLESHEET } from "./fixtures.mjs";

export const API_TOKEN = "bench-token";

const DEFAULT_GOAL = 1.15;
const WRITES = 20;
const CONNECTIONS = 8;

function request(line, fields = {}, body = "") {
  const all = { host: "127.0.0.1", "user-agent": "kv-edge-bench", accept: "*/*", ...fields };
  const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`${line} HTTP/1.1\r\n${head.join("")}\r\n${body}`, "latin1");
}

/** Returns a source of the same request every time. */
function same(line, fields, body) {
  const bytes = request(line, fields, body);
  return () => () => bytes;
}

/** The body of an OFREP request. */
const CONTEXT = JSON.stringify({ context: { targetingKey: "user-id-def", appVersion: "2.1.0" } });
const json = (body) => ({ "content-type": "application/json", "content-length": body.length });

let pages = 1_000_000;

/**
 * Returns a function that returns the next request: for a page that nobody has requested before,
 * so that none can be in the cache.
 */
function newPage(route, page) {
  return () => {
    pages += 1;
    return request(`GET ${route}?url=${encodeURIComponent(`${page}?n=${pages}`)}`);
  };
}

/**
 * Returns a function that returns the next request for a response as it is: from a URL that nobody
 * has requested before.
 */
function newUrl(page) {
  return () => {
    pages += 1;
    return request(`GET /cache/${page}?n=${pages}&fresh`);
  };
}

let keys = 1_000_000;

/** Returns a function that returns the next write: to a key that nobody has written before. */
function newKey(query, fields) {
  return () => {
    keys += 1;
    return request(`POST /writes/new-key-${keys}?${query}`, fields);
  };
}

/**
 * Returns the examples. An example has
 * - `source(isKvEdge)`: returns a function that returns the bytes of the next request;
 * - `stores`: the response comes from what an earlier one stored;
 * - `isLarge`: timed in processes of its own, because its garbage would slow down the others, and
 *   the peak memory of these processes is measured;
 * - `hasNoMemory`: timed in processes of its own, in which kv-edge does not keep responses in
 *   memory;
 * - `ownFields`: fields that are not compared, because kv-edge has reasons of its own for them;
 * - `isNotModified`: kv-edge responds with 304; the baseline knows no conditions;
 * - `ownResult`: what kv-edge's response has to contain; the baseline has no such feature, and
 *   returns what comes nearest;
 * - `acknowledges`: how many writes a response acknowledges. kv-edge and the baseline word that
 *   differently, so only the number is compared; `writes` is the key that must then be in KV;
 * - `alone`: the feature whose first response this is, in a build with that feature alone;
 * - `goal`: null if there is none. The documented regular expressions do less than is asked of
 *   kv-edge, so their row has none.
 *
 * The KV of the benchmark never responds with 429, which favours the baseline: its retry
 * acknowledges all 20 writes of a request with 20 puts and no wait. With a KV that accepts one put
 * a second it would make 90 puts for 5.
 */
export function examples(upstream) {
  const article = `${upstream}/article`;
  const plain = `${upstream}/plain-article`;
  const language = { "accept-language": "de-CH, de;q=0.9, en;q=0.5" };
  const writes = { authorization: `Bearer ${API_TOKEN}`, "content-length": 0 };
  const regex = (isKvEdge) => newPage(isKvEdge ? "/cache" : "/cache-by-regular-expression", plain);
  const small = [
    { name: "get-started", what: "a put and a get", source: same("GET /get-started"), alone: "writes" },
    {
      name: "cache-hit",
      what: "a page from the isolate's memory",
      source: same(`GET /cache?url=${encodeURIComponent(`${article}?fresh`)}`),
      stores: true,
      goal: 0.8,
    },
    {
      name: "cache-hit-outage",
      what: "a stale page from memory; its upstream takes every request and never responds",
      source: (isKvEdge) => same(`GET /cache?url=${encodeURIComponent(`${upstream}/outage?worker=${isKvEdge}`)}`)(),
      stores: true,
      goal: 0.8,
    },
    {
      name: "cache-hit-kv",
      what: "a page from KV (CACHE_REFRESH=0)",
      source: same(`GET /cache?url=${encodeURIComponent(`${article}?fresh`)}`),
      stores: true,
      hasNoMemory: true,
    },
    { name: "cache-miss", what: "fetch, HTML, put; the baseline by HTMLRewriter", source: () => newPage("/cache", article), goal: 1, alone: "cache" },
    { name: "cache-miss-plain", what: "fetch and put of a response as it is; the JavaScript knows no rules of HTTP", source: () => newUrl(article), goal: 1.1 },
    { name: "cache-miss-regex", what: "the baseline by the documented regex", source: regex, goal: null },
    { name: "config", what: "the page with the banner", source: same("GET /config?userId=user-id-def"), goal: 0.7, alone: "flags" },
    {
      name: "flag",
      what: "one flag by OFREP, with a rule on the user's record; the baseline returns the page of the user",
      source: (isKvEdge) => (isKvEdge ? same("POST /ofrep/v1/evaluate/flags/preview", json(CONTEXT), CONTEXT) : same("GET /config?userId=user-id-def"))(),
      goal: 1,
      ownResult: '"value":true,"variant":"on","reason":"TARGETING_MATCH"',
    },
    {
      name: "flags",
      what: "twenty flags by OFREP; the baseline as above",
      source: (isKvEdge) => (isKvEdge ? same("POST /ofrep/v1/evaluate/flags", json(CONTEXT), CONTEXT) : same("GET /config?userId=user-id-def"))(),
      goal: null,
      ownResult: '"key":"preview","value":true',
    },
    {
      name: "routing",
      what: "proxied to an upstream, with all that a record can switch on but variants",
      source: same("GET /stores/storefrontA/products/42?ref=bench"),
      alone: "storefronts",
      goal: 0.95,
    },
    {
      name: "routing-split",
      what: "the same, and each visitor is new and gets a variant and a signed cookie",
      source: same("GET /stores/tea/products/42?ref=bench"),
      goal: null,
    },
    { name: "hello-world", what: "the translated page", source: same("GET /hello-world", language), goal: 0.7, ownFields: ["vary"], alone: "assets" },
    { name: "asset-1k", what: "1 KiB stylesheet of a release", source: same("GET /style.css"), goal: 0.7, ownFields: ["vary"] },
    {
      name: "asset-304",
      what: "the same, which the client has; the baseline sends it again",
      source: same("GET /style.css", { "if-none-match": `"${hash(STYLESHEET)}"` }),
      goal: 0.65,
      isNotModified: true,
    },
    {
      name: "kv-api-get",
      what: "1 KiB through the KV REST API, with a token",
      source: same("GET /client/v4/accounts/bench/storage/kv/namespaces/CACHE_KV/values/kv-api-value", { authorization: `Bearer ${API_TOKEN}` }),
      goal: 1,
      alone: "kv-api",
    },
    {
      name: "writes",
      what: `${WRITES} parallel puts`,
      source: same(`POST /writes/common-key?n=${WRITES}&strategy=direct`, writes),
      ownFields: ["vary"], // kv-edge can respond with a page as well
    },
    {
      name: "coalesce",
      what: [
        `${WRITES} writes of a key with an object (202: stored); the baseline by the documented retry`,
        "the object's puts are in the figure, at most one a second; one that follows the last response of a window is not",
      ].join("; "),
      source: (isKvEdge) => same(`POST /writes/hot-key?n=${WRITES}&strategy=${isKvEdge ? "coalesce&wait=durable" : "backoff"}`, writes)(),
      goal: 1,
      acknowledges: WRITES,
      writes: "hot-key",
    },
    {
      name: "coalesce-new-key",
      what: `${WRITES} writes of a key that has no object yet (200: in KV): the object and its put for every request`,
      source: (isKvEdge) => newKey(`n=${WRITES}&strategy=${isKvEdge ? "coalesce&wait=kv" : "backoff"}`, writes),
      goal: null,
      acknowledges: WRITES,
    },
  ];
  return [
    ...small.map((example) => ({ goal: DEFAULT_GOAL, connections: CONNECTIONS, ...example })),
    { name: "asset-100k", what: "100 KiB image of a release", source: same("GET /photo.png"), goal: 0.65, connections: CONNECTIONS },
    {
      name: "asset-200k",
      what: "200 KiB image, too long for the isolate's memory: a stream out of KV",
      source: same("GET /poster.png"),
      goal: null,
      connections: CONNECTIONS,
    },
    {
      name: "asset-20m",
      what: "20 MiB film",
      source: same("GET /film.mp4"),
      goal: 0.05,
      connections: 4,
      isLarge: true,
    },
  ];
}

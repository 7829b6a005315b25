// The requests that are timed, one list for both sides, and the goal for each: the Worker's CPU per request divided by the
// baseline's.

export const API_TOKEN = "bench-token";

const SMALL = 1.15;
const CONNECTIONS = 8;

function request(line, fields = {}) {
  const all = { host: "127.0.0.1", "user-agent": "kv-edge-bench", accept: "*/*", ...fields };
  const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`${line} HTTP/1.1\r\n${head.join("")}\r\n`, "latin1");
}

/** A source that gives the same request every time. */
function same(line, fields) {
  const bytes = request(line, fields);
  return () => () => bytes;
}

let pages = 1_000_000;

/** Requests for pages that nobody asked for before, so that none can be in the cache. */
function newPage(route, page) {
  return () => {
    pages += 1;
    return request(`GET ${route}?url=${encodeURIComponent(`${page}?n=${pages}`)}`);
  };
}

/**
 * The documented regular expressions do less than what is asked of kv-edge: the row with them has no goal.
 *
 * `source(isWorker)` gives a function that makes the bytes of the next request. `stores`: the answer comes from what an
 * earlier one stored. `isLarge`: timed in processes of its own, because its garbage would burden the others.
 */
export function examples(upstream) {
  const article = `${upstream}/article`;
  const plain = `${upstream}/plain-article`;
  const language = { "accept-language": "de-CH, de;q=0.9, en;q=0.5" };
  const writes = { authorization: `Bearer ${API_TOKEN}`, "content-length": 0 };
  const regex = (isWorker) => newPage(isWorker ? "/cache" : "/cache-by-regular-expression", plain);
  const small = [
    { name: "get-started", what: "a put and a get", source: same("GET /get-started") },
    {
      name: "cache-hit",
      what: "a page from KV",
      source: same(`GET /cache?url=${encodeURIComponent(article)}`),
      stores: true,
    },
    { name: "cache-miss", what: "fetch, HTMLRewriter, put", source: () => newPage("/cache", article) },
    { name: "cache-miss-regex", what: "the baseline by the documented regex", source: regex, goal: null },
    { name: "config", what: "the page with the banner", source: same("GET /config?userId=user-id-def") },
    { name: "routing", what: "proxied to an origin", source: same("GET /stores/storefrontA/products/42?ref=bench") },
    { name: "hello-world", what: "the translated page", source: same("GET /hello-world", language) },
    { name: "asset-1k", what: "1 KiB stylesheet", source: same("GET /style.css") },
    { name: "writes", what: "20 parallel puts", source: same("POST /writes/common-key?n=20&strategy=direct", writes) },
  ];
  return [
    ...small.map((example) => ({ goal: SMALL, connections: CONNECTIONS, ...example })),
    { name: "asset-100k", what: "100 KiB image", source: same("GET /photo.png"), goal: 0.7, connections: CONNECTIONS },
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

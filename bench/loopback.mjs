// The servers that workerd calls during the benchmark, in the load's own process and on its core:
// the upstream of the cache, the upstream of the storefronts, and the KV namespace of the cache.
//
// workerd's `disk` service, which stores all other namespaces, does not accept a key with a slash,
// and the cache's keys are URLs. So CACHE_KV is a service on a Unix socket with the same protocol:
// GET and PUT of /{percent-encoded key}, the metadata in a header field. The list at / is empty,
// since nothing is purged here.
import net from "node:net";

import { STYLESHEET } from "./fixtures.mjs";
import { MessageReader, message } from "./http1.mjs";

function serve(where, respond) {
  const sockets = new Set();
  const server = net.createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    const reader = new MessageReader(
      (head, _, body) => {
        const [method, target] = head.split(" ", 2);
        const bytes = respond(method, target, body, head);
        if (bytes) socket.write(bytes);
      },
      { keepsBody: true },
    );
    socket.on("data", (bytes) => reader.feed(bytes));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  });
  const close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, () => resolve({ close }));
  });
}

/** How many requests of kv-edge for a page get responses before its upstream stops responding. */
const BEFORE_OUTAGE = 3;

/**
 * Serves `pages` (path to HTML), and at every other path a storefront that returns the path and
 * query which it received. `/outage` serves the first page, fresh for a second; to kv-edge only a
 * few times, and then it never responds again. A page whose query ends with `fresh` is fresh for a
 * day, so that it is stored and does not expire while it is timed.
 */
export function serveUpstream(port, pages) {
  const html = new Map(Object.entries(pages).map(([path, page]) => [path, message("HTTP/1.1 200 OK", { "content-type": "text/html; charset=utf-8" }, page)]));
  const outage = message(
    "HTTP/1.1 200 OK",
    { "content-type": "text/html; charset=utf-8", "cache-control": "max-age=1, stale-while-revalidate=86400" },
    Object.values(pages)[0],
  );
  const freshForADay = message("HTTP/1.1 200 OK", { "content-type": "text/html; charset=utf-8", "cache-control": "max-age=86400" }, Object.values(pages)[0]);
  const outages = new Map();
  return serve({ port, host: "127.0.0.1" }, (method, target) => {
    if (target.startsWith("/outage")) {
      const times = outages.get(target) ?? 0;
      outages.set(target, times + 1);
      return times < BEFORE_OUTAGE || target.endsWith("=false") ? outage : undefined;
    }
    if (/[?&]fresh$/.test(target)) return freshForADay;
    const page = html.get(target.split("?", 1)[0]);
    return page ?? message("HTTP/1.1 200 OK", { "content-type": "application/json" }, JSON.stringify({ storefront: "A", method, target }));
  });
}

const NOT_FOUND = message("HTTP/1.1 404 Not Found", {});
const STORED = message("HTTP/1.1 200 OK", {});
const KV_API_VALUE = message("HTTP/1.1 200 OK", { "content-type": "application/octet-stream" }, STYLESHEET);
const EMPTY_LIST = message("HTTP/1.1 200 OK", { "content-type": "application/json" }, '{"keys":[],"list_complete":true}');

/** Serves a KV namespace in memory, with the value that the KV REST API is asked for. */
export async function serveStore(socketPath) {
  const values = new Map();
  const server = await serve({ path: socketPath }, (method, target, body, head) => {
    const key = target.split("?", 1)[0];
    if (method === "PUT") {
      const metadata = /^cf-kv-metadata: *(.*)$/im.exec(head)?.[1];
      const fields = { "content-type": "application/octet-stream", ...(metadata && { "cf-kv-metadata": metadata }) };
      values.set(key, message("HTTP/1.1 200 OK", fields, body));
      return STORED;
    }
    if (key === "/") return EMPTY_LIST;
    if (key === "/kv-api-value") return KV_API_VALUE;
    return values.get(key) ?? NOT_FOUND;
  });
  return { values, close: server.close };
}

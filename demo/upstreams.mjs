// The upstreams of the local demo: an article and a clock for /cache, and two storefronts for
// /stores.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

/** The port of kv-edge in the records of this folder and in the links of static/. */
export const PORT = 8787;

/** Returns the ports of the upstreams, which follow that of kv-edge. */
export const portsAfter = (port) => ({ article: port + 1, storefrontA: port + 2, storefrontB: port + 3 });

/**
 * Starts all of them on loopback. Resolves with their servers when they listen; rejects if a port
 * is in use.
 */
export async function startUpstreams({ article: articlePort, ...storefronts } = portsAfter(PORT)) {
  const servers = [await listen(articlePort, article)];
  for (const [name, port] of Object.entries(storefronts)) servers.push(await listen(port, (request, response) => echo(name, request, response)));
  return servers;
}

/** Returns a text of the demo with the actual ports of kv-edge and its upstreams. */
export function atPort(text, port) {
  const ports = new Map([[PORT, port], ...Object.entries(portsAfter(PORT)).map(([name, written]) => [written, portsAfter(port)[name]])]);
  const written = new RegExp(`(localhost|127\\.0\\.0\\.1):(${[...ports.keys()].join("|")})\\b`, "g");
  return text.replace(written, (_, host, found) => `${host}:${ports.get(Number(found))}`);
}

let responses = 0;
let isDown = false;

/**
 * Responds with the time, fresh for 5 seconds in shared caches. `POST /outage` stops the clock,
 * and starts it again.
 */
function clock(response) {
  if (isDown) return response.writeHead(503, { "content-type": "text/plain" }).end("The clock is down.\n");
  responses += 1;
  response.writeHead(200, {
    "content-type": "application/json",
    "cdn-cache-control": "max-age=5, stale-while-revalidate=10, stale-if-error=300",
    // A browser keeps none, so each press of the demo page's button asks kv-edge.
    "cache-control": "no-store",
    "cache-tag": "clocks",
  });
  response.end(`${JSON.stringify({ time: new Date().toISOString(), responses })}\n`);
}

function article(request, response) {
  const path = request.url.split("?")[0];
  if (path === "/clock") return clock(response);
  if (path === "/outage" && request.method === "POST") {
    isDown = !isDown;
    return response.writeHead(200, { "content-type": "text/plain" }).end(`The clock is ${isDown ? "down" : "up"}.\n`);
  }
  if (path !== "/article") {
    response.writeHead(404, { "content-type": "text/html; charset=utf-8" });
    return response.end("<!DOCTYPE html><title>Not here</title><body>There are two pages: /article and /clock</body>");
  }
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
  response.end(readFileSync(new URL("article.html", import.meta.url)));
}

/**
 * Responds with the request as JSON. The body is sent back piece by piece: as text if it is UTF-8,
 * else as base64.
 */
async function echo(storefront, request, response) {
  const { method, url, headers } = request;
  response.writeHead(200, { "content-type": "application/json; charset=utf-8" });
  response.write(`${JSON.stringify({ storefront, method, url, headers }, null, 2).slice(0, -2)},\n  "body": [`);
  let bytes = 0;
  try {
    for await (const chunk of request) {
      response.write(`${bytes ? "," : ""}\n    ${JSON.stringify(piece(chunk))}`);
      bytes += chunk.length;
    }
    response.end(`${bytes ? "\n  " : ""}],\n  "bodyBytes": ${bytes}\n}\n`);
  } catch {
    response.destroy(); // the client closed the connection
  }
}

function piece(chunk) {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(chunk) };
  } catch {
    return { base64: chunk.toString("base64") };
  }
}

function listen(port, handler) {
  return new Promise((resolve, reject) => {
    const server = createServer(handler).once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await startUpstreams();

// An HTTP upstream on loopback that calls a test's handlers and records every request; and
// handlers for it.
import http from "node:http";
import { after } from "node:test";
import { freePort } from "../../scripts/ports.mjs";
import { uniqueName } from "./names.mjs";

/** Starts an upstream for a test file; it stops after the last test. */
export async function startUpstream() {
  const routes = new Map();
  const requests = [];
  const server = http.createServer((request, response) => {
    const record = { method: request.method, url: request.url, headers: request.headers, chunks: [] };
    requests.push(record);
    // A client may close the connection at any time.
    request.on("error", () => {});
    response.on("error", () => {});
    const route = routes.get(request.url) ?? routes.get(request.url.split("?")[0]) ?? echo;
    request.on("data", (chunk) => record.chunks.push(chunk));
    route(request, response, record);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address();
  const origin = `http://127.0.0.1:${port}`;
  return {
    origin,
    port,
    requests,
    /** Returns how many requests this URL or path has received, with exactly this query. */
    requestCount: (url) => requests.filter((request) => request.url === url.replace(origin, "")).length,
    /** Serves `handler` at a new path, or at the given one, and returns the URL. */
    serve(handler, path = `/${uniqueName("page")}`) {
      routes.set(path, handler);
      return origin + path;
    },
  };
}

/**
 * Returns URLs whose origins are not on an allowlist with `http://127.0.0.1:${port}` and
 * `https://exact.invalid`; most of them resemble those.
 */
export const unlistedUrls = (port, unlisted) => [
  `${unlisted.origin}/x`,
  `https://127.0.0.1:${port}/x`,
  `http://localhost:${port}/x`,
  "http://127.0.0.1/x",
  "https://unlisted.invalid/x",
  `http://127.0.0.1.unlisted.invalid:${port}/x`,
  "https://sub.exact.invalid/x",
  "https://exact.invalid:8443/x",
  "http://exact.invalid/x",
  "https://exact.invalid.unlisted.invalid/x",
];

/**
 * Returns an origin on which nothing listens. A port that a server had and gave back would go to a
 * Worker of another test file soon.
 */
export const closedOrigin = async () => `http://127.0.0.1:${await freePort()}`;

/** Responds with the request as JSON; the default of every path. */
function echo(request, response, record) {
  request.on("end", () => {
    const { method, url, headers, chunks } = record;
    const body = Buffer.concat(chunks).toString("base64");
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ method, url, headers, body }));
  });
}

/** Responds with an HTML page. */
export const respondWithPage =
  (html, { status = 200, headers = {} } = {}) =>
  (_request, response) => {
    response.writeHead(status, { "content-type": "text/html; charset=utf-8", ...headers });
    response.end(html);
  };

/** Responds with a page whose parts arrive one by one. */
export const respondInParts = (parts) => (_request, response) => {
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
  const next = ([part, ...rest]) => {
    if (part === undefined) return response.end();
    response.write(part, () => setTimeout(next, 5, rest));
  };
  next(parts);
};

/** Responds with a redirect. */
export const respondWithRedirect =
  (location, status = 302) =>
  (_request, response) => {
    response.writeHead(status, { location });
    response.end();
  };

/** Sends the head and the beginning of a body, then nothing more. */
export const stallInBody = (_request, response) => {
  response.writeHead(200, { "content-type": "text/html" });
  response.write("<title>Half</title><body>half");
};

/** Closes the connection in the middle of the body, with a `Content-Length` or chunked. */
export const breakInBody =
  ({ length } = {}) =>
  (_request, response) => {
    response.writeHead(200, { "content-type": "text/html", ...(length && { "content-length": length }) });
    response.write("<title>Half</title><body>half", () => setTimeout(() => response.destroy(), 20));
  };

// An upstream on loopback that does what a test tells it to, and remembers every request as it arrived.
import http from "node:http";
import { after } from "node:test";
import { uniqueName } from "./eventually.mjs";

/** Starts an upstream for a test file; it ends after the last test. */
export async function startUpstream() {
  const routes = new Map();
  const requests = [];
  const server = http.createServer((request, response) => {
    const record = { method: request.method, url: request.url, headers: request.headers, chunks: [] };
    requests.push(record);
    // A client that goes away breaks the connection; that is the client's business.
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
    /** Requests for this URL or path so far. */
    requestCount: (url) => requests.filter((request) => request.url === url.replace(origin, "")).length,
    /** Serves `handler` at a path of its own and returns the URL. */
    serve(handler, path = `/${uniqueName("page")}`) {
      routes.set(path, handler);
      return origin + path;
    },
  };
}

/** URLs that look like those of a list with `http://127.0.0.1:${port}` and `https://exact.invalid`, and are of other origins. */
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

/** An origin where nothing listens. */
export async function closedOrigin() {
  const server = http.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

/** Answers what it received, as JSON; the default of every path. */
function echo(request, response, record) {
  request.on("end", () => {
    const { method, url, headers, chunks } = record;
    const body = Buffer.concat(chunks).toString("base64");
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ method, url, headers, body }));
  });
}

/** Answers an HTML page. */
export const respondWithPage =
  (html, { status = 200, headers = {} } = {}) =>
  (_request, response) => {
    response.writeHead(status, { "content-type": "text/html; charset=utf-8", ...headers });
    response.end(html);
  };

/** Answers a page in parts that arrive one by one, cut where the test cuts them. */
export const respondInParts = (parts) => (_request, response) => {
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
  const next = ([part, ...rest]) => {
    if (part === undefined) return response.end();
    response.write(part, () => setTimeout(next, 5, rest));
  };
  next(parts);
};

/** Sends the client elsewhere. */
export const respondWithRedirect =
  (location, status = 302) =>
  (_request, response) => {
    response.writeHead(status, { location });
    response.end();
  };

/** Takes the request and never answers. */
export const neverRespond = () => {};

/** Sends the head and the beginning of a body, then nothing more. */
export const stallInBody = (_request, response) => {
  response.writeHead(200, { "content-type": "text/html" });
  response.write("<title>Half</title><body>half");
};

/** Breaks the connection in the middle of the body, with a `Content-Length` or in chunks. */
export const breakInBody =
  ({ length } = {}) =>
  (_request, response) => {
    response.writeHead(200, { "content-type": "text/html", ...(length && { "content-length": length }) });
    response.write("<title>Half</title><body>half", () => setTimeout(() => response.destroy(), 20));
  };

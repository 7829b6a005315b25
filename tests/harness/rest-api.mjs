// The REST API between the tool and the KV of a running Worker, with the paths of `wrangler dev`
// and with those of a Cloudflare account. A test may intercept its calls.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { buffer } from "node:stream/consumers";

/** The path of the local KV's REST API in `wrangler dev`, and the one in miniflare. */
const EXPLORER = "/cdn-cgi/explorer/api";
const EXPLORER_OF_MINIFLARE = "/cdn-cgi/local/explorer/api";
/** The most items of a bulk call that miniflare accepts. */
export const EXPLORER_ITEMS_MAX = 1000;
const ACCOUNT = /^\/client\/v4\/accounts\/[0-9a-f]{32}/;

/** An account (the API of the tests takes any), and the token that `accountBase` requires. */
export const ACCOUNT_ID = "0123456789abcdef0123456789abcdef";
export const CLOUDFLARE_TOKEN = "a-secret-token-of-the-tests";

/** Limits of Cloudflare's REST API ("Write multiple key-value pairs", "Limits"). */
const BULK_ITEMS_MAX = 10_000;
const BULK_BYTES_MAX = 100 * 1024 * 1024;

const apis = new WeakMap();

/**
 * Returns the REST API over the KV of a Worker that was started with `restApi`; starts it at the
 * first call.
 */
export function apiFor(worker) {
  if (!apis.has(worker)) apis.set(worker, startApi(worker));
  return apis.get(worker);
}

/**
 * Starts the REST API: `base` is its URL as in `wrangler dev`, `accountBase` its URL as in a
 * Cloudflare account. `calls` are all calls so far, `responses` counts those that have ended, also
 * by a closed connection.
 *
 * If a test sets `intercept(call, pass)`, it responds in place of the API with `{ status, headers,
 * body }`, or with undefined, which closes the connection. `pass()` makes the call and returns its
 * response. `forwardItems` makes a bulk call for some of the items of an intercepted call.
 */
async function startApi(worker) {
  assert.ok(worker.hasRestApi, "start the Worker with `restApi: true`");
  const calls = [];
  const self = { calls, intercept: undefined, responses: 0, forwardItems: (call, items) => forwardItems(worker, call, items) };
  const respond = async (request, response) => {
    const body = await buffer(request);
    const isAccount = ACCOUNT.test(request.url);
    const path = request.url.replace(isAccount ? ACCOUNT : EXPLORER, "");
    const call = { number: calls.length + 1, method: request.method, path: decodeURIComponent(path), headers: request.headers, body };
    calls.push(call);
    const pass = () => (isAccount ? refuseAsCloudflare(call) : undefined) ?? callExplorer(worker, call.method, path, request.headers, body);
    const reply = await (self.intercept ? self.intercept(call, pass) : pass());
    self.responses += 1;
    if (reply === undefined) return request.socket.destroy();
    response.writeHead(reply.status, reply.headers ?? { "Content-Type": "application/json" });
    response.end(reply.body);
  };
  // A tool that is killed during a call breaks the connection, and nobody waits for the response.
  const server = http.createServer((request, response) =>
    respond(request, response).catch((error) => {
      if (!request.socket.destroyed) throw error;
    }),
  );
  server.on("clientError", (_error, socket) => socket.destroy());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  server.unref(); // A test may have started it, and others use it too.
  const origin = `http://127.0.0.1:${server.address().port}`;
  return Object.assign(self, { base: `${origin}${EXPLORER}`, accountBase: `${origin}/client/v4` });
}

/** Makes a bulk call for some of the items of an intercepted call. */
async function forwardItems(worker, call, items) {
  if (items.length === 0) return;
  const url = new URL(EXPLORER_OF_MINIFLARE + call.path, worker.url);
  const response = await fetch(url, { method: call.method, headers: { "content-type": "application/json" }, body: JSON.stringify(items) });
  assert.ok(response.ok, await response.text());
}

/** Returns the error for a call that Cloudflare refuses and the local API accepts. */
function refuseAsCloudflare({ headers, body, path, method }) {
  if (headers.authorization !== `Bearer ${CLOUDFLARE_TOKEN}`) return apiError(403, 10000, "Authentication error");
  if (/\/bulk(\/delete)?$/.test(path)) {
    if (body.length > BULK_BYTES_MAX) return apiError(413, 10033, "request too large");
    if (JSON.parse(body).length > BULK_ITEMS_MAX) return apiError(400, 10032, "too many items");
  }
  if (method === "GET" && /\/keys(\?|$)/.test(path)) {
    const limit = new URLSearchParams(path.split("?")[1]).get("limit");
    if (limit !== null && (Number(limit) < 10 || Number(limit) > 1000)) return apiError(400, 10029, "limit out of range");
  }
  return undefined;
}

/** Returns an error in the words of Cloudflare's API. */
export const apiError = (status, code, message, headers = {}) => ({
  status,
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify({ success: false, errors: [{ code, message }], messages: [], result: null }),
});

/** Makes a call to miniflare's REST API. */
export function callExplorer(worker, method, path, headers, body) {
  const { hostname, port } = worker.url;
  const { authorization, connection, expect, "transfer-encoding": _framing, ...fields } = headers;
  const options = { hostname, port, method, path: EXPLORER_OF_MINIFLARE + path, agent: false };
  options.headers = { ...fields, host: `${hostname}:${port}`, "content-length": body.length, "accept-encoding": "identity" };
  return new Promise((resolve, reject) => {
    const request = http.request(options, (response) => {
      const { "content-encoding": _coding, "transfer-encoding": _chunked, ...headersOfResponse } = response.headers;
      const reply = (body) => ({ status: response.statusCode, headers: { ...headersOfResponse, connection: "close" }, body });
      buffer(response).then(reply).then(resolve, reject);
    });
    request.on("error", reject).end(body);
  });
}

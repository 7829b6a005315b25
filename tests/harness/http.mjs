// An HTTP client that sends the path byte for byte, and tells a complete body from a broken one.
// `fetch` does neither.
import http from "node:http";

/**
 * Begins a request and leaves its body open: `{ request, response }`. `response` is a promise of
 * Node's `IncomingMessage`. Without an `agent`, the request has a connection of its own.
 */
export function openRequest(worker, path, { method = "GET", headers = {}, agent = false } = {}) {
  const { hostname, port } = worker.url;
  const request = http.request({ hostname, port, path, method, headers, agent });
  const response = new Promise((resolve, reject) => request.on("response", resolve).on("error", reject));
  // A test may abort a request on purpose; its caller still gets the error.
  response.catch(() => {});
  return { request, response };
}

/** Sends a request and reads the whole response. `complete` is false if the body broke off. */
export async function send(worker, path, { body, ...options } = {}) {
  const { request, response } = openRequest(worker, path, options);
  // Node does not frame the body of a DELETE by itself.
  if (body !== undefined) request.setHeader("Content-Length", Buffer.byteLength(body));
  request.end(body);
  const received = await response;
  const chunks = [];
  try {
    for await (const chunk of received) chunks.push(chunk);
  } catch (error) {
    if (error.code !== "ECONNRESET") throw error;
  }
  const bytes = Buffer.concat(chunks);
  return {
    status: received.statusCode,
    headers: received.headers,
    rawHeaders: received.rawHeaders,
    complete: received.complete,
    bytes,
    text: bytes.toString("utf8"),
    json: () => JSON.parse(bytes.toString("utf8")),
  };
}

/** Sends a request that accepts JSON, so that errors are problem details (RFC 9457). */
export function sendForJson(worker, path, { headers, ...options } = {}) {
  return send(worker, path, { headers: { Accept: "application/json", ...headers }, ...options });
}

/** Returns the members of a list field such as `Vary`, in order. */
export const listMembers = (field) => (field === undefined ? [] : field.split(",").map((member) => member.trim()));

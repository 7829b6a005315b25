// An HTTP client that sends a path byte for byte and tells a clean end of a body from a broken one. `fetch` does neither.
import http from "node:http";

/** Begins a request and leaves its body open: `{ request, response }`, the latter a promise of Node's own object. */
export function openRequest(worker, path, { method = "GET", headers = {} } = {}) {
  const { hostname, port } = worker.url;
  const request = http.request({ hostname, port, path, method, headers, agent: false });
  const response = new Promise((resolve, reject) => request.on("response", resolve).on("error", reject));
  // A request that a test breaks off on purpose fails here; whoever awaits it still sees that.
  response.catch(() => {});
  return { request, response };
}

/** Sends a request and reads the whole answer. `complete` is false where the body broke off. */
export async function send(worker, path, { body, ...options } = {}) {
  const { request, response } = openRequest(worker, path, options);
  // Node frames the body of a DELETE only on request.
  if (body !== undefined) request.setHeader("Content-Length", Buffer.byteLength(body));
  request.end(body);
  const answer = await response;
  const chunks = [];
  try {
    for await (const chunk of answer) chunks.push(chunk);
  } catch (error) {
    if (error.code !== "ECONNRESET") throw error;
  }
  const bytes = Buffer.concat(chunks);
  return {
    status: answer.statusCode,
    headers: answer.headers,
    rawHeaders: answer.rawHeaders,
    complete: answer.complete,
    bytes,
    text: bytes.toString("utf8"),
    json: () => JSON.parse(bytes.toString("utf8")),
  };
}

/** The same, asking for problem details. */
export function sendForJson(worker, path, { headers, ...options } = {}) {
  return send(worker, path, { headers: { Accept: "application/json", ...headers }, ...options });
}

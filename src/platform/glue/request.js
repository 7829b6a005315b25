// What is read from a request in one call each. The bindings copy and convert every string of
// every call again, so fewer calls cost less.

/** Returns method and URL of a request, with a space between them. */
export function head(request) {
  return `${request.method} ${request.url}`;
}

let listedText;
let listed;

/**
 * Returns those of these header fields that a message has: a name and a value in turns, each ended
 * by a line feed. `names` are separated by commas.
 */
export function found(message, names) {
  if (names !== listedText) [listedText, listed] = [names, names.split(",")];
  const { headers } = message;
  let lines = "";
  for (const name of listed) {
    const value = headers.get(name);
    if (value !== null) lines += `${name}\n${value}\n`;
  }
  return lines;
}

/**
 * Returns `Accept-Encoding` as the client sent it (`request.cf.clientAcceptEncoding`). Without
 * that, returns the header field, or `null` if there is none.
 */
export function acceptEncoding(request) {
  return request.cf?.clientAcceptEncoding ?? request.headers.get("accept-encoding");
}

/**
 * Reads the body of a request into an `ArrayBuffer`; resolves to `null` if it has more than
 * `bytesMax` bytes, and rejects if it breaks off.
 */
export function bytes(request, bytesMax) {
  const length = request.headers.get("content-length");
  if (length === null) return bytesOf(request.body, bytesMax);
  return Number(length) > bytesMax ? Promise.resolve(null) : request.arrayBuffer();
}

/** Reads a stream of unknown length. */
async function bytesOf(stream, bytesMax) {
  const chunks = [];
  let length = 0;
  for await (const chunk of stream ?? []) {
    length += chunk.byteLength;
    if (length > bytesMax) return null;
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes.buffer;
}

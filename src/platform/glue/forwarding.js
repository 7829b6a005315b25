// Requests to other servers, their responses, and the header fields of both, in few calls. A call
// for each field would decode each of its strings for WebAssembly, which costs more than all that
// Rust does for a proxied request (`npm run bench`).

/** Returns the names of a message's header fields, each ended by a comma. */
export function names(message) {
  let names = "";
  for (const name of message.headers.keys()) names += `${name},`;
  return names;
}

/**
 * Returns the status of a response and the names of those header fields that it has. Both lists of
 * names are separated by commas.
 */
export function status(response, wanted) {
  const { headers } = response;
  let found = `${response.status}`;
  for (const name of wanted.split(",")) if (headers.has(name)) found += `,${name}`;
  return found;
}

/** Returns the value of a header field, or `null`. */
export function field(message, name) {
  return message.headers.get(name);
}

/**
 * Returns a line with the status of a response and `body` or `empty`, then all header fields:
 * lines with a name and lines with its value in turns. Each `Set-Cookie` is a field of its own.
 */
export function head(response) {
  let lines = `${response.status} ${response.body === null ? "empty" : "body"}\n`;
  for (const [name, value] of response.headers) lines += `${name}\n${value}\n`;
  return lines;
}

/**
 * Returns a response with these header fields after the edits. The body has the content coding
 * that they name.
 */
export function respond(status, lines, edits, body) {
  const headers = new Headers();
  const parts = lines.split("\n");
  for (let at = 0; at < parts.length - 1; ) headers.append(parts[at++], parts[at++]);
  edit(headers, edits);
  return new Response(body, { status, headers, encodeBody: "manual" });
}

/**
 * Returns a response of another server with its own header fields after the edits. The body has
 * the content coding that they name. The fields are copied from the received `Headers`, which keep
 * bytes above 0x7F that are not UTF-8: as text they become U+FFFD.
 */
export function passBack(received, edits, body) {
  const response = new Response(body, { status: received.status, headers: received.headers, encodeBody: "manual" });
  edit(response.headers, edits);
  return response;
}

/**
 * Changes header fields. An edit is two or three lines: `-` and a name to remove; `=`, a name and
 * a value to set; `+`, a name and a value to append.
 */
function edit(headers, edits) {
  const lines = edits.split("\n");
  for (let at = 0; at < lines.length - 1; ) {
    const operator = lines[at++];
    if (operator === "=") headers.set(lines[at++], lines[at++]);
    else if (operator === "+") headers.append(lines[at++], lines[at++]);
    else headers.delete(lines[at++]);
  }
}

/**
 * Sends a request to a URL with the header fields of `request`, if there is one, as `edits` change
 * them, and this body, if any. Redirects are not followed. Resolves to the response. Its body
 * keeps its content coding if `keepsCoding`.
 */
export function send(url, request, method, body, edits, keepsCoding) {
  const headers = new Headers(request?.headers);
  edit(headers, edits);
  return fetch(url, { method, headers, body, redirect: "manual", encodeResponseBody: keepsCoding ? "manual" : undefined });
}

/**
 * Cancels the body of a response that comes too late, if it comes: the fetch goes on. `response`
 * is what `send` returned.
 */
export function discardLate(response) {
  response.then(({ body }) => body?.cancel()).catch(() => {});
}

/**
 * Returns a response with changed header fields. Its body is passed on untouched, and so is its
 * WebSocket.
 */
export function changed(received, edits) {
  const response = new Response(received.body, received);
  edit(response.headers, edits);
  return response;
}

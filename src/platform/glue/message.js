// What is done with the requests and answers of the runtime as a whole, in one call each. From WebAssembly every call decodes its
// strings anew, and a proxied request would make thirty of them: they cost more than all that Rust does for it (`npm run bench`).

/** The names of a message's header fields, separated by commas. */
export function names(message) {
  let names = "";
  for (const name of message.headers.keys()) names += `${name},`;
  return names;
}

/** The status of an answer, and which of these header fields it has, separated by commas. */
export function status(answer, names) {
  const { headers } = answer;
  let found = `${answer.status}`;
  for (const name of names.split(",")) if (headers.has(name)) found += `,${name}`;
  return found;
}

/** A header field of a message, or `null`. */
export function field(message, name) {
  return message.headers.get(name);
}

/** All header fields of a message, a name and a value in turns, each ended by a line feed; the lines of `Set-Cookie` one by one. */
export function lines(message) {
  let lines = "";
  for (const [name, value] of message.headers) lines += `${name}\n${value}\n`;
  return lines;
}

/** An answer with these header fields, changed, and a body that is encoded already as they say. */
export function answer(status, lines, edits, body) {
  const headers = new Headers();
  const parts = lines.split("\n");
  for (let at = 0; at < parts.length - 1; ) headers.append(parts[at++], parts[at++]);
  edit(headers, edits);
  return new Response(body, { status, headers, encodeBody: "manual" });
}

/**
 * An answer of another server with its own header fields, changed, and this body, which is encoded already as they say. Only its own
 * `Headers` keep bytes over 0x7F that are no UTF-8: as text they are U+FFFD.
 */
export function passedOn(received, edits, body) {
  const answer = new Response(body, { status: received.status, headers: received.headers, encodeBody: "manual" });
  edit(answer.headers, edits);
  return answer;
}

/** Changes header fields. Lines: `-` and a name, `=` or `+`, a name and a value: remove, set, append. */
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
 * Sends a request to another URL with changed header fields and this body, if any; without a `request` with no other fields.
 * Resolves to the answer, or to `null` where it has not begun after so many milliseconds. `encodeResponseBody` is "manual" where
 * the body is to stay as it is encoded.
 */
export function send(url, request, method, body, edits, milliseconds, encodeResponseBody) {
  const headers = new Headers(request?.headers);
  edit(headers, edits);
  const sent = { method, headers, body, redirect: "manual", encodeResponseBody };
  return new Promise((resolve, reject) => {
    let late = false;
    // It ends with the request. Clearing it before costs more than it does.
    setTimeout(() => {
      late = true;
      resolve(null);
    }, milliseconds);
    fetch(url, sent).then((answer) => (late ? answer.body?.cancel().catch(() => {}) : resolve(answer)), reject);
  });
}

/** An answer with changed header fields; its body is passed on untouched, and so is its WebSocket. */
export function changed(received, edits) {
  const answer = new Response(received.body, received);
  edit(answer.headers, edits);
  return answer;
}

// What is done with the requests and answers of the runtime as a whole, in one call each. From WebAssembly every call decodes its
// strings anew, and a proxied request would make thirty of them: they cost more than all that Rust does for it (`npm run bench`).

/** Method and URL of a request. */
export function head(request) {
  return `${request.method} ${request.url}`;
}

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
 * Sends a request to another URL with changed header fields and this body, if any. Resolves to the answer, or to `null` where it
 * has not begun after so many milliseconds.
 */
export function send(url, request, body, edits, milliseconds) {
  const headers = new Headers(request.headers);
  edit(headers, edits);
  const sent = { method: request.method, headers, body, redirect: "manual" };
  return new Promise((resolve, reject) => {
    let late = false;
    // It ends with the request. Clearing it before costs more than it does.
    setTimeout(() => {
      late = true;
      resolve(null);
    }, milliseconds);
    fetch(url, sent).then((answer) => (late ? answer.body?.cancel() : resolve(answer)), reject);
  });
}

/** An answer with changed header fields; its body is passed on untouched, and so is its WebSocket. */
export function changed(received, edits) {
  const answer = new Response(received.body, received);
  edit(answer.headers, edits);
  return answer;
}

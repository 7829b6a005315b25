// Checks of error responses: problem details, plain text, and the fields that both have.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const titles = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  408: "Request Timeout",
  409: "Conflict",
  411: "Length Required",
  412: "Precondition Failed",
  413: "Content Too Large",
  414: "URI Too Long",
  416: "Range Not Satisfiable",
  429: "Too Many Requests",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  508: "Loop Detected",
};

/** The text of docs/errors.md. */
const page = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");
/** `status phrase code` of every problem in docs/errors.md. */
const documented = new Set(Array.from(page.matchAll(/^\| (\d{3} [^|]+?) \| `(\w+)` \|/gm), ([, status, code]) => `${status} ${code}`));

/** Returns true if docs/errors.md has an error of this status and code. */
export const isDocumented = (status, code) => documented.has(`${status} ${titles[status]} ${code}`);

/** What only a log may contain: messages of the runtime and of Rust, stacks, source files. */
export const internals = /failed: \d{3}|Too many API|JsValue|Error:|panicked|\bat .+:\d+|\.rs\b|Network connection|expected .+ at line|invalid type/;

/** Checks a problem details response (RFC 9457) and returns its body, parsed. */
export function assertProblem(response, status, code) {
  const { headers } = response;
  assert.equal(response.status, status, response.text);
  assert.equal(headers["content-type"], "application/problem+json");
  const problem = response.json();
  const { detail, requestId, ...rest } = problem;
  assert.deepEqual(rest, { type: "about:blank", title: titles[status], status, code });
  assert.ok(isDocumented(status, code), `docs/errors.md has no ${status} ${titles[status]} ${code}`);
  assert.equal(typeof detail, "string");
  assert.notEqual(detail, "");
  assertErrorHeaders(response);
  if (status >= 500) {
    assert.equal(requestId, headers["x-request-id"]);
    assert.doesNotMatch(response.text, internals);
  } else {
    assert.equal(requestId, undefined);
  }
  return problem;
}

/** Checks an error response in plain text: one sentence, or what matches a pattern. */
export function assertPlainError(response, status, sentence) {
  assert.equal(response.status, status, response.text);
  assert.equal(response.headers["content-type"], "text/plain; charset=utf-8");
  if (sentence instanceof RegExp) {
    assert.match(response.text, sentence);
  } else {
    assert.equal(response.text, sentence);
  }
  if (status >= 500) assert.doesNotMatch(response.text, internals);
  assertErrorHeaders(response);
}

/** Checks the fields that an error of this status has in any form. */
export function assertErrorHeaders({ status, headers }) {
  // no-transform: a compressing proxy would weaken the entity tag.
  assert.equal(headers["cache-control"], headers.etag ? "no-store, no-transform" : "no-store");
  if (status === 405) assert.match(headers.allow, /^[A-Z]+(, [A-Z]+)*$/);
  if (status === 401) assert.match(headers["www-authenticate"], /^(Bearer|X-Force-Variant-Token)$/);
  if (status === 429 || status === 503) assert.match(headers["retry-after"], /^[1-9]\d*$/);
  if (status >= 500) assert.match(headers["x-request-id"], /^[\x21-\x7e]+$/);
}

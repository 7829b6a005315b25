// The KV REST API at `/client/v4`: starts a Worker that serves it, calls it over the wire, and
// signs tokens.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { send } from "./http.mjs";
import { assertErrorHeaders, internals, isDocumented } from "./problem.mjs";
import { startWorker, WORKER_TOKEN } from "./worker.mjs";

/** Any account will do. */
export const ACCOUNT = "0123456789abcdef0123456789abcdef";

/** The path of the namespaces. */
export const NAMESPACES = `/accounts/${ACCOUNT}/storage/kv/namespaces`;

/** The longest value of Workers KV, in bytes. */
export const VALUE_BYTES_MAX = 25 * 1024 * 1024;

/** Keys that are easily broken on their way through a URL, and a longest one. */
export const ODD_KEYS = [
  "a/b/c",
  "/leading",
  "trailing/",
  "double//slash",
  "50%",
  "a%2Fb",
  "%zz",
  "with space",
  "a+b",
  "what?c=d&e",
  "#hash",
  "!'()*~.-_",
  "...",
  'a:b;c,d@e=$"\\[]',
  "line\nfeed",
  "🎉/ü",
  "k".repeat(512),
];

/** Every byte, and what a text decoder or a form would change: line endings, NUL, broken UTF-8. */
export const BINARY = Buffer.concat([
  Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
  Buffer.from("\r\n--\n\r\u0000"),
  Buffer.from([0xff, 0xfe, 0x0d]),
]);

/** Returns bytes that do not repeat soon, always the same. */
export function manyBytes(length) {
  const bytes = Buffer.alloc(length);
  let state = 1;
  for (let at = 0; at + 4 <= length; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes.writeUInt32LE(state, at);
  }
  return bytes;
}

/**
 * Starts a Worker whose namespace WRITES clients may change, and where they can make namespaces.
 * The others are read-only. Adds to the Worker:
 *
 * - `api(method, path, options)`, which sends a call below `/client/v4`, byte for byte;
 * - `baseUrl`, which clients need.
 */
export async function startKvApi({ vars, ...options } = {}) {
  const worker = await startWorker({ vars: { KV_API_WRITABLE: "WRITES", KV_API_NAMESPACES: "KV_NAMESPACES", ...vars }, ...options });
  return Object.assign(worker, {
    baseUrl: new URL("/client/v4", worker.directUrl).href,
    api: (method, path, { token = WORKER_TOKEN, headers, ...rest } = {}) =>
      send({ url: worker.directUrl }, `/client/v4${path}`, {
        method,
        headers: { ...(token === null ? {} : { Authorization: `Bearer ${token}` }), ...headers },
        ...rest,
      }),
  });
}

/** Returns the path of a value. */
export const valuePath = (namespace, key) => `${NAMESPACES}/${namespace}/values/${encodeURIComponent(key)}`;

/** Checks a success, and returns its `result`. */
export function assertResult(response) {
  assert.equal(response.status, 200, response.text);
  assert.equal(response.headers["content-type"], "application/json");
  assert.match(response.headers["cache-control"], /^no-store\b/);
  const { result, success, errors, messages } = response.json();
  assert.deepEqual({ success, errors }, { success: true, errors: [] });
  assert.ok(Array.isArray(messages));
  return result;
}

/** Error codes that docs/errors.md has in a sentence, because several errors have them. */
const OF_OTHERS = new Set([10001, 10429]);

/**
 * Checks an error in the envelope, and returns the message. `result` is the member of that name.
 */
export function assertFailure(response, status, code, result = null) {
  assert.equal(response.status, status, response.text);
  assert.equal(response.headers["content-type"], "application/json");
  const { errors, ...rest } = response.json();
  assert.deepEqual(rest, { result, success: false, messages: [] });
  assert.equal(errors.length, 1);
  const [{ message, ...error }] = errors;
  assert.deepEqual(error, { code });
  assert.match(message, /./);
  if (status >= 500) assert.doesNotMatch(response.text, internals);
  assert.ok(OF_OTHERS.has(code) || isDocumented(status, code), `docs/errors.md has no ${status} ${code}`);
  assertErrorHeaders(response);
  return message;
}

const base64url = (bytes) => Buffer.from(bytes).toString("base64url");
const hmac = (key, message) => createHmac("sha256", key).update(message).digest();

/**
 * Returns a token as the tool signs it: a JSON Web Token (RFC 7519) with HMAC-SHA-256, whose key
 * is derived from the secret `API_TOKEN`. `exp` is in seconds since the Unix epoch.
 */
export function signToken({ sub = "ci", namespace = "WRITES", prefix = "", write = false, exp = 4e9 } = {}, { secret = WORKER_TOKEN, header } = {}) {
  const key = hmac(secret, "kv-edge kv api token 1");
  const claims = { sub, namespace, prefix, write, exp };
  const signed = `${base64url(JSON.stringify(header ?? { alg: "HS256", typ: "JWT" }))}.${base64url(JSON.stringify(claims))}`;
  return `${signed}.${base64url(hmac(key, signed))}`;
}

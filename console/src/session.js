// The token of this tab, and calls of the Worker with it. The token is stored in the tab's session
// storage alone, and sent in `Authorization` alone: never in a URL, never in a cookie.

const STORED = "kv-edge-token";

/** A response that is no success, or none at all (`status` 0). `message` is a sentence to show. */
export class ApiError extends Error {
  name = "ApiError";
  /** The `result` of the response, such as what a bulk call did not change. */
  result = null;
  /** The seconds of its `Retry-After`. */
  retryAfterSeconds = null;

  constructor({ status, code, message }) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const listeners = new Set();

/**
 * Calls `listener` with a sentence if the token of the tab stops being accepted. Returns a
 * function that removes the listener.
 */
export function onTokenRefused(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Returns what the token may do, from `GET /console/api/session`, and keeps the token for the life
 * of the tab. Throws an `ApiError` if it is not accepted.
 */
export async function signIn(token) {
  const session = await call("/console/api/session", { token });
  sessionStorage.setItem(STORED, token);
  return session;
}

/** Returns the session of the token that the tab has, or `null` if it has none. */
export async function restoreSession() {
  const token = sessionStorage.getItem(STORED);
  return token === null ? null : signIn(token);
}

/** Returns true if the tab has a token. */
export const hasToken = () => sessionStorage.getItem(STORED) !== null;

export function signOut() {
  sessionStorage.removeItem(STORED);
}

/**
 * Calls a route that responds with JSON, and returns that; `null` for a 204. Options as for
 * `send`.
 */
export async function call(path, options) {
  const response = await send(path, options);
  return response.status === 204 ? null : response.json();
}

/**
 * Calls a route of the Worker, and returns the `Response` if it is a success. Otherwise throws an
 * `ApiError`, or the `AbortError` of `signal`. A 401 to the token of the tab signs out. `json` is
 * a value to send as JSON, `body` anything else that `fetch` takes. A path begins with `/`.
 */
export async function send(path, { method = "GET", json, body, headers, signal, token = sessionStorage.getItem(STORED) } = {}) {
  const fields = new Headers(headers);
  // A bearer token has visible ASCII only (RFC 6750 §2.1). `fetch` refuses some other characters
  // with a message of its own.
  if (token !== null && /^[\x21-\x7e]+$/.test(token)) fields.set("authorization", `Bearer ${token}`);
  if (json !== undefined) fields.set("content-type", "application/json");
  // Cloudflare Access in front of the Worker knows a visitor by its cookie.
  const options = { method, headers: fields, body: json === undefined ? body : JSON.stringify(json), signal, credentials: "same-origin", cache: "no-store" };
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const message = "There is no connection to the Worker. If it is behind Cloudflare Access, load this page again to sign in there.";
    throw new ApiError({ status: 0, code: null, message });
  }
  if (response.ok) return response;
  const error = await errorOf(response);
  if (error.status === 401 && token !== null && token === sessionStorage.getItem(STORED)) {
    signOut();
    for (const listener of listeners) listener("The token is no longer accepted: it has expired, or was revoked.");
  }
  throw error;
}

/** Reads the error of the KV REST API's envelope, or problem details (RFC 9457). */
async function errorOf(response) {
  const { status } = response;
  const body = await response.json().catch(() => null);
  const [inEnvelope] = body?.errors ?? [];
  const code = inEnvelope?.code ?? body?.code ?? null;
  const message = inEnvelope?.message ?? body?.detail ?? body?.title ?? `The Worker answered with ${status}.`;
  const error = new ApiError({ status, code, message });
  error.result = body?.result ?? null;
  error.retryAfterSeconds = Number(response.headers.get("retry-after")) || null;
  return error;
}

/** Returns the binding with this role, of those that `GET /console/api/session` lists. */
export const bindingOf = (session, role) => session.bindings.find((binding) => binding.role === role);

/** Returns why a prefix or key is out of the token's reach, as a sentence, or `null`. */
export function reachProblem({ scope }, key) {
  return key.startsWith(scope?.prefix ?? "") ? null : `The token reaches only keys that begin with “${scope.prefix}”.`;
}

/**
 * Returns why the token may not change a key of a namespace that it may change, as a sentence, or
 * `null` if it may.
 */
export function changeProblem(session, key) {
  return reachProblem(session, key) ?? (session.scope?.readOnlyKeys.includes(key) ? `The token may not change “${key}”.` : null);
}

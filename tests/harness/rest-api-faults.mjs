// Calls between the tool and the KV REST API: what they do, and interceptors (`api.intercept`)
// that fail them.
import { apiError } from "./rest-api.mjs";

/** Returns what an API call does: "read", "write", "delete", "list" or "namespaces". */
export function kindOfCall({ method, path }) {
  if (/\/bulk\/delete$/.test(path)) return "delete";
  if (/\/bulk$/.test(path)) return "write";
  if (/\/bulk\/get$/.test(path)) return "read";
  if (/\/values\//.test(path)) return method === "GET" ? "read" : "write";
  if (/\/keys(\?|$)/.test(path)) return "list";
  return "namespaces";
}

/** Returns the calls that write or delete. */
export const changingCalls = (calls) => calls.filter((call) => ["write", "delete"].includes(kindOfCall(call)));

/** Returns the keys that a call reads, writes or deletes. */
export function keysOfCall({ path, body }) {
  if (!/\/bulk/.test(path)) return [path.replace(/^.*\/values\//, "")];
  const items = JSON.parse(body);
  return (Array.isArray(items) ? items : items.keys).map((item) => item.key ?? item);
}

/** Returns a text that two calls have in common if one is a retry of the other. */
const nameOfCall = (call) => [call.method, call.path, ...(/\/bulk/.test(call.path) ? keysOfCall(call) : [])].join(" ");

/**
 * Returns an interceptor that fails each call the first time; a retry for the same keys passes.
 */
export function failFirstTry(fail) {
  const failed = new Set();
  return (call, pass) => {
    const name = nameOfCall(call);
    if (failed.has(name)) return pass();
    failed.add(name);
    return fail(call, pass);
  };
}

/**
 * Responds to a bulk call as Cloudflare does if it accepts only some items, those for which
 * `isAccepted(item, index)`: status 200 with a list of the others. Other calls pass.
 */
export async function acceptSomeItems(api, call, pass, isAccepted) {
  if (!/\/bulk(\/delete)?$/.test(call.path)) return pass();
  const items = JSON.parse(call.body);
  const accepted = items.filter(isAccepted);
  await api.forwardItems(call, accepted);
  const left = items.filter((item) => !accepted.includes(item));
  const result = { successful_key_count: accepted.length, unsuccessful_keys: left.map((item) => item.key ?? item) };
  return { status: 200, body: JSON.stringify({ success: true, errors: [], messages: [], result }) };
}

/** Returns `random(below)`, a generator of pseudo-random whole numbers (Park and Miller). */
export function randomNumbers(seed) {
  let state = seed;
  return (below) => {
    state = (state * 48271) % 2147483647;
    return state % below;
  };
}

/**
 * Returns an interceptor that fails calls often and in five ways, but each twice at most, so that
 * the tool's retries succeed.
 */
export function randomFaults(api, random) {
  const failed = new Map();
  return (call, pass) => {
    const name = `${call.method} ${call.path} ${/\/bulk/.test(call.path) ? keysOfCall(call)[0] : ""}`;
    const times = failed.get(name) ?? 0;
    if (times >= 2 || random(3) === 0) return pass();
    failed.set(name, times + 1);
    const keep = random(5) + 2;
    const all = [
      () => undefined,
      async () => void (await pass()),
      () => apiError(500, 10001, "internal error"),
      () => apiError(429, 10429, "slow down", { "Retry-After": "0" }),
      () => acceptSomeItems(api, call, pass, (_, index) => index % keep > 0),
    ];
    return all[random(all.length)]();
  };
}

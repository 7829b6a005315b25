// Requests whose KV operations fail, and the KV calls that were made. tests/faulty/entry.mjs lists
// the faults.
import { send } from "./http.mjs";

/** Sends a request with faults for its KV calls, such as `{ WRITES: { put: ["429", "ok"] } }`. */
export function sendWithFaults(worker, path, faults, { headers, ...options } = {}) {
  return send(worker, path, { headers: { "X-Kv-Faults": JSON.stringify(faults), ...headers }, ...options });
}

/**
 * Returns the KV calls for a key so far, all or those of one operation, in order: `{ binding,
 * operation, key, value, done, startedMs, endedMs, … }`.
 */
export async function kvCallsFor(worker, key, operation) {
  const calls = (await send(worker, `/.kv-calls?key=${encodeURIComponent(key)}`)).json();
  return operation === undefined ? calls : calls.filter((call) => call.operation === operation);
}

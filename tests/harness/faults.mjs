// Requests to the faulty entry: which KV operations fail, and which calls were made.
import { send } from "./http.mjs";

/** Sends a request with faults such as `{ WRITES: { put: ["429", "ok"] } }`; tests/faulty/entry.mjs lists them. */
export function sendWithFaults(worker, path, faults, { headers, ...options } = {}) {
  return send(worker, path, { headers: { "X-Kv-Faults": JSON.stringify(faults), ...headers }, ...options });
}

/** The calls made for a key so far, in order: `{ binding, operation, key, value, done }`. */
export async function kvCallsFor(worker, key, operation) {
  const calls = (await send(worker, `/.kv-calls?key=${encodeURIComponent(key)}`)).json();
  return operation === undefined ? calls : calls.filter((call) => call.operation === operation);
}

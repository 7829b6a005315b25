// What the console does in many calls, and how it waits between them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { removeKeys } from "../console/src/browse/transfer.js";

/** Deletes a key, with a timer that ends at once. Returns the outcome and the waits. */
async function removed({ mock }, respond) {
  const waits = [];
  mock.method(globalThis, "setTimeout", (done, milliseconds) => {
    waits.push(milliseconds);
    queueMicrotask(done);
  });
  mock.method(globalThis, "fetch", respond);
  const outcome = await removeKeys("demo", ["a"], { signal: new AbortController().signal, onCount: () => {} });
  return { outcome, waits };
}

globalThis.sessionStorage ??= { getItem: () => "token" };

test("keys are sent again after waits that grow, without a connection, too", async (context) => {
  const { outcome, waits } = await removed(context, () => Promise.reject(new TypeError("fetch failed")));
  assert.equal(outcome.error.status, 0);
  assert.deepEqual(waits, [1100, 2200, 3300, 4400, 5500]);
});

test("a Retry-After that is longer counts instead", async (context) => {
  const busy = () => new Response("{}", { status: 429, headers: { "retry-after": "4" } });
  const { outcome, waits } = await removed(context, async () => busy());
  assert.equal(outcome.error.status, 429);
  assert.deepEqual(waits, [4000, 4000, 4000, 4400, 5500]);
});

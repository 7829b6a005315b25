// How the console repeats the calls that delete keys, and what it takes from the pages of a list.
import assert from "node:assert/strict";
import { test } from "node:test";
import { namesOf, removeKeys } from "../console/src/browse/transfer.js";

/** Deletes a key, with timers that end at once. Returns the outcome and the waits. */
async function removeKey({ mock }, respond) {
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

test("a deletion is repeated after waits that grow, also after a network error", async (context) => {
  const { outcome, waits } = await removeKey(context, () => Promise.reject(new TypeError("fetch failed")));
  assert.equal(outcome.error.status, 0);
  assert.deepEqual(waits, [1100, 2200, 3300, 4400, 5500]);
});

test("a longer Retry-After takes the place of a wait", async (context) => {
  const busy = () => new Response("{}", { status: 429, headers: { "retry-after": "4" } });
  const { outcome, waits } = await removeKey(context, async () => busy());
  assert.equal(outcome.error.status, 429);
  assert.deepEqual(waits, [4000, 4000, 4000, 4400, 5500]);
});

test("a key that ends one page of a list and begins the next is listed once", async ({ mock }) => {
  const pages = { "": [["a", "b"], "2"], 2: [[], "3"], 3: [["b", "c"], ""] };
  mock.method(globalThis, "fetch", async (path) => {
    const [names, cursor] = pages[new URL(path, "http://console").searchParams.get("cursor") ?? ""];
    return Response.json({ success: true, result: names.map((name) => ({ name })), result_info: { cursor } });
  });
  const counts = [];
  assert.deepEqual(await namesOf("demo", "", { onCount: (count) => counts.push(count) }), ["a", "b", "c"]);
  assert.deepEqual(counts, [2, 2, 3]);
});

// How the Worker wakes its futures and sets timers, and how it recovers from a WebAssembly trap.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { send } from "./harness/http.mjs";
import { startWorker } from "./harness/worker.mjs";
import { assertReport, writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ entry: "tests/executor/entry.mjs", mayCrash: true, vars: { CONFIG_REFRESH: "0" } });
const { coalesce, storeAll, kvValue, readConsistent, waitForKv } = writesOf(worker);
const config = (options) => send(worker, "/config?userId=somebody", options);
const executor = async () => (await send(worker, "/.executor")).json();

test("futures are woken by promises, not by queueMicrotask", async () => {
  assert.equal((await config()).status, 200);
  assert.equal((await executor()).queueMicrotaskCalls, 0);
});

test("a timer is a number of the platform's, not an object of Node's", async () => {
  assert.equal((await executor()).timer, "number");
});

test("a trap fails its own request only, and the next ones get a new instance", async () => {
  const { instance } = await executor();
  assert.equal((await config({ headers: { "X-Trap": "1" } })).status, 500);
  for (let request = 0; request < 3; request += 1) {
    const response = await config();
    assert.equal(response.status, 200);
    assert.match(response.text, /Welcome to My App/);
  }
  const after = await executor();
  assert.ok(after.instance > instance, "the instance that trapped was replaced");
  assert.equal(after.queueMicrotaskCalls, 0);
});

const trap = async () => assert.equal((await config({ headers: { "X-Trap": "1" } })).status, 500);

test("a key's Durable Object survives a trap of a request: it still writes and reads", async () => {
  assertReport(await coalesce("awake", { body: "before" }), 200, 1);
  await trap();
  assert.equal((await readConsistent("awake")).text, "before");
  const response = await coalesce("awake", { body: "after" });
  assertReport(response, 200, 1);
  assert.equal(response.headers.etag, '"2"');
  assert.equal(await kvValue("awake"), "after");
});

test("a value that was acknowledged before a trap reaches KV after it", async () => {
  assertReport(await coalesce("pending", { body: "before" }), 200, 1);
  // Its put is due a second after the previous one.
  await storeAll("pending", ["acknowledged"]);
  await trap();
  await waitForKv("pending", "acknowledged");
});

test("a trap in the object itself, at its put: the put is retried", async () => {
  assert.equal((await send(worker, "/.trap", { method: "PUT" })).status, 204);
  await storeAll("trapping", ["acknowledged"]);
  await waitForKv("trapping", "acknowledged");
  assert.equal((await readConsistent("trapping")).text, "acknowledged");
});

test("a trap of a request during an object's put: the key's next write reaches KV", async () => {
  await storeAll("slow", ["first"]);
  await sleep(200);
  await trap();
  assertReport(await coalesce("slow", { body: "second", timeoutMs: 8000 }), 200, 1);
});

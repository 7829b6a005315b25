// `strategy=coalesce` if workerd is killed and restarted on the same storage, as in a crash or a
// deploy.
//
// The tests run one after the other, because a kill ends everything, the faults included: after it
// KV accepts each put.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "./harness/eventually.mjs";
import { uniqueName } from "./harness/names.mjs";
import { bearer, startWorker } from "./harness/worker.mjs";
import { assertReport, oneTo, writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true });
const { readConsistent, coalesce, storeAll, kvValue, waitForKv, puts, setFaults, waitUntilFlushed } = writesOf(worker);

test("killed between the response and a put that succeeds: KV gets the last acknowledged value without another request", async () => {
  const key = uniqueName("kill");
  await setFaults(key, { put: ["429"] });
  await storeAll(key, ["first", "last"]);
  await worker.killAndRestart();
  await waitForKv(key, "last");
  await waitUntilFlushed(key);
});

test("killed during the put: it is retried", async () => {
  const key = uniqueName("kill");
  await setFaults(key, { put: ["slow for 5000"] });
  await storeAll(key, ["kept"]);
  await eventually(async () => (await puts(key)).length === 1, "the put has begun");
  assert.equal(await kvValue(key), null);
  await worker.killAndRestart();
  await waitForKv(key, "kept");
  await waitUntilFlushed(key);
});

test("killed right after the response, with a value of several MiB: KV gets it, byte for byte", async () => {
  const key = uniqueName("kill");
  await setFaults(key, { put: ["429"] });
  const body = Buffer.alloc(5 * 1024 * 1024, "0123456789abcdef~");
  assertReport(await coalesce(key, { body, wait: "durable" }), 202, 1);
  await worker.killAndRestart();
  await waitUntilFlushed(key);
  const value = Buffer.from(await worker.env.WRITES.get(key, "arrayBuffer"));
  assert.ok(value.equals(body));
});

test("version and newest value are the same after a kill", async () => {
  const [flushed, pending] = [uniqueName("kill"), uniqueName("kill")];
  await coalesce(flushed, { body: "in KV" });
  await setFaults(pending, { put: ["429"] });
  await storeAll(pending, ["first", "second"]);
  await worker.killAndRestart();
  for (const [key, text, etag] of [
    [flushed, "in KV", '"1"'],
    [pending, "second", '"2"'],
  ]) {
    const newest = await readConsistent(key);
    assert.deepEqual({ text: newest.text, etag: newest.headers.etag }, { text, etag });
    const response = await coalesce(key, { body: "next", wait: "durable", headers: { ...bearer, "If-Match": etag } });
    assert.equal(response.status, 202, response.text);
    await waitForKv(key, "next");
  }
});

test("killed among writers of several keys: no acknowledged value is lost or replaced by an earlier one", async () => {
  const keys = oneTo(3).map(() => uniqueName("kill"));
  const acknowledged = new Map(keys.map((key) => [key, { version: 0 }]));
  let isOver = false;
  const writers = keys.map(async (key) => {
    for (let number = 1; !isOver; number += 1) {
      const body = `value ${number}`;
      const response = await coalesce(key, { body, wait: "durable" }).catch(() => undefined);
      if (response?.status === 202) acknowledged.set(key, { version: Number(response.headers.etag.slice(1, -1)), body });
      await sleep(response ? 5 : 100);
    }
  });
  for (const pause of [700, 900]) {
    await sleep(pause);
    await worker.killAndRestart();
  }
  await sleep(300);
  isOver = true;
  await Promise.all(writers);
  for (const key of keys) {
    await waitUntilFlushed(key);
    const { value, metadata } = await worker.env.WRITES.getWithMetadata(key);
    const last = acknowledged.get(key);
    assert.ok(last.version > 0);
    assert.ok(metadata.version >= last.version, `KV has version ${metadata.version}, ${last.version} was acknowledged`);
    if (metadata.version === last.version) assert.equal(value, last.body);
  }
});

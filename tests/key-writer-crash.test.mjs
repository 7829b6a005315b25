// `strategy=coalesce` if the key's object is evicted, crashes or loses its alarm: an acknowledged
// value still reaches KV.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "./harness/eventually.mjs";
import { send } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { startWorker } from "./harness/worker.mjs";
import { assertReport, oneTo, writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true });
const { readConsistent, coalesce, storeAll, kvValue, waitForKv, puts, setFaults, waitUntilFlushed } = writesOf(worker);

/** Crashes the key's object, whatever it is doing. */
const crash = (key) => send(worker, `/.crash?key=${encodeURIComponent(key)}`, { method: "POST" });

const hasTried = (key, times) => eventually(async () => (await puts(key)).length >= times, `${times} puts of ${key}`);

for (const [name, end] of [
  ["evicted", (key) => worker.evict(key)],
  ["crashed", crash],
]) {
  describe(`an object that is ${name}`, { concurrency: true }, () => {
    test("between the response and the put that KV accepts: KV gets the last acknowledged value", async () => {
      const key = uniqueName(name);
      await setFaults(key, { put: ["429", "ok"] });
      await storeAll(key, ["first", "second", "last"]);
      await hasTried(key, 1);
      await end(key);
      await waitForKv(key, "last");
      await waitUntilFlushed(key);
    });

    test("again and again, while KV refuses: KV gets the last acknowledged value", async () => {
      const key = uniqueName(name);
      await setFaults(key, { put: ["429", "500", "429", "ok"] });
      await storeAll(key, ["first", "last"]);
      for (const times of [1, 2, 3]) {
        await hasTried(key, times);
        await end(key);
      }
      await waitForKv(key, "last");
      assert.equal((await puts(key)).filter(({ done }) => done).length, 1);
    });

    test("has the same newest value and version afterwards, and evaluates preconditions with them", async () => {
      const key = uniqueName(name);
      await setFaults(key, { put: ["429", "429", "ok"] });
      await storeAll(key, ["first", "second"]);
      await end(key);
      const newest = await readConsistent(key);
      assert.equal(newest.text, "second");
      assert.equal(newest.headers.etag, '"2"');
      const store = (version) => coalesce(key, { body: `after ${version}`, wait: "durable", headers: { "If-Match": `"${version}"` } });
      assertProblem(await store(1), 412, "precondition_failed");
      assertReport(await store(2), 202, 1);
      await waitForKv(key, "after 2");
    });

    test("with nothing to write: value and version stay", async () => {
      const key = uniqueName(name);
      await coalesce(key, { body: "first" });
      await waitUntilFlushed(key);
      await end(key);
      const newest = await readConsistent(key);
      assert.equal(newest.text, "first");
      assert.equal(newest.headers.etag, '"1"');
      const response = await coalesce(key, { body: "second" });
      assertReport(response, 200, 1);
      assert.equal(response.headers.etag, '"2"');
    });
  });
}

describe("an object whose alarm is lost", { concurrency: true }, () => {
  for (const [name, ask] of [
    ["read", (key) => readConsistent(key)],
    ["refused write", (key) => coalesce(key, { body: "no", headers: { "If-Match": '"9"' } })],
    ["write", (key) => coalesce(key, { body: "next", wait: "durable" })],
  ]) {
    test(`sets it again when it wakes up for a ${name}`, async () => {
      const key = uniqueName("lost");
      await setFaults(key, { put: ["429", "ok"] });
      await storeAll(key, ["acknowledged"]);
      await hasTried(key, 1);
      assert.equal((await send(worker, `/.alarm?key=${key}`, { method: "DELETE" })).status, 204);
      await crash(key);
      await ask(key);
      await waitForKv(key, name === "write" ? "next" : "acknowledged");
    });
  }
});

describe("an object that crashes at its put", { concurrency: true }, () => {
  // The runtime retries a failed alarm six times, then never again.
  test("more often than the runtime retries an alarm: KV still gets the value", async () => {
    const key = uniqueName("crash");
    await setFaults(key, { put: [...Array(9).fill("crash before"), "ok"] });
    await storeAll(key, ["kept"]);
    await eventually(async () => (await puts(key)).length >= 10, "the tenth put", 60_000);
    await waitForKv(key, "kept");
    await waitUntilFlushed(key);
  });

  for (const fault of ["crash before", "crash after"]) {
    test(`${fault} KV has it: the put is retried with the same version, and waiting clients get no false response`, async () => {
      const key = uniqueName("crash");
      await setFaults(key, { put: [fault, "ok"] });
      const response = await coalesce(key, { body: "kept" });
      if (response.status === 200) {
        assert.equal(await kvValue(key), "kept");
      } else {
        assertProblem(response, 503, "writer_unavailable");
      }
      await waitForKv(key, "kept");
      await waitUntilFlushed(key);
      const made = await puts(key);
      assert.ok(made.length >= 2 && made.every(({ metadata }) => metadata.version === 1), JSON.stringify(made));
    });

    test(`${fault} KV has it: the last acknowledged value reaches KV, and no earlier one after it`, async () => {
      const key = uniqueName("crash");
      await setFaults(key, { put: [fault, fault, "ok"] });
      await storeAll(key, ["first", "last"]);
      await waitForKv(key, "last");
      await waitUntilFlushed(key);
      const versions = (await puts(key)).map(({ metadata }) => metadata.version);
      assert.deepEqual(
        versions,
        versions.toSorted((a, b) => a - b),
        "an earlier value after a later one",
      );
    });
  }

  test("a crash during a put, then a later value: the later one stays in KV", async () => {
    const key = uniqueName("crash");
    await setFaults(key, { put: ["slow for 1500", "ok"] });
    await storeAll(key, ["first"]);
    await hasTried(key, 1);
    await crash(key);
    assertReport(await coalesce(key, { body: "second" }), 200, 1);
    await sleep(2000);
    assert.equal(await kvValue(key), "second");
    await waitUntilFlushed(key);
  });

  test("a crash among many writers: the value of every 202 reaches KV, or a later one", async () => {
    const key = uniqueName("crash");
    await setFaults(key, { put: ["limit"] });
    const writers = oneTo(40).map(async (number) => {
      await sleep(number * 20);
      const body = `value ${number}`;
      const { status, headers } = await coalesce(key, { body, wait: "durable" });
      return { body, status, version: Number(headers.etag?.slice(1, -1) ?? 0) };
    });
    for (const pause of [200, 200, 200]) {
      await sleep(pause);
      await crash(key);
    }
    const responses = await Promise.all(writers);
    assert.ok(responses.every(({ status }) => status === 202 || status === 503));
    const acknowledged = responses.filter(({ status }) => status === 202);
    assert.ok(acknowledged.length > 0);
    const versions = acknowledged.map(({ version }) => version);
    assert.equal(new Set(versions).size, versions.length, "each has a version of its own");
    await waitUntilFlushed(key);
    const last = acknowledged.find(({ version }) => version === Math.max(...versions));
    const { value, metadata } = await worker.env.WRITES.getWithMetadata(key);
    assert.ok(metadata.version >= last.version, `KV has version ${metadata.version}, ${last.version} was acknowledged`);
    if (metadata.version === last.version) assert.equal(value, last.body);
  });
});

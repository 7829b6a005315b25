// What a Durable Object stores is broken. It must not count as missing, because then it would be
// replaced: the call fails, and what is stored stays.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { send } from "./harness/http.mjs";
import { NAMESPACES } from "./harness/kv-api.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { bearer, startWorker } from "./harness/worker.mjs";
import { writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true, vars: { METRICS: "on", KV_API_NAMESPACES: "KV_NAMESPACES" } });
const { coalesce, storeAll, readConsistent, kvValue, puts, setFaults, waitUntilFlushed } = writesOf(worker);

const storagePath = (key, binding) => `/.storage?${new URLSearchParams({ key, binding })}`;

/** Returns what an object stores, and stores values in it. */
function storageOf(key, binding = "KEY_WRITER") {
  const path = storagePath(key, binding);
  return {
    values: async () => (await send(worker, path)).json().values,
    put: async (...values) => {
      const response = await send(worker, path, { method: "PUT", body: JSON.stringify({ alarmMs: null, values }) });
      assert.equal(response.status, 204, response.text);
    },
  };
}

const BYTES = Buffer.from("{}").toString("base64");
const api = (path, options) => send(worker, `/client/v4${NAMESPACES}${path}`, { headers: bearer, ...options });

describe("the object of a key", () => {
  test("a record that is not a text fails every call, and is not replaced by a new one", async () => {
    const key = uniqueName("record");
    const storage = storageOf(key);
    await storage.put({ name: "record", base64: BYTES });
    assertProblem(await coalesce(key, { wait: "durable", body: "new" }), 503, "writer_unavailable");
    assertProblem(await readConsistent(key), 503, "writer_unavailable");
    assert.deepEqual(await storage.values(), [{ name: "record", base64: BYTES }]);
    assert.deepEqual(await puts(key), []);
    assert.ok(worker.lines().some((line) => line.includes("under record is not a text")));
  });

  test("a value with a broken part is not put cut short", async () => {
    const key = uniqueName("value");
    const storage = storageOf(key);
    await setFaults(key, { put: ["500", "500", "ok"] });
    const body = "v".repeat(1024 * 1024 + 1);
    await storeAll(key, [body]);
    const second = (await storage.values()).find(({ name }) => name === "value/1");
    assert.equal(second.base64, Buffer.from("v").toString("base64"));
    await storage.put({ name: "value/1", text: "v" });
    assertProblem(await readConsistent(key), 503, "writer_unavailable");
    await eventually(async () => worker.lines().some((line) => line.includes("value/1 is not bytes")), "the alarm fails, and the log says why");
    assert.equal(await kvValue(key), null);
    await storage.put(second);
    await waitUntilFlushed(key);
    assert.equal(await kvValue(key), body);
  });
});

test("a list of namespaces that is not a text fails every call, and is not replaced by an empty one", async () => {
  const storage = storageOf("namespaces", "NAMESPACE_LIST");
  const created = await api("", { method: "POST", body: JSON.stringify({ title: "kept" }) });
  assert.equal(created.status, 200, created.text);
  const [record] = await storage.values();
  await storage.put({ name: "record", base64: BYTES });
  for (const response of [await api("", { method: "POST", body: JSON.stringify({ title: "new" }) }), await api("")]) {
    assert.equal(response.status, 503, response.text);
  }
  assert.deepEqual(await storage.values(), [{ name: "record", base64: BYTES }]);
  await storage.put(record);
  const listed = (await api("")).json().result.map(({ title }) => title);
  assert.ok(listed.includes("kept"), listed);
});

test("counts that are not a text fail the report, and are not left out of it", async () => {
  const storage = storageOf("metrics", "METRICS_STORE");
  const report = () => send(worker, "/console/api/metrics?resolution=hour", { headers: bearer });
  const totals = () => send(worker, "/metrics", { headers: bearer });
  await eventually(async () => {
    assert.equal((await report()).status, 200);
    return (await storage.values()).some(({ name }) => name === "total");
  }, "the Worker has handed its counts over");
  const values = await storage.values();
  for (const [prefix, read] of [
    ["hour/", report],
    ["total", totals],
  ]) {
    const kept = values.find(({ name }) => name.startsWith(prefix));
    await storage.put({ name: kept.name, base64: BYTES });
    assertProblem(await read(), 503, "metrics_unavailable");
    await storage.put(kept);
    assert.equal((await read()).status, 200);
  }
});

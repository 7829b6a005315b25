// `strategy=coalesce` and a put that takes long or never ends.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { startWorker } from "./harness/worker.mjs";
import { assertReport, writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true });
const { coalesce, storeAll, puts, kvValue, readConsistent, setFaults, waitUntilFlushed } = writesOf(worker);

describe("a slow put", { concurrency: true }, () => {
  // An abandoned put could still arrive, and replace a later value.
  test("delays the next one until a second after it has ended", async () => {
    const key = uniqueName("slow");
    await setFaults(key, { put: ["slow for 5000", "ok"] });
    await storeAll(key, ["first"]);
    await eventually(async () => (await puts(key)).length === 1, "the put has begun");
    assertReport(await coalesce(key, { body: "second" }), 200, 1);
    assert.equal(await kvValue(key), "second");
    const [first, second] = await puts(key);
    assert.ok(second.startedMs >= first.endedMs + 1000);
    await waitUntilFlushed(key);
    assert.equal(await kvValue(key), "second");
  });

  test("that never ends makes nobody wait beyond the deadline, and the newest value can be read", async () => {
    const key = uniqueName("never");
    await setFaults(key, { put: ["never"] });
    assertProblem(await coalesce(key, { body: "first", timeoutMs: 500 }), 504, "kv_timeout");
    assertProblem(await coalesce(key, { body: "second", timeoutMs: 500 }), 504, "kv_timeout");
    assert.equal((await readConsistent(key)).text, "second");
    assert.equal((await puts(key)).length, 1);
  });
});

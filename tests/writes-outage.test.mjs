// `POST /writes/{key}` if the puts of a key fail: one budget limits the retries of
// `strategy=backoff` in an isolate, but no first tries; a value in the Durable Object can be read.
//
// The tests run one after the other, since they share the budget.
import assert from "node:assert/strict";
import { test } from "node:test";
import { uniqueName } from "./harness/names.mjs";
import { startWorker } from "./harness/worker.mjs";
import { assertReport, writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true });
const { write, setFaults, puts, coalesce, readConsistent, kvValue } = writesOf(worker);

const FAILED = "KV PUT failed: 500 Internal Server Error";
/** The budget: its tokens, what a retry after a 5xx costs, and how often a token is added. */
const [TOKENS, COST, REFILL_INTERVAL_MS] = [500, 10, 200];

const retriesOf = ({ puts }, n) => puts - n;

test("retries do not multiply an outage: a hundred writers make about fifty retries together", async () => {
  const key = uniqueName("outage");
  await setFaults(key, { put: ["500"] });
  const report = assertReport(await write(key, { strategy: "backoff", n: 100 }), 200, 100);
  assert.equal(report.acknowledged, 0);
  for (const { error } of report.attempts) assert.deepEqual(error, { message: FAILED, reason: "budget" });
  const allowed = (TOKENS + report.elapsedMs / REFILL_INTERVAL_MS) / COST + 1;
  assert.ok(retriesOf(report, 100) <= allowed, `${report.puts} puts in ${report.elapsedMs} ms`);
  assert.ok(retriesOf(report, 100) >= TOKENS / COST - 1, `${report.puts} puts`);
  assert.equal((await puts(key)).length, report.puts);
});

test("the budget is the isolate's: another key has hardly any retries left, but its first tries are made", async () => {
  const key = uniqueName("outage");
  await setFaults(key, { put: ["500"] });
  const report = assertReport(await write(key, { strategy: "backoff", n: 20 }), 200, 20);
  assert.ok(retriesOf(report, 20) <= (report.elapsedMs + 3000) / REFILL_INTERVAL_MS / COST + 1, `${report.puts} puts`);
  for (const { error } of report.attempts) assert.deepEqual(error, { message: FAILED, reason: "budget" });
});

test("the budget does not limit successful puts, and a value in the Durable Object can be read during the outage", async () => {
  const [well, down] = [uniqueName("outage"), uniqueName("outage")];
  const report = assertReport(await write(well, { strategy: "backoff", n: 20 }), 200, 20);
  assert.equal(report.acknowledged, 20);
  await setFaults(down, { put: ["500"] });
  assertReport(await coalesce(down, { body: "kept", wait: "durable" }), 202, 1);
  assert.equal((await readConsistent(down)).text, "kept");
  assert.equal(await kvValue(down), null);
});

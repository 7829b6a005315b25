// `POST /writes/{key}` with `direct` and `backoff`, on a KV that accepts one put a second for each
// key, and on one that fails.
//
// The backoff waits in real time, so these tests run concurrently. They share the retry budget of
// one isolate; tests of a KV that fails for good are in writes-outage.test.mjs.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { uniqueName } from "./harness/names.mjs";
import { startWorker } from "./harness/worker.mjs";
import { assertReport, oneTo, writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true });
const { write, kvValue, kvBytes, setFaults, puts } = writesOf(worker);

const TOO_MANY = "KV PUT failed: 429 Too Many Requests";
const QUOTA = "KV put() limit exceeded for the day.";
const TRIES_MAX = 20;
const MiB = 1024 * 1024;

/**
 * Writes a new key; `faults` are those of the puts in order, the last one again and again.
 */
async function run({ strategy, faults, n = 1, status, ...options }) {
  const key = uniqueName(strategy);
  await setFaults(key, { put: faults });
  const response = await write(key, { strategy, ...(!options.body && { n }), ...options });
  const made = await puts(key);
  const isDirect = strategy === "direct";
  if (isDirect) assert.equal(response.status, status ?? 200, response.text);
  const report = isDirect ? undefined : assertReport(response, status ?? 200, n);
  if (response.status !== 200) assert.match(response.headers["retry-after"], /^[1-9]\d*$/);
  if (response.status >= 500) {
    const id = response.headers["x-request-id"];
    await eventually(() => worker.log().some(({ requestId }) => requestId === id), "the line in the log");
  }
  const attempts = isDirect ? response.json() : report.attempts;
  const result = { key, report, attempts, made, acknowledged: attempts.filter(({ success }) => success) };
  if (!options.body) await assertMatchesKv(result, n);
  return result;
}

/** Checks that KV and the report of a run agree, for a run without a `body`. */
async function assertMatchesKv({ key, report, attempts, made, acknowledged }, n) {
  assert.deepEqual(
    attempts.map(({ attempt }) => attempt),
    oneTo(n),
  );
  for (const { success, error } of attempts) {
    assert.equal(typeof success, "boolean");
    assert.equal(error === undefined, success);
    if (error) assert.deepEqual(Object.keys(error), report ? ["message", "reason"] : ["message"]);
  }
  // Every acknowledged write was made, and no other.
  const accepted = made.filter(({ done }) => done).map(({ value }) => value);
  assert.deepEqual([...new Set(accepted)].toSorted(), acknowledged.map(({ attempt }) => `Write attempt #${attempt}`).toSorted());
  // KV has the last of them.
  assert.equal(await kvValue(key), accepted.at(-1) ?? null);
  if (!report) return;

  assert.equal(report.puts, made.length);
  for (const { attempt, tries } of attempts) {
    assert.ok(1 <= tries && tries <= TRIES_MAX, `${tries} tries`);
    assert.equal(made.filter(({ value }) => value === `Write attempt #${attempt}`).length, tries);
  }
}

describe("a KV that accepts one put a second", { concurrency: true }, () => {
  test("direct loses some of 20 writes, and puts each once", async () => {
    const { made, attempts, acknowledged } = await run({ n: 20, strategy: "direct", faults: ["limit"] });
    assert.equal(made.length, 20);
    assert.ok(1 <= acknowledged.length && acknowledged.length < 20);
    for (const { error } of attempts.filter(({ success }) => !success)) assert.deepEqual(error, { message: TOO_MANY });
  });

  test("backoff acknowledges at least 19 of 20 within a minute", async () => {
    const { report, acknowledged } = await run({ n: 20, strategy: "backoff", faults: ["limit"] });
    assert.ok(acknowledged.length >= 19, `${acknowledged.length} of 20`);
    assert.ok(report.elapsedMs <= 60_000);
  });

  for (const n of [2, 5]) {
    test(`backoff acknowledges ${n} writes`, async () => {
      const { report } = await run({ n, strategy: "backoff", faults: ["limit"] });
      assert.equal(report.acknowledged, n);
    });
  }
});

describe("a put that fails temporarily", { concurrency: true }, () => {
  for (const fault of ["429", "500", "503", "no response", "throws a string", "throws undefined"]) {
    test(`${fault}: backoff retries until KV accepts it`, async () => {
      for (const faults of [
        [fault, "ok"],
        [fault, fault, "ok"],
      ]) {
        const { report } = await run({ strategy: "backoff", faults });
        assert.equal(report.acknowledged, 1);
        assert.equal(report.puts, faults.length);
      }
    });

    test(`${fault}: direct reports it at once, and shows nothing internal`, async () => {
      const { attempts, made } = await run({ n: 2, strategy: "direct", faults: [fault, "ok"] });
      assert.equal(made.length, 2);
      assert.deepEqual(
        attempts.map(({ success }) => success),
        [false, true],
      );
      assert.match(attempts[0].error.message, /^KV PUT failed(: \d{3} [A-Za-z ]+)?$/);
    });
  }

  test("failures of different kinds do not end the retries", async () => {
    const { report } = await run({ strategy: "backoff", faults: ["429", "500", "no response", "503", "ok"] });
    assert.equal(report.acknowledged, 1);
    assert.equal(report.puts, 5);
  });

  test("a put whose response is lost is retried with the same value", async () => {
    const { report, made } = await run({ strategy: "backoff", faults: ["lost response", "ok"] });
    assert.equal(report.acknowledged, 1);
    assert.ok(made.every(({ done }) => done) && made.length === 2);
  });

  test("direct makes each put once, with the documented response for a write that KV refuses", async () => {
    const { key, attempts, made } = await run({ n: 3, strategy: "direct", faults: ["429", "ok", "429"] });
    assert.deepEqual(attempts, [
      { attempt: 1, success: false, error: { message: TOO_MANY } },
      { attempt: 2, success: true },
      { attempt: 3, success: false, error: { message: TOO_MANY } },
    ]);
    assert.equal(made.length, 3);
    assert.equal(await kvValue(key), "Write attempt #2");
  });
});

describe("a put that KV refuses permanently", { concurrency: true }, () => {
  for (const [fault, message] of [
    ["400", "KV PUT failed: 400 Bad Request"],
    ["403", "KV PUT failed: 403 Forbidden"],
    ["413", "KV PUT failed: 413 Content Too Large"],
    ["quota", QUOTA],
  ]) {
    for (const strategy of ["direct", "backoff"]) {
      test(`${fault}: ${strategy} reports it after one try, with the message of KV`, async () => {
        const { attempts, made } = await run({ n: 4, strategy, faults: [fault] });
        assert.equal(made.length, 4);
        for (const { error, tries = 1 } of attempts) {
          assert.deepEqual(error, strategy === "direct" ? { message } : { message, reason: "permanent" });
          assert.equal(tries, 1);
        }
      });
    }
  }

  test("after a 429 ends the retries of backoff", async () => {
    const { attempts } = await run({ strategy: "backoff", faults: ["429", "quota", "ok"] });
    assert.equal(attempts[0].tries, 2);
    assert.deepEqual(attempts[0].error, { message: QUOTA, reason: "permanent" });
  });
});

describe("the deadline of backoff", { concurrency: true }, () => {
  test("no put begins after timeoutMs, and the last failure is reported", async () => {
    const timeoutMs = 2500;
    const { attempts, report, made } = await run({ n: 5, strategy: "backoff", faults: ["429"], timeoutMs });
    for (const { error, startedMs } of attempts) {
      assert.deepEqual(error, { message: TOO_MANY, reason: "deadline" });
      assert.ok(startedMs <= timeoutMs);
    }
    const [{ startedMs: firstMs }] = made;
    for (const { startedMs } of made) assert.ok(startedMs - firstMs <= timeoutMs, `${startedMs - firstMs} ms`);
    assert.ok(report.puts > 5, "some were tried again");
  });

  test("a put that never ends times out at timeoutMs", async () => {
    const { attempts, report } = await run({ n: 2, strategy: "backoff", faults: ["never"], timeoutMs: 800 });
    assert.ok(report.elapsedMs >= 800);
    for (const { tries, error } of attempts) {
      assert.equal(tries, 1);
      assert.match(error.message, /^KV PUT failed/);
    }
  });
});

describe("a body", { concurrency: true }, () => {
  for (const [name, length] of [
    ["a byte", 1],
    ["25 MiB", 25 * MiB],
  ]) {
    test(`of ${name} is kept in memory by backoff, and its put is retried`, async () => {
      const body = Buffer.alloc(length, "0123456789~");
      const { key, report } = await run({ strategy: "backoff", faults: ["500", "429", "ok"], body });
      assert.equal(report.acknowledged, 1);
      assert.equal(report.puts, 3);
      assert.ok((await kvBytes(key)).equals(body));
    });
  }

  for (const [strategy, options, error] of [
    ["direct", {}, { message: TOO_MANY }],
    ["backoff", { timeoutMs: 500 }, { message: TOO_MANY, reason: "deadline" }],
  ]) {
    test(`that ${strategy} does not store gets the status of the failure, not 200`, async () => {
      const { attempts } = await run({ strategy, faults: ["429"], body: "a value", status: 429, ...options });
      assert.deepEqual([attempts[0].success, attempts[0].error], [false, error]);
    });
  }

  test("that is refused permanently is reported by backoff after one try", async () => {
    const { attempts, made } = await run({ strategy: "backoff", faults: ["413", "ok"], body: "a value", status: 503 });
    assert.equal(made.length, 1);
    assert.deepEqual(attempts[0].error, { message: "KV PUT failed: 413 Content Too Large", reason: "permanent" });
  });
});

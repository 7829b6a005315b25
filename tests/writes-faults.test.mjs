// `POST /writes/{key}` on a KV that takes one put a second for each key, and on one that fails.
//
// The waits of the backoff are real, so these tests run beside each other.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { unique } from "./harness/eventually.mjs";
import { callsFor, sendWithFaults } from "./harness/faults.mjs";
import { startWorker, TOKEN } from "./harness/worker.mjs";

const worker = await startWorker({ faulty: true });
const { WRITES } = worker.env;

const TOO_MANY = "KV PUT failed: 429 Too Many Requests";
const FAILED = "KV PUT failed: 500 Internal Server Error";
const TRIES_MAX = 5;

/** Runs `n` writes to a key of their own; `put` is what the puts do in order, the last one again and again. */
async function run({ n, strategy, put }) {
  const key = unique(strategy);
  const response = await sendWithFaults(
    worker,
    `/writes/${key}?n=${n}&strategy=${strategy}`,
    { WRITES: { put } },
    { method: "POST", headers: { Authorization: `Bearer ${TOKEN}` } },
  );
  assert.equal(response.status, 200, response.text);
  const answer = response.json();
  return {
    answer,
    attempts: strategy === "direct" ? answer : answer.attempts,
    puts: await callsFor(worker, key, "put"),
    value: await WRITES.get(key),
  };
}

const acknowledged = (attempts) => attempts.filter(({ success }) => success);

/** What holds for every run, whatever its luck. */
function assertConsistent({ answer, attempts, puts, value }, n) {
  assert.deepEqual(
    attempts.map(({ attempt }) => attempt),
    Array.from({ length: n }, (_, index) => index + 1),
  );
  for (const { success, error } of attempts) {
    assert.equal(typeof success, "boolean");
    assert.equal(error === undefined, success);
    if (error) assert.deepEqual(Object.keys(error), ["message"]);
  }
  // Each write that is acknowledged was made, each other one was not.
  const made = puts.filter(({ done }) => done).map((put) => put.value);
  const claimed = acknowledged(attempts).map(({ attempt }) => `Write attempt #${attempt}`);
  assert.deepEqual(made.toSorted(), claimed.toSorted());
  // What is in KV now is the last of them.
  assert.equal(value, made.at(-1) ?? null);
  if (Array.isArray(answer)) return;

  assert.equal(answer.acknowledged, claimed.length);
  assert.equal(answer.puts, puts.length);
  assert.equal(
    answer.puts,
    attempts.reduce((sum, { tries }) => sum + tries, 0),
  );
  for (const { attempt, tries, startedMs, endedMs } of attempts) {
    assert.ok(1 <= tries && tries <= TRIES_MAX, `${tries} tries`);
    assert.equal(puts.filter((put) => put.value === `Write attempt #${attempt}`).length, tries);
    assert.ok(0 <= startedMs && startedMs <= endedMs && endedMs <= answer.elapsedMs);
  }
}

describe("writes to a KV with faults", { concurrency: true }, () => {
  test("one put a second: direct loses writes, backoff acknowledges more", async () => {
    const n = 20;
    const [direct, backoff] = await Promise.all([
      run({ n, strategy: "direct", put: ["limit"] }),
      run({ n, strategy: "backoff", put: ["limit"] }),
    ]);
    assertConsistent(direct, n);
    assertConsistent(backoff, n);

    const lost = direct.attempts.filter(({ success }) => !success);
    assert.ok(lost.length > 0);
    for (const { error } of lost) assert.deepEqual(error, { message: TOO_MANY });
    assert.equal(direct.puts.length, n);

    const kept = acknowledged(backoff.attempts).length;
    assert.ok(kept > acknowledged(direct.attempts).length, `${kept} with backoff`);
    assert.ok(backoff.puts.length > n);
    for (const { success, tries, error } of backoff.attempts) {
      if (success) continue;
      assert.equal(tries, TRIES_MAX);
      assert.deepEqual(error, { message: TOO_MANY });
    }
  });

  test("one put a second: backoff brings two writers through", async () => {
    const result = await run({ n: 2, strategy: "backoff", put: ["limit", "limit", "ok"] });
    assertConsistent(result, 2);
    assert.equal(result.answer.acknowledged, 2);
  });

  test("direct makes each put once, with the documented answer of a write that is lost", async () => {
    const result = await run({ n: 3, strategy: "direct", put: ["429", "ok", "429"] });
    assertConsistent(result, 3);
    assert.deepEqual(result.answer, [
      { attempt: 1, success: false, error: { message: TOO_MANY } },
      { attempt: 2, success: true },
      { attempt: 3, success: false, error: { message: TOO_MANY } },
    ]);
    assert.equal(result.puts.length, 3);
    assert.equal(result.value, "Write attempt #2");
  });

  test("backoff tries a 429 again until it is taken", async () => {
    for (const refusals of [1, 2]) {
      const put = [...Array(refusals).fill("429"), "ok"];
      const result = await run({ n: 1, strategy: "backoff", put });
      assertConsistent(result, 1);
      assert.equal(result.answer.acknowledged, 1);
      assert.equal(result.attempts[0].tries, refusals + 1);
      assert.equal(result.value, "Write attempt #1");
    }
  });

  test("backoff gives up after five tries", async () => {
    const result = await run({ n: 2, strategy: "backoff", put: ["429"] });
    assertConsistent(result, 2);
    assert.equal(result.answer.acknowledged, 0);
    assert.equal(result.puts.length, 2 * TRIES_MAX);
    for (const { tries, error } of result.attempts) {
      assert.equal(tries, TRIES_MAX);
      assert.deepEqual(error, { message: TOO_MANY });
    }
  });

  test("backoff tries the fifth time, too", async () => {
    const result = await run({ n: 1, strategy: "backoff", put: ["429", "429", "429", "429", "ok"] });
    assertConsistent(result, 1);
    assert.equal(result.attempts[0].tries, TRIES_MAX);
    assert.equal(result.attempts[0].success, true);
  });

  for (const strategy of ["direct", "backoff"]) {
    test(`${strategy} does not try a 500 again`, async () => {
      const result = await run({ n: 4, strategy, put: ["500"] });
      assertConsistent(result, 4);
      assert.equal(result.puts.length, 4);
      for (const { tries = 1, error } of result.attempts) {
        assert.equal(tries, 1);
        assert.deepEqual(error, { message: FAILED });
      }
      assert.equal(result.value, null);
    });

    for (const fault of ["400", "503", "throws a string", "throws undefined"]) {
      test(`${strategy} reports a put that fails (${fault}) once, and shows nothing internal`, async () => {
        const result = await run({ n: 2, strategy, put: [fault, "ok"] });
        assertConsistent(result, 2);
        assert.equal(result.puts.length, 2);
        const [{ success, error }] = result.attempts;
        assert.equal(success, false);
        assert.match(error.message, /^KV PUT failed(: \d{3} [A-Za-z ]+)?$/);
      });
    }
  }

  test("backoff stops at a 500 that follows a 429", async () => {
    const result = await run({ n: 1, strategy: "backoff", put: ["429", "500", "ok"] });
    assertConsistent(result, 1);
    assert.equal(result.attempts[0].tries, 2);
    assert.deepEqual(result.attempts[0].error, { message: FAILED });
  });
});

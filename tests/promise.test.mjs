// The deadlines of promises, which share a timer, in virtual time.
import assert from "node:assert/strict";
import { test } from "node:test";
import { randomNumbers } from "../bench/statistics.mjs";
import { Deadlines } from "../src/platform/glue/promise.js";

/**
 * Lets Rust's promises have deadlines in virtual time: those of a request, or of an object. `mock`
 * is that of a test.
 */
function virtualTime(mock, { isOfObject = false } = {}) {
  let clockMs = 0;
  let elapsedMs = 0;
  let timers = [];
  const settled = [];
  const deadlines = new Deadlines(isOfObject);
  mock.method(performance, "now", () => clockMs);
  const setTimer = mock.method(globalThis, "setTimeout", (call, milliseconds) => {
    const timer = { call, at: elapsedMs + milliseconds };
    timers.push(timer);
    return timer;
  });
  mock.method(globalThis, "clearTimeout", (timer) => {
    timers = timers.filter((other) => other !== timer);
  });
  return {
    /** `[id, how, value, time]` of each call of `settle`. */
    settled,
    timersSet: () => setTimer.mock.callCount(),
    pendingTimers: () => timers.length,
    setClock: (milliseconds) => {
      clockMs = milliseconds;
    },
    watch: (id, promise, timeoutMs) => deadlines.watch(promise, id, (id, how, value) => settled.push([id, how, value, elapsedMs]), timeoutMs),
    async advance(milliseconds) {
      for (let passed = 0; passed < milliseconds; passed += 1) {
        [clockMs, elapsedMs] = [clockMs + 1, elapsedMs + 1];
        const due = timers.filter(({ at }) => at <= elapsedMs);
        timers = timers.filter(({ at }) => at > elapsedMs);
        for (const { call } of due) call();
        await microtasks();
      }
    },
  };
}

async function microtasks() {
  for (let task = 0; task < 3; task += 1) await null;
}

const [FULFILLED, REJECTED, LATE] = [0, 1, 2];
const never = new Promise(() => {});

test("a promise that settles in time is reported once, with its value or its error", async ({ mock }) => {
  const time = virtualTime(mock);
  time.watch(0, Promise.resolve("value"), 5);
  time.watch(1, Promise.reject("error"), 5);
  await time.advance(20);
  assert.deepEqual(time.settled, [
    [0, FULFILLED, "value", 1],
    [1, REJECTED, "error", 1],
  ]);
});

test("one timer serves all deadlines that are not earlier than its own", async ({ mock }) => {
  const time = virtualTime(mock);
  for (let id = 0; id < 5; id += 1) {
    time.watch(id, Promise.resolve(), 50 + id);
    await time.advance(1);
  }
  await time.advance(200);
  assert.equal(time.timersSet(), 1);
});

test("an object has no timer once nothing waits: it would stay in memory for it", async ({ mock }) => {
  const time = virtualTime(mock, { isOfObject: true });
  const { promise, resolve } = Promise.withResolvers();
  time.watch(0, promise, 50);
  time.watch(1, Promise.resolve(), 20);
  await time.advance(1);
  assert.equal(time.pendingTimers(), 1);
  resolve();
  await microtasks();
  assert.equal(time.pendingTimers(), 0);
  time.watch(2, never, 10);
  await time.advance(20);
  assert.deepEqual([time.settled.at(-1), time.pendingTimers()], [[2, LATE, undefined, 11], 0]);
});

test("of 200 random requests and objects, each promise is reported when it settles, or at its own deadline", async ({ mock }) => {
  const random = randomNumbers(7);
  const below = (most) => Math.floor(random() * most);
  for (let request = 0; request < 200; request += 1) {
    const time = virtualTime(mock, { isOfObject: request % 2 === 1 });
    const waits = Array.from({ length: 6 }, (_, id) => ({ id, from: below(40), timeoutMs: 1 + below(40), takesMs: below(60), ...Promise.withResolvers() }));
    for (let now = 0; now < 120; now += 1) {
      for (const { id, from, timeoutMs, takesMs, promise, resolve } of waits) {
        if (from === now) time.watch(id, promise, timeoutMs);
        if (from + takesMs === now) resolve("value");
      }
      await microtasks();
      await time.advance(1);
    }
    const expected = waits.map(({ id, from, timeoutMs, takesMs }) =>
      takesMs < timeoutMs ? [id, FULFILLED, "value", from + takesMs] : [id, LATE, undefined, from + timeoutMs],
    );
    const inOrder = time.settled.sort(([one], [other]) => one - other);
    assert.deepEqual(inOrder, expected, `request ${request}`);
    mock.restoreAll();
  }
});

test("if the clock is set back, no wait takes more than its timeout longer", async ({ mock }) => {
  const time = virtualTime(mock);
  time.setClock(1000);
  time.watch(0, never, 10);
  await time.advance(5);
  time.watch(1, never, 10);
  time.setClock(0);
  await time.advance(40);
  assert.deepEqual(time.settled, [
    [0, LATE, undefined, 10],
    [1, LATE, undefined, 20],
  ]);
});

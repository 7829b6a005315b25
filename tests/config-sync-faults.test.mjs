// `kv-edge config sync` against an API that fails for a while: KV ends up equal to the table.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { assertFigures, makeRows, startSync, tableWithPendingChanges, userId } from "./harness/config-sync.mjs";
import { apiError } from "./harness/rest-api.mjs";
import { acceptSomeItems, changingCalls, failFirstTry, keysOfCall, kindOfCall } from "./harness/rest-api-faults.mjs";

const sync = await startSync();
const { api } = sync;

beforeEach(() => {
  api.intercept = undefined;
});

describe("an API that fails for a while: the pass completes", () => {
  for (const [what, intercept] of [
    ["500 to every call once", failFirstTry(() => apiError(500, 10001, "internal error"))],
    ["502 without JSON to every call once", failFirstTry(() => ({ status: 502, headers: { "Content-Type": "text/html" }, body: "<h1>Bad gateway</h1>" }))],
    ["503 to every call once, with Retry-After: 0", failFirstTry(() => apiError(503, 10001, "busy", { "Retry-After": "0" }))],
    ["429 to every call once, with Retry-After", failFirstTry(() => apiError(429, 10429, "more than 1200 calls", { "Retry-After": "1" }))],
    ["a cut connection for every call once", failFirstTry(() => undefined)],
    ["a cut connection for every call once, after the call was carried out", failFirstTry(async (_call, pass) => void (await pass()))],
    ["500 to every call once, after the call was carried out", failFirstTry(async (_call, pass) => (await pass(), apiError(500, 10001, "internal error")))],
    ["every bulk call leaves out half of its keys once", failFirstTry((call, pass) => acceptSomeItems(api, call, pass, (_, index) => index % 2 === 0))],
    [
      "every bulk call leaves out half of its keys",
      (call, pass) => acceptSomeItems(api, call, pass, (_, index) => index < Math.max(4, JSON.parse(call.body).length / 2)),
    ],
    ["every bulk call accepts no item once", failFirstTry((call, pass) => acceptSomeItems(api, call, pass, () => false))],
  ]) {
    test(what, async () => {
      const { users, args, assertAllSynced } = await tableWithPendingChanges(sync);
      api.intercept = intercept;
      const result = await users.run(args);
      assert.equal(result.code, 0, `${result.stdout}${result.stderr}`);
      assertFigures(result, { read: 23, written: 10, unchanged: 13, deleted: 2, failed: 0, snapshot: "written", calls: result.calls.length });
      api.intercept = undefined;
      await assertAllSynced();
      assert.deepEqual(changingCalls((await users.sync(args, { written: 0 })).calls), []);
    });
  }

  test("Retry-After is waited for", async () => {
    const { users, assertAllSynced, args } = await tableWithPendingChanges(sync);
    const times = [];
    api.intercept = (call, pass) => {
      if (kindOfCall(call) !== "write") return pass();
      times.push(Date.now());
      return times.length === 1 ? apiError(429, 10429, "slow down", { "Retry-After": "2" }) : pass();
    };
    await users.sync(args);
    assert.ok(times[1] - times[0] >= 1950 && times[1] - times[0] < 8000, `${times[1] - times[0]} ms`);
    await assertAllSynced();
  });

  test("only the keys that a bulk call left out are retried", async () => {
    const users = await sync.table(makeRows(10));
    const left = [userId("00003"), userId("00007")].map((id) => users.prefix + id);
    let tries = 0;
    api.intercept = (call, pass) => {
      if (kindOfCall(call) !== "write") return pass();
      tries += 1;
      return tries === 1 ? acceptSomeItems(api, call, pass, ({ key }) => !left.includes(key)) : pass();
    };
    const { calls } = await users.sync([], { written: 10, failed: 0 });
    const writes = changingCalls(calls).map(keysOfCall);
    assert.equal(writes.length, 2);
    assert.deepEqual(writes[1].sort(), left);
    await users.assertSynced();
  });

  test("429 four times without Retry-After: the write is repeated until it succeeds", async () => {
    const users = await sync.table(makeRows(3));
    const times = [];
    api.intercept = (call, pass) => (kindOfCall(call) === "write" && times.push(Date.now()) < 5 ? apiError(429, 10429, "slow down") : pass());
    await users.sync([], { written: 3 });
    assert.equal(times.length, 5);
    assert.ok(times[4] - times[0] < 60_000);
    await users.assertSynced();
  });
});

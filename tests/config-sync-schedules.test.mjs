// `kv-edge config sync` from PostgreSQL to local KV, under random schedules of faults of the REST
// API, and killed at every call that it makes: after it, or after another run, KV equals the
// table.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { assertFigures, makeRows, startSync, tableWithPendingChanges } from "./harness/config-sync.mjs";
import { changingCalls, randomFaults, randomNumbers } from "./harness/rest-api-faults.mjs";

const sync = await startSync();
const { api } = sync;

beforeEach(() => {
  api.intercept = undefined;
});

for (const when of ["before", "after"]) {
  test(`killed at each call, ${when} it takes effect: a second run completes the work`, async () => {
    let kills = 0;
    for (let nth = 1; ; nth += 1) {
      const { users, args, assertAllSynced } = await tableWithPendingChanges(sync);
      let child;
      let calls = 0;
      api.intercept = async (_call, pass) => {
        calls += 1;
        if (calls !== nth) return pass();
        if (when === "after") await pass();
        child.kill("SIGKILL");
        return undefined;
      };
      const { signal, code } = await users.run(args, { json: false, running: (started) => (child = started) });
      api.intercept = undefined;
      if (signal === null) {
        assert.equal(code, 0);
        await assertAllSynced();
        break;
      }
      kills += 1;
      await users.sync(args, { failed: 0 });
      await assertAllSynced();
    }
    assert.ok(kills >= 5, `${kills} kills`);
  });
}

test("killed in the middle of its batches, again and again: the last run completes the work", async () => {
  const users = await sync.table(makeRows(2100));
  for (const nth of [1, 2, 3]) {
    let child;
    let writes = 0;
    api.intercept = async (call, pass) => {
      if (changingCalls([call]).length === 0) return pass();
      writes += 1;
      if (writes === nth) setImmediate(() => child.kill("SIGKILL"));
      return writes <= nth ? pass() : undefined;
    };
    await users.run([], { json: false, running: (started) => (child = started) });
  }
  api.intercept = undefined;
  const last = await users.sync([], { read: 2100, failed: 0 });
  assert.ok(last.summary.written < 2100);
  await users.assertSynced();
});

for (const seed of [1, 2, 3]) {
  test(`random faults (seed ${seed}): the sync completes`, async () => {
    const users = await sync.table(makeRows(1100));
    api.intercept = randomFaults(api, randomNumbers(seed));
    const result = await users.run();
    assert.equal(result.code, 0, `${result.stdout}${result.stderr}`);
    assertFigures(result, { read: 1100, written: 1100, failed: 0 });
    await users.set(makeRows(20, { from: 1090, plan: "pro" }));
    await users.delete(...Object.keys(makeRows(30)));
    await users.sync([], { written: 20, deleted: 30, failed: 0 });
    api.intercept = undefined;
    await users.assertSynced();
  });
}

for (const seed of [11, 12, 13, 14]) {
  test(`random faults and kills (seed ${seed}), the table changing between the runs: the last run completes the work`, async () => {
    const { users, args, assertAllSynced } = await tableWithPendingChanges(sync);
    const random = randomNumbers(seed);
    for (let run = 0; run < 6; run += 1) {
      const fail = randomFaults(api, random);
      let child;
      api.intercept = (call, pass) => {
        if (random(6) === 0) child.kill("SIGKILL");
        return fail(call, pass);
      };
      await users.run(args, { json: false, running: (started) => (child = started) });
      await users.set(makeRows(1 + random(3), { from: random(25), plan: `plan ${run}` }));
      await users.delete([...users.rows.keys()][random(users.rows.size)]);
    }
    api.intercept = undefined;
    await users.sync([...args, "--allow-mass-delete"], { failed: 0 });
    await assertAllSynced();
  });
}

// `kv-edge config sync --watch`: changes of the table reach KV, and signals end the command.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { makeRows, SECRET_MARK, userId } from "./harness/config-sync.mjs";
import { startWatch } from "./harness/config-sync-watch.mjs";
import { eventually } from "./harness/eventually.mjs";
import { apiError } from "./harness/rest-api.mjs";
import { changingCalls, keysOfCall, kindOfCall } from "./harness/rest-api-faults.mjs";

const { sync, api, createNotifyingTable, startTool, waitUntilSynced } = await startWatch();
/** A second connection: for a test that holds a lock. */
const secondClient = new pg.Client({ connectionString: sync.database.url() });
secondClient.on("error", () => {}); // The database ends first.
await secondClient.connect();
after(() => secondClient.end());

test("inserts, updates and deletes reach KV; SIGTERM ends it with a summary", async () => {
  const users = await createNotifyingTable(makeRows(20));
  const tool = await startTool(users);
  const before = api.calls.length;
  await users.set(makeRows(2, { from: 50 }));
  await waitUntilSynced(users);
  await users.set(makeRows(3, { from: 4, plan: "pro" }));
  await waitUntilSynced(users);
  await users.delete(userId("00010"), userId("00051"));
  await waitUntilSynced(users);
  const calls = api.calls.slice(before);
  assert.ok(changingCalls(calls).flatMap(keysOfCall).length <= 2 + 3 + 2 + 3, "only what changed is written");
  assert.ok(!tool.hasEnded());
  const { code, signal, passes, summary, stderr } = await tool.end();
  assert.equal(signal, null);
  assert.equal(code, 0, stderr);
  assert.ok(passes.length >= 4, `${passes.length} lines, one for each pass`);
  assert.equal(passes[0].written, 20);
  const total = (name) => passes.reduce((summary, pass) => summary + pass[name], 0);
  for (const name of ["read", "written", "unchanged", "deleted", "failed", "refused", "calls"]) assert.equal(summary[name], total(name), name);
  assert.deepEqual([summary.passes, summary.deleted, summary.behind], [passes.length, 2, false]);
  assert.match(stderr, /^stopping after the current work; press Ctrl-C again to stop at once$/m);
  await users.assertSynced();
});

for (const signal of ["SIGINT", "SIGTERM"]) {
  test(`${signal}: exit code 0 and lines for people`, async () => {
    const users = await createNotifyingTable(makeRows(3));
    const tool = await startTool(users, [], { json: false });
    await users.set(makeRows(2, { from: 7 }));
    await waitUntilSynced(users);
    const result = await tool.end(signal);
    assert.equal(result.code, 0, result.stderr);
    assert.match(
      result.stdout,
      /\nstopped after \d+ passes: \d+ read, 5 written, \d+ unchanged, 0 deleted, 0 failed, \d+ calls, \d+\.\d s; all of it is in KV\n$/,
    );
  });
}

test("changes made while it starts, and many at once, are not lost", async () => {
  const users = await createNotifyingTable(makeRows(50));
  const started = startTool(users);
  for (let n = 0; n < 10; n += 1) await users.set(makeRows(1, { from: 100 + n }));
  const tool = await started;
  await waitUntilSynced(users);
  await users.set(makeRows(1100, { from: 1000 })); // more than are read one by one
  await waitUntilSynced(users);
  for (let n = 0; n < 20; n += 1) await users.set({ [userId("00001")]: { on: true, plan: `${SECRET_MARK} ${n}` } });
  await waitUntilSynced(users);
  assert.equal((await tool.end()).code, 0);
});

test("an empty payload: everything is compared", async () => {
  const users = await createNotifyingTable(makeRows(10), { notify: "''" });
  const tool = await startTool(users);
  await users.set(makeRows(3, { from: 4, plan: "pro" }));
  await users.delete(userId("00001"));
  await waitUntilSynced(users);
  assert.equal((await tool.end()).code, 0);
});

test("a row whose id is a number is synced on its notification", async () => {
  const users = await createNotifyingTable(makeRows(1));
  const name = `numbered_${users.name}`;
  await sync.database.query(
    `CREATE TABLE ${name} (id bigint PRIMARY KEY, plan text); INSERT INTO ${name} SELECT n, '${SECRET_MARK}' FROM generate_series(1, 10) n`,
  );
  let child;
  const args = ["sync", "--query", `SELECT * FROM ${name}`, "--prefix", `${name}:`, "--watch", "--channel", users.channel, "--full-every", "0", "--json"];
  const ended = sync.run(args, { running: (started) => (child = started) });
  const holds = (count, plan) =>
    eventually(async () => {
      const stored = await sync.kvEntries(`${name}:`);
      return stored.size === count && stored.get(`${name}:7`)?.value === `{"plan":"${plan}"}`;
    }, `${count} keys`);
  await holds(10, SECRET_MARK);
  await sync.database.query(
    `UPDATE ${name} SET plan = '${SECRET_MARK}!' WHERE id = 7; DELETE FROM ${name} WHERE id = 3; SELECT pg_notify('${users.channel}', n) FROM unnest(ARRAY['3', '7', 'no number']) n`,
  );
  await holds(9, `${SECRET_MARK}!`);
  child.kill("SIGTERM");
  const { code, lines, stderr } = await ended;
  assert.equal(code, 1, stderr);
  assert.deepEqual(
    lines.slice(0, -1).map(({ written, deleted }) => [written, deleted]),
    [
      [10, 0],
      [1, 1],
    ],
  );
  assert.deepEqual([lines.at(-1).passes, lines.at(-1).behind], [2, true], "the list may lack the key that is no number");
});

test("a second SIGTERM does not wait for the calls under way", async () => {
  const users = await createNotifyingTable(makeRows(5));
  const tool = await startTool(users);
  let respond;
  const later = new Promise((resolve) => (respond = resolve));
  api.intercept = (call, pass) => (kindOfCall(call) === "write" ? later : pass());
  const before = api.calls.length;
  await users.set(makeRows(1, { from: 3, plan: "pro" }));
  await eventually(() => api.calls.slice(before).some((call) => kindOfCall(call) === "write"), "a write");
  const ended = tool.end("SIGTERM");
  await sleep(1000);
  assert.ok(!tool.hasEnded(), "the first one waits");
  tool.signal("SIGTERM");
  const { code, signal } = await ended;
  assert.deepEqual([code, signal], [1, null]);
  api.intercept = undefined;
  respond();
  await users.sync([], { written: 1 });
  await users.assertSynced();
});

test("SIGTERM does not wait for the next retry", async () => {
  const users = await createNotifyingTable(makeRows(5));
  const tool = await startTool(users);
  api.intercept = (call, pass) => (kindOfCall(call) === "write" ? apiError(503, 10001, "out of order", { "Retry-After": "600" }) : pass());
  const before = api.calls.length;
  await users.set(makeRows(1, { from: 3, plan: "pro" }));
  await eventually(() => api.calls.slice(before).some((call) => kindOfCall(call) === "write"), "a write");
  const started = Date.now();
  const { code, summary, stderr } = await tool.end("SIGTERM");
  assert.ok(Date.now() - started < 300_000, stderr);
  assert.deepEqual([code, summary.behind, summary.failed], [1, true, 1]);
  assert.match(stderr, /^stopping after the current work/m);
});

test("SIGTERM does not wait for a locked table, and the server ends the query too", async () => {
  const users = await createNotifyingTable(makeRows(5));
  const tool = await startTool(users);
  await sync.database.query(`BEGIN; LOCK TABLE ${users.name} IN ACCESS EXCLUSIVE MODE`);
  const waiting = () => sync.database.query("SELECT 1 FROM pg_locks WHERE NOT granted");
  try {
    await secondClient.query(`SELECT pg_notify('${users.channel}', '')`);
    await eventually(async () => (await waiting()).length > 0, "it waits for the lock");
    // The lock is held until the tool has ended.
    const { code, summary, stderr } = await tool.end("SIGTERM");
    assert.deepEqual([code, summary.behind], [1, true], stderr);
    await eventually(async () => (await waiting()).length === 0, "the server has given up too");
  } finally {
    await sync.database.query("ROLLBACK");
  }
});

test("a key of another owner is not deleted, and the delete guard applies", async () => {
  const users = await createNotifyingTable(makeRows(10));
  const tool = await startTool(users);
  const notify = (name) => sync.database.query(`SELECT pg_notify('${users.channel}', $1)`, [name]);
  for (const key of users.entriesOfOthers.keys()) await notify(key.slice(users.prefix.length));
  await notify(userId("never-there"));
  await notify("x".repeat(600));
  const gone = Object.keys(makeRows(5));
  await users.delete(...gone);
  await users.set(makeRows(2, { from: 30 }));
  await waitUntilSynced(users, { except: gone.map((id) => users.prefix + id) });
  // The writes of a pass come before its deletes.
  await eventually(() => tool.stderr().includes("--allow-mass-delete"), "the deletes are refused");
  const stored = await sync.kvEntries(users.prefix);
  assert.ok(
    gone.every((id) => stored.has(users.prefix + id)),
    "half of the keys would be gone",
  );
  const { code, passes, summary, stderr } = await tool.end();
  assert.ok(
    passes.some(({ refused }) => refused === 5),
    `${JSON.stringify(passes)} ${stderr}`,
  );
  assert.deepEqual([code, summary.behind, summary.deleted], [1, true, 0]);
});

test("--snapshot: the snapshot is synced too", async () => {
  const users = await createNotifyingTable(makeRows(10));
  const key = `snapshot-of-${users.name}`;
  const tool = await startTool(users, ["--snapshot", key]);
  const follows = () =>
    eventually(async () => (await sync.kvEntries(key)).get(key)?.value?.includes(users.expectedSnapshot().hash), "the snapshot is of the table");
  await follows();
  await users.set(makeRows(2, { from: 4, plan: "pro" }));
  await waitUntilSynced(users);
  await follows();
  await users.delete(userId("00001"));
  await waitUntilSynced(users);
  await follows();
  assert.equal((await tool.end()).code, 0);
});

test("a row whose key is another run's snapshot is reported and not written", async () => {
  const users = await createNotifyingTable(makeRows(5));
  const key = `${users.prefix}snapshot`;
  await users.sync(["--snapshot", key]);
  users.entriesOfOthers.set(key, (await sync.kvEntries(key)).get(key));
  const tool = await startTool(users);
  await sync.database.query(`INSERT INTO ${users.name} VALUES ('snapshot', true, 'x')`);
  await eventually(() => tool.stderr().includes("its key holds a snapshot"), "it is reported");
  await users.set(makeRows(1, { from: 7 }));
  await waitUntilSynced(users);
  await sync.database.query(`DELETE FROM ${users.name} WHERE id = 'snapshot'`);
  await users.set(makeRows(1, { from: 8 }));
  await waitUntilSynced(users);
  const { passes } = await tool.end();
  assert.equal(passes.reduce((summary, { failed }) => summary + failed, 0) >= 1, true);
  await users.assertSynced();
});

// `kv-edge config sync` with KV lists that do not change, as Cloudflare's may not for a minute;
// with another writer, look-ups, the delete guard, and calls that fail or get odd responses.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { makeRows, userId } from "./harness/config-sync.mjs";
import { startWatch } from "./harness/config-sync-watch.mjs";
import { eventually } from "./harness/eventually.mjs";
import { apiError } from "./harness/rest-api.mjs";
import { kindOfCall } from "./harness/rest-api-faults.mjs";

const { sync, api, createNotifyingTable, startTool, waitUntilSynced } = await startWatch();

/** From now on each call for a list gets the response that the first such call got. */
function lag() {
  const responses = new Map();
  api.intercept = async (call, pass) => {
    if (kindOfCall(call) !== "list") return pass();
    if (!responses.has(call.path)) responses.set(call.path, await pass());
    return responses.get(call.path);
  };
}

const compareAll = (users) => sync.database.query("SELECT pg_notify($1, '')", [users.channel]);

test("--watch: a row that changes and changes back while the list lags equals the table", async () => {
  const users = await createNotifyingTable(makeRows(30));
  lag();
  const tool = await startTool(users);
  const before = users.rows.get(userId("00003"));
  await users.set(makeRows(1, { from: 3, plan: "pro" }));
  await waitUntilSynced(users);
  await users.set({ [userId("00003")]: before });
  await compareAll(users);
  await waitUntilSynced(users);
  // A row that is inserted and deleted, and one that is deleted and inserted again.
  await users.set(makeRows(1, { from: 70 }));
  await waitUntilSynced(users);
  await users.delete(userId("00070"), userId("00001"));
  await waitUntilSynced(users);
  await users.set(makeRows(1, { from: 1 }));
  await compareAll(users);
  await waitUntilSynced(users);
  const { code, stderr } = await tool.end();
  assert.equal(code, 0, stderr);
});

test("--watch --snapshot: the snapshot equals the table too", async () => {
  const users = await createNotifyingTable(makeRows(5));
  const key = `snapshot-of-${users.name}`;
  lag();
  const tool = await startTool(users, ["--snapshot", key]);
  const showsSnapshot = (what) =>
    eventually(async () => (await sync.kvEntries(key)).get(key)?.metadata.snapshot.hash === users.expectedSnapshot().hash || void (await sleep(100)), what);
  await showsSnapshot("the first snapshot");
  const before = users.rows.get(userId("00003"));
  await users.set(makeRows(1, { from: 3, plan: "pro" }));
  await showsSnapshot("the second snapshot");
  await users.set({ [userId("00003")]: before });
  await showsSnapshot("the third snapshot, which is the first again");
  assert.equal((await tool.end()).code, 0);
});

test("--watch: many small deletions are refused like a large one", async () => {
  const users = await createNotifyingTable(makeRows(100));
  const tool = await startTool(users);
  const gone = Object.keys(makeRows(40));
  await users.delete(...gone.slice(0, 20));
  await waitUntilSynced(users);
  await users.delete(...gone.slice(20));
  await sleep(3000);
  const { code, lines } = await tool.end();
  assert.equal(code, 1);
  assert.equal(lines.find(({ refused, passes }) => refused > 0 && passes === undefined)?.refused, 20);
  assert.equal((await sync.kvEntries(users.prefix)).size - users.entriesOfOthers.size, 80);
});

test("--watch: rows inserted since the last comparison count for the delete guard", async () => {
  const users = await createNotifyingTable({});
  const tool = await startTool(users);
  await users.set(makeRows(100));
  await waitUntilSynced(users);
  await users.delete(userId("00001"));
  await waitUntilSynced(users);
  const { code, stderr } = await tool.end();
  assert.equal(code, 0, stderr);
});

test("a row that is inserted during a run is not deleted", async () => {
  const users = await sync.table(makeRows(20));
  await users.sync([]);
  let isFirst = true;
  api.intercept = async (call, pass) => {
    if (kindOfCall(call) === "list" && isFirst) {
      isFirst = false;
      // The run has read its rows; another run writes the new ones to KV.
      await sleep(1500);
      await users.set(makeRows(2, { from: 50 }));
      await users.run([]);
    }
    return pass();
  };
  const { code, summary } = await users.run([]);
  assert.deepEqual([code, summary.read, summary.deleted], [0, 20, 0]);
  await users.assertSynced();
});

test("a query that fails does not wait for a list that is retried", async () => {
  const users = await sync.table(makeRows(5));
  users.query = `SELECT id, 1 / (length(id) - length(id)) AS x FROM ${users.name}`;
  api.intercept = (call, pass) => (kindOfCall(call) === "list" ? apiError(503, 1, "x", { "Retry-After": "400" }) : pass());
  const started = Date.now();
  const { code, summary } = await users.run(["--deadline", "600"]);
  assert.equal(code, 1);
  assert.match(summary.error, /22012/);
  assert.ok(Date.now() - started < 300_000, `${Date.now() - started} ms`);
});

test("a permanently refused write ends the run before all keys are listed", async () => {
  const users = await sync.table(makeRows(6000));
  await users.sync([]);
  await users.set(makeRows(1001, { plan: "pro" }));
  api.intercept = async (call, pass) => {
    if (kindOfCall(call) === "write") return apiError(401, 10000, "no");
    await sleep(500);
    return pass();
  };
  const { code, summary, calls } = await users.run([]);
  assert.equal(code, 1);
  assert.match(summary.error, /401/);
  const lists = calls.filter((call) => kindOfCall(call) === "list").length;
  assert.ok(lists <= 5, `${lists} lists`);
});

test("a response that does not mention the keys is not a success", async () => {
  const users = await sync.table(makeRows(5));
  for (const result of [null, {}]) {
    api.intercept = async (call, pass) => {
      if (kindOfCall(call) !== "write") return pass();
      return { status: 200, body: JSON.stringify({ success: true, errors: [], messages: [], result }) };
    };
    const { code, summary } = await users.run([]);
    assert.deepEqual([code, summary.written, summary.failed], [1, 0, 5]);
    assert.match(summary.error, /status 200, does not come from the API/);
  }
});

test("--watch: the key of a deleted row is looked up in a list of ten keys", async () => {
  const users = await createNotifyingTable(makeRows(50));
  await users.sync([]);
  const tool = await startTool(users);
  // The first comparison, which writes nothing: the tool remembers only what it has written.
  await sleep(2000);
  const before = api.calls.length;
  await users.delete(userId("00002"));
  await waitUntilSynced(users);
  const lists = api.calls.slice(before).filter((call) => kindOfCall(call) === "list");
  assert.deepEqual(
    lists.map(({ path }) => new URL(path, api.base).searchParams.get("limit")),
    ["10"],
  );
  assert.equal((await tool.end()).code, 0);
});

test("--watch: a changed row that KV cannot store is reported with a remedy, and the others are written", async () => {
  const users = await createNotifyingTable(makeRows(5));
  const tool = await startTool(users);
  await sleep(1500); // the first comparison
  await sync.database.query(`INSERT INTO ${users.name} VALUES (repeat('x', 600), true, 'x')`);
  await users.set(makeRows(1, { from: 2, plan: "pro" }));
  await waitUntilSynced(users);
  const { code, stderr } = await tool.end();
  assert.equal(code, 1);
  assert.match(stderr, /a changed row: .*512.*`kv-edge config sync --dry-run`/);
});

for (const json of [true, false]) {
  test(`a closed stderr does not end the run${json ? ", with --json" : ""}`, async () => {
    const users = await sync.table(makeRows(3));
    await sync.database.query(`INSERT INTO ${users.name} VALUES (NULL, true, 'x')`);
    let isFirst = true;
    api.intercept = (call, pass) => {
      if (kindOfCall(call) !== "write" || !isFirst) return pass();
      isFirst = false;
      return apiError(503, 1, "x", { "Retry-After": "3" });
    };
    const { code, stdout } = await users.run([], { json, running: (child) => child.stderr.destroy() });
    assert.equal(code, 1);
    assert.match(stdout, json ? /"failed":1,/ : /failed +1\n/);
    await users.assertSynced();
  });
}

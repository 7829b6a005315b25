// `kv-edge config sync --watch`: KV ends up equal to the table, whatever happens to the database
// or the API.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { makeRows, startSync, userId } from "./harness/config-sync.mjs";
import { startWatch } from "./harness/config-sync-watch.mjs";
import { eventually } from "./harness/eventually.mjs";
import { kindOfCall } from "./harness/rest-api-faults.mjs";
import { apiError } from "./harness/site.mjs";

const { sync, api, createNotifyingTable, startTool, waitUntilSynced } = await startWatch();

// Runs beside the other tests, on its own database and KV.
const separateSync = await startSync();
const unnotifiedUsers = await separateSync.table(makeRows(5));
const unnotifiedRun = (async () => {
  let child;
  after(() => child.kill("SIGKILL"));
  const ended = unnotifiedUsers.run(["--watch", "--channel", "nobody_notifies", "--full-every", "1"], { running: (process) => (child = process) });
  await waitUntilSynced(unnotifiedUsers);
  await unnotifiedUsers.set(makeRows(2, { from: 3, plan: "pro" }));
  await waitUntilSynced(unnotifiedUsers, {}, 90_000);
  child.kill("SIGTERM");
  return ended;
})();
unnotifiedRun.catch(() => {}); // The last test reports it.

test("the database stops and starts again: changes before and after are synced", async () => {
  const users = await createNotifyingTable(makeRows(20));
  const tool = await startTool(users);
  await sync.database.stopKeepingData();
  await sleep(1500);
  assert.ok(!tool.hasEnded());
  await sync.database.start();
  await sync.database.connect();
  await users.set(makeRows(3, { from: 4, plan: "pro" }));
  await users.delete(userId("00012"));
  await waitUntilSynced(users, {}, 60_000);
  await users.set(makeRows(3, { from: 40 }));
  await waitUntilSynced(users);
  assert.equal((await tool.end()).code, 0);
});

test("it reconnects after an administrator ends its connection", async () => {
  const users = await createNotifyingTable(makeRows(20));
  const tool = await startTool(users);
  await sync.database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
  await users.set(makeRows(3, { from: 4, plan: "pro" }));
  await waitUntilSynced(users, {}, 60_000);
  // KV may show the change before the pass that brought it has ended.
  await sleep(5000);
  const { code, summary, stderr } = await tool.end();
  assert.equal(code, 0, `${JSON.stringify(summary)} ${stderr}`);
});

test("an API that fails for a while is reported, and KV is synced afterwards", async () => {
  const users = await createNotifyingTable(makeRows(20));
  const tool = await startTool(users, ["--deadline", "1"]);
  let isDown = true;
  api.intercept = (call, pass) => (isDown && kindOfCall(call) === "write" ? apiError(503, 10001, "out of order") : pass());
  const before = api.calls.length;
  await users.set(makeRows(3, { from: 4, plan: "pro" }));
  await eventually(() => api.calls.slice(before).some((call) => kindOfCall(call) === "write"), "a write");
  await sleep(4000);
  assert.ok(!tool.hasEnded());
  isDown = false;
  await users.set(makeRows(1, { from: 30 }));
  await waitUntilSynced(users, {}, 60_000);
  const { passes } = await tool.end();
  assert.ok(
    passes.some(({ failed, problems }) => failed > 0 || problems.length > 0),
    "the failed pass is reported",
  );
});

test("an unreachable database or a failing query at the start: exit code 1 at once", async () => {
  const users = await createNotifyingTable(makeRows(1));
  const away = await users.run(["--watch"], { env: { DATABASE_URL: sync.database.url({ port: 1 }) } });
  assert.equal(away.code, 1);
  const wrong = await sync.run(["sync", "--watch", "--query", "SELECT id FROM no_such_table", "--prefix", users.prefix]);
  assert.equal(wrong.code, 1);
});

test("--full-every 1: a change without a notification is synced after a minute", async () => {
  const { code, lines, stderr } = await unnotifiedRun;
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    lines.slice(0, 2).map(({ read, written }) => [read, written]),
    [
      [5, 5],
      [5, 2],
    ],
  );
});

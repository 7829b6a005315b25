// `kv-edge config sync --watch` while the database or the API fails: KV equals the table once both
// work again, and the exit code is 1 if the command ends while KV may be behind.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { makeRows, startSync, userId } from "./harness/config-sync.mjs";
import { startWatch } from "./harness/config-sync-watch.mjs";
import { eventually } from "./harness/eventually.mjs";
import { apiError } from "./harness/rest-api.mjs";
import { kindOfCall } from "./harness/rest-api-faults.mjs";

const { sync, api, createNotifyingTable, startTool, waitUntilSynced } = await startWatch();

// Runs beside the other tests, on its own database and KV.
const separateSync = await startSync();
const unnotifiedUsers = await separateSync.table(makeRows(5));
const unnotifiedRun = (async () => {
  let child;
  after(() => child.kill("SIGKILL"));
  const ended = unnotifiedUsers.run(["--watch", "--channel", "nobody_notifies", "--full-every", "1"], { running: (started) => (child = started) });
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
  await users.set(makeRows(2, { from: 15, plan: "pro" }));
  await sync.database.stopKeepingData();
  await eventually(() => tool.stderr().includes("the next try in"), "a failed attempt to reconnect");
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

test("a signal while the database is away: exit code 1, because something may have been missed", async () => {
  const users = await createNotifyingTable(makeRows(3));
  const tool = await startTool(users, [], { json: false });
  await sync.database.stopKeepingData();
  await eventually(() => tool.stderr().includes("the next try in"), "a failed attempt to reconnect");
  const { code, stdout } = await tool.end();
  await sync.database.start();
  await sync.database.connect();
  assert.equal(code, 1, stdout);
  assert.match(stdout, /; not all of it is in KV\n$/);
});

test("a signal after the connection broke, before it is noticed: exit code 1", async () => {
  const users = await createNotifyingTable(makeRows(3));
  const tool = await startTool(users);
  tool.signal("SIGSTOP");
  await sync.database.stopKeepingData();
  const ended = tool.end("SIGTERM");
  process.kill(tool.pid, "SIGCONT");
  const { code, summary } = await ended;
  await sync.database.start();
  await sync.database.connect();
  assert.deepEqual([code, summary.behind], [1, true]);
});

test("a signal after a change during the last pass: exit code 1, because it is not in KV", async () => {
  const users = await createNotifyingTable(makeRows(3));
  const tool = await startTool(users);
  let passOn;
  const held = new Promise((resolve) => (passOn = resolve));
  api.intercept = async (call, pass) => {
    if (kindOfCall(call) === "write") await held;
    return pass();
  };
  const before = api.calls.length;
  await users.set(makeRows(1, { from: 1, plan: "pro" }));
  await eventually(() => api.calls.slice(before).some((call) => kindOfCall(call) === "write"), "a write");
  await users.set(makeRows(1, { from: 2, plan: "pro" }));
  const ended = tool.end();
  await eventually(() => tool.stderr().includes("stopping after the current work"), "the signal is noticed");
  passOn();
  const { code, summary } = await ended;
  assert.deepEqual([code, summary.behind], [1, true]);
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

test("an unreachable database or a failing query at the start ends the command with exit code 1", async () => {
  const users = await createNotifyingTable(makeRows(1));
  const away = await users.run(["--watch"], { env: { DATABASE_URL: sync.database.url({ port: 1 }) } });
  assert.equal(away.code, 1);
  assert.match(away.stderr, /^error: PostgreSQL at 127\.0\.0\.1:1: Connection refused/m);
  const wrong = await sync.run(["sync", "--watch", "--query", "SELECT id FROM no_such_table", "--prefix", users.prefix]);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /^error: .*"no_such_table" does not exist/m);
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

// `kv-edge config sync --watch`: whatever becomes of the database or the API meanwhile, KV becomes what the table is.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { id, kindOf, rows, startSync } from "./harness/config-sync.mjs";
import { eventually } from "./harness/eventually.mjs";
import { apiError } from "./harness/site.mjs";
import { startWatch } from "./harness/watch.mjs";

const { sync, api, watched, watch, shows } = await startWatch();

// Beside the other tests, on a database and a KV of its own.
const calm = await startSync();
const silent = await calm.table(rows(5));
const everyMinute = (async () => {
  let child;
  after(() => child.kill("SIGKILL"));
  const ended = silent.run(["--watch", "--channel", "nobody_notifies", "--full-every", "1"], { running: (process) => (child = process) });
  await shows(silent);
  await silent.set(rows(2, { from: 3, plan: "pro" }));
  await shows(silent, {}, 90_000);
  child.kill("SIGTERM");
  return ended;
})();
everyMinute.catch(() => {}); // The last test tells.

test("the database goes and comes back: what changed meanwhile shows, and what changes then", async () => {
  const users = await watched(rows(20));
  const tool = await watch(users);
  await sync.database.pause();
  await sleep(1500);
  assert.ok(!tool.isOver());
  await sync.database.start();
  await sync.database.connect();
  await users.set(rows(3, { from: 4, plan: "pro" }));
  await users.delete(id("00012"));
  await shows(users, {}, 60_000);
  await users.set(rows(3, { from: 40 }));
  await shows(users);
  assert.equal((await tool.end()).code, 0);
});

test("its connection is ended by an administrator: it connects again", async () => {
  const users = await watched(rows(20));
  const tool = await watch(users);
  await sync.database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
  await users.set(rows(3, { from: 4, plan: "pro" }));
  await shows(users, {}, 60_000);
  // KV may show the change before the pass that brought it has ended.
  await sleep(5000);
  const { code, sum, stderr } = await tool.end();
  assert.equal(code, 0, `${JSON.stringify(sum)} ${stderr}`);
});

test("an API that fails for a while: told, and mended", async () => {
  const users = await watched(rows(20));
  const tool = await watch(users, ["--deadline", "1"]);
  let isDown = true;
  api.meddle = (call, pass) => (isDown && kindOf(call) === "write" ? apiError(503, 10001, "out of order") : pass());
  const before = api.calls.length;
  await users.set(rows(3, { from: 4, plan: "pro" }));
  await eventually(() => api.calls.slice(before).some((call) => kindOf(call) === "write"), "a write");
  await sleep(4000);
  assert.ok(!tool.isOver());
  isDown = false;
  await users.set(rows(1, { from: 30 }));
  await shows(users, {}, 60_000);
  const { passes } = await tool.end();
  assert.ok(
    passes.some(({ failed, problems }) => failed > 0 || problems.length > 0),
    "the failed pass is told",
  );
});

test("a database that is not there, or a query that fails: exit code 1 at once", async () => {
  const users = await watched(rows(1));
  const away = await users.run(["--watch"], { env: { DATABASE_URL: sync.database.url({ port: 1 }) } });
  assert.equal(away.code, 1);
  const wrong = await sync.run(["sync", "--watch", "--query", "SELECT id FROM no_such_table", "--prefix", users.prefix]);
  assert.equal(wrong.code, 1);
});

test("--full-every 1: after a minute, what nobody notified of shows too", async () => {
  const { code, lines, stderr } = await everyMinute;
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    lines.slice(0, 2).map(({ read, written }) => [read, written]),
    [
      [5, 5],
      [5, 2],
    ],
  );
});

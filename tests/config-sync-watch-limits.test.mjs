// `kv-edge config sync --watch`: bad rows and refused deletions do not hold up other changes. Also
// new columns, the documented trigger, silent databases, wrong arguments, and keys listed late.
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import net from "node:net";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { hashOf, makeRows, startSync, userId } from "./harness/config-sync.mjs";
import { startWatch } from "./harness/config-sync-watch.mjs";
import { eventually } from "./harness/eventually.mjs";
import { apiError } from "./harness/rest-api.mjs";
import { kindOfCall } from "./harness/rest-api-faults.mjs";

const { sync, api, createNotifyingTable, startTool, waitUntilSynced } = await startWatch();

// Runs beside the other tests, on its own database and KV: another process writes a key, and KV's
// list has it later.
const lagging = await startSync();
const late = await lagging.table(makeRows(20));
const lateListing = (async () => {
  const key = late.prefix + userId("late");
  let isListed = false;
  lagging.api.intercept = async (call, pass) => {
    const response = await pass();
    if (isListed || kindOfCall(call) !== "list") return response;
    const body = JSON.parse(response.body);
    body.result = body.result.filter(({ name }) => name !== key);
    return { ...response, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  };
  let child;
  after(() => child.kill("SIGKILL"));
  const ended = late.run(["--watch", "--channel", "late", "--full-every", "0"], { running: (started) => (child = started) });
  await waitUntilSynced(late);
  const value = JSON.stringify({ preview_features_enabled: true, plan: "written by another" });
  await lagging.put([{ key, value, metadata: { sync: { prefix: late.prefix, hash: hashOf(value) } } }]);
  await lagging.database.query("SELECT pg_notify('late', $1)", [userId("late")]);
  await sleep(5000);
  assert.ok((await lagging.kvEntries(key)).has(key), "the list does not have it");
  isListed = true;
  await eventually(async () => !(await lagging.kvEntries(key)).has(key), "it is gone", 240_000);
  await sleep(500); // The pass ends.
  child.kill("SIGTERM");
  return ended;
})();
lateListing.catch(() => {}); // The last test reports it.

test("a row that KV cannot store is reported, and the others are synced", async () => {
  const users = await createNotifyingTable(makeRows(20));
  await sync.database.query(`INSERT INTO ${users.name} VALUES (NULL, true, 'free')`);
  const tool = await startTool(users);
  await sync.database.query(`SELECT pg_notify('${users.channel}', '')`);
  for (let n = 0; n < 4; n += 1) {
    await users.set(makeRows(1, { from: 3, plan: `plan ${n}` }));
    await waitUntilSynced(users, {}, 6000);
  }
  const { code, passes, summary, stderr } = await tool.end();
  assert.deepEqual([code, summary.behind], [1, true], stderr);
  assert.ok(passes.every(({ read }) => read === 1 || read === 21));
  assert.ok(passes.filter(({ read }) => read === 21).length <= 2, "it compares everything no more often than without that row");
  assert.match(stderr, /row 21: its key is NULL/);
});

test("deletions that the guard refuses do not delay other changes", async () => {
  const users = await createNotifyingTable(makeRows(20));
  const tool = await startTool(users);
  const gone = Object.keys(makeRows(10));
  await users.delete(...gone);
  const except = gone.map((name) => users.prefix + name);
  for (let n = 0; n < 4; n += 1) {
    await users.set(makeRows(1, { from: 15, plan: `plan ${n}` }));
    await waitUntilSynced(users, { except }, 6000);
  }
  const { code, summary, stderr } = await tool.end();
  assert.deepEqual([code, summary.behind, summary.deleted], [1, true, 0], stderr);
});

/** Waits until the records of all users have exactly these members. */
const hold = (users, members) =>
  eventually(
    async () => {
      const stored = await sync.kvEntries(users.prefix + userId(""));
      return [...users.rows.keys()].every((name) => Object.keys(JSON.parse(stored.get(users.prefix + name).value)).join() === members);
    },
    members,
    20_000,
  );

test("an added column changes all rows, even if the comparison that it calls for fails at first", async () => {
  const users = await createNotifyingTable(makeRows(5));
  users.query = `SELECT * FROM ${users.name}`;
  const tool = await startTool(users, ["--deadline", "1"]);
  let isDown = true;
  api.intercept = (call, pass) => (isDown && kindOfCall(call) === "list" ? apiError(503, 10001, "out of order") : pass());
  await sync.database.query(`ALTER TABLE ${users.name} ADD COLUMN tier text DEFAULT 'free'`);
  await sync.database.query(`UPDATE ${users.name} SET tier = 'more' WHERE id = '${userId("00001")}'`);
  await eventually(() => /^error: /m.test(tool.stderr()), "the comparison fails");
  isDown = false;
  await hold(users, "preview_features_enabled,plan,tier");
  const { code, passes, stderr } = await tool.end();
  assert.equal(code, 0, stderr);
  assert.ok(passes.some(({ error }) => error !== undefined));
});

test("an added or removed column changes all rows", async () => {
  const users = await createNotifyingTable(makeRows(5));
  users.query = `SELECT * FROM ${users.name}`;
  const tool = await startTool(users);
  await sync.database.query(`ALTER TABLE ${users.name} ADD COLUMN tier text DEFAULT 'free'`);
  await sync.database.query(`UPDATE ${users.name} SET tier = 'more' WHERE id = '${userId("00001")}'`);
  await hold(users, "preview_features_enabled,plan,tier");
  await sync.database.query(`ALTER TABLE ${users.name} DROP COLUMN plan`);
  await sync.database.query(`SELECT pg_notify('${users.channel}', '')`);
  await hold(users, "preview_features_enabled,tier");
  const { code, stderr } = await tool.end();
  assert.equal(code, 0, stderr);
});

test("the trigger of --help notifies of every change, and every id fits into its payload", async () => {
  const { stdout } = await sync.run(["sync", "--help"], { api: false });
  const sql = /^ {2}CREATE FUNCTION[\s\S]*?;(?=\n\n)/m.exec(stdout)[0];
  const users = await sync.table(makeRows(20));
  users.channel = "kv_edge_config";
  await sync.database.query(sql.replaceAll("ON users", `ON ${users.name}`));
  const tool = await startTool(users);
  await users.set(makeRows(2, { from: 19, plan: "pro" }));
  await waitUntilSynced(users);
  await users.delete(userId("00003"));
  await waitUntilSynced(users);
  await sync.database.query(`INSERT INTO ${users.name} VALUES (repeat('x', 8000), true, 'free'), (NULL, true, 'free'), (repeat('x', 7999), true, 'free')`);
  await eventually(() => tool.stderr().includes("its key is NULL"), "all was compared");
  await users.set(makeRows(1, { from: 1, plan: "pro" }));
  await waitUntilSynced(users);
  await sync.database.query(`DELETE FROM ${users.name} WHERE id IS NULL OR length(id) > 1000`);
  const { code, stderr } = await tool.end();
  assert.equal(code, 1, stderr);
});

test("connections do not pile up if the database accepts them and stays silent", { skip: !existsSync("/proc/self/fd") }, async () => {
  const users = await createNotifyingTable(makeRows(3));
  const sockets = new Set();
  let isMute = false;
  const proxy = net.createServer((socket) => {
    sockets.add(socket.on("error", () => {}).on("close", () => sockets.delete(socket)));
    socket.resume();
    if (isMute) return;
    const onward = net.connect(sync.database.port, "127.0.0.1").on("error", () => {});
    socket.pipe(onward).pipe(socket);
    socket.on("close", () => onward.destroy());
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  proxy.unref();
  const DATABASE_URL = sync.database.url({ port: proxy.address().port, parameters: "?connect_timeout=1" });
  const tool = await startTool(users, [], { env: { DATABASE_URL } });
  const count = (what) => readdirSync(`/proc/${tool.pid}/${what}`).length;
  const before = { fd: count("fd"), task: count("task") };
  isMute = true;
  for (const socket of sockets) socket.destroy();
  await eventually(() => tool.stderr().split("the connection takes too long").length > 3, "three tries", 120_000);
  for (const [what, most] of Object.entries(before)) assert.ok(count(what) <= most + 3, `${count(what)} in ${what}, ${most} before`);
  assert.ok(sockets.size <= 1, `${sockets.size} connections`);
  isMute = false;
  await users.set(makeRows(1, { from: 1, plan: "pro" }));
  await waitUntilSynced(users, {}, 40_000);
  const { code, stderr } = await tool.end();
  assert.equal(code, 0, stderr);
});

for (const [what, args, says] of [
  ["--strict", ["--strict"], /--strict/],
  ["a channel without a name", ["--channel", ""], /channel/],
  ["a channel of 64 bytes", ["--channel", "c".repeat(64)], /it has 64 bytes; PostgreSQL accepts names of 1 to 63/],
]) {
  test(`--watch with ${what}: exit code 2 and an error message`, async () => {
    const users = await sync.table({});
    const { code, stderr, calls } = await users.run(["--watch", ...args]);
    assert.deepEqual([code, calls.length], [2, 0], stderr);
    assert.match(stderr, says);
  });
}

test("a key without a row that KV's list shows late is deleted after a minute", async () => {
  const { code, lines, stderr } = await lateListing;
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    lines.map(({ read, deleted, behind }) => [read, deleted, behind]),
    [
      [20, 0, undefined],
      [0, 0, undefined],
      [0, 1, undefined],
      [20, 1, false],
    ],
  );
});

// `kv-edge config sync --snapshot`: all rows as one value beside the keys of the rows.
import assert from "node:assert/strict";
import { test } from "node:test";
import { hashOf, makeRows, SECRET_MARK, startSync, userId } from "./harness/config-sync.mjs";
import { changingCalls, keysOfCall, kindOfCall } from "./harness/rest-api-faults.mjs";

const sync = await startSync({ vars: { CONFIG_REFRESH: "0", CONFIG_SNAPSHOT: "snapshot", CONFIG_PREFIX: "served:" } });

const started = Date.now();

/** Checks that the snapshot under a key equals the table, and returns its version. */
async function checkSnapshot(users, key) {
  const { value, metadata } = (await sync.kvEntries(key)).get(key);
  const { hash, count, text } = users.expectedSnapshot();
  const { version } = metadata.snapshot;
  assert.deepEqual(metadata, { snapshot: { version, hash, count } });
  assert.equal(value, `{"format":1,"version":${version},"hash":"${hash}","count":${count},"records":${text}}`);
  assert.ok(Number.isInteger(version));
  assert.ok(JSON.stringify(metadata).length <= 1024);
  return version;
}

/** Creates a table; returns it and the key of its snapshot. */
async function withSnapshot(given, options) {
  const users = await sync.table(given, options);
  return { users, key: `snapshot-of-${users.name}`, args: ["--snapshot", `snapshot-of-${users.name}`] };
}

test("all rows are one value, in byte order; it is written only if it changed, with a greater version", async () => {
  const names = {
    [userId("🎉")]: { on: true, plan: `${SECRET_MARK} ü` },
    [userId("\uFFFF")]: { on: false, plan: '" \\ \n' },
    [userId("B")]: { on: true, plan: null },
    [userId("a")]: { on: null, plan: "" },
  };
  const { users, key, args } = await withSnapshot({ ...makeRows(20), ...names });
  const first = await users.sync(args, { written: 24, snapshot: "written" });
  assert.deepEqual(changingCalls(first.calls).flatMap(keysOfCall).at(-1), key, "the snapshot comes last");
  assert.equal(changingCalls(first.calls).length, 2);
  const version = await checkSnapshot(users, key);
  assert.ok(version >= started && version <= Date.now());
  await users.assertSynced();

  const second = await users.sync(args, { written: 0, snapshot: "unchanged" });
  assert.deepEqual(changingCalls(second.calls), []);
  assert.equal(await checkSnapshot(users, key), version);

  await users.set({ [userId("00003")]: { on: true, plan: `${SECRET_MARK} pro` } });
  await users.sync(args, { written: 1, snapshot: "written" });
  const third = await checkSnapshot(users, key);
  assert.ok(third > version);

  await users.delete(userId("B"));
  await users.sync(args, { written: 0, deleted: 1, snapshot: "written" });
  assert.ok((await checkSnapshot(users, key)) > third);
  await users.assertSynced();
});

test("a version that is ahead of the clock is still smaller than the next one", async () => {
  const { users, key, args } = await withSnapshot(makeRows(3));
  await users.sync(args);
  const ahead = Date.now() + 1e9;
  const { hash, count, text } = users.expectedSnapshot();
  await sync.put([
    {
      key,
      value: `{"format":1,"version":${ahead},"hash":"${hash}","count":${count},"records":${text}}`,
      metadata: { snapshot: { version: ahead, hash, count } },
    },
  ]);
  await users.sync(args, { snapshot: "unchanged" });
  assert.equal(await checkSnapshot(users, key), ahead);
  await users.set(makeRows(1, { plan: "pro" }));
  await users.sync(args, { snapshot: "written" });
  assert.ok((await checkSnapshot(users, key)) > ahead);
});

for (const [what, value, metadata] of [
  ["another value", "by hand", null],
  ["a value with invalid metadata of a snapshot", "{}", { snapshot: "x" }],
  ["a broken snapshot with an old hash", '{"format":1', { snapshot: { version: 1, hash: hashOf(""), count: 0 } }],
]) {
  test(`${what} under the key of the snapshot is replaced`, async () => {
    const { users, key, args } = await withSnapshot(makeRows(3));
    await sync.put([{ key, value, ...(metadata && { metadata }) }]);
    await users.sync(args, { written: 3, snapshot: "written" });
    await checkSnapshot(users, key);
    await users.assertSynced();
  });
}

test("under the prefix of the rows it is not taken for one of them", async () => {
  const { users } = await withSnapshot(makeRows(10));
  const key = `${users.prefix}snapshot`;
  const args = ["--snapshot", key];
  await users.sync(args, { written: 10, snapshot: "written" });
  await users.sync(args, { written: 0, deleted: 0, snapshot: "unchanged" });
  await users.delete(userId("00002"));
  await users.sync(args, { deleted: 1, snapshot: "written" });
  await checkSnapshot(users, key);
  await users.assertSynced({ except: [key] });
  // A sync without --snapshot leaves it alone.
  await users.sync([], { deleted: 0, refused: 0 });
  await checkSnapshot(users, key);
});

test("a snapshot of another run is never replaced by a row or deleted, whatever the flags", async () => {
  const { users } = await withSnapshot(makeRows(5));
  const key = `${users.prefix}snapshot`;
  await users.sync(["--snapshot", key]);
  const before = (await sync.kvEntries(key)).get(key);
  const query = `SELECT ${`'${users.prefix.slice(1)}snapshot'`} AS id, true AS preview_features_enabled`;
  await sync.database.query(`INSERT INTO ${users.name} VALUES ('snapshot', true, 'x')`);
  for (const [args, base = users.arguments()] of [
    [["--dry-run"]],
    [[]],
    [["--no-delete", "--allow-mass-delete"]],
    [["--snapshot", `another-of-${users.name}`]],
    [[], ["sync", "--query", query, "--prefix", users.prefix[0], "--no-delete"]],
  ]) {
    const { code, summary, stderr } = await sync.run([...base, ...args, "--json"]);
    assert.deepEqual([code, summary.written, summary.deleted, summary.failed], [1, 0, 0, 1], stderr);
    assert.match(summary.problems.join("\n"), /row \d+: its key holds a snapshot/);
    assert.deepEqual((await sync.kvEntries(key)).get(key), before, args.join(" "));
  }
  await checkSnapshot(users, `another-of-${users.name}`); // without that row
  await sync.database.query(`DELETE FROM ${users.name} WHERE id = 'snapshot'`);
  await users.sync([], { written: 0, deleted: 0, failed: 0 });
  assert.deepEqual((await sync.kvEntries(key)).get(key), before);
});

test("a row of the sync with another prefix: the snapshot does not take its place", async () => {
  const { users } = await withSnapshot(makeRows(3));
  await users.sync();
  const { users: others } = await withSnapshot(makeRows(2));
  for (const args of [["--dry-run"], []]) {
    const { code, summary } = await others.run(["--snapshot", users.prefix + userId("00001"), ...args]);
    assert.deepEqual([code, summary.written, summary.snapshot], [1, 2, "failed"]);
    assert.match(summary.problems.join("\n"), /choose another key with --snapshot/);
  }
  await users.assertSynced();
  await others.assertSynced();
});

test("no rows: an empty snapshot", async () => {
  const { users, key, args } = await withSnapshot({});
  await users.sync(args, { read: 0, snapshot: "written" });
  const { value } = (await sync.kvEntries(key)).get(key);
  assert.match(value, /^\{"format":1,"version":\d+,"hash":"[0-9a-f]{32}","count":0,"records":\{\}\}$/);
  await checkSnapshot(users, key);
});

test("deletes that are refused: the snapshot stays as it is", async () => {
  const { users, key, args } = await withSnapshot(makeRows(10));
  await users.sync(args);
  const before = (await sync.kvEntries(key)).get(key);
  await users.delete(...Object.keys(makeRows(9)));
  const { code, summary } = await users.run(args);
  assert.deepEqual([code, summary.refused, summary.snapshot], [1, 9, "refused"]);
  assert.deepEqual((await sync.kvEntries(key)).get(key), before);
  // Nothing is deleted, so nothing is refused.
  await users.sync([...args, "--no-delete"], { refused: 0, deleted: 0, snapshot: "written" });
  await checkSnapshot(users, key);
  await users.sync([...args, "--allow-mass-delete"], { deleted: 9, snapshot: "unchanged" });
  await users.assertSynced();
});

test("rows that KV cannot store are left out", async () => {
  const { users, key, args } = await withSnapshot(makeRows(3));
  await sync.database.query(`INSERT INTO ${users.name} VALUES (NULL, true, ''), (repeat('x', 600), true, '')`);
  const { code, summary } = await users.run(args);
  assert.deepEqual([code, summary.failed], [1, 2]);
  await checkSnapshot(users, key);
  await users.assertSynced();
});

test("a lagging list: a key that is written twice does not change the snapshot", async () => {
  const { users, key, args } = await withSnapshot(makeRows(30));
  await users.sync(args);
  const version = await checkSnapshot(users, key);
  sync.api.intercept = async (call, pass) => {
    const response = await pass();
    if (kindOfCall(call) !== "list") return response;
    const body = JSON.parse(response.body);
    body.result = body.result.filter(({ name }) => !name.endsWith("7"));
    return { ...response, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  };
  await users.sync(args, { written: 3, unchanged: 27, deleted: 0, snapshot: "unchanged" });
  sync.api.intercept = undefined;
  assert.equal(await checkSnapshot(users, key), version);
  await users.assertSynced();
});

test("a snapshot over 10 MiB, which the Worker would refuse: reported with exit code 1; the rows are written and the old snapshot stays", async () => {
  const { users, key, args } = await withSnapshot(makeRows(3));
  await users.sync(args);
  const before = (await sync.kvEntries(key)).get(key);
  const long = "x".repeat(3_000_000);
  await users.set(Object.fromEntries(Array.from({ length: 4 }, (_, n) => [userId(`long-${n}`), { on: true, plan: `${SECRET_MARK}${n}${long}` }])));
  const { code, summary, stderr, calls } = await users.run(args);
  assert.equal(code, 1, stderr);
  assert.deepEqual([summary.written, summary.snapshot], [4, "failed"]);
  assert.match(summary.problems.join("\n"), /snapshot.*10 MiB/i);
  assert.ok(!changingCalls(calls).flatMap(keysOfCall).includes(key));
  assert.deepEqual((await sync.kvEntries(key)).get(key), before);
  await users.assertSynced();
});

test("a Worker with CONFIG_SNAPSHOT serves users without a record from it", async () => {
  const { users } = await withSnapshot({ [userId("on")]: { on: true, plan: null }, [userId("off")]: { on: false, plan: null } }, { prefix: "elsewhere:" });
  await users.sync(["--snapshot", "snapshot"], { snapshot: "written" });
  for (const [name, isOn, source] of [
    ["on", true, "snapshot"],
    ["off", false, "snapshot"],
    ["nobody", false, null],
  ]) {
    const response = await fetch(new URL(`/config?userId=${userId(name)}`, sync.worker.url));
    assert.equal((await response.text()).includes("🎉"), isOn, name);
    assert.equal(response.headers.get("config-source"), source, name);
  }
});

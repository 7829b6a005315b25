// `kv-edge config sync` of a table of a real PostgreSQL into the local KV: what a pass writes and
// deletes, prefixes, --dry-run, and the output.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { assertFigures, hashOf, makeRows, SECRET_MARK, startSync, userId } from "./harness/config-sync.mjs";
import { changingCalls, keysOfCall, kindOfCall } from "./harness/rest-api-faults.mjs";

const sync = await startSync({ vars: { CONFIG_REFRESH: "0" } });

describe("passes", () => {
  test("the first pass writes all rows, the second nothing, and the third what changed", async () => {
    const users = await sync.table(makeRows(50));
    const first = await users.sync([], { read: 50, written: 50, unchanged: 0, deleted: 0, failed: 0, refused: 0, dryRun: false });
    assert.equal(first.summary.calls, first.calls.length);
    assert.ok(first.summary.seconds > 0);
    assert.deepEqual(first.summary.problems, []);
    await users.assertSynced();

    const second = await users.sync([], { read: 50, written: 0, unchanged: 50, deleted: 0, failed: 0 });
    assert.deepEqual(changingCalls(second.calls), []);
    assert.ok(
      second.calls.every((call) => ["namespaces", "list"].includes(kindOfCall(call))),
      "no value is read",
    );
    await users.assertSynced();

    await users.set(makeRows(10, { from: 5, plan: "pro" }));
    await users.set(makeRows(5, { from: 50 }));
    await users.delete(userId("00000"), userId("00001"), userId("00049"));
    const third = await users.sync([], { read: 52, written: 15, unchanged: 37, deleted: 3, failed: 0 });
    const written = third.calls.filter((call) => kindOfCall(call) === "write").flatMap(keysOfCall);
    assert.deepEqual(
      written.sort(),
      [...Object.keys(makeRows(10, { from: 5 })), ...Object.keys(makeRows(5, { from: 50 }))].map((id) => users.prefix + id).sort(),
    );
    await users.assertSynced();

    await users.sync([], { read: 52, written: 0, unchanged: 52, deleted: 0 });
    await users.assertSynced();
  });

  test("deletes come after all writes", async () => {
    const users = await sync.table(makeRows(20));
    await users.sync([]);
    await users.delete(userId("00000"), userId("00001"));
    await users.set(makeRows(5, { from: 10, plan: "pro" }));
    const { calls } = await users.sync([], { written: 5, deleted: 2 });
    assert.deepEqual(changingCalls(calls).map(kindOfCall), ["write", "delete"]);
    await users.assertSynced();
  });

  test("a key that another writer put is taken over if it has a row", async () => {
    const users = await sync.table(makeRows(5));
    await sync.put([
      { key: users.prefix + userId("00002"), value: users.expectedEntry(userId("00002"))[1].value },
      { key: users.prefix + userId("00003"), value: "by hand" },
    ]);
    await users.sync([], { read: 5, written: 5, unchanged: 0 });
    await users.assertSynced();
  });

  test("the documented query is the default, and /config shows its rows", async () => {
    await sync.database.query(`CREATE TABLE users (id text PRIMARY KEY, preview_features_enabled boolean)`);
    await sync.database.query(`INSERT INTO users VALUES ('${userId("on")}', true), ('${userId("off")}', false)`);
    const { code, stderr, summary } = await sync.run(["sync", "--json"]);
    assert.equal(code, 0, stderr);
    assert.deepEqual([summary.read, summary.written], [2, 2]);
    const { value, metadata } = (await sync.kvEntries(userId("on"))).get(userId("on"));
    assert.equal(value, '{"preview_features_enabled":true}');
    assert.deepEqual(metadata, { sync: { prefix: "", hash: hashOf(value) } });
    for (const [name, isOn] of [
      ["on", true],
      ["off", false],
    ]) {
      const page = await fetch(new URL(`/config?userId=${userId(name)}`, sync.worker.url)).then((response) => response.text());
      assert.equal(page.includes("🎉"), isOn, page);
    }
    await sync.database.query("TRUNCATE users");
    assert.equal((await sync.run(["sync", "--allow-mass-delete"])).code, 0);
    assert.equal((await sync.kvEntries(userId("o"))).size, 0);
  });
});

describe("prefixes", () => {
  test("several prefixes in one namespace, and none: each sync deletes only its own keys", async () => {
    const tables = [
      await sync.table(makeRows(10, { plan: "pro" }), { prefix: "" }),
      await sync.table(makeRows(10), { prefix: "a:" }),
      await sync.table(makeRows(10, { plan: "team" }), { prefix: "a:b:" }),
    ];
    /** Checks all tables: keys under the widest prefix belong to several syncs, or to none. */
    const assertAllSynced = async () => {
      const stored = await sync.kvEntries();
      for (const { entriesOfOthers } of tables) for (const [key, entry] of entriesOfOthers) assert.deepEqual(stored.get(key), entry, key);
      for (const table of tables) {
        for (const id of Object.keys(makeRows(10))) {
          const [key, entry] = table.expectedEntry(id, table.rows.get(id) ?? {});
          assert.deepEqual(stored.get(key), table.rows.has(id) ? entry : undefined, key);
        }
      }
    };
    for (const table of tables) await table.sync([], { written: 10, deleted: 0, refused: 0 });
    await assertAllSynced();
    for (const table of tables) {
      await table.delete(userId("00003"));
      await table.sync([], { written: 0, unchanged: 9, deleted: 1 });
      await assertAllSynced();
    }
    for (const table of tables) {
      await table.delete(...table.rows.keys());
      await table.sync(["--allow-mass-delete"], { read: 0, written: 0, deleted: 9 });
      await assertAllSynced();
    }
  });

  for (const prefix of ["u/", "ü:", "100%:", "a b:", "?x=&", "#"]) {
    test(`with the prefix ${JSON.stringify(prefix)}, rows are written and deleted, and what has not changed is not written again`, async () => {
      const users = await sync.table(makeRows(3), { prefix });
      await users.sync([], { written: 3 });
      await users.assertSynced();
      await users.sync([], { written: 0, unchanged: 3 });
      await users.delete(userId("00001"));
      await users.sync(["--allow-mass-delete"], { deleted: 1 });
      await users.assertSynced();
    });
  }
});

describe("deletes", () => {
  for (const [what, { before, gone, added = 0, args = [] }, { deleted, refused }] of [
    ["exactly 20 % pass", { before: 10, gone: 2 }, { deleted: 2, refused: 0 }],
    ["more than 20 % are refused", { before: 10, gone: 3 }, { deleted: 0, refused: 3 }],
    ["new rows do not make the share smaller", { before: 10, gone: 3, added: 20 }, { deleted: 0, refused: 3 }],
    ["all rows are refused", { before: 10, gone: 10 }, { deleted: 0, refused: 10 }],
    ["one of one is refused", { before: 1, gone: 1 }, { deleted: 0, refused: 1 }],
    ["one of five passes", { before: 5, gone: 1 }, { deleted: 1, refused: 0 }],
    ["--allow-mass-delete lets them pass", { before: 10, gone: 9, args: ["--allow-mass-delete"] }, { deleted: 9, refused: 0 }],
    ["--allow-mass-delete lets all rows pass", { before: 10, gone: 10, args: ["--allow-mass-delete"] }, { deleted: 10, refused: 0 }],
    ["--no-delete keeps keys whose row was deleted", { before: 10, gone: 1, args: ["--no-delete"] }, { deleted: 0, refused: 0 }],
    ["--no-delete needs no guard", { before: 10, gone: 9, args: ["--no-delete"] }, { deleted: 0, refused: 0 }],
  ]) {
    test(`${what}, and changed and new rows are written in any case`, async () => {
      const users = await sync.table(makeRows(before));
      await users.sync([]);
      const ids = Object.keys(makeRows(gone));
      await users.delete(...ids);
      const changed = { ...(before > gone && makeRows(1, { from: before - 1, plan: "pro" })), ...makeRows(added, { from: before }) };
      await users.set(changed);
      const result = await users.run(args);
      assert.equal(result.code, refused > 0 ? 1 : 0, result.stderr);
      assertFigures(result, { read: users.rows.size, written: Object.keys(changed).length, deleted, refused });
      await users.assertSynced({ except: deleted === 0 ? ids.map((id) => users.prefix + id) : [] });
      if (refused > 0) {
        assert.match(JSON.stringify(result.summary.problems), /--allow-mass-delete/);
        assert.equal(result.calls.filter((call) => kindOfCall(call) === "delete").length, 0);
        await users.sync(["--allow-mass-delete"], { deleted: refused, refused: 0 });
        await users.assertSynced();
      }
    });
  }

  test("an empty table without keys in KV: nothing to do", async () => {
    const users = await sync.table();
    await users.sync([], { read: 0, written: 0, unchanged: 0, deleted: 0, refused: 0 });
    await users.assertSynced();
  });

  test("a row that is inserted again is written again", async () => {
    const users = await sync.table(makeRows(10));
    await users.sync([]);
    await users.delete(userId("00004"));
    await users.sync([], { deleted: 1 });
    await users.set({ [userId("00004")]: { on: true, plan: `${SECRET_MARK} back` } });
    await users.sync([], { written: 1, unchanged: 9 });
    await users.assertSynced();
  });
});

describe("--dry-run", () => {
  for (const [what, args, gone, faulty] of [
    ["changes", [], 2],
    ["what the guard refuses", [], 9],
    ["a mass delete", ["--allow-mass-delete"], 9],
    ["--no-delete", ["--no-delete"], 9],
    ["a snapshot", ["--snapshot", "SNAPSHOT"], 2],
    ["rows that KV cannot store", [], 2, true],
  ]) {
    test(`${what}: it writes nothing, and reports what the run after it does`, async () => {
      const users = await sync.table(makeRows(20));
      const given = args.map((arg) => arg.replace("SNAPSHOT", `snapshot-of-${users.name}`));
      await users.sync(given);
      const stored = async () => [await sync.kvEntries(users.prefix), await sync.kvEntries(`snapshot-of-${users.name}`)];
      const before = await stored();
      await users.delete(...Object.keys(makeRows(gone)));
      await users.set({ ...makeRows(4, { from: 12, plan: "pro" }), ...makeRows(3, { from: 30 }) });
      if (faulty) await sync.database.query(`INSERT INTO ${users.name} VALUES (NULL, true, '${SECRET_MARK}'), (repeat('${SECRET_MARK}', 200), true, '')`);
      const dry = await users.run([...given, "--dry-run"]);
      assert.equal(dry.summary.dryRun, true);
      assert.deepEqual(changingCalls(dry.calls), []);
      assert.deepEqual(await stored(), before);
      const run = await users.run(given);
      const { read, written, unchanged, deleted, failed, refused, snapshot } = run.summary;
      assertFigures(dry, { read, written, unchanged, deleted, failed, refused, snapshot });
      assert.equal(dry.code, run.code);
      assert.equal(written, 7);
      assert.equal(failed, faulty ? 2 : 0);
    });
  }
});

describe("output", () => {
  test("lines for people name all figures; --json is one line and nothing on stderr", async () => {
    const users = await sync.table(makeRows(12));
    const text = await users.run([], { json: false });
    assert.equal(text.code, 0, text.stderr);
    for (const figure of [/12[^\n]*written|written[^\n]*12/i, /read/i, /unchanged/i, /deleted/i, /failed/i, /calls/i, /\d s\b|seconds/i])
      assert.match(text.stdout, figure);
    const json = await users.run();
    assert.equal(json.lines.length, 1);
    assert.equal(json.stderr, "");
    for (const name of ["read", "written", "unchanged", "deleted", "failed", "refused", "calls"]) assert.ok(Number.isInteger(json.summary[name]), name);
    assert.deepEqual(
      Object.keys(json.summary).filter((name) => name === "snapshot"),
      [],
    );
  });

  for (const [args, word] of [
    [["sync", "--no-such-thing"], /no-such-thing/],
    [["sync", "--snapshot", "flags"], /flags/],
    [["sync", "--snapshot", ""], /snapshot/],
    [["sync", "--dry-run", "--watch"], /watch/],
    [["sync", "--full-every", "-1", "--watch"], /full-every/],
    [["sync", "extra"], /extra/],
  ]) {
    test(`${args.join(" ")}: exit code 2, an error message and no call`, async () => {
      const { code, stderr, calls } = await sync.run(args);
      assert.equal(code, 2, stderr);
      assert.match(stderr, word);
      assert.equal(calls.length, 0);
    });
  }

  test("a missing namespace: exit code 1 and its name", async () => {
    const users = await sync.table(makeRows(1));
    const { code, stderr, calls } = await users.run(["--namespace", "no-such-namespace"]);
    assert.equal(code, 1);
    assert.match(stderr, /no-such-namespace/);
    assert.deepEqual(changingCalls(calls), []);
  });
});

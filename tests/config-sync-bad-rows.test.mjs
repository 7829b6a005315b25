// `kv-edge config sync`: rows that it cannot write are reported, and the others are written.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { makeRows, SECRET_MARK, startSync, userId } from "./harness/config-sync.mjs";
import { kindOfCall } from "./harness/rest-api-faults.mjs";

const sync = await startSync();

describe("rows that the sync refuses, and the longest that it writes", () => {
  const MiB = 1024 * 1024;
  // Less the JSON around the text: `{"preview_features_enabled":true,"plan":"…"}`.
  const around = JSON.stringify({ preview_features_enabled: true, plan: "" }).length;
  const cases = {
    "a NULL key": { sql: () => "(NULL, true, 'x')" },
    "two NULL keys": { sql: () => "(NULL, true, 'x'), (NULL, false, 'y')", failed: 2 },
    "an empty key without a prefix": { sql: () => "('', true, 'x')", prefix: "" },
    "a key of 513 bytes with its prefix": { sql: (prefix) => `(repeat('x', ${513 - prefix.length}), true, 'x')` },
    "a key of 513 bytes in fewer characters": { sql: (prefix) => `('${"ü".repeat(200)}' || repeat('x', ${113 - prefix.length}), true, 'x')` },
    "a value of more than 25 MiB": { sql: () => `('${userId("long")}', true, repeat('x', ${25 * MiB + 1 - around}))` },
    ". and .. without a prefix": { sql: () => "('.', true, 'x'), ('..', true, 'x')", failed: 2, prefix: "" },
    "the key of the flags": { sql: () => "('flags', true, 'x')", prefix: "" },
    "the key of the flags, after the prefix": { sql: () => "('ags', true, 'x')", prefix: "fl" },
    "the key of the snapshot": { sql: () => "('snapshot', true, 'x')", snapshot: true },
  };
  for (const [what, { sql, failed = 1, prefix, snapshot = false }] of Object.entries(cases)) {
    const set = async () => {
      const there = [...(await sync.kvEntries()).keys()];
      const users = await sync.table(makeRows(5), { prefix });
      const key = `${users.prefix}snapshot`;
      await sync.database.query(`INSERT INTO ${users.name} VALUES ${sql(users.prefix)}`);
      return { users, args: snapshot ? ["--snapshot", key] : [], except: [key, ...there.filter((key) => !users.entriesOfOthers.has(key))] };
    };
    const clean = async (users) => {
      await users.delete(...users.rows.keys());
      await sync.database.query(`TRUNCATE ${users.name}`);
      await users.sync(["--allow-mass-delete"]);
    };

    test(`${what}: reported, and the other rows are written`, async () => {
      const { users, args, except } = await set();
      const { code, summary, stderr } = await users.run(args);
      assert.equal(code, 1, stderr);
      assert.deepEqual([summary.read, summary.written, summary.failed, summary.deleted], [5 + failed, 5, failed, 0]);
      assert.match(summary.problems.join("\n"), /\brow\b/i);
      // The reported query finds the row.
      const hints = [...summary.problems.join("\n").matchAll(/\((SELECT .*)\)$/gm)].map(([, hint]) => hint);
      assert.ok(hints.length >= 1, summary.problems.join("\n"));
      for (const hint of hints) {
        const [found] = await sync.database.query(hint.replace("the query", users.query));
        assert.ok(!users.rows.has(found.id), `${hint}: a good one`);
      }
      await users.assertSynced({ except });
      const again = await users.run(args);
      assert.deepEqual([again.code, again.summary.written, again.summary.failed], [1, 0, failed]);
      const lines = await users.run(args, { json: false });
      assert.equal(lines.code, 1);
      assert.match(lines.stderr, /\brow\b/i);
      await clean(users);
    });

    test(`${what} and --strict: it stops, and nothing is deleted`, async () => {
      const { users, args, except } = await set();
      assert.equal((await users.run(args)).summary.written, 5);
      await users.delete(userId("00004"));
      const { code, summary, stderr, calls } = await users.run([...args, "--strict"]);
      assert.equal(code, 1, stderr);
      assert.match(summary.problems?.join("\n") ?? summary.error, /\brow\b/i);
      assert.equal(calls.filter((call) => kindOfCall(call) === "delete").length, 0);
      await users.assertSynced({ except: [...except, users.prefix + userId("00004")] });
      await clean(users);
    });
  }

  test("rows with the same key are all reported and none of them is written; KV keeps its value", async () => {
    const users = await sync.table(makeRows(5));
    await users.sync([]);
    await sync.database.query(
      `INSERT INTO ${users.name} VALUES ('${userId("00002")}', true, 'x'), ('${userId("twice")}', true, 'a'), ('${userId("twice")}', true, 'b'), ('${userId("twice")}', true, 'c')`,
    );
    const { code, summary } = await users.run();
    assert.equal(code, 1);
    assert.equal(summary.failed, 5, JSON.stringify(summary));
    assert.equal(summary.deleted, 0);
    const stored = await sync.kvEntries(users.prefix);
    assert.equal(stored.get(users.prefix + userId("00002")).value, '{"preview_features_enabled":true,"plan":"qzx free"}');
    assert.equal(stored.get(users.prefix + userId("twice")), undefined);
    await users.assertSynced({ except: [users.prefix + userId("00002"), users.prefix + userId("twice")] });
    const again = await users.run();
    assert.deepEqual([again.code, again.summary.failed], [1, 5]);
    assert.deepEqual(await sync.kvEntries(users.prefix), stored);
    const strict = await users.run(["--strict"]);
    assert.equal(strict.code, 1);
  });

  test("a key column that is selected twice: the row is found", async () => {
    const users = await sync.table(makeRows(3));
    await sync.database.query(`INSERT INTO ${users.name} VALUES (NULL, true, 'x')`);
    users.query = `SELECT id, id, plan FROM ${users.name}`;
    const { code, summary } = await users.run();
    assert.deepEqual([code, summary.written, summary.failed], [1, 3, 1]);
    const [, hint] = summary.problems[0].match(/\((SELECT .*)\)$/);
    assert.deepEqual(
      (await sync.database.query(hint.replace("the query", users.query))).map(({ id }) => id),
      [null],
    );
  });

  test("a row that became too long keeps its key from being deleted", async () => {
    const users = await sync.table(makeRows(20));
    await users.sync([]);
    await sync.database.query(`UPDATE ${users.name} SET plan = repeat('${SECRET_MARK}', 9000000) WHERE id = '${userId("00003")}'`);
    const { code, summary } = await users.run();
    assert.deepEqual([code, summary.failed, summary.deleted, summary.unchanged], [1, 1, 0, 19]);
    await users.assertSynced();
  });

  test("a key of 512 bytes and a value of 25 MiB are written", async () => {
    const users = await sync.table(makeRows(2));
    const key = `${SECRET_MARK}${"é".repeat(200)}`;
    await users.set({
      [key + "x".repeat(512 - Buffer.byteLength(users.prefix + key))]: { on: true, plan: "" },
      [userId("long")]: { on: true, plan: "x".repeat(25 * MiB - around) },
    });
    await users.sync([], { written: 4, failed: 0 });
    await users.assertSynced();
    await users.sync([], { written: 0, unchanged: 4 });
  });

  test("1500 bad rows are all counted, in a report of less than 20,000 characters", async () => {
    const users = await sync.table(makeRows(3));
    await sync.database.query(`INSERT INTO ${users.name} SELECT repeat('${SECRET_MARK}', 200) || n, true, '' FROM generate_series(1, 1500) n`);
    const { code, summary, stdout } = await users.run();
    assert.deepEqual([code, summary.failed, summary.written], [1, 1500, 3]);
    assert.ok(stdout.length < 20_000, `${stdout.length} characters`);
    await users.assertSynced();
  });
});

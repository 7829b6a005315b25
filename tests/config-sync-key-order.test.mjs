// `kv-edge config sync`: rows and KV's keys are compared in byte order, whatever the database's.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { makeRows, SECRET_MARK, startSync, userId } from "./harness/config-sync.mjs";
import { kindOfCall } from "./harness/rest-api-faults.mjs";

const sync = await startSync();

describe("the order of keys", () => {
  const names = [
    "A",
    "a",
    "B",
    "b",
    "_",
    "-",
    "é",
    "e\u0301",
    "z",
    "ä",
    "ß",
    "日本",
    "\uFFFF",
    "\uE000",
    "🎉",
    "\u{10FFFF}",
    "\u{10000}",
    "a b",
    "a\u00A0b",
    "I",
    "ı",
    "İ",
    "~",
    "\u007F",
    "0",
    "10",
    "9",
  ];
  const planned = Object.fromEntries(names.map((name, n) => [userId(name), { on: n % 2 === 0, plan: `${SECRET_MARK} ${name}` }]));

  test("is that of their UTF-8 bytes, whatever the database's collation", async () => {
    const users = await sync.table(planned);
    await users.sync([], { read: names.length, written: names.length });
    await users.assertSynced();
    await users.sync([], { written: 0, unchanged: names.length, deleted: 0 });
    for (const name of ["\uFFFF", "🎉", "B", "é"]) await users.delete(userId(name));
    await users.set({ [userId("\u{10000}")]: { on: true, plan: SECRET_MARK }, [userId("C")]: { on: true, plan: SECRET_MARK } });
    await users.sync([], { written: 2, unchanged: names.length - 5, deleted: 4 });
    await users.assertSynced();
  });

  for (const [gone, args] of [
    [["\uFFFF", "\uE000"], []],
    [["🎉", "\u{10FFFF}"], []],
    [names.slice(1), ["--allow-mass-delete"]],
  ]) {
    test(`lets a sync delete the keys of ${gone.length} rows that are gone, and no other`, async () => {
      const users = await sync.table(planned);
      await users.sync([]);
      await users.delete(...gone.map(userId));
      await users.sync(args, { written: 0, unchanged: names.length - gone.length, deleted: gone.length });
      await users.assertSynced();
    });
  }

  test("is that of UTF-8 in a database whose encoding sorts differently, too", async () => {
    await sync.database.query("CREATE DATABASE western ENCODING 'WIN1252' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0");
    const env = { DATABASE_URL: sync.database.url({ database: "western" }) };
    // U+20AC is 0x80 there, before all letters with accents.
    const query = `SELECT '${SECRET_MARK}-' || id AS id, true AS x FROM (VALUES (U&'\\00E9'), (U&'\\20AC'), ('z'), (U&'\\0178')) AS users(id)`;
    const prefix = "western:";
    for (const written of [4, 0]) {
      const { code, stdout, stderr, summary } = await sync.run(["sync", "--query", query, "--prefix", prefix, "--json"], { env });
      assert.equal(code, 0, stdout + stderr);
      assert.equal(summary.written, written);
    }
    assert.deepEqual(
      [...(await sync.kvEntries(prefix)).keys()],
      ["z", "é", "Ÿ", "€"].map((name) => prefix + userId(name)),
    );
  });

  test("an unsorted list is an error, and nothing is deleted", async () => {
    const users = await sync.table(makeRows(30));
    await users.sync([]);
    await users.delete(userId("00004"));
    sync.api.intercept = async (call, pass) => {
      const response = await pass();
      if (kindOfCall(call) !== "list") return response;
      const body = JSON.parse(response.body);
      body.result.reverse();
      return { ...response, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    };
    const { code, calls } = await users.run();
    sync.api.intercept = undefined;
    assert.equal(code, 1);
    assert.equal(calls.filter((call) => kindOfCall(call) === "delete").length, 0);
    await users.sync([], { deleted: 1 });
    await users.assertSynced();
  });
});

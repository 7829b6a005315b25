// `kv-edge config sync`: which records rows become, and which keys and queries it accepts.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { hashOf, makeRows, SECRET_MARK, startSync, userId } from "./harness/config-sync.mjs";
import { changingCalls, kindOfCall } from "./harness/rest-api-faults.mjs";

const sync = await startSync();
let prefixes = 0;

/**
 * Syncs a query under its own prefix. Returns the result, and the values and metadata in KV by id.
 */
async function syncQuery(query, args = []) {
  prefixes += 1;
  const prefix = `q${prefixes}:`;
  const result = await sync.run(["sync", "--query", query, "--prefix", prefix, "--json", ...args]);
  const stored = [...(await sync.kvEntries(prefix))].map(([key, entry]) => [key.slice(prefix.length), entry]);
  return { ...result, prefix, stored: new Map(stored) };
}

/**
 * Returns JSON without the white space that PostgreSQL puts into jsonb. Numbers keep all their
 * digits.
 */
const compact = (json) => json.replace(/("(?:[^"\\]|\\.)*")|\s+/g, "$1");

test("columns may have any name", async () => {
  const names = ["r", "r_", "R", "q", "c1", "row", "record", "key", "value", 'a "b"', "ä 🎉"];
  const columns = names.map((name, index) => `${index} AS "${name.replaceAll('"', '""')}"`);
  const { code, stderr, stored } = await syncQuery(`SELECT '${userId("names")}', ROW(1, 2) AS r__, ${columns.join(", ")}`);
  assert.equal(code, 0, stderr);
  const expected = { r__: { f1: 1, f2: 2 }, ...Object.fromEntries(names.map((name, index) => [name, index])) };
  assert.deepEqual(JSON.parse(stored.get(userId("names")).value), expected);
});

for (const [what, value] of [
  ["a number beyond all doubles", "1e309::numeric AS n"],
  ["JSON that is too deep", "(repeat('[', 200) || repeat(']', 200))::json AS deep"],
  ["a preview_features_enabled that is no boolean", "1 AS preview_features_enabled"],
]) {
  test(`a row with ${what}, which the Worker could not read, is reported and not written`, async () => {
    const { code, stdout, stored } = await syncQuery(`SELECT '${userId("bad")}', ${value}`);
    assert.equal(code, 1);
    assert.match(JSON.parse(stdout).problems.join("\n"), /the Worker cannot read its value/);
    assert.equal(stored.size, 0);
  });
}

describe("types of SQL", () => {
  const types = [
    ["true", "true"],
    ["NULL::boolean", "null"],
    ["1::smallint", "1"],
    ["(-2147483648)::int", "-2147483648"],
    ["9223372036854775807::bigint", "9223372036854775807"],
    ["12345678901234567890.123456789012345678901::numeric", "12345678901234567890.123456789012345678901"],
    ["1.50::numeric(10,2)", "1.50"],
    ["0.1::float8", "0.1"],
    ["1e300::float8", "1e+300"],
    ["1.5::real", "1.5"],
    ["'NaN'::float8", '"NaN"'],
    ["'-Infinity'::float8", '"-Infinity"'],
    ["'text \"with\" \\ and ü 🎉'", '"text \\"with\\" \\\\ and ü 🎉"'],
    ["E'a\\nb\\tc\\x01'", '"a\\nb\\tc\\u0001"'],
    ["''", '""'],
    ["'x'::varchar(3)", '"x"'],
    ["'6C2E6E53-6C0C-4C0E-9E37-0B0E2F1C1A11'::uuid", '"6c2e6e53-6c0c-4c0e-9e37-0b0e2f1c1a11"'],
    ["'2026-11-21 12:00:00.5+03:30'::timestamptz", '"2026-11-21T08:30:00.5+00:00"'],
    ["'2026-11-21 12:00:00'::timestamp", '"2026-11-21T12:00:00"'],
    ["'2026-11-21'::date", '"2026-11-21"'],
    ['\'{"b": [1, {"c": null}], "a": 1.0}\'::jsonb', '{"a":1.0,"b":[1,{"c":null}]}'],
    ['\'{"b":1,"a":1e2}\'::json', '{"b":1,"a":1e2}'],
    ["'null'::jsonb", "null"],
    ["ARRAY['a', NULL, 'b \"c\"']", '["a",null,"b \\"c\\""]'],
    ["ARRAY[[1,2],[3,4]]", "[[1,2],[3,4]]"],
    ["ARRAY[]::int[]", "[]"],
    ["ARRAY[true, false]", "[true,false]"],
    ["ROW(1, 'x')", '{"f1":1,"f2":"x"}'],
    ["'\\xdeadbeef'::bytea", '"\\\\xdeadbeef"'],
    ["'10.0.0.0/8'::inet", '"10.0.0.0/8"'],
    ["interval '1 day 2 hours'", '"1 day 02:00:00"'],
  ];
  test("become JSON, under the names of their columns and in their order", async () => {
    const columns = types.map(([sql], index) => `${sql} AS "c${String(index).padStart(2, "0")}"`);
    const { code, stderr, stored } = await syncQuery(`SELECT '${userId("types")}', ${columns.join(", ")}`);
    assert.equal(code, 0, stderr);
    const members = types.map(([, json], index) => `"c${String(index).padStart(2, "0")}":${json}`);
    const { value, metadata } = stored.get(userId("types"));
    assert.equal(compact(value), compact(`{${members.join(",")}}`));
    assert.doesNotThrow(() => JSON.parse(value));
    assert.equal(metadata.sync.hash, hashOf(value));
  });
});

describe("a key", () => {
  for (const [what, sql, keys] of [
    ["may be a number", "7::bigint", ["7"]],
    ["may be a uuid", "'6c2e6e53-6c0c-4c0e-9e37-0b0e2f1c1a11'::uuid", ["6c2e6e53-6c0c-4c0e-9e37-0b0e2f1c1a11"]],
    ["may be a boolean", "true", ["true"]],
    ["may look like SQL", "'''; DROP TABLE users; --'", ["'; DROP TABLE users; --"]],
    ["may have spaces at its ends", "' a '", [" a "]],
    ["may have a new line", "E'a\\nb'", ["a\nb"]],
    ["may have characters with a meaning in URLs", "'a/b?c#d%20e&f=g+h'", ["a/b?c#d%20e&f=g+h"]],
  ]) {
    test(what, async () => {
      const { code, stderr, stored } = await syncQuery(`SELECT ${sql}, true AS x`);
      assert.equal(code, 0, stderr);
      assert.deepEqual([...stored.keys()], keys);
      assert.equal(stored.get(keys[0]).value, '{"x":true}');
    });
  }
});

describe("a query", () => {
  for (const [what, query, value] of [
    ["names that need quotes", `SELECT '${userId(1)}', 1 AS "a ""b"" ü", 2 AS "select", 3 AS "A"`, '{"a \\"b\\" ü":1,"select":2,"A":3}'],
    ["a semicolon at the end", `SELECT '${userId(1)}', 1 AS x;`, '{"x":1}'],
    ["a comment at the end", `SELECT '${userId(1)}', 1 AS x -- the users`, '{"x":1}'],
    ["a semicolon and a comment", `SELECT '${userId(1)}', 1 AS x; -- the users`, '{"x":1}'],
    ["WITH, ORDER BY and LIMIT", `WITH u AS (SELECT '${userId(1)}' AS id, 1 AS x) SELECT * FROM u ORDER BY x LIMIT 1`, '{"x":1}'],
    ["VALUES", `VALUES ('${userId(1)}', 1)`, '{"column2":1}'],
    ["a string with a semicolon", `SELECT '${userId(1)}', ';' AS x`, '{"x":";"}'],
  ]) {
    test(`may have ${what}`, async () => {
      const { code, stderr, stored } = await syncQuery(query);
      assert.equal(code, 0, stderr);
      assert.equal(stored.get(userId(1))?.value, value);
    });
  }

  test("may take longer than the timeouts that the database has for its role", async () => {
    await sync.database.query(
      "ALTER ROLE CURRENT_USER SET statement_timeout = '300ms'; ALTER ROLE CURRENT_USER SET idle_in_transaction_session_timeout = '300ms'",
    );
    const { code, stderr, summary } = await syncQuery("SELECT n::text AS id, pg_sleep(0.3)::text AS x FROM generate_series(1, 4) n");
    await sync.database.query("ALTER ROLE CURRENT_USER RESET ALL");
    assert.equal(code, 0, stderr);
    assert.equal(summary.written, 4);
  });

  for (const [what, query, word = /./] of [
    ["an unknown table", "SELECT id FROM no_such_table", /no_such_table/],
    ["an unknown column", "SELECT no_such_column FROM pg_class", /no_such_column/],
    ["a syntax error", "SELEC 1", /SELEC|syntax/],
    ["a key column alone", "SELECT 'a' AS lonely", /lonely/],
    ["two columns of one name", "SELECT 1, 2 AS twin, 3 AS twin", /twin/],
    ["two statements", "SELECT 1, 2 AS x; SELECT 2, 3 AS x"],
    ["a statement that changes the table", "DELETE FROM unharmed RETURNING id, 1 AS x"],
    ["a parenthesis too many", "SELECT 1, 2) AS q(c0, c1); DELETE FROM unharmed; --"],
    ["a row that fails only when it is read, with its contents in PostgreSQL's message", `SELECT id, plan::int FROM unharmed`, /a row/],
  ]) {
    test(`with ${what} has exit code 1 and an error message, and nothing is written or deleted`, async () => {
      await sync.database.query(
        `CREATE TABLE IF NOT EXISTS unharmed (id text, plan text); TRUNCATE unharmed; INSERT INTO unharmed VALUES ('${userId(1)}', '${SECRET_MARK}')`,
      );
      const { code, stderr, stdout, stored, calls } = await syncQuery(query);
      assert.equal(code, 1, stderr);
      assert.match(stderr, /^error: /m);
      assert.match(stdout + stderr, word);
      assert.deepEqual(changingCalls(calls), []);
      assert.equal(stored.size, 0);
      assert.equal((await sync.database.query("SELECT * FROM unharmed")).length, 1);
    });
  }
});

test("3,000 rows cross pages and batches", async () => {
  const users = await sync.table(makeRows(3000));
  const first = await users.sync([], { read: 3000, written: 3000 });
  assert.equal(changingCalls(first.calls).length, 3);
  await users.assertSynced();
  const second = await users.sync([], { read: 3000, written: 0, unchanged: 3000 });
  assert.deepEqual(changingCalls(second.calls), []);
  assert.ok(second.calls.filter((call) => kindOfCall(call) === "list").length >= 3);
  await users.set(makeRows(1100, { from: 1500, plan: "pro" }));
  await users.delete(...Object.keys(makeRows(500, { from: 200 })));
  await users.sync([], { read: 2500, written: 1100, unchanged: 1400, deleted: 500 });
  await users.assertSynced();
});

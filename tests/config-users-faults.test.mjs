// `POST /config` if KV fails or refuses long records, or if no snapshot is in memory.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { makeUserIds, snapshotOf, startConfig, usersOf } from "./harness/config.mjs";
import { assertProblem } from "./harness/problem.mjs";

const on = { preview_features_enabled: true };
const MIB = 1024 * 1024;

describe("faults", async () => {
  const config = await startConfig();

  test("a bulk read that fails once is retried", async () => {
    const [id] = makeUserIds(1);
    await config.putRecord(id, on);
    const users = usersOf(await config.postUsers([id], { faults: { bulk: ["500", "ok"] } }));
    assert.deepEqual(users[id], { source: "record", config: on });
  });

  test("a record that breaks is served as it was", async () => {
    const [good, never] = makeUserIds(2);
    await config.putRecord(good, on);
    usersOf(await config.postUsers([good]));
    for (const id of [good, never]) await config.kv.put(id, '{"preview_features_enabled":');
    const users = usersOf(await config.postUsers([good, never]));
    assert.deepEqual(users, { [good]: { source: "last-good", config: on }, [never]: { source: "default", config: null } });
  });

  for (const fault of ["500", "429", "no response", "throws a string", "throws undefined", "not a text"]) {
    test(`KV fails (${fault}): users in memory are served stale, the others get the defaults`, async () => {
      const [known, unknown] = makeUserIds(2);
      await config.putRecord(known, on);
      await config.putRecord(unknown, on);
      usersOf(await config.postUsers([known]));
      const faults = { bulk: [fault], get: [fault] };
      assert.deepEqual(usersOf(await config.postUsers([known], { faults }))[known], { source: "stale", config: on });
      const response = await config.postUsers([known, unknown], { faults });
      assert.deepEqual(usersOf(response), { [known]: { source: "stale", config: on }, [unknown]: { source: "default", config: null } });
    });
  }

  test("if one call of three fails, its users are served stale, the others from their records", async () => {
    const userIds = makeUserIds(250);
    await Promise.all(userIds.map((id) => config.putRecord(id, on)));
    usersOf(await config.postUsers(userIds));
    const users = usersOf(await config.postUsers(userIds, { faults: { bulk: ["ok", "400", "ok", "500"] } }));
    assert.deepEqual(
      userIds.map((id) => users[id].source),
      userIds.map((_, index) => (index >= 100 && index < 200 ? "stale" : "record")),
    );
    assert.ok(Object.values(users).every(({ config }) => config.preview_features_enabled));
  });
});

describe("long records", async () => {
  const config = await startConfig();
  const lengths = (reads) => reads.map((keys) => (Array.isArray(keys) ? keys.length : keys));

  test("a call that KV refuses, for more than 25 MB, is split in halves", async () => {
    const userIds = makeUserIds(100);
    for (const id of userIds) await config.putRecord(id, JSON.stringify(on).padEnd(300_000, " "));
    const { response, reads } = await config.recordReads(() => config.postUsers(userIds));
    assert.deepEqual(lengths(reads), [100, 50, 50]);
    assert.deepEqual(usersOf(response), Object.fromEntries(userIds.map((id) => [id, { source: "record", config: on }])));
  });

  /** The calls' faults, and their numbers of keys. */
  for (const [faults, calls] of [
    [
      ["413", "ok"],
      [5, 2, 3],
    ],
    [
      ["413", "413", "ok"],
      [5, 2, 1, 1, 3],
    ],
    [
      ["413", "ok", "500", "ok"],
      [5, 2, 3, 3],
    ],
    [
      ["413", "ok", "413", "ok"],
      [5, 2, 3, 1, 2],
    ],
  ]) {
    test(`halves fail by themselves: ${faults}`, async () => {
      const userIds = makeUserIds(5);
      for (const [index, id] of userIds.entries()) await config.putRecord(id, { ...on, index });
      const { response, reads } = await config.recordReads(() => config.postUsers(userIds, { faults: { bulk: faults } }));
      assert.deepEqual(lengths(reads), calls);
      assert.deepEqual(usersOf(response), Object.fromEntries(userIds.map((id, index) => [id, { source: "record", config: { ...on, index } }])));
    });
  }

  test("a record that KV never returns is not read again and again", async () => {
    const userIds = makeUserIds(3);
    const { response, reads } = await config.recordReads(() => config.postUsers(userIds, { faults: { bulk: ["413"] } }));
    assert.deepEqual(lengths(reads), [3, 1, 2, 1, 1]);
    assert.deepEqual(new Set(Object.values(usersOf(response)).map(({ source }) => source)), new Set(["default"]));
  });

  for (const [what, more, fits] of [
    ["16 MiB of records are returned", [], true],
    ["more is refused", ["{}"], false],
    ["more is refused, even if another read of KV returns it", [...Array(100).fill("{}")], false],
  ]) {
    test(what, async () => {
      const records = [...Array(16).fill(`{"a":"${"x".repeat(MIB - 8)}"}`), ...more];
      const userIds = makeUserIds(records.length);
      await Promise.all(userIds.map((id, index) => config.putRecord(id, records[index])));
      const response = await config.postUsers(userIds, { headers: { Accept: "application/json" } });
      if (fits) assert.equal(Object.values(usersOf(response)).filter(({ config }) => config.a.length === MIB - 8).length, 16);
      else assertProblem(response, 400, "answer_too_large");
    });
  }
});

describe("with a snapshot that is not in memory", async () => {
  const config = await startConfig({ vars: { CONFIG_SNAPSHOT: "snapshot" } });
  test("it is read once for all users of a request", async () => {
    const userIds = makeUserIds(120);
    await config.kv.put("snapshot", snapshotOf(Object.fromEntries(userIds.map((id) => [id, on]))));
    const { response, reads } = await config.recordReads(() => config.postUsers(userIds));
    assert.deepEqual(new Set(Object.values(usersOf(response)).map(({ source }) => source)), new Set(["snapshot"]));
    assert.equal(reads.filter((key) => key === "snapshot").length, 1);
  });

  test("its records count towards the 16 MiB that a response may have", async () => {
    const [recorded, ...inSnapshot] = makeUserIds(3);
    const record = (mebibytes) => ({ a: "x".repeat(mebibytes * MIB - 8) });
    await config.putRecord(recorded, record(8));
    await config.kv.put("snapshot", snapshotOf({ [inSnapshot[0]]: record(8), [inSnapshot[1]]: {} }));
    await config.emptyMemory();
    const whole = usersOf(await config.postUsers([recorded, inSnapshot[0]]));
    assert.deepEqual([whole[recorded].source, whole[inSnapshot[0]].source], ["record", "snapshot"]);
    const response = await config.postUsers([recorded, ...inSnapshot], { headers: { Accept: "application/json" } });
    assertProblem(response, 400, "answer_too_large");
  });

  test("a broken or failing one is read for all users of a request together", async () => {
    const userIds = makeUserIds(50);
    await config.kv.put("snapshot", "{");
    await config.emptyMemory();
    const broken = await config.recordReads(() => config.postUsers(userIds));
    assert.equal(broken.reads.filter((key) => key === "snapshot").length, 1);
    const failing = await config.recordReads(() => config.postUsers(userIds, { faults: { "get snapshot": ["500"] } }));
    assert.ok(failing.reads.filter((key) => key === "snapshot").length <= 2);
    for (const { response } of [broken, failing]) {
      assert.deepEqual(new Set(Object.values(usersOf(response)).map(({ source }) => source)), new Set(["default"]));
    }
  });

  test("users with records of their own do not need it", async () => {
    const userIds = makeUserIds(3);
    for (const id of userIds) await config.putRecord(id, on);
    const { reads } = await config.recordReads(() => config.postUsers(userIds));
    assert.deepEqual(
      reads.map((keys) => keys.length),
      [3],
    );
  });
});

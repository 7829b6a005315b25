// A user's configuration from the snapshot: its precedence, and broken, missing and unreadable
// snapshots.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { assertPage, snapshotOf, startConfig } from "./harness/config.mjs";
import { eventually } from "./harness/eventually.mjs";
import { uniqueName } from "./harness/names.mjs";

const on = { preview_features_enabled: true };
const off = { preview_features_enabled: false };

/** Requests a page with this fault at every read of the user's record. */
const failing = (config, id, fault) => config.getPage(id, { faults: { [`get ${id}`]: [fault] } });

const SNAPSHOT_MAX = 10 * 1024 * 1024;

describe("with a snapshot", async () => {
  const config = await startConfig({ vars: { CONFIG_SNAPSHOT: "snapshot" } });
  const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`id-${index}`, { preview_features_enabled: index % 2 === 1, plan: "pro" }]));
  const others = { pat: on, "a b": on, été: on, none: {}, null: { preview_features_enabled: null }, broken: { preview_features_enabled: 1 }, ...many };
  before(() => config.putSnapshot(others));

  for (const [id, preview] of [
    ["pat", true],
    ["a b", true],
    ["été", true],
    ["none", false],
    ["null", false],
    ["id-0", false],
    ["id-1", true],
    ["id-9999", true],
    ["id-5000", false],
  ]) {
    test(`${id} is in the snapshot`, async () => assertPage(await config.getPage(id), { preview, source: "snapshot" }));
  }

  test("a user in neither gets the regular page, without Config-Source", async () => {
    assertPage(await config.getPage("id-10000"), { preview: false });
  });

  test("a broken entry of the snapshot affects that user alone", async () => {
    assertPage(await config.getPage("broken"), { preview: false, source: "default" });
  });

  for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty", "records", "format"]) {
    test(`${name} is not a user`, async () => assertPage(await config.getPage(name), { preview: false }));
  }

  test("a user's record takes precedence", async () => {
    await config.putRecord("id-3", off);
    assertPage(await config.getPage("id-3"), { preview: false });
    await config.kv.delete("id-3");
    assertPage(await config.getPage("id-3"), { preview: true, source: "snapshot" });
  });

  test("a broken record with no earlier version in memory falls back to the snapshot, then to the defaults", async () => {
    await config.kv.put("id-5", "{");
    assertPage(await config.getPage("id-5"), { preview: true, source: "snapshot" });
    const id = uniqueName("in-neither");
    await config.kv.put(id, "{");
    assertPage(await config.getPage(id), { preview: false, source: "default" });
  });

  test("a broken record with an earlier version in memory does not", async () => {
    await config.putRecord("id-7", off);
    assertPage(await config.getPage("id-7"), { preview: false });
    await config.kv.put("id-7", "{");
    assertPage(await config.getPage("id-7"), { preview: false, source: "last-good" });
  });

  test("an unreadable record falls back to the snapshot", async () => {
    assertPage(await failing(config, "id-9", "500"), { preview: true, source: "snapshot" });
  });

  test("KV fails altogether: the snapshot in memory is served", async () => {
    assertPage(await config.getPage("id-11"), { preview: true, source: "snapshot" });
    assertPage(await config.getPage("id-11", { faults: { get: ["500"] } }), { preview: true, source: "stale" });
  });

  test("a new snapshot replaces the old one, and users it lacks are removed", async () => {
    await config.putSnapshot({ ...others, pat: off, new: on, "a b": undefined }, { version: 2 });
    assertPage(await config.getPage("pat"), { preview: false, source: "snapshot" });
    assertPage(await config.getPage("new"), { preview: true, source: "snapshot" });
    assertPage(await config.getPage("a b"), { preview: false });
    await config.putSnapshot(others, { version: 3 });
    assertPage(await config.getPage("pat"), { preview: true, source: "snapshot" });
  });

  const whole = snapshotOf({ pat: off }, 9);
  for (const [what, value] of [
    ["cut off", whole.slice(0, -1)],
    ["empty", ""],
    ["no object", "[]"],
    ["without records", '{"format":1,"version":9,"hash":"00000000000000000000000000000000","count":0}'],
    ["of another format", whole.replace('"format":1', '"format":2')],
    ["with records that are no object", '{"format":1,"version":9,"hash":"00000000000000000000000000000000","count":1,"records":[]}'],
  ]) {
    test(`a snapshot that is ${what} is broken: the last good one is served, and the log says so`, async () => {
      assertPage(await config.getPage("pat"), { preview: true, source: "snapshot" });
      const before = config.worker.log().length;
      await config.kv.put("snapshot", value);
      assertPage(await config.getPage("pat"), { preview: true, source: "last-good" });
      await eventually(() => config.worker.log().length > before, "a line in the log");
      await config.putSnapshot(others, { version: 4 });
    });
  }

  test("a snapshot that was never good does not affect users with records", async () => {
    await config.kv.put("snapshot", "{");
    await config.emptyMemory();
    await config.putRecord("own", on);
    assertPage(await config.getPage("own"), { preview: true });
    assertPage(await config.getPage("pat"), { preview: false, source: "default" });
    assertPage(await config.getPage("nobody"), { preview: false, source: "default" });
  });

  test("a missing snapshot is not a fault", async () => {
    await config.kv.delete("snapshot");
    await config.emptyMemory();
    assertPage(await config.getPage("pat"), { preview: false });
  });

  test("a snapshot of 10 MiB is read, a longer one is broken", async () => {
    const text = "x".repeat(100);
    const large = Object.fromEntries(Array.from({ length: 60_000 }, (_, index) => [`large-${index}`, { preview_features_enabled: index % 2 === 1, text }]));
    const padded = (version, length) => config.kv.put("snapshot", snapshotOf(large, version).padEnd(length, " "));
    await padded(5, SNAPSHOT_MAX);
    assertPage(await config.getPage("large-59999"), { preview: true, source: "snapshot" });
    assertPage(await config.getPage("large-59998"), { preview: false, source: "snapshot" });
    await padded(6, SNAPSHOT_MAX + 1);
    assertPage(await config.getPage("large-59999"), { preview: true, source: "last-good" });
    await config.emptyMemory();
    assertPage(await config.getPage("large-59999"), { preview: false, source: "default" });
  });
});

describe("a snapshot that was good", async () => {
  const config = await startConfig({ vars: { CONFIG_SNAPSHOT: "snapshot" } });
  const good = { sam: on, pat: { plan: "pro" }, "own-broken": on };
  before(() => config.putFlags({ pro: { default: "off", rules: [{ match: [{ attribute: "plan", eq: "pro" }], variant: "on" }] } }));

  /**
   * The states of the snapshot: its value in KV, or the fault of its reads, and the
   * `Config-Source` of a user who is in it, and of one who is in neither.
   */
  const snapshotStates = {
    good: { source: "snapshot", none: undefined },
    broken: { value: "{", source: "last-good", none: "default" },
    failing: { faults: { "get snapshot": ["500"] }, source: "stale", none: "stale" },
    gone: { value: null, none: undefined },
  };
  /**
   * A user, their record, their entry in the snapshot, and by the state of the snapshot: whether
   * there is a banner, and the `Config-Source`.
   */
  const users = [
    ["own", on, undefined, () => [true, undefined]],
    ["sam", undefined, on, ({ source }) => [source !== undefined, source]],
    ["pat", undefined, good.pat, ({ source }) => [false, source]],
    ["own-broken", "{", on, ({ source }) => [source !== undefined, source ?? "default"]],
    ["broken", "{", undefined, () => [false, "default"]],
    ["nobody", undefined, undefined, ({ none }) => [false, none]],
  ];
  for (const [how, state] of Object.entries(snapshotStates)) {
    for (const [id, ownRecord, inSnapshot, expected] of users) {
      const [preview, source] = expected(state);
      test(`is ${how} now: ${id} has ${source ?? "no source"}`, async () => {
        if (ownRecord) await config.putRecord(id, ownRecord);
        await config.putSnapshot(good);
        assertPage(await config.getPage("sam"), { preview: true, source: "snapshot" });
        if (state.value !== undefined) await (state.value === null ? config.kv.delete("snapshot") : config.kv.put("snapshot", state.value));
        const { faults } = state;
        for (let again = 0; again < 2; again += 1) assertPage(await config.getPage(id, { faults }), { preview, source });
        const record = typeof ownRecord === "object" ? ownRecord : source === "default" ? undefined : inSnapshot;
        const isFound = typeof ownRecord === "object" || (inSnapshot !== undefined && state.source !== undefined);
        const expectedUser = isFound ? { source: source ?? "record", config: record } : { source: source ?? "none", config: null };
        assert.deepEqual((await config.postUsers([id], { faults })).json().users[id], expectedUser);
        const flag = await config.evaluate("pro", { targetingKey: id, plan: "pro" }, { faults });
        assert.equal(flag.headers["config-source"], source);
        // The client's context counts if there is no record, but not if there may be a broken one.
        assert.equal(flag.json().value, isFound ? record.plan === "pro" || record.plan === undefined : source !== "default");
      });
    }
  }

  for (const [id, asked, preview, source] of [
    ["sam", true, true, "stale"],
    ["sam", false, true, "stale"],
    ["nobody", true, false, "stale"],
    ["nobody", false, false, "default"],
    ["own", true, true, "stale"],
    ["own", false, false, "default"],
  ]) {
    test(`all of KV fails: ${id}, who was ${asked ? "" : "not "}asked for before, has ${source}`, async () => {
      await config.putRecord("own", on);
      await config.putSnapshot(good);
      await config.emptyMemory();
      await config.getPage("sam-is-not-asked-for");
      if (asked) await config.getPage(id);
      assertPage(await config.getPage(id, { faults: { get: ["500"] } }), { preview, source });
    });
  }
});

test("made-up ids do not evict known users from memory", async () => {
  const config = await startConfig();
  const [id, madeUp] = [uniqueName("real"), uniqueName("made-up")];
  await config.putRecord(id, on);
  assertPage(await config.getPage(id), { preview: true });
  await config.kv.put(id, "{");
  for (let turn = 0; turn < 2; turn += 1) {
    const { users } = (await config.postUsers(Array.from({ length: 1000 }, (_, index) => `${madeUp}-${turn}-${index}`))).json();
    assert.equal(Object.keys(users).length, 1000);
    for (let from = 0; from < 20; from += 1) await config.getPage(`${madeUp}-${turn}-page-${from}`);
    assertPage(await config.getPage(id), { preview: true, source: "last-good" });
  }
});

// Without CONFIG_SNAPSHOT, or with that of another table, a snapshot is recognized by its content.
for (const vars of [{}, { CONFIG_SNAPSHOT: "another" }]) {
  describe(`a snapshot that the Worker does not know of (${JSON.stringify(vars)})`, async () => {
    const config = await startConfig({ vars });
    before(() => config.kv.put("everybody", snapshotOf({ sam: on }).replace("{", '{"preview_features_enabled":true,')));
    test("is not served as a record", async () => {
      const response = await config.getPage("everybody");
      assert.equal(response.status, 200);
      assert.doesNotMatch(response.text, /🎉/);
      assert.equal((await config.postUsers(["everybody"])).json().users.everybody.config, null);
    });
  });
}

// A key whose read fails or whose value is broken is not read again for five seconds (or
// CONFIG_REFRESH, if that is shorter) if no good value is in memory, which saves KV reads and log
// lines. With one, it is read again after CONFIG_REFRESH.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { assertPage, snapshotOf, startConfig } from "./harness/config.mjs";
import { eventually } from "./harness/eventually.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertEvaluated, assertOfrepError } from "./harness/ofrep.mjs";

const on = { preview_features_enabled: true, plan: "pro" };
const flags = { plain: { default: "on" }, plan: { default: "off", rules: [{ match: [{ attribute: "plan", eq: "pro" }], variant: "on" }] } };
const REQUESTS = 10;

/**
 * Why there is no good value: the value in KV or the fault of a read, the KV calls of one read,
 * and the code in the log.
 */
const reasons = [
  ["a broken value", { value: "{", calls: 1, code: "broken_record" }],
  ["a read that fails", { fault: "400", calls: 1, code: "kv_unavailable" }],
  ["a read that fails, also when it is tried again", { fault: "500", calls: 2, code: "kv_unavailable" }],
];

/** Returns the faults of the reads of a key, bulk reads included. */
const faultsOf = (key, fault) => fault && { [`get ${key}`]: [fault], bulk: [fault] };

/** Makes this many requests, and returns how often they read `key`. */
async function readsOf(config, key, request, requests = REQUESTS) {
  const { reads } = await config.recordReads(async () => {
    for (let turn = 0; turn < requests; turn += 1) await request(turn);
  });
  return reads.flat().filter((read) => read === key).length;
}

/** Returns the codes of all warnings in the log. */
const warnings = (config) =>
  config.worker
    .log()
    .filter(({ level }) => level === "warning")
    .map(({ code }) => code);

/**
 * Checks that a failing key costs the calls of one read and one log line, again after five
 * seconds, and that its value counts once it is good. `ask(reason, turn)` makes a request and
 * checks the response; `askGood` does so once the key is good.
 */
async function assertBackoff(config, key, reason, good, ask, askGood) {
  await config.kv.put(key, reason.value ?? good);
  const known = warnings(config).length;
  for (let time = 1; time <= 2; time += 1) {
    assert.equal(await readsOf(config, key, (turn) => ask(reason, `${time}-${turn}`)), reason.calls);
    await eventually(() => warnings(config).length >= known + time, "a line in the log");
    assert.deepEqual(warnings(config).slice(known), Array(time).fill(reason.code));
    await config.advanceClock(5);
  }
  await config.kv.put(key, good);
  assert.equal(await readsOf(config, key, askGood), 1);
  assert.equal(warnings(config).length, known + 2);
}

describe("a user's record", async () => {
  const config = await startConfig({ refresh: "30" });
  before(() => config.putFlags(flags));

  /**
   * For each route, a request that checks that a user's record is not available (`unknown`), or
   * that it is (`known`).
   */
  const routes = {
    "GET /config": {
      unknown: async (id, faults) => assertPage(await config.getPage(id, { faults }), { preview: false, source: "default" }),
      known: async (id) => assertPage(await config.getPage(id), { preview: true }),
    },
    "POST /config": {
      unknown: async (id, faults) => assert.deepEqual((await config.postUsers([id], { faults })).json().users, { [id]: { source: "default", config: null } }),
      known: async (id) => assert.deepEqual((await config.postUsers([id])).json().users, { [id]: { source: "record", config: on } }),
    },
    OFREP: {
      unknown: async (id, faults) => {
        const response = await config.evaluate("plan", { targetingKey: id, plan: "pro" }, { faults });
        assertEvaluated(response, { key: "plan", variant: "off", value: false, reason: "DEFAULT", source: "default" });
      },
      known: async (id) => assert.equal((await config.evaluate("plan", { targetingKey: id })).json().value, true),
    },
  };
  for (const [route, { unknown, known }] of Object.entries(routes)) {
    for (const [what, reason] of reasons) {
      test(`${route}: ${what}`, async () => {
        const id = uniqueName("user");
        await config.evaluate("plain", {});
        await assertBackoff(
          config,
          id,
          reason,
          JSON.stringify(on),
          ({ fault }) => unknown(id, faultsOf(id, fault)),
          () => known(id),
        );
      });
    }
  }

  test("no route reads it again", async () => {
    for (const first of Object.keys(routes)) {
      const id = uniqueName("user");
      await config.kv.put(id, "{");
      await routes[first].unknown(id);
      for (const { unknown } of Object.values(routes)) assert.deepEqual((await config.recordReads(() => unknown(id))).reads, []);
    }
  });

  test("other users of the same request are read", async () => {
    const [bad, good] = [uniqueName("bad"), uniqueName("good")];
    await config.kv.put(bad, "{");
    await config.getPage(bad);
    await config.putRecord(good, on);
    const { response, reads } = await config.recordReads(() => config.postUsers([bad, good]));
    assert.deepEqual(reads, [[good]]);
    assert.deepEqual(response.json().users, { [bad]: { source: "default", config: null }, [good]: { source: "record", config: on } });
  });

  test("with a good record in memory, a broken one is read again after CONFIG_REFRESH, not after five seconds", async () => {
    const id = uniqueName("user");
    await config.putRecord(id, on);
    await config.getPage(id);
    await config.kv.put(id, "{");
    await config.advanceClock(61);
    assert.equal(await readsOf(config, id, async () => assertPage(await config.getPage(id), { preview: true, source: "last-good" })), 1);
    await config.advanceClock(6);
    assert.equal(await readsOf(config, id, () => config.getPage(id)), 0);
  });

  test("a record that was read over an hour ago does not count as a good one in memory if the read fails", async () => {
    const id = uniqueName("user");
    await config.putRecord(id, on);
    await config.getPage(id);
    await config.advanceClock(60 * 60 + 1);
    const faults = { [`get ${id}`]: ["400"] };
    assert.equal(await readsOf(config, id, async () => assertPage(await config.getPage(id, { faults }), { preview: false, source: "default" })), 1);
    await config.advanceClock(5);
    assertPage(await config.getPage(id), { preview: true });
  });
});

describe("the flags' definitions", async () => {
  const config = await startConfig({ refresh: "30" });
  const stateOf = async (faults) => (await config.request("GET", "/healthz", { faults })).json().flags;
  const errorOf = ({ fault }) => (fault ? [503, "GENERAL"] : [500, "PARSE_ERROR"]);
  const routes = {
    "one flag": {
      unknown: async (reason, faults) => assertOfrepError(await config.evaluate("plain", {}, { faults }), ...errorOf(reason), "plain"),
      known: async () => assert.equal((await config.evaluate("plain", {})).status, 200),
    },
    "all flags": {
      unknown: async (reason, faults) => assertOfrepError(await config.evaluateAll({}, { faults }), ...errorOf(reason)),
      known: async () => assert.equal((await config.evaluateAll({})).status, 200),
    },
    "/healthz": {
      unknown: async ({ fault }, faults) => assert.equal((await stateOf(faults)).state, fault ? "unavailable" : "broken"),
      known: async () => assert.deepEqual(await stateOf(), { state: "current", count: 2 }),
    },
  };
  for (const [route, { unknown, known }] of Object.entries(routes)) {
    for (const [what, reason] of reasons) {
      test(`${route}: ${what}`, async () => {
        await config.emptyMemory();
        const good = JSON.stringify({ flags });
        await assertBackoff(config, "flags", reason, good, (why) => unknown(why, faultsOf("flags", why.fault)), known);
      });
    }
  }

  test("no route reads them again, and all give the same error", async () => {
    await config.kv.put("flags", "{");
    await config.emptyMemory();
    await stateOf();
    for (const { unknown } of Object.values(routes)) assert.deepEqual((await config.recordReads(() => unknown({}))).reads, []);
    assert.deepEqual(await stateOf(), { state: "broken", count: 0, problem: "invalid JSON at line 1, column 1" });
  });
});

describe("the snapshot", async () => {
  const config = await startConfig({ refresh: "30", vars: { CONFIG_SNAPSHOT: "snapshot" } });
  let users = [];
  const routes = {
    "GET /config": {
      unknown: async (id, faults) => assertPage(await config.getPage(id, { faults }), { preview: false, source: "default" }),
      known: async (id) => assertPage(await config.getPage(id), { preview: true, source: "snapshot" }),
    },
    "POST /config": {
      unknown: async (id, faults) => {
        const all = [id, `${id}-a`, `${id}-b`];
        assert.deepEqual(
          (await config.postUsers(all, { faults })).json().users,
          Object.fromEntries(all.map((one) => [one, { source: "default", config: null }])),
        );
      },
      known: async (id) => assert.deepEqual((await config.postUsers([id])).json().users, { [id]: { source: "snapshot", config: on } }),
    },
  };
  for (const [route, { unknown, known }] of Object.entries(routes)) {
    for (const [what, reason] of reasons) {
      test(`${route}: ${what}, for all users`, async () => {
        await config.emptyMemory();
        users = Array.from({ length: REQUESTS }, (_, index) => `user-${index}`);
        const good = snapshotOf(Object.fromEntries(users.map((id) => [id, on])));
        const faults = reason.fault && { "get snapshot": [reason.fault] };
        await assertBackoff(
          config,
          "snapshot",
          reason,
          good,
          (_, turn) => unknown(`other-${turn}`, faults),
          (turn) => known(users[turn]),
        );
      });
    }
  }
});

describe("a failing key is not skipped for longer than CONFIG_REFRESH", async () => {
  const config = await startConfig({ vars: { CONFIG_SNAPSHOT: "snapshot" } });
  for (const [refresh, expected] of [
    ["0", 3],
    ["2", 1],
  ]) {
    test(`CONFIG_REFRESH = ${refresh}: ${expected} of 3 requests read`, async () => {
      await config.worker.setVars({ CONFIG_REFRESH: refresh });
      for (const key of ["user", "flags", "snapshot"]) await config.kv.put(key, "{");
      const asking = { user: () => config.getPage("user"), flags: () => config.evaluate("plain", {}), snapshot: (turn) => config.postUsers([`other-${turn}`]) };
      for (const [key, ask] of Object.entries(asking)) {
        await config.advanceClock(10);
        assert.equal(await readsOf(config, key, ask, 3), expected, key);
        await config.advanceClock(2);
        assert.equal(await readsOf(config, key, ask, 3), expected, key);
      }
    });
  }
});

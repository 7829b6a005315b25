// OFREP if an edit breaks the definitions or KV fails; and what evaluations cost in KV reads.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { startConfig } from "./harness/config.mjs";
import { eventually } from "./harness/eventually.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertEvaluated, assertOfrepError } from "./harness/ofrep.mjs";

const plain = (variant, source) => ({ key: "plain", variant, value: variant === "on", reason: "STATIC", source });
const on = { plain: { default: "on" }, plan: { default: "off", rules: [{ match: [{ attribute: "plan", eq: "pro" }], variant: "on" }] } };
const plans = {
  ...on,
  "not-free": { default: "off", rules: [{ match: [{ attribute: "plan", eq: "free", not: true }], variant: "on" }] },
  who: { default: "off", rules: [{ match: [{ attribute: "targetingKey", eq: "root" }], variant: "on" }] },
};
const off = { ...on, plain: { default: "off" } };

const DEFINITIONS_MAX = 2 * 1024 * 1024;

const brokenEdits = [
  "{",
  "",
  "null",
  "[]",
  '{"flags":[]}',
  '{"flags":{"plain":{"default":"none"}}}',
  '{"flags":{"plain":{"default":"on","rulez":[]}}}',
  '{"flags":{"plain":{"default":"on"}},"other":1}',
  new Uint8Array([0xff, 0xfe]),
];
const failures = ["500", "429", "no response", "throws a string", "throws undefined"];

describe("edits", async () => {
  const config = await startConfig();

  for (const edit of brokenEdits) {
    const shown = typeof edit === "string" ? JSON.stringify(edit) : "bytes that are not UTF-8";
    test(`a broken edit keeps the last good definitions, with Config-Source: ${shown}`, async () => {
      await config.putFlags(on);
      assertEvaluated(await config.evaluate("plain", {}), plain("on"));
      await config.kv.put("flags", edit);
      for (let again = 0; again < 2; again += 1) {
        assertEvaluated(await config.evaluate("plain", {}), plain("on", "last-good"));
        const all = await config.evaluateAll({});
        assert.equal(all.status, 200);
        assert.equal(all.headers["config-source"], "last-good");
        const same = await config.evaluateAll({}, { headers: { "If-None-Match": all.headers.etag } });
        assert.equal(same.status, 304);
        assert.equal(same.headers["config-source"], "last-good");
      }
      await config.putFlags(off);
      assertEvaluated(await config.evaluate("plain", {}), plain("off"));
      assert.equal((await config.evaluateAll({})).headers["config-source"], undefined);
    });
  }

  test("an unknown flag after a broken edit has Config-Source too", async () => {
    await config.putFlags(on);
    await config.evaluate("plain", {});
    await config.kv.put("flags", '{"flags":{"new":{"default":"none"}}}');
    const response = await config.evaluate("new", {});
    assertOfrepError(response, 404, "FLAG_NOT_FOUND", "new");
    assert.equal(response.headers["config-source"], "last-good");
  });

  test("deleted definitions are no flags", async () => {
    await config.putFlags(on);
    assertEvaluated(await config.evaluate("plain", {}), plain("on"));
    await config.kv.delete("flags");
    assertOfrepError(await config.evaluate("plain", {}), 404, "FLAG_NOT_FOUND", "plain");
  });

  test("broken definitions after none: 500, though the missing ones are in memory", async () => {
    for (const edit of brokenEdits) {
      await config.kv.delete("flags");
      assertOfrepError(await config.evaluate("plain", {}), 404, "FLAG_NOT_FOUND", "plain");
      await config.kv.put("flags", edit);
      assertOfrepError(await config.evaluate("plain", {}), 500, "PARSE_ERROR", "plain");
      assertOfrepError(await config.evaluateAll({}), 500, "PARSE_ERROR");
    }
    await config.kv.delete("flags");
    assert.deepEqual((await config.evaluateAll({})).json(), { flags: [] });
  });

  test("definitions that were never good: 500 without details, until they are repaired", async () => {
    await config.kv.put("flags", '{"flags":{"a-secret-flag":{"default":"none"}}}');
    await config.emptyMemory();
    for (let again = 0; again < 2; again += 1) {
      const one = await config.evaluate("plain", {});
      assertOfrepError(one, 500, "PARSE_ERROR", "plain");
      const all = await config.evaluateAll({});
      assertOfrepError(all, 500, "PARSE_ERROR");
      for (const { text } of [one, all]) assert.doesNotMatch(text, /a-secret-flag/);
    }
    await eventually(() => config.worker.log().some(({ detail }) => detail?.includes("default")), "the log names the place");
    await config.putFlags(on);
    assertEvaluated(await config.evaluate("plain", {}), plain("on"));
  });
});

describe("KV fails", async () => {
  const config = await startConfig();

  for (const fault of failures) {
    test(`${fault}: the definitions in memory are used, without them it is 503`, async () => {
      await config.putFlags(plans);
      await config.emptyMemory();
      const faults = { "get flags": [fault] };
      assertOfrepError(await config.evaluate("plain", {}, { faults }), 503, "GENERAL", "plain");
      assertOfrepError(await config.evaluateAll({}, { faults }), 503, "GENERAL");
      assertEvaluated(await config.evaluate("plain", {}), plain("on"));
      assertEvaluated(await config.evaluate("plain", {}, { faults }), plain("on", "stale"));
      assert.equal((await config.evaluateAll({}, { faults })).headers["config-source"], "stale");
      assertEvaluated(await config.evaluate("plain", {}), plain("on"));
    });
  }

  test("a read that fails once is retried", async () => {
    await config.emptyMemory();
    assertEvaluated(await config.evaluate("plain", {}, { faults: { get: ["500", "ok"] } }), plain("on"));
  });

  test("a user's record in memory is used if it cannot be read", async () => {
    const targetingKey = uniqueName("user");
    await config.putRecord(targetingKey, { plan: "pro" });
    assert.equal((await config.evaluate("plan", { targetingKey })).json().value, true);
    const response = await config.evaluate("plan", { targetingKey, plan: "free" }, { faults: { [`get ${targetingKey}`]: ["500"] } });
    assert.equal(response.status, 200);
    assert.equal(response.json().value, true);
  });

  test("a user's record that breaks is used as it was before", async () => {
    const targetingKey = uniqueName("user");
    await config.putRecord(targetingKey, { plan: "pro" });
    assert.equal((await config.evaluate("plan", { targetingKey })).json().value, true);
    await config.kv.put(targetingKey, "{");
    assert.equal((await config.evaluate("plan", { targetingKey })).json().value, true);
  });

  for (const [what, faults, record] of [
    ["cannot be read", ["500"], { plan: "pro" }],
    ["is broken", ["ok"], "{"],
  ]) {
    test(`with a user's record that ${what}, and none in memory, no rule on an attribute but targetingKey matches, whatever the client's context`, async () => {
      const targetingKey = uniqueName("user");
      await config.putRecord(targetingKey, record);
      const unread = { faults: { [`get ${targetingKey}`]: faults } };
      for (const claims of [{}, { plan: "pro" }, { plan: "free" }]) {
        for (const key of ["plan", "not-free"]) {
          const response = await config.evaluate(key, { targetingKey, ...claims }, unread);
          assertEvaluated(response, { key, variant: "off", value: false, reason: "DEFAULT", source: "default" });
        }
        const all = await config.evaluateAll({ targetingKey, ...claims }, unread);
        assert.equal(all.headers["config-source"], "default");
        assert.deepEqual(
          all.json().flags.map(({ key, value }) => [key, value]),
          [
            ["not-free", false],
            ["plain", true],
            ["plan", false],
            ["who", false],
          ],
        );
      }
      const who = await config.evaluate("who", { targetingKey: "root" }, { faults: { "get root": ["500"] } });
      assertEvaluated(who, { key: "who", variant: "on", value: true, reason: "TARGETING_MATCH" });
    });
  }

  test("the client's context counts if there is no record, or no targeting key", async () => {
    for (const context of [{ targetingKey: uniqueName("user") }, {}]) {
      assert.equal((await config.evaluate("plan", { ...context, plan: "pro" })).json().value, true);
      assert.equal((await config.evaluate("not-free", { ...context, plan: "free" })).json().value, false);
    }
  });

  test("no log line contains a user's id, context or record", async () => {
    const targetingKey = uniqueName("a-private-person");
    const lines = () => config.worker.log().length;
    const before = lines();
    const faults = { [`get ${targetingKey}`]: ["500"] };
    for (const record of ['{"plan":"a-private-plan"}', '{"plan":"a-private-plan"', '{"preview_features_enabled":"a-private-plan"}']) {
      await config.putRecord(targetingKey, record);
      for (const options of [{}, { faults }]) {
        await config.evaluate("plan", { targetingKey, plan: "a-private-claim" }, options);
        await config.evaluateAll({ targetingKey, plan: "a-private-claim" }, options);
        await config.getPage(targetingKey, options);
        await config.postUsers([targetingKey], options);
      }
    }
    await eventually(() => lines() > before, "lines in the log");
    assert.deepEqual(
      config.worker.lines().filter((line) => line.includes("a-private")),
      [],
    );
  });

  test("the binding is missing: 503", async () => {
    await config.emptyMemory();
    const headers = { "X-Kv-Faults": JSON.stringify({ USER_CONFIGURATION: "missing" }) };
    assertOfrepError(await config.evaluate("plain", {}, { headers }), 503, "GENERAL", "plain");
  });
});

describe("reads", async () => {
  const config = await startConfig({ refresh: "30" });
  before(() => config.putFlags(on));
  const reading = (action, options) => config.recordReads(action, options);

  test("without a targeting key the first evaluation reads the definitions, the next ones nothing", async () => {
    await config.emptyMemory();
    assert.deepEqual((await reading(() => config.evaluate("plain", {}))).reads, ["flags"]);
    for (const action of [
      () => config.evaluate("plain", {}),
      () => config.evaluate("plan", { plan: "pro" }),
      () => config.evaluateAll({}),
      () => config.evaluate("none", {}),
    ]) {
      assert.deepEqual((await reading(action)).reads, []);
    }
  });

  test("a user's record is read once, and shared with /config", async () => {
    const [one, two] = [uniqueName("user"), uniqueName("user")];
    await config.putRecord(one, { plan: "pro", preview_features_enabled: true });
    await config.evaluate("plain", {});
    const first = await reading(() => config.evaluate("plan", { targetingKey: one }));
    assert.deepEqual(first.reads, [one]);
    assert.equal(first.response.json().value, true);
    assert.deepEqual((await reading(() => config.evaluateAll({ targetingKey: one }))).reads, []);
    const page = await reading(() => config.getPage(one));
    assert.deepEqual(page.reads, []);
    assert.match(page.response.text, /🎉/);
    await config.getPage(two);
    assert.deepEqual((await reading(() => config.evaluateAll({ targetingKey: two }))).reads, []);
  });

  test("flags whose rules read no attribute but targetingKey need no record", async () => {
    await config.putFlags({
      plain: { default: "on" },
      split: {
        default: "off",
        rules: [{ deny: ["x"] }, { allow: ["y"], percentage: 50, variant: "on" }, { match: [{ attribute: "targetingKey", startsWith: "z" }], variant: "on" }],
      },
    });
    await config.emptyMemory();
    await config.evaluate("plain", {});
    const context = { targetingKey: uniqueName("user") };
    for (const [status, action] of [
      [200, () => config.evaluate("plain", context)],
      [200, () => config.evaluate("split", context)],
      [404, () => config.evaluate("none", context)],
      [200, () => config.evaluateAll(context)],
    ]) {
      const { response, reads } = await reading(action);
      assert.equal(response.status, status);
      assert.deepEqual(reads, []);
    }
    await config.putFlags(on);
    await config.emptyMemory();
  });

  test("definitions of 2 MiB fit in memory, and survive a broken edit", async () => {
    const list = (from) => Array.from({ length: 10_000 }, (_, index) => `user-${from}-${index}`);
    const large = Object.fromEntries(
      Array.from({ length: 12 }, (_, index) => [`flag-${index}`, { default: "off", rules: [{ allow: list(index), variant: "on" }] }]),
    );
    const text = JSON.stringify({ flags: { ...on, ...large } });
    assert.ok(text.length > 1_600_000 && text.length < DEFINITIONS_MAX, `${text.length}`);
    await config.putFlags(text.padEnd(DEFINITIONS_MAX, " "));
    await config.emptyMemory();
    assert.deepEqual((await reading(() => config.evaluate("plain", {}))).reads, ["flags"]);
    assert.deepEqual((await reading(() => config.evaluate("plain", {}))).reads, []);
    assert.equal((await config.evaluate("flag-11", { targetingKey: "user-11-9999" })).json().value, true);
    for (const edit of ["{", JSON.stringify({ flags: off }).padEnd(DEFINITIONS_MAX + 1, " ")]) {
      await config.kv.put("flags", edit);
      await config.advanceClock(24 * 60 * 60);
      assertEvaluated(await config.evaluate("plain", {}), plain("on", "last-good"));
    }
    await config.putFlags(on);
    await config.advanceClock(24 * 60 * 60);
  });

  test("missing definitions are remembered", async () => {
    await config.kv.delete("flags");
    await config.emptyMemory();
    assert.deepEqual((await reading(() => config.evaluateAll({}))).reads, ["flags"]);
    assert.deepEqual((await reading(() => config.evaluateAll({}))).reads, []);
    await config.putFlags(on);
  });

  // For twenty times CONFIG_REFRESH, 600 s, definitions are used while they are read again; real
  // time passes, too.
  for (const [seconds, isBlocking] of [
    [31, false],
    [61, false],
    [595, false],
    [601, true],
  ]) {
    test(`definitions that were read ${seconds} s ago are read again ${isBlocking ? "before the response" : "in the background"}`, async () => {
      await config.putFlags(on);
      await config.emptyMemory();
      await config.evaluate("plain", {});
      await config.putFlags(off);
      await config.advanceClock(seconds);
      const { response, reads } = await reading(() => config.evaluate("plain", {}), { background: 1 });
      assertEvaluated(response, plain(isBlocking ? "off" : "on"));
      assert.deepEqual(reads, ["flags"]);
      await eventually(async () => (await config.evaluateAll({})).json().flags[0].value === false, "the new definitions count");
      assert.deepEqual((await reading(() => config.evaluate("plain", {}))).reads, []);
      await config.putFlags(on);
    });
  }

  for (const [method, path, options] of [
    ["GET", "/ofrep/v1/evaluate/flags", {}],
    ["OPTIONS", "/ofrep/v1/evaluate/flags", {}],
    ["POST", "/ofrep/v1/evaluate/flags", { body: "{" }],
    ["POST", "/ofrep/v1/evaluate/flags/plain", { body: { context: 7 } }],
  ]) {
    test(`${method} ${path} ${options.body ? JSON.stringify(options.body) : ""} reads nothing, also at first`, async () => {
      await config.emptyMemory();
      assert.deepEqual((await reading(() => config.request(method, path, options))).reads, []);
    });
  }

  test("evaluations do not wait for a slow KV if definitions are in memory", async () => {
    await config.emptyMemory();
    await config.evaluate("plain", {});
    await config.advanceClock(61);
    const started = Date.now();
    const { response } = await reading(() => config.evaluate("plain", {}, { faults: { get: ["slow for 20000"] } }));
    assertEvaluated(response, plain("on"));
    assert.ok(Date.now() - started < 15_000);
  });
});

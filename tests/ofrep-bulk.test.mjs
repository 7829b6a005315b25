// OFREP: the evaluation of all flags, and its entity tag.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { before, describe, test } from "node:test";
import { startConfig } from "./harness/config.mjs";
import { uniqueName } from "./harness/names.mjs";

const config = await startConfig();
const { evaluateAll } = config;

const flags = {
  zebra: { default: "on" },
  Upper: { default: "off", metadata: { owner: "shop" } },
  plan: { default: "off", rules: [{ match: [{ attribute: "plan", eq: "pro" }], variant: "on" }] },
  split: { variants: { a: "a", b: "b" }, default: "b", rules: [{ percentage: 100, variant: "a" }] },
  disabled: { on: false, default: "on", off: "off" },
};
before(() => config.putFlags(flags));

/** Checks a response with all flags, and returns them by key. */
function flagsOf(response) {
  assert.equal(response.status, 200, response.text);
  assert.match(response.headers["content-type"], /^application\/json\b/);
  assert.match(response.headers.etag, /^"[0-9a-f]{32}"$/);
  assert.match(response.headers["cache-control"], /\bprivate\b.*\bno-cache\b/);
  assert.equal(response.headers.etag, `"${createHash("sha256").update(response.bytes).digest("hex").slice(0, 32)}"`);
  const { flags, ...rest } = response.json();
  assert.deepEqual(rest, {});
  assert.deepEqual(
    flags.map(({ key }) => key),
    flags.map(({ key }) => key).toSorted(),
  );
  return Object.fromEntries(flags.map(({ key, ...flag }) => [key, flag]));
}

test("all flags are in the response, ordered by key, with the result that each has on its own", async () => {
  for (const context of [{}, { targetingKey: "user", plan: "pro" }, { plan: "free" }]) {
    const all = flagsOf(await evaluateAll(context));
    assert.deepEqual(Object.keys(all).toSorted(), Object.keys(flags).toSorted());
    for (const key of Object.keys(flags)) {
      const { key: named, errorDetails, ...one } = (await config.evaluate(key, context)).json();
      assert.equal(named, key);
      const { errorDetails: _text, ...inBulk } = all[key];
      assert.deepEqual(inBulk, one);
    }
  }
});

test("a flag that fails has an error, and the others are evaluated", async () => {
  const { split, zebra } = flagsOf(await evaluateAll({}));
  assert.equal(split.errorCode, "TARGETING_KEY_MISSING");
  assert.equal(split.value, undefined);
  assert.deepEqual(zebra, { value: true, variant: "on", reason: "STATIC" });
});

test("without definitions there are no flags", async () => {
  await config.kv.delete("flags");
  assert.deepEqual(flagsOf(await evaluateAll({})), {});
  await config.putFlags({});
  assert.deepEqual(flagsOf(await evaluateAll({})), {});
  await config.putFlags(flags);
});

test("a thousand flags are evaluated", async () => {
  const many = Object.fromEntries(
    Array.from({ length: 1000 }, (_, index) => [`flag-${index}`, { default: "off", rules: [{ percentage: 50, variant: "on" }] }]),
  );
  await config.putFlags(many);
  const all = Object.values(flagsOf(await evaluateAll({ targetingKey: "user" })));
  assert.equal(all.length, 1000);
  // A user is in about half of the rollouts, since flags are independent.
  const on = all.filter(({ value }) => value).length;
  assert.ok(on > 420 && on < 580, `${on}`);
  await config.putFlags(flags);
});

describe("If-None-Match", () => {
  const ask = (context, tag) => evaluateAll(context, { headers: { "If-None-Match": tag } });
  const opaque = (tag) => tag.slice(1, -1);

  const fields = [
    ["the tag", (tag) => tag, true],
    ["the tag, weak", (tag) => `W/${tag}`, true],
    ["any", () => "*", true],
    ["a list with it", (tag) => `"a", W/"b" ,${tag}`, true],
    ["a list with an empty element", (tag) => `, ${tag}`, true],
    ["the tag after one that contains a comma", (tag) => `"a,b", ${tag}`, true],
    ["another tag", () => '"another"', false],
    ["a list without it", () => '"a", W/"b"', false],
    ["the tag, typed by hand without its quotes", (tag) => opaque(tag), true],
    ["a part of the tag", (tag) => `"${opaque(tag).slice(1)}"`, false],
    ["the tag within another", (tag) => `"a ${opaque(tag)}"`, false],
    ["nothing", () => "", false],
  ];
  for (const [what, field, isSame] of fields) {
    test(`${what} causes a ${isSame ? "304" : "200"}`, async () => {
      const context = { targetingKey: "user", plan: "pro" };
      const { headers } = await evaluateAll(context);
      const response = await ask(context, field(headers.etag));
      assert.equal(response.status, isSame ? 304 : 200);
      assert.equal(response.headers.etag, headers.etag);
      assert.equal(response.headers["cache-control"], headers["cache-control"]);
      if (isSame) assert.equal(response.bytes.length, 0);
      else flagsOf(response);
    });
  }

  /** What changes between two requests, and whether the response does. */
  const changes = [
    ["nothing", () => {}, false],
    ["a definition", () => config.putFlags({ ...flags, zebra: { default: "off" } }), true],
    ["a variant of the same value", () => config.putFlags({ ...flags, zebra: { variants: { yes: true }, default: "yes" } }), true],
    ["metadata", () => config.putFlags({ ...flags, zebra: { default: "on", metadata: { a: 1 } } }), true],
    ["the number of flags", () => config.putFlags({ ...flags, more: { default: "on" } }), true],
    ["a description", () => config.putFlags({ ...flags, zebra: { default: "on", description: "text" } }), false],
    ["the user's record", (id) => config.putRecord(id, { plan: "pro" }), true],
    ["an attribute of the user's record that no flag reads", (id) => config.putRecord(id, { theme: "dark" }), false],
  ];
  for (const [what, change, isOther] of changes) {
    test(`${what} changes: ${isOther ? "200" : "304"}`, async () => {
      await config.putFlags(flags);
      const targetingKey = uniqueName("user");
      const first = await evaluateAll({ targetingKey });
      await change(targetingKey);
      const second = await ask({ targetingKey }, first.headers.etag);
      assert.equal(second.status, isOther ? 200 : 304);
      assert.equal(second.headers.etag !== first.headers.etag, isOther);
      await config.putFlags(flags);
      await config.kv.delete(targetingKey);
      assert.equal((await ask({ targetingKey }, first.headers.etag)).status, 304);
    });
  }

  test("another context changes the tag only if it changes the response", async () => {
    const { etag } = (await evaluateAll({ targetingKey: "user" })).headers;
    assert.equal((await ask({ targetingKey: "user", plan: "pro" }, etag)).status, 200);
    assert.equal((await ask({ targetingKey: "user", other: 1 }, etag)).status, 304);
  });

  test("the evaluation of one flag has no entity tag", async () => {
    const response = await config.evaluate("zebra", {}, { headers: { "If-None-Match": "*" } });
    assert.equal(response.status, 200);
    assert.equal(response.headers.etag, undefined);
  });

  for (const body of ["{", '{"context":7}']) {
    test(`an error never matches: ${body}`, async () => {
      const response = await config.request("POST", "/ofrep/v1/evaluate/flags", { body, headers: { "If-None-Match": "*" } });
      assert.equal(response.status, 400);
    });
  }
});

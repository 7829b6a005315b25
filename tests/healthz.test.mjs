// `GET /healthz`: that the Worker is there, and how it stands with the flags' definitions. Never more than the place of a fault.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { startConfig } from "./harness/config.mjs";
import { eventually } from "./harness/eventually.mjs";

const cargo = await readFile(new URL("../Cargo.toml", import.meta.url), "utf8");
const [, version] = cargo.match(/^version\s*=\s*"([^"]+)"/m);

const good = { a: { default: "on" }, b: { default: "off" } };

describe("the flags", async () => {
  const config = await startConfig();

  /** Checks the answer; what it says of the flags. */
  async function stateOf(options) {
    const response = await config.ask("GET", "/healthz", options);
    assert.equal(response.status, 200, response.text);
    assert.match(response.headers["content-type"], /^application\/json\b/);
    assert.equal(response.headers["cache-control"], "no-store");
    const { flags, ...rest } = response.json();
    assert.deepEqual(rest, { status: "ok", version });
    return flags;
  }

  const failing = { faults: { get: ["500"] } };

  test("no definitions", async () => {
    assert.deepEqual(await stateOf(), { state: "none", count: 0 });
  });

  for (const broken of ["{", ""]) {
    test(`the first definitions of all are broken: ${JSON.stringify(broken)}`, async () => {
      await config.kv.delete("flags");
      await stateOf();
      await config.kv.put("flags", broken);
      const { state, count, problem } = await stateOf();
      assert.match(state, /^(last-good|broken)$/);
      assert.equal(count, 0);
      assert.equal(typeof problem, "string");
    });
  }

  test("definitions", async () => {
    await config.define(good);
    assert.deepEqual(await stateOf(), { state: "current", count: 2 });
  });

  test("KV fails, and definitions are remembered", async () => {
    assert.deepEqual(await stateOf(failing), { state: "stale", count: 2 });
    assert.deepEqual(await stateOf(), { state: "current", count: 2 });
  });

  /** Edits, and where they are broken. */
  const broken = [
    [{ flags: { x: { default: "none" } } }, "flags.x.default"],
    [{ flags: { x: { default: "on", rules: [{ percentage: 5, variant: "none" }] } } }, "flags.x.rules[0].variant"],
    [{ flags: { x: { default: "on", rules: [{ percentage: 101, variant: "on" }] } } }, "flags.x.rules[0].percentage"],
    [{ flags: { x: { default: "on", rules: [{ match: [{ attribute: "a", is: 1 }], variant: "on" }] } } }, "flags.x.rules[0].match[0]"],
    [{ flags: { x: { default: "on", variants: { on: 1, off: "a" } } } }, "flags.x.variants"],
    [{ flags: [] }, "flags"],
  ];
  for (const [edit, place] of broken) {
    test(`an edit breaks ${place}`, async () => {
      await config.define(good);
      await stateOf();
      await config.kv.put("flags", JSON.stringify(edit));
      const { state, count, problem, ...rest } = await stateOf();
      assert.deepEqual({ state, count, rest }, { state: "last-good", count: 2, rest: {} });
      assert.ok(problem.startsWith(place), problem);
      await config.define(good);
      assert.deepEqual(await stateOf(), { state: "current", count: 2 });
    });
  }

  test("nothing that the definitions hold is told, only names of members and flags", async () => {
    await config.define(good);
    await stateOf();
    for (const edit of [
      { flags: { x: { default: "a-secret", description: "a-secret", metadata: { a: "a-secret" }, variants: { "b": "a-secret" } } } },
      { flags: { x: { default: "on", rules: [{ allow: ["a-secret", 7], variant: "on" }, { match: [{ attribute: "a", semverGte: "a-secret" }], variant: "on" }] } } },
      { flags: { x: { default: "on", rules: [{ deny: "a-secret" }] } } },
    ]) {
      await config.kv.put("flags", JSON.stringify(edit));
      const flags = await stateOf();
      assert.equal(flags.state, "last-good");
      assert.doesNotMatch(JSON.stringify(flags), /a-secret/);
    }
    await config.kv.put("flags", '{"flags": a-secret');
    assert.doesNotMatch(JSON.stringify(await stateOf()), /a-secret/);
  });

  test("definitions that are broken from the beginning", async () => {
    await config.kv.put("flags", '{"flags":{"x":{"default":"none"}}}');
    await config.restart();
    const { problem, ...rest } = await stateOf();
    assert.deepEqual(rest, { state: "broken", count: 0 });
    assert.ok(problem.startsWith("flags.x.default"), problem);
  });

  test("KV fails, and none are remembered", async () => {
    await config.define(good);
    await config.restart();
    const { problem, ...rest } = await stateOf(failing);
    assert.deepEqual(rest, { state: "unavailable", count: 0 });
    assert.doesNotMatch(problem ?? "", /failed: \d{3}|Internal Server Error/);
    assert.deepEqual(await stateOf(), { state: "current", count: 2 });
  });

  test("HEAD has no body, other methods are answered 405", async () => {
    const head = await config.ask("HEAD", "/healthz");
    assert.equal(head.status, 200);
    assert.equal(head.text, "");
    const post = await config.ask("POST", "/healthz");
    assert.equal(post.status, 405);
    assert.equal(post.headers.allow, "GET, HEAD");
  });
});

describe("reads", async () => {
  const config = await startConfig({ refresh: "30" });

  test("it costs one read in the time, of which evaluations have use", async () => {
    await config.define(good);
    assert.deepEqual((await config.reading(() => config.healthz())).reads, ["flags"]);
    assert.deepEqual((await config.reading(() => config.healthz())).reads, []);
    assert.deepEqual((await config.reading(() => config.evaluate("a", {}))).reads, []);
  });

  test("an edit is seen after the time", async () => {
    await config.define({ ...good, c: { default: "on" } });
    assert.equal((await config.healthz()).flags.count, 2);
    await config.pass(31);
    await eventually(async () => (await config.healthz()).flags.count === 3, "the edit is seen");
  });
});

test("a KV that never answers does not keep it for long", async () => {
  const config = await startConfig();
  const started = Date.now();
  const response = await config.ask("GET", "/healthz", { faults: { get: ["never"] } });
  assert.equal(response.status, 200);
  assert.equal(response.json().flags.state, "unavailable");
  assert.ok(Date.now() - started < 20_000);
});

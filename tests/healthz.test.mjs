// `GET /healthz`: the version of the Worker and the state of the flag definitions. It says how
// many flags there are and where a definition is at fault, and shows no value of a definition.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { startConfig } from "./harness/config.mjs";
import { eventually } from "./harness/eventually.mjs";

const cargo = await readFile(new URL("../Cargo.toml", import.meta.url), "utf8");
const [, version] = cargo.match(/^version\s*=\s*"([^"]+)"/m);

const DEFINITIONS_MAX = 2 * 1024 * 1024;
const good = { a: { default: "on" }, b: { default: "off" } };

describe("the flags", async () => {
  const config = await startConfig();

  /** Checks the response, and returns its report on the flags. */
  async function stateOf(options) {
    const response = await config.request("GET", "/healthz", options);
    assert.equal(response.status, 200, response.text);
    assert.match(response.headers["content-type"], /^application\/json\b/);
    assert.equal(response.headers["cache-control"], "no-store");
    const { flags, ...rest } = response.json();
    assert.deepEqual(rest, { status: "ok", version });
    return flags;
  }

  const failing = { faults: { get: ["500"] } };

  test("without definitions the state is none", async () => {
    assert.deepEqual(await stateOf(), { state: "none", count: 0 });
  });

  /** Texts that cannot be read, and the faults reported. */
  const unreadable = [
    ["{", "invalid JSON at line 1, column 1"],
    ["", "not a JSON object at line 1, column 1"],
    ["[]", "not a JSON object at line 1, column 1"],
    ['{"flags": a-secret', "invalid JSON at line 1, column 11"],
    ['{\n "flags": {"x"', "invalid JSON at line 2, column 14"],
    ['{"flags": {"x": {"default": 1e999}}}', "a number beyond 1.8e308 at line 1, column 33"],
  ];
  for (const [text, problem] of unreadable) {
    test(`broken definitions, with none before, are reported with their place: ${JSON.stringify(text)}`, async () => {
      await config.kv.delete("flags");
      assert.deepEqual(await stateOf(), { state: "none", count: 0 });
      await config.kv.put("flags", text);
      for (let again = 0; again < 2; again += 1) assert.deepEqual(await stateOf(), { state: "broken", count: 0, problem });
      await config.kv.delete("flags");
      assert.deepEqual(await stateOf(), { state: "none", count: 0 });
    });
  }

  test("definitions that are read are current, and counted", async () => {
    await config.putFlags(good);
    assert.deepEqual(await stateOf(), { state: "current", count: 2 });
  });

  test("while KV fails, definitions in memory are stale", async () => {
    assert.deepEqual(await stateOf(failing), { state: "stale", count: 2 });
    assert.deepEqual(await stateOf(), { state: "current", count: 2 });
  });

  /** Broken edits, and the place of their fault. */
  const broken = [
    [{ flags: { x: { default: "none" } } }, "flags.x.default"],
    [{ flags: { x: { default: "on", rules: [{ percentage: 5, variant: "none" }] } } }, "flags.x.rules[0].variant"],
    [{ flags: { x: { default: "on", rules: [{ percentage: 101, variant: "on" }] } } }, "flags.x.rules[0].percentage"],
    [{ flags: { x: { default: "on", rules: [{ match: [{ attribute: "a", is: 1 }], variant: "on" }] } } }, "flags.x.rules[0].match[0].is"],
    [{ flags: { x: { default: "on", variants: [] } } }, "flags.x.variants"],
    [{ flags: { x: { default: "none" }, "y z": { default: "on" } } }, "flags.x.default"],
    [{ flags: [] }, "flags"],
  ];
  for (const [edit, place] of broken) {
    test(`an edit that breaks ${place} leaves the last good definitions, and the place is reported`, async () => {
      await config.putFlags(good);
      await stateOf();
      await config.kv.put("flags", JSON.stringify(edit));
      const problem = `at ${place}`;
      assert.deepEqual(await stateOf(), { state: "last-good", count: 2, problem });
      assert.deepEqual(await stateOf(failing), { state: "stale", count: 2, problem });
      assert.deepEqual(await stateOf(), { state: "last-good", count: 2, problem });
      await config.putFlags(good);
      assert.deepEqual(await stateOf(), { state: "current", count: 2 });
    });
  }

  test("only names of members and flags are shown, nothing else from the definitions", async () => {
    await config.putFlags(good);
    await stateOf();
    for (const edit of [
      { flags: { x: { default: "a-secret", description: "a-secret", metadata: { a: "a-secret" }, variants: { b: "a-secret" } } } },
      {
        flags: {
          x: {
            default: "on",
            rules: [
              { allow: ["a-secret", 7], variant: "on" },
              { match: [{ attribute: "a", semverGte: "a-secret" }], variant: "on" },
            ],
          },
        },
      },
      { flags: { x: { default: "on", rules: [{ deny: "a-secret" }] } } },
      { flags: { x: { default: "none", variants: { "a-secret": true } } } },
    ]) {
      await config.kv.put("flags", JSON.stringify(edit));
      const flags = await stateOf();
      assert.equal(flags.state, "last-good");
      assert.doesNotMatch(JSON.stringify(flags), /a-secret/);
    }
    await config.kv.put("flags", '{"flags": a-secret');
    assert.doesNotMatch(JSON.stringify(await stateOf()), /a-secret/);
  });

  for (const variants of [{ "a-secret": null }, { a: 1, "a-secret": "x" }]) {
    test(`no variant is named, not even if it is the fault: ${JSON.stringify(variants)}`, async () => {
      await config.putFlags({ x: { default: "a", variants } });
      assert.doesNotMatch(JSON.stringify(await stateOf()), /a-secret/);
    });
  }

  test("definitions of 2 MiB are read; longer ones are a fault, which names their bytes", async () => {
    const text = (length) => JSON.stringify({ flags: good }).padEnd(length, " ");
    await config.putFlags(text(DEFINITIONS_MAX));
    assert.deepEqual(await stateOf(), { state: "current", count: 2 });
    const problem = `it has ${DEFINITIONS_MAX + 1} bytes; at most ${DEFINITIONS_MAX} are allowed`;
    await config.putFlags(text(DEFINITIONS_MAX + 1));
    assert.deepEqual(await stateOf(), { state: "last-good", count: 2, problem });
    await config.emptyMemory();
    assert.deepEqual(await stateOf(), { state: "broken", count: 0, problem });
  });

  test("definitions that were never good are broken, and the place of the fault is reported", async () => {
    await config.kv.put("flags", '{"flags":{"x":{"default":"none"}}}');
    await config.emptyMemory();
    assert.deepEqual(await stateOf(), { state: "broken", count: 0, problem: "at flags.x.default" });
  });

  test("while KV fails with nothing in memory, the state is unavailable", async () => {
    await config.putFlags(good);
    await config.emptyMemory();
    assert.deepEqual(await stateOf(failing), { state: "unavailable", count: 0 });
    assert.deepEqual(await stateOf(), { state: "current", count: 2 });
  });

  test("HEAD has no body, other methods get 405", async () => {
    const head = await config.request("HEAD", "/healthz");
    assert.equal(head.status, 200);
    assert.equal(head.text, "");
    const post = await config.request("POST", "/healthz");
    assert.equal(post.status, 405);
    assert.equal(post.headers.allow, "GET, HEAD");
  });
});

describe("reads", async () => {
  const config = await startConfig({ refresh: "30" });

  test("/healthz costs one read in CONFIG_REFRESH, which evaluations share", async () => {
    await config.putFlags(good);
    assert.deepEqual((await config.recordReads(() => config.healthz())).reads, ["flags"]);
    assert.deepEqual((await config.recordReads(() => config.healthz())).reads, []);
    assert.deepEqual((await config.recordReads(() => config.evaluate("a", {}))).reads, []);
  });

  test("an edit takes effect after CONFIG_REFRESH", async () => {
    await config.putFlags({ ...good, c: { default: "on" } });
    assert.equal((await config.healthz()).flags.count, 2);
    await config.advanceClock(31);
    await eventually(async () => (await config.healthz()).flags.count === 3, "the edit is seen");
  });
});

test("/healthz does not wait forever for KV", async () => {
  const config = await startConfig();
  const response = await config.request("GET", "/healthz", { faults: { get: ["never"] } });
  assert.equal(response.status, 200);
  assert.equal(response.json().flags.state, "unavailable");
});

// The check of `lint-text` that a file of tests awaits nothing after its first test.
import assert from "node:assert/strict";
import { test } from "node:test";
import { lateAwaits } from "../scripts/late-awaits.mjs";

const TEST = 'test("a test", async () => {\n  await something();\n});';

const late = (...parts) => lateAwaits(parts.join("\n").split("\n"));

test("an await before the first test, in a test and in a function is allowed", () => {
  assert.deepEqual(late("const worker = await start();", TEST, TEST, "async function ask() {\n  await something();\n}"), []);
});

test("an await after a test is reported, whether or not its result is used", () => {
  assert.deepEqual(late(TEST, "await fill();"), [4]);
  assert.deepEqual(late(TEST, "const [other, { more }] = await start();"), [4]);
});

test("an await in a loop with tests is reported even before them, since the loop repeats", () => {
  assert.deepEqual(late("for (const one of all) {", "  const worker = await start(one);", "  test(one, () => use(worker));", "}"), [2]);
  assert.deepEqual(late("for (const one of all) {", "  await fill(one);", "}", TEST), []);
  assert.deepEqual(late(TEST, "for (const one of all) {", "  await fill(one);", "}"), [5]);
});

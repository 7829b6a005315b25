// The check of `lint-text` that a file of tests awaits nothing after its first test.
import assert from "node:assert/strict";
import { test } from "node:test";
import { lateAwaits } from "../scripts/late-awaits.mjs";

const TEST = 'test("a test", async () => {\n  await something();\n});';

const late = (...parts) => lateAwaits(parts.join("\n").split("\n"));

test("an await before the first test, in a test and in a function is allowed", () => {
  for (const allowed of [
    "async function ask() {\n  await something();\n}",
    "const ask = async () => {\n  await something();\n};",
    "const ask = async (one) => (await something(one)).text;",
    "const object = {\n  async ask() {\n    await something();\n  },\n};",
    "for (const one of all) {\n  test(one, async () => {\n    await something();\n  });\n}",
    "// await something();",
  ]) {
    assert.deepEqual(late("const worker = await start();", TEST, allowed, TEST), [], allowed);
  }
});

test("an await after a test is reported, however its result is used", () => {
  for (const [statement, line] of [
    ["await fill();", 4],
    ["const [other, { more }] = await start();", 4],
    ["const { one = 1 } = await start();", 4],
    ["const text = (await start()).text;", 4],
    ["use(await start());", 4],
    ["await Promise.all(all.map(async (one) => {\n  await fill(one);\n}));", 4],
    ["const {\n  one,\n} = await start();", 6],
    ["for (const one of all) await fill(one);", 4],
    ["for (const one of [\n  1,\n  2,\n]) {\n  await fill(one);\n}", 8],
    ["for await (const one of all) {\n  use(one);\n}", 4],
    ["if (isSlow) {\n  for (const one of all) {\n    await fill(one);\n  }\n}", 6],
    ["try {\n  await fill();\n} finally {\n  end();\n}", 5],
  ]) {
    assert.deepEqual(late(TEST, statement, TEST), [line], statement);
  }
});

test("an await in a loop with tests is reported even before them, since the loop repeats", () => {
  assert.deepEqual(late("for (const one of all) {", "  const worker = await start(one);", "  test(one, () => use(worker));", "}"), [2]);
  assert.deepEqual(late("if (isSlow) {", "  const worker = await start();", '  test("slow", () => use(worker));', "}"), []);
  assert.deepEqual(late("if (isSlow) {", '  test("slow", run);', "  await start();", "}"), [3]);
  assert.deepEqual(late("for (const one of all) {", "  await fill(one);", "}", TEST), []);
});

// `kv-edge config validate`: reports faults in flag definitions with their places, before they
// reach KV.
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { makeFolder, runTool } from "./harness/tool.mjs";

const booleanFlag = (rules = [], more = {}) => ({ default: "off", rules, ...more });
const flags = (definitions) => JSON.stringify({ flags: definitions }, undefined, 2);

/** Validates a text in a file: `{ code, stdout, stderr, report, file }`. */
async function validate(text, args = ["--json"]) {
  const folder = makeFolder({ "flags.json": text });
  const file = join(folder, "flags.json");
  const result = await runTool(["config", "validate", file, ...args]);
  const report = args.includes("--json") ? JSON.parse(result.stdout) : undefined;
  return { ...result, report, file };
}

const GOOD = {
  $schema: "https://example.com/flags.json",
  flags: {
    "new-checkout": {
      description: "free text",
      on: true,
      variants: { on: true, off: false },
      default: "off",
      off: "off",
      metadata: { owner: "shop", level: 3, temporary: true },
      rules: [
        { deny: ["user-13"] },
        { allow: ["user-7"], variant: "on" },
        {
          match: [
            { attribute: "plan", in: ["pro", "team"] },
            { attribute: "appVersion", semverGte: "2.1.0" },
          ],
          percentage: 50,
          variant: "on",
        },
        { percentage: 60.125, variant: "on" },
      ],
    },
    "button.colour": {
      variants: { red: "#f00", blue: "#00f" },
      default: "red",
      rules: [{ match: [{ attribute: "a.b", not: true, startsWith: ["x", "y"] }], variant: "blue" }],
    },
    limit: { variants: { low: 1, high: 1e3 }, default: "low", rules: [{ match: [{ attribute: "age", gte: 18 }], variant: "high" }] },
    layout: { variants: { a: { columns: 2 }, b: [1, 2] }, default: "a", on: false },
  },
};

describe("valid definitions", () => {
  for (const [what, text, count] of [
    ["of all types", JSON.stringify(GOOD), 4],
    ["none", '{"flags":{}}', 0],
    ["with the default variants, on and off", flags({ a: booleanFlag([{ percentage: 25, variant: "on" }]) }), 1],
  ]) {
    test(`${what}: exit code 0`, async () => {
      const { code, report, stderr } = await validate(text);
      assert.equal(code, 0, JSON.stringify(report) + stderr);
      assert.equal(report.valid, true);
      assert.deepEqual(report.files[0].faults, []);
      assert.equal(report.files[0].flags, count);
    });
  }
});

describe("invalid definitions: exit code 1, each fault with its place", () => {
  const flagWithRule = (rule) => booleanFlag([{ variant: "on", ...rule }]);
  for (const [what, definitions, ...places] of [
    ["no default", { a: { variants: { on: true } } }, /a.*default/],
    ["a default that is no variant", { a: booleanFlag([], { default: "none" }) }, /a\.default/],
    ["off that is no variant", { a: booleanFlag([], { off: "none" }) }, /a\.off/],
    ["on that is no boolean", { a: booleanFlag([], { on: "yes" }) }, /a\.on/],
    ["variants of two types", { a: { variants: { x: 1, y: "2" }, default: "x" } }, /a\.variants/],
    ["no variants at all", { a: { variants: {}, default: "x" } }, /a\.variants/],
    ["an unknown member", { a: booleanFlag([], { defualt: 1 }) }, /a\.defualt/],
    ["a rule with a variant that does not exist", { a: booleanFlag([{ percentage: 1, variant: "none" }]) }, /a\.rules\[0\]\.variant/],
    ["a rule without a variant", { a: booleanFlag([{ percentage: 1 }]) }, /a\.rules\[0\]/],
    ["a rule that asks for nothing", { a: booleanFlag([{ variant: "on" }]) }, /a\.rules\[0\]/],
    ["a percentage over 100", { a: flagWithRule({ percentage: 101 }) }, /a\.rules\[0\]\.percentage/],
    ["a percentage under 0", { a: flagWithRule({ percentage: -1 }) }, /a\.rules\[0\]\.percentage/],
    ["a percentage with four decimals", { a: flagWithRule({ percentage: 0.0001 }) }, /a\.rules\[0\]\.percentage/],
    ["a percentage that is text", { a: flagWithRule({ percentage: "50" }) }, /a\.rules\[0\]\.percentage/],
    ["deny beside something else", { a: booleanFlag([{ deny: ["x"], percentage: 5 }]) }, /a\.rules\[0\]/],
    ["a condition without an operator", { a: flagWithRule({ match: [{ attribute: "x" }] }) }, /a\.rules\[0\]\.match\[0\]/],
    ["a condition with two operators", { a: flagWithRule({ match: [{ attribute: "x", eq: 1, lt: 2 }] }) }, /a\.rules\[0\]\.match\[0\]/],
    ["a condition without an attribute", { a: flagWithRule({ match: [{ eq: 1 }] }) }, /a\.rules\[0\]\.match\[0\]/],
    ["an operand that is no version", { a: flagWithRule({ match: [{ attribute: "x", semverGt: "one" }] }) }, /a\.rules\[0\]\.match\[0\]\.semverGt/],
    ["a comparison with text", { a: flagWithRule({ match: [{ attribute: "x", gt: "5" }] }) }, /a\.rules\[0\]\.match\[0\]\.gt/],
    ["metadata that nest", { a: booleanFlag([], { metadata: { x: {} } }) }, /a\.metadata\.x/],
    ["a name with a space", { "a b": booleanFlag() }, /a b/],
    ["a name that is too long", { ["a".repeat(129)]: booleanFlag() }, /aaa/],
    [
      "several at once",
      { a: booleanFlag([], { default: "none" }), b: flagWithRule({ percentage: 200 }), c: booleanFlag([{ allow: ["x"], variant: "none" }]) },
      /a\.default/,
      /b\.rules\[0\]\.percentage/,
      /c\.rules\[0\]\.variant/,
    ],
  ]) {
    test(what, async () => {
      const text = flags(definitions);
      const { code, report } = await validate(text);
      assert.equal(code, 1, JSON.stringify(report));
      assert.equal(report.valid, false);
      const { faults } = report.files[0];
      assert.ok(faults.every(({ path, problem }) => typeof path === "string" && problem.length > 5));
      for (const place of places)
        assert.ok(
          faults.some(({ path }) => place.test(path)),
          `${place}: ${JSON.stringify(faults)}`,
        );
      const lines = await validate(text, []);
      assert.equal(lines.code, 1);
      assert.equal(lines.stdout.split("\n").filter((line) => line.startsWith(lines.file)).length, faults.length);
    });
  }

  for (const [what, text, place] of [
    ["no object", "[]", undefined],
    ["no flags", "{}", undefined],
    ["flags that are no object", '{"flags":[]}', undefined],
    ["broken JSON", '{\n  "flags": {\n    "a": }\n}', [3, 10]],
    ["a comma too many", '{\n  "flags": {},\n}', [3]],
    ["text after the definitions", '{"flags":{}} x', [1]],
  ]) {
    test(what, async () => {
      const { code, report } = await validate(text);
      assert.equal(code, 1, JSON.stringify(report));
      const [{ line, column }] = report.files[0].faults;
      if (place) assert.equal(line, place[0]);
      if (place?.[1]) assert.equal(column, place[1]);
    });
  }

  for (const [what, text, place] of [
    ["a flag", '{"flags":{"a":{"default":"off"},"a":{"default":"on"}}}', /a/],
    ["a member of a rule", '{"flags":{"a":{"default":"off","rules":[{"percentage":1,"percentage":2,"variant":"on"}]}}}', /a\.rules\[0\]\.percentage/],
    ["the flags", '{"flags":{},"flags":{"a":{"default":"off"}}}', /flags/],
  ]) {
    test(`${what} twice`, async () => {
      const { code, report } = await validate(text);
      assert.equal(code, 1, JSON.stringify(report));
      assert.ok(
        report.files[0].faults.some(({ path }) => place.test(path)),
        JSON.stringify(report),
      );
    });
  }
});

describe("suspicious definitions: a warning, and exit code 0", () => {
  for (const [what, definition, place] of [
    [
      "a rule after one that matches everybody",
      booleanFlag([
        { percentage: 100, variant: "on" },
        { percentage: 5, variant: "on" },
      ]),
      /a\.rules\[1\]/,
    ],
    [
      "a percentage that is not larger than the one before",
      booleanFlag([
        { percentage: 50, variant: "on" },
        { percentage: 25, variant: "off" },
      ]),
      /a\.rules\[1\]/,
    ],
    ["a variant that nobody gets", { variants: { x: "1", y: "2", z: "3" }, default: "x", rules: [{ allow: ["u"], variant: "y" }] }, /a\.variants\.z/],
    [
      "a rule for the same users as an earlier one",
      booleanFlag([
        { allow: ["u"], variant: "on" },
        { allow: ["u"], variant: "off" },
      ]),
      /a\.rules\[1\]/,
    ],
  ]) {
    test(what, async () => {
      const { code, report } = await validate(flags({ a: definition }));
      assert.equal(code, 0, JSON.stringify(report));
      assert.deepEqual([report.valid, report.files[0].faults], [true, []]);
      assert.ok(
        report.files[0].warnings.some(({ path }) => place.test(path)),
        JSON.stringify(report.files[0].warnings),
      );
      assert.match((await validate(flags({ a: definition }), [])).stdout, /warning/);
    });
  }
});

describe("files", () => {
  const [good, bad] = [JSON.stringify(GOOD), flags({ a: {} })];
  const folder = makeFolder({ "good.json": good, "bad.json": bad, "bytes.json": Buffer.from([0x7b, 0xff, 0x7d]), "empty.json": "" });
  const path = (name) => join(folder, name);
  for (const [names, expected] of [
    [["good.json"], 0],
    [["good.json", "good.json"], 0],
    [["good.json", "bad.json"], 1],
    [["good.json", "missing.json"], 2],
    [["bad.json", "missing.json"], 2],
    [["."], 2],
    [["bytes.json"], 2],
    [["empty.json"], 2],
    [[], 2],
  ]) {
    test(`${names.join(" ") || "none"}: exit code ${expected}`, async () => {
      const { code, stdout, stderr } = await runTool(["config", "validate", ...names.map(path)]);
      assert.equal(code, expected, stdout + stderr);
    });
  }

  for (const [text, expected] of [
    [good, 0],
    [bad, 1],
    ["{", 1],
    ["", 2],
  ]) {
    test(`${text.length} bytes of standard input: exit code ${expected}`, async () => {
      const lines = await runTool(["config", "validate", "-"], { input: text });
      assert.equal(lines.code, expected, lines.stderr);
      const json = await runTool(["config", "validate", "-", "--json"], { input: text });
      assert.equal(json.code, expected);
      assert.equal(JSON.parse(json.stdout).valid, expected === 0);
    });
  }
});

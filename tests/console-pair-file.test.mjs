// Files of pairs: the console and `kv-edge kv` read each other's files, and find the same
// mistakes.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { describe, test } from "node:test";
import { FORMATS, PairFileError, pairJson, readPairs } from "../console/src/browse/pair_file.js";
import { checkFile } from "../console/src/browse/transfer.js";
import { ODD_PAIRS, startKvTool, summaryOf } from "./harness/kv-tool.mjs";

const tool = await startKvTool();

/** Returns a file as the console writes it. */
function written(pairs, { start, between, end }) {
  const json = pairs.map(({ key, value, metadata = null, expiration = null }) => {
    const text = Buffer.isBuffer(value) ? null : value;
    return pairJson({ key, text, bytes: text === null ? value : undefined, metadata, expiration });
  });
  return start + json.join(between) + end;
}

/** Reads a text that comes in parts of `length` characters. */
async function read(text, length = text.length || 1) {
  const parts = Array.from({ length: Math.ceil(text.length / length) }, (_, part) => text.slice(part * length, (part + 1) * length));
  const pairs = [];
  for await (const { pair, line } of readPairs(parts)) {
    const { base64 = false, value, ...rest } = pair;
    pairs.push({ ...rest, value: base64 ? Buffer.from(value, "base64") : value, line });
  }
  return pairs;
}

for (const format of Object.keys(FORMATS)) {
  test(`the tool imports what the console exports (${format}), and the console reads what the tool exports`, async () => {
    const target = tool.namespace();
    const pairs = target.prefixed(ODD_PAIRS);
    const file = tool.file();
    writeFileSync(file, written(pairs, FORMATS[format]));
    await tool.succeed(["import", file, ...target.name]);
    await target.assertHas(pairs);
    const exported = tool.file();
    await tool.succeed(["export", ...target.name, ...target.keys, "--format", format, "--exact", "--output", exported]);
    const text = readFileSync(exported, "utf8");
    for (const length of [1, 7, text.length]) assert.deepEqual(summaryOf(await read(text, length)), summaryOf(pairs));
  });
}

test("the console reads a file in any layout, in parts of any length", async () => {
  const pairs = [
    { key: "a", value: '{"x": "}"}\\' },
    { key: "b", value: "é" },
  ];
  for (const text of [
    JSON.stringify(pairs, null, 2),
    pairs.map((pair) => JSON.stringify(pair, null, 2)).join("\r\n\n"),
    ` [${pairs.map((pair) => JSON.stringify(pair)).join(" , ")} ] \n`,
  ]) {
    for (const length of [1, 2, 5, 1000]) assert.deepEqual(summaryOf(await read(text, length)), summaryOf(pairs));
  }
  for (const empty of ["", " \n", "[]", " [ ]\n"]) assert.deepEqual(await read(empty), []);
});

describe("console and tool refuse the same files, at the same line", () => {
  const good = '{"key": "a", "value": "1"}';
  for (const [what, line, text] of [
    ["a pair without a value", 2, `${good}\n{"key": "b"}`],
    ["a value that is a number", 1, '{"key": "a", "value": 1}'],
    ["a line that is no object", 3, `${good}\n\n[]`],
    ["no comma between items", 2, `[${good}\n${good}]`],
    ["a comma at the end", 2, `[${good},\n]`],
    ["an array that is not closed", 1, `[${good}`],
    ["text after the array", 2, `[${good}]\n${good}`],
    ["a pair that is cut off", 1, good.slice(0, 20)],
    ["an unknown member", 1, '{"key": "a", "value": "1", "ttl": 60}'],
    ["a value that is not base64", 1, '{"key": "a", "value": "é", "base64": true}'],
    ["a key that cannot be in a URL", 1, '{"key": "..", "value": ""}'],
    ["half of a surrogate pair in a key", 2, `${good}\n{"key": "\\ud800", "value": ""}`],
    ["half of a surrogate pair in a value", 1, '{"key": "a", "value": "\\udc00"}'],
    ["a key that is too long", 2, `${good}\n${JSON.stringify({ key: "k".repeat(513), value: "" })}`],
    ["metadata that are too long", 1, JSON.stringify({ key: "a", value: "", metadata: "m".repeat(1023) })],
    ["a lifetime that is too short", 1, '{"key": "a", "value": "", "expiration_ttl": 5}'],
  ]) {
    test(what, async () => {
      await assert.rejects(read(text), (error) => {
        assert.ok(error instanceof PairFileError, error.stack);
        assert.equal(error.line, line);
        assert.match(error.message, /^(".*": )?[A-Z"].*\.$/, "the mistake is a sentence");
        return true;
      });
      const file = tool.file();
      writeFileSync(file, text);
      const { stderr } = await tool.run(["import", file, "--namespace", "WRITES", "--dry-run"]);
      assert.ok(stderr.includes(`line ${line}`), stderr);
    });
  }
});

test("a mistake names the key of its pair, if that has one", async () => {
  const needs = 'It needs the members "key" and "value", which are strings.';
  for (const [text, message] of [
    ['{"key": "a"}', `"a": ${needs}`],
    ['{"value": "1"}', needs],
    ['{"key": null, "value": "1"}', needs],
    ['{"key": 5, "value": "1"}', needs],
    ['{"key": "", "value": "1"}', "The key is empty."],
  ]) {
    await assert.rejects(read(text), { message, line: 1 });
  }
});

test("a pair with a later expiration than this Worker's API takes is a mistake; the tool also writes where there are others", async () => {
  const latest = 2_147_483_647;
  const pair = (end) => `{"key": "a", "value": "", ${end}}`;
  for (const end of [`"expiration": ${latest}`, `"expiration_ttl": ${latest}`, `"expiration": ${latest + 1}, "expiration_ttl": 60`, '"expiration": null']) {
    assert.equal((await read(pair(end))).length, 1, end);
  }
  for (const end of [`"expiration": ${latest + 1}`, `"expiration_ttl": ${latest + 1}`, `"expiration": ${latest + 1}, "expiration_ttl": null`]) {
    await assert.rejects(read(pair(end)), PairFileError, end);
  }
});

test('checkFile reads streams without an iterator, and says "not UTF-8" of nothing else', async (t) => {
  const { prototype } = ReadableStream;
  const iterator = Object.getOwnPropertyDescriptor(prototype, Symbol.asyncIterator);
  delete prototype[Symbol.asyncIterator];
  t.after(() => Object.defineProperty(prototype, Symbol.asyncIterator, iterator));
  const options = { problemOf: () => null, signal: new AbortController().signal, onCount() {} };
  const faultOf = async (...parts) => (await checkFile("WRITES", new Blob(parts), options)).fault;
  assert.equal(await faultOf("[]"), null);
  assert.match((await faultOf('{"key": "é", "value": "1"}\n{"key": "b"}')).message, /"value"/);
  assert.match((await faultOf("\ufeff[]")).message, /byte order mark/);
  for (const bytes of [[0xff], [0xc3]]) {
    const { line, message } = await faultOf(new Uint8Array(bytes));
    assert.deepEqual([line, message], [null, "The file is not UTF-8."]);
  }
});

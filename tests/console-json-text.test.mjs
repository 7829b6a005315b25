// JSON as the console lays it out and makes it compact: as text, without a change of its values.
// Places and line endings in a text.
import assert from "node:assert/strict";
import { test } from "node:test";
import { editableForm, indexAfterBytes, layOut, oneLine } from "../console/src/browse/json_text.js";
import { lineEndingOf } from "../console/src/browse/value_kind.js";

const TEXTS = ["", "a", '"', "\\", '\\"', "{", "}]", ":,", " \n\t", "é😀"];

/**
 * Returns a value of at most this depth; `random` is a source of whole numbers below its argument.
 */
function anyValue(random, depth) {
  const text = () => TEXTS[random(TEXTS.length)] + TEXTS[random(TEXTS.length)];
  const kind = random(depth > 0 ? 6 : 4);
  if (kind === 4) return Array.from({ length: random(4) }, () => anyValue(random, depth - 1));
  if (kind === 5) return Object.fromEntries(Array.from({ length: random(4) }, () => [text(), anyValue(random, depth - 1)]));
  return [null, random(2) === 1, (random(2001) - 1000) / 8, text()][kind];
}

test("2,000 random values are laid out as JSON.stringify does, and made compact again", () => {
  let state = 7;
  const random = (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (let n = 0; n < 2000; n += 1) {
    const value = anyValue(random, 4);
    const [short, long] = [JSON.stringify(value), JSON.stringify(value, null, 2)];
    for (const text of [short, long, JSON.stringify(value, null, "\t").replaceAll("\n", "\r\n")]) {
      assert.equal(layOut(text), long);
      assert.equal(oneLine(text), short);
    }
  }
});

test("long numbers, exponents and repeated members stay as they are", () => {
  const text = '{"n":12345678901234567890,"n":1E+2,"z":-0.0,"a":1.10}';
  assert.equal(oneLine(layOut(text)), text);
});

test("JSON on one line, as JSON.stringify or json.dumps writes it, is laid out to edit and stored on one line again; other JSON stays", () => {
  for (const [text, shown] of [
    ['{"a":[1,2]}', '{\n  "a": [\n    1,\n    2\n  ]\n}'],
    ['{"a":1}\r\n', '{\n  "a": 1\n}'],
    ['{"a": 1, "b": ":,"}', '{\n  "a": 1,\n  "b": ":,"\n}'],
    ['{\n    "a": 1\n}\n', '{\n    "a": 1\n}\n'],
    ['{ "a" : 1 }', '{ "a" : 1 }'],
  ]) {
    const form = editableForm(text);
    assert.equal(form.shown, shown);
    assert.equal(form.restore(shown), text);
    assert.equal(form.restore(shown.replace("1", "7")), text.replace("1", "7"));
  }
});

test("JSON that would be too long laid out, because it is nested deeply, is edited as it is", () => {
  for (const depth of [16_500, 1_000_000]) {
    const text = `${"[".repeat(depth)}${"]".repeat(depth)}\n`;
    assert.equal(layOut(text), null);
    const form = editableForm(text);
    assert.deepEqual([form.shown === text, form.restore(text) === text], [true, true]);
  }
});

test("a place in bytes is that of the character which begins there, or of the one that it cuts", () => {
  const text = "\ufeffaé😀\ud800b";
  const found = Array.from({ length: 16 }, (_, bytes) => indexAfterBytes(text, bytes));
  assert.deepEqual(found, [0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 5, 5, 5, 6, 7, 7]);
});

test("a text has one line ending, or null if they are mixed or bare carriage returns", () => {
  const found = ["", "a", "a\nb\n", "a\r\nb\r\n", "a\r\nb\n", "a\rb", "a\n\rb"].map(lineEndingOf);
  assert.deepEqual(found, ["\n", "\n", "\n", "\r\n", null, null, null]);
});

// JSON as the console lays it out and makes it compact: as text, without a change of its values.
import assert from "node:assert/strict";
import { test } from "node:test";
import { compact, layOut } from "../console/src/browse/json_text.js";

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
      assert.equal(compact(text), short);
    }
  }
});

test("long numbers, exponents and repeated members stay as they are", () => {
  const text = '{"n":12345678901234567890,"n":1E+2,"z":-0.0,"a":1.10}';
  assert.equal(compact(layOut(text)), text);
});

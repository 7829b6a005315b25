// The order in which the console shows keys that it has written, before KV lists them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { compareKeys } from "../console/src/browse/key_rows.js";

/** Code points at the borders of UTF-8 lengths, and beside the surrogates of UTF-16. */
const CODE_POINTS = [0x61, 0x62, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfb00, 0xffff, 0x10000, 0x1f600, 0x10ffff];

test("keys are in the order of their bytes in UTF-8, whatever characters they have", () => {
  const characters = CODE_POINTS.map((point) => String.fromCodePoint(point));
  const keys = ["", ...characters, ...characters.flatMap((first) => characters.map((second) => first + second))];
  for (const one of keys) {
    for (const other of keys) {
      assert.equal(Math.sign(compareKeys(one, other)), Buffer.compare(Buffer.from(one), Buffer.from(other)), JSON.stringify([one, other]));
    }
  }
});

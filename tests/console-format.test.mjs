// How the console words amounts, also those that are rounded up to the next unit.
import assert from "node:assert/strict";
import { test } from "node:test";
import { dollars, milliseconds, size } from "../console/src/format.js";

for (const [format, amount, text] of [
  [size, 0, "0 B"],
  [size, 999, "999 B"],
  [size, 1000, "1 KB"],
  [size, 1234, "1.2 KB"],
  [size, 99_960, "100 KB"],
  [size, 999_499, "999 KB"],
  [size, 999_999, "1 MB"],
  [size, 26_214_400, "26.2 MB"],
  [size, 5e15, "5000 TB"],
  [milliseconds, 0.2, "0 ms"],
  [milliseconds, 999.4, "999 ms"],
  [milliseconds, 999.6, "1.00 s"],
  [milliseconds, 8530, "8.53 s"],
  [dollars, 0, "$0"],
  [dollars, 0.0000005, "$0.0000005"],
  [dollars, 0.1, "$0.1"],
  [dollars, 0.99951, "$1.00"],
  [dollars, 1, "$1.00"],
  [dollars, 12.5, "$12.50"],
]) {
  test(`${format.name}(${amount}) is ${text}`, () => assert.equal(format(amount), text));
}

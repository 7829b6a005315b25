// The statistics of the benchmark: its claims are medians, and how exact they are.
import assert from "node:assert/strict";
import { test } from "node:test";
import { median, medianWithInterval, randomNumbers, spread } from "../bench/statistics.mjs";

const upTo = (count) => Array.from({ length: count }, (_, index) => index + 1);

test("the median of an even number of values is between the two in the middle, and the middle half lies between the quartiles", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.deepEqual(spread([5, 1, 4, 2, 3]), { median: 3, low: 2, high: 4 });
});

test("the interval of a median begins and ends at the ranks of the binomial distribution with p = 1/2", () => {
  // Of 16 values, 3 or fewer lie below the median in 1.1 % of all cases, 4 or fewer in 3.8 %: more
  // than 2.5 %.
  const ranks = { 6: 1, 8: 1, 9: 2, 10: 2, 16: 4, 20: 6, 25: 8, 50: 18, 100: 40, 192: 82 };
  for (const [count, low] of Object.entries(ranks).map(([count, low]) => [Number(count), low])) {
    assert.deepEqual(medianWithInterval(upTo(count).reverse()), { median: (count + 1) / 2, low, high: count + 1 - low }, `${count} values`);
  }
});

test("fewer than six values say nothing with 95 %", () => {
  assert.deepEqual(medianWithInterval([1, 2, 3, 4, 5]), { median: 3, low: -Infinity, high: Infinity });
});

test("of 2,000 samples of 192 skewed values, the interval contains the true median in at least 95 %", () => {
  const random = randomNumbers(3);
  const drawn = () => -Math.log(1 - random());
  const contains = ({ low, high }) => low <= Math.LN2 && Math.LN2 <= high;
  const hits = upTo(2000).filter(() => contains(medianWithInterval(Array.from({ length: 192 }, drawn)))).length;
  // Four standard deviations below 95 %: chance alone is never so far off.
  assert.ok(hits >= 1900 - 40 && hits < 2000, `${hits} of 2000`);
});

// Medians with confidence intervals, quartiles, and a seeded random order.

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Returns the median and the quartiles, between which the middle half lies. */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = (sorted.length + 1) >> 1;
  return { median: median(sorted), low: median(sorted.slice(0, half)), high: median(sorted.slice(-half)) };
}

/**
 * Returns `{ median, low, high }`: the median of at most 1,000 independent values, and the
 * interval of the sign test. It contains the median of the population with a probability of at
 * least 95 %, whatever the distribution. With fewer than six values it is infinite.
 */
export function medianWithInterval(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const count = sorted.length;
  // How many values lie below the median of the population is binomial with p = 1/2. The interval
  // begins at the highest rank r for which the chance that fewer than r values lie below it is at
  // most 2.5 %.
  let rank = 0;
  let chance = 0.5 ** count;
  for (let sum = chance; sum <= 0.025; sum += chance) {
    rank += 1;
    chance *= (count + 1 - rank) / rank;
  }
  const [low, high] = rank === 0 ? [-Infinity, Infinity] : [sorted[rank - 1], sorted[count - rank]];
  return { median: median(sorted), low, high };
}

/** Returns a function that returns numbers in [0, 1): mulberry32, the same for the same seed. */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Returns a copy in random order (Fisher-Yates). `random` returns numbers in [0, 1). */
export function shuffled(things, random) {
  const order = [...things];
  for (let last = order.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}

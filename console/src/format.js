// How the console words numbers and times.

const UNITS = ["B", "KB", "MB", "GB", "TB"];

/** Returns a number with its thousands separated. */
export const number = (value) => value.toLocaleString("en");

/** Returns `count` of something: "1 key", "2,000 keys". */
export const counted = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

/** Returns a number of bytes as people read it: "1.2 KB". A kilobyte has 1,000 bytes. */
export function size(bytes) {
  let value = bytes;
  let step = 0;
  // What is rounded to 1,000 is one of the next unit.
  while (Math.round(value) >= 1000 && step < UNITS.length - 1) {
    value /= 1000;
    step += 1;
  }
  return `${step === 0 || value >= 100 ? Math.round(value) : Number(value.toFixed(1))} ${UNITS[step]}`;
}

/** Returns a share, 0 to 1, as "12.5 %", and a dash for one that is unknown, `null`. */
export const percent = (share) => (share === null ? "–" : `${Number((share * 100).toFixed(1))} %`);

const STEPS = [
  [1, "s"],
  [60, "min"],
  [3600, "h"],
  [86400, "d"],
];

/** Returns a number of seconds as people read it: "45 s", "89 s", "2 min". */
export function span(seconds) {
  const [step, unit] = STEPS.findLast(([step]) => seconds >= step * 1.5) ?? STEPS[0];
  return `${number(Math.round(seconds / step))} ${unit}`;
}

/** Returns how far a time (seconds since the Unix epoch) is from now: "in 3 h", "5 min ago". */
export function fromNow(seconds, nowMs = Date.now()) {
  const distance = seconds - nowMs / 1000;
  const text = span(Math.abs(distance));
  return distance < 0 ? `${text} ago` : `in ${text}`;
}

/** Returns a time (seconds since the Unix epoch) in the visitor's time zone. */
export const dateTime = (seconds) => new Date(seconds * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** Returns a time, given in ISO 8601, in the visitor's time zone. */
export const isoTime = (iso) => dateTime(Date.parse(iso) / 1000);

/** Returns milliseconds as people read them: "340 ms", "8.53 s". */
export const milliseconds = (ms) => (Math.round(ms) < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);

/** Returns an amount of money: "$12.50", "$0.000045". Below a dollar it has three digits. */
export function dollars(amount) {
  const rounded = Number(amount.toPrecision(3));
  return `$${rounded >= 1 ? amount.toFixed(2) : rounded.toFixed(9).replace(/\.?0+$/, "")}`;
}

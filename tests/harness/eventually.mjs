// Waiting for what happens after an answer, such as a put that the answer did not wait for.
import { setTimeout as sleep } from "node:timers/promises";

/**
 * The first value of `look()` that is neither null, undefined nor false. Fails after a minute, or as long as is given: far longer than
 * it takes on a machine that is busy with something else.
 */
export async function eventually(look, what, withinMs = 60_000) {
  for (let tries = 0; tries < withinMs / 25; tries += 1) {
    const value = await look();
    if (value !== null && value !== undefined && value !== false) return value;
    await sleep(25);
  }
  throw new Error(`did not happen: ${what}`);
}

let numbers = 0;

/** A name that no other test of the file uses. */
export function uniqueName(name) {
  numbers += 1;
  return `${name}-${numbers}`;
}

// Polls for what happens after a response, such as a put that the response does not wait for.
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Calls `look()` every 25 ms and returns its first value that is not null, undefined or false.
 * Fails after `withinMs`; the default, a minute, allows for a busy machine.
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

/** Returns a name that no other test of the file uses. */
export function uniqueName(name) {
  numbers += 1;
  return `${name}-${numbers}`;
}

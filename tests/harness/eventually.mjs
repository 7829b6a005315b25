// Polls for what happens after a response, such as a put that the response does not wait for.
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Calls `look()`, with 25 ms between two calls, and returns its first value that is not null,
 * undefined or false. Fails once `withinMs` have passed, the time of the calls included; the
 * default, a minute, allows for a busy machine.
 */
export async function eventually(look, what, withinMs = 60_000) {
  const deadlineMs = performance.now() + withinMs;
  do {
    const value = await look();
    if (value !== null && value !== undefined && value !== false) return value;
    await sleep(25);
  } while (performance.now() < deadlineMs);
  throw new Error(`did not happen: ${what}`);
}

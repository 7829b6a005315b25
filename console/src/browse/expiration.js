// The latest ends that Workers KV knows.
import { dateTime, number } from "../format.js";

/** The longest TTL and the latest time that KV accepts, in seconds. */
const SECONDS_MAX = 2_147_483_647;

/** Returns why KV cannot keep a key for so many seconds, as a sentence, or `null`. */
export const ttlTooLong = (seconds) => (seconds > SECONDS_MAX ? `KV keeps a key for ${number(Math.floor(SECONDS_MAX / 86_400))} days at most.` : null);

/** Returns why no key can expire at a time (seconds since the Unix epoch), or `null`. */
export const expirationTooLate = (seconds) => (seconds > SECONDS_MAX ? `KV knows no expiration after ${dateTime(SECONDS_MAX)}.` : null);

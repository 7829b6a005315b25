// What a key may be called: what its namespace accepts, and what the token reaches.
import { changeProblem, reachProblem } from "./session.js";

/** The most bytes of a key. Other namespaces than bindings accept fewer: the session says so. */
export const KEY_BYTES_MAX = 512;

/** What is wrong with a text that UTF-8 cannot have. */
export const HALF_PAIR = "It has half of a surrogate pair (\\ud800 to \\udfff), which no text in UTF-8 can have.";

const encoder = new TextEncoder();

/** Returns what is wrong with a key, or `null`. `bytesMax` is the most bytes in its namespace. */
export function keyProblem(key, bytesMax = KEY_BYTES_MAX) {
  if (key === "") return "The key is empty.";
  if (!key.isWellFormed()) return HALF_PAIR;
  // A browser resolves them in a URL, so a call would have another path.
  if (key === "." || key === "..") return `The key is "${key}", which Workers KV does not accept. Choose another name.`;
  return tooLong("key", key, bytesMax);
}

function tooLong(what, text, bytesMax) {
  const { length } = encoder.encode(text);
  const namespace = bytesMax === KEY_BYTES_MAX ? "Workers KV" : "this namespace";
  return length > bytesMax ? `The ${what} has ${length} bytes; ${namespace} accepts ${bytesMax} at most.` : null;
}

/** Returns why the token cannot read a key, as a sentence, or `null`. */
export const readProblem = (session, key, bytesMax) => keyProblem(key, bytesMax) ?? reachProblem(session, key);

/**
 * Returns why the token cannot write a key with this name, as a sentence, or `null`. An empty name
 * is one that nobody has typed yet.
 */
export const nameProblem = (session, name, bytesMax) => changeProblem(session, name) ?? (name === "" ? null : keyProblem(name, bytesMax));

/** Returns why the keys with a prefix cannot be looked for, as a sentence, or `null`. */
export const prefixProblem = (session, prefix, bytesMax = KEY_BYTES_MAX) => reachProblem(session, prefix) ?? tooLong("prefix", prefix, bytesMax);

/** As `prefixProblem`, for a list: above its own prefix, a token sees what is below that. */
export const listProblem = (session, prefix, bytesMax) => (session.scope?.prefix.startsWith(prefix) ? null : prefixProblem(session, prefix, bytesMax));

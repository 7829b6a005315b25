// What a key may be called.

/** The most bytes of a key. */
export const KEY_BYTES_MAX = 512;

const encoder = new TextEncoder();

/** Returns what is wrong with a key, or `null`. */
export function keyProblem(key) {
  if (key === "") return "The key is empty.";
  if (key === "." || key === "..") return `The key is "${key}", which no URL can carry.`;
  const { length } = encoder.encode(key);
  return length > KEY_BYTES_MAX ? `The key has ${length} bytes; Workers KV accepts ${KEY_BYTES_MAX} at most.` : null;
}

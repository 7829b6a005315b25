// Checks of OFREP responses, and the hash by which a rollout assigns buckets.
import assert from "node:assert/strict";

/** Checks the evaluation of one flag. */
export function assertEvaluated(response, { key, variant, value, reason, metadata, source }) {
  assert.equal(response.status, 200, response.text);
  assert.match(response.headers["content-type"], /^application\/json\b/);
  assert.equal(response.headers["cache-control"], "no-store");
  assert.equal(response.headers["config-source"], source);
  assert.deepEqual(response.json(), { key, value, variant, reason, ...(metadata && { metadata }) });
}

/**
 * Checks an OFREP error: JSON that names the flag if one was requested, with nothing internal in
 * it.
 */
export function assertOfrepError(response, status, code, key) {
  assert.equal(response.status, status, response.text);
  assert.match(response.headers["content-type"], /^application\/json\b/);
  assert.match(response.headers["cache-control"], /\bno-store\b/);
  assert.equal(response.headers.etag, undefined);
  const { errorCode, errorDetails, ...rest } = response.json();
  assert.equal(errorCode, code);
  assert.match(errorCode, /^[A-Z]+(_[A-Z]+)*$/);
  if (errorDetails !== undefined) {
    assert.ok(typeof errorDetails === "string" && errorDetails !== "");
    assert.doesNotMatch(errorDetails, /JsValue|panicked|\.rs\b|failed: \d{3}|Network connection/);
  }
  assert.deepEqual(rest, key === undefined ? {} : { key });
  if (status === 503) assert.match(response.headers["retry-after"], /^[1-9]\d*$/);
}

/** Returns MurmurHash3 (x86, 32 bits, seed 0) of a text's UTF-8. */
export function murmur3(text) {
  const bytes = Buffer.from(text);
  const mixed = (k) => Math.imul(((Math.imul(k, 0xcc9e2d51) << 15) | (Math.imul(k, 0xcc9e2d51) >>> 17)) >>> 0, 0x1b873593);
  const blocks = bytes.length - (bytes.length % 4);
  let hash = 0;
  for (let at = 0; at < blocks; at += 4) {
    hash ^= mixed(bytes.readUInt32LE(at));
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  if (bytes.length > blocks) hash ^= mixed(bytes.readUIntLE(blocks, bytes.length - blocks));
  hash ^= bytes.length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Returns the bucket of a user for a flag, from 0 to 99,999. */
export const bucketOf = (flag, targetingKey) => Number((BigInt(murmur3(`${flag}:${targetingKey}`)) * 100_000n) >> 32n);

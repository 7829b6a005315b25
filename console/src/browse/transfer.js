// What takes many calls: export, import, upload and deletion by prefix, and what is looked at
// before. Each ends early if `signal` is aborted; `onCount`, if it takes that, gets how far it is.
import { content, exists, keyPages, put, putMany, removeMany, textValues } from "../kv.js";
import { ApiError } from "../session.js";
import { FORMATS, PairFileError, pairJson, readPairs, textParts } from "./pair_file.js";
import { utf8Text } from "./value_kind.js";

/** The most keys of a bulk read. */
const READ_KEYS = 100;
/** Pairs of a bulk write. The Worker would split a batch of more than 450. */
const WRITE_KEYS = 400;
/**
 * The longest JSON of the pairs of a bulk write, in UTF-16 code units. Each is 3 bytes of UTF-8 at
 * most, and the Worker takes 32 MiB.
 */
const WRITE_LENGTH = 8 * 1024 * 1024;
/** How often keys are sent at most, if calls fail or do not change them. */
const TRIES = 6;
/** Workers KV accepts one write a second to a key. */
const RETRY_MS = 1100;
/** Values or lists that are read at the same time. */
const READS = 6;
/** A pair that would expire sooner gets this time, because the import may take a while. */
const EXPIRATION_AHEAD_SECONDS = 120;

/** Returns the names of the keys with a prefix. `onCount` gets their number on the way. */
export async function namesOf(namespace, prefix, { signal, onCount }) {
  const names = [];
  for await (const page of keyPages(namespace, { prefix, signal })) {
    for (const { name } of page) names.push(name);
    onCount(names.length);
  }
  return names;
}

/**
 * Calls `work` with a function that counts a batch of keys and those of them that were left over.
 * Returns `{ count, failed, error }`: the number of keys that were changed for certain, the keys
 * that were not, and what ended the work early, or `null`.
 */
async function tallied(onCount, work) {
  let count = 0;
  const failed = [];
  const add = (names, rest) => {
    failed.push(...rest);
    count += names.length - rest.length;
    onCount(count);
  };
  try {
    await work(add);
    return { count, failed, error: null };
  } catch (error) {
    return { count, failed, error };
  }
}

/** Deletes these keys and no others. Returns what `tallied` does. */
export const removeKeys = (namespace, names, { signal, onCount }) =>
  tallied(onCount, async (add) => {
    for (let at = 0; at < names.length; at += WRITE_KEYS) {
      const batch = names.slice(at, at + WRITE_KEYS);
      add(batch, await untilDone(batch, (some) => removeMany(namespace, some, { signal }), signal));
    }
  });

/** Writes each `{ key, file }`. Returns what `tallied` does. */
export const uploadFiles = (namespace, uploads, { signal, onCount }) =>
  tallied(onCount, async (add) => {
    for (const { key, file } of uploads) add([key], await putUntilDone(namespace, key, file, { signal }));
  });

/** Writes a value with a call of its own, and tries again as `untilDone` does. */
function putUntilDone(namespace, key, content, options) {
  const send = async () => {
    await put(namespace, key, content, options);
    return [];
  };
  return untilDone([key], send, options.signal);
}

/**
 * Calls `send` with the keys until none is left over, and returns what is left after the last try.
 * Throws what `send` throws at the last try, or at any if that does not pass by waiting.
 */
async function untilDone(names, send, signal) {
  let rest = names;
  for (let attempt = 1; ; attempt += 1) {
    let wait = RETRY_MS * attempt;
    rest = await send(rest).catch((error) => {
      // These pass; anything else does not.
      if (!(error instanceof ApiError && (error.status === 0 || error.status === 429 || error.status >= 500) && attempt < TRIES)) throw error;
      wait = Math.max(wait, error.retryAfterSeconds * 1000);
      return rest;
    });
    if (rest.length === 0 || attempt === TRIES) return rest;
    await pause(wait, signal);
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/**
 * Returns the pairs with a prefix as a `Blob` in a format of `FORMATS`, and their number.
 * `onCount` gets the number on the way.
 */
export async function exportPairs(namespace, prefix, formatName, { signal, onCount }) {
  const format = FORMATS[formatName];
  const parts = [];
  let count = 0;
  for await (const page of keyPages(namespace, { prefix, signal })) {
    for (let at = 0; at < page.length; at += READ_KEYS) {
      for (const pair of await readGroup(namespace, page.slice(at, at + READ_KEYS), signal)) {
        parts.push(count === 0 ? format.start : format.between, pairJson(pair), formatName === "ndjson" ? "\n" : "");
        count += 1;
      }
      onCount(count);
    }
    // A browser keeps a large `Blob` on the disk, and text in memory.
    parts.splice(0, parts.length, new Blob(parts));
  }
  parts.push(count === 0 && formatName === "json" ? "[]\n" : count > 0 ? format.end : "");
  return { blob: new Blob(parts, { type: format.mediaType }), count };
}

/**
 * Returns the pairs of listed keys that still exist. Texts are read with one call if they are
 * short enough together, and all others one by one.
 */
async function readGroup(namespace, listed, signal) {
  const names = listed.map(({ name }) => name);
  const texts = await textValues(namespace, names, { signal });
  const pairs = [];
  const read = async ({ name: key, metadata = null, expiration = null }) => {
    if (Object.hasOwn(texts, key)) return texts[key] === null ? null : { key, text: texts[key], metadata, expiration };
    const found = await content(namespace, key, { signal });
    return found && { key, ...found, text: utf8Text(found.bytes), metadata, expiration };
  };
  for (let at = 0; at < listed.length; at += READS) pairs.push(...(await Promise.all(listed.slice(at, at + READS).map(read))));
  return pairs.filter((pair) => pair !== null);
}

/**
 * Reads a whole file of pairs before the first write. Returns `{ count, expired, existing, fault:
 * null }`: `expired` has the keys of pairs that have expired, `existing` those that the namespace
 * has already. A file with a mistake has a `PairFileError` as `fault`, and nothing else; so has
 * one with a key that `problemOf(key)` does not return `null` for, but a sentence.
 */
export async function checkFile(namespace, file, { problemOf, signal, onCount }) {
  const names = new Set();
  const expired = new Set();
  let shared = null;
  try {
    for await (const { pair, line } of readPairs(textParts(file))) {
      signal.throwIfAborted();
      const problem = names.has(pair.key) ? "The file has this key twice." : problemOf(pair.key);
      if (problem !== null) throw new PairFileError(line, `${JSON.stringify(pair.key)}: ${problem}`);
      names.add(pair.key);
      if (hasExpired(pair)) expired.add(pair.key);
      shared = shared === null ? pair.key : sharedPrefix(shared, pair.key);
      if (names.size % 500 === 0) onCount(names.size);
    }
  } catch (error) {
    if (error instanceof PairFileError) return { fault: error };
    throw error;
  }
  const existing = new Set();
  if (names.size > 0) {
    for await (const page of keyPages(namespace, { prefix: shared, signal })) {
      for (const { name } of page) if (names.has(name)) existing.add(name);
    }
  }
  return { count: names.size, expired, existing, fault: null };
}

function sharedPrefix(a, b) {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length += 1;
  // Half of a surrogate pair is no text.
  return a.slice(0, length).replace(/[\ud800-\udbff]$/, "");
}

const nowSeconds = () => Math.floor(Date.now() / 1000);
const hasLifetime = ({ expiration_ttl: lifetime }) => lifetime !== undefined && lifetime !== null;
const hasExpired = (pair) => !hasLifetime(pair) && (pair.expiration ?? Number.POSITIVE_INFINITY) <= nowSeconds();

/**
 * Writes the pairs of a file that was checked, without those that have expired and those whose key
 * is in `skipped`. Returns what `tallied` does.
 */
export const importPairs = (namespace, file, { skipped, signal, onCount }) =>
  tallied(onCount, async (add) => {
    let batch = [];
    let batchLength = 0;
    const flush = async () => {
      if (batch.length === 0) return;
      const pairs = new Map(batch.map((pair) => [pair.key, pair]));
      const send = (names) =>
        putMany(
          namespace,
          names.map((name) => pairs.get(name)),
          { signal },
        );
      add(batch, await untilDone([...pairs.keys()], send, signal));
      [batch, batchLength] = [[], 0];
    };
    for await (const { pair, length } of readPairs(textParts(file))) {
      if (skipped.has(pair.key) || hasExpired(pair)) continue;
      if (!hasLifetime(pair) && pair.expiration) pair.expiration = Math.max(pair.expiration, nowSeconds() + EXPIRATION_AHEAD_SECONDS);
      if (batch.length === WRITE_KEYS || batchLength + length > WRITE_LENGTH) await flush();
      if (length > WRITE_LENGTH) {
        add([pair.key], await putAlone(namespace, pair, signal));
      } else {
        batch.push(pair);
        batchLength += length;
      }
    }
    await flush();
  });

/** Writes a pair that is too long for a bulk write. */
function putAlone(namespace, pair, signal) {
  const content = pair.base64 ? Uint8Array.from(atob(pair.value), (character) => character.charCodeAt(0)) : pair.value;
  const lifetime = hasLifetime(pair) ? pair.expiration_ttl : undefined;
  return putUntilDone(namespace, pair.key, content, {
    metadata: pair.metadata ?? null,
    expiration: lifetime ? undefined : pair.expiration,
    expirationTtl: lifetime,
    signal,
  });
}

/** Returns those of the names that exist. */
export async function existingOf(namespace, names, { signal }) {
  const existing = [];
  for (let at = 0; at < names.length; at += READS) {
    const group = names.slice(at, at + READS);
    const found = await Promise.all(group.map((name) => exists(namespace, name, { signal })));
    existing.push(...group.filter((_, index) => found[index]));
  }
  return existing;
}

/** Hands a `Blob` to the browser as a download. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// Files of key-value pairs: what `kv-edge kv export` writes and `kv-edge kv import` reads. These
// are NDJSON, with a pair per line, or the array that `wrangler kv bulk put` takes. When a file
// is read, white space may stand anywhere between the pairs.
import { HALF_PAIR, keyProblem } from "../key_name.js";
import { METADATA_BYTES_MAX, TTL_SECONDS_MIN, VALUE_BYTES_MAX } from "../kv.js";
import { expirationTooLate, ttlTooLong } from "./expiration.js";

/**
 * The formats of a file: `start`, `between` and `end` are what stands before, between and after
 * the lines of pairs, each of which ends with a line break in NDJSON.
 */
export const FORMATS = {
  ndjson: { label: "NDJSON, a pair per line", extension: "ndjson", mediaType: "application/x-ndjson", start: "", between: "", end: "" },
  json: { label: "JSON, the array that wrangler takes", extension: "json", mediaType: "application/json", start: "[\n", between: ",\n", end: "\n]\n" },
};

const encoder = new TextEncoder();
const bytesOf = (text) => encoder.encode(text).length;

/** Returns a pair as JSON. `text` is `null` if the value is not UTF-8. */
export function pairJson({ key, bytes, text, metadata, expiration }) {
  const value = text === null ? { value: base64(bytes), base64: true } : { value: text };
  return JSON.stringify({ key, ...value, ...(metadata === null ? {} : { metadata }), ...(expiration === null ? {} : { expiration }) });
}

/** How many characters are made at a time: a call takes a limited number of arguments. */
const CHARACTERS_MAX = 0x8000;

function base64(bytes) {
  let characters = "";
  for (let at = 0; at < bytes.length; at += CHARACTERS_MAX) characters += String.fromCharCode(...bytes.subarray(at, at + CHARACTERS_MAX));
  return btoa(characters);
}

/**
 * A mistake in a file, as a sentence, and the line of the mistake or of its pair, counted from 1;
 * `null` if the line is unknown.
 */
export class PairFileError extends Error {
  constructor(line, problem) {
    super(problem);
    this.line = line;
  }
}

/**
 * Yields the text of a file in parts. A byte order mark stays, because it is a mistake to report.
 * Throws a `PairFileError` if the file is not UTF-8.
 */
export async function* textParts(file) {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const decode = (bytes, isLast) => {
    try {
      return decoder.decode(bytes, { stream: !isLast });
    } catch {
      throw new PairFileError(null, "The file is not UTF-8.");
    }
  };
  // Safari cannot iterate over a stream with `for await`.
  const reader = file.stream().getReader();
  try {
    for (let isLast = false; !isLast; ) {
      const { done, value } = await reader.read();
      yield decode(value, done);
      isLast = done;
    }
  } finally {
    await reader.cancel();
  }
}

const MEMBERS = new Set(["key", "value", "base64", "metadata", "expiration", "expiration_ttl"]);

/**
 * Yields `{ pair, line, length }` of a text that comes in parts: a pair as the bulk write takes
 * it, the line that it begins in, and the length of its JSON in UTF-16 code units. Throws a
 * `PairFileError` at the first mistake.
 */
export async function* readPairs(chunks) {
  let [rest, line, state] = ["", 1, "start"];
  const scan = new ObjectScan();
  for await (const chunk of chunks) {
    rest += chunk;
    let at = 0;
    while (at < rest.length) {
      if (!scan.isOpen) {
        const character = rest[at];
        state = nextState(state, character, line);
        if (character !== "{") {
          at += 1;
          if (character === "\n") line += 1;
          continue;
        }
        scan.open(at);
      }
      const end = scan.end(rest);
      if (end === -1) break;
      const json = rest.slice(at, end);
      yield { pair: parsePair(json, line), line, length: json.length };
      line += json.split("\n").length - 1;
      at = end;
    }
    rest = rest.slice(at);
    scan.moveBack(at);
  }
  if (scan.isOpen) throw new PairFileError(line, "The pair is cut off.");
  if (["first", "item", "after"].includes(state)) throw new PairFileError(line, "The array is not closed; the file is cut off.");
}

/** Returns the state after a character between the pairs: what may come next. */
function nextState(state, character, line) {
  if (/[ \t\r\n]/.test(character)) return state;
  const next = {
    start: { "{": "line", "[": "first" },
    line: { "{": "line" },
    first: { "{": "after", "]": "end" },
    item: { "{": "after" },
    after: { ",": "item", "]": "end" },
    end: {},
  }[state][character];
  if (next) return next;
  const problem = {
    start: 'A pair must be a JSON object with the members "key" and "value".',
    line: 'A pair must be a JSON object with the members "key" and "value".',
    first: "An item of the array must be a JSON object.",
    item: "An item of the array must be a JSON object.",
    after: "A comma must stand between the items of the array.",
    end: "Something follows the array.",
  }[state];
  throw new PairFileError(line, character === "\ufeff" ? "A byte order mark stands here; save the file as UTF-8 without one." : problem);
}

/** Finds the end of a JSON object in text that comes in parts. */
class ObjectScan {
  isOpen = false;
  #position;
  #depth;
  #isInString;

  open(at) {
    this.isOpen = true;
    this.#position = at;
    this.#depth = 0;
    this.#isInString = false;
  }

  /** Returns the index after the object, or -1 if it does not end in `text`. */
  end(text) {
    for (; this.#position < text.length; this.#position += 1) {
      const character = text[this.#position];
      if (this.#isInString) {
        if (character === '"') this.#isInString = false;
        // What is escaped may come with the next part.
        if (character === "\\") this.#position += 1;
      } else if (character === '"') this.#isInString = true;
      else if (character === "{" || character === "[") this.#depth += 1;
      else if (character === "}" || character === "]") {
        this.#depth -= 1;
        if (this.#depth === 0) {
          this.isOpen = false;
          return this.#position + 1;
        }
      }
    }
    return -1;
  }

  /** Moves the position back by `length`, because so many characters before it were cut off. */
  moveBack(length) {
    this.#position -= length;
  }
}

function parsePair(json, line) {
  let pair;
  try {
    pair = JSON.parse(json);
  } catch (error) {
    throw new PairFileError(line, `The pair is not JSON: ${error.message}.`);
  }
  const problem = pairProblem(pair);
  const hasName = typeof pair.key === "string" && pair.key !== "";
  if (problem) throw new PairFileError(line, hasName ? `${JSON.stringify(pair.key)}: ${problem}` : problem);
  return pair;
}

/** Returns what is wrong with a pair as a sentence, or `null`. */
function pairProblem(pair) {
  const unknown = Object.keys(pair).find((name) => !MEMBERS.has(name));
  if (unknown !== undefined) return `The member ${JSON.stringify(unknown)} is unknown.`;
  const { key, value, base64: isBase64 = false, metadata, expiration, expiration_ttl: lifetime } = pair;
  if (typeof key !== "string" || typeof value !== "string") return 'It needs the members "key" and "value", which are strings.';
  if (typeof isBase64 !== "boolean") return '"base64" must be true or false.';
  for (const [name, time] of [
    ["expiration", expiration],
    ["expiration_ttl", lifetime],
  ]) {
    if (time !== undefined && time !== null && !(Number.isInteger(time) && time >= 0)) return `"${name}" must be a whole number of seconds.`;
  }
  // A lifetime takes precedence over a time, which may then be any.
  const tooLate = lifetime === undefined || lifetime === null ? expirationTooLate(expiration) : ttlTooLong(lifetime);
  if (tooLate) return tooLate;
  if (lifetime < TTL_SECONDS_MIN && lifetime !== null)
    return `It expires ${lifetime} seconds after it is written; Workers KV accepts ${TTL_SECONDS_MIN} at least.`;
  if (!value.isWellFormed()) return HALF_PAIR;
  return keyProblem(key) ?? metadataProblem(metadata ?? null) ?? (isBase64 ? base64Problem(value) : lengthProblem(bytesOf(value)));
}

function base64Problem(value) {
  try {
    return lengthProblem(atob(value).length);
  } catch {
    return "The value is not base64.";
  }
}

/** Returns what is wrong with the length of a value, or `null`. */
export const lengthProblem = (length) =>
  length > VALUE_BYTES_MAX
    ? `The value has ${length.toLocaleString("en")} bytes; Workers KV accepts ${VALUE_BYTES_MAX.toLocaleString("en")} (25 MiB) at most.`
    : null;

/** Returns what is wrong with metadata, or `null`. */
export function metadataProblem(metadata) {
  const length = metadata === null ? 0 : bytesOf(JSON.stringify(metadata));
  return length > METADATA_BYTES_MAX ? `The metadata has ${length} bytes of JSON; Workers KV accepts ${METADATA_BYTES_MAX} at most.` : null;
}

// JSON as text: whether it is valid, and how it is laid out and made compact without reading it
// into values, so that long numbers, repeated members and the order of members stay as they are.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;

const isSpace = (code) => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
const opens = (code) => code === 0x7b || code === 0x5b;
const closes = (code) => code === 0x7d || code === 0x5d;

/** Returns the index after the string that begins at `start`. */
function endOfString(text, start) {
  let end = start;
  do {
    end = text.indexOf('"', end + 1);
  } while (end !== -1 && isEscaped(text, end));
  return end === -1 ? text.length : end + 1;
}

function isEscaped(text, at) {
  let start = at;
  while (text.charCodeAt(start - 1) === BACKSLASH) start -= 1;
  return (at - start) % 2 === 1;
}

/** Calls `visit(code, start, end)` for each token that is not white space. */
function eachToken(text, visit) {
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    const start = at;
    if (code === QUOTE) at = endOfString(text, at);
    else if (isSpace(code) || code === COMMA || code === COLON || opens(code) || closes(code)) at += 1;
    else while (at < text.length && !isEnd(text.charCodeAt(at))) at += 1;
    if (!isSpace(code)) visit(code, start, at);
  }
}

const isEnd = (code) => isSpace(code) || code === COMMA || code === COLON || code === QUOTE || opens(code) || closes(code);

/** Returns the problem of a text that is not JSON, or `null`. */
export function jsonFault(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return error.message;
  }
}

/** Returns those numbers of valid JSON that become others as numbers of JavaScript. */
export function inexactNumbers(text) {
  const found = new Set();
  eachToken(text, (_code, start, end) => {
    const token = text.slice(start, end);
    if (/^[-\d]/.test(token) && exactly(token) !== exactly(String(Number(token)))) found.add(token);
  });
  return [...found];
}

/** Returns a number as its digits and their exponent, however it is written. */
function exactly(written) {
  const [, sign, whole, fraction = "", exponent = "0"] = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(written) ?? [];
  if (whole === undefined) return written;
  const digits = (whole + fraction).replace(/0+$/, "");
  const zeros = whole.length + fraction.length - digits.length;
  const significant = digits.replace(/^0+/, "");
  return significant === "" ? "0" : `${sign}${significant}e${Number(exponent) - fraction.length + zeros}`;
}

/**
 * Returns the index in a text of the character that begins after `bytes` bytes of its UTF-8: the
 * Worker gives the place of a fault in bytes.
 */
export function indexAfterBytes(text, bytes) {
  const before = new TextEncoder().encode(text).subarray(0, bytes);
  // As a stream, a character that is cut is left out.
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(before, { stream: true }).length;
}

/**
 * Returns valid JSON on one line. `space` stands after each colon and comma, and nowhere else
 * between its tokens.
 */
export function oneLine(text, space = "") {
  let result = "";
  eachToken(text, (code, start, end) => {
    result += text.slice(start, end);
    if (code === COLON || code === COMMA) result += space;
  });
  return result;
}

/** The most characters of JSON that is laid out: they grow with the square of its depth. */
const LAID_OUT_MAX = 64 * 1024 * 1024;

/** Returns valid JSON with a line for each member and element, or `null` if that is too long. */
export function layOut(text) {
  let result = "";
  let depth = 0;
  let previous = 0;
  eachToken(text, (code, start, end) => {
    if (result.length > LAID_OUT_MAX) return;
    if (closes(code)) depth -= 1;
    // An empty object or array stays on its line.
    if (closes(code) ? !opens(previous) : opens(previous) || previous === COMMA) result += `\n${"  ".repeat(depth)}`;
    result += code === COLON ? ": " : text.slice(start, end);
    if (opens(code)) depth += 1;
    previous = code;
  });
  return result.length > LAID_OUT_MAX ? null : result;
}

/**
 * Returns how an editor shows valid JSON, as `{ shown, restore }`: laid out if it is on one line,
 * as `JSON.stringify` or Python's `json.dumps` writes it, and that is not too long; else as it is.
 * `restore` returns the text to store for an edited one, which is valid JSON, too.
 */
export function editableForm(text) {
  const body = text.trimEnd();
  const end = text.slice(body.length);
  const space = ["", " "].find((one) => !body.includes("\n") && oneLine(body, one) === body);
  if (space === undefined) return { shown: text, restore: (edited) => edited };
  return { shown: layOut(body) ?? text, restore: (edited) => oneLine(edited, space) + end };
}

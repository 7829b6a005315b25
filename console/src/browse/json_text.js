// JSON as text: laid out and made compact without reading it into values, so that long numbers,
// repeated members and the order of members stay as they are.

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
export function problemOf(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return error.message;
  }
}

/** Returns valid JSON without white space between its tokens. */
export function compact(text) {
  let result = "";
  eachToken(text, (_code, start, end) => {
    result += text.slice(start, end);
  });
  return result;
}

/** Returns valid JSON with a line for each member and element. */
export function layOut(text) {
  let result = "";
  let depth = 0;
  let previous = 0;
  eachToken(text, (code, start, end) => {
    if (closes(code)) depth -= 1;
    // An empty object or array stays on its line.
    if (closes(code) ? !opens(previous) : opens(previous) || previous === COMMA) result += `\n${"  ".repeat(depth)}`;
    result += code === COLON ? ": " : text.slice(start, end);
    if (opens(code)) depth += 1;
    previous = code;
  });
  return result;
}

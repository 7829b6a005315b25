// JSON as text: laid out and made compact without reading it into values, so that long numbers,
// repeated members and the order of members stay as they are.

/** Matches a string, white space, or one character of the structure. */
const TOKENS = /"(?:[^"\\]|\\.)*"|\s+|[{}[\],:]|[^\s{}[\],:"]+/g;

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
  return text.replace(TOKENS, (token) => (token.trim() === "" ? "" : token));
}

/** Returns valid JSON with a line for each member and element. */
export function layOut(text) {
  const parts = [];
  let depth = 0;
  let previous = "";
  const breakLine = () => parts.push("\n", "  ".repeat(depth));
  for (const [token] of text.matchAll(TOKENS)) {
    if (token.trim() === "") continue;
    const closes = token === "}" || token === "]";
    if (closes) depth -= 1;
    // An empty object or array stays on its line.
    if (closes ? previous !== "{" && previous !== "[" : previous === "{" || previous === "[" || previous === ",") breakLine();
    parts.push(token);
    if (token === ":") parts.push(" ");
    if (token === "{" || token === "[") depth += 1;
    previous = token;
  }
  return parts.join("");
}

// Compares what an example prints with what its page shows. `…` matches whatever differs from run
// to run; the head of examples.test.mjs says where.
import { isDeepStrictEqual } from "node:util";

const ANY = "…";

/**
 * Returns true if a text is the one that is shown, apart from spaces at the ends of lines and
 * empty lines at its end.
 */
export function matchesText(text, shown) {
  const lines = trimmed(shown).map((line) => (line.trim() === ANY ? "(?:.*\\n)*" : `${pattern(line)}\\n`));
  return new RegExp(`^${lines.join("")}$`).test(`${trimmed(text).join("\n")}\n`);
}

/** Returns true if a text is one JSON value and equals the one that is shown. */
export function matchesJson(text, shown) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return false;
  }
  return matches(value, JSON.parse(shown));
}

function matches(value, shown) {
  if (shown === ANY) return true;
  if (typeof shown === "string") return typeof value === "string" && new RegExp(`^${pattern(shown)}$`, "s").test(value);
  if (Array.isArray(shown)) {
    if (!Array.isArray(value)) return false;
    const isOpen = shown.at(-1) === ANY;
    const items = isOpen ? shown.slice(0, -1) : shown;
    return (isOpen ? value.length >= items.length : value.length === items.length) && items.every((item, index) => matches(value[index], item));
  }
  if (shown !== null && typeof shown === "object") {
    if (value === null || typeof value !== "object" || Array.isArray(value)) return false;
    const { [ANY]: isOpen, ...members } = shown;
    const names = Object.keys(members);
    return (isOpen || Object.keys(value).length === names.length) && names.every((name) => Object.hasOwn(value, name) && matches(value[name], members[name]));
  }
  return isDeepStrictEqual(value, shown);
}

const trimmed = (text) =>
  text
    .replace(/\n+$/, "")
    .split("\n")
    .map((line) => line.trimEnd());

const pattern = (text) => text.split(ANY).map(escaped).join(".*");

function escaped(text) {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

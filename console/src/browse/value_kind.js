// What the bytes of a value are.
import { jsonFault } from "./json_text.js";

/** The first bytes of images that browsers show, in hex. */
const IMAGES = [
  ["image/png", /^89504e470d0a1a0a/],
  ["image/jpeg", /^ffd8ff/],
  ["image/gif", /^474946383[79]61/],
  ["image/webp", /^52494646.{8}57454250/],
  ["image/avif", /^.{8}66747970617669[67]/],
  ["image/x-icon", /^00000100(?!00)/],
];

/**
 * Returns `{ text, image, isJson, name }`: the text if the bytes are UTF-8, else `null`; the media
 * type of an image, else `null`; whether it is a JSON object or array; and what to call it.
 */
export function kindOf(bytes) {
  const head = [...bytes.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const text = utf8Text(bytes);
  const [image] = IMAGES.find(([, beginning]) => beginning.test(head)) ?? [text !== null && /^\s*(<\?xml[^>]*>\s*)?<svg\b/.test(text) ? "image/svg+xml" : null];
  const isJson = text !== null && /^\s*[{[]/.test(text) && jsonFault(text) === null;
  return { text, image, isJson, name: nameOf(bytes, text, image, isJson) };
}

function nameOf(bytes, text, image, isJson) {
  if (bytes.length === 0) return "Empty";
  if (image) return image.replace("image/", "").replace("svg+xml", "svg").replace("x-icon", "icon").toUpperCase() + " image";
  if (isJson) return "JSON";
  return text === null ? "Binary" : "Text";
}

/** Returns bytes as text, or `null` if they are not UTF-8. */
export function utf8Text(bytes) {
  try {
    // A byte order mark is part of the value.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/**
 * Returns the one line ending of a text, a line feed if it has none. Returns `null` if they are
 * mixed or bare carriage returns, because an editor would change them.
 */
export function lineEndingOf(text) {
  const endings = new Set(text.match(/\r\n|\r|\n/g));
  const [ending = "\n"] = endings;
  return endings.size > 1 || ending === "\r" ? null : ending;
}

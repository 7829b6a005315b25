// What the bytes of a value are.

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
  const text = textOf(bytes);
  const [image] = IMAGES.find(([, beginning]) => beginning.test(head)) ?? [text !== null && /^\s*(<\?xml[^>]*>\s*)?<svg\b/.test(text) ? "image/svg+xml" : null];
  const isJson = text !== null && /^\s*[{[]/.test(text) && isValid(text);
  return { text, image, isJson, name: nameOf(bytes, text, image, isJson) };
}

function nameOf(bytes, text, image, isJson) {
  if (bytes.length === 0) return "Empty";
  if (image) return image.replace("image/", "").replace("svg+xml", "svg").replace("x-icon", "icon").toUpperCase() + " image";
  if (isJson) return "JSON";
  return text === null ? "Binary" : "Text";
}

function textOf(bytes) {
  try {
    // A byte order mark is part of the value.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

function isValid(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

export const areEqual = (a, b) => a.length === b.length && a.every((byte, index) => byte === b[index]);

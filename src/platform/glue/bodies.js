// Bodies of responses that are to be stored.

/**
 * The most bytes of all bodies that are read at the same time; an isolate has 128 MB. Long bodies
 * have a lower limit, so that they leave room for the others.
 */
const TOGETHER_MAX = 40 * 1024 * 1024;
const LONG = 1024 * 1024;
const LONG_TOGETHER_MAX = 32 * 1024 * 1024;
let together = 0;

/**
 * Reads a stream to its end. Resolves to `null` if it has more than `max` bytes, or not `length`
 * (-1 if that is unknown), or if there is no room for it now. Rejects if it breaks off.
 */
export async function collect(stream, length, max) {
  let taken = 0;
  const take = (bytes) => {
    taken += bytes;
    together += bytes;
    return taken <= max && together <= (taken > LONG ? LONG_TOGETHER_MAX : TOGETHER_MAX);
  };
  try {
    const isKnown = length >= 0;
    if (isKnown && !take(length)) {
      await stream.cancel();
      return null;
    }
    const whole = isKnown ? new Uint8Array(length) : null;
    const parts = [];
    let size = 0;
    for await (const part of stream) {
      const at = size;
      size += part.byteLength;
      if (isKnown ? size > length : !take(part.byteLength)) return null;
      if (isKnown) whole.set(part, at);
      else parts.push(part);
    }
    if (isKnown) return size === length ? whole.buffer : null;
    return await new Blob(parts).arrayBuffer();
  } finally {
    together -= taken;
  }
}

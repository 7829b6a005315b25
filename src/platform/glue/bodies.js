// Bodies of responses that are to be stored.

/**
 * The most bytes of all bodies that are in memory at the same time; an isolate has 128 MB. A long
 * body is refused at a smaller total, so that long ones leave room for the others.
 */
const IN_MEMORY_MAX = 40 * 1024 * 1024;
const LONG = 1024 * 1024;
const IN_MEMORY_MAX_FOR_LONG = 32 * 1024 * 1024;
let bytesInMemory = 0;

/**
 * Reads a stream to its end. Resolves to `null` if it has more than `max` bytes, or not `length`
 * (-1 if that is unknown), or if there is no room for it now. Rejects if it breaks off.
 */
export async function collect(stream, length, max) {
  let taken = 0;
  const take = (bytes) => {
    taken += bytes;
    bytesInMemory += bytes;
    return taken <= max && bytesInMemory <= (taken > LONG ? IN_MEMORY_MAX_FOR_LONG : IN_MEMORY_MAX);
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
    bytesInMemory -= taken;
  }
}

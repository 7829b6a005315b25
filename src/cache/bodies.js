// Bodies of kept answers.

/** Bodies that are collected at the same time may have so many bytes together; an isolate has 128 MB. */
const TOGETHER_MAX = 40 * 1024 * 1024;
let together = 0;

/**
 * All bytes of a stream; `null` where it has other than `length` or, where that is not known (-1), more than `max`, and where there
 * is no room for it now. Rejects where it breaks off.
 */
export async function collect(stream, length, max) {
  let taken = 0;
  const whole = length >= 0 ? new Uint8Array(length) : null;
  const parts = [];
  try {
    for await (const part of stream) {
      const at = taken;
      taken += part.byteLength;
      together += part.byteLength;
      if (taken > (whole ? length : max) || together > TOGETHER_MAX) return null;
      if (whole) whole.set(part, at);
      else parts.push(part);
    }
    if (whole) return taken === length ? whole.buffer : null;
    return await new Blob(parts).arrayBuffer();
  } finally {
    together -= taken;
  }
}

/** `length` bytes of a stream from `start` on. */
export function part(stream, start, length) {
  const { readable, writable } = new FixedLengthStream(length);
  const writer = writable.getWriter();
  const copy = async () => {
    let at = 0;
    for await (const bytes of stream) {
      const wanted = bytes.subarray(Math.max(0, start - at), Math.max(0, start + length - at));
      if (wanted.byteLength > 0) await writer.write(wanted);
      at += bytes.byteLength;
      if (at >= start + length) break;
    }
    await writer.close();
  };
  // A stream that breaks off shows at the other end.
  copy().catch((error) => writer.abort(error).catch(() => {}));
  return readable;
}

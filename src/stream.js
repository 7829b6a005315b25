// Parts of streams. KV gives a value from its beginning only.

/** Writes the bytes of a stream from `start` to `end` (not included) to another. Rejects where it ends before. */
export async function copy(stream, start, end, writable) {
  const writer = writable.getWriter();
  try {
    let at = 0;
    for await (const bytes of stream) {
      const wanted = bytes.subarray(Math.max(0, start - at), Math.max(0, end - at));
      if (wanted.byteLength > 0) await writer.write(wanted);
      at += bytes.byteLength;
      if (at >= end) return;
    }
    throw new Error("a value is shorter than it should be");
  } finally {
    // Who ends the other stream needs it unlocked.
    writer.releaseLock();
  }
}

/** `length` bytes of a stream from `start` on. */
export function part(stream, start, length) {
  const { readable, writable } = new FixedLengthStream(length);
  // A stream that breaks off shows at the other end.
  copy(stream, start, start + length, writable)
    .then(() => writable.close())
    .catch((error) => writable.abort(error).catch(() => {}));
  return readable;
}

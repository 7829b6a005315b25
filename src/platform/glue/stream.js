// Parts of streams. KV gives a value from its beginning only.

/** Reads a stream once, from its beginning to its end, and passes parts of it on. */
export class Reader {
  #reader;
  /** Where the bytes at hand begin. */
  #at = 0;
  #bytes = new Uint8Array();

  constructor(stream) {
    this.#reader = stream.getReader();
  }

  /**
   * Writes the bytes from `start` to `end` (not included) to another stream; `start` is not before the `end` of the last time. Rejects where
   * the stream ends before.
   */
  async copy(start, end, writable) {
    const writer = writable.getWriter();
    try {
      for (;;) {
        const wanted = this.#bytes.subarray(Math.max(0, start - this.#at), Math.max(0, end - this.#at));
        if (wanted.byteLength > 0) await writer.write(wanted);
        if (this.#at + this.#bytes.byteLength >= end) return;
        const { value, done } = await this.#reader.read();
        if (done) throw new Error("a value is shorter than it should be");
        this.#at += this.#bytes.byteLength;
        this.#bytes = value;
      }
    } finally {
      // Who ends the other stream needs it unlocked.
      writer.releaseLock();
    }
  }

  /** Reads no more. */
  cancel() {
    return this.#reader.cancel();
  }
}

/** `length` bytes of a stream from `start` on. */
export function part(stream, start, length) {
  const { readable, writable } = new FixedLengthStream(length);
  const reader = new Reader(stream);
  // A stream that breaks off shows at the other end.
  reader
    .copy(start, start + length, writable)
    .then(() => writable.close())
    .catch((error) => writable.abort(error).catch(() => {}))
    .finally(() => reader.cancel().catch(() => {}));
  return readable;
}

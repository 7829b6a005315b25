// Parts of streams. KV has no range reads: each read begins at the first byte.

/** Reads a stream once, from its beginning on, and copies parts of it. */
export class Reader {
  #reader;
  /** The position of the first of `#bytes` in the stream. */
  #at = 0;
  #bytes = new Uint8Array();

  constructor(stream) {
    this.#reader = stream.getReader();
  }

  /**
   * Writes the bytes from `start` to `end` (exclusive) to another stream. `start` is not before
   * the `end` of the previous call. Rejects if the stream ends earlier.
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
      // Whoever ends the other stream needs it unlocked.
      writer.releaseLock();
    }
  }

  /** Cancels the rest. */
  cancel() {
    return this.#reader.cancel();
  }
}

/** Returns `length` bytes of a stream from `start` on, as a stream of known length. */
export function part(stream, start, length) {
  const { readable, writable } = new FixedLengthStream(length);
  const reader = new Reader(stream);
  // Errors of the stream reach the reader of the part.
  reader
    .copy(start, start + length, writable)
    .then(() => writable.close())
    .catch((error) => writable.abort(error).catch(() => {}))
    .finally(() => reader.cancel().catch(() => {}));
  return readable;
}

// Bodies that are put together of several values of KV, or of parts of them. One value after the other is passed on; none is held in
// memory.
import { Reader } from "./stream.js";

const utf8 = new TextEncoder();

/**
 * A stream of `total` bytes; it breaks off where the values have more or fewer. `pieces` are texts, and `[key, length, start, end]` for the
 * bytes from `start` to `end` (not included) of a value of `length` bytes, as JSON; those of one value in ascending order. `first` is the
 * stream of the first value.
 */
export function assembled(namespace, pieces, first, total) {
  const { readable, writable } = new FixedLengthStream(total);
  // What breaks off shows at the other end.
  write(namespace, JSON.parse(pieces), first, writable).catch((error) => writable.abort(error).catch(() => {}));
  return readable;
}

async function write(namespace, pieces, first, writable) {
  let opened = first;
  let current;
  for (const piece of pieces) {
    if (typeof piece === "string") {
      const writer = writable.getWriter();
      await writer.write(utf8.encode(piece));
      writer.releaseLock();
      continue;
    }
    const [key, length, start, end] = piece;
    // Each value is read once, however many parts of it are wanted.
    if (current?.key !== key) {
      await current?.reader.cancel();
      const stream = opened ?? (await open(namespace, key));
      opened = current = undefined;
      if (start === 0 && end === length) {
        await stream.pipeTo(writable, { preventClose: true });
        continue;
      }
      current = { key, reader: new Reader(stream) };
    }
    await current.reader.copy(start, end, writable);
  }
  await current?.reader.cancel();
  await writable.close();
}

/** Reads a value, once more where that fails or it is not there: half of the answer is sent already. */
async function open(namespace, key) {
  const read = () => namespace.get(key, { type: "stream", cacheTtl: 300 });
  const stream = (await read().catch(() => null)) ?? (await read());
  if (stream === null) throw new Error("a part of a file is missing");
  return stream;
}

/** The same of one value that is in memory. */
export function sliced(bytes, pieces, total) {
  const whole = new Uint8Array(total);
  let at = 0;
  for (const piece of JSON.parse(pieces)) {
    const part = typeof piece === "string" ? utf8.encode(piece) : new Uint8Array(bytes, piece[2], piece[3] - piece[2]);
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

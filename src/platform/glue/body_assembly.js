// Bodies that are put together from values of KV, or from parts of them, and the texts between
// parts. In a stream, one value after the other is passed on; none is held in memory.
import { Reader } from "./stream.js";

const utf8 = new TextEncoder();

/**
 * Returns a stream of `total` bytes, which breaks off if the values have more or fewer. `pieces`
 * are JSON: texts, and `[key, length, start, end]` for the bytes from `start` to `end` (exclusive)
 * of a value of `length` bytes. `first` is the stream of the first value, if there is one.
 * `countRead`, if there is one, is called at each further read.
 */
export function assembled(namespace, pieces, first, total, countRead) {
  const { readable, writable } = new FixedLengthStream(total);
  const read = (key) => {
    try {
      countRead?.();
    } catch {
      // Its instance of WebAssembly has trapped since; the response goes on.
    }
    return namespace.get(key, { type: "stream", cacheTtl: 300 });
  };
  // An error breaks off the stream.
  write(read, JSON.parse(pieces), first, writable).catch((error) => writable.abort(error).catch(() => {}));
  return readable;
}

async function write(read, pieces, first, writable) {
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
    // One read serves parts of a value that follow each other in ascending order. A part that
    // begins before the last one ended needs another: a file may have the same chunk twice in a
    // row.
    if (current?.key !== key || start < current.end) {
      await current?.reader.cancel();
      const stream = opened ?? (await open(read, key));
      opened = current = undefined;
      if (start === 0 && end === length) {
        await stream.pipeTo(writable, { preventClose: true });
        continue;
      }
      current = { key, reader: new Reader(stream) };
    }
    await current.reader.copy(start, end, writable);
    current.end = end;
  }
  await current?.reader.cancel();
  await writable.close();
}

/**
 * Reads a value, and tries once more if that fails or finds none: a part of the response may be
 * sent already.
 */
async function open(read, key) {
  const stream = (await read(key).catch(() => null)) ?? (await read(key));
  if (stream === null) throw new Error("a part of a file is missing");
  return stream;
}

/**
 * Returns what `assembled` would stream, as bytes. All pieces are of one value, whose `bytes` are
 * in memory.
 */
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

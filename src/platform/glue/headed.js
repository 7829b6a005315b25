// Values of KV that have a head: JSON that says what the body is. It stands in the metadata beside the body where it fits there
// ("Limits": 1024 bytes), and before the body otherwise; then the metadata says how many bytes it has.

const utf8 = { decoder: new TextDecoder(), encoder: new TextEncoder() };

/**
 * Reads a value: `{ head, bytes }` where it has at most `smallMax` bytes, else `{ head, stream }`; `null` where there is none. A value
 * without a head, or one that is shorter than it says, has no `head`. Rejects where KV does not answer in time.
 */
export function readHeaded(namespace, key, smallMax, milliseconds) {
  return new Promise((resolve, reject) => {
    // It ends with the request. Clearing it before costs more than it does.
    setTimeout(() => reject(new Error("KV GET did not end in time")), milliseconds);
    read(namespace, key, smallMax).then(resolve, reject);
  });
}

async function read(namespace, key, smallMax) {
  // A value that is wanted whole, however long it is, comes as bytes at once.
  const isWhole = smallMax === Infinity;
  const { value, metadata } = await namespace.getWithMetadata(key, isWhole ? "arrayBuffer" : "stream");
  if (value === null) return null;
  const { head, prefix = 0, length } = metadata ?? {};
  if (!Number.isSafeInteger(length)) return isWhole ? { bytes: value } : { stream: value };
  if (prefix + length <= smallMax) {
    const bytes = isWhole ? value : await new Response(value).arrayBuffer();
    if (bytes.byteLength !== prefix + length) return {};
    if (prefix === 0) return { head, bytes };
    return { head: utf8.decoder.decode(new Uint8Array(bytes, 0, prefix)), bytes: bytes.slice(prefix) };
  }
  let start = head;
  if (prefix > 0) {
    const reader = value.getReader({ mode: "byob" });
    const { value: bytes } = await reader.readAtLeast(prefix, new Uint8Array(prefix));
    reader.releaseLock();
    start = utf8.decoder.decode(bytes);
  }
  // A value that is shorter than it says, or breaks off, shows at the other end.
  const { readable, writable } = new FixedLengthStream(length);
  value.pipeTo(writable).catch(() => {});
  return { head: start, stream: readable };
}

/** A body with its head before it, and the bytes of the head. */
export function prefixed(head, body) {
  const start = utf8.encoder.encode(head);
  const value = new Uint8Array(start.byteLength + body.byteLength);
  value.set(start);
  value.set(new Uint8Array(body), start.byteLength);
  return { value, prefix: start.byteLength };
}

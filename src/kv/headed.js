// Values of KV that have a head: JSON that says what the body is. It stands in the metadata beside the body where it fits there
// ("Limits": 1024 bytes), and before the body otherwise; then the metadata says how many bytes it has.

const utf8 = { decoder: new TextDecoder(), encoder: new TextEncoder() };

/**
 * Reads a value: `{ head, bytes }` where it has at most `smallMax` bytes, else `{ head, stream }`; `null` where there is none. A value
 * without a head, or one that is shorter than it says, has no `head`.
 */
export async function readHeaded(namespace, key, smallMax) {
  const { value, metadata } = await namespace.getWithMetadata(key, "stream");
  if (value === null) return null;
  const { head, prefix = 0, length } = metadata ?? {};
  if (!Number.isSafeInteger(length)) return { stream: value };
  if (prefix + length <= smallMax) {
    const bytes = await new Response(value).arrayBuffer();
    if (bytes.byteLength !== prefix + length) return {};
    if (prefix === 0) return { head, bytes };
    return { head: utf8.decoder.decode(new Uint8Array(bytes, 0, prefix)), bytes: bytes.slice(prefix) };
  }
  if (prefix === 0) return { head, stream: value };
  const reader = value.getReader({ mode: "byob" });
  const { value: start } = await reader.readAtLeast(prefix, new Uint8Array(prefix));
  reader.releaseLock();
  const { readable, writable } = new FixedLengthStream(length);
  // A value that breaks off shows at the other end.
  value.pipeTo(writable).catch(() => {});
  return { head: utf8.decoder.decode(start), stream: readable };
}

/** A body with its head before it, and the bytes of the head. */
export function prefixed(head, body) {
  const start = utf8.encoder.encode(head);
  const value = new Uint8Array(start.byteLength + body.byteLength);
  value.set(start);
  value.set(new Uint8Array(body), start.byteLength);
  return { value, prefix: start.byteLength };
}

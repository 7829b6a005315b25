// Values of KV with a head: JSON that describes the body. The head is in the metadata of the key
// if it fits there (KV documentation, "Limits": 1024 bytes). Otherwise it precedes the body, and
// the metadata has its length in bytes.

const utf8 = { decoder: new TextDecoder(), encoder: new TextEncoder() };

/**
 * Reads a value: `{ head, length, bytes }` if its metadata says that head and body have at most
 * `smallMax` bytes, else `{ head, length, stream }`; `null` if there is none. If the metadata does
 * not say how long the body is, there is only `bytes` or `stream`. If the value has another length
 * than it says, the result is `{}`, and a stream ends with an error.
 */
export async function readEnvelope(namespace, key, smallMax) {
  // A value that is read whole, of any length, comes as bytes at once.
  const isWhole = smallMax === Infinity;
  const { value, metadata } = await namespace.getWithMetadata(key, isWhole ? "arrayBuffer" : "stream");
  if (value === null) return null;
  const { head, prefix = 0, length } = metadata ?? {};
  if (!Number.isSafeInteger(length)) return isWhole ? { bytes: value } : { stream: value };
  if (prefix + length <= smallMax) {
    const bytes = isWhole ? value : await new Response(value).arrayBuffer();
    if (bytes.byteLength !== prefix + length) return {};
    if (prefix === 0) return { head, length, bytes };
    return { head: utf8.decoder.decode(new Uint8Array(bytes, 0, prefix)), length, bytes: bytes.slice(prefix) };
  }
  let start = head;
  if (prefix > 0) {
    const reader = value.getReader({ mode: "byob" });
    const { value: bytes } = await reader.readAtLeast(prefix, new Uint8Array(prefix));
    reader.releaseLock();
    start = utf8.decoder.decode(bytes);
  }
  // Whoever reads the stream gets the error if the value has another length than its metadata
  // says, or breaks off.
  const { readable, writable } = new FixedLengthStream(length);
  value.pipeTo(writable).catch(() => {});
  return { head: start, length, stream: readable };
}

/**
 * Returns `{ value, options }` to put for a body and its head, with an expiration in seconds. The
 * metadata, as JSON, has at most `metadataMax` bytes.
 */
export function envelope(head, body, metadataMax, expirationTtl) {
  const beside = { head, length: body.byteLength };
  if (utf8.encoder.encode(JSON.stringify(beside)).byteLength <= metadataMax) return { value: body, options: { expirationTtl, metadata: beside } };
  const start = utf8.encoder.encode(head);
  const value = new Uint8Array(start.byteLength + body.byteLength);
  value.set(start);
  value.set(new Uint8Array(body), start.byteLength);
  return { value, options: { expirationTtl, metadata: { prefix: start.byteLength, length: body.byteLength } } };
}

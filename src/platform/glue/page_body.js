// Bodies of pages, without their content codings. This is JavaScript because each chunk of a
// stream would be a call into WebAssembly and back.
//
// The runtime logs a pipe that breaks off as `Uncaught Error`, even if the error is caught. So a
// page that is too long ends early for the decoders, and the caller gets `null`.

/**
 * Returns the name of the encoding that a label names (Encoding Standard, §4.2); `undefined` if
 * the platform does not decode it.
 */
export function encodingOf(label) {
  try {
    return new TextDecoder(label).encoding;
  } catch {
    return undefined;
  }
}

/** Returns the text of bytes in an encoding. */
export const decode = (bytes, encoding) => new TextDecoder(encoding).decode(bytes);

/**
 * Reads a page, which is a stream or bytes, and removes its content codings. `codings` has them in
 * the order of decoding, which is the reverse of that in `Content-Encoding`, separated by commas.
 * `length` is the value of `Content-Length`. Resolves to `null` if the page has more than
 * `bytesMax` bytes before or after a coding. Rejects if it breaks off, or is not encoded as its
 * codings say.
 */
export async function readPage(body, codings, length, bytesMax) {
  // The runtime enforces a declared length, so a page that is too long need not be read. With
  // codings, only the counting below tells.
  if (codings === "" && Number(length || "NaN") > bytesMax) {
    await body.cancel?.().catch(() => {});
    return null;
  }
  let isTooLong = false;
  // Each coding has its own bound: a few bytes may expand to gigabytes that the next coding
  // shrinks to nothing.
  async function* bounded(chunks) {
    let bytes = 0;
    for await (const chunk of chunks) {
      bytes += chunk.byteLength;
      isTooLong ||= bytes > bytesMax;
      if (isTooLong) return;
      yield chunk;
    }
  }
  let chunks = bounded(body instanceof ArrayBuffer ? [new Uint8Array(body)] : body);
  for (const coding of codings.split(",")) {
    if (coding !== "") chunks = bounded(decoded(chunks, coding));
  }
  const parts = [];
  let size = 0;
  try {
    for await (const chunk of chunks) {
      parts.push(chunk);
      size += chunk.byteLength;
    }
  } catch (error) {
    // The decoders fail, too, if they do not get all of a page.
    if (!isTooLong) throw error;
  }
  if (isTooLong) return null;
  const page = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    page.set(part, at);
    at += part.byteLength;
  }
  return page;
}

/** Removes a content coding. */
function decoded(chunks, coding) {
  // `DecompressionStream` of the platform reads neither `br` nor `zstd`, and its errors are logged
  // as uncaught. `import` is not used, because the bundler would look for the modules on disk.
  const zlib = process.getBuiltinModule("node:zlib");
  const { pipeline } = process.getBuiltinModule("node:stream");
  const decoders = {
    gzip: zlib.createGunzip,
    deflate: zlib.createInflate,
    br: zlib.createBrotliDecompress,
    zstd: zlib.createZstdDecompress,
  };
  // Errors reach the reader of the result.
  return pipeline(chunks, decoders[coding](), () => {});
}

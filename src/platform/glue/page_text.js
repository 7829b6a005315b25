// Collects title and text of a page while it streams through the HTMLRewriter of the platform.
// This is JavaScript because a page has hundreds of text nodes: a call into WebAssembly for each
// of them, and for each piece of output, made a cache miss three times as expensive.
//
// No handler throws and no pipe breaks off, because the runtime logs either as `Uncaught Error`
// even if somebody catches it. For the rewriter a page that is too long or breaks off just ends
// there; the caller learns of the fault afterwards.

// Elements whose text is not shown. The selectors are plain names, and the text is taken from the
// document: for `body script` the rewriter searches all open elements, which takes seconds on a
// page with many of them.
const UNREAD = "script, style, noscript, template";

// The most handler calls for one page. Each takes about 10 µs, and no deadline can interrupt code
// that runs without a pause.
const CALLS_MAX = 50_000;

// The rewriter gets this many bytes at a time, so that a page with too many elements ends soon
// after the last allowed call.
const SLICE_BYTES = 16 * 1024;

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

/**
 * Begins to read a page, which is a stream, bytes or `null`. Removes its content codings, which
 * are separated by commas, and reads its first bytes into `head`. `length` is the value of
 * `Content-Length`. Rejects if the page breaks off within these bytes.
 */
export async function openPage(body, codings, length, bytesMax, headBytes) {
  const page = { head: new Uint8Array(), begun: [], rest: undefined, tooLong: false, title: undefined, content: undefined };
  // The runtime enforces a declared length, but it is the length before decompression.
  if (codings === "" && Number(length || "NaN") > bytesMax) {
    page.tooLong = true;
    await body?.cancel?.().catch(() => {});
    return page;
  }
  page.rest = bounded(chunksOf(body), bytesMax, page);
  for (const coding of codings.split(",")) {
    // Each coding has its own bound: a few bytes may expand to gigabytes that the next coding
    // shrinks to nothing.
    if (coding !== "") page.rest = bounded(decoded(page.rest, coding), bytesMax, page);
  }
  const head = new Uint8Array(headBytes);
  let filled = 0;
  while (filled < headBytes) {
    const { value: chunk, done } = await page.rest.next();
    if (done) break;
    page.begun.push(chunk);
    head.set(chunk.subarray(0, headBytes - filled), filled);
    filled = Math.min(headBytes, filled + chunk.byteLength);
  }
  page.head = head.subarray(0, filled);
  return page;
}

async function* chunksOf(body) {
  if (body instanceof ArrayBuffer) yield new Uint8Array(body);
  else if (body !== null) yield* body;
}

/** Ends after so many bytes, and marks the page as too long. */
async function* bounded(chunks, bytesMax, page) {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) {
      page.tooLong = true;
      return;
    }
    yield chunk;
  }
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

/**
 * Reads an opened page in this encoding until it ends or is too long. Then `title` and `content`
 * of the page are raw text with character references, or `undefined` if the page has no such
 * element. Each tag and comment becomes a space. `isDecodedBefore` means that the rewriter does
 * not know the encoding and gets UTF-8. Rejects if the page breaks off.
 */
export async function readText(page, encoding, isDecodedBefore) {
  let isTitle = false;
  let unread = 0;
  let calls = 0;
  const count = () => {
    calls += 1;
    page.tooLong ||= calls > CALLS_MAX;
  };
  const textOf = ({ text, lastInTextNode }) => (lastInTextNode ? `${text} ` : text);
  const rewriter = new HTMLRewriter()
    .on("title", {
      // The first one before the body names the page; SVG images have titles too.
      element() {
        count();
        isTitle = page.title === undefined && page.content === undefined;
        if (isTitle) page.title = "";
      },
      text(chunk) {
        if (isTitle) page.title += textOf(chunk);
      },
    })
    .on(UNREAD, {
      element(element) {
        count();
        // Only the text of the body is read, so an unclosed element in the head must not hide it.
        if (page.content === undefined) return;
        // An element without an end tag, such as `<script/>` in SVG, has no text to skip.
        try {
          element.onEndTag(() => (unread -= 1));
          unread += 1;
        } catch {}
      },
    })
    .on("body", {
      element() {
        page.content ??= "";
      },
    })
    .onDocument({
      text(chunk) {
        count();
        if (unread === 0 && page.content !== undefined) page.content += textOf(chunk);
      },
    });
  const { readable, writable } = new IdentityTransformStream();
  const fed = feed(page, writable, isDecodedBefore ? new TextDecoder(encoding) : undefined);
  const headers = { "content-type": `text/html; charset=${isDecodedBefore ? "utf-8" : encoding}` };
  // The rewriter writes its output in many small pieces; reading them one by one would cost more
  // than the parsing.
  await rewriter.transform(new Response(readable, { headers })).arrayBuffer();
  const broken = await fed;
  if (broken !== undefined && !page.tooLong) throw broken;
}

/**
 * Writes a page slice by slice, in UTF-8 if there is a decoder, until it ends or is too long.
 * Resolves to the error that it broke off with, if any.
 */
async function feed(page, writable, decoder) {
  const writer = writable.getWriter();
  const utf8 = new TextEncoder();
  const write = async (chunk, stream) => {
    const bytes = decoder ? utf8.encode(decoder.decode(chunk, { stream })) : chunk;
    for (let at = 0; at < bytes.byteLength && !page.tooLong; at += SLICE_BYTES) {
      await writer.write(bytes.subarray(at, at + SLICE_BYTES));
    }
  };
  try {
    for (const chunk of page.begun) await write(chunk, true);
    for await (const chunk of page.rest) {
      if (page.tooLong) break;
      await write(chunk, true);
    }
    if (decoder) await write(new Uint8Array(), false);
    return undefined;
  } catch (error) {
    return error;
  } finally {
    await writer.close().catch(() => {});
  }
}

// Collects title and text of a page while it streams through the platform's HTMLRewriter. In
// JavaScript because a page has hundreds of text nodes: calls into WebAssembly for each of them,
// and for each piece of the rewriter's output, made a miss cost three times what it costs this
// way.
//
// No handler throws, and no pipe breaks off: the runtime logs that as `Uncaught Error`, whoever
// catches it. For the rewriter a page that is too long, or breaks off, just ends there; what was
// wrong with it is told afterwards.

// Text that nobody reads on the page. Plain names, and the text taken from the document, because
// the rewriter searches all open elements for `body script`, which a page with many of them turns
// into seconds.
const UNREAD = "script, style, noscript, template";

// Calls of the handlers below for one page. Each costs some 10 µs, and the deadline cannot end
// what runs without a pause.
const CALLS_MAX = 50_000;

// The rewriter gets so many bytes at a time, so that a page with too many elements ends soon after
// the last call that counts.
const SLICE_BYTES = 16 * 1024;

/**
 * The name of the encoding that a label names (Encoding Standard, §4.2); `undefined` for none that
 * the platform decodes.
 */
export function encodingOf(label) {
  try {
    return new TextDecoder(label).encoding;
  } catch {
    return undefined;
  }
}

/**
 * Begins to read a page, which is a stream, bytes or `null`. Takes off its content codings,
 * separated by commas, and looks at its first bytes, its `head`. `length` is what its header
 * fields say. Rejects if the page breaks off in its head.
 */
export async function openPage(body, codings, length, bytesMax, headBytes) {
  const page = { head: new Uint8Array(), begun: [], rest: undefined, tooLong: false, title: undefined, content: undefined };
  // The runtime keeps to a declared length, but it is the length before decompression.
  if (codings === "" && Number(length || "NaN") > bytesMax) {
    page.tooLong = true;
    await body?.cancel?.().catch(() => {});
    return page;
  }
  page.rest = bounded(chunksOf(body), bytesMax, page);
  for (const coding of codings.split(",")) {
    // Each by itself: a few bytes may say gigabytes that the next one makes nothing of.
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

/** Ends past so many bytes, and notes that the page is too long. */
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

/** The same bytes without their content coding. */
function decoded(chunks, coding) {
  // The platform's own `DecompressionStream` reads neither `br` nor `zstd`, and logs what it
  // cannot read as uncaught. Not `import`: the bundler of the build would look for the modules on
  // the disk.
  const zlib = process.getBuiltinModule("node:zlib");
  const { pipeline } = process.getBuiltinModule("node:stream");
  const decoders = {
    gzip: zlib.createGunzip,
    deflate: zlib.createInflate,
    br: zlib.createBrotliDecompress,
    zstd: zlib.createZstdDecompress,
  };
  // What goes wrong shows at the end that is read.
  return pipeline(chunks, decoders[coding](), () => {});
}

/**
 * Reads an opened page in this encoding to its end, or until it is too long. `title` and `content`
 * of the page are then raw text, character references and all, or `undefined` if the page has no
 * such element. Each tag and comment is a space. `isDecodedBefore`: the rewriter does not know the
 * encoding, and gets UTF-8. Rejects if the page breaks off.
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
      // The first one before the body names the page; an SVG image has titles too.
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
        // Only the body's text is read, so one that is never closed in the head must not hide it.
        if (page.content === undefined) return;
        // An element without an end tag, such as `<script/>` in SVG, has no text to leave out.
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
  // The rewriter gives its output in very many small pieces: reading them one by one would cost
  // more than the parsing.
  await rewriter.transform(new Response(readable, { headers })).arrayBuffer();
  const broken = await fed;
  if (broken !== undefined && !page.tooLong) throw broken;
}

/**
 * Writes a page slice by slice, in UTF-8 if there is a decoder, until it ends or is too long.
 * Resolves to what it broke off with, if it did.
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

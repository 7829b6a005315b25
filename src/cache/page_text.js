// Collects title and text of a page while it streams through the platform's HTMLRewriter. In JavaScript because a page has
// hundreds of text nodes: calls into WebAssembly for each of them, and for each piece of the rewriter's output, made a miss
// cost three times what it costs this way.

// Text that nobody reads on the page. Plain names, and the text taken from the document, because the rewriter searches all
// open elements for `body script`, which a page with many of them turns into seconds.
const UNREAD = "script, style, noscript, template";

// Calls of the handlers below for one page. Each costs some 10 µs, and the deadline cannot end what runs without a pause.
const CALLS_MAX = 50_000;

/** Raw text, character references and all; `undefined` where the page has no such element. Each tag and comment is a space. */
export async function collectText(body, encoding, length, bytesMax) {
  const page = { title: undefined, content: undefined, tooLong: false };
  const tooLong = () => {
    page.tooLong = true;
    return new Error("the page is too long");
  };
  let isTitle = false;
  let unread = 0;
  let calls = 0;
  const count = () => {
    calls += 1;
    if (calls > CALLS_MAX) throw tooLong();
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
  try {
    // The rewriter gives its output in very many small pieces: reading them one by one would cost more than the parsing.
    await rewriter.transform(new Response(limit(body, encoding, length, bytesMax, tooLong))).arrayBuffer();
  } catch (error) {
    if (!page.tooLong) throw error;
  }
  return page;
}

/** The body without its content coding, which fails with `tooLong()` past the limit; `null`, a stream or bytes. */
function limit(body, encoding, length, bytesMax, tooLong) {
  if (body === null) return null;
  const isPlain = encoding === "" || encoding.toLowerCase() === "identity";
  // The runtime keeps to a declared length, but it is the length before decompression.
  const declared = body instanceof ArrayBuffer ? body.byteLength : Number(length || "NaN");
  if (isPlain && declared <= bytesMax) return body;
  if (isPlain && declared > bytesMax) {
    void body.cancel?.();
    throw tooLong();
  }
  let bytes = 0;
  const counter = new TransformStream({
    transform(chunk, controller) {
      bytes += chunk.byteLength;
      if (bytes > bytesMax) throw tooLong();
      controller.enqueue(chunk);
    },
  });
  return (isPlain ? body : decoded(body, encoding)).pipeThrough(counter);
}

/** The body without its content coding. */
function decoded(body, encoding) {
  const format = { gzip: "gzip", "x-gzip": "gzip", deflate: "deflate" }[encoding.toLowerCase()];
  if (format === undefined) throw new Error(`the content coding ${encoding} cannot be read`);
  return new Response(body).body.pipeThrough(new DecompressionStream(format));
}

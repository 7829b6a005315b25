// The little of HTTP/1.1 that the load and the loopback servers need: messages whose body has a
// Content-Length or is chunked; with neither field there is no body. So a 304, and a response to
// HEAD, must not have a Content-Length. Node's own client and server would cost more CPU
// than the Worker under test.

const EMPTY = Buffer.alloc(0);
const LINE = Buffer.from("\r\n");
const BLANK_LINE = Buffer.from("\r\n\r\n");

export class MessageReader {
  #onMessage;
  #keepsBody;
  #unread = EMPTY;
  #head = null;
  #chunked = false;
  #lastChunk = false;
  #left = 0;
  #length = 0;
  #parts = [];

  /**
   * `onMessage(head, length, body)`: `head` without its blank line; `body` is empty unless
   * `keepsBody`.
   */
  constructor(onMessage, { keepsBody = false } = {}) {
    this.#onMessage = onMessage;
    this.#keepsBody = keepsBody;
  }

  /** Takes the next bytes of the connection. Their buffer may be used again afterwards. */
  feed(bytes) {
    let at = 0;
    if (this.#unread.length > 0) {
      bytes = Buffer.concat([this.#unread, bytes]);
      this.#unread = EMPTY;
    }
    while (at < bytes.length) {
      if (this.#left > 0) {
        at += this.#takeBody(bytes.subarray(at, at + this.#left));
        continue;
      }
      const mark = this.#chunked ? LINE : BLANK_LINE;
      const end = bytes.indexOf(mark, at);
      if (end < 0) {
        this.#unread = Buffer.from(bytes.subarray(at));
        return;
      }
      const text = bytes.latin1Slice(at, end);
      at = end + mark.length;
      if (this.#chunked) this.#takeChunkLine(text);
      else this.#takeHead(text);
    }
  }

  #takeHead(head) {
    this.#head = head;
    this.#chunked = /^transfer-encoding: *chunked/im.test(head);
    if (this.#chunked) return;
    this.#left = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
    if (this.#left === 0) this.#finish();
  }

  #takeBody(bytes) {
    if (this.#keepsBody) this.#parts.push(Buffer.from(bytes));
    this.#length += bytes.length;
    this.#left -= bytes.length;
    if (this.#left === 0 && !this.#chunked) this.#finish();
    return bytes.length;
  }

  /**
   * A chunk's size, the empty line after its data, a trailer field, or the empty line at the end
   * of it all.
   */
  #takeChunkLine(line) {
    if (this.#lastChunk) {
      if (line === "") this.#finish();
    } else if (line !== "") {
      this.#left = parseInt(line, 16);
      this.#lastChunk = this.#left === 0;
    }
  }

  #finish() {
    const [head, length, body] = [this.#head, this.#length, this.#keepsBody ? Buffer.concat(this.#parts) : EMPTY];
    this.#chunked = this.#lastChunk = false;
    this.#length = 0;
    this.#parts = [];
    this.#onMessage(head, length, body);
  }
}

/** Returns an HTTP/1.1 message, whose `Content-Length` is that of `body`. */
export function message(startLine, fields, body = "") {
  const bytes = Buffer.from(body);
  const head = Object.entries({ ...fields, "content-length": bytes.length }).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`${startLine}\r\n${head.join("")}\r\n`, "latin1"), bytes]);
}

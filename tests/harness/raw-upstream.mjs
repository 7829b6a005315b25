// An upstream on loopback that records the bytes it receives and sends the bytes that a test
// chooses, however malformed. It is not an HTTP server: it only finds where a request ends.
import { createHash } from "node:crypto";
import net from "node:net";
import { after } from "node:test";
import { uniqueName } from "./names.mjs";

/** Longer bodies are counted and hashed, but not kept. */
const KEPT_BYTES_MAX = 1024 * 1024;

/**
 * Starts an upstream for a test file; it stops after the last test.
 *
 * A handler gets `{ request, write, end, reset, pause, upgrade }`:
 * - `request` is a `ReceivedRequest`;
 * - `write(text or bytes)` sends them unchanged, text as Latin-1;
 * - `end()` closes the connection, `reset()` closes it with a TCP RST;
 * - `pause()` stops reading from the client;
 * - `upgrade(onData)` passes it all further bytes, as after a protocol upgrade.
 *
 * A connection stays open after a response, until the client or the handler closes it.
 */
export async function startRawUpstream() {
  const routes = new Map();
  const requests = [];
  const sockets = new Set();
  const self = { fallback: respond("200 OK") };
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // A client may close the connection at any time.
    socket.on("error", () => {});
    // Each request on the connection waits for its end.
    socket.setMaxListeners(0);
    const parser = new Parser(socket, (request) => {
      requests.push(request);
      const handler = routes.get(request.target) ?? routes.get(request.target.split("?")[0]) ?? self.fallback;
      Promise.resolve(handler(exchangeOf(request, socket, parser))).catch((error) => {
        // A client that closes before its body is complete is no fault of the handler.
        if (error !== CLIENT_CLOSED) console.error("a handler of the raw upstream failed:", error);
      });
    });
    socket.on("data", (bytes) => parser.push(bytes));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address();
  const origin = `http://127.0.0.1:${port}`;
  return {
    origin,
    port,
    host: `127.0.0.1:${port}`,
    /** Every `ReceivedRequest` so far, in order of arrival. */
    requests,
    /** Returns the requests for this path so far, whatever their query. */
    requestsTo: (path) => requests.filter(({ target }) => target.split("?")[0] === path),
    /** Serves `handler` at a new path, or at the given one, and returns the path. */
    serve(handler, path = `/${uniqueName("raw")}`) {
      routes.set(path, handler);
      return path;
    },
    /** Sets the handler of every other path. */
    serveByDefault(handler) {
      self.fallback = handler;
    },
  };
}

/**
 * Starts `n` upstreams. `routingOrigins` is the value of ROUTING_ORIGINS with all of them;
 * `upstreamOf(handler)` returns an unused one that serves `handler` at every path.
 */
export async function startRawUpstreams(n) {
  const fresh = await Promise.all(Array.from({ length: n }, startRawUpstream));
  return {
    routingOrigins: fresh.map(({ origin }) => origin).join(","),
    upstreamOf(handler) {
      const upstream = fresh.pop();
      upstream.serveByDefault(handler);
      return upstream;
    },
  };
}

const CLIENT_CLOSED = new Error("the client closed the connection");

/** A request as it arrived. */
class ReceivedRequest {
  #hash = createHash("sha256");
  #chunks = [];

  constructor(head, socket) {
    /** The bytes of the head as Latin-1, without the empty line at its end. */
    this.head = head;
    const [line, ...fields] = head.split("\r\n");
    /** The request line. */
    this.line = line;
    /** The field lines as they arrived, `Name: value`. */
    this.fields = fields;
    [this.method, this.target] = line.split(" ");
    /** Bytes of the body so far, without its framing. */
    this.size = 0;
    this.complete = false;
    /** Resolves when the connection has closed. */
    this.closed = new Promise((resolve) => socket.on("close", resolve));
    /**
     * Resolves to the body once it is complete. Rejects if the client closes the connection
     * before.
     */
    this.completed = new Promise((resolve, reject) => {
      this.finish = () => {
        this.complete = true;
        this.hash = this.#hash.digest("hex");
        resolve(this.body);
      };
      socket.on("close", () => reject(CLIENT_CLOSED));
    });
    this.completed.catch(() => {});
  }

  /** Returns the values of a field, one for each field line. */
  values(name) {
    const lines = this.fields.filter((field) => field.toLowerCase().startsWith(`${name.toLowerCase()}:`));
    return lines.map((field) => field.slice(name.length + 1).trim());
  }

  /** Returns a field's value, its lines combined (RFC 9110 §5.3), or undefined if it is absent. */
  field(name) {
    const values = this.values(name);
    return values.length > 0 ? values.join(", ") : undefined;
  }

  /** The body so far, or undefined if it is longer than 1 MiB. */
  get body() {
    return this.size <= KEPT_BYTES_MAX ? Buffer.concat(this.#chunks) : undefined;
  }

  add(bytes) {
    this.size += bytes.length;
    this.#hash.update(bytes);
    if (this.size <= KEPT_BYTES_MAX) this.#chunks.push(bytes);
    else this.#chunks = [];
  }
}

/** Splits the bytes of a connection into requests. */
class Parser {
  #rest = Buffer.alloc(0);
  #step = this.#head;
  #request;
  #left = 0;
  #socket;
  #onRequest;

  constructor(socket, onRequest) {
    this.#socket = socket;
    this.#onRequest = onRequest;
  }

  push(bytes) {
    this.#rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    while (this.#rest.length > 0 && this.#step());
  }

  upgrade(onData) {
    this.#step = () => {
      const bytes = this.#rest;
      this.#rest = Buffer.alloc(0);
      onData(bytes);
      return false;
    };
    if (this.#rest.length > 0) this.#step();
  }

  /** Consumes and returns the text before the next `mark`; undefined if it has not arrived yet. */
  #until(mark) {
    const end = this.#rest.indexOf(mark);
    if (end < 0) return undefined;
    const text = this.#rest.subarray(0, end).toString("latin1");
    this.#rest = this.#rest.subarray(end + mark.length);
    return text;
  }

  #head() {
    const head = this.#until("\r\n\r\n");
    if (head === undefined) return false;
    this.#request = new ReceivedRequest(head, this.#socket);
    const length = this.#request.field("Content-Length");
    const chunked = this.#request.field("Transfer-Encoding") !== undefined;
    this.#left = Number(length ?? 0);
    if (chunked) this.#step = this.#chunkSize;
    else if (this.#left > 0) this.#step = this.#lengthBody;
    else this.#request.finish();
    this.#onRequest(this.#request);
    return true;
  }

  #take() {
    const bytes = this.#rest.subarray(0, this.#left);
    this.#rest = this.#rest.subarray(bytes.length);
    this.#left -= bytes.length;
    this.#request.add(bytes);
    return this.#left === 0;
  }

  #end() {
    this.#step = this.#head;
    this.#request.finish();
    return true;
  }

  #lengthBody() {
    return this.#take() && this.#end();
  }

  #chunkSize() {
    const size = this.#until("\r\n");
    if (size === undefined) return false;
    this.#left = Number.parseInt(size, 16);
    this.#step = this.#left > 0 ? this.#chunk : this.#trailer;
    return true;
  }

  #chunk() {
    if (this.#take()) this.#step = this.#chunkEnd;
    return true;
  }

  #chunkEnd() {
    if (this.#until("\r\n") === undefined) return false;
    this.#step = this.#chunkSize;
    return true;
  }

  #trailer() {
    const line = this.#until("\r\n");
    return line === "" ? this.#end() : line !== undefined;
  }
}

const exchangeOf = (request, socket, parser) => ({
  request,
  write: (bytes) => socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes),
  end: () => socket.end(),
  reset: () => socket.resetAndDestroy(),
  pause: () => socket.pause(),
  upgrade: (onData) => parser.upgrade(onData),
});

/** Returns the head of a response, with the length of its body. */
function headOf(status, fields, body) {
  const bodiless = /^(1..|204|304) /.test(status);
  const lines = [...fields, ...(bodiless ? [] : [`Content-Length: ${Buffer.byteLength(body)}`])];
  return `HTTP/1.1 ${[status, ...lines].join("\r\n")}\r\n\r\n`;
}

/** Responds once the request is complete: `respond("404 Not Found", ["X-Own: 1"], "not here")`. */
export const respond =
  (status, fields = [], body = "") =>
  async ({ request, write }) => {
    await request.completed;
    write(headOf(status, fields, body));
    if (request.method !== "HEAD") write(Buffer.from(body));
  };

/** Responds before the body of the request has arrived. */
export const respondImmediately =
  (status, fields = [], body = "") =>
  ({ write }) =>
    write(Buffer.concat([Buffer.from(headOf(status, fields, body)), Buffer.from(body)]));

/** Sends these bytes, and nothing else, once the request is complete. */
export const sendBytes =
  (text) =>
  async ({ request, write }) => {
    await request.completed;
    write(text);
  };

/** Sends these bytes, then closes the connection; with a TCP RST if `reset` is true. */
export const sendBytesThenClose =
  (text, { reset = false } = {}) =>
  async (exchange) => {
    await exchange.request.completed;
    if (text !== "") exchange.write(text);
    // The bytes have to arrive before the end of the connection does.
    setTimeout(reset ? exchange.reset : exchange.end, text === "" ? 0 : 20);
  };

/** Closes the connection without a response. */
export const closeConnection = sendBytesThenClose("");
/** Closes the connection with a TCP RST, without a response. */
export const resetConnection = sendBytesThenClose("", { reset: true });
/** Accepts requests and never responds. */
export const neverRespond = () => {};

/**
 * Calls the handlers one after the other, a request each; the last one handles all further
 * requests.
 */
export function inSequence(...handlers) {
  let turn = 0;
  return (exchange) => {
    const handler = handlers[Math.min(turn, handlers.length - 1)];
    turn += 1;
    return handler(exchange);
  };
}

/** Responds 200 with the field `X-Own`. */
export const respondOk = (body = "ok") => respond("200 OK", ["X-Own: 1"], body);
/** Responds with a failure, the field `X-Own` and a body of the upstream's own. */
export const respondFailure = (status = "503 Service Unavailable") => respond(status, ["X-Own: 1"], "the upstream's words");

/** Ways in which an upstream fails before its body. `neverRespond` is a further one. */
export const FAILURES = {
  502: respondFailure("502 Bad Gateway"),
  503: respondFailure(),
  504: respondFailure("504 Gateway Timeout"),
  "a closed connection": closeConnection,
  "a reset connection": resetConnection,
  "an end in the middle of the head": sendBytesThenClose("HTTP/1.1 200 OK\r\nContent-Le"),
};

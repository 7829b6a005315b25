// WebSockets by hand (RFC 6455): a client that sends the path and fields that a test gives, and
// the server's endpoint for a raw upstream.
import { createHash, randomBytes } from "node:crypto";
import http from "node:http";
import { after } from "node:test";

/** Opcodes of frames (RFC 6455 §5.2). */
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
const PING = 9;
export const PONG = 10;

/** Returns an unfragmented frame. A client has to mask its frames. */
function frame(opcode, payload, { masked }) {
  const body = Buffer.from(payload);
  const head = [0x80 | opcode];
  if (body.length < 126) head.push(body.length);
  else if (body.length < 65536) head.push(126, body.length >> 8, body.length & 255);
  else throw new Error("longer than the tests need");
  if (!masked) return Buffer.concat([Buffer.from(head), body]);
  head[1] |= 0x80;
  const mask = randomBytes(4);
  return Buffer.concat([Buffer.from(head), mask, body.map((byte, index) => byte ^ mask[index % 4])]);
}

const closeBody = (code, reason) => (code ? Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]) : "");

/**
 * One endpoint of an open WebSocket. Messages are queued until `next` takes them. A ping
 * gets a pong at once.
 */
class Endpoint {
  #rest = Buffer.alloc(0);
  #waiting = [];
  #messages = [];
  #parts = [];
  #pong;
  #noteClose;

  /** `onClosed` is called when both endpoints have sent a close frame. */
  constructor(write, masked, onClosed = () => {}) {
    const closedBy = new Set();
    this.#noteClose = (endpoint) => {
      if (closedBy.add(endpoint).size === 2) onClosed();
    };
    this.send = (payload) => write(frame(typeof payload === "string" ? TEXT : BINARY, payload, { masked }));
    this.ping = (payload) => write(frame(PING, payload, { masked }));
    this.#pong = (payload) => write(frame(PONG, payload, { masked }));
    this.close = (code, reason = "") => {
      write(frame(CLOSE, closeBody(code, reason), { masked }));
      this.#noteClose("this");
    };
  }

  push(bytes) {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    for (let next = this.#take(); next !== undefined; next = this.#take()) this.#deliver(next);
  }

  /**
   * Returns the next message as `{ opcode, data, text }`, a close frame as `{ opcode, code, reason
   * }`, and `{ closed: true }` once the connection has ended.
   */
  next() {
    if (this.#messages.length > 0) return Promise.resolve(this.#messages.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  handleClose() {
    this.#deliver({ closed: true });
  }

  #deliver(message) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(message);
    else this.#messages.push(message);
  }

  #take() {
    const rest = this.#rest;
    if (rest.length < 2) return undefined;
    let at = 2;
    let length = rest[1] & 0x7f;
    if (length === 126) {
      if (rest.length < 4) return undefined;
      length = rest.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      throw new Error("longer than the tests need");
    }
    const masked = (rest[1] & 0x80) !== 0;
    const end = at + (masked ? 4 : 0) + length;
    if (rest.length < end) return undefined;
    const mask = masked ? rest.subarray(at, at + 4) : undefined;
    const data = Buffer.from(rest.subarray(end - length, end)).map((byte, index) => (mask ? byte ^ mask[index % 4] : byte));
    this.#rest = rest.subarray(end);
    return this.#message(rest[0] & 0x0f, (rest[0] & 0x80) !== 0, Buffer.from(data)) ?? this.#take();
  }

  #message(opcode, final, data) {
    if (opcode === CLOSE) {
      this.#noteClose("peer");
      const code = data.length >= 2 ? data.readUInt16BE(0) : undefined;
      return { opcode, code, reason: data.subarray(2).toString() };
    }
    if (opcode === PING) {
      this.#pong(data);
      return undefined;
    }
    if (opcode > CLOSE) return { opcode, data, text: data.toString() };
    this.#parts.push({ opcode, data });
    if (!final) return undefined;
    const whole = Buffer.concat(this.#parts.map((part) => part.data));
    const [first] = this.#parts;
    this.#parts = [];
    return { opcode: first.opcode, data: whole, text: whole.toString() };
  }
}

/**
 * Requests a WebSocket, and returns the response's `status` and `headers` with a `socket`, or with
 * a `text` if it was refused. `subprotocols` is a list.
 */
export async function connectWebSocket(worker, path, { headers, subprotocols } = {}) {
  const { hostname, port } = worker.url;
  const request = http.request({
    hostname,
    port,
    path,
    agent: false,
    headers: {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
      ...(subprotocols && { "Sec-WebSocket-Protocol": subprotocols.join(", ") }),
      ...headers,
    },
  });
  request.end();
  return new Promise((resolve, reject) => {
    request.on("error", reject);
    request.on("upgrade", (response, connection, head) => {
      const socket = new Endpoint((bytes) => connection.write(bytes), true);
      connection.on("data", (bytes) => socket.push(bytes)).on("error", () => {});
      connection.on("close", () => socket.handleClose());
      socket.push(head);
      socket.destroy = () => connection.destroy();
      after(() => connection.destroy());
      resolve({ status: response.statusCode, headers: response.headers, socket });
    });
    request.on("response", async (response) => {
      const text = Buffer.concat(await response.toArray()).toString();
      resolve({ status: response.statusCode, headers: response.headers, text });
    });
  });
}

const acceptKey = (key) => createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

/**
 * Returns a handler for a raw upstream. It accepts every WebSocket, calls
 * `use(endpoint, request)`, and selects the subprotocol `subprotocol` if it is offered. `fields`
 * are further lines of its response.
 */
export const acceptWebSockets =
  (use, { subprotocol, fields = [] } = {}) =>
  ({ request, write, end, upgrade }) => {
    const offered = (request.field("Sec-WebSocket-Protocol") ?? "").split(/, */);
    const endpoint = new Endpoint(write, false, end);
    const lines = [
      "HTTP/1.1 101 Switching Protocols",
      "Upgrade: websocket",
      "Connection: Upgrade",
      `Sec-WebSocket-Accept: ${acceptKey(request.field("Sec-WebSocket-Key"))}`,
      ...(offered.includes(subprotocol) ? [`Sec-WebSocket-Protocol: ${subprotocol}`] : []),
      ...fields,
    ];
    write(`${lines.join("\r\n")}\r\n\r\n`);
    upgrade((bytes) => endpoint.push(bytes));
    request.closed.then(() => endpoint.handleClose());
    return use(endpoint, request);
  };

/**
 * Sends every message back and responds to a close frame with the same code; returns that frame,
 * or `{ closed: true }`.
 */
export async function echoMessages(endpoint) {
  for (;;) {
    const message = await endpoint.next();
    if (message.closed) return message;
    if (message.opcode === TEXT) endpoint.send(message.text);
    if (message.opcode === BINARY) endpoint.send(message.data);
    if (message.opcode === CLOSE) {
      endpoint.close(message.code, message.reason);
      return message;
    }
  }
}

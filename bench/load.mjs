// Generates the load: a few keep-alive connections with one request each in progress. Also sends
// single requests.
import net from "node:net";

import { Failure } from "../scripts/run.mjs";
import { MessageReader } from "./http1.mjs";

function connect(port, { keepsBody, bufferBytes = 256 * 1024 } = {}) {
  return new Promise((resolve, reject) => {
    const connection = { onMessage: null, onClosed: null };
    const reader = new MessageReader((...response) => connection.onMessage?.(...response), { keepsBody });
    const lost = (error) => {
      reject(error);
      connection.onClosed?.(error);
    };
    const socket = net.connect({
      port,
      host: "127.0.0.1",
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafe(bufferBytes),
        callback: (count, buffer) => (reader.feed(buffer.subarray(0, count)), true),
      },
    });
    connection.send = (bytes) => socket.write(bytes);
    connection.close = () => socket.destroy();
    socket.once("connect", () => resolve(connection));
    socket.on("error", lost);
    socket.on("close", () => lost(new Failure("workerd closed the connection")));
  });
}

/** Sends one request and returns its whole response. Rejects if there is none. */
export async function sendRequest(port, request) {
  const connection = await connect(port, { keepsBody: true });
  try {
    return await new Promise((resolve, reject) => {
      connection.onClosed = reject;
      connection.onMessage = (head, _, body) => resolve({ ...parseHead(head), body });
      connection.send(request);
    });
  } finally {
    connection.onClosed = null;
    connection.close();
  }
}

function parseHead(head) {
  const [statusLine, ...lines] = head.split("\r\n");
  const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
  return { status: Number(statusLine.split(" ")[1]), headers };
}

/**
 * Returns how many writes a response of /writes acknowledges: it is a list of attempts, or a
 * report that contains that list.
 */
export function acknowledged(body) {
  const response = JSON.parse(body);
  return (response.attempts ?? response).filter(({ success }) => success).length;
}

/**
 * Keeps `connections` busy for `milliseconds`, then lets the requests in progress end.
 * `nextRequest()` returns the bytes of a request. Every response must have the status
 * `expected.status` and acknowledge `expected.acknowledges` writes or, if that is undefined, have
 * `expected.length` bytes. `counters()` is read when the load starts and after it has ended.
 * Returns them, `elapsedMs`, the latencies in milliseconds, and `loadShare`: the share of one CPU
 * that this process used for the load and the loopback servers, 1 for all of it.
 */
export async function generateLoad({ port, nextRequest, expected, connections, milliseconds, counters }) {
  const { status, length, acknowledges } = expected;
  const unit = acknowledges ? "writes" : "bytes";
  const keepsBody = acknowledges !== undefined;
  const all = await Promise.all(Array.from({ length: connections }, () => connect(port, { keepsBody })));
  const latencies = [];
  const before = counters();
  const cpuBefore = process.cpuUsage();
  const start = performance.now();
  const end = start + milliseconds;
  try {
    await Promise.all(all.map((connection) => run(connection)));
  } finally {
    for (const connection of all) {
      connection.onClosed = null;
      connection.close();
    }
  }
  const elapsedMs = performance.now() - start;
  const cpu = process.cpuUsage(cpuBefore);
  // Work that the Worker does after its last response counts too.
  await new Promise((resolve) => setTimeout(resolve, 10));
  return { elapsedMs, latencies, before, after: counters(), loadShare: (cpu.user + cpu.system) / 1000 / elapsedMs };

  function run(connection) {
    return new Promise((resolve, reject) => {
      let sent = performance.now();
      connection.onClosed = reject;
      connection.onMessage = (head, bytes, body) => {
        const isExpected = head.startsWith(`HTTP/1.1 ${status}`);
        const [got, wanted] = acknowledges && isExpected ? [acknowledged(body), acknowledges] : [bytes, length];
        if (!isExpected || got !== wanted) {
          const line = head.split("\r\n", 1)[0];
          reject(new Failure(`a response under load differs from the one before: ${line}, ${got} ${unit} instead of ${wanted}`));
          return;
        }
        const now = performance.now();
        latencies.push(now - sent);
        if (now >= end) {
          resolve();
          return;
        }
        sent = now;
        connection.send(nextRequest());
      };
      connection.send(nextRequest());
    });
  }
}

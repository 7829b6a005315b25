// The load: a few keep-alive connections, each with one request under way.
import net from "node:net";

import { Failure } from "../scripts/run.mjs";
import { MessageReader } from "./http1.mjs";

function connect(port, { keepsBody, bufferBytes = 256 * 1024 } = {}) {
  return new Promise((resolve, reject) => {
    const connection = { onMessage: null, onClosed: null };
    const reader = new MessageReader((...answer) => connection.onMessage?.(...answer), { keepsBody });
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

/** One request and its whole answer. Rejects when there is no answer. */
export async function sendRequest(port, request) {
  const connection = await connect(port, { keepsBody: true });
  try {
    return await new Promise((resolve, reject) => {
      connection.onLost = reject;
      connection.onMessage = (head, _, body) => resolve({ ...parseHead(head), body });
      connection.send(request);
    });
  } finally {
    connection.onLost = null;
    connection.close();
  }
}

function parseHead(head) {
  const [statusLine, ...lines] = head.split("\r\n");
  const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
  return { status: Number(statusLine.split(" ")[1]), headers };
}

/**
 * How many writes an answer of /writes says are kept; it is a list of the attempts, or a report
 * with that list in it.
 */
export function acknowledged(body) {
  const answer = JSON.parse(body);
  return (answer.attempts ?? answer).filter(({ success }) => success).length;
}

/**
 * Keeps `connections` busy for `milliseconds`, then lets the requests under way end. `next()`
 * gives the bytes of a request. Every answer must have the status `expected.status`, and
 * acknowledge `expected.acknowledges` writes or, where that is not given, be of `expected.length`
 * bytes. `counters()` is read when the load starts and when it has ended.
 */
export async function generateLoad({ port, next, expected, connections, milliseconds, counters }) {
  const { status, length, acknowledges } = expected;
  const unit = acknowledges ? "writes" : "bytes";
  const keepsBody = acknowledges !== undefined;
  const all = await Promise.all(Array.from({ length: connections }, () => connect(port, { keepsBody })));
  const latencies = [];
  const before = counters();
  const loadBefore = process.cpuUsage();
  const start = performance.now();
  const end = start + milliseconds;
  try {
    await Promise.all(all.map((connection) => run(connection)));
  } finally {
    for (const connection of all) {
      connection.onLost = null;
      connection.close();
    }
  }
  const elapsedMs = performance.now() - start;
  const load = process.cpuUsage(loadBefore);
  // What the Worker does after its last answer belongs to the requests.
  await new Promise((resolve) => setTimeout(resolve, 10));
  return { elapsedMs, latencies, before, after: counters(), loadShare: (load.user + load.system) / 1000 / elapsedMs };

  function run(connection) {
    return new Promise((resolve, reject) => {
      let sent = performance.now();
      connection.onLost = reject;
      connection.onMessage = (head, bytes, body) => {
        const isExpected = head.startsWith(`HTTP/1.1 ${status}`);
        const [got, wanted] = acknowledges && isExpected ? [acknowledged(body), acknowledges] : [bytes, length];
        if (!isExpected || got !== wanted) {
          const line = head.split("\r\n", 1)[0];
          reject(new Failure(`an answer under load differs from the one before: ${line}, ${got} ${unit} for ${wanted}`));
          return;
        }
        const now = performance.now();
        latencies.push(now - sent);
        if (now >= end) {
          resolve();
          return;
        }
        sent = now;
        connection.send(next());
      };
      connection.send(next());
    });
  }
}

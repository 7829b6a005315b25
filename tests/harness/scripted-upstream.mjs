// An upstream on loopback that responds as a script says, late, broken or never, and records every
// request with its fields.
import { STATUS_CODES } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { startRawUpstream } from "./raw-upstream.mjs";

/**
 * The clock of the upstreams. A test does not wait until a response is stale: it advances this
 * clock and the Worker's (`PUT /.clock` of tests/faulty/entry.mjs) together.
 */
export const clock = { offsetMs: 0, now: () => Date.now() + clock.offsetMs };

/** A `Last-Modified` that makes a response fresh for a day by the heuristic of `/cache`. */
export const LONG_AGO = "Sun, 06 Nov 2016 08:49:37 GMT";

/** Returns the HTTP date in so many seconds. */
export const httpDate = (seconds = 0) => new Date(clock.now() + seconds * 1000).toUTCString();

/**
 * Starts an upstream for a test file; it stops after the last test.
 *
 * A script is a response, a list of responses that are sent in turn (the last one again and
 * again), or a function `(request, turn)` that returns a response. A response has
 * - `status`, 200 by default; `headers`: field lines, or a function of the request that returns
 *   them;
 * - `body`: text or bytes; by default the turn, so that "2" is the second response of a path;
 * - `date: false` for no `Date`, which is now by default;
 * - `framing`: "length" (the default), "chunked" or "close"; `length`: a wrong Content-Length;
 * - `closes: true`: the connection is not used again. The runtime repeats a request that fails on
 *   a reused connection, so a response that breaks off needs a new one;
 * - `delayMs` or `until`, a promise: what the head waits for;
 * - `hangs: true`: never a head; `breaksAt` or `stallsAt`: "head", "in head", or a number of bytes
 *   of the body, after which the connection is closed, or nothing more is sent; `reset: true`
 *   closes it with a TCP RST.
 */
export async function startScriptedUpstream() {
  const raw = await startRawUpstream();
  return {
    ...raw,
    /** Returns how many requests this path has received, whatever their query. */
    requestCount: (path) => raw.requestsTo(path).length,
    /** Serves a script at a new path, or at the given one; returns the path. */
    serve(script, path) {
      const served = raw.serve((exchange) => {
        const turn = raw.requestsTo(served).length;
        return play(exchange, responseOf(script, exchange.request, turn), turn);
      }, path);
      return served;
    },
    /** Sets the script of every other path. */
    serveByDefault(script) {
      let turn = 0;
      raw.serveByDefault((exchange) => {
        turn += 1;
        return play(exchange, responseOf(script, exchange.request, turn), turn);
      });
    },
  };
}

function responseOf(script, request, turn) {
  if (typeof script === "function") return script(request, turn);
  return Array.isArray(script) ? script[Math.min(turn, script.length) - 1] : script;
}

/** Time for the bytes to arrive before the connection ends. */
const ARRIVAL_MS = 20;

async function play({ request, write, end, reset }, scripted, turn) {
  const response = await scripted;
  if (response.hangs || response.stallsAt === "head") return;
  await request.completed;
  if (response.delayMs) await sleep(response.delayMs);
  await response.until;
  const close = response.reset ? reset : end;
  if (response.breaksAt === "head") return close();
  const body = Buffer.from(response.body ?? (hasBody(response, request) ? String(turn) : ""));
  const head = headOf(response, request, body);
  const isCutInHead = [response.breaksAt, response.stallsAt].includes("in head");
  const sent = isCutInHead || !hasBody(response, request) ? Buffer.alloc(0) : body.subarray(0, response.breaksAt ?? response.stallsAt);
  // In one write: a second one would wait until the first is acknowledged (Nagle).
  const pieces = [isCutInHead ? head.slice(0, head.length / 2) : head, ...(hasBody(response, request) ? framed(sent, response) : [])];
  write(Buffer.concat(pieces.map((piece) => Buffer.from(piece, "latin1"))));
  if (response.breaksAt === undefined && response.framing !== "close" && !response.closes) return;
  await sleep(ARRIVAL_MS);
  close();
}

const hasBody = ({ status = 200 }, { method }) => method !== "HEAD" && ![204, 304].includes(status);

function headOf(response, request, body) {
  const { status = 200, headers = [], framing = "length", date } = response;
  const lines = typeof headers === "function" ? headers(request) : [...headers];
  if (date !== false && !lines.some((line) => /^date:/i.test(line))) lines.unshift(`Date: ${httpDate()}`);
  if (framing === "close" || response.closes) lines.push("Connection: close");
  if (framing === "chunked") lines.push("Transfer-Encoding: chunked");
  else if (framing !== "close" && ![204, 304].includes(status)) lines.push(`Content-Length: ${response.length ?? body.length}`);
  return `HTTP/1.1 ${[`${status} ${STATUS_CODES[status] ?? "Odd"}`, ...lines].join("\r\n")}\r\n\r\n`;
}

const CHUNK_BYTES = 64 * 1024;

/** Yields the bytes of a body on the wire; without the last chunk if it breaks off or stalls. */
function* framed(body, { framing, breaksAt, stallsAt }) {
  if (framing !== "chunked") {
    yield body;
    return;
  }
  for (let at = 0; at < body.length; at += CHUNK_BYTES) {
    const chunk = body.subarray(at, at + CHUNK_BYTES);
    yield `${chunk.length.toString(16)}\r\n`;
    yield chunk;
    yield "\r\n";
  }
  if ((breaksAt ?? stallsAt) === undefined) yield "0\r\n\r\n";
}

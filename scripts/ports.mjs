// Looks for free ports on loopback, for `npm start`, tests and benchmarks. `npm start` checks all
// of its ports before its long steps, and proposes others if one is in use.
import { randomInt } from "node:crypto";
import { connect, createServer } from "node:net";
import { Failure } from "./run.mjs";

/** The first port that is proposed, the distance to the next one, and how many are tried. */
const PROPOSED = { first: 8800, step: 10, count: 100 };

/**
 * Fails if something listens on one of kv-edge's ports. `portsOf(port)` returns all of them, by
 * name, for the first one.
 */
export async function requireFreePorts(port, portsOf) {
  for (const [name, taken] of Object.entries(portsOf(port))) {
    if (!(await isFree(taken))) throw await portInUse(taken, name, portsOf);
  }
}

/**
 * Returns the failure for a port that is in use. It proposes a port that is free, with the ports
 * that follow from it.
 */
export async function portInUse(taken, name, portsOf) {
  const stop = `stop the program that listens there (\`lsof -i :${taken}\` names it)`;
  const proposed = await findFreePorts(portsOf);
  const other = proposed
    ? `, or start this one elsewhere: \`npm start -- --port ${proposed}\` (it takes ${Object.values(portsOf(proposed)).join(", ")}, which are free)`
    : "";
  return new Failure(`Port ${taken} (${name}) is occupied: ${stop}${other}.`);
}

/**
 * Returns a port that is free together with those that belong to it, or undefined if none of the
 * proposed ones is.
 */
export async function findFreePorts(portsOf) {
  for (let n = 0; n < PROPOSED.count; n += 1) {
    const port = PROPOSED.first + n * PROPOSED.step;
    const free = await Promise.all(Object.values(portsOf(port)).map(isFree));
    if (free.every(Boolean)) return port;
  }
  return undefined;
}

/** Returns true if nothing listens on a port of 127.0.0.1 or ::1. */
export async function isFree(port) {
  return (await canListen(port)) && !(await canConnect(port)) && !(await canConnect(port, "::1"));
}

function canListen(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/**
 * Returns true if something accepts connections. Some systems let a second program listen on
 * 127.0.0.1 while another listens on every address, so `canListen` alone does not show it.
 */
export function canConnect(port, host = "127.0.0.1") {
  return new Promise((resolve) => {
    const socket = connect({ port, host });
    const done = (isConnected) => {
      socket.destroy();
      resolve(isConnected);
    };
    socket.once("connect", () => done(true));
    socket.once("error", () => done(false));
    socket.setTimeout(1000, () => done(false));
  });
}

/**
 * Returns a port that is free, below 30,000. A system chooses ports above 32,767 for a program
 * that asks for any, so it gives this one to nobody while a server that had it stops and starts
 * again.
 */
export async function freePort() {
  for (;;) {
    const port = randomInt(20_000, 30_000);
    if (await isFree(port)) return port;
  }
}

// The ports that `npm start` needs, checked before the long steps, all of them together: where one
// is taken, others are proposed that are free.
import { connect, createServer } from "node:net";
import { Failure } from "./run.mjs";

/** Where a proposal is looked for: from here on, in steps. */
const PROPOSED = { first: 8800, step: 10, count: 100 };

/**
 * Fails if something listens on one of the ports (`{ name: port }`) of kv-edge on `port` already.
 * `portsOf` tells those of another port.
 */
export async function requireFreePorts(port, portsOf) {
  for (const [name, taken] of Object.entries(portsOf(port))) {
    if (!(await isFree(taken))) throw await portInUse(taken, name, portsOf);
  }
}

/**
 * The sentence for a port that is taken, which names one that is free, with the ports that belong
 * to it.
 */
export async function portInUse(taken, name, portsOf) {
  const stop = `stop the program that listens there (\`lsof -i :${taken}\` names it)`;
  const proposed = await findFreePorts(portsOf);
  const other = proposed
    ? `, or start this one elsewhere: \`npm start -- --port ${proposed}\` (it takes ${Object.values(portsOf(proposed)).join(", ")}, which are free)`
    : "";
  return new Failure(`Port ${taken} (${name}) is occupied: ${stop}${other}.`);
}

async function findFreePorts(portsOf) {
  for (let n = 0; n < PROPOSED.count; n += 1) {
    const port = PROPOSED.first + n * PROPOSED.step;
    const free = await Promise.all(Object.values(portsOf(port)).map(isFree));
    if (free.every(Boolean)) return port;
  }
  return undefined;
}

async function isFree(port) {
  return (await canListen(port)) && !(await canConnect(port, "127.0.0.1")) && !(await canConnect(port, "::1"));
}

function canListen(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

// Some systems let a second program bind 127.0.0.1 while another listens on every address.
function canConnect(port, host) {
  return new Promise((resolve) => {
    const socket = connect({ port, host });
    const done = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => done(true));
    socket.once("error", () => done(false));
    socket.setTimeout(1000, () => done(false));
  });
}

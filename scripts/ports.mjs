// The ports `npm start` needs, checked before the long steps.
import { connect, createServer } from "node:net";
import { Failure } from "./run.mjs";

/** Fails when something listens on a port already. `wayOut` tells what to do besides stopping it. */
export async function requireFree(port, purpose, wayOut = "") {
  if (!(await bindable(port)) || (await answers(port, "127.0.0.1")) || (await answers(port, "::1"))) {
    throw occupied(port, purpose, wayOut);
  }
}

export function occupied(port, purpose, wayOut = "") {
  return new Failure(`Port ${port} (${purpose}) is occupied: stop the program that listens there (\`lsof -i :${port}\` names it)${wayOut}.`);
}

function bindable(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

// Some systems let a second program bind 127.0.0.1 while another listens on every address.
function answers(port, host) {
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

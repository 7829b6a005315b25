// Running other programs: child processes end with this one, and what goes wrong is said in one
// sentence.
import { spawn, spawnSync } from "node:child_process";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Something the person at the terminal can act on: the message is all that is shown. */
export class Failure extends Error {}

const children = new Set();

/**
 * Starts a program, in a process group of its own so that all it starts can be ended with it;
 * `detached: false` leaves it in this one, for a program that asks questions at the terminal.
 */
export function start(command, args, { detached = true, ...options } = {}) {
  const child = spawn(command, args, { cwd: ROOT, detached, ...options });
  child.target = detached ? -child.pid : child.pid;
  children.add(child);
  child.on("error", () => children.delete(child));
  child.on("exit", () => {
    children.delete(child);
    if (detached) signalTo(child, "SIGTERM"); // what the program left behind
  });
  return child;
}

const NETWORK =
  /could not resolve host|couldn't connect|failed to (download|fetch|connect|lookup)|could not download|dns error|network (failure|is unreachable)|getaddrinfo|spurious network/i;

/**
 * Runs a program to its end, showing its output. `doing` names the step for the failure message.
 */
export function run(command, args, { doing, ...options } = {}) {
  return new Promise((resolve, reject) => {
    let tail = "";
    const child = start(command, args, { stdio: ["ignore", "inherit", "pipe"], ...options });
    child.stderr?.on("data", (chunk) => {
      process.stderr.write(chunk);
      tail = (tail + chunk).slice(-20000);
    });
    child.on("error", (error) => reject(new Failure(`${command} did not start (${error.code ?? error.message}), so ${doing} failed.`)));
    child.on("close", (code) => {
      if (code === 0) resolve();
      else if (NETWORK.test(tail))
        reject(new Failure(`No network: ${doing} needs a download that failed. Check the connection or the proxy settings, then run the command again.`));
      else reject(new Failure(`${doing} failed; the lines above say why.`));
    });
  });
}

/** The first lines a program prints, or undefined when it is not there or fails. */
export function outputOf(command, args, env = process.env) {
  const { status, stdout } = spawnSync(command, args, { cwd: ROOT, env, encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/** Cargo shows its progress bar only on a terminal; its output goes through a pipe here. */
export const cargoProgress = process.stderr.isTTY
  ? { CARGO_TERM_COLOR: "always", CARGO_TERM_PROGRESS_WHEN: "always", CARGO_TERM_PROGRESS_WIDTH: String(Math.min(process.stderr.columns ?? 80, 100)) }
  : {};

/** Runs the script's main function; ends every child on Ctrl-C, SIGTERM or a closed terminal. */
export async function main(body, { signalExitCode } = {}) {
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ]) {
    process.on(signal, () => end(signalExitCode ?? code));
  }
  // When npm itself is killed, the script it ran must not stay behind.
  const parent = process.ppid;
  if (process.env.npm_lifecycle_event) setInterval(() => process.ppid !== parent && end(1), 500).unref();
  try {
    await body();
  } catch (error) {
    await fail(error instanceof Failure || !process.env.DEBUG ? error.message : error.stack);
  }
}

let ending = false;

// Whoever read the output has seen enough, as in `npm start | head`: all ends as a shell's other
// programs do. What is told beside goes on without a reader.
const CLOSED_PIPE = 141;
process.stdout.on("error", (error) => (error.code === "EPIPE" ? void end(CLOSED_PIPE) : void fail(`the output cannot be written: ${error.message}`)));
process.stderr.on("error", () => {});

/** Says what went wrong and ends everything with exit code 1; during an end it says nothing. */
export async function fail(message) {
  if (!ending) console.error(`\nkv-edge: ${message}`);
  await end(1);
}

/** Ends every child with all it started, then this process. */
async function end(code) {
  if (ending) return;
  ending = true;
  const running = [...children];
  for (const child of running) signalTo(child, "SIGTERM");
  const deadline = Date.now() + 5000;
  while (running.some((child) => signalTo(child, 0)) && Date.now() < deadline) await new Promise((done) => setTimeout(done, 50));
  for (const child of running) signalTo(child, "SIGKILL");
  process.exit(code);
}

function signalTo(child, signal) {
  try {
    return child.pid !== undefined && process.kill(child.target, signal);
  } catch {
    return false; // it is gone
  }
}

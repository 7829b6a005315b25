// Runs other programs. Child processes end with this one, and a failure is reported in one
// sentence.
import { AsyncLocalStorage } from "node:async_hooks";
import { spawn, spawnSync } from "node:child_process";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Returns the folder that cargo builds into: target/, or CARGO_TARGET_DIR if that is set. */
export const targetFolder = (env) => (env.CARGO_TARGET_DIR ? resolve(ROOT, env.CARGO_TARGET_DIR) : join(ROOT, "target"));

/** A failure that the user can act on. Only its message is shown, even if `DEBUG` is set. */
export class Failure extends Error {}

const children = new Set();

/**
 * Starts a program in its own process group, so that everything it starts can be ended with it.
 * `detached: false` leaves it in this group, for a program that asks questions at the terminal.
 */
export function start(command, args, { detached = true, ...options } = {}) {
  const child = spawn(command, args, { cwd: ROOT, detached, ...options });
  child.target = detached ? -child.pid : child.pid;
  children.add(child);
  child.on("error", () => children.delete(child));
  child.on("exit", () => {
    children.delete(child);
    if (detached) signalTo(child, "SIGTERM"); // processes that the program left behind
  });
  return child;
}

const NETWORK =
  /could not resolve host|couldn't connect|failed to (download|fetch|connect|lookup)|could not download|dns error|network (failure|is unreachable)|getaddrinfo|spurious network/i;

const held = new AsyncLocalStorage();

/**
 * Runs `body`, and shows its output and that of its programs when it ends, so that the outputs of
 * parallel steps do not mix.
 */
export async function holdOutput(body) {
  const chunks = [];
  try {
    return await held.run(chunks, body);
  } finally {
    for (const chunk of chunks) process.stdout.write(chunk);
  }
}

/** Shows a line, now or when `holdOutput` ends. */
export function show(line) {
  const chunks = held.getStore();
  if (chunks) chunks.push(`${line}\n`);
  else console.log(line);
}

/**
 * Runs a program to its end and shows its output. Throws a `Failure` if it cannot be started
 * or fails; `doing` names the step in its message.
 */
export function run(command, args, { doing, ...options } = {}) {
  const chunks = held.getStore();
  const stdio = chunks ? ["ignore", "pipe", "pipe"] : (options.stdio ?? ["ignore", "inherit", "pipe"]);
  return new Promise((resolve, reject) => {
    let tail = "";
    const child = start(command, args, { ...options, stdio });
    const showOn = (stream, chunk) => (chunks ? chunks.push(chunk) : stream.write(chunk));
    child.stdout?.on("data", (chunk) => showOn(process.stdout, chunk));
    child.stderr?.on("data", (chunk) => {
      showOn(process.stderr, chunk);
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

/** Returns the output of a program, or undefined if it cannot be started or fails. */
export function outputOf(command, args, env = process.env) {
  const { status, stdout } = spawnSync(command, args, { cwd: ROOT, env, encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/**
 * Environment variables that make Cargo show its progress bar although it writes to a pipe; none
 * if this process has no terminal.
 */
export const cargoProgress = process.stderr.isTTY
  ? { CARGO_TERM_COLOR: "always", CARGO_TERM_PROGRESS_WHEN: "always", CARGO_TERM_PROGRESS_WIDTH: String(Math.min(process.stderr.columns ?? 80, 100)) }
  : {};

/**
 * Runs a script's main function. If it fails, and on Ctrl-C, SIGTERM or a closed terminal, all
 * children end.
 */
export async function main(body, { signalExitCode } = {}) {
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ]) {
    process.on(signal, () => end(signalExitCode ?? code));
  }
  // If npm is killed, its script must end too.
  const parent = process.ppid;
  if (process.env.npm_lifecycle_event) setInterval(() => process.ppid !== parent && end(1), 500).unref();
  try {
    await body();
  } catch (error) {
    await fail(error instanceof Failure || !process.env.DEBUG ? error.message : error.stack);
  }
}

let ending = false;

// If the reader of the output goes away, as in `npm start | head`, the exit code is that of a
// shell for a program that SIGPIPE ended (128 + 13). A closed stderr ends nothing.
const CLOSED_PIPE = 141;
process.stdout.on("error", (error) => (error.code === "EPIPE" ? void end(CLOSED_PIPE) : void fail(`the output cannot be written: ${error.message}`)));
process.stderr.on("error", () => {});

/**
 * Reports a failure and ends everything with exit code 1. Reports nothing if the end has begun.
 */
export async function fail(message) {
  if (!ending) console.error(`\nkv-edge: ${message}`);
  await end(1);
}

/** Ends all children, each with its process group if it has its own, then this process. */
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
    return false; // it has ended
  }
}

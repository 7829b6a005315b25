// Starts workerd processes on their own core, measures them through /proc, and stops them with
// this process.
//
// The benchmark does not start them through scripts/local-worker.mjs, as the tests do. miniflare
// simulates KV with a Durable Object in the same process: a read costs ten times what is timed
// here, and would count as the Worker's CPU time. The time to the first response would include
// miniflare's own start.
import { execFileSync, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { canConnect } from "../scripts/ports.mjs";
import { Failure } from "../scripts/run.mjs";

const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/**
 * Returns the path and the version of the native workerd that the tests also use; that in
 * node_modules/.bin may be a script that starts it.
 */
export function findWorkerd() {
  const require = createRequire(import.meta.url);
  try {
    const binary = createRequire(require.resolve("miniflare"))("workerd").default;
    return {
      binary,
      version: execFileSync(binary, ["--version"], { encoding: "utf8" })
        .trim()
        .replace(/^workerd /, ""),
    };
  } catch {
    throw new Failure("workerd is not installed: run `npm install`.");
  }
}

/**
 * Returns the core of workerd and the core of the load, to which it pins this process. Returns a
 * warning in their place if there is only one core, or no `taskset`.
 */
export function chooseCores() {
  const list = /^Cpus_allowed_list:\s*(.+)$/m.exec(readFileSync("/proc/self/status", "utf8"))[1];
  const cores = list.split(",").flatMap((part) => {
    const [first, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  try {
    execFileSync("taskset", ["--version"], { stdio: "ignore" });
  } catch {
    return { warning: "There is no `taskset` here (package util-linux), so nothing is pinned to a core." };
  }
  if (cores.length < 2) return { warning: "There is one core only: the load competes with what it measures." };
  const [worker, load] = [cores[0], cores.at(-1)];
  execFileSync("taskset", ["-a", "-p", "-c", String(load), String(process.pid)], { stdio: "ignore" });
  return { worker, load };
}

/** A workerd process. */
export class Workerd {
  #child;
  #errors = "";

  /** Starts `workerd serve` and waits until it accepts connections. */
  static async start(workerd, config, port, core) {
    const process = new Workerd(workerd, config, core);
    await process.#accepts(port);
    return process;
  }

  constructor({ binary }, config, core) {
    const command = [binary, "serve", config];
    if (core !== undefined) command.unshift("taskset", "-c", String(core));
    this.#child = spawn(command[0], command.slice(1), { stdio: ["ignore", "ignore", "pipe"] });
    running.add(this.#child);
    this.#child.stderr.on("data", (text) => {
      this.#errors = (this.#errors + text).slice(-2000);
    });
    this.#child.once("error", (error) => {
      this.#errors += error.message;
    });
    this.#child.once("exit", () => running.delete(this.#child));
  }

  async #accepts(port) {
    const deadline = performance.now() + 15_000;
    while (performance.now() < deadline && this.isRunning) {
      if (await canConnect(port)) return;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    throw new Failure(`workerd does not start: ${this.errors || "it listens on no port"}`);
  }

  get isRunning() {
    return this.#child.exitCode === null && this.#child.signalCode === null && this.#child.pid !== undefined;
  }

  /** The end of its standard error. */
  get errors() {
    return this.#errors.trim();
  }

  /** Returns the CPU time of all its threads, user and kernel, in nanoseconds. */
  cpuNs() {
    const tasks = `/proc/${this.#child.pid}/task`;
    let sum = 0;
    for (const task of readdirSync(tasks)) {
      try {
        sum += Number(readFileSync(`${tasks}/${task}/schedstat`, "latin1").split(" ", 1)[0]);
      } catch {
        // The thread has ended.
      }
    }
    return sum;
  }

  /** Returns its peak memory, in bytes. */
  peakMemory() {
    return 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${this.#child.pid}/status`, "utf8"))[1]);
  }

  async stop() {
    if (!this.isRunning) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await ended;
  }
}

// Chooses a core for workerd and one for the load, and reads from /proc how much CPU time and
// memory a process has used.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/**
 * Pins this process, which is the load, to a core, and returns it and the core of workerd. Returns
 * a warning in their place if there is only one core, or no `taskset`.
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

/**
 * Returns the CPU time, user and kernel, of the live threads of a process, in nanoseconds. Threads
 * that have ended do not count.
 */
export function cpuNs({ pid }) {
  const tasks = `/proc/${pid}/task`;
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

/** Returns the peak memory of a process, in bytes. */
export function peakMemory({ pid }) {
  return 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
}

// Compares the CPU time of Workers that differ by a few percent, in many short windows: the
// machine drifts within seconds, and the windows that are compared are then close together.
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { isFree } from "../scripts/ports.mjs";
import { Failure } from "../scripts/run.mjs";
import { findWorkerd } from "../scripts/workerd.mjs";
import { requireEqualResponses } from "./compare.mjs";
import { examples as allExamples } from "./examples.mjs";
import { PAGES } from "./fixtures.mjs";
import { serveUpstream } from "./loopback.mjs";
import { measure, startAll, stopAll } from "./measure.mjs";
import { chooseCores } from "./processes.mjs";
import { medianWithInterval, randomNumbers } from "./statistics.mjs";

const PORT = 8801;
const TIME_LIMIT_MS = 900_000;

/**
 * Times the examples of these names, and calls `print(name, { cpu, ratio })` for each.
 *
 * - `prepare({ root, upstream, ports, build })` returns the candidates, of which there are three
 *   at most; `build` is the value of `--build`.
 * - `full` and `quick` are how much is measured, without and with `--quick`.
 * - `cpu(candidate)` returns the median of the CPU time of a request, in µs as text.
 * - `ratio(candidate, other)` returns the median of the windows' ratios, and the interval that
 *   contains the true median with 95 %: `{ median, low, high }`.
 */
export async function printRatios({ help, names, full, quick, prepare, print }) {
  const { values: options } = parseArgs({ options: { quick: { type: "boolean" }, build: { type: "string" }, help: { type: "boolean" } } });
  if (options.help) return console.log(help);
  if (process.platform !== "linux") throw new Failure("The benchmark reads CPU time from /proc and so needs Linux.");
  const ports = [0, 1, 2, 3].map((offset) => PORT + offset);
  for (const port of ports) if (!(await isFree(port))) throw new Failure(`Port ${port} is in use: stop what listens there.`);
  const root = mkdtempSync(join(tmpdir(), "kv-edge-bench-"));
  process.on("exit", () => rmSync(root, { recursive: true, force: true }));
  const upstreamPort = ports.pop();
  const upstream = `http://127.0.0.1:${upstreamPort}`;
  const candidates = await prepare({ root, upstream, ports, build: options.build });
  await serveUpstream(upstreamPort, PAGES);
  const examples = allExamples(upstream).filter(({ name }) => names.includes(name));
  const context = { workerd: findWorkerd(), cores: chooseCores(), random: randomNumbers(1) };
  await startAll(candidates, context);
  await requireEqualResponses(candidates, examples);
  await stopAll(candidates);
  const effort = { ...(options.quick ? quick : full), deadline: performance.now() + TIME_LIMIT_MS, say: () => {} };
  console.log(`load before: ${loadavg()[0].toFixed(1)}; ${effort.sets * effort.rounds} windows of ${effort.windowMs} ms for each example and Worker`);
  const { windows, isCut } = await measure(candidates, examples, { ...effort, ...context });
  for (const { name } of examples) {
    const middle = (of) => medianWithInterval(windows[name].map(of));
    print(name, {
      cpu: (candidate) => middle((window) => window[candidate].cpuUs).median.toFixed(0),
      ratio: (candidate, other) => middle((window) => window[candidate].cpuUs / window[other].cpuUs),
    });
  }
  if (isCut) console.log("The time limit cut some windows off.");
  process.exit(0);
}

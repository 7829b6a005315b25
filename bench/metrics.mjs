// npm run bench:metrics [-- --quick] [-- --build DIR]: what `METRICS = "on"` adds to the CPU of a
// request. The same build runs with metrics on, off, and off once more, which shows the noise of
// the machine. Each ratio is the median of those of the windows, with an interval that contains
// the true median with 95 %. On a quiet machine nineteen of twenty intervals of "off again"
// contain 1.

import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build } from "../scripts/build.mjs";
import { isFree } from "../scripts/ports.mjs";
import { Failure, main, ROOT } from "../scripts/run.mjs";
import { findWorkerd } from "../scripts/workerd.mjs";
import { prepareCandidate } from "./candidates.mjs";
import { examples as allExamples } from "./examples.mjs";
import { PAGES } from "./fixtures.mjs";
import { serveUpstream } from "./loopback.mjs";
import { measure } from "./measure.mjs";
import { chooseCores } from "./processes.mjs";
import { medianWithInterval, randomNumbers } from "./statistics.mjs";

/** From memory, with one read of KV, through an upstream, and through a Durable Object. */
const EXAMPLES = ["hello-world", "asset-1k", "config", "cache-hit", "cache-hit-kv", "kv-api-get", "routing", "coalesce"];

/** The most that the CPU time of a request may be with metrics, divided by that without. */
const GOAL = 1.03;

/**
 * Many short windows: the machine drifts within seconds, and the windows that are compared are
 * then close together.
 */
const FULL = { sets: 3, rounds: 64, windowMs: 100 };
const QUICK = { sets: 1, rounds: 16, windowMs: 300 };
const PORT = 8801;
const TIME_LIMIT_MS = 900_000;

await main(async () => {
  const { values } = parseArgs({ options: { quick: { type: "boolean" }, build: { type: "string" } } });
  const ports = [0, 1, 2, 3].map((offset) => PORT + offset);
  for (const port of ports) if (!(await isFree(port))) throw new Failure(`Port ${port} is in use: stop what listens there.`);
  if (values.build === undefined) await build({ quick: false });
  const root = mkdtempSync(join(tmpdir(), "kv-edge-bench-metrics-"));
  process.on("exit", () => rmSync(root, { recursive: true, force: true }));
  const upstream = `http://127.0.0.1:${ports[3]}`;
  await serveUpstream(ports[3], PAGES);
  const common = { root, upstream, isKvEdge: true, from: resolve(values.build ?? join(ROOT, "build")) };
  const candidates = [
    await prepareCandidate({ ...common, name: "on", port: ports[0], vars: { METRICS: "on" } }),
    await prepareCandidate({ ...common, name: "off", port: ports[1] }),
    await prepareCandidate({ ...common, name: "off-again", port: ports[2] }),
  ];
  const examples = allExamples(upstream).filter(({ name }) => EXAMPLES.includes(name));
  const context = { workerd: findWorkerd(), cores: chooseCores(), random: randomNumbers(1) };
  const effort = { ...(values.quick ? QUICK : FULL), deadline: performance.now() + TIME_LIMIT_MS, say: () => {} };
  console.log(`load before: ${loadavg()[0].toFixed(1)}; ${effort.sets * effort.rounds} windows of ${effort.windowMs} ms for each example and Worker`);
  const { windows, isCut } = await measure(candidates, examples, { ...effort, ...context });
  for (const { name } of examples) {
    const values = (of) => medianWithInterval(windows[name].map(of));
    const cpu = (candidate) => values((window) => window[candidate].cpuUs).median.toFixed(1);
    const [on, again] = ["on", "off-again"].map((candidate) => values((window) => window[candidate].cpuUs / window.off.cpuUs));
    const shown = ({ median, low, high }) => `${median.toFixed(3)} (${low.toFixed(3)}–${high.toFixed(3)})`;
    console.log(`${name}: on ${cpu("on")} µs, off ${cpu("off")} µs, ratio ${shown(on)}, ${verdict(on)}; off again ${shown(again)}`);
  }
  if (isCut) console.log("The time limit cut some windows off.");
  process.exit(0);
});

/** Returns what the interval of a ratio says of the goal. */
function verdict({ low, high }) {
  if (high <= GOAL) return "within the goal";
  return low > GOAL ? "more than the goal" : "may be within the goal, or not";
}

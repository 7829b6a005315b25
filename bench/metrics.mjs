// npm run bench:metrics: what `METRICS = "on"` adds to the CPU of a request. See --help.
import { join, resolve } from "node:path";
import { build } from "../scripts/build.mjs";
import { main, ROOT } from "../scripts/run.mjs";
import { prepareCandidate } from "./candidates.mjs";
import { printRatios } from "./ratios.mjs";

const HELP = `Measures what METRICS = "on" adds to the CPU of a request.

The same build runs with metrics on, off, and off once more, which shows the noise of the machine. Each ratio is the median
of those of the windows, with an interval that contains the true median with 95 %. On a quiet machine nineteen of twenty
intervals of "off again" contain 1.

  npm run bench:metrics -- [--quick] [--build DIR]

  --quick         few windows: an impression, not a measurement
  --build DIR     the Worker to measure (build)`;

/** From memory, with one read of KV, through an upstream, and through a Durable Object. */
const EXAMPLES = ["hello-world", "asset-1k", "config", "cache-hit", "cache-hit-kv", "kv-api-get", "routing", "coalesce"];

/** The most that the CPU time of a request may be with metrics, divided by that without. */
const GOAL = 1.03;

await main(() =>
  printRatios({
    help: HELP,
    names: EXAMPLES,
    full: { sets: 3, rounds: 64, windowMs: 100 },
    quick: { sets: 1, rounds: 16, windowMs: 300 },
    prepare: async ({ root, upstream, ports, build: folder }) => {
      if (folder === undefined) await build({ quick: false });
      const common = { root, upstream, isKvEdge: true, from: resolve(folder ?? join(ROOT, "build")) };
      return [
        await prepareCandidate({ ...common, name: "on", port: ports[0], vars: { METRICS: "on" } }),
        await prepareCandidate({ ...common, name: "off", port: ports[1] }),
        await prepareCandidate({ ...common, name: "off-again", port: ports[2] }),
      ];
    },
    print: (name, { cpu, ratio }) => {
      const [on, again] = ["on", "off-again"].map((candidate) => ratio(candidate, "off"));
      const shown = ({ median, low, high }) => `${median.toFixed(3)} (${low.toFixed(3)}–${high.toFixed(3)})`;
      console.log(`${name}: on ${cpu("on")} µs, off ${cpu("off")} µs, ratio ${shown(on)}, ${verdict(on)}; off again ${shown(again)}`);
    },
  }),
);

/** Returns what the interval of a ratio says of the goal. */
function verdict({ low, high }) {
  if (high <= GOAL) return "within the goal";
  return low > GOAL ? "more than the goal" : "may be within the goal, or not";
}

// npm run bench:minimal: what a Worker costs only because it is in Rust. See --help.
import { join, resolve } from "node:path";
import { build, makeModules } from "../scripts/build.mjs";
import { main, ROOT, targetFolder } from "../scripts/run.mjs";
import { setUp } from "../scripts/setup.mjs";
import { prepareCandidate } from "./candidates.mjs";
import { printRatios } from "./ratios.mjs";

const HELP = `Measures what a Worker costs only because it is in Rust.

bench/minimal-worker is a Worker in Rust that sends the same responses to three requests as the JavaScript of bench/baseline,
in the fewest steps. Its CPU time per request is compared with that of the JavaScript, and so is that of kv-edge. Each ratio
is the median of those of the windows, with an interval that contains the true median with 95 %.

  npm run bench:minimal -- [--quick] [--build DIR]

  --quick         few windows: an impression, not a measurement
  --build DIR     the build of kv-edge to measure (build)`;

/** The requests that the minimal Worker answers. */
const EXAMPLES = ["cache-hit-kv", "cache-miss-plain", "kv-api-get"];

await main(() =>
  printRatios({
    help: HELP,
    names: EXAMPLES,
    full: { sets: 3, rounds: 40, windowMs: 100 },
    quick: { sets: 1, rounds: 10, windowMs: 100 },
    prepare: async ({ root, upstream, ports, build: folder }) => {
      if (folder === undefined) await build({ quick: false });
      const env = await setUp();
      const minimal = join(targetFolder(env), "minimal-worker");
      await makeModules({ crate: "minimal-worker", features: "", profile: "release", entry: "bench/minimal-worker/entry.mjs", out: minimal }, env);
      const common = { root, upstream };
      return [
        await prepareCandidate({ ...common, name: "baseline", from: join(ROOT, "bench", "baseline"), port: ports[0] }),
        await prepareCandidate({ ...common, name: "minimal", from: minimal, port: ports[1] }),
        await prepareCandidate({ ...common, name: "kv-edge", isKvEdge: true, from: resolve(folder ?? join(ROOT, "build")), port: ports[2] }),
      ];
    },
    print: (name, { cpu, ratio }) => {
      const shown = (candidate) => {
        const { median, low, high } = ratio(candidate, "baseline");
        return `${candidate} ${cpu(candidate)} µs, ratio ${median.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;
      };
      console.log(`${name}: baseline ${cpu("baseline")} µs; ${shown("minimal")}; ${shown("kv-edge")}`);
    },
  }),
);

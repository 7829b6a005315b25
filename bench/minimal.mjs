// npm run bench:minimal [-- --quick]: what Rust itself costs. bench/minimal-worker is a minimal
// Worker in Rust that does what bench/baseline does for three requests. Its CPU time per request,
// divided by the baseline's, is a lower bound for Workers in Rust; beside it is that of kv-edge.
// Each ratio is the median of those of the windows, with an interval that contains the true median
// with 95 %.
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build, makeModules } from "../scripts/build.mjs";
import { isFree } from "../scripts/ports.mjs";
import { Failure, main, ROOT, targetFolder } from "../scripts/run.mjs";
import { setUp } from "../scripts/setup.mjs";
import { findWorkerd } from "../scripts/workerd.mjs";
import { prepareCandidate } from "./candidates.mjs";
import { examples as allExamples } from "./examples.mjs";
import { PAGES } from "./fixtures.mjs";
import { serveUpstream } from "./loopback.mjs";
import { measure } from "./measure.mjs";
import { chooseCores } from "./processes.mjs";
import { medianWithInterval, randomNumbers } from "./statistics.mjs";

/** The requests that the minimal Worker answers. */
const EXAMPLES = ["cache-hit-kv", "cache-miss-plain", "kv-api-get"];

const FULL = { sets: 3, rounds: 40, windowMs: 100 };
const QUICK = { sets: 1, rounds: 10, windowMs: 100 };
const PORT = 8801;
const TIME_LIMIT_MS = 600_000;

await main(async () => {
  const { values } = parseArgs({ options: { quick: { type: "boolean" } } });
  const ports = [0, 1, 2, 3].map((offset) => PORT + offset);
  for (const port of ports) if (!(await isFree(port))) throw new Failure(`Port ${port} is in use: stop what listens there.`);
  await build({ quick: false });
  const env = await setUp();
  const minimal = join(targetFolder(env), "minimal-worker");
  await makeModules({ crate: "minimal-worker", features: "", profile: "release", entry: "bench/minimal-worker/entry.mjs", out: minimal }, env);
  const root = mkdtempSync(join(tmpdir(), "kv-edge-bench-minimal-"));
  process.on("exit", () => rmSync(root, { recursive: true, force: true }));
  const upstream = `http://127.0.0.1:${ports[3]}`;
  await serveUpstream(ports[3], PAGES);
  const candidates = [
    await prepareCandidate({ root, upstream, name: "baseline", from: join(ROOT, "bench", "baseline"), port: ports[0] }),
    await prepareCandidate({ root, upstream, name: "minimal", from: minimal, port: ports[1] }),
    await prepareCandidate({ root, upstream, name: "kv-edge", isKvEdge: true, from: join(ROOT, "build"), port: ports[2] }),
  ];
  const examples = allExamples(upstream).filter(({ name }) => EXAMPLES.includes(name));
  const context = { workerd: findWorkerd(), cores: chooseCores(), random: randomNumbers(1) };
  const effort = { ...(values.quick ? QUICK : FULL), deadline: performance.now() + TIME_LIMIT_MS, say: () => {} };
  console.log(`load before: ${loadavg()[0].toFixed(1)}; ${effort.sets * effort.rounds} windows of ${effort.windowMs} ms for each example and Worker`);
  const { windows, isCut } = await measure(candidates, examples, { ...effort, ...context });
  for (const { name } of examples) {
    const values = (of) => medianWithInterval(windows[name].map(of));
    const cpu = (candidate) => values((window) => window[candidate].cpuUs).median.toFixed(0);
    const ratio = (candidate) => {
      const { median, low, high } = values((window) => window[candidate].cpuUs / window.baseline.cpuUs);
      return `${candidate} ${cpu(candidate)} µs, ratio ${median.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;
    };
    console.log(`${name}: baseline ${cpu("baseline")} µs; ${ratio("minimal")}; ${ratio("kv-edge")}`);
  }
  if (isCut) console.log("The time limit cut some windows off.");
  process.exit(0);
});

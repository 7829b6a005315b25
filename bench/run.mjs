// npm run bench: measures kv-edge against the same examples in plain JavaScript. See --help.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "../scripts/build.mjs";
import { isFree } from "../scripts/ports.mjs";
import { Failure, ROOT } from "../scripts/run.mjs";
import { findWorkerd } from "../scripts/workerd.mjs";
import { prepareCandidate } from "./candidates.mjs";
import { requireEqualResponses } from "./compare.mjs";
import { examples as allExamples } from "./examples.mjs";
import { buildFeatures, measureFeatures } from "./features.mjs";
import { PAGES } from "./fixtures.mjs";
import { serveUpstream } from "./loopback.mjs";
import { measure, startAll, stopAll, timeFirstResponses } from "./measure.mjs";
import { parseOptions } from "./options.mjs";
import { chooseCores } from "./processes.mjs";
import { print, results } from "./report.mjs";
import { randomNumbers } from "./statistics.mjs";
import { simulateWriters } from "./writers.mjs";

const TIME_LIMIT_MS = 570_000;

async function main() {
  const options = parseOptions(allExamples("").map(({ name }) => name));
  if (options === null) return;
  if (process.platform !== "linux") throw new Failure("The benchmark reads CPU time from /proc and so needs Linux.");
  const workerd = findWorkerd();
  const ports = [0, 1, 2, 3].map((offset) => options.port + offset);
  for (const port of ports) {
    if (!(await isFree(port))) throw new Failure(`Port ${port} is in use: stop what listens there or choose others with --port.`);
  }

  // A build of `npm start` is not optimized.
  if (options.build === join(ROOT, "build")) await build({ quick: false });
  const features = options.features ? await buildFeatures() : [];
  const begun = performance.now();
  const root = mkdtempSync(join(tmpdir(), "kv-edge-bench-"));
  process.on("exit", () => rmSync(root, { recursive: true, force: true }));
  const upstream = `http://127.0.0.1:${ports[3]}`;
  const common = { root, upstream };
  const baseline = join(ROOT, "bench", "baseline");
  const candidates = [
    await prepareCandidate({ ...common, name: "kv-edge", isKvEdge: true, from: options.build, port: ports[0] }),
    await prepareCandidate({ ...common, name: "baseline", from: baseline, port: ports[1] }),
    await prepareCandidate({ ...common, name: "baseline-again", from: baseline, port: ports[2] }),
  ];
  const examples = allExamples(upstream).filter(({ name }) => options.only.includes(name));
  await serveUpstream(ports[3], PAGES);

  // Before this process is pinned to one core.
  const simulation = examples.some(({ name }) => /^(writes|coalesce)/.test(name)) ? simulateWriters() : undefined;

  const cores = chooseCores();
  const context = { workerd, cores, random: randomNumbers(options.seed) };
  const machine = { cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length, loadAverage: loadavg()[0] };
  describe(options, workerd, cores, machine);

  if (examples.length > 0) {
    await startAll(candidates, context);
    await requireEqualResponses(candidates, examples);
    await stopAll(candidates);
    console.log(`The responses of both sides are as they must be: ${examples.map(({ name }) => name).join(", ")}.`);
  }

  const firstResponses = await timeFirstResponses(
    candidates.slice(0, 2),
    allExamples(upstream).find(({ name }) => name === "hello-world"),
    options.starts,
    context,
  );
  const measured = await measure(candidates, examples, { ...options, ...context, deadline: begun + TIME_LIMIT_MS, say: progress });
  const alone =
    features.length > 0 &&
    (await measureFeatures(features, candidates.slice(0, 2), allExamples(upstream), options.starts, { ...common, port: ports[0] }, context));
  const { sets, rounds, windowMs, seed } = options;
  const about = {
    date: new Date().toISOString(),
    seed,
    sets,
    rounds,
    windowMs,
    workerd: workerd.version,
    node: process.version,
    machine,
    cores,
  };
  const result = results({ ...about, ...measured, examples, candidates, firstResponses, alone, simulation: simulation?.figures });
  print(result, console.log, simulation?.table);
  if (measured.isCut) console.log("\nThe time limit cut some windows off.");
  if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
}

function describe({ sets, rounds, windowMs, seed }, workerd, cores, machine) {
  console.log(`workerd ${workerd.version}, Node ${process.version}, ${machine.cores} cores (${machine.cpu})`);
  if (cores.warning) console.log(cores.warning);
  else console.log(`workerd on core ${cores.worker}, load and upstream on core ${cores.load}`);
  console.log(`${sets * rounds} windows of ${windowMs} ms for each example and side, in ${sets} sets of processes; --seed ${seed}`);
  if (sets > 1) console.log("What has no goal is timed in the first set only.");
  if (machine.loadAverage > 0.5) console.log(`The machine is busy (load ${machine.loadAverage.toFixed(1)}): expect more noise.`);
}

function progress(text) {
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${text}`);
}

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
]) {
  process.on(signal, () => process.exit(code));
}

main().then(
  () => process.exit(0),
  (error) => {
    // The message of these says what users need; anything else is printed with its stack.
    const isExplained = error instanceof Failure || error.code === "ENOSPC" || error.code === "EACCES";
    console.error(isExplained ? error.message : error);
    process.exit(1);
  },
);

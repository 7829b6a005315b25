// Computes ratios from the windows, and prints them as tables.
import { spread } from "./statistics.mjs";

const KINDS = { cpu: "cpuUs", perSecond: "perSecond", p50: "p50Ms" };

/** Takes ratios within each round (one window of each Worker), then their median. */
function summarize(rounds) {
  const values = (candidate, field) => spread(rounds.map((round) => round[candidate][field]));
  const ratios = (candidate, field) => spread(rounds.map((round) => round[candidate][field] / round.baseline[field]));
  const each = (make) => Object.fromEntries(Object.entries(KINDS).map(([kind, field]) => [kind, make(field)]));
  return {
    worker: each((field) => values("kv-edge", field)),
    baseline: each((field) => values("baseline", field)),
    ratio: each((field) => ratios("kv-edge", field)),
    noise: each((field) => ratios("baseline-again", field)),
    loadShare: Math.max(...["kv-edge", "baseline"].map((candidate) => values(candidate, "loadShare").median)),
    windows: rounds,
  };
}

/** Returns everything that `--json` writes. */
export function results({ examples, windows, memory, downloads, firstResponses, alone, candidates, ...rest }) {
  const named = (samples) => Object.fromEntries(Object.entries(samples).map(([candidate, values]) => [candidate, values.length > 0 ? spread(values) : null]));
  return {
    ...rest,
    examples: examples
      .filter(({ name }) => windows[name].length > 0)
      .map(({ name, what, goal, connections, acknowledges }) => ({
        ...{ name, what, goal, connections, acknowledges },
        ...summarize(windows[name]),
      })),
    peakMemoryBytes: named(memory),
    downloadsMemoryBytes: downloads.length > 0 ? spread(downloads) : null,
    firstResponseMs: named(firstResponses),
    gzipBytes: { ...Object.fromEntries(candidates.map(({ name, size }) => [name, size])), ...(alone && { empty: alone.empty }) },
    features: alone
      ? alone.measured.map(({ firstResponses, size, ...feature }) => ({ ...feature, gzipBytes: size, firstResponseMs: named(firstResponses) }))
      : [],
  };
}

function table(head, rows) {
  const widths = head.map((_cell, column) => Math.max(...[head, ...rows].map((row) => row[column].length)));
  const line = (row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])))
      .join("  ")
      .trimEnd();
  return [line(head), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line)].join("\n");
}

function number(value) {
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2);
}

const digits = (value) => value.toFixed(value < 0.1 ? 3 : 2);
const around = ({ median, low, high }) => `${digits(median)} (${digits(low)}–${digits(high)})`;
const verdict = (value, goal) => (value <= goal ? "met" : "missed");
const mega = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;
const milliseconds = ({ median, low, high }) => `${median.toFixed(0)} ms (${low.toFixed(0)}–${high.toFixed(0)})`;
const kilo = (bytes) => `${(bytes / 1000).toFixed(1)} KB`;

export function print(result, say, simulation) {
  if (result.examples.length > 0) printExamples(result, say);
  if (simulation) say(`\n${simulation}`);
  say("");
  say(table(["whole Worker", "kv-edge", "baseline", "goal", ""], wholeWorkerRows(result)));
  if (result.features.length > 0) printFeatures(result, say);
}

/**
 * Prints the features alone, beside the full Worker, the baseline and a Worker that does nothing.
 */
function printFeatures({ features, gzipBytes }, say) {
  const sizes = ({ wasm, js, total }) => [wasm, js, total].map(kilo);
  const candidates = ["alone", "kv-edge", "baseline", "empty"];
  const rows = features.map(({ feature, example, gzipBytes, firstResponseMs }) => [
    feature,
    ...sizes(gzipBytes),
    example,
    ...candidates.map((candidate) => milliseconds(firstResponseMs[candidate])),
  ]);
  const others = [
    ["all of them", "kv-edge"],
    ["the baseline", "baseline"],
    ["an empty Worker", "empty"],
  ];
  const without = ["", ...candidates.map(() => "")];
  rows.push(...others.map(([name, candidate]) => [name, ...sizes(gzipBytes[candidate]), ...without]));
  say("\nOne feature alone (`npm run build -- --features NAME`): gzip of its bundle, and its first response after start, with that of the other Workers");
  say("to the same request: median (middle half).");
  say(table(["feature", "WebAssembly", "JavaScript", "in all", "asked for", "first response", "all of them", "baseline", "empty Worker"], rows));
}

function printExamples(result, say) {
  say("\nCPU of the workerd process per request in µs. Ratios are kv-edge / baseline: median (middle half) of the windows.");
  say(
    table(
      ["example", "kv-edge", "baseline", "ratio", "noise: baseline / itself", "goal", ""],
      result.examples.map(({ name, worker, baseline, ratio, noise, goal }) => [
        name,
        number(worker.cpu.median),
        number(baseline.cpu.median),
        around(ratio.cpu),
        around(noise.cpu),
        goal === null ? "" : `≤ ${goal}`,
        goal === null ? "" : verdict(ratio.cpu.median, goal),
      ]),
    ),
  );
  for (const { name, acknowledges, worker, baseline } of result.examples.filter(({ acknowledges }) => acknowledges)) {
    const [ours, theirs] = [worker, baseline].map(({ cpu }) => number(cpu.median / acknowledges));
    say(`${name}: a request acknowledges ${acknowledges} writes, so one write costs ${ours} µs, the baseline's ${theirs}.`);
  }
  const isLoadBound = ({ loadShare }) => loadShare > 0.9;
  say("\nRequests per second (a ratio above 1 is faster) and median time to the response in ms (below 1 is faster).");
  say(
    table(
      ["example", "req/s", "baseline", "ratio", "p50", "baseline", "ratio"],
      result.examples.map(({ name, worker, baseline, ratio, ...rest }) => [
        name + (isLoadBound(rest) ? " *" : ""),
        number(worker.perSecond.median),
        number(baseline.perSecond.median),
        around(ratio.perSecond),
        number(worker.p50.median),
        number(baseline.p50.median),
        around(ratio.p50),
      ]),
    ),
  );
  if (result.examples.some(isLoadBound)) say("* The load's core was the limit: kv-edge or the baseline could have served more.");
}

function wholeWorkerRows({ peakMemoryBytes, downloadsMemoryBytes, firstResponseMs, gzipBytes }) {
  const rows = [];
  const peak = { worker: peakMemoryBytes["kv-edge"], baseline: peakMemoryBytes.baseline };
  if (peak.worker) {
    const goal = 100e6;
    rows.push(["peak memory, 20 MiB film", mega(peak.worker.median), mega(peak.baseline.median), `≤ ${mega(goal)}`, verdict(peak.worker.median, goal)]);
  }
  if (downloadsMemoryBytes) {
    rows.push(["the same, then with 50 downloads at once", mega(downloadsMemoryBytes.median), "", "", ""]);
  }
  const [ours, theirs] = [gzipBytes["kv-edge"], gzipBytes.baseline];
  const goal = 250e3;
  rows.push(["bundle, gzip: WebAssembly", kilo(ours.wasm), kilo(theirs.wasm), "", ""]);
  rows.push(["bundle, gzip: JavaScript", kilo(ours.js), kilo(theirs.js), "", ""]);
  rows.push(["bundle, gzip: in all", kilo(ours.total), kilo(theirs.total), `≤ ${kilo(goal)}`, verdict(ours.total, goal)]);
  rows.push(["first response after start", milliseconds(firstResponseMs["kv-edge"]), milliseconds(firstResponseMs.baseline), "", ""]);
  return rows;
}

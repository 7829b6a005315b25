// Times the examples on the candidates: the Workers that a benchmark compares, at least one of
// them kv-edge (see candidates.mjs). A window is a short load of one example on one candidate. A
// round has a window of each example on each candidate, in random order, but the candidates right
// after each other, so that drift of the machine affects them alike. A set is several rounds, with
// fresh processes; examples that need processes of their own have rounds of their own.

import { Failure } from "../scripts/run.mjs";
import { startWorkerd } from "../scripts/workerd.mjs";
import { sendWarmUp } from "./compare.mjs";
import { generateLoad } from "./load.mjs";
import { cpuNs, peakMemory } from "./processes.mjs";
import { median, shuffled } from "./statistics.mjs";

const WARM_UP_MS = 400;

/**
 * How many clients download the large file at once, and for how long, to measure kv-edge's peak
 * memory.
 */
const DOWNLOADS = 50;
const DOWNLOADS_MS = 3000;

export async function startAll(candidates, context, { hasNoMemory = false } = {}) {
  for (const candidate of candidates) {
    const config = hasNoMemory ? candidate.configWithoutMemory : candidate.config;
    candidate.process = await startWorkerd(context.workerd, config, candidate.port, context.cores.worker);
  }
}

export const stopAll = (candidates) => Promise.all(candidates.map((candidate) => candidate.process?.stop()));

/** Times one example on one candidate. */
async function timeWindow(candidate, example, milliseconds) {
  const { status, body } = await sendWarmUp(candidate, example);
  const counters = () => cpuNs(candidate.process);
  const load = {
    port: candidate.port,
    nextRequest: example.source(candidate.isKvEdge),
    expected: { status, length: body.length, acknowledges: example.acknowledges },
    connections: example.connections,
  };
  let window;
  try {
    window = await generateLoad({ ...load, milliseconds, counters });
  } catch (error) {
    if (!candidate.process.isRunning) throw new Failure(`${example.name}: the workerd of ${candidate.name} ended. ${candidate.process.errors}`);
    if (error instanceof Failure) throw new Failure(`${example.name}, ${candidate.name}: ${error.message}`);
    throw error;
  }
  const requests = window.latencies.length;
  return {
    cpuUs: (window.after - window.before) / 1000 / requests,
    perSecond: (requests / window.elapsedMs) * 1000,
    p50Ms: median(window.latencies),
    requests,
    loadShare: window.loadShare,
  };
}

/**
 * Returns `{ windows, memory, downloads, isCut }`. `windows` has a list for each example: the
 * windows of a round, by candidate. `memory` is the peak memory of the processes that served only
 * the large example, in bytes; `downloads` that of kv-edge after many downloads at once. `isCut`
 * is true if windows are missing, because the deadline had passed.
 */
export async function measure(candidates, examples, { sets, rounds, windowMs, deadline, random, say, ...context }) {
  const windows = Object.fromEntries(examples.map(({ name }) => [name, []]));
  const memory = Object.fromEntries(candidates.map(({ name }) => [name, []]));
  const downloads = [];
  let isCut = false;
  /** Asked only while windows are left. */
  const isTimeUp = () => {
    isCut ||= performance.now() > deadline;
    return isCut;
  };

  for (let set = 1; set <= sets && !isTimeUp(); set += 1) {
    // An example without a goal is for information: one set is enough.
    const due = examples.filter(({ goal }) => set === 1 || goal !== null);
    const groups = [
      due.filter(({ isLarge, hasNoMemory }) => !isLarge && !hasNoMemory),
      due.filter(({ hasNoMemory }) => hasNoMemory),
      due.filter(({ isLarge }) => isLarge),
    ];
    for (const group of groups.filter(({ length }) => length > 0)) {
      await startAll(candidates, context, group[0]);
      for (const candidate of candidates) for (const example of group) await timeWindow(candidate, example, WARM_UP_MS);
      for (let round = 1; round <= rounds && !isTimeUp(); round += 1) {
        say(`set ${set} of ${sets}, round ${round} of ${rounds}${group[0].isLarge ? ", large file" : ""}`);
        for (const example of shuffled(group, random)) {
          if (isTimeUp()) break;
          const timed = {};
          for (const candidate of shuffled(candidates, random)) timed[candidate.name] = await timeWindow(candidate, example, windowMs);
          windows[example.name].push(timed);
        }
      }
      if (group[0].isLarge) {
        for (const candidate of candidates) memory[candidate.name].push(peakMemory(candidate.process));
        const worker = candidates.find(({ isKvEdge }) => isKvEdge);
        await timeWindow(worker, { ...group[0], connections: DOWNLOADS }, DOWNLOADS_MS);
        downloads.push(peakMemory(worker.process));
      }
      await stopAll(candidates);
    }
  }
  say("");
  return { windows, memory, downloads, isCut };
}

/** Returns the milliseconds from the start of a process to its first response, by candidate. */
export async function timeFirstResponses(candidates, example, times, context) {
  const firstMs = Object.fromEntries(candidates.map(({ name }) => [name, []]));
  for (let time = 0; time < times; time += 1) {
    for (const candidate of shuffled(candidates, context.random)) {
      const start = performance.now();
      await startAll([candidate], context);
      await sendWarmUp(candidate, example);
      firstMs[candidate.name].push(performance.now() - start);
      await stopAll([candidate]);
    }
  }
  return firstMs;
}

// Windows of load in random order. A set has fresh processes; a round times every example once on every side, the sides one
// right after the other, so that what drifts on the machine drifts for each of them.

import { prime } from "./compare.mjs";
import { Fault } from "./fault.mjs";
import { drive } from "./load.mjs";
import { median, shuffled } from "./statistics.mjs";
import { Workerd } from "./workerd.mjs";

const WARM_UP_MS = 400;

/** So many clients download the large file at once, for so long, while kv-edge's memory is watched. */
const DOWNLOADS = 50;
const DOWNLOADS_MS = 3000;

export async function startAll(sides, context, { hasNoMemory = false } = {}) {
  for (const side of sides) {
    const config = hasNoMemory ? side.configWithoutMemory : side.config;
    side.process = await Workerd.start(context.workerd, config, side.port, context.cores.worker);
  }
}

export const stopAll = (sides) => Promise.all(sides.map((side) => side.process?.stop()));

/** Times one example on one side. */
async function timeWindow(side, example, milliseconds) {
  const { status, body } = await prime(side, example);
  const counters = () => side.process.cpuNs();
  const load = {
    port: side.port,
    next: example.source(side.isWorker),
    expected: { status, length: body.length, acknowledges: example.acknowledges },
    connections: example.connections,
  };
  let window;
  try {
    window = await drive({ ...load, milliseconds, counters });
  } catch (error) {
    if (side.process.isRunning && error instanceof Fault) throw new Fault(`${example.name}, ${side.name}: ${error.message}`);
    throw new Fault(`${example.name}: the workerd of ${side.name} ended. ${side.process.errors}`);
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
 * Gives `{ windows, memory, downloads, isCut }`: windows by example, in each round one per side by the side's name; memory is the
 * peak of the processes that served the large example only; `downloads` that of kv-edge after many downloads at once.
 */
export async function measure(sides, examples, { sets, rounds, windowMs, deadline, next, say, ...context }) {
  const windows = Object.fromEntries(examples.map(({ name }) => [name, []]));
  const memory = Object.fromEntries(sides.map(({ name }) => [name, []]));
  const downloads = [];
  const runsOut = () => performance.now() > deadline;

  for (let set = 1; set <= sets && !runsOut(); set += 1) {
    // What has no goal is for information, and one set of it is enough.
    const due = examples.filter(({ goal }) => set === 1 || goal !== null);
    const groups = [
      due.filter(({ isLarge, hasNoMemory }) => !isLarge && !hasNoMemory),
      due.filter(({ hasNoMemory }) => hasNoMemory),
      due.filter(({ isLarge }) => isLarge),
    ];
    for (const group of groups.filter(({ length }) => length > 0)) {
      await startAll(sides, context, group[0]);
      for (const side of sides) for (const example of group) await timeWindow(side, example, WARM_UP_MS);
      for (let round = 1; round <= rounds && !runsOut(); round += 1) {
        say(`set ${set} of ${sets}, round ${round} of ${rounds}${group[0].isLarge ? ", large file" : ""}`);
        for (const example of shuffled(group, next)) {
          if (runsOut()) break;
          const timed = {};
          for (const side of shuffled(sides, next)) timed[side.name] = await timeWindow(side, example, windowMs);
          windows[example.name].push(timed);
        }
      }
      if (group[0].isLarge) {
        for (const side of sides) memory[side.name].push(side.process.peakMemory());
        const worker = sides.find(({ isWorker }) => isWorker);
        await timeWindow(worker, { ...group[0], connections: DOWNLOADS }, DOWNLOADS_MS);
        downloads.push(worker.process.peakMemory());
      }
      await stopAll(sides);
    }
  }
  say("");
  return { windows, memory, downloads, isCut: runsOut() };
}

/** Milliseconds from starting a process to having its first answer, by side. */
export async function timeFirstAnswers(sides, example, times, context) {
  const taken = Object.fromEntries(sides.map(({ name }) => [name, []]));
  for (let time = 0; time < times; time += 1) {
    for (const side of shuffled(sides, context.next)) {
      const start = performance.now();
      await startAll([side], context);
      await prime(side, example);
      taken[side.name].push(performance.now() - start);
      await stopAll([side]);
    }
  }
  return taken;
}

// Measures each job built alone, except the console and metrics: the size of its Worker, and the
// time to its first response.
import { join } from "node:path";

import { allFeatures, build } from "../scripts/build.mjs";
import { Failure, ROOT } from "../scripts/run.mjs";
import { prepareCandidate } from "./candidates.mjs";
import { timeFirstResponses } from "./measure.mjs";

/** Features that only show what the others do, so they have no example with a request. */
const NOT_MEASURED = ["console", "metrics"];

const folder = (feature) => join("target", "features", feature);

/** Builds each of the measured jobs alone, and returns the names of their features. */
export async function buildFeatures() {
  const features = (await allFeatures()).filter((feature) => !NOT_MEASURED.includes(feature));
  for (const feature of features) await build({ quick: false, features: [feature], out: folder(feature) });
  return features;
}

/**
 * Measures the Worker of each feature: its size, and the time to its first response. The same
 * request is timed with the `candidates` (the full Worker and the baseline) and with a Worker that
 * does nothing. `common` holds the arguments of `prepareCandidate` that all Workers share, the
 * port too, because only one runs at a time.
 */
export async function measureFeatures(features, candidates, examples, starts, common, context) {
  const empty = await prepareCandidate({ ...common, name: "empty", from: join(ROOT, "bench", "empty") });
  const measured = [];
  for (const feature of features) {
    const example = examples.find(({ alone }) => alone === feature);
    if (!example) throw new Failure(`bench/examples.mjs has no example for the feature ${feature}.`);
    const candidate = await prepareCandidate({ ...common, name: feature, isKvEdge: true, from: join(ROOT, folder(feature)) });
    const { [feature]: alone, ...others } = await timeFirstResponses([candidate, ...candidates, empty], example, starts, context);
    measured.push({ feature, example: example.name, size: candidate.size, firstResponses: { alone, ...others } });
  }
  return { measured, empty: empty.size };
}

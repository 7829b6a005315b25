// The command line of `npm run bench`.
import { accessSync, constants } from "node:fs";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";

import { Failure, ROOT } from "../scripts/run.mjs";

const HELP = `Compares kv-edge with the same examples in plain JavaScript (bench/baseline), each under its own workerd.

The examples of writes also run a simulation: many writers put the same key into a KV that accepts one put a second.
Its table shows for each strategy how many writers succeed, how many puts they make, and how long they take.

  npm run bench -- [options]

  --only NAME     times this example only; may be repeated. "features" builds each job alone, and measures its size and first response
  --quick         few and short windows: an impression, not a measurement (a minute)
  --json FILE     writes every figure to FILE as well
  --seed NUMBER   seed of the order of the windows (random, and printed)
  --port NUMBER   first of the four ports that are used (8801)
  --build DIR     the Worker to measure (build)
  --help          this text

Examples: `;

const FULL = { sets: 3, rounds: 8, windowMs: 500, starts: 11 };
const QUICK = { sets: 1, rounds: 4, windowMs: 300, starts: 3 };

/** The name by which `--only` selects the measurement of each job alone. */
const FEATURES = "features";

function whole(name, value, least, most) {
  const number = Number(value);
  if (!Number.isInteger(number) || number < least || number > most) throw new Failure(`--${name} takes a whole number from ${least} to ${most}.`);
  return number;
}

/** Fails now rather than after ten minutes. */
function requireWritable(path) {
  try {
    accessSync(dirname(path), constants.W_OK);
  } catch {
    throw new Failure(`--json: there is no directory ${dirname(path)} to write to.`);
  }
}

/** Returns what the command line asks for, or null if it asks for help, which is then printed. */
export function parseOptions(names) {
  let values;
  try {
    const text = { type: "string" };
    const is = { type: "boolean" };
    const known = {
      only: { ...text, multiple: true },
      quick: is,
      json: text,
      seed: text,
      port: text,
      build: text,
      help: is,
    };
    ({ values } = parseArgs({ options: known }));
  } catch (error) {
    throw new Failure(`${error.message.split(/[.\n]/, 1)[0]}. See --help.`);
  }
  if (values.help) {
    console.log(HELP + [...names, FEATURES].join(", "));
    return null;
  }
  // The builds of single features take minutes, so `--quick` and `--build` leave them out unless
  // `--only` names them.
  const only = values.only ?? [...names, ...(values.quick || values.build ? [] : [FEATURES])];
  const unknown = only.find((name) => !names.includes(name) && name !== FEATURES);
  if (unknown !== undefined) throw new Failure(`There is no example ${unknown}. There are: ${[...names, FEATURES].join(", ")}.`);
  const json = values.json && resolve(values.json);
  if (json) requireWritable(json);
  return {
    ...(values.quick ? QUICK : FULL),
    only,
    features: only.includes(FEATURES),
    json,
    seed: values.seed === undefined ? Math.floor(Math.random() * 1e6) : whole("seed", values.seed, 0, 2 ** 32 - 1),
    port: whole("port", values.port ?? 8801, 1024, 65_532),
    build: resolve(values.build ?? `${ROOT}/build`),
  };
}

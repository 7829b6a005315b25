// `strategy=coalesce` under a random sequence of writes, faults and crashes on several keys,
// checked against invariants.
//
// The seed is printed; SEED=… runs the same choices again (the order in which requests arrive is
// the runtime's).
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "./harness/eventually.mjs";
import { send } from "./harness/http.mjs";
import { startWorker } from "./harness/worker.mjs";
import { assertReport, oneTo, writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true });
const { readConsistent, coalesce, puts, setFaults, waitUntilFlushed } = writesOf(worker);

const seed = Number(process.env.SEED ?? crypto.getRandomValues(new Uint32Array(1))[0]);
console.log(`key-writer-random: SEED=${seed}`);

const KEYS = 4;
const STEPS = 30;

/** Mulberry32: numbers from 0 to below 1, the same for the same seed. */
function randomFrom(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Temporary faults. `runSteps` ends each list of them with `ok` or `limit`, which accept a put
 * sooner or later, so that KV has the last value in the end.
 */
const FAULTS = ["429", "429", "500", "no response", "lost response", "slow for 300", "slow for 1200", "crash before", "crash after"];

const versionOf = ({ headers }) => Number(headers.etag?.slice(1, -1) ?? 0);

/** What a test knows about a key. */
function history(key) {
  return { key, values: new Map(), acknowledged: 0, unknown: new Set(), events: [] };
}

/** Writes, and checks the response against KV at once. */
async function write(record, body, options) {
  const { key, values, unknown, events } = record;
  unknown.add(body);
  const response = await coalesce(key, { body, ...options });
  const shown = await worker.env.WRITES.getWithMetadata(key);
  const version = versionOf(response);
  events.push(`${body} ${JSON.stringify(options)} -> ${response.status} ${version}`);
  if (version > 0) {
    assert.ok(!values.has(version), `two writes have version ${version}`);
    values.set(version, body);
    unknown.delete(body);
  }
  switch (response.status) {
    case 200:
      assertReport(response, 200, 1);
      assert.ok(shown.metadata?.version >= version, `200 for ${version}, and KV shows ${JSON.stringify(shown.metadata)}`);
      break;
    case 202:
      assertReport(response, 202, 1);
      break;
    case 504:
      assert.ok(version > 0, "504 names the version that is kept");
      break;
    default:
      // The object crashed, so it may or may not have stored the value.
      assert.equal(response.status, 503, response.text);
      assert.equal(response.json().code, "writer_unavailable");
      return;
  }
  record.acknowledged = Math.max(record.acknowledged, version);
}

async function read(record) {
  const { acknowledged, values, key, events } = record;
  const response = await readConsistent(key);
  const version = versionOf(response);
  events.push(`read -> ${response.status} ${version}`);
  assert.ok(response.status !== 404 || acknowledged === 0, `404 after ${acknowledged} was acknowledged`);
  if (response.status !== 200) return;
  assert.ok(version >= acknowledged, `read ${version} after ${acknowledged} was acknowledged`);
  if (values.has(version)) assert.equal(response.text, values.get(version));
}

/**
 * The steps of one key, one after the other; writes that wait for KV continue meanwhile.
 */
async function runSteps(record, random) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const waiting = [];
  for (const step of oneTo(STEPS)) {
    const chance = random();
    const body = `${record.key} step ${step}`;
    if (chance < 0.35) {
      await write(record, body, { wait: "durable" });
    } else if (chance < 0.6) {
      waiting.push(write(record, body, { timeoutMs: 1 + Math.floor(random() * 4000) }));
    } else if (chance < 0.75) {
      await read(record);
    } else if (chance < 0.95) {
      const put = [...oneTo(1 + Math.floor(random() * 2)).map(() => pick(FAULTS)), pick(["ok", "limit"])];
      record.events.push(`faults ${put}`);
      await setFaults(record.key, { put });
    } else {
      record.events.push("crash");
      await send(worker, `/.crash?key=${record.key}`, { method: "POST" });
    }
    await sleep(random() * 400);
  }
  await Promise.all(waiting);
}

/**
 * Checks, after the faults, that KV has the last acknowledged value, or a later one whose response
 * was lost.
 */
async function assertFinalValue({ key, values, acknowledged, unknown }) {
  await eventually(() => waitUntilFlushed(key).catch(() => false), `${key} is flushed`);
  const { value, metadata } = await worker.env.WRITES.getWithMetadata(key);
  assert.ok(metadata.version >= acknowledged, `KV has ${metadata.version}, ${acknowledged} was acknowledged`);
  const expected = values.get(metadata.version);
  if (expected === undefined) {
    assert.ok(unknown.has(value), `nobody wrote ${value}`);
  } else {
    assert.equal(value, expected);
  }
  const versions = (await puts(key)).filter(({ done }) => done).map((put) => put.metadata.version);
  assert.deepEqual(
    versions,
    versions.toSorted((a, b) => a - b),
    "an earlier value was put after a later one",
  );
}

test(`KV ends with the last acknowledged values, and each 200 was true (SEED=${seed})`, async (t) => {
  const records = oneTo(KEYS).map((number) => history(`random-${number}`));
  t.after(() => {
    if (!t.passed) for (const { key, events } of records) console.log(`${key}:\n  ${events.join("\n  ")}`);
  });
  await Promise.all(records.map((record, index) => runSteps(record, randomFrom(seed + index))));
  await Promise.all(records.map(({ key }) => setFaults(key, {})));
  await Promise.all(records.map(assertFinalValue));
});

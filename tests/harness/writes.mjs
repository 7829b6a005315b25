// Requests to `/writes`, what they left in KV and in the key's Durable Object, and checks of their
// reports; and faults for the KV calls of a key, which tests of other routes set as well.
import assert from "node:assert/strict";
import { eventually } from "./eventually.mjs";
import { kvCallsFor } from "./faults.mjs";
import { send } from "./http.mjs";
import { bearer } from "./worker.mjs";

/** Returns the whole numbers from 1 to n. */
export const oneTo = (n) => Array.from({ length: n }, (_, index) => index + 1);

const path = (key, parameters = {}) => {
  const query = new URLSearchParams(parameters).toString();
  return `/writes/${encodeURIComponent(key)}${query && `?${query}`}`;
};

/** Returns how a test file writes and reads the keys of one Worker. */
export function writesOf(worker) {
  const read = (key, { headers, method, ...parameters } = {}) => send(worker, path(key, parameters), { method, headers: { ...bearer, ...headers } });
  const write = (key, { headers, body, ...parameters } = {}) =>
    send(worker, path(key, parameters), { method: "POST", headers: { ...bearer, ...headers }, body });

  return {
    /** `GET /writes/{key}` with these query parameters. */
    read,
    /** Reads the newest accepted value, from the key's object (`consistent=1`). */
    readConsistent: (key, options) => read(key, { consistent: 1, ...options }),
    /** `POST /writes/{key}` with these query parameters and an optional body. */
    write,
    coalesce: (key, options) => write(key, { strategy: "coalesce", ...options }),
    /** Writes the values one after the other, each stored durably before the next. */
    storeAll: async (key, values) => {
      for (const body of values) {
        const response = await write(key, { strategy: "coalesce", wait: "durable", body });
        assert.equal(response.status, 202, response.text);
      }
    },
    /** Returns the value in KV. */
    kvValue: (key) => worker.env.WRITES.get(key),
    kvBytes: async (key) => Buffer.from((await worker.env.WRITES.get(key, "arrayBuffer")) ?? []),
    /** Waits until KV has this value. */
    waitForKv: (key, value) => eventually(async () => (await worker.env.WRITES.get(key)) === value, `${key} has the value ${value} in KV`),
    /** Returns the puts for a key so far, in order. */
    puts: (key) => kvCallsFor(worker, key, "put"),
    /** Sets the faults of the KV calls for a key, those of its object included. */
    setFaults: (key, faults) => setFaults(worker, key, faults),
    /** Returns what the key's object stores. */
    objectState: (key) => objectOf(worker, key),
    /**
     * Waits until the key's object has written everything to KV: it has no alarm, and stores one
     * record or row.
     */
    waitUntilFlushed: async (key) => {
      await eventually(async () => {
        // It may be crashing just now.
        const { alarmMs, records, rows } = await objectOf(worker, key).catch(() => ({}));
        return alarmMs === null && records.length + rows === 1;
      }, `the object of ${key} is flushed`);
      return objectOf(worker, key);
    },
  };
}

/**
 * Sets the faults of the KV calls for a key by requests and by objects. tests/faulty/entry.mjs
 * says which other keys there are.
 */
export async function setFaults(worker, key, faults) {
  const body = JSON.stringify(faults);
  const response = await send(worker, `/.kv-faults?key=${encodeURIComponent(key)}`, { method: "PUT", body });
  assert.equal(response.status, 204);
}

async function objectOf(worker, key) {
  const response = await send(worker, `/.object?key=${encodeURIComponent(key)}`);
  assert.equal(response.status, 200, response.text);
  const { alarmMs, records, tables } = response.json();
  // miniflare stores the object's name in its own table.
  const objectTables = tables.filter(({ name }) => !name.startsWith("__miniflare"));
  return {
    alarmMs,
    records,
    tables: objectTables,
    rows: objectTables.reduce((sum, { rows }) => sum + rows, 0),
  };
}

/** Checks the report of `backoff` or `coalesce` for `n` writes, and returns it parsed. */
export function assertReport(response, status, n) {
  assert.equal(response.status, status, response.text);
  assert.match(response.headers["content-type"], /^application\/json\b/);
  const report = response.json();
  const { attempts, acknowledged, puts, elapsedMs, ...rest } = report;
  assert.deepEqual(rest, {});
  assert.deepEqual(
    attempts.map(({ attempt }) => attempt),
    oneTo(n),
  );
  for (const { attempt, success, error, tries, startedMs, endedMs, ...more } of attempts) {
    assert.deepEqual(more, {});
    assert.equal(error === undefined, success, `attempt ${attempt}`);
    if (error) {
      assert.deepEqual(Object.keys(error), ["message", "reason"]);
      assert.match(error.reason, /^(permanent|tries|deadline|budget)$/);
    }
    assert.ok([tries, startedMs, endedMs, elapsedMs].every(Number.isInteger), `attempt ${attempt}`);
    assert.ok(0 <= startedMs && startedMs <= endedMs && endedMs <= elapsedMs, `attempt ${attempt}: ${startedMs}, ${endedMs}`);
  }
  assert.equal(acknowledged, attempts.filter(({ success }) => success).length);
  assert.equal(
    puts,
    attempts.reduce((sum, { tries }) => sum + tries, 0),
  );
  return report;
}

/** Checks that each put of a key began at least a second after the previous one had ended. */
export function assertOneSecondApart(puts) {
  for (const [index, { startedMs }] of puts.slice(1).entries()) {
    const waitedMs = startedMs - puts[index].endedMs;
    assert.ok(waitedMs >= 1000, `put ${index + 2} came ${waitedMs} ms after the one before`);
  }
}

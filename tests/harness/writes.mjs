// Requests to `/writes`, and a look at what they left in KV and in the key's object.
import assert from "node:assert/strict";
import { eventually } from "./eventually.mjs";
import { kvCallsFor } from "./faults.mjs";
import { send } from "./http.mjs";
import { WORKER_TOKEN } from "./worker.mjs";

export const bearer = { Authorization: `Bearer ${WORKER_TOKEN}` };

/** The whole numbers from 1 to n. */
export const oneTo = (n) => Array.from({ length: n }, (_, index) => index + 1);

const path = (key, parameters = {}) => {
  const query = new URLSearchParams(parameters).toString();
  return `/writes/${encodeURIComponent(key)}${query && `?${query}`}`;
};

/** Everything that a test file does with one Worker. */
export function writesOf(worker) {
  const read = (key, { headers, method, ...parameters } = {}) => send(worker, path(key, parameters), { method, headers: { ...bearer, ...headers } });
  const write = (key, { headers, body, ...parameters } = {}) =>
    send(worker, path(key, parameters), { method: "POST", headers: { ...bearer, ...headers }, body });

  return {
    /** `GET /writes/{key}` with the query parameters that are named. */
    read,
    /** The newest accepted value, from the key's object. */
    readConsistent: (key, options) => read(key, { consistent: 1, ...options }),
    /** `POST /writes/{key}` with the query parameters that are named, and perhaps a body. */
    write,
    coalesce: (key, options) => write(key, { strategy: "coalesce", ...options }),
    /** As many values as a test likes, each stored when this ends. */
    storeAll: async (key, values) => {
      for (const body of values) {
        const response = await write(key, { strategy: "coalesce", wait: "durable", body });
        assert.equal(response.status, 202, response.text);
      }
    },
    /** The value that KV shows now. */
    kvValue: (key) => worker.env.WRITES.get(key),
    kvBytes: async (key) => Buffer.from((await worker.env.WRITES.get(key, "arrayBuffer")) ?? []),
    /** Waits until KV shows this value. */
    waitForKv: (key, value) => eventually(async () => (await worker.env.WRITES.get(key)) === value, `${key} has the value ${value} in KV`),
    /** The puts made for a key so far, in order. */
    puts: (key) => kvCallsFor(worker, key, "put"),
    /** What the puts and gets for a key do from now on; those of its object, too. */
    setFaults: (key, faults) => setFaults(worker, key, faults),
    /** What the key's object stores. */
    objectState: (key) => objectOf(worker, key),
    /** Waits until the key's object has brought everything to KV, and checks that it costs nothing any more. */
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

async function setFaults(worker, key, faults) {
  const body = JSON.stringify(faults);
  const response = await send(worker, `/.kv-faults?key=${encodeURIComponent(key)}`, { method: "PUT", body });
  assert.equal(response.status, 204);
}

async function objectOf(worker, key) {
  const response = await send(worker, `/.object?key=${encodeURIComponent(key)}`);
  assert.equal(response.status, 200, response.text);
  const { alarmMs, records, tables } = response.json();
  // miniflare notes the object's name in a table of its own.
  const own = tables.filter(({ name }) => !name.startsWith("__miniflare"));
  return {
    alarmMs,
    records,
    tables: own,
    rows: own.reduce((sum, { rows }) => sum + rows, 0),
  };
}

/** Checks the report of `backoff` or `coalesce` against the number of writes; returns it parsed. */
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

/** Checks that each put of a key began a second or more after the one before it had ended. */
export function assertOneSecondApart(puts) {
  for (const [index, { startedMs }] of puts.slice(1).entries()) {
    const waitedMs = startedMs - puts[index].endedMs;
    assert.ok(waitedMs >= 1000, `put ${index + 2} came ${waitedMs} ms after the one before`);
  }
}

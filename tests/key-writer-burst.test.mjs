// Many concurrent writers of one key, whose KV accepts one put a second: `strategy=coalesce`
// acknowledges all with a few puts.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { uniqueName } from "./harness/names.mjs";
import { startWorker } from "./harness/worker.mjs";
import { assertOneSecondApart, assertReport, oneTo, writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true });
const { readConsistent, write, coalesce, kvValue, puts, setFaults, waitUntilFlushed } = writesOf(worker);

/** Returns a new key, whose KV accepts one put a second. */
async function limitedKey(name) {
  const key = uniqueName(name);
  await setFaults(key, { put: ["limit"] });
  return key;
}

/** Sends a request for each of these at the same time; returns the responses in that order. */
const coalesceConcurrently = (key, requests) => Promise.all(requests.map((options) => coalesce(key, options)));

/**
 * Checks requests that all got this status: every write is acknowledged, with `putsMax` puts at
 * most, and KV ends with the last accepted value.
 */
async function assertAcknowledged(key, responses, { status = 200, n, putsMax }) {
  const reports = responses.map((response) => assertReport(response, status, n));
  for (const { acknowledged } of reports) assert.equal(acknowledged, n);
  assert.deepEqual(
    responses.map(({ headers }) => headers.etag).toSorted(byVersion),
    oneTo(responses.length).map((version) => `"${version}"`),
    "each request is one accepted write, and no two have the same version",
  );
  const newest = await readConsistent(key);
  assert.equal(newest.headers.etag, `"${responses.length}"`);
  await waitUntilFlushed(key);
  assert.equal(await kvValue(key), newest.text, "KV ends with the last accepted value");

  const made = await puts(key);
  assert.ok(made.length <= putsMax, `${made.length} puts`);
  assertOneSecondApart(made);
  const versions = made.map(({ metadata }) => metadata.version);
  assert.deepEqual(
    versions,
    versions.toSorted((a, b) => a - b),
    "no earlier value is put after a later one",
  );
  return { reports, made, last: newest.text };
}

const byVersion = (a, b) => Number(a.slice(1, -1)) - Number(b.slice(1, -1));

describe("one put a second", { concurrency: true }, () => {
  test("20 writers in one request: 20 acknowledged, the last value in KV, one put", async () => {
    const key = await limitedKey("request");
    const { last } = await assertAcknowledged(key, await coalesceConcurrently(key, [{ n: 20 }]), { n: 20, putsMax: 1 });
    assert.equal(last, "Write attempt #20");
  });

  test("20 parallel writers, a request each: 20 acknowledged, at most 3 puts, which the responses count", async () => {
    const key = await limitedKey("writers");
    const requests = oneTo(20).map((number) => ({ body: `value of ${number}` }));
    const responses = await coalesceConcurrently(key, requests);
    const { reports, made, last } = await assertAcknowledged(key, responses, { n: 1, putsMax: 3 });
    const lastWriter = responses.findIndex(({ headers }) => headers.etag === '"20"');
    assert.equal(last, requests[lastWriter].body, "the last is the one that was accepted last");
    assert.equal(
      reports.reduce((sum, report) => sum + report.puts, 0),
      made.length,
      "the responses' puts add up to the puts that were made",
    );
  });

  test("200 writers in 10 parallel requests: 200 acknowledged, at most 5 puts, which the responses count", async () => {
    const key = await limitedKey("requests");
    const responses = await coalesceConcurrently(key, Array(10).fill({ n: 20 }));
    const { reports, made } = await assertAcknowledged(key, responses, { n: 20, putsMax: 5 });
    assert.equal(
      reports.reduce((sum, report) => sum + report.puts, 0),
      made.length,
    );
  });

  test("200 parallel requests of one write each: all acknowledged, at most 5 puts", async () => {
    const key = await limitedKey("hundreds");
    const responses = await coalesceConcurrently(
      key,
      oneTo(200).map((number) => ({ body: `value ${number}` })),
    );
    await assertAcknowledged(key, responses, { n: 1, putsMax: 5 });
  });

  test("200 writers in 10 parallel requests with wait=durable: all acknowledged, and at most 5 puts", async () => {
    const key = await limitedKey("durable");
    const responses = await coalesceConcurrently(key, Array(10).fill({ n: 20, wait: "durable" }));
    const { reports } = await assertAcknowledged(key, responses, { status: 202, n: 20, putsMax: 5 });
    for (const { puts } of reports) assert.ok(puts <= 1);
  });

  test("if `backoff` writes the key at the same time, past the object, every write is acknowledged all the same", async () => {
    const key = await limitedKey("shared");
    const others = write(key, { strategy: "backoff", n: 4 });
    const responses = await coalesceConcurrently(
      key,
      oneTo(20).map((number) => ({ body: `value of ${number}` })),
    );
    for (const response of responses) assertReport(response, 200, 1);
    assertReport(await others, 200, 4);
    await waitUntilFlushed(key);
  });

  test("writers one after the other, each waiting for KV: each gets its response at its put", async () => {
    const key = await limitedKey("in-turn");
    for (const version of oneTo(4)) {
      const response = await coalesce(key, { body: `value ${version}` });
      const shown = await kvValue(key);
      const { puts } = assertReport(response, 200, 1);
      assert.equal(puts, 1);
      assert.equal(shown, `value ${version}`);
    }
    const made = await puts(key);
    assert.equal(made.length, 4);
    assertOneSecondApart(made);
  });
});

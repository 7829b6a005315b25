// `strategy=coalesce` on a KV that fails: the object retries until KV has the value, and every
// response is true when it is sent.
//
// The writer waits in real time, so these tests run concurrently. They share the retry budget of
// one isolate, so no fault that is retried lasts forever.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { openRequest } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { bearer, startWorker } from "./harness/worker.mjs";
import { assertOneSecondApart, assertReport, oneTo, writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true });
const { readConsistent, coalesce, storeAll, kvValue, waitForKv, puts, setFaults, objectState, waitUntilFlushed } = writesOf(worker);

/** Returns a new key with these faults for its puts, the last one again and again. */
async function keyWith(...put) {
  const key = uniqueName("key");
  await setFaults(key, { put });
  return key;
}

describe("a put that fails is retried until KV accepts it", { concurrency: true }, () => {
  for (const put of [
    ["429", "ok"],
    ["429", "429", "429", "ok"],
    ["500", "ok"],
    ["500", "503", "500", "ok"],
    ["no response", "ok"],
    ["lost response", "ok"],
    ["429", "500", "no response", "ok"],
    ["throws a string", "throws undefined", "ok"],
  ]) {
    test(`${put.join(", ")}: 200 once KV has the value, each put counted, at least a second apart`, async () => {
      const key = await keyWith(...put);
      const response = await coalesce(key, { body: "kept" });
      const shown = await kvValue(key);
      const { attempts } = assertReport(response, 200, 1);
      assert.equal(attempts[0].success, true);
      assert.equal(attempts[0].tries, put.length);
      assert.equal(shown, "kept");
      const made = await puts(key);
      assert.equal(made.length, put.length);
      assertOneSecondApart(made);
      await waitUntilFlushed(key);
    });
  }

  test("wait=durable: the same, after the response", async () => {
    const key = await keyWith("429", "500", "ok");
    await storeAll(key, ["a", "b"]);
    await waitForKv(key, "b");
    await waitUntilFlushed(key);
    assertOneSecondApart(await puts(key));
  });

  test("of values that arrive while KV refuses, KV gets the last, and all waiting clients get their responses then", async () => {
    const key = await keyWith("429", "429", "ok");
    const first = coalesce(key, { body: "first" });
    await eventually(async () => (await puts(key)).length === 1, "the first put was refused");
    const rest = await Promise.all(["second", "third"].map((body) => coalesce(key, { body })));
    const responses = [await first, ...rest];
    const shown = await kvValue(key);
    const reports = responses.map((response) => assertReport(response, 200, 1));
    const last = responses.findIndex(({ headers }) => headers.etag === '"3"');
    assert.equal(shown, ["first", "second", "third"][last]);
    const made = await puts(key);
    assert.equal(
      reports.reduce((sum, { puts }) => sum + puts, 0),
      made.length,
    );
    assert.equal(reports[0].puts, 1, "the put of the first value counts for the first, though another came in its place");
    assert.equal(made.at(-1).value, shown);
  });

  test("a put whose response is lost may have been made: a later value is put after it, and stays", async () => {
    const key = await keyWith("lost response", "ok");
    await storeAll(key, ["first"]);
    await waitForKv(key, "first");
    assertReport(await coalesce(key, { body: "second" }), 200, 1);
    await waitUntilFlushed(key);
    assert.equal(await kvValue(key), "second");
  });
});

describe("at the deadline, while KV has not accepted the value", { concurrency: true }, () => {
  for (const [name, put] of [
    ["KV refuses", ["429", "429", "ok"]],
    ["KV is down", ["500", "500", "ok"]],
    ["the put is slow", ["slow for 5000"]],
  ]) {
    test(`${name}: 504 with the version, and KV gets the stored value later`, async () => {
      const key = await keyWith(...put);
      const response = await coalesce(key, { body: "kept", timeoutMs: 300 });
      const shown = await kvValue(key);
      assertProblem(response, 504, "kv_timeout");
      assert.equal(response.headers.etag, '"1"');
      assert.equal(shown, null);
      const newest = await readConsistent(key);
      assert.equal(newest.text, "kept");
      assert.equal(newest.headers.etag, '"1"');
      await waitForKv(key, "kept");
      await waitUntilFlushed(key);
    });
  }

  test("the next write has its own deadline", async () => {
    const key = await keyWith("429", "ok");
    const [first, second] = await Promise.all([coalesce(key, { body: "first", timeoutMs: 200 }), coalesce(key, { body: "second", timeoutMs: 20000 })]);
    assertProblem(first, 504, "kv_timeout");
    assertReport(second, 200, 1);
  });

  test("the shortest deadline is honoured", async () => {
    const key = await keyWith("slow for 500", "ok");
    assertProblem(await coalesce(key, { n: 20, timeoutMs: 1 }), 504, "kv_timeout");
    await waitForKv(key, "Write attempt #20");
  });
});

describe("a client that disconnects while it waits", { concurrency: true }, () => {
  test("has written its value, and does not block the next writer", async () => {
    const key = await keyWith("429", "429", "ok");
    const headers = { ...bearer, "Content-Length": 4 };
    const { request } = openRequest(worker, `/writes/${key}?strategy=coalesce`, { method: "POST", headers });
    request.end("gone");
    await eventually(async () => (await puts(key)).length === 1, "the first put was refused");
    request.destroy();
    const newest = await readConsistent(key);
    assert.deepEqual({ text: newest.text, etag: newest.headers.etag }, { text: "gone", etag: '"1"' });
    await waitForKv(key, "gone");
    const response = await coalesce(key, { body: "next" });
    assertReport(response, 200, 1);
    assert.equal(response.headers.etag, '"2"');
    await waitUntilFlushed(key);
  });

  test("many that disconnect: the last value reaches KV, and the Worker still responds", async () => {
    const key = await keyWith("slow for 500", "ok");
    const clients = oneTo(10).map((number) => {
      const body = `value ${number}`;
      const headers = { ...bearer, "Content-Length": body.length };
      const { request } = openRequest(worker, `/writes/${key}?strategy=coalesce`, { method: "POST", headers });
      request.end(body);
      return request;
    });
    await eventually(async () => (await readConsistent(key)).headers.etag === '"10"', "all are stored");
    for (const request of clients) request.destroy();
    const { text } = await readConsistent(key);
    await waitForKv(key, text);
    await waitUntilFlushed(key);
    assertReport(await coalesce(key, { body: "next" }), 200, 1);
  });
});

describe("a permanent refusal of KV", { concurrency: true }, () => {
  for (const fault of ["quota", "400", "403", "413"]) {
    test(`${fault}: 503 at once with the version; the value is stored, and retried in five minutes`, async () => {
      const key = await keyWith(fault);
      const response = await coalesce(key, { body: "kept" });
      const refusedMs = Date.now();
      assertProblem(response, 503, "kv_refused");
      assert.equal(response.headers.etag, '"1"');
      assert.equal((await puts(key)).length, 1);
      const newest = await readConsistent(key);
      assert.equal(newest.text, "kept");
      assert.equal(newest.headers.etag, '"1"');
      const { alarmMs } = await objectState(key);
      const waitMs = alarmMs - refusedMs;
      assert.ok(290_000 < waitMs && waitMs <= 300_000, `the alarm rings in ${waitMs} ms`);
    });
  }

  test("does not hold up the next value", async () => {
    const key = await keyWith("400", "ok");
    assertProblem(await coalesce(key, { body: "bad" }), 503, "kv_refused");
    assertReport(await coalesce(key, { body: "good" }), 200, 1);
    assert.equal(await kvValue(key), "good");
    await waitUntilFlushed(key);
  });

  test("responds to all waiting clients", async () => {
    const key = await keyWith("429", "quota");
    const responses = await Promise.all(["a", "b", "c"].map((body) => coalesce(key, { body })));
    for (const response of responses) assertProblem(response, 503, "kv_refused");
    assert.deepEqual(responses.map(({ headers }) => headers.etag).toSorted(), ['"1"', '"2"', '"3"']);
  });

  test("a write with wait=durable is 202", async () => {
    const key = await keyWith("quota");
    assertReport(await coalesce(key, { body: "kept", wait: "durable" }), 202, 1);
    assert.equal((await readConsistent(key)).text, "kept");
  });
});

describe("reading while the object and KV disagree", { concurrency: true }, () => {
  test("KV does not show the key yet: 503 until it does", async () => {
    const key = uniqueName("key");
    await coalesce(key, { body: "newest" });
    await setFaults(key, { get: ["missing", "ok"] });
    assertProblem(await readConsistent(key), 503, "not_visible_yet");
    assert.equal((await readConsistent(key)).text, "newest");
  });

  test("KV still shows the previous value: 503, never the old value", async () => {
    const key = await keyWith("ok", "pretends");
    await coalesce(key, { body: "old" });
    assertReport(await coalesce(key, { body: "new" }), 200, 1);
    assertProblem(await readConsistent(key), 503, "not_visible_yet");
    assert.equal(await kvValue(key), "old");
  });

  test("while the value is pending KV is not read, so its failures do not matter", async () => {
    const key = uniqueName("key");
    await setFaults(key, { put: ["429", "429", "ok"], get: ["500"] });
    await storeAll(key, ["newest"]);
    const { status, text } = await readConsistent(key);
    assert.deepEqual({ status, text }, { status: 200, text: "newest" });
    await waitForKv(key, "newest");
  });
});

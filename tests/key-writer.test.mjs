// `POST /writes/{key}?strategy=coalesce` and `GET /writes/{key}`: what they promise. Some puts are
// slow, or refused and accepted a moment later; in key-writer-faults.test.mjs KV fails for longer.
//
// The writer waits in real time, so these tests run concurrently.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { send } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { bearer, startWorker } from "./harness/worker.mjs";
import { assertOneSecondApart, assertReport, oneTo, writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true });
const { read, readConsistent, write, coalesce, storeAll, kvValue, waitForKv, puts, setFaults, objectState, waitUntilFlushed } = writesOf(worker);

const sha256 = async (value) => Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.from(value))).toString("hex");

describe("coalesce, waiting for KV", { concurrency: true }, () => {
  for (const [parameters, n] of [
    [{ n: 20 }, 20],
    [{ n: 20, wait: "kv" }, 20],
    [{ n: 1 }, 1],
    [{ n: 100, timeoutMs: 60000 }, 100],
  ]) {
    test(`${JSON.stringify(parameters)}: the ${n} writes of a request become one put, of the last`, async () => {
      const key = uniqueName("request");
      const report = assertReport(await coalesce(key, parameters), 200, n);
      assert.equal(await kvValue(key), `Write attempt #${n}`);
      assert.deepEqual(
        report.attempts.map(({ success, tries }) => ({ success, tries })),
        oneTo(n).map((attempt) => ({ success: true, tries: attempt === n ? 1 : 0 })),
      );
      assert.equal(report.acknowledged, n);
      assert.equal((await puts(key)).length, 1);
    });
  }

  test("KV has the value when 200 is sent, also for a key that was written before", async () => {
    const key = uniqueName("true");
    await worker.env.WRITES.put(key, "older");
    for (const body of ["first", "second"]) {
      const response = await coalesce(key, { body });
      const shown = await kvValue(key);
      assertReport(response, 200, 1);
      assert.equal(shown, body);
    }
    assertOneSecondApart(await puts(key));
  });

  test("a version counts the accepted requests of its key, and the response's ETag names it", async () => {
    const [key, other] = [uniqueName("versions"), uniqueName("versions")];
    for (const version of oneTo(4)) {
      const response = await coalesce(key, { body: `v${version}`, wait: "durable" });
      assert.equal(response.headers.etag, `"${version}"`);
    }
    const response = await coalesce(key, { n: 20 });
    assert.equal(response.headers.etag, '"5"', "the writes of one request count as one");
    assert.equal((await coalesce(other, { n: 2 })).headers.etag, '"1"');
  });

  test("the put's metadata has its version and hash", async () => {
    const key = uniqueName("metadata");
    await coalesce(key, { body: "the value" });
    const { metadata } = await worker.env.WRITES.getWithMetadata(key);
    assert.deepEqual(metadata, { version: 1, sha256: await sha256("the value") });
  });

  test("a write that arrives during a put is put after it", async () => {
    const key = uniqueName("under-way");
    await setFaults(key, { put: ["slow for 700", "ok"] });
    const first = coalesce(key, { body: "first" });
    await eventually(async () => (await puts(key)).length === 1, "the first put has begun");
    const second = coalesce(key, { body: "second" });
    assertReport(await first, 200, 1);
    assertReport(await second, 200, 1);
    assert.equal(await kvValue(key), "second");
    const made = await puts(key);
    assert.deepEqual(
      made.map(({ value }) => value),
      ["first", "second"],
    );
    assertOneSecondApart(made);
  });

  test("many writes in a row: at most one put a second, the last value last, no value twice", async () => {
    const key = uniqueName("in-a-row");
    const values = oneTo(40).map((number) => `value ${number}`);
    await storeAll(key, values.slice(0, 20));
    await waitForKv(key, "value 20");
    await storeAll(key, values.slice(20));
    await waitForKv(key, "value 40");
    const made = await puts(key);
    assertOneSecondApart(made);
    const order = made.map(({ value }) => values.indexOf(value));
    assert.deepEqual(
      order,
      [...new Set(order)].toSorted((a, b) => a - b),
      "no earlier value after a later one",
    );
    assert.ok(made.length <= 5, `${made.length} puts`);
  });

  test("two keys do not wait for each other", async () => {
    const [slow, fast] = [uniqueName("key"), uniqueName("key")];
    await setFaults(slow, { put: ["slow for 1500"] });
    const waiting = coalesce(slow, { body: "slow" });
    assertReport(await coalesce(fast, { body: "fast" }), 200, 1);
    assert.equal(await kvValue(slow), null, "the slow one is still waiting");
    assertReport(await waiting, 200, 1);
  });
});

describe("coalesce, waiting until the value is durable", { concurrency: true }, () => {
  test("202 at once, before the put, and KV gets the value", async () => {
    const key = uniqueName("durable");
    await setFaults(key, { put: ["slow for 1000"] });
    const report = assertReport(await coalesce(key, { n: 20, wait: "durable" }), 202, 20);
    assert.equal(report.acknowledged, 20);
    assert.equal(report.puts, 0);
    assert.equal(await kvValue(key), null);
    await waitForKv(key, "Write attempt #20");
    assert.equal((await puts(key)).length, 1);
  });

  test("202 while KV refuses, and KV gets the value", async () => {
    const key = uniqueName("durable");
    await setFaults(key, { put: ["429", "429", "ok"] });
    assertReport(await coalesce(key, { wait: "durable", body: "kept" }), 202, 1);
    await waitForKv(key, "kept");
  });
});

describe("an object that has written its value to KV keeps only a short record", { concurrency: true }, () => {
  test("no alarm, one record and no value", async () => {
    const key = uniqueName("flushed");
    const body = "x".repeat(5000);
    await setFaults(key, { put: ["429", "ok"] });
    await coalesce(key, { body, wait: "durable" });
    await eventually(async () => (await objectState(key)).alarmMs, "an alarm while KV does not have the value");
    const flushed = await waitUntilFlushed(key);
    assert.equal(await kvValue(key), body);
    assert.equal(flushed.alarmMs, null);
    assert.equal(flushed.records.length, 1);
    assert.ok(flushed.records[0].bytes < 1000, JSON.stringify(flushed));
  });

  test("nothing keeps it in memory after the response", async () => {
    const key = uniqueName("flushed");
    assertReport(await coalesce(key, { body: "a" }), 200, 1);
    await waitUntilFlushed(key);
    // This fails if a request, a timer or a put of the object is still pending.
    await worker.evict(key);
    assert.equal((await readConsistent(key)).text, "a");
  });

  test("it continues with the next version", async () => {
    const key = uniqueName("flushed");
    for (const [body, etag] of [
      ["a", '"1"'],
      ["b", '"2"'],
    ]) {
      assert.equal((await coalesce(key, { body })).headers.etag, etag);
      await waitUntilFlushed(key);
      await worker.evict(key);
    }
    assert.equal(await kvValue(key), "b");
  });
});

describe("reading a key", { concurrency: true }, () => {
  const assertValue = (response, value, etag) => {
    assert.equal(response.status, 200, response.text);
    assert.equal(response.headers["content-type"], "application/octet-stream");
    assert.equal(response.headers["cache-control"], "no-store, no-transform");
    assert.equal(response.headers.etag, etag);
    assert.equal(response.text, value);
  };

  test("GET returns KV's value, HEAD the same without the body", async () => {
    const key = uniqueName("read");
    await worker.env.WRITES.put(key, "in KV");
    assertValue(await read(key), "in KV");
    assertValue(await read(key, { method: "HEAD" }), "");
  });

  test("while a value is pending: the newest with consistent=1, the previous one without", async () => {
    const key = uniqueName("pending");
    await coalesce(key, { body: "old" });
    await setFaults(key, { put: ["429", "429", "ok"] });
    await coalesce(key, { body: "new", wait: "durable" });
    assertValue(await readConsistent(key), "new", '"2"');
    assertValue(await readConsistent(key, { method: "HEAD" }), "", '"2"');
    assertValue(await read(key), "old");
    await waitForKv(key, "new");
  });

  test("once KV has the newest value: that one, with its version if consistent=1", async () => {
    const key = uniqueName("flushed");
    await coalesce(key, { body: "a" });
    await coalesce(key, { body: "b" });
    assertValue(await readConsistent(key), "b", '"2"');
    assertValue(await readConsistent(key, { method: "HEAD" }), "", '"2"');
    assertValue(await read(key), "b");
  });

  test("a key that its object never wrote: KV's value, without a version, and the object stores nothing", async () => {
    const key = uniqueName("unwritten");
    await worker.env.WRITES.put(key, "from elsewhere");
    assertValue(await readConsistent(key), "from elsewhere");
    const { alarmMs, records, rows } = await objectState(key);
    assert.deepEqual({ alarmMs, records, rows }, { alarmMs: null, records: [], rows: 0 });
  });

  for (const consistent of [undefined, 1]) {
    test(`a missing key gets 404${consistent ? ", also with consistent=1" : ""}`, async () => {
      const key = uniqueName("nowhere");
      const parameters = consistent ? { consistent } : {};
      assertProblem(await read(key, parameters), 404, "key_not_found");
      const head = await read(key, { method: "HEAD", ...parameters });
      assert.equal(head.status, 404);
      assert.equal(head.text, "");
    });
  }

  test("KV shows another value within a minute of the put: 503 with Retry-After", async () => {
    const key = uniqueName("stale");
    await coalesce(key, { body: "newest" });
    await setFaults(key, { get: ["missing"] });
    assertProblem(await readConsistent(key), 503, "not_visible_yet");
    await setFaults(key, {});
    assertValue(await readConsistent(key), "newest", '"1"');
    await worker.env.WRITES.put(key, "another");
    assertProblem(await readConsistent(key), 503, "not_visible_yet");
    assertValue(await read(key), "another");
  });

  test("KV cannot be read: 503, and nothing internal is shown", async () => {
    const key = uniqueName("unreadable");
    await coalesce(key, { body: "newest" });
    await setFaults(key, { get: ["500"] });
    assertProblem(await read(key), 503, "kv_unavailable");
    assertProblem(await readConsistent(key), 503, "kv_unavailable");
  });

  test("If-None-Match with the current version gets 304", async () => {
    const key = uniqueName("not-modified");
    await coalesce(key, { body: "first" });
    for (const has of ['"1"', 'W/"1"', '"7", "1"', "*"]) {
      const { status, text, headers } = await readConsistent(key, { headers: { "If-None-Match": has } });
      assert.deepEqual({ status, text, etag: headers.etag }, { status: 304, text: "", etag: '"1"' }, has);
    }
    for (const has of ['"2"', "1x"]) {
      assert.equal((await readConsistent(key, { headers: { "If-None-Match": has } })).text, "first", has);
    }
  });

  for (const consistent of ["0", "true", "", "2"]) {
    test(`consistent=${JSON.stringify(consistent)} gets 400`, async () => {
      assertProblem(await read(uniqueName("read"), { consistent }), 400, "invalid_consistent");
    });
  }

  for (const [path, code] of [
    ["k".repeat(513), "invalid_key"],
    ["%zz", "bad_percent_encoding"],
  ]) {
    test(`the key ${path.slice(0, 10)} gets 400 ${code}`, async () => {
      for (const query of ["", "?consistent=1"]) {
        assertProblem(await send(worker, `/writes/${path}${query}`, { headers: bearer }), 400, code);
      }
    });
  }
});

describe("refused and failing requests", { concurrency: true }, () => {
  for (const [parameters, code] of [
    [{ wait: "forever" }, "unknown_wait"],
    [{ wait: "" }, "unknown_wait"],
    [{ wait: "kv,durable" }, "unknown_wait"],
    [{ Wait: "kv" }, "unknown_parameter"],
    [{ timeoutms: "500" }, "unknown_parameter"],
    [{ consistent: "1" }, "unknown_parameter"],
    [{ timeoutMs: "0" }, "invalid_timeout"],
    [{ timeoutMs: "60001" }, "invalid_timeout"],
    [{ timeoutMs: "1.5" }, "invalid_timeout"],
    [{ timeoutMs: "1s" }, "invalid_timeout"],
    [{ timeoutMs: "" }, "invalid_timeout"],
    [{ n: "0" }, "invalid_n"],
    [{ n: "101" }, "invalid_n"],
  ]) {
    test(`${JSON.stringify(parameters)} gets 400 ${code}, and nothing is stored`, async () => {
      const key = uniqueName("wrong");
      for (const strategy of ["direct", "backoff", "coalesce"]) {
        assertProblem(await write(key, { strategy, ...parameters }), 400, code);
      }
      assert.deepEqual((await objectState(key)).records, []);
      assert.deepEqual(await puts(key), []);
    });
  }

  test("without the token both a read and a write are refused, and nothing is stored", async () => {
    const key = uniqueName("unauthorized");
    for (const headers of [{ Authorization: "" }, { Authorization: "Bearer another" }]) {
      for (const parameters of [{}, { consistent: 1 }, { consistent: 0 }]) {
        assertProblem(await read(key, { headers, ...parameters }), 401, "unauthorized");
      }
      for (const parameters of [{}, { wait: "durable" }, { wait: "never" }, { body: "a value" }]) {
        assertProblem(await coalesce(key, { headers, ...parameters }), 401, "unauthorized");
      }
    }
    assert.deepEqual((await objectState(key)).records, []);
  });

  test("without the binding KEY_WRITER, `coalesce` and `consistent=1` get 503; `backoff` and other reads work", async () => {
    const key = uniqueName("missing");
    const headers = { "X-Kv-Faults": '{"KEY_WRITER":"missing"}' };
    assertProblem(await coalesce(key, { headers }), 503, "writer_unavailable");
    assertProblem(await readConsistent(key, { headers }), 503, "writer_unavailable");
    assertProblem(await read(key, { headers }), 404, "key_not_found");
    assert.equal((await write(key, { headers, strategy: "backoff", n: 1 })).status, 200);
    assert.equal((await read(key, { headers })).text, "Write attempt #1");
  });

  test("an object that fails causes a 503 without internals, and the next request succeeds", async () => {
    const key = uniqueName("failing");
    const assertUnavailable = (response) => {
      assertProblem(response, 503, "writer_unavailable");
      assert.doesNotMatch(response.text, /secret/);
    };
    await setFaults(key, { object: ["throws", "ok"] });
    assertUnavailable(await coalesce(key, { body: "a" }));
    // A read is retried once.
    await setFaults(key, { object: ["throws", "throws", "ok"] });
    assertUnavailable(await readConsistent(key));
    await setFaults(key, { object: ["throws", "ok"] });
    assertProblem(await readConsistent(key), 404, "key_not_found");
    assertReport(await coalesce(key, { body: "a" }), 200, 1);
  });
});

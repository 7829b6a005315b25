// `If-Match` and `If-None-Match` on `POST /writes/{key}?strategy=coalesce`: compare-and-set, which
// Workers KV lacks.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { startWorker } from "./harness/worker.mjs";
import { oneTo, writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true });
const { readConsistent, write, coalesce, storeAll, kvValue, waitForKv, puts, objectState, waitUntilFlushed } = writesOf(worker);

/** Returns a key with two accepted writes: version 2 is "second". */
async function keyAtVersion2() {
  const key = uniqueName("key");
  await storeAll(key, ["first", "second"]);
  return key;
}

const store = (key, headers, options) => coalesce(key, { wait: "durable", body: "third", headers, ...options });

describe("a precondition", { concurrency: true }, () => {
  for (const headers of [
    { "If-Match": '"2"' },
    { "If-Match": '"1", "2"' },
    { "If-Match": '"9","2" , "3"' },
    { "If-Match": "*" },
    { "If-None-Match": '"1"' },
    { "If-Match": '"2"', "If-None-Match": '"1"' },
  ]) {
    test(`that version 2 satisfies lets the write through: ${JSON.stringify(headers)}`, async () => {
      const key = await keyAtVersion2();
      const response = await store(key, headers);
      assert.equal(response.status, 202, response.text);
      assert.equal(response.headers.etag, '"3"');
      assert.equal((await readConsistent(key)).text, "third");
      await waitForKv(key, "third");
    });
  }

  for (const headers of [
    { "If-Match": '"1"' },
    { "If-Match": '"3"' },
    { "If-Match": '"22"' },
    { "If-Match": '"1", "3"' },
    { "If-Match": 'W/"2"' },
    { "If-Match": '"two"' },
    { "If-None-Match": "*" },
    { "If-None-Match": '"2"' },
    { "If-None-Match": '"1", W/"2"' },
    { "If-Match": '"2"', "If-None-Match": "*" },
  ]) {
    test(`that version 2 does not satisfy gets 412 with the current version: ${JSON.stringify(headers)}`, async () => {
      const key = await keyAtVersion2();
      for (const wait of ["durable", "kv"]) {
        const response = await store(key, headers, { wait });
        assertProblem(response, 412, "precondition_failed");
        assert.equal(response.headers.etag, '"2"');
      }
      const newest = await readConsistent(key);
      assert.equal(newest.text, "second");
      assert.equal(newest.headers.etag, '"2"');
      await waitUntilFlushed(key);
      assert.equal(await kvValue(key), "second");
      const values = (await puts(key)).map(({ value }) => value);
      assert.ok(!values.includes("third"));
    });
  }

  test("If-None-Match: * lets only the first write of a new key through", async () => {
    const key = uniqueName("new");
    const first = await store(key, { "If-None-Match": "*" }, { body: "first" });
    assert.equal(first.status, 202, first.text);
    assert.equal(first.headers.etag, '"1"');
    assertProblem(await store(key, { "If-None-Match": "*" }, { body: "again" }), 412, "precondition_failed");
    assert.equal((await readConsistent(key)).text, "first");
  });

  for (const tag of ["*", '"0"', '"1"']) {
    test(`If-Match: ${tag} on a new key gets 412, and nothing is stored`, async () => {
      const key = uniqueName("new");
      const response = await store(key, { "If-Match": tag });
      assertProblem(response, 412, "precondition_failed");
      assert.equal(response.headers.etag, undefined);
      assert.deepEqual((await objectState(key)).records, []);
      assert.equal(await kvValue(key), null);
    });
  }

  test("versions continue after the value was flushed and the object evicted", async () => {
    const key = uniqueName("flushed");
    await coalesce(key, { body: "first" });
    await waitUntilFlushed(key);
    await worker.evict(key);
    assertProblem(await store(key, { "If-Match": '"2"' }), 412, "precondition_failed");
    assert.equal((await store(key, { "If-Match": '"1"' })).headers.etag, '"2"');
  });

  test("a write of n values has one version and one precondition", async () => {
    const key = await keyAtVersion2();
    const options = { n: 20, wait: "kv", body: undefined };
    const response = await store(key, { "If-Match": '"2"' }, options);
    assert.equal(response.headers.etag, '"3"', response.text);
    assert.equal(await kvValue(key), "Write attempt #20");
    assertProblem(await store(key, { "If-Match": '"2"' }, options), 412, "precondition_failed");
  });

  for (const wait of ["durable", "kv"]) {
    test(`20 parallel writes on the same version, wait=${wait}: exactly one wins`, async () => {
      const key = await keyAtVersion2();
      const values = oneTo(20).map((number) => `value of ${number}`);
      const responses = await Promise.all(values.map((body) => store(key, { "If-Match": '"2"' }, { body, wait })));
      const winners = responses.flatMap(({ status }, index) => (status === (wait === "kv" ? 200 : 202) ? [index] : []));
      assert.equal(winners.length, 1, responses.map(({ status }) => status).join(" "));
      for (const [index, response] of responses.entries()) {
        assert.equal(response.headers.etag, '"3"');
        if (index !== winners[0]) assertProblem(response, 412, "precondition_failed");
      }
      await waitForKv(key, values[winners[0]]);
    });
  }

  test("20 writers that increment by compare-and-set, and retry after 412, lose no increment", async () => {
    const key = uniqueName("counter");
    assert.equal((await store(key, { "If-None-Match": "*" }, { body: "0" })).status, 202);
    const addOne = async () => {
      for (;;) {
        const { text, headers } = await readConsistent(key);
        const response = await store(key, { "If-Match": headers.etag }, { body: String(Number(text) + 1) });
        if (response.status === 202) return;
        assertProblem(response, 412, "precondition_failed");
      }
    };
    await Promise.all(Array.from({ length: 20 }, addOne));
    assert.equal((await readConsistent(key)).text, "20");
    await waitForKv(key, "20");
  });

  for (const strategy of [undefined, "direct", "backoff"]) {
    for (const headers of [{ "If-Match": "*" }, { "If-Match": '"1"' }, { "If-None-Match": "*" }]) {
      test(`gets 400 with strategy ${strategy ?? "left out"}, and nothing is written: ${JSON.stringify(headers)}`, async () => {
        const key = uniqueName("unsupported");
        const response = await write(key, { ...(strategy && { strategy }), n: 2, headers });
        assertProblem(response, 400, "precondition_unsupported");
        assert.equal(await kvValue(key), null);
      });
    }
  }
});

// The KV REST API while Workers KV fails: what is answered, and that no batch counts as done
// before each of its keys is.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { kvCallsFor } from "./harness/faults.mjs";
import { send } from "./harness/http.mjs";
import { assertFailure, assertResult, NAMESPACES, startKvApi, valuePath } from "./harness/kv-api.mjs";
import { uniqueName } from "./harness/names.mjs";
import { setFaults } from "./harness/writes.mjs";

const worker = await startKvApi({ faulty: true });
const { WRITES } = worker.env;
const W = `${NAMESPACES}/WRITES`;
const json = JSON.stringify;

/** Calls the API with faults for the KV calls of the request. */
const faultyApi = (method, path, faults, options = {}) =>
  worker.api(method, path, { ...options, headers: { ...options.headers, "X-Kv-Faults": json({ WRITES: faults }) } });

await WRITES.put("k", "v");

describe("KV is down", { concurrency: 8 }, () => {
  for (const [what, faults, method, path, body] of [
    ["a read", { get: ["500"] }, "GET", valuePath("WRITES", "k")],
    ["a read of metadata", { get: ["500"] }, "GET", `${W}/metadata/k`],
    ["a put", { put: ["500"] }, "PUT", valuePath("WRITES", "k"), "w"],
    ["a delete", { delete: ["500"] }, "DELETE", valuePath("WRITES", "k")],
    ["a list", { list: ["500"] }, "GET", `${W}/keys`],
    ["a bulk read", { bulk: ["500"] }, "POST", `${W}/bulk/get`, '{"keys":["k"]}'],
  ])
    for (const fault of ["500", "no response", "quota", "throws a string", "throws undefined"])
      test(`${what} that fails (${fault}) causes a 503 in the envelope, without its message`, async () => {
        const failing = Object.fromEntries(Object.keys(faults).map((operation) => [operation, [fault]]));
        const response = await faultyApi(method, path, failing, { body });
        assertFailure(response, 503, 10001);
        assert.doesNotMatch(response.text, /a string|undefined|for the day/);
        assert.match(response.headers["x-request-id"], /./);
        assert.equal(await WRITES.get("k"), "v");
      });

  test("a bulk read of what is not a text causes a 503, and the key does not look absent", async () => {
    assertFailure(await faultyApi("POST", `${W}/bulk/get`, { bulk: ["not a text"] }, { body: '{"keys":["k"]}' }), 503, 10001);
  });

  test("a value whose expiration cannot be read comes without it", async () => {
    await WRITES.put("no-expiration", "v", { expirationTtl: 600 });
    const response = await faultyApi("GET", valuePath("WRITES", "no-expiration"), { list: ["500"] });
    assert.deepEqual([response.status, response.text, response.headers.expiration], [200, "v", undefined]);
  });

  test("an expiration that was listed before a write is not remembered, even if it was also listed after the write", async () => {
    const key = uniqueName("rewritten");
    const path = valuePath("WRITES", key);
    assertResult(await worker.api("PUT", `${path}?expiration_ttl=600`, { body: "v" }));
    const late = faultyApi("GET", path, { list: ["late for 700"] });
    await eventually(async () => (await kvCallsFor(worker, key, "list")).some(({ done }) => done), "the list before the write");
    assertResult(await worker.api("PUT", path, { body: "w" }));
    const expirationNow = async () => (await worker.api("GET", path)).headers.expiration;
    assert.equal(await expirationNow(), undefined);
    await late;
    assert.equal(await expirationNow(), undefined);
  });

  test("a cursor that KV does not accept is refused with 400", async () => {
    assertFailure(await faultyApi("GET", `${W}/keys?cursor=x`, { list: ["400"] }), 400, 10029);
  });
});

describe("one write a second", () => {
  test("a put that comes too early is sent again; the client sees a success", async () => {
    const key = uniqueName("early");
    assertResult(await faultyApi("PUT", valuePath("WRITES", key), { put: ["429", "429", "ok"] }, { body: "v" }));
    assert.equal(await WRITES.get(key), "v");
    assert.equal((await kvCallsFor(worker, key, "put")).length, 3);
  });

  test("a put that is too early each time is answered with 429 and Retry-After", async () => {
    const key = uniqueName("always-early");
    const response = await faultyApi("PUT", valuePath("WRITES", key), { put: ["429"] }, { body: "v" });
    assertFailure(response, 429, 10429);
    assert.equal(await WRITES.get(key), null);
  });

  test("several writers of one key all succeed or are told when to try again", async () => {
    const key = uniqueName("contended");
    await setFaults(worker, key, { put: ["limit"] });
    const written = await Promise.all(Array.from({ length: 4 }, (_, number) => worker.api("PUT", valuePath("WRITES", key), { body: `${number}` })));
    for (const response of written) if (response.status !== 200) assertFailure(response, 429, 10429);
    assert.ok(written.some(({ status }) => status === 200));
    assert.match(await WRITES.get(key), /^[0-3]$/);
  });
});

/**
 * Limits the KV calls of each invocation. Returns a function that returns how many each has made
 * since.
 */
async function limitCalls(calls) {
  await send({ url: worker.directUrl }, `/.calls-max?calls=${calls}`, { method: "PUT" });
  return async () => (await send({ url: worker.directUrl }, "/.invocations")).json().map((invocation) => invocation.calls);
}

const pairsOf = (prefix, count) => Array.from({ length: count }, (_, number) => ({ key: `${prefix}${number}`, value: `v${number}` }));

/** Returns all names below a prefix in KV. */
async function namesBelow(prefix) {
  const names = [];
  let cursor;
  do {
    const page = await WRITES.list({ prefix, cursor });
    names.push(...page.keys.map(({ name }) => name));
    cursor = page.cursor;
  } while (cursor !== undefined);
  return names;
}

/**
 * Checks that each pair is in KV or is named as not written. Returns the names of those that are
 * not.
 */
async function assertAccountedFor(prefix, pairs, response) {
  const stored = new Set(await namesBelow(prefix));
  const { result } = response.json();
  const unsuccessful = new Set(result.unsuccessful_keys);
  const lost = pairs.filter(({ key }) => !stored.has(key) && !unsuccessful.has(key));
  assert.deepEqual(lost, [], "neither stored nor named");
  assert.equal(result.successful_key_count + unsuccessful.size, pairs.length);
  assert.equal(unsuccessful.size === 0, response.status === 200, `${response.status} with ${unsuccessful.size} keys`);
  if (unsuccessful.size > 0) assertFailure(response, response.status, response.status === 429 ? 10429 : 10001, result);
  return [...unsuccessful];
}

describe("batches", () => {
  for (const count of [450, 451, 1000, 2300])
    test(`a write of ${count} pairs stays within 1,000 KV calls an invocation, though some keys are written too early`, async () => {
      const prefix = uniqueName(`batch-${count}/`);
      const pairs = pairsOf(prefix, count);
      for (const number of [0, 1, 449, count - 1]) await setFaults(worker, `${prefix}${number}`, { put: ["429", "ok"] });
      const calls = await limitCalls(1000);
      const response = await worker.api("PUT", `${W}/bulk`, { body: json(pairs) });
      const made = await calls();
      assert.deepEqual(assertResult(response), { successful_key_count: count, unsuccessful_keys: [] });
      assert.deepEqual((await namesBelow(prefix)).sort(), pairs.map(({ key }) => key).sort());
      assert.equal(await WRITES.get(`${prefix}${count - 1}`), `v${count - 1}`);
      assert.ok(Math.max(...made) <= 1000, json(made));
      const removed = await worker.api("POST", `${W}/bulk/delete`, { body: json(pairs.map(({ key }) => key)) });
      assert.deepEqual(assertResult(removed), { successful_key_count: count, unsuccessful_keys: [] });
      assert.deepEqual(await namesBelow(prefix), []);
    });

  for (const count of [20, 1000])
    test(`of ${count} pairs, a key that is always too early causes a 429 that names it, and the others are written`, async () => {
      const prefix = uniqueName(`early-${count}/`);
      const pairs = pairsOf(prefix, count);
      const early = `${prefix}${count - 3}`;
      await setFaults(worker, early, { put: ["429"] });
      const response = await worker.api("PUT", `${W}/bulk`, { body: json(pairs) });
      assert.equal(response.status, 429);
      assert.deepEqual(await assertAccountedFor(prefix, pairs, response), [early]);
      await setFaults(worker, early, {});
      assertResult(await worker.api("PUT", `${W}/bulk`, { body: json(pairs.filter(({ key }) => key === early)) }));
      assert.equal(await WRITES.get(early), `v${count - 3}`);
    });

  for (const [fault, status] of [
    ["500", 503],
    ["no response", 503],
    ["quota", 503],
    ["400", 503],
  ])
    test(`of 1,000 pairs, those whose puts fail (${fault}) are named in a ${status}`, async () => {
      const prefix = uniqueName("failing/");
      const pairs = pairsOf(prefix, 1000);
      const failing = [3, 500, 999].map((number) => `${prefix}${number}`);
      for (const key of failing) await setFaults(worker, key, { put: [fault] });
      const response = await worker.api("PUT", `${W}/bulk`, { body: json(pairs) });
      assert.equal(response.status, status);
      assert.deepEqual((await assertAccountedFor(prefix, pairs, response)).sort(), failing.sort());
    });

  test("with far fewer calls for each invocation, whatever is not written is named", async () => {
    const prefix = uniqueName("starved/");
    const pairs = pairsOf(prefix, 1000);
    await limitCalls(200);
    try {
      const response = await worker.api("PUT", `${W}/bulk`, { body: json(pairs) });
      assert.notEqual(response.status, 200);
      await assertAccountedFor(prefix, pairs, response);
    } finally {
      await limitCalls(1000);
    }
  });

  test("a delete whose keys fail names them, in both forms", async () => {
    for (const [method, path] of [
      ["POST", `${W}/bulk/delete`],
      ["DELETE", `${W}/bulk`],
    ]) {
      const prefix = uniqueName("kept/");
      for (const number of [1, 2, 3]) await WRITES.put(`${prefix}${number}`, "v");
      await setFaults(worker, `${prefix}2`, { delete: ["500"] });
      const response = await worker.api(method, path, { body: json([1, 2, 3].map((number) => `${prefix}${number}`)) });
      assertFailure(response, 503, 10001, { successful_key_count: 2, unsuccessful_keys: [`${prefix}2`] });
      assert.deepEqual(await namesBelow(prefix), [`${prefix}2`]);
    }
  });

  test("a put whose response is lost is counted as written once it is repeated", async () => {
    const prefix = uniqueName("lost-response/");
    const pairs = pairsOf(prefix, 10);
    await setFaults(worker, `${prefix}5`, { put: ["lost response", "ok"] });
    assertResult(await worker.api("PUT", `${W}/bulk`, { body: json(pairs) }));
    assert.equal((await namesBelow(prefix)).length, 10);
  });
});

test("after the clock was set back, the keys of a deleted namespace are removed within two minutes, not when it has caught up", async () => {
  const setClock = (offsetMs) => send(worker, `/.clock?offsetMs=${offsetMs}`, { method: "PUT" });
  await setClock(3_600_000);
  const { id } = assertResult(await worker.api("POST", NAMESPACES, { body: json({ title: uniqueName("set-back") }) }));
  assertResult(await worker.api("PUT", valuePath(id, "k"), { body: "v" }));
  assertResult(await worker.api("DELETE", `${NAMESPACES}/${id}`));
  // The two minutes begin at an earlier time, so that they end in two seconds.
  await setClock(-118_000);
  assertResult(await worker.api("GET", NAMESPACES));
  await setClock(0);
  const keys = async () => (await worker.env.KV_NAMESPACES.list({ prefix: `${id}:` })).keys.length;
  await eventually(async () => (await keys()) === 0, "the keys to be removed");
});

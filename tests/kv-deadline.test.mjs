// Workers KV that never responds: no request to the KV REST API, `/get-started` or `/writes` waits
// forever for it. Tests that each request ends, and that the runtime did not have to end it, not
// when.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { kvCallsFor, sendWithFaults } from "./harness/faults.mjs";
import { send } from "./harness/http.mjs";
import { assertFailure, NAMESPACES, startKvApi, valuePath } from "./harness/kv-api.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";
import { bearer } from "./harness/worker.mjs";
import { writesOf } from "./harness/writes.mjs";

const worker = await startKvApi({ faulty: true });
const { USERS_NOTIFICATION_CONFIG, WRITES } = worker.env;
const { readConsistent, setFaults } = writesOf(worker);
const W = `${NAMESPACES}/WRITES`;
const json = JSON.stringify;
const setClock = (offsetMs) => send({ url: worker.directUrl }, `/.clock?offsetMs=${offsetMs}`, { method: "PUT" });
const pairsBelow = (prefix, count) => Array.from({ length: count }, (_, number) => ({ key: `${prefix}${number}`, value: "v" }));
const never = (...operations) => Object.fromEntries(operations.map((operation) => [operation, ["never"]]));

describe("KV never responds", { concurrency: true }, () => {
  for (const [what, operations, method, path, { headers, body } = {}] of [
    ["a value", ["get"], "GET", valuePath("WRITES", "k")],
    ["a value and its expiration", ["get", "list"], "GET", valuePath("WRITES", "k")],
    ["a value's entity tag", ["get"], "HEAD", valuePath("WRITES", "k")],
    ["a part of a value", ["get"], "GET", valuePath("WRITES", "k"), { headers: { Range: "bytes=0-1" } }],
    ["a value on condition", ["get"], "GET", valuePath("WRITES", "k"), { headers: { "If-None-Match": '"x"' } }],
    ["metadata", ["get"], "GET", `${W}/metadata/k`],
    ["a list", ["list"], "GET", `${W}/keys`],
    ["a put", ["put"], "PUT", valuePath("WRITES", "k"), { body: "w" }],
    ["a delete", ["delete"], "DELETE", valuePath("WRITES", "k")],
    ["a bulk read", ["bulk"], "POST", `${W}/bulk/get`, { body: '{"keys":["k"]}' }],
    ["a bulk read's check for text", ["get replaced"], "POST", `${W}/bulk/get`, { body: '{"keys":["replaced"]}' }],
  ])
    test(`the KV REST API: ${what} gets a 503 in the envelope`, async () => {
      await WRITES.put("replaced", "\uFFFD");
      const faults = { WRITES: { ...never(...operations), bulk: operations.includes("bulk") ? ["never"] : ["ok"] } };
      const response = await worker.api(method, path, { headers: { ...headers, "X-Kv-Faults": json(faults) }, body });
      if (method === "HEAD") assert.deepEqual([response.status, response.headers["cache-control"]], [503, "no-store"]);
      else assertFailure(response, 503, 10001);
    });

  for (const method of ["PUT", "DELETE"])
    test(`the KV REST API: a batch names the keys that it could not change (${method})`, async () => {
      const keys = [1, 2, 3].map((number) => uniqueName(`batch-${number}`));
      for (const key of keys) await setFaults(key, never("put", "delete"));
      const body = json(method === "PUT" ? keys.map((key) => ({ key, value: "v" })) : keys);
      const response = await worker.api(method, `${W}/bulk`, { body });
      assertFailure(response, 503, 10001, { successful_key_count: 0, unsuccessful_keys: keys });
    });

  for (const operation of ["get", "put"])
    test(`/get-started: a ${operation} gets a 503`, async () => {
      const faults = { USERS_NOTIFICATION_CONFIG: never(operation) };
      const headers = { Accept: "application/json" };
      const [problem, plain] = await Promise.all([sendWithFaults(worker, "/get-started", faults, { headers }), sendWithFaults(worker, "/get-started", faults)]);
      assertProblem(problem, 503, "kv_unavailable");
      assertPlainError(plain, 503, /./);
    });

  test("/get-started: HEAD gets a 503", async () => {
    const response = await sendWithFaults(worker, "/get-started", { USERS_NOTIFICATION_CONFIG: never("get") }, { method: "HEAD" });
    assert.deepEqual([response.status, response.headers["cache-control"]], [503, "no-store"]);
    assert.equal(await USERS_NOTIFICATION_CONFIG.get("unwritten"), null);
  });

  test("/writes: a direct put fails after timeoutMs, and is reported", async () => {
    const response = await sendWithFaults(
      worker,
      `/writes/${uniqueName("direct")}?timeoutMs=500`,
      { WRITES: never("put") },
      { method: "POST", headers: bearer, body: "v" },
    );
    assert.equal(response.status, 503);
    assert.deepEqual(response.json(), [{ attempt: 1, success: false, error: { message: "KV PUT failed" } }]);
    assert.equal(response.headers["retry-after"], "5");
    assert.equal(response.headers["cache-control"], "no-store, no-transform");
  });

  test("/writes: the demonstration of direct reports each put", async () => {
    const response = await sendWithFaults(
      worker,
      `/writes/${uniqueName("direct")}?n=3&timeoutMs=500`,
      { WRITES: never("put") },
      { method: "POST", headers: bearer },
    );
    assert.deepEqual([response.status, response.json().map(({ success }) => success)], [200, [false, false, false]]);
  });

  test("/writes: a read gets a 503, also one of the newest value", async () => {
    const key = uniqueName("read");
    await setFaults(key, never("get"));
    const headers = { Accept: "application/json" };
    assertProblem(await sendWithFaults(worker, `/writes/${key}`, { WRITES: never("get") }, { headers: { ...bearer, ...headers } }), 503, "kv_unavailable");
    assertProblem(await readConsistent(key, { headers }), 503, "kv_unavailable");
    assert.ok((await kvCallsFor(worker, key)).some(({ by }) => by === "object"));
  });
});

test("a batch of the KV REST API that takes too long begins no more changes, does not wait for its parts, and names all keys", async () => {
  const slow = pairsBelow(uniqueName("slow/"), 60);
  for (const { key } of slow) await setFaults(key, never("put"));
  const puts = async () => (await Promise.all(slow.map(({ key }) => kvCallsFor(worker, key, "put")))).flat().length;
  // Of a batch that is split, each part is a request of the Worker to the same path.
  const split = pairsBelow(uniqueName("split/"), 460);
  const path = `/client/v4${W}/bulk`;
  const parts = async () => (await kvCallsFor(worker, path, "fetch")).length;

  const answers = [worker.api("PUT", `${W}/bulk`, { body: json(slow) })];
  await eventually(async () => (await puts()) > 0, "the first puts");
  await setFaults(path, { fetch: ["ok", "slow for 1000000"] });
  answers.push(worker.api("PUT", `${W}/bulk`, { body: json(split) }));
  await eventually(async () => (await parts()) === 2, "both parts");
  // Later than any batch may begin anything.
  await setClock(300_000);
  for (const [index, pairs] of [slow, split].entries()) {
    const response = await answers[index];
    const { result } = response.json();
    assertFailure(response, 503, 10001, result);
    assert.equal(result.successful_key_count, 0);
    assert.deepEqual(result.unsuccessful_keys.toSorted(), pairs.map(({ key }) => key).sort());
  }
  assert.ok((await puts()) < slow.length);
  assert.equal(await parts(), 2);
});

// `/writes/{key}` as it is deployed, on a KV that accepts every put: the documented concurrent
// writes, parameters, keys, tokens.
import assert from "node:assert/strict";
import { test } from "node:test";
import { send } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { bearer, startWorker, WORKER_TOKEN } from "./harness/worker.mjs";
import { assertReport, oneTo } from "./harness/writes.mjs";

const worker = await startWorker();
const { WRITES } = worker.env;

const write = (path, { headers = bearer, ...options } = {}) => send(worker, `/writes/${path}`, { method: "POST", headers, ...options });

const strategies = ["direct", "backoff", "coalesce"];

for (const [query, n] of [
  ["?n=20", 20],
  ["?n=20&strategy=direct", 20],
  ["?n=1", 1],
  ["?n=7&strategy=direct", 7],
  ["?strategy=direct&n=100", 100],
]) {
  test(`direct, ${query}: the documented array of ${n} attempts, numbered from 1`, async () => {
    const key = uniqueName("direct");
    const response = await write(key + query);
    assert.equal(response.status, 200, response.text);
    assert.match(response.headers["content-type"], /^application\/json\b/);
    assert.deepEqual(
      response.json(),
      oneTo(n).map((attempt) => ({ attempt, success: true })),
    );
    const [, attempt] = (await WRITES.get(key)).match(/^Write attempt #(\d+)$/);
    assert.ok(oneTo(n).includes(Number(attempt)));
  });
}

for (const [query, n] of [
  ["?n=20&strategy=backoff", 20],
  ["?strategy=backoff&n=1", 1],
  ["?n=100&strategy=backoff", 100],
]) {
  test(`backoff, ${query}: ${n} attempts, each accepted at the first try`, async () => {
    const key = uniqueName("backoff");
    const { attempts, acknowledged, puts } = assertReport(await write(key + query), 200, n);
    for (const { success, tries } of attempts) assert.deepEqual({ success, tries }, { success: true, tries: 1 });
    assert.equal(acknowledged, n);
    assert.equal(puts, n);
    assert.match(await WRITES.get(key), /^Write attempt #\d+$/);
  });
}

for (const [query, n] of [
  ["?n=20&strategy=coalesce", 20],
  ["?n=100&strategy=coalesce", 100],
]) {
  test(`coalesce, ${query}: ${n} attempts become one put of the last`, async () => {
    const key = uniqueName("coalesce");
    const response = await write(key + query);
    const { acknowledged, puts } = assertReport(response, 200, n);
    assert.deepEqual({ acknowledged, puts }, { acknowledged: n, puts: 1 });
    assert.equal(response.headers.etag, '"1"');
    assert.equal(await WRITES.get(key), `Write attempt #${n}`);
  });
}

test("a response is no-store, and varies by Accept", async () => {
  for (const strategy of strategies) {
    const { headers } = await write(`${uniqueName("fields")}?strategy=${strategy}&n=1`);
    assert.equal(headers["cache-control"], "no-store, no-transform");
    assert.match(headers.vary, /\bAccept\b/i);
  }
});

test("an existing value is overwritten", async () => {
  const key = uniqueName("older");
  await WRITES.put(key, '{"broken":');
  for (const [index, strategy] of strategies.entries()) {
    assert.equal((await write(`${key}?n=${index + 1}&strategy=${strategy}`)).status, 200);
  }
  assert.equal(await WRITES.get(key), "Write attempt #3");
});

const badCounts = ["0", "101", "-1", "1.5", "abc", "", "1e1", "0x10", "20 ", "4294967297", "99999999999999999999", "NaN"];
for (const n of badCounts) {
  test(`n=${JSON.stringify(n)} gets 400, and nothing is written`, async () => {
    const key = uniqueName("bad-n");
    for (const strategy of strategies) {
      assertProblem(await write(`${key}?strategy=${strategy}&n=${encodeURIComponent(n)}`), 400, "invalid_n");
    }
    assert.equal(await WRITES.get(key), null);
  });
}

for (const strategy of ["fastest", "", "directly", "direct,backoff", "Coalesce"]) {
  test(`the unknown strategy ${JSON.stringify(strategy)} gets 400, and nothing is written`, async () => {
    const key = uniqueName("bad-strategy");
    assertProblem(await write(`${key}?strategy=${encodeURIComponent(strategy)}`), 400, "unknown_strategy");
    assert.equal(await WRITES.get(key), null);
  });
}

for (const [query, code] of [
  ["stategy=coalesce", "unknown_parameter"],
  ["N=5", "unknown_parameter"],
  ["wait=durable", "wait_unsupported"],
  ["strategy=backoff&wait=kv", "wait_unsupported"],
]) {
  test(`${query} gets 400 ${code}, and is not ignored`, async () => {
    const key = uniqueName("mistyped");
    assertProblem(await write(`${key}?${query}`), 400, code);
    assert.equal(await WRITES.get(key), null);
  });
}

for (const [path, key] of [
  ["a%20b", "a b"],
  ["caf%C3%A9", "café"],
  ["once%2525", "once%25"],
  ["a%2Fb", "a/b"],
  ["k".repeat(512), "k".repeat(512)],
]) {
  test(`/writes/${path.slice(0, 20)} writes the key ${JSON.stringify(key.slice(0, 20))}`, async () => {
    assert.equal((await write(`${path}?n=1`)).status, 200);
    assert.equal(await WRITES.get(key), "Write attempt #1");
  });
}

for (const [path, code] of [
  ["k".repeat(513), "invalid_key"],
  [encodeURIComponent("€".repeat(171)), "invalid_key"],
  ["", "invalid_key"],
  ["?n=1", "invalid_key"],
  ["%zz", "bad_percent_encoding"],
  ["%", "bad_percent_encoding"],
  ["%ff", "bad_percent_encoding"],
]) {
  test(`the key ${JSON.stringify(path.slice(0, 20))} gets 400 ${code}`, async () => {
    assertProblem(await write(path), 400, code);
  });
}

const wrongTokens = [
  ["no Authorization", {}],
  ["an empty one", { Authorization: "" }],
  ["a scheme alone", { Authorization: "Bearer" }],
  ["an empty token", { Authorization: "Bearer " }],
  ["another token", { Authorization: "Bearer another" }],
  ["a token of the same length", { Authorization: `Bearer ${WORKER_TOKEN.replace(/./g, "x")}` }],
  ["the beginning of the token", { Authorization: `Bearer ${WORKER_TOKEN.slice(0, -1)}` }],
  ["the token and more", { Authorization: `Bearer ${WORKER_TOKEN}x` }],
  ["the token in capitals", { Authorization: `Bearer ${WORKER_TOKEN.toUpperCase()}` }],
  ["the token without a scheme", { Authorization: WORKER_TOKEN }],
  ["the token as Basic", { Authorization: `Basic ${WORKER_TOKEN}` }],
  ["two tokens", { Authorization: `Bearer ${WORKER_TOKEN}, Bearer ${WORKER_TOKEN}` }],
  ["bytes that are no ASCII", { Authorization: "Bearer \u00fc\u00ff" }],
];
for (const [name, headers] of wrongTokens) {
  test(`${name} gets 401, and nothing is written`, async () => {
    const key = uniqueName("unauthorized");
    for (const options of [{}, { method: "GET" }]) {
      assertProblem(await write(`${key}?strategy=coalesce`, { headers, ...options }), 401, "unauthorized");
    }
    assert.equal(await WRITES.get(key), null);
  });
}

test("the token in the query or in a cookie does not count", async () => {
  const key = uniqueName("unauthorized");
  const headers = { Cookie: `API_TOKEN=${WORKER_TOKEN}` };
  assertProblem(await write(`${key}?API_TOKEN=${WORKER_TOKEN}&access_token=${WORKER_TOKEN}`, { headers }), 401, "unauthorized");
  assert.equal(await WRITES.get(key), null);
});

test("the token is checked before the parameters, so that an error reveals nothing", async () => {
  for (const path of ["x?n=0", "x?strategy=none", "%zz", "k".repeat(513)]) {
    assertProblem(await write(path, { headers: {} }), 401, "unauthorized");
  }
});

test("the scheme's case does not matter", async () => {
  const headers = { Authorization: `bearer ${WORKER_TOKEN}` };
  assert.equal((await write(`${uniqueName("scheme")}?n=1`, { headers })).status, 200);
});

for (const method of ["PUT", "PATCH", "DELETE", "OPTIONS"]) {
  test(`${method} gets 405 with Allow: GET, HEAD, POST, and nothing is written`, async () => {
    const key = uniqueName("method");
    const response = await write(key, { method });
    assertProblem(response, 405, "method_not_allowed");
    assert.equal(response.headers.allow, "GET, HEAD, POST");
    assert.equal(await WRITES.get(key), null);
  });
}

for (const query of ["", "?consistent=1"]) {
  test(`GET and HEAD of a key${query} return its value, and 404 if it has none`, async () => {
    const [key, none] = [uniqueName("read"), uniqueName("read")];
    await WRITES.put(key, "the value");
    const get = await write(key + query, { method: "GET" });
    assert.deepEqual({ status: get.status, text: get.text }, { status: 200, text: "the value" });
    assert.equal(get.headers["content-type"], "application/octet-stream");
    assert.equal(get.headers["cache-control"], "no-store, no-transform");
    const head = await write(key + query, { method: "HEAD" });
    assert.deepEqual({ status: head.status, text: head.text }, { status: 200, text: "" });
    assertProblem(await write(none + query, { method: "GET" }), 404, "key_not_found");
    assert.equal((await write(none + query, { method: "HEAD" })).status, 404);
  });
}

test("errors are problem details, whatever is accepted", async () => {
  for (const accept of ["text/html", "text/plain", "*/*"]) {
    const headers = { ...bearer, Accept: accept };
    assertProblem(await write("x?n=0", { headers }), 400, "invalid_n");
    assertProblem(await write("none", { headers, method: "GET" }), 404, "key_not_found");
  }
});

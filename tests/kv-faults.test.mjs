// Workers KV fails: what a route still serves, and which error it sends otherwise. `/writes`,
// flags and the KV REST API have files of their own.
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { kvCallsFor, sendWithFaults } from "./harness/faults.mjs";
import { send } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";
import { respondWithPage, startUpstream } from "./harness/upstream.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startUpstream();
const worker = await startWorker({
  faulty: true,
  vars: { CACHE_UPSTREAMS: upstream.origin, ROUTING_ORIGINS: upstream.origin, ROUTING_REFRESH: "0" },
});
const { CACHE_KV, USER_CONFIGURATION, ROUTING_CONFIG, assets, USERS_NOTIFICATION_CONFIG } = worker.env;
await ROUTING_CONFIG.put("shop", JSON.stringify({ origin: upstream.origin }));
await assets.put("file.txt", "a file");

const json = { headers: { Accept: "application/json" } };

/** Errors of KV that do not say 429, and values that the runtime never throws. */
const failures = ["500", "503", "400", "throws a string", "throws undefined"];

test("without faults tests/faulty/entry.mjs changes nothing", async () => {
  assert.equal((await sendWithFaults(worker, "/get-started", {})).text, "disabled");
  assert.equal((await kvCallsFor(worker, "user_2", "put")).length, 1);
});

test("/get-started: a read that returns nothing causes a 404 Value not found", async () => {
  const faults = { USERS_NOTIFICATION_CONFIG: { get: ["missing"] } };
  assertPlainError(await sendWithFaults(worker, "/get-started", faults), 404, "Value not found");
  const problem = assertProblem(await sendWithFaults(worker, "/get-started", faults, json), 404, "value_not_found");
  assert.equal(problem.detail, "Value not found");
});

/** Routes that need KV, and the operation that fails. */
const needsKv = [
  ["/get-started", { USERS_NOTIFICATION_CONFIG: "put" }],
  ["/get-started", { USERS_NOTIFICATION_CONFIG: "get" }],
  ["/stores/shop/x", { ROUTING_CONFIG: "get" }],
  ["/file.txt", { assets: "get" }],
];

const scripted = (operations, fault) => Object.fromEntries(Object.entries(operations).map(([binding, operation]) => [binding, { [operation]: [fault] }]));

for (const [path, operations] of needsKv) {
  const [[binding, operation]] = Object.entries(operations);
  for (const fault of failures) {
    test(`${path}: a ${operation} on ${binding} that fails (${fault}) causes a 503, without its message`, async () => {
      const faults = scripted(operations, fault);
      const response = await sendWithFaults(worker, path, faults, json);
      assertProblem(response, 503, "kv_unavailable");
      assert.equal(response.headers["retry-after"], "5");
      assertPlainError(await sendWithFaults(worker, path, faults), 503, /./);
    });
  }

  // A client that requests a file has not sent too many requests.
  const [status, code, seconds] = binding === "assets" ? [503, "kv_unavailable", "5"] : [429, "kv_rate_limited", "1"];
  test(`${path}: a 429 of KV causes a ${status}`, async () => {
    const response = await sendWithFaults(worker, path, scripted(operations, "429"), json);
    assertProblem(response, status, code);
    assert.equal(response.headers["retry-after"], seconds);
  });

  test(`${path}: the next request succeeds`, async () => {
    assert.equal((await sendWithFaults(worker, path, {})).status, 200);
  });
}

test("a read that returns anything but a text causes a 503: the key does not look absent", async () => {
  const broken = { ROUTING_CONFIG: { get: ["not a text"] } };
  assertProblem(await sendWithFaults(worker, "/stores/not-a-text/x", broken, json), 503, "kv_unavailable");
  await worker.emptyMemory();
  const pointer = { assets: { "get kv-edge:current": ["not a text"] } };
  assertProblem(await sendWithFaults(worker, "/file.txt", pointer, json), 503, "kv_unavailable");
});

test("a failing KV is logged with the runtime's own message, with the request id of the response", async () => {
  const faults = { ROUTING_CONFIG: { get: ["500"] } };
  // A storefront that was served before is in memory.
  const { requestId } = (await sendWithFaults(worker, "/stores/never-served/x", faults, json)).json();
  const line = await eventually(() => worker.log().find((line) => line.requestId === requestId), "a line in the log");
  assert.equal(line.detail, "KV GET failed: 500 Internal Server Error");
  assert.equal(line.status, 503);
  assert.equal(line.code, "kv_unavailable");
});

/** Sends a request and waits for its log line. */
async function sendAndAwaitLogLine(route, request) {
  const lines = () => worker.log().filter((line) => line.route === route).length;
  const before = lines();
  const response = await request();
  await eventually(() => lines() > before, `a line of ${route} in the log`);
  return response;
}

for (const fault of [...failures, "429"]) {
  test(`/config: a get that fails (${fault}) gets the regular page, with Config-Source`, async () => {
    const id = uniqueName("user");
    await USER_CONFIGURATION.put(id, '{"preview_features_enabled": true}');
    const faults = { USER_CONFIGURATION: { get: [fault] } };
    const response = await sendAndAwaitLogLine("/config", () => sendWithFaults(worker, `/config?userId=${id}`, faults));
    assert.equal(response.status, 200, response.text);
    assert.match(response.text, /<h1>Welcome to My App<\/h1>/);
    assert.doesNotMatch(response.text, /<div|🎉/);
    assert.equal(response.headers["config-source"], "default");
  });

  test(`/hello-world: a get that fails (${fault}) gets English`, async () => {
    await assets.put("hello-world.json", '[{"language_code":"de","message":"Hallo Welt!"}]');
    const headers = { "Accept-Language": "de" };
    const faults = { assets: { get: [fault] } };
    const response = await sendAndAwaitLogLine("/hello-world", () => sendWithFaults(worker, "/hello-world", faults, { headers }));
    assert.equal(response.status, 200, response.text);
    assert.match(response.text, /<h1>Hello World!<\/h1>/);
    assert.equal(response.headers["content-language"], "en");
    assert.equal(response.headers["translation-source"], "default");
  });

  test(`/cache: a get that fails (${fault}) is a miss`, async () => {
    const url = upstream.serve(respondWithPage("<title>Fresh</title>"));
    const data = { title: "Stored", content: "c", lastUpdated: "2026-01-01T00:00:00.000Z" };
    await CACHE_KV.put(`page:${url}`, JSON.stringify(data));
    const response = await sendAndAwaitLogLine("/cache", () => cachedWithFaults(url, { get: [fault] }));
    assert.equal(response.status, 200, response.text);
    assert.equal(response.json().fromCache, false);
    assert.equal(response.json().data.title, "Fresh");
    assert.equal(upstream.requestCount(url), 1);
  });

  test(`/cache: a put that fails (${fault}) does not change the response, and is logged`, async () => {
    const url = upstream.serve(respondWithPage("<title>Fresh</title>"));
    const response = await sendAndAwaitLogLine("/cache", () => cachedWithFaults(url, { put: [fault] }));
    assert.equal(response.status, 200, response.text);
    assert.equal(response.json().data.title, "Fresh");
    // Temporary failures are tried three times.
    assert.equal((await kvCallsFor(worker, `page:${url}`, "put")).length, fault === "400" ? 1 : 3);
    assert.equal(await CACHE_KV.get(`page:${url}`), null);
  });
}

for (const fault of ["429", "500"]) {
  test(`/cache: a page whose put is refused once (${fault}) is stored by a retry`, async () => {
    const url = upstream.serve(respondWithPage("<title>Fresh</title>"));
    assert.equal((await cachedWithFaults(url, { put: [fault, "ok"] })).status, 200);
    await eventually(() => CACHE_KV.get(`page:${url}`), "the page in CACHE_KV");
    assert.equal((await kvCallsFor(worker, `page:${url}`, "put")).length, 2);
  });
}

function cachedWithFaults(url, faults) {
  return sendWithFaults(worker, `/cache?url=${encodeURIComponent(url)}`, { CACHE_KV: faults });
}

test("/cache: the response does not wait for the put, which never ends", async () => {
  const url = upstream.serve(respondWithPage("<title>Fresh</title>"));
  const response = await cachedWithFaults(url, { put: ["never"] });
  assert.equal(response.status, 200);
  assert.equal(response.complete, true);
  assert.equal(response.json().data.title, "Fresh");
  const [put, ...more] = await eventually(async () => {
    const puts = await kvCallsFor(worker, `page:${url}`, "put");
    return puts.length > 0 && puts;
  }, "the put");
  assert.equal(put.done, false);
  assert.deepEqual(more, []);
});

test("a page that may not be stored is not put, and a hit puts nothing", async () => {
  const failing = upstream.serve(respondWithPage("<title>Oops</title>", { status: 500 }));
  await cachedWithFaults(failing, {});
  const kept = upstream.serve(respondWithPage("<title>Fresh</title>"));
  await cachedWithFaults(kept, {});
  await eventually(() => CACHE_KV.get(`page:${kept}`), "the page in CACHE_KV");
  assert.equal((await cachedWithFaults(kept, {})).json().fromCache, true);
  assert.deepEqual(await kvCallsFor(worker, `page:${failing}`, "put"), []);
  assert.equal((await kvCallsFor(worker, `page:${kept}`, "put")).length, 1);
});

test("a simple request reads KV at most once", async () => {
  await USER_CONFIGURATION.put("one-read", "{}");
  await assets.put("one-read.txt", "text");
  await ROUTING_CONFIG.put("one-read-shop", JSON.stringify({ origin: upstream.origin }));
  for (const [path, key] of [
    ["/config?userId=one-read", "one-read"],
    ["/one-read.txt", "one-read.txt"],
    ["/stores/one-read-shop/", "one-read-shop"],
  ]) {
    assert.equal((await send(worker, path)).status, 200);
    assert.equal((await kvCallsFor(worker, key)).length, 1, path);
  }
});

test("/get-started returns the value that was read", async () => {
  const faults = { USERS_NOTIFICATION_CONFIG: { put: ["pretends"] } };
  await USERS_NOTIFICATION_CONFIG.put("user_2", "what another wrote");
  assert.equal((await sendWithFaults(worker, "/get-started", faults)).text, "what another wrote");
});

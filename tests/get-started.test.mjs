// `GET /get-started`: the documented first steps.
import assert from "node:assert/strict";
import { test } from "node:test";
import { send, sendForJson } from "./harness/http.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { startWorker } from "./harness/worker.mjs";

const worker = await startWorker();
const { USERS_NOTIFICATION_CONFIG } = worker.env;

test("user_2 = disabled is put, read back and returned", async () => {
  const response = await send(worker, "/get-started");
  assert.equal(response.status, 200);
  assert.equal(response.text, "disabled");
  assert.match(response.headers["content-type"], /^text\/plain; ?charset=utf-8$/i);
  assert.equal(await USERS_NOTIFICATION_CONFIG.get("user_2"), "disabled");
});

for (const older of ["enabled", "", '{"broken":']) {
  test(`an older value of user_2, ${JSON.stringify(older)}, is overwritten`, async () => {
    await USERS_NOTIFICATION_CONFIG.put("user_2", older);
    assert.equal((await send(worker, "/get-started")).text, "disabled");
    assert.equal(await USERS_NOTIFICATION_CONFIG.get("user_2"), "disabled");
  });
}

test("no other key is written", async () => {
  await send(worker, "/get-started");
  const { keys } = await USERS_NOTIFICATION_CONFIG.list();
  assert.deepEqual(
    keys.map(({ name }) => name),
    ["user_2"],
  );
});

test("HEAD writes nothing, and has the fields of GET", async () => {
  for (const older of [undefined, "enabled"]) {
    await (older === undefined ? USERS_NOTIFICATION_CONFIG.delete("user_2") : USERS_NOTIFICATION_CONFIG.put("user_2", older));
    const head = await send(worker, "/get-started", { method: "HEAD" });
    assert.deepEqual([head.status, head.text], [200, ""]);
    assert.equal(await USERS_NOTIFICATION_CONFIG.get("user_2"), older ?? null);
    const { headers } = await send(worker, "/get-started");
    for (const name of ["content-type", "content-length", "cache-control"]) assert.equal(head.headers[name], headers[name], name);
  }
});

for (const method of ["POST", "PUT", "DELETE"]) {
  test(`${method} gets 405 and writes nothing`, async () => {
    await USERS_NOTIFICATION_CONFIG.delete("user_2");
    const response = await sendForJson(worker, "/get-started", { method });
    assertProblem(response, 405, "method_not_allowed");
    assert.match(response.headers.allow, /\bGET\b/);
    assert.equal(await USERS_NOTIFICATION_CONFIG.get("user_2"), null);
  });
}

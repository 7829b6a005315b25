// The Durable Object that writes a key: what it does minutes later, with the Worker's clock moved.
// The tests share the clock, so they run one after the other.
import assert from "node:assert/strict";
import { test } from "node:test";
import { send } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { startWorker } from "./harness/worker.mjs";
import { writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true });
const { readConsistent, coalesce, waitForKv, puts, setFaults, waitUntilFlushed } = writesOf(worker);

const MINUTE = 60_000;

const setClock = (offsetMs) => send(worker, `/.clock?offsetMs=${offsetMs}`, { method: "PUT" });

test("a key that another program wrote: 503 until a minute after the object's last put, then KV's value, without a version", async () => {
  const key = uniqueName("other-program");
  await coalesce(key, { body: "from the object" });
  await worker.env.WRITES.put(key, "from elsewhere");
  for (const offsetMs of [0, MINUTE - 5000]) {
    await setClock(offsetMs);
    assertProblem(await readConsistent(key), 503, "not_visible_yet");
  }
  await setClock(MINUTE);
  const { status, text, headers } = await readConsistent(key);
  assert.deepEqual({ status, text, etag: headers.etag }, { status: 200, text: "from elsewhere", etag: undefined });

  await worker.env.WRITES.delete(key);
  assertProblem(await readConsistent(key), 404, "key_not_found");
  await setClock(0);
});

test("the object's own older version is never returned as the newest, however long KV shows it", async () => {
  const key = uniqueName("older");
  await setFaults(key, { put: ["ok", "pretends"] });
  await coalesce(key, { body: "older" });
  assert.equal((await coalesce(key, { body: "newer" })).status, 200);
  for (const offsetMs of [0, 2 * MINUTE]) {
    await setClock(offsetMs);
    assertProblem(await readConsistent(key), 503, "not_visible_yet");
  }
  await setClock(0);
});

test("the object's next write replaces a value of another program, with the next version", async () => {
  const key = uniqueName("other-program");
  await coalesce(key, { body: "a" });
  await worker.env.WRITES.put(key, "from elsewhere");
  assert.equal((await coalesce(key, { body: "b" })).headers.etag, '"2"');
  await waitForKv(key, "b");
  assert.equal((await readConsistent(key)).text, "b");
});

test("a put that KV refuses because a quota is used up is retried after five minutes", async () => {
  const key = uniqueName("refused");
  await setFaults(key, { put: ["quota", "ok"] });
  // The put is refused at an earlier time, so that the five minutes end in three seconds.
  await setClock(-5 * MINUTE + 3000);
  assertProblem(await coalesce(key, { body: "kept" }), 503, "kv_refused");
  await setClock(0);
  assert.equal((await puts(key)).length, 1);
  await waitForKv(key, "kept");
  await waitUntilFlushed(key);
  assert.equal((await puts(key)).length, 2);
});

// METRICS: the counts of an isolate arrive at the object METRICS_STORE, each once, whatever fails
// or ends in between.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { READING, requestsOf, since, startMetrics } from "./harness/metrics.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { startScriptedUpstream } from "./harness/scripted-upstream.mjs";
import { setFaults } from "./harness/writes.mjs";

const shop = await startScriptedUpstream();
shop.serveByDefault({ body: "shop" });
const { worker, advanceClock, get, authorized, control, counts, healthz, handedOver, acceptLoss } = await startMetrics({
  vars: { ROUTING_ORIGINS: shop.origin },
});

before(async () => {
  await worker.env.assets.put("hello-world.json", JSON.stringify([{ language_code: "en", message: "Hello World!" }]));
  await worker.env.ROUTING_CONFIG.put("coffee", JSON.stringify({ origin: shop.origin }));
});

test("without a further request, a timer hands the counts over", async () => {
  await handedOver();
  const before = await counts();
  assert.equal((await get("/hello-world")).status, 200);
  await eventually(async () => requestsOf(await counts(), "/hello-world") === requestsOf(before, "/hello-world") + 1, "the timer hands over");
});

test("a failing object fails no request, and the counts arrive later, each once", async () => {
  const before = await handedOver();
  const handOvers = async () => (await control("/.object-calls")).METRICS_STORE;
  await setFaults(worker, "metrics", { object: ["throws", "lost response", "throws", "lost response", "ok"] });
  for (let n = 0; n < 5; n += 1) {
    const made = await handOvers();
    assert.equal((await get("/hello-world")).status, 200);
    await advanceClock(11);
    await healthz();
    await eventually(async () => (await handOvers()) > made, "the counts are handed over, or not");
  }
  await setFaults(worker, "metrics", {});
  const after = await handedOver();
  assert.equal(requestsOf(after, "/hello-world") - requestsOf(before, "/hello-world"), 5);
  assert.ok(worker.log().some(({ code }) => code === "metrics_not_handed_over"));
});

test("an object that is evicted, or killed with the whole process, keeps what was handed over", async () => {
  assert.equal((await get("/stores/coffee/")).status, 200);
  const before = await handedOver();
  await worker.evictMetrics();
  assert.deepEqual(since(before, await counts(), "/stores/{storefrontId}"), { statuses: {} });
  await worker.killAndRestart();
  const after = await counts();
  for (const route of Object.keys(before).filter((route) => !READING.has(route))) assert.deepEqual(after[route], before[route], route);
});

test("an isolate that ends loses only what it has not handed over, and the next one counts on", async () => {
  await advanceClock(0);
  const before = await handedOver();
  assert.equal((await get("/hello-world")).status, 200);
  await worker.emptyMemory();
  await acceptLoss();
  assert.equal((await get("/hello-world")).status, 200);
  const after = await handedOver();
  assert.equal(requestsOf(after, "/hello-world") - requestsOf(before, "/hello-world"), 1);
});

test("a Worker without the binding METRICS_STORE responds as ever, but for a 503 to /metrics", async () => {
  const response = await get("/hello-world", { headers: { "X-Kv-Faults": '{"METRICS_STORE":"missing"}' } });
  assert.equal(response.status, 200);
  const missing = await authorized("/metrics", { headers: { "X-Kv-Faults": '{"METRICS_STORE":"missing"}' } });
  assertProblem(missing, 503, "metrics_unavailable");
});

// demo/entry.mjs, which `npm start` serves: keys that begin with `limited-` have KV's limit of one
// write a second, all others have none; and `/` waits for the demo page.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { send } from "./harness/http.mjs";
import { bearer, startWorker } from "./harness/worker.mjs";

const worker = await startWorker({ entry: "demo/entry.mjs" });
const write = (key, query) => send({ url: worker.directUrl }, `/writes/${key}?${query}`, { method: "POST", headers: bearer });

const BUSY = { message: "KV PUT failed: 429 Too Many Requests" };

describe("the limit of one write a second", () => {
  test("refuses a second put of a limited key within a second, as Workers KV does", async () => {
    const response = await write("limited-direct", "n=4&strategy=direct");
    assert.equal(response.status, 200);
    assert.deepEqual(
      response.json().map(({ success, error }) => [success, error]),
      [[true, undefined], ...Array(3).fill([false, BUSY])],
    );
    assert.equal(await worker.env.WRITES.get("limited-direct"), "Write attempt #1");
  });

  test("does not concern another limited key, and ends after a second", async () => {
    const single = (key) => send({ url: worker.directUrl }, `/writes/${key}`, { method: "POST", headers: bearer, body: "a" });
    assert.deepEqual([(await single("limited-x")).status, (await single("limited-y")).status], [200, 200]);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    assert.equal((await single("limited-x")).status, 200);
  });

  test("holds in the key's Durable Object, which puts again until KV accepts the value", async () => {
    await write("limited-object", "n=1&strategy=direct");
    const report = (await write("limited-object", "n=3&strategy=coalesce")).json();
    assert.equal(report.acknowledged, 3);
    assert.ok(report.puts > 1, `the first of ${report.puts} puts is refused`);
    assert.equal(await worker.env.WRITES.get("limited-object"), "Write attempt #3");
  });

  test("leaves all other keys alone", async () => {
    const attempts = (await write("counter", "n=4&strategy=direct")).json();
    assert.deepEqual(
      attempts.map(({ success }) => success),
      [true, true, true, true],
    );
  });
});

test("until the demo page is stored, a browser gets a page at / that asks again, and curl and other paths get 404", async () => {
  const get = (path, headers) => send({ url: worker.directUrl }, path, { headers });
  const html = { Accept: "text/html,*/*;q=0.8" };
  const waiting = await get("/", html);
  assert.deepEqual([waiting.status, waiting.headers["cache-control"], waiting.headers["retry-after"]], [503, "no-store", "2"]);
  assert.match(waiting.text, /http-equiv="refresh" content="2"/);
  for (const response of [await get("/"), await get("/missing", html), await get("/", { ...html, Host: "tea.shops.localhost" })])
    assert.equal(response.status, 404);
});

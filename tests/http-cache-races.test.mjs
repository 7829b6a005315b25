// `/cache/{absolute URL}`: a request that spans a write does not store anything from before the
// write.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { send } from "./harness/http.mjs";
import { gate, startCache } from "./harness/http-cache.mjs";
import { WORKER_TOKEN } from "./harness/worker.mjs";

const { resource, advanceClock } = await startCache();

/**
 * A page with a variant for each `X-Variant`: `a` is fresh for one second, the others for 1000. A
 * `POST` changes all but `a` to version 2.
 */
async function variants() {
  let version = 1;
  const page = resource((request) => {
    if (request.method === "POST") {
      version = 2;
      return { status: 204 };
    }
    const variant = request.field("x-variant");
    const isShort = variant === "a";
    const tag = `ETag: "${variant}${isShort ? 1 : version}"`;
    const headers = [`Cache-Control: max-age=${isShort ? 1 : 1000}`, "Vary: X-Variant", tag];
    if (isShort && request.field("if-none-match")) return { status: 304, headers };
    return { headers, body: isShort ? "a, which never changes" : `${variant} version ${version}` };
  });
  for (const variant of ["a", "b"]) await page.getAndStore({ "X-Variant": variant });
  await advanceClock(3);
  return page;
}

async function assertNewVersion(page) {
  assert.equal((await page.get({ "X-Variant": "b" })).text, "b version 2");
}

test("a new variant that was requested before a write does not bring back the others", async () => {
  const page = await variants();
  const slow = page.get({ "X-Variant": "c" }, { faults: { get: ["ok", "slow for 1000"] } });
  await sleep(300);
  assert.equal((await page.request("POST")).status, 204);
  await slow;
  await assertNewVersion(page);
});

for (const method of ["GET", "HEAD"]) {
  test(`a variant that a ${method} validates does not bring back the others`, async () => {
    const page = await variants();
    // After a purge of another page, the next request lists the purges again. The fault delays
    // that list, so the request has read the stored response before the write below.
    const body = JSON.stringify({ url: `${page.upstream.origin}/other` });
    const purge = { method: "POST", headers: { Authorization: `Bearer ${WORKER_TOKEN}` }, body };
    assert.equal((await send(page.worker, "/cache/purge", purge)).status, 200);
    const slow = page.request(method, { headers: { "X-Variant": "a" }, faults: { list: ["slow for 1000"] } });
    await sleep(300);
    assert.equal((await page.request("POST")).status, 204);
    await slow;
    await assertNewVersion(page);
  });
}

test("of two concurrent writes, the response to the earlier one is not stored", async () => {
  const upstreamGate = gate();
  let writes = 0;
  const page = resource((request) => {
    const headers = ["Cache-Control: max-age=1000"];
    if (request.method === "GET") return { headers, body: `after write ${writes}` };
    writes += 1;
    headers.push(`Content-Location: ${page.path}`);
    return { headers, body: `write ${writes}`, until: writes === 1 ? upstreamGate.promise : undefined };
  });
  const first = page.request("POST");
  await page.waitForRequests(1);
  await page.request("POST");
  upstreamGate.open();
  assert.equal((await first).text, "write 1");
  assert.notEqual((await page.get()).text, "write 1");
});

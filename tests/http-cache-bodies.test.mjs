// `/cache/{absolute URL}`: bodies that are long, have an unknown length, or break off.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { openRequest } from "./harness/http.mjs";
import { assertForwarded, assertHit, freshFor, startCache } from "./harness/http-cache.mjs";
import { assertProblem } from "./harness/problem.mjs";

const { unusedUpstream, resource } = await startCache({ upstreamCount: 10, vars: { UPSTREAM_TIMEOUT_MS: "2000" } });

const MIB = 1024 * 1024;
const random = randomBytes(25 * MIB + 1);

for (const framing of ["length", "chunked", "close"]) {
  test(`a body of more than 10 MiB with the framing ${framing} is passed on and stored whole`, async () => {
    const body = random.subarray(0, 10 * MIB + 1);
    const page = resource({ headers: freshFor(100), body, framing });
    for (const response of [await page.getAndStore(), await page.get()]) {
      assert.ok(response.complete && response.bytes.equals(body));
    }
    assert.equal(page.requestCount, 1);
  });

  test(`a body of more than 25 MiB with the framing ${framing} is passed on and not stored`, async () => {
    const body = random;
    const page = resource({ headers: freshFor(100), body, framing });
    const response = await page.get();
    assert.equal(response.status, 200);
    assert.ok(response.complete && response.bytes.equals(body));
    // If the length is known, Cache-Status can say so.
    if (framing === "length") assertForwarded(response, "uri-miss", undefined, { stored: undefined, detail: "too-large" });
    assertForwarded(await page.head(), "uri-miss");
    await page.assertNotStored();
  });
}

test("a short chunked body is stored too", async () => {
  const page = resource({ headers: freshFor(100), body: "short", framing: "chunked" });
  await page.getAndStore();
  assertHit(await page.get(), "short");
});

test("a short body with a Content-Length that breaks off causes a 502, is never sent in part, and is not stored", async () => {
  const page = resource(
    [
      { headers: freshFor(100), body: "a whole body", breaksAt: 5 },
      { headers: freshFor(100), body: "a whole body" },
    ],
    { at: unusedUpstream() },
  );
  assertProblem(await page.getForJson(), 502, "upstream_failed");
  await page.assertNotStored();
  assert.equal((await page.get()).text, "a whole body");
});

test("a short body that stalls times out: 502 or 504, and is not stored", async () => {
  const page = resource({ headers: freshFor(100), body: "a whole body", stallsAt: 5 }, { at: unusedUpstream() });
  const response = await page.getForJson();
  assert.ok([502, 504].includes(response.status), `${response.status}`);
  await page.assertNotStored();
});

for (const [name, script] of [
  ["a long one", { body: random.subarray(0, 200_000), breaksAt: 100_000 }],
  ["one in chunks", { body: random.subarray(0, 200_000), framing: "chunked", breaksAt: 100_000 }],
  ["a short one in chunks", { body: "a whole body", framing: "chunked", breaksAt: 5 }],
]) {
  test(`a body that breaks off, ${name}, is not mistaken for a complete one, and not stored`, async () => {
    const page = resource(
      [
        { headers: freshFor(100), ...script },
        { headers: freshFor(100), body: "whole" },
      ],
      { at: unusedUpstream() },
    );
    const response = await page.get();
    assert.ok(response.status >= 500 || !response.complete, `${response.status} with ${response.bytes.length} bytes`);
    const next = await page.getAndStore();
    assert.equal(next.text, "whole");
    assert.equal((await page.kvCalls("put")).length, 1);
  });
}

for (const framing of ["length", "chunked"]) {
  test(`a client that disconnects in the middle of a body (${framing}) leaves no partial body for others`, async () => {
    const body = random.subarray(0, 5 * MIB);
    const page = resource({ headers: freshFor(100), body, framing });
    const { request, response } = openRequest(page.worker, `/cache/${page.url}`);
    request.end();
    const received = await response;
    received.once("data", () => received.destroy());
    await once(received, "close");
    for (let asked = 0; asked < 2; asked += 1) {
      const whole = await page.get();
      assert.equal(whole.status, 200);
      assert.ok(whole.complete && whole.bytes.equals(body));
    }
  });
}

test("a client that reads slowly gets the whole body, and delays nobody", async () => {
  const body = random.subarray(0, 10 * MIB);
  const page = resource({ headers: freshFor(100), body });
  const { request, response } = openRequest(page.worker, `/cache/${page.url}`);
  request.end();
  const slow = await response;
  const other = await page.get();
  assert.ok(other.complete && other.bytes.equals(body));
  const chunks = [];
  for await (const chunk of slow) chunks.push(chunk);
  assert.ok(Buffer.concat(chunks).equals(body));
});

test("a GET or HEAD with a body gets 400, and is not forwarded", async () => {
  const page = resource({ headers: freshFor(100) });
  for (const method of ["GET", "HEAD"]) {
    assert.equal((await page.request(method, { body: "x" })).status, 400);
  }
  assert.equal(page.requestCount, 0);
});

// What is refused by default: without a secret, with empty lists, without ROUTING_INSECURE. And
// that an invalid UPSTREAM_TIMEOUT_MS refuses nothing.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { kvCallsFor } from "./harness/faults.mjs";
import { send, sendForJson } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { respondWithPage, startUpstream } from "./harness/upstream.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startUpstream();
const worker = await startWorker({ faulty: true });

const tokens = [
  ["no Authorization", {}],
  ["an empty token", { Authorization: "Bearer " }],
  ["a token", { Authorization: "Bearer local-demo-token" }],
  ["the word undefined", { Authorization: "Bearer undefined" }],
  ["the word null", { Authorization: "Bearer null" }],
];

for (const [name, secrets] of [
  ["without the secret API_TOKEN", { API_TOKEN: undefined }],
  ["with an empty API_TOKEN", { API_TOKEN: "" }],
]) {
  describe(name, () => {
    before(() => worker.setVars(secrets));

    for (const [given, headers] of tokens) {
      test(`/writes with ${given} gets 503, and nothing is read or written`, async () => {
        const key = uniqueName("closed");
        for (const query of ["", "?strategy=backoff", "?strategy=coalesce&wait=durable", "?n=0"]) {
          const response = await send(worker, `/writes/${key}${query}`, { method: "POST", headers });
          assertProblem(response, 503, "not_configured");
        }
        for (const query of ["", "?consistent=1", "?consistent=0"]) {
          assertProblem(await send(worker, `/writes/${key}${query}`, { headers }), 503, "not_configured");
        }
        assert.deepEqual(await kvCallsFor(worker, key), []);
      });
    }

    test("/get-started and /hello-world work", async () => {
      assert.equal((await send(worker, "/get-started")).text, "disabled");
      assert.equal((await send(worker, "/hello-world")).status, 200);
    });

    test("CACHE_UPSTREAMS is empty: no upstream may be fetched from: 403", async () => {
      const url = upstream.serve(respondWithPage("<title>T</title>"));
      const response = await sendForJson(worker, `/cache?url=${encodeURIComponent(url)}`);
      assertProblem(response, 403, "upstream_not_allowed");
      assert.equal(upstream.requestCount(url), 0);
    });

    test("ROUTING_ORIGINS is empty: no origin may be reached: 502", async () => {
      await worker.env.ROUTING_CONFIG.put("shop", JSON.stringify({ origin: upstream.origin }));
      assertProblem(await sendForJson(worker, "/stores/shop/y"), 502, "origin_not_allowed");
      assert.equal(upstream.requestCount("/y"), 0);
    });
  });
}

for (const insecure of ["yes", undefined]) {
  describe(`with ROUTING_INSECURE ${insecure === undefined ? "not set" : JSON.stringify(insecure)}`, () => {
    before(() => worker.setVars({ ROUTING_ORIGINS: `${upstream.origin},https://secure.invalid`, ROUTING_INSECURE: insecure }));

    test("an http origin is refused, though it is on ROUTING_ORIGINS: 502, and nothing is fetched", async () => {
      await worker.env.ROUTING_CONFIG.put("insecure", JSON.stringify({ origin: upstream.origin }));
      assertProblem(await sendForJson(worker, "/stores/insecure/x"), 502, "origin_not_allowed");
      assert.equal(upstream.requestCount("/x"), 0);
    });

    test("an https origin on ROUTING_ORIGINS is tried", async () => {
      await worker.env.ROUTING_CONFIG.put("secure", JSON.stringify({ origin: "https://secure.invalid" }));
      assertProblem(await sendForJson(worker, "/stores/secure/x"), 502, "origin_failed");
    });
  });
}

for (const timeout of ["soon", "-1", ""]) {
  describe(`with UPSTREAM_TIMEOUT_MS ${JSON.stringify(timeout)}`, () => {
    before(() => worker.setVars({ CACHE_UPSTREAMS: upstream.origin, UPSTREAM_TIMEOUT_MS: timeout }));

    test("requests get responses", async () => {
      const url = upstream.serve(respondWithPage("<title>T</title>"));
      assert.equal((await send(worker, `/cache?url=${encodeURIComponent(url)}`)).status, 200);
    });
  });
}

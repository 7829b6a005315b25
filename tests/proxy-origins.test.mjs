// Which origins a storefront's record may name: records are not trusted. The harness switches
// ROUTING_INSECURE on.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { sendForJson } from "./harness/http.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { storefrontsOf } from "./harness/storefronts.mjs";
import { startUpstream } from "./harness/upstream.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startUpstream();
const { port } = upstream;
/**
 * Checks that an origin is tried: `.invalid` is never a host (RFC 6761), so the try fails; after
 * five failures its circuit is open.
 */
const assertTried = (response) => {
  assert.ok(["origin_failed", "circuit_open"].includes(response.json().code), response.text);
  assert.equal(response.status, 502);
};
/** Checks that an origin is refused, before anything is sent. */
const assertRefused = (response) => {
  assert.ok(["origin_not_allowed", "broken_record"].includes(response.json().code), response.text);
  assertProblem(response, 502, response.json().code);
};

describe("with wildcards, and hosts with and without a scheme, on ROUTING_ORIGINS", async () => {
  const worker = await startWorker({
    vars: { ROUTING_ORIGINS: "*.shops.invalid, bare.invalid, port.invalid:8443, https://secure.invalid, https://*.tls.invalid, *.0.0.1, *.localhost" },
  });
  const storefronts = storefrontsOf(worker);

  for (const [origin, check] of [
    ["https://a.shops.invalid", assertTried],
    ["https://a.b.shops.invalid/base", assertTried],
    ["http://a.shops.invalid", assertTried],
    ["https://shops.invalid", assertRefused],
    ["https://ashops.invalid", assertRefused],
    ["https://a.shops.invalid.evil.invalid", assertRefused],
    ["https://a.shops.invalid:8443", assertRefused],
    ["https://bare.invalid", assertTried],
    ["http://bare.invalid", assertTried],
    ["https://BARE.invalid:443", assertTried],
    ["https://bare.invalid:8443", assertRefused],
    ["https://x.bare.invalid", assertRefused],
    ["https://port.invalid:8443", assertTried],
    ["https://port.invalid", assertRefused],
    ["https://secure.invalid", assertTried],
    ["http://secure.invalid", assertRefused],
    ["https://a.tls.invalid", assertTried],
    ["http://a.tls.invalid", assertRefused],
    // No wildcard matches an address, however it is written.
    ["http://127.0.0.1", assertRefused],
    [`http://127.0.0.1:${port}`, assertRefused],
    ["https://127.0.0.1", assertRefused],
    ["http://2130706433", assertRefused],
    ["http://0x7f000001", assertRefused],
    ["http://0177.0.0.1", assertRefused],
    ["http://127.1", assertRefused],
    ["http://[::1]", assertRefused],
    ["http://[::ffff:127.0.0.1]", assertRefused],
    ["http://169.254.169.254", assertRefused],
    // `*.localhost` demands a label.
    ["http://localhost", assertRefused],
    [`http://localhost:${port}`, assertRefused],
    ["http://localhost.", assertRefused],
    // A URL with a user, with another spelling of the host, or of another scheme.
    ["https://user@bare.invalid", assertRefused],
    ["https://user:password@bare.invalid", assertRefused],
    ["https://bare.invalid@127.0.0.1", assertRefused],
    ["https://bare.invalid\\@127.0.0.1", assertRefused],
    ["https://bare.invalid%00.evil.invalid", assertRefused],
    ["https://bare.invalid.", assertRefused],
    ["ftp://bare.invalid", assertRefused],
    ["data:text/plain,x", assertRefused],
  ]) {
    test(`${origin.replaceAll(String(port), "PORT")} is ${check === assertTried ? "tried" : "refused"}, wherever a record names it`, async () => {
      const before = upstream.requests.length;
      const [good, path] = ["https://bare.invalid", "/x/y"];
      const records = [{ origin }, { origin: good, routes: [{ path: "/x", origin }] }, { origin: good, variants: [{ name: "blue", origin }], active: "blue" }];
      // Of these, a request sends nothing to an origin that is allowed.
      if (check === assertRefused) records.push({ origin: good, fallback: origin }, { origin: good, variants: [{ name: "off", origin }] });
      for (const record of records) check(await sendForJson(worker, `/stores/${await storefronts.add(record)}${path}`, { method: "POST" }));
      assert.equal(upstream.requests.length, before);
    });
  }
});

describe("with an address and a local name on ROUTING_ORIGINS", async () => {
  const worker = await startWorker({ vars: { ROUTING_ORIGINS: `127.0.0.1:${port}, localhost:${port}` } });
  const storefronts = storefrontsOf(worker);

  for (const origin of [`http://127.0.0.1:${port}`, `http://localhost:${port}`]) {
    test(`${origin.replaceAll(String(port), "PORT")} is reached, because it is listed`, async () => {
      const id = await storefronts.add({ origin });
      assert.equal((await sendForJson(worker, `/stores/${id}/x`)).json().url, "/x");
    });
  }

  test("another port of the same hosts is not", async () => {
    for (const origin of ["http://127.0.0.1", "http://127.0.0.1:1", "http://localhost"]) {
      assertRefused(await sendForJson(worker, `/stores/${await storefronts.add({ origin })}/x`));
    }
  });
});

describe("with ROUTING_INSECURE off", async () => {
  const worker = await startWorker({
    vars: { ROUTING_INSECURE: "false", ROUTING_ORIGINS: `127.0.0.1:${port}, http://127.0.0.1:${port}, *.shops.invalid` },
  });
  const storefronts = storefrontsOf(worker);

  for (const [origin, check] of [
    [`http://127.0.0.1:${port}`, assertRefused],
    ["http://a.shops.invalid", assertRefused],
    ["https://a.shops.invalid", assertTried],
  ]) {
    test(`${origin.replaceAll(String(port), "PORT")} is ${check === assertTried ? "tried" : "refused"}`, async () => {
      check(await sendForJson(worker, `/stores/${await storefronts.add({ origin })}/x`));
    });
  }
});

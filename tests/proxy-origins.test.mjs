// Which origins a tenant's record may name: records are not trusted.
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
const refused = (response) => {
  assert.ok(["origin_not_allowed", "broken_record"].includes(response.json().code), response.text);
  assertProblem(response, 502, response.json().code);
};

describe("with wildcards and hosts without a scheme on ROUTING_ORIGINS", async () => {
  const worker = await startWorker({
    vars: { ROUTING_ORIGINS: "*.shops.invalid, bare.invalid, port.invalid:8443, https://secure.invalid, https://*.tls.invalid, *.0.0.1, *.localhost" },
  });
  const storefronts = storefrontsOf(worker);

  for (const [origin, check] of [
    ["https://a.shops.invalid", assertTried],
    ["https://a.b.shops.invalid/base", assertTried],
    ["http://a.shops.invalid", assertTried],
    ["https://shops.invalid", refused],
    ["https://ashops.invalid", refused],
    ["https://a.shops.invalid.evil.invalid", refused],
    ["https://a.shops.invalid:8443", refused],
    ["https://bare.invalid", assertTried],
    ["http://bare.invalid", assertTried],
    ["https://BARE.invalid:443", assertTried],
    ["https://bare.invalid:8443", refused],
    ["https://x.bare.invalid", refused],
    ["https://port.invalid:8443", assertTried],
    ["https://port.invalid", refused],
    ["https://secure.invalid", assertTried],
    ["http://secure.invalid", refused],
    ["https://a.tls.invalid", assertTried],
    ["http://a.tls.invalid", refused],
    // No wildcard matches an address, however it is written.
    ["http://127.0.0.1", refused],
    [`http://127.0.0.1:${port}`, refused],
    ["https://127.0.0.1", refused],
    ["http://2130706433", refused],
    ["http://0x7f000001", refused],
    ["http://0177.0.0.1", refused],
    ["http://127.1", refused],
    ["http://[::1]", refused],
    ["http://[::ffff:127.0.0.1]", refused],
    ["http://169.254.169.254", refused],
    ["http://localhost", refused],
    [`http://localhost:${port}`, refused],
    ["http://localhost.", refused],
    // A URL with a user, with another spelling of the host, or of another scheme.
    ["https://user@bare.invalid", refused],
    ["https://user:password@bare.invalid", refused],
    ["https://bare.invalid@127.0.0.1", refused],
    ["https://bare.invalid\\@127.0.0.1", refused],
    ["https://bare.invalid%00.evil.invalid", refused],
    ["https://bare.invalid.", refused],
    ["ftp://bare.invalid", refused],
    ["data:text/plain,x", refused],
  ]) {
    test(`${origin.replaceAll(String(port), "PORT")} is ${check === assertTried ? "tried" : "refused"}, wherever a record names it`, async () => {
      const before = upstream.requests.length;
      const [good, path] = ["https://bare.invalid", "/x/y"];
      const records = [{ origin }, { origin: good, routes: [{ path: "/x", origin }] }, { origin: good, variants: [{ name: "blue", origin }], active: "blue" }];
      if (check === refused) records.push({ origin: good, fallback: origin }, { origin: good, variants: [{ name: "off", origin }] });
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
      refused(await sendForJson(worker, `/stores/${await storefronts.add({ origin })}/x`));
    }
  });
});

describe("without ROUTING_INSECURE", async () => {
  const worker = await startWorker({
    vars: { ROUTING_INSECURE: "false", ROUTING_ORIGINS: `127.0.0.1:${port}, http://127.0.0.1:${port}, *.shops.invalid` },
  });
  const storefronts = storefrontsOf(worker);

  for (const [origin, check] of [
    [`http://127.0.0.1:${port}`, refused],
    ["http://a.shops.invalid", refused],
    ["https://a.shops.invalid", assertTried],
  ]) {
    test(`${origin.replaceAll(String(port), "PORT")} is ${check === assertTried ? "tried" : "refused"}`, async () => {
      check(await sendForJson(worker, `/stores/${await storefronts.add({ origin })}/x`));
    });
  }
});

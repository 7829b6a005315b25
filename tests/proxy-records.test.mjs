// A storefront's record: validation, faults, caching in memory, and access rules.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { kvCallsFor, sendWithFaults } from "./harness/faults.mjs";
import { send, sendForJson } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { storefrontsOf } from "./harness/storefronts.mjs";
import { startUpstream } from "./harness/upstream.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startUpstream();
const { origin } = upstream;
const vars = { ROUTING_ORIGINS: origin };
const to = (base) => ({ origin: origin + base });

/** Every member that a record may have. */
const full = {
  $schema: "https://example.com/record.json",
  origin: `${origin}/rest`,
  routes: [{ path: "/admin", origin: `${origin}/on-admin` }],
  variants: [
    { name: "blue", origin: `${origin}/on-blue`, weight: 90 },
    { name: "green.2_x-y", origin, weight: 0 },
  ],
  active: "blue",
  split: { by: "user", header: "X-User-ID" },
  headers: {
    request: { set: { "X-A": "1" }, remove: ["X-B"] },
    response: { set: { "X-C": "2" }, remove: ["X-D"] },
  },
  timeoutMs: 5000,
  fallback: `${origin}/backup`,
  access: {
    allow: { countries: ["CH", "DE"], ips: ["127.0.0.0/8", "2001:db8::/32", "192.0.2.1"] },
    deny: { countries: ["XX"], ips: ["127.9.9.9"] },
  },
};

describe("records", async () => {
  const worker = await startWorker({ vars: { ...vars, ROUTING_REFRESH: "0" } });
  const storefronts = storefrontsOf(worker);

  test("a record with every member is accepted", async () => {
    const id = await storefronts.add(full);
    assert.equal((await send(worker, `/stores/${id}/admin/x`)).json().url, "/on-admin/admin/x");
    const response = await send(worker, `/stores/${id}/x`, { headers: { "X-B": "1" } });
    assert.equal(response.json().url, "/on-blue/x");
    assert.equal(response.json().headers["x-a"], "1");
    assert.equal(response.json().headers["x-b"], undefined);
    assert.equal(response.headers["x-c"], "2");
    assert.equal(response.headers["x-variant"], "blue");
    assert.equal(response.headers["routing-source"], undefined);
  });

  const routes = (...given) => ({ origin, routes: given });
  const variants = (...given) => ({ origin, variants: given });
  const edits = (headers) => ({ origin, headers });
  const variant = { name: "blue", origin, weight: 1 };
  /** The place of the fault, and the record. */
  const broken = [
    ["orgin", { orgin: origin }],
    ["origin", {}],
    ["origin", { origin: 7 }],
    ["origin", { origin: `${origin}/?q` }],
    ["origin", { origin: `${origin}/#f` }],
    ["origin", { origin: `${origin}/a/../b` }],
    ["origin", { origin: `http://user@127.0.0.1:${upstream.port}` }],
    ["routes", { origin, routes: {} }],
    ["routes[0]", routes("/admin")],
    ["routes[0].path", routes({ origin })],
    ["routes[0].path", routes({ path: "admin", origin })],
    ["routes[0].path", routes({ path: "/a/../b", origin })],
    ["routes[0].path", routes({ path: "/a/%2e%2E/b", origin })],
    ["routes[1].path", routes({ path: "/a", origin }, { path: "/a", origin })],
    ["routes[1].origin", routes({ path: "/a", origin }, { path: "/b", origin: "ftp://x" })],
    ["routes[0].orgin", routes({ path: "/a", origin, orgin: 1 })],
    ["variants[0].weight", variants({ ...variant, weight: -1 })],
    ["variants[0].weight", variants({ ...variant, weight: 1.5 })],
    ["variants[0].weight", variants({ ...variant, weight: 1_000_001 })],
    ["variants[0].weight", variants({ ...variant, weight: "1" })],
    ["variants[0].name", variants({ origin })],
    ["variants[0].name", variants({ ...variant, name: "a b" })],
    ["variants[0].name", variants({ ...variant, name: "" })],
    ["variants[0].name", variants({ ...variant, name: "x".repeat(65) })],
    ["variants[1].name", variants(variant, variant)],
    ["variants", variants(...Array.from({ length: 17 }, (_, index) => ({ ...variant, name: `v${index}` })))],
    ["active", { ...variants(variant), active: "green" }],
    ["active", { origin, active: "blue" }],
    ["split.by", { ...variants(variant), split: { by: "moon" } }],
    ["split.name", { ...variants(variant), split: { by: "header" } }],
    ["split.header", { ...variants(variant), split: { by: "user", header: "a b" } }],
    ['headers.request.set["X A"]', edits({ request: { set: { "X A": "1" } } })],
    ['headers.request.set["X-A"]', edits({ request: { set: { "X-A": "1\r\nX-B: 2" } } })],
    ["headers.request.set.Via", edits({ request: { set: { Via: "1.1 x" } } })],
    ["headers.response.remove[1]", edits({ response: { remove: ["X-A", "X B"] } })],
    ["headers.response.remove[0]", edits({ response: { remove: ["X-Served-By"] } })],
    ["headers.both", edits({ both: {} })],
    ["timeoutMs", { origin, timeoutMs: 0 }],
    ["timeoutMs", { origin, timeoutMs: 60_001 }],
    ["timeoutMs", { origin, timeoutMs: "5000" }],
    ["fallback", { origin, fallback: 1 }],
    ["fallback", { origin, fallback: "nonsense" }],
    ["fallback.asset", { origin, fallback: { asset: "" } }],
    ["access.allow.countries[0]", { origin, access: { allow: { countries: ["Switzerland"] } } }],
    ["access.allow.ips[1]", { origin, access: { allow: { ips: ["10.0.0.0/8", "10.0.0.0/33"] } } }],
    ["access.deny.ips[0]", { origin, access: { deny: { ips: ["10.0.0"] } } }],
    ["access.denied", { origin, access: { denied: {} } }],
    ["storefront", { storefront: "other" }],
    ["", `{"origin": "${origin}", "timeoutMs": 1, "pad": "${"x".repeat(128 * 1024)}"}`],
    ["", "null"],
    ["", "{"],
  ];
  for (const [place, record] of broken) {
    const shown = JSON.stringify(record).replaceAll(String(upstream.port), "PORT").slice(0, 110);
    test(`a fault at ${place || "the top level"} causes a 502, and only the log names it: ${shown}`, async () => {
      const id = await storefronts.add(record);
      const before = upstream.requests.length;
      const response = await sendForJson(worker, `/stores/${id}/x`);
      const { requestId } = assertProblem(response, 502, "broken_record");
      assert.ok(!response.text.includes("127.0.0.1") && !/routes|variants|headers|access/.test(response.text), response.text);
      assert.equal(upstream.requests.length, before);
      const line = await eventually(() => worker.log().find((line) => line.requestId === requestId), "a line in the log");
      const asProperty = place.replace(/\["(.*)"\]$/, ".$1");
      assert.ok(line.detail.includes(`${place}: `) || line.detail.includes(`${asProperty}: `) || place === "", line.detail);
    });
  }

  test("a record that an edit breaks is served as it was, and the response says so", async () => {
    const id = await storefronts.add(to("/before"));
    const ask = () => send(worker, `/stores/${id}/x`);
    assert.equal((await ask()).headers["routing-source"], undefined);
    for (const fault of ["{", { orgin: "x" }, { origin: "https://unlisted.invalid" }, "null"]) {
      await storefronts.put(id, fault);
      for (let again = 0; again < 2; again += 1) {
        const response = await ask();
        assert.equal(response.json().url, "/before/x");
        assert.equal(response.headers["routing-source"], "last-good");
      }
    }
    await storefronts.put(id, to("/after"));
    const mended = await ask();
    assert.equal(mended.json().url, "/after/x");
    assert.equal(mended.headers["routing-source"], undefined);
    await storefronts.put(id, "{");
    assert.equal((await ask()).json().url, "/after/x");
    await storefronts.remove(id);
    assertProblem(await sendForJson(worker, `/stores/${id}/x`), 404, "storefront_not_found");
  });

  test("a broken record is never replaced by another storefront's", async () => {
    await storefronts.put("near", to("/near"));
    assert.equal((await send(worker, "/stores/near/x")).status, 200);
    for (const id of ["nea", "near2", "Near", "near%20"]) {
      await storefronts.put(decodeURIComponent(id), "{");
      assertProblem(await sendForJson(worker, `/stores/${id}/x`), 502, "broken_record");
    }
  });

  const lists = [
    [
      "allow a country",
      { allow: { countries: ["CH"] } },
      [
        ["CH", undefined, 200],
        ["ch", undefined, 200],
        ["DE", undefined, 403],
        [undefined, undefined, 403],
      ],
    ],
    [
      "deny a country",
      { deny: { countries: ["CH"] } },
      [
        ["CH", undefined, 403],
        ["DE", undefined, 200],
        [undefined, undefined, 200],
      ],
    ],
    [
      "allow ranges",
      { allow: { ips: ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"] } },
      [
        [undefined, "10.255.0.1", 200],
        [undefined, "11.0.0.0", 403],
        [undefined, "2001:db8:ffff::1", 200],
        [undefined, "2001:db9::", 403],
        [undefined, "192.0.2.1", 200],
        [undefined, "192.0.2.2", 403],
      ],
    ],
    [
      "deny a range",
      { deny: { ips: ["10.0.0.0/9"] } },
      [
        [undefined, "10.127.255.255", 403],
        [undefined, "10.128.0.0", 200],
        [undefined, "::ffff:10.0.0.1", 403],
      ],
    ],
    [
      "deny within an allowed range",
      { allow: { ips: ["10.0.0.0/8"] }, deny: { ips: ["10.1.0.0/16"] } },
      [
        [undefined, "10.0.0.1", 200],
        [undefined, "10.1.0.1", 403],
      ],
    ],
    [
      "allow by either",
      { allow: { countries: ["CH"], ips: ["10.0.0.0/8"] } },
      [
        ["CH", "11.0.0.1", 200],
        ["DE", "10.0.0.1", 200],
        ["DE", "11.0.0.1", 403],
      ],
    ],
    [
      "deny by either",
      { deny: { countries: ["CH"], ips: ["10.0.0.0/8"] } },
      [
        ["CH", "11.0.0.1", 403],
        ["DE", "10.0.0.1", 403],
        ["DE", "11.0.0.1", 200],
      ],
    ],
  ];
  for (const [name, access, visitors] of lists) {
    test(`access: ${name}`, async () => {
      const id = await storefronts.add({ origin, access });
      for (const [country, address, status] of visitors) {
        const headers = { ...(country && { "CF-IPCountry": country }), ...(address && { "CF-Connecting-IP": address }) };
        const before = upstream.requests.length;
        // The address and the country come from no other field.
        const claims = { "X-Forwarded-For": "10.0.0.1", "X-Real-IP": "10.0.0.1" };
        const response = await sendForJson(worker, `/stores/${id}/x`, { headers: { ...claims, ...headers } });
        if (status === 403) assertProblem(response, 403, "access_denied");
        assert.equal(response.status, status, `${country} ${address}`);
        assert.equal(upstream.requests.length - before, status === 200 ? 1 : 0);
      }
    });
  }
});

describe("records in memory", async () => {
  const worker = await startWorker({ faulty: true, vars: { ...vars, TENANT_DOMAIN: "shops.example.com" } });
  const storefronts = storefrontsOf(worker);
  const ask = async (id) => (await send(worker, `/stores/${id}/x`)).json().url;
  const reads = async (id) => (await kvCallsFor(worker, id)).length;

  let offsetMs = 0;
  async function pass(seconds) {
    offsetMs += seconds * 1000;
    assert.equal((await send(worker, `/.clock?offsetMs=${offsetMs}`, { method: "PUT" })).status, 204);
  }

  test("within ten seconds KV is read once, whether visitors come by host or by path", async () => {
    const id = await storefronts.add(to("/before"));
    for (let requests = 0; requests < 10; requests += 1) {
      assert.equal(await ask(id), "/before/x");
      assert.equal((await send(worker, "/x", { headers: { Host: `${id}.shops.example.com` } })).json().url, "/before/x");
    }
    assert.equal(await reads(id), 1);
  });

  test("after ten seconds a record is served while it is read again, after twenty it is read first", async () => {
    const id = await storefronts.add(to("/before"));
    await ask(id);
    await storefronts.put(id, to("/after"));
    assert.equal(await ask(id), "/before/x");
    await pass(11);
    assert.equal(await ask(id), "/before/x");
    await eventually(async () => (await reads(id)) === 2, "a read in the background");
    await eventually(async () => (await ask(id)) === "/after/x", "the new record");
    assert.equal(await reads(id), 2);
    await storefronts.put(id, to("/last"));
    await pass(21);
    assert.equal(await ask(id), "/last/x");
    assert.equal(await reads(id), 3);
  });

  test("a missing record is not cached", async () => {
    const id = uniqueName("late");
    for (let requests = 1; requests <= 3; requests += 1) {
      assert.equal((await send(worker, `/stores/${id}/x`)).status, 404);
      assert.equal(await reads(id), requests);
    }
    await storefronts.put(id, to("/late"));
    assert.equal(await ask(id), "/late/x");
  });

  test("while KV fails the record in memory is served, and the response says so; after an hour the response is 503", async () => {
    const id = await storefronts.add(to("/before"));
    await ask(id);
    const faults = { ROUTING_CONFIG: { get: ["500"] } };
    const failing = () => sendWithFaults(worker, `/stores/${id}/x`, faults, { headers: { Accept: "application/json" } });
    for (const seconds of [21, 600]) {
      await pass(seconds);
      const response = await failing();
      assert.equal(response.status, 200, response.text);
      assert.equal(response.json().url, "/before/x");
      assert.equal(response.headers["routing-source"], "stale");
    }
    await pass(3600);
    assertProblem(await failing(), 503, "kv_unavailable");
    await pass(21);
    const again = await send(worker, `/stores/${id}/x`);
    assert.equal(again.json().url, "/before/x");
    assert.equal(again.headers["routing-source"], undefined);
  });

  test("while KV fails, the response is 503 if the record is not in memory", async () => {
    const id = await storefronts.add(to("/before"));
    const response = await sendWithFaults(worker, `/stores/${id}/x`, { ROUTING_CONFIG: { get: ["500"] } }, { headers: { Accept: "application/json" } });
    assertProblem(response, 503, "kv_unavailable");
  });
});

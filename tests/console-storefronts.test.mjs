// `POST /console/api/storefronts/…`: records of storefronts, checked as `kv-edge routes validate`
// checks them, where a request would go, and how a sample of visitors is split. What is explained
// is what the router then does.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { assertOutcome, consoleApi } from "./harness/console.mjs";
import { send } from "./harness/http.mjs";
import { signToken } from "./harness/kv-api.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { storefrontsOf } from "./harness/storefronts.mjs";
import { makeFolder, runTool } from "./harness/tool.mjs";
import { startUpstream } from "./harness/upstream.mjs";
import { startWorker, WORKER_TOKEN } from "./harness/worker.mjs";

const [upstream, otherUpstream] = await Promise.all([startUpstream(), startUpstream()]);
const vars = { ROUTING_ORIGINS: `${upstream.origin},${otherUpstream.origin}`, ROUTING_REFRESH: "0", TENANT_DOMAIN: "shops.example.com" };
const worker = await startWorker({ vars });
const call = consoleApi(worker);
const storefronts = storefrontsOf(worker);

const at = (name) => `${upstream.origin}/on-${name}`;
const variantsOf = (weights) => Object.entries(weights).map(([name, weight]) => ({ name, origin: at(name), weight }));
const post = (path, json, options) => call(`storefronts/${path}`, { json, ...options });
const text = (record) => (typeof record === "string" ? record : JSON.stringify(record));

/** Returns the findings of a record. */
const check = async (record, key = "tea") => assertOutcome(await post("check", { key, record: text(record) }));

/** Returns where a request would go. */
const explain = async (record, request = {}) =>
  assertOutcome(await post("route", { key: "tea", ...(record && { record: text(record) }), url: "https://tea.shops.example.com/cart?x=1", ...request }));

const NOWHERE = { storefront: null, variant: null, target: null, fallbacks: [], page: null, split: [], openCircuits: [] };

/** Returns the visitor's id in the cookie of a response, and the cookie. */
function visitorOf({ headers }) {
  const cookie = headers["set-cookie"].find((cookie) => cookie.startsWith("kv-edge-visitor=")).split(";")[0];
  return { cookie, visitor: /=([0-9a-f]{16})/.exec(cookie)[1] };
}

describe("check", () => {
  test("a valid record has no findings", async () => {
    assert.deepEqual(await check({ origin: at("a") }), { faults: [], warnings: [] });
  });

  test("faults are those of the tool, each with its path", async () => {
    for (const record of [
      { orgin: at("a") },
      {
        origin: at("a"),
        routes: [
          { path: "/x", origin: "x" },
          { path: "y", origin: at("b") },
        ],
        timeoutMs: 0,
      },
      `{"origin": "${at("a")}", "origin": "${at("b")}", "access": {"deny": {"countries": ["XXX"], "countries": []}}}`,
      { origin: "https://not-listed.example" },
      { storefront: "tea" },
    ]) {
      const folder = makeFolder({ "record.json": text(record) });
      const args = ["routes", "validate", `${folder}/record.json`, "--key", "tea", "--json", "--origins", upstream.origin, "--insecure"];
      const [{ faults, warnings }] = JSON.parse((await runTool(args)).stdout).files;
      const ofTool = (findings) => findings.map(({ path, problem }) => ({ path, problem }));
      assert.ok(faults.length > 0, text(record));
      assert.deepEqual(await check(record), { faults: ofTool(faults), warnings: ofTool(warnings) }, text(record));
    }
  });

  test("text that is not JSON is one fault with its place", async () => {
    const { faults, warnings } = await check('{\n  "origin": oops\n}');
    assert.deepEqual([faults.length, warnings], [1, []]);
    const [{ path, line, column, problem }] = faults;
    assert.deepEqual([path, line], ["", 2]);
    assert.ok(column > 1);
    assert.match(problem, /^not JSON: /);
  });

  test("a record that is too long, and a key that KV does not accept, are faults", async () => {
    const { faults } = await check({ origin: at("a"), active: "a".repeat(140_000) });
    assert.match(faults[0].problem, /at most 131072 are allowed/);
    assert.match((await check({ origin: at("a") }, ".")).faults[0].problem, /"\." or "\.\."/);
  });

  test("a custom domain is warned of if no request finds it, or its storefront has no record", async () => {
    const id = await storefronts.add({ origin: at("a") });
    assert.deepEqual(await check({ storefront: id }, "domain:www.tea.example"), { faults: [], warnings: [] });
    const { warnings } = await check({ storefront: "no-such-shop" }, "domain:WWW.tea.example");
    assert.deepEqual(
      warnings.map(({ path }) => path),
      ["", "storefront"],
    );
    assert.match(warnings[0].problem, /write it "domain:www\.tea\.example"/);
    assert.equal(warnings[1].problem, 'the storefront "no-such-shop" has no record');
  });
});

describe("route", () => {
  const record = {
    origin: at("shop"),
    routes: [{ path: "/api", origin: at("api") }],
    variants: variantsOf({ blue: 60, green: 40, red: 0 }),
    access: { deny: { countries: ["KP"], ips: ["192.0.2.0/24"] } },
    fallback: at("fallback"),
  };

  test("a visitor's request goes to their variant, then to the others, then to the fallback", async () => {
    const { variant, target, fallbacks, ...rest } = await explain(record, { visitor: "00000000000000ff" });
    const other = variant === "blue" ? "green" : "blue";
    assert.deepEqual([target, fallbacks], [`${at(variant)}/cart?x=1`, [`${at(other)}/cart?x=1`, `${at("fallback")}/cart?x=1`]]);
    const split = Object.entries({ blue: 60, green: 40, red: 0 }).map(([name, weight]) => ({ variant: name, weight }));
    assert.deepEqual(rest, { storefront: "tea", page: null, split, openCircuits: [], refused: null });
    assert.deepEqual((await explain(record, { visitor: "00000000000000FF" })).variant, variant);
  });

  test("a route, one upstream, an active variant or a page are explained as well", async () => {
    const api = await explain(record, { url: "https://tea.shops.example.com/%61pi/v1" });
    assert.deepEqual([api.target, api.variant, api.split], [`${at("api")}/%61pi/v1`, null, []]);
    const plain = await explain({ origin: at("a"), fallback: { asset: "closed.html" } });
    assert.deepEqual([plain.target, plain.fallbacks, plain.page], [`${at("a")}/cart?x=1`, [], "closed.html"]);
    const active = await explain({ ...record, active: "red" });
    assert.deepEqual([active.variant, active.target], ["red", `${at("red")}/cart?x=1`]);
  });

  test("a path below the storefront will do for a URL, and so does the path of the platform", async () => {
    for (const url of ["/cart?x=1", "https://localhost/stores/tea/cart?x=1", "https://tea.shops.example.com/a/../cart?x=1#y"]) {
      assert.equal((await explain({ origin: at("a") }, { url })).target, `${at("a")}/cart?x=1`, url);
    }
    assert.equal((await explain({ origin: at("a") }, { url: "//evil.example/x" })).target, `${at("a")}//evil.example/x`);
  });

  test("what is explained is where the request goes", async () => {
    const id = await storefronts.add(record);
    for (let n = 0; n < 20; n += 1) {
      const first = await send(worker, `/stores/${id}/cart?x=1`);
      const { cookie, visitor } = visitorOf(first);
      const again = await send(worker, `/stores/${id}/cart?x=1`, { headers: { Cookie: cookie } });
      for (const request of [{ visitor }, { fields: { Cookie: cookie } }]) {
        const { variant, target } = await explain(undefined, { key: id, url: `https://localhost/stores/${id}/cart?x=1`, ...request });
        assert.deepEqual([first.headers["x-variant"], again.headers["x-variant"], target], [variant, variant, upstream.origin + first.json().url]);
      }
    }
  });

  test("an upstream that requests are not sent to at the moment is named", async () => {
    const failing = upstream.serve((_request, response) => response.writeHead(503).end(), "/on-failing/x");
    const id = await storefronts.add({ origin: at("failing"), fallback: otherUpstream.origin });
    for (let n = 0; n < 5; n += 1) assert.equal((await send(worker, `/stores/${id}/x`)).status, 200);
    const explanation = await explain(undefined, { key: id, url: "/x" });
    assert.deepEqual([explanation.target, explanation.fallbacks], [failing, [`${otherUpstream.origin}/x`]]);
    const [{ url, retryAfterSeconds }] = explanation.openCircuits;
    assert.deepEqual([url, explanation.openCircuits.length], [failing, 1]);
    assert.ok(retryAfterSeconds >= 1 && retryAfterSeconds <= 10, `${retryAfterSeconds} s`);
    const tried = upstream.requestCount(failing);
    assert.equal((await send(worker, `/stores/${id}/x`)).status, 200);
    assert.equal(upstream.requestCount(failing), tried, "it is passed over");
  });

  test("a header, a user or a forced variant decides as it does for a request", async () => {
    const byHeader = { ...record, split: { by: "header", name: "X-Group" } };
    assert.equal((await explain(byHeader, { fields: { "X-Group": "green" } })).variant, "green");
    const byUser = { ...record, split: { by: "user", header: "X-User-ID" } };
    const id = await storefronts.add(byUser);
    for (const user of ["ann", "bob", "cid", "dan"]) {
      const { headers } = await send(worker, `/stores/${id}/`, { headers: { "X-User-ID": user } });
      assert.equal((await explain(undefined, { key: id, url: "/", fields: { "x-user-id": user } })).variant, headers["x-variant"], user);
    }
    assert.equal((await explain(record, { fields: { "X-Force-Variant": "red" } })).refused.code, "unauthorized");
    const fields = { "X-Force-Variant": "red", "X-Force-Variant-Token": WORKER_TOKEN };
    assert.equal((await explain(record, { fields })).variant, "red");
  });

  test("a refused request has the status and code that the visitor gets", async () => {
    for (const [request, status, code] of [
      [{ country: "KP" }, 403, "access_denied"],
      [{ fields: { "CF-Connecting-IP": "192.0.2.7" } }, 403, "access_denied"],
      [{ method: "TRACE" }, 405, "method_not_allowed"],
      [{ fields: { "CDN-Loop": "kv-edge" } }, 508, "loop_detected"],
    ]) {
      const { refused, ...rest } = await explain(record, request);
      assert.deepEqual([refused.status, refused.code, rest], [status, code, { ...NOWHERE, storefront: "tea" }]);
    }
    assert.equal((await explain(record, { country: "CH", fields: { "CF-IPCountry": "KP" } })).refused, null, "the country counts");
  });

  test("a URL of no storefront, or of one without a record, is explained", async () => {
    for (const [url, storefront, status, code] of [
      ["https://localhost/other", null, 400, "missing_storefront_id"],
      ["https://a.b.shops.example.com/", null, 404, "storefront_not_found"],
      ["https://none.shops.example.com/", "none", 404, "storefront_not_found"],
    ]) {
      const { refused, ...rest } = await explain({ origin: at("a") }, { url });
      assert.deepEqual([refused.status, refused.code, rest], [status, code, { ...NOWHERE, storefront }], url);
    }
  });

  test("a custom domain leads to its storefront, whose record may be the one that is tried", async () => {
    const domain = `domain:${await storefronts.add({}, "www")}.example`;
    await storefronts.put(domain, { storefront: "tea" });
    const url = `https://${domain.slice("domain:".length)}/cart`;
    const { storefront, target } = await explain({ origin: at("a") }, { url });
    assert.deepEqual([storefront, target], ["tea", `${at("a")}/cart`]);
    const { refused } = await explain({ storefront: "no-such-shop" }, { key: domain, url });
    assert.deepEqual([refused.status, refused.code], [502, "broken_record"]);
  });

  test("a record with faults is explained by what is wrong with it", async () => {
    for (const [broken, code, detail] of [
      ["{", "broken_record", /invalid JSON/],
      [`{"origin": "${at("a")}", "timeoutMs": 1e999}`, "broken_record", /a number beyond 1\.8e308/],
      [{ orgin: at("a") }, "broken_record", /orgin: unknown member/],
      [{ origin: "https://not-listed.example" }, "origin_not_allowed", /ROUTING_ORIGINS/],
    ]) {
      const { refused } = await explain(broken);
      assert.deepEqual([refused.status, refused.code], [502, code]);
      assert.match(refused.detail, detail);
    }
  });

  test("the record in KV counts at once, whatever is in memory", async () => {
    const id = await storefronts.add({ origin: at("before") });
    const target = async () => (await explain(undefined, { key: id, url: "/" })).target;
    assert.equal(await target(), `${at("before")}/`);
    await storefronts.put(id, { origin: at("after") });
    assert.equal(await target(), `${at("after")}/`);
  });
});

describe("sample", () => {
  const sample = (record, request = {}) => post("sample", { key: "tea", record: text(record), url: "/", visitors: 1000, ...request });

  test("a thousand visitors are split by weight, always alike", async () => {
    const record = { variants: variantsOf({ blue: 700, green: 300, off: 0 }) };
    const { variants, refused } = assertOutcome(await sample(record));
    assert.deepEqual([variants.map(({ variant }) => variant), refused], [["blue", "green", "off"], null]);
    const [blue, green, off] = variants.map(({ visitors }) => visitors);
    assert.ok(Math.abs(blue - 700) < 60 && blue + green === 1000 && off === 0, `${blue} ${green} ${off}`);
    assert.deepEqual(assertOutcome(await sample(record)).variants, variants);
  });

  test("without variants all visitors go to one upstream, and a refused request has no sample", async () => {
    assert.deepEqual(assertOutcome(await sample({ origin: at("a") }, { visitors: 7 })).variants, [{ variant: null, visitors: 7 }]);
    const { variants, refused } = assertOutcome(await sample({ origin: at("a"), access: { deny: { countries: ["KP"] } } }, { country: "KP" }));
    assert.deepEqual([variants, refused.code], [[], "access_denied"]);
  });

  test("the number of visitors is from 1 to 1,000", async () => {
    for (const visitors of [0, 1001, -1, 1.5, "7", null, undefined]) assertProblem(await sample({ origin: at("a") }, { visitors }), 400, "invalid_body");
  });
});

describe("refusals", () => {
  const valid = { key: "tea", record: text({ origin: at("a") }), url: "/" };

  test("a body that is not as described is refused", async () => {
    for (const [path, body] of [
      ["check", {}],
      ["check", { key: "tea" }],
      ["check", { key: "tea", record: {} }],
      ["check", { key: "tea", record: "{}", url: "/" }],
      ["route", { ...valid, uri: "/" }],
      ["route", { key: "tea" }],
      ["route", { ...valid, url: "not a url" }],
      ["route", { ...valid, url: "ftp://a.example/" }],
      ["route", { ...valid, method: "G ET" }],
      ["route", { ...valid, visitor: "ann" }],
      ["route", { ...valid, visitor: "+0000000000000ff" }],
      ["route", { ...valid, fields: { "a b": "c" } }],
      ["route", { ...valid, fields: { a: "b\nc: d" } }],
      ["route", { ...valid, fields: { a: 1 } }],
      ["route", { ...valid, country: "C\nH" }],
      ["sample", { ...valid, visitors: 7, uri: "/" }],
      ["sample", { ...valid, visitors: 7, visitor: "ann" }],
    ]) {
      assertProblem(await post(path, body), 400, "invalid_body");
    }
    for (const body of ["", "{", "[]"]) assertProblem(await call("storefronts/route", { body }), 400, "invalid_body");
    assertProblem(await post("route", { ...valid, key: "." }), 400, "invalid_key");
    assertProblem(await post("check", { key: "tea", record: " ".repeat(1024 * 1024) }), 413, "body_too_large");
    assertProblem(await call("storefronts/check"), 405, "method_not_allowed");
    assertProblem(await post("other", valid), 404, "not_found");
    assertProblem(await post("route?a=b", valid), 400, "invalid_parameter");
  });

  test("a token sees where requests go only for records that it may read", async () => {
    const shop = await storefronts.add({ origin: at("a") }, "mine-shop");
    const token = (claims) => signToken({ namespace: "ROUTING_CONFIG", prefix: "mine-", ...claims });
    const route = (key, claims, more = {}) => post("route", { key, url: "/", ...more }, { token: token(claims) });
    assert.equal(assertOutcome(await route(shop)).target, `${at("a")}/`);
    for (const [key, claims] of [
      ["tea", {}],
      [shop, { namespace: "WRITES" }],
      [shop, { prefix: "other" }],
    ]) {
      assertProblem(await route(key, claims), 403, "out_of_scope");
    }
    // A URL leads to another record than that of the body, and so does the record of a domain.
    await storefronts.put("domain:mine.example", { storefront: "tea" });
    for (const [key, url, claims] of [
      [shop, "https://tea.shops.example.com/"],
      ["domain:mine.example", "https://mine.example/", { prefix: "domain:mine." }],
    ]) {
      for (const [path, more] of [
        ["route", {}],
        ["sample", { visitors: 10 }],
      ]) {
        const response = await post(path, { key, url, ...more }, { token: token(claims) });
        assert.deepEqual([response.status, response.json()], [200, { outOfScope: "tea" }], `${path} of ${url}`);
      }
    }
    assertProblem(await post("check", { key: "tea", record: "{}" }, { token: token({ namespace: "assets", prefix: "" }) }), 403, "out_of_scope");
    for (const path of ["check", "route", "sample"]) {
      for (const refused of [null, "wrong", token({ exp: 1 })]) assertProblem(await post(path, valid, { token: refused }), 401, "unauthorized");
    }
  });
});

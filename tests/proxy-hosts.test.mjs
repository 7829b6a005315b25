// Which storefront a request belongs to, by its host or by its path, and which of its
// routes takes it. The platform is kv-edge itself.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { send, sendForJson } from "./harness/http.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";
import { storefrontsOf } from "./harness/storefronts.mjs";
import { startUpstream } from "./harness/upstream.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startUpstream();
const vars = { ROUTING_ORIGINS: upstream.origin };

const at = (host, headers) => ({ headers: { Host: host, ...headers } });
/** Returns a record whose base path shows in the URL that the upstream receives. */
const recordOf = (name) => ({ origin: `${upstream.origin}/of-${name}` });

describe("with a TENANT_DOMAIN", async () => {
  const worker = await startWorker({
    vars: { ...vars, TENANT_DOMAIN: "shops.example.com", PLATFORM_HOSTS: "platform.example, Admin.Example:8443 ,," },
  });
  const storefronts = storefrontsOf(worker);
  for (const name of ["a", "b", "shop-1", "xn--caf-dma", "1", "www"]) await storefronts.put(name, recordOf(name));
  await storefronts.put("domain:www.direct.example", recordOf("direct"));
  await storefronts.put("domain:www.alias.example", { storefront: "a" });
  await storefronts.put("domain:alias-of-alias.example", { storefront: "hop" });
  await storefronts.put("hop", { storefront: "a" });
  await storefronts.put("domain:alias-of-nobody.example", { storefront: "nobody" });
  await storefronts.put("domain:broken.example", { orgin: "x" });
  // No request may be sent by these records.
  await storefronts.put("shops.example.com", recordOf("wrong"));
  await storefronts.put("domain:a.shops.example.com", recordOf("wrong"));
  await storefronts.put("domain:shops.example.com", recordOf("wrong"));
  await storefronts.put("x.y", recordOf("wrong"));
  await storefronts.put("x_y", recordOf("wrong"));
  await storefronts.put("domain:platform.example", recordOf("wrong"));
  await storefronts.put("domain:localhost", recordOf("wrong"));
  await storefronts.put("domain:127.0.0.1", recordOf("wrong"));

  /** Hosts, the storefront that serves them, and the id in the response. */
  const hosts = [
    ["a.shops.example.com", "a", "a"],
    ["b.shops.example.com", "b", "b"],
    ["shop-1.shops.example.com", "shop-1", "shop-1"],
    ["1.shops.example.com", "1", "1"],
    ["www.shops.example.com", "www", "www"],
    ["xn--caf-dma.shops.example.com", "xn--caf-dma", "xn--caf-dma"],
    ["A.Shops.EXAMPLE.com", "a", "a"],
    ["a.shops.example.com:8443", "a", "a"],
    ["a.shops.example.com.", "a", "a"],
    ["A.shops.example.com.:80", "a", "a"],
    ["www.direct.example", "direct", "www.direct.example"],
    ["WWW.Direct.Example.:8443", "direct", "www.direct.example"],
    ["www.alias.example", "a", "a"],
  ];
  for (const [host, name, id] of hosts) {
    test(`the host ${host} belongs to ${name}`, async () => {
      const response = await send(worker, "/x//y?z", at(host));
      assert.equal(response.status, 200, response.text);
      assert.equal(response.json().url, `/of-${name}/x//y?z`);
      assert.equal(response.headers["x-storefront-id"], id);
      assert.equal(response.headers["x-served-by"], "Cloudflare Worker");
    });
  }

  for (const path of ["/", "/?q", "/healthz", "/get-started", "/hello-world", "/cache?url=x", "/stores/b/x", "/stores/", "/writes/x", "//stores/b/x"]) {
    test(`the path ${path} on a storefront's host is served by the storefront`, async () => {
      for (const [host, name] of [
        ["a.shops.example.com", "a"],
        ["www.direct.example", "direct"],
      ]) {
        const response = await send(worker, path, at(host));
        assert.equal(response.status, 200, response.text);
        assert.equal(response.json().url, `/of-${name}${path}`);
      }
    });
  }

  test("POST, PUT, PATCH, DELETE and OPTIONS on the storefront's host reach its upstream", async () => {
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      const response = await send(worker, "/healthz", { method, ...at("a.shops.example.com") });
      assert.equal(response.json().method, method);
    }
  });

  const unknownHosts = [
    "nobody.shops.example.com",
    "nobody.example",
    "direct.example",
    "x.www.direct.example",
    "x.a.shops.example.com",
    "x.y.shops.example.com",
    "x_y.shops.example.com",
    "ashops.example.com",
    "a.shops.example.com.evil.example",
    "a.shops.example.org",
    "shops.example.com.evil.example",
    "workers.dev.evil.example",
    "localhost.evil.example",
  ];
  for (const host of unknownHosts) {
    test(`the host ${host} is unknown: 404, whatever the path`, async () => {
      for (const path of ["/", "/healthz", "/stores/a/x"]) {
        assertProblem(await sendForJson(worker, path, at(host)), 404, "storefront_not_found");
        assertPlainError(await send(worker, path, at(host)), 404, /^Storefront ".+" not found\.$/);
      }
    });
  }

  for (const host of ["broken.example", "alias-of-alias.example", "alias-of-nobody.example"]) {
    test(`the host ${host} has a broken record: 502`, async () => {
      assertProblem(await sendForJson(worker, "/", at(host)), 502, "broken_record");
    });
  }

  const platformHosts = [
    "shops.example.com",
    "Shops.Example.com.:8443",
    "kv-edge.someone.workers.dev",
    "localhost",
    "localhost:8787",
    "127.0.0.1",
    "192.0.2.1:80",
    "[::1]:8787",
    "platform.example",
    "PLATFORM.example:444",
    "admin.example",
  ];
  for (const host of platformHosts) {
    test(`the host ${host} is the platform's: kv-edge's own routes respond`, async () => {
      assert.equal((await send(worker, "/healthz", at(host))).json().status, "ok");
      assert.equal((await send(worker, "/get-started", at(host))).text, "disabled");
      assert.equal((await send(worker, "/stores/a/x", at(host))).json().url, "/of-a/x");
      assert.equal((await send(worker, "/stores/", at(host))).status, 400);
    });
  }

  for (const path of [
    "/stores/domain:www.direct.example/x",
    "/stores/domain%3Awww.direct.example/x",
    "/stores/%64omain:www.direct.example/",
    "/stores/domain:/",
  ]) {
    test(`${path}: the record of a domain is not reachable by path: 404`, async () => {
      assertProblem(await sendForJson(worker, path), 404, "storefront_not_found");
    });
  }

  test("a host in a forwarding field or in the path is ignored", async () => {
    const headers = { "X-Forwarded-Host": "b.shops.example.com", Forwarded: "host=b.shops.example.com", "X-Storefront-ID": "b" };
    const response = await send(worker, "//b.shops.example.com/x", at("a.shops.example.com", headers));
    assert.equal(response.json().url, "/of-a//b.shops.example.com/x");
  });

  test("concurrent requests of several storefronts do not mix", async () => {
    const ways = [
      ["a", "/x", at("a.shops.example.com")],
      ["a", "/stores/a/x", {}],
      ["a", "/x", at("www.alias.example")],
      ["b", "/x", at("b.shops.example.com")],
      ["b", "/stores/b/x", {}],
      ["direct", "/x", at("www.direct.example")],
      ["shop-1", "/stores/shop-1/x", {}],
    ];
    const all = Array.from({ length: 140 }, (_, index) => ways[index % ways.length]);
    const received = await Promise.all(all.map(async ([, path, options]) => (await send(worker, path, options)).json().url));
    assert.deepEqual(
      received,
      all.map(([name]) => `/of-${name}/x`),
    );
  });
});

describe("without a TENANT_DOMAIN", async () => {
  const worker = await startWorker({ vars });
  const storefronts = storefrontsOf(worker);
  await storefronts.put("a", recordOf("a"));
  await storefronts.put("domain:www.direct.example", recordOf("direct"));

  test("every host is the platform's", async () => {
    for (const host of ["anything.example", "www.direct.example", "a.shops.example.com"]) {
      assert.equal((await send(worker, "/healthz", at(host))).json().status, "ok");
      assert.equal((await send(worker, "/stores/a/x", at(host))).json().url, "/of-a/x");
    }
  });

  const routed = {
    origin: `${upstream.origin}/rest`,
    routes: [
      { path: "/admin", origin: `${upstream.origin}/on-admin` },
      { path: "/admin/deep/er", origin: `${upstream.origin}/on-deep` },
      { path: "/stat", origin: `${upstream.origin}/on-stat` },
      { path: "/slash/", origin: `${upstream.origin}/on-slash` },
      { path: "/store", origin: upstream.origin },
    ],
  };
  /** A path, and the base of the upstream that receives it; the path is unchanged. */
  const routeCases = [
    ["/admin", "/on-admin"],
    ["/admin/", "/on-admin"],
    ["/admin?x", "/on-admin"],
    ["/admin/x", "/on-admin"],
    ["/admin//x", "/on-admin"],
    ["/admin/deep", "/on-admin"],
    ["/admin/deep/error", "/on-admin"],
    ["/admin/deep/er", "/on-deep"],
    ["/admin/deep/er/x?y", "/on-deep"],
    ["/administrator", "/rest"],
    ["/admin.html", "/rest"],
    ["/admin;x", "/rest"],
    ["/Admin", "/rest"],
    ["/x/admin", "/rest"],
    ["//admin", "/rest"],
    ["/stat", "/on-stat"],
    ["/stat/us", "/on-stat"],
    ["/status", "/rest"],
    ["/status/stat", "/rest"],
    ["/slash/", "/on-slash"],
    ["/slash/x", "/on-slash"],
    ["/store/x", ""],
    ["/stores/x", "/rest"],
    ["/", "/rest"],
  ];
  for (const [path, base] of routeCases) {
    test(`routes: ${path} goes to ${base || "the upstream without a base"}`, async () => {
      const id = await storefronts.add(routed);
      assert.equal((await send(worker, `/stores/${id}${path}`)).json().url, base + path);
    });
  }

  test("routes: a path without a route goes to a variant, and only that response names it", async () => {
    const id = await storefronts.add({
      routes: [{ path: "/admin", origin: `${upstream.origin}/on-admin` }],
      variants: [{ name: "blue", origin: `${upstream.origin}/on-blue`, weight: 1 }],
    });
    const route = await send(worker, `/stores/${id}/admin/x`);
    assert.equal(route.json().url, "/on-admin/admin/x");
    assert.equal(route.headers["x-variant"], undefined);
    assert.equal(route.headers["set-cookie"], undefined);
    const variant = await send(worker, `/stores/${id}/x`);
    assert.equal(variant.json().url, "/on-blue/x");
    assert.equal(variant.headers["x-variant"], "blue");
  });
});

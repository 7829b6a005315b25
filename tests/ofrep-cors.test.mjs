// OFREP for pages of other sites (Fetch Standard, "CORS protocol"): `OFREP_ORIGINS`.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { OFREP_FLAGS, ofrepFlag, startConfig } from "./harness/config.mjs";

const flags = { plain: { default: "on" }, split: { default: "off", rules: [{ percentage: 50, variant: "on" }] } };
const ofList = (field) =>
  (field ?? "")
    .split(",")
    .map((member) => member.trim().toLowerCase())
    .filter((member) => member !== "");

/** Returns the names of the CORS fields of a response. */
const corsOf = ({ headers }) => Object.keys(headers).filter((name) => name.startsWith("access-control-"));

/** Sends the preflight request of a browser that is about to send JSON. */
const preflight = (config, origin, { path = OFREP_FLAGS, method = "POST", headers = "content-type,if-none-match" } = {}) =>
  config.request("OPTIONS", path, { headers: { Origin: origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers } });

/** Requests of all kinds, and their status. */
const kinds = [
  ["a flag", ofrepFlag("plain"), {}, 200],
  ["all flags", OFREP_FLAGS, {}, 200],
  ["what did not change", OFREP_FLAGS, { headers: { "If-None-Match": "*" } }, 304],
  ["no such flag", ofrepFlag("none"), {}, 404],
  ["a body that is no JSON", OFREP_FLAGS, { body: "{" }, 400],
  ["a name that cannot be read", `${OFREP_FLAGS}/%zz`, {}, 400],
  ["a missing targeting key", ofrepFlag("split"), {}, 400],
  ["a body that is too long", OFREP_FLAGS, { body: " ".repeat(65 * 1024) }, 413],
];

describe("origins", async () => {
  const config = await startConfig({ vars: { OFREP_ORIGINS: "https://shop.example, http://127.0.0.1:8080,https://b.example" } });
  before(() => config.putFlags(flags));

  for (const origin of ["https://shop.example", "http://127.0.0.1:8080", "https://b.example"]) {
    for (const [what, path, { headers, ...options }, status] of kinds) {
      test(`${origin} may read ${what}`, async () => {
        const response = await config.request("POST", path, { ...options, headers: { Origin: origin, ...headers } });
        assert.equal(response.status, status, response.text);
        assert.equal(response.headers["access-control-allow-origin"], origin);
        assert.ok(ofList(response.headers.vary).includes("origin"), response.headers.vary);
        const exposed = ofList(response.headers["access-control-expose-headers"]);
        assert.ok(exposed.includes("etag"), `${exposed}`);
        assert.equal(response.headers["access-control-allow-credentials"], undefined);
      });
    }

    for (const path of [OFREP_FLAGS, ofrepFlag("plain"), ofrepFlag("none")]) {
      test(`${origin} may send JSON to ${path}`, async () => {
        const response = await preflight(config, origin, { path });
        assert.equal(response.status, 204);
        assert.equal(response.text, "");
        assert.equal(response.headers["access-control-allow-origin"], origin);
        assert.ok(ofList(response.headers["access-control-allow-methods"]).includes("post"));
        const allowed = ofList(response.headers["access-control-allow-headers"]);
        for (const name of ["content-type", "if-none-match"]) assert.ok(allowed.includes(name), `${allowed}`);
        assert.ok(ofList(response.headers.vary).includes("origin"), response.headers.vary);
        assert.equal(response.headers["access-control-allow-credentials"], undefined);
      });
    }
  }

  for (const origin of [
    "https://evil.example",
    "https://shop.example.evil.example",
    "http://shop.example",
    "https://shop.example:444",
    "https://a.shop.example",
    "null",
    "",
    "https://shop.example/",
    "https://shop.example, https://b.example",
  ]) {
    test(`${JSON.stringify(origin)} may not, though it gets a response`, async () => {
      const response = await config.evaluateAll({}, { headers: { Origin: origin } });
      assert.equal(response.status, 200);
      assert.deepEqual(corsOf(response), []);
      assert.ok(ofList(response.headers.vary).includes("origin"), response.headers.vary);
      const asked = await preflight(config, origin);
      assert.equal(asked.status, 204);
      assert.deepEqual(corsOf(asked), []);
    });
  }

  test("a request without Origin gets Vary: Origin", async () => {
    const response = await config.evaluateAll({});
    assert.deepEqual(corsOf(response), []);
    assert.ok(ofList(response.headers.vary).includes("origin"), response.headers.vary);
  });

  test("errors while KV fails may be read too", async () => {
    await config.emptyMemory();
    const response = await config.evaluateAll({}, { faults: { get: ["500"] }, headers: { Origin: "https://b.example" } });
    assert.equal(response.status, 503);
    assert.equal(response.headers["access-control-allow-origin"], "https://b.example");
    assert.ok(ofList(response.headers["access-control-expose-headers"]).includes("retry-after"));
  });

  test("/config and /healthz have no CORS fields", async () => {
    for (const [method, path] of [
      ["GET", "/config?userId=a"],
      ["GET", "/healthz"],
      ["OPTIONS", "/config"],
      ["OPTIONS", "/healthz"],
    ]) {
      assert.deepEqual(corsOf(await config.request(method, path, { headers: { Origin: "https://shop.example" } })), [], path);
    }
  });
});

describe("every origin: *", async () => {
  const config = await startConfig({ vars: { OFREP_ORIGINS: "*" } });
  before(() => config.putFlags(flags));

  for (const origin of ["https://any.example", "null", "http://127.0.0.1:1"]) {
    test(`${origin} may read and send`, async () => {
      const response = await config.evaluateAll({}, { headers: { Origin: origin } });
      assert.equal(response.headers["access-control-allow-origin"], "*");
      assert.ok(ofList(response.headers["access-control-expose-headers"]).includes("etag"));
      const asked = await preflight(config, origin);
      assert.equal(asked.status, 204);
      assert.equal(asked.headers["access-control-allow-origin"], "*");
      for (const { headers } of [response, asked]) assert.equal(headers["access-control-allow-credentials"], undefined);
    });
  }
});

describe("no origin", async () => {
  const config = await startConfig();
  before(() => config.putFlags(flags));

  for (const value of [undefined, "", " , "]) {
    test(`may read or send with OFREP_ORIGINS ${JSON.stringify(value)}`, async () => {
      await config.worker.setVars({ OFREP_ORIGINS: value });
      const response = await config.evaluateAll({}, { headers: { Origin: "https://shop.example" } });
      assert.equal(response.status, 200);
      assert.deepEqual(corsOf(response), []);
      const asked = await preflight(config, "https://shop.example");
      assert.equal(asked.status, 204);
      assert.deepEqual(corsOf(asked), []);
    });
  }
});

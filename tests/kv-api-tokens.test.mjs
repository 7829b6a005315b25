// Signed tokens of the KV REST API: no call reads, lists or changes what lies outside a token's
// namespace and prefix, whatever its encoding, and no answer shows what exists there; and which
// tokens are valid, and until when.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { assertFailure, assertResult, NAMESPACES, signToken, startKvApi, valuePath } from "./harness/kv-api.mjs";
import { uniqueName } from "./harness/names.mjs";
import { WORKER_TOKEN } from "./harness/worker.mjs";

const worker = await startKvApi({ vars: { CONFIG_REFRESH: "1", KV_API_WRITABLE: "WRITES,USER_CONFIGURATION" } });
const { api } = worker;
const { WRITES, USER_CONFIGURATION, assets } = worker.env;
const W = `${NAMESPACES}/WRITES`;
const json = JSON.stringify;

const made = assertResult(await api("POST", NAMESPACES, { body: '{"title":"made"}' }));
const idOf = async (title) => assertResult(await api("GET", `${NAMESPACES}/${title}`)).id;
const ids = { WRITES: await idOf("WRITES"), assets: await idOf("assets") };

/** Keys outside the prefix `site/`. They are in KV, and must stay as they are. */
const outside = ["secret", "site", "site0", "sitemap", "Site/a", "/site/a", "other/site/", "site%2Fa"];
for (const key of [...outside, "site/a", "site/b"]) await WRITES.put(key, `of ${key}`, { metadata: { key } });
await assets.put("site/a", "of assets");
assertResult(await api("PUT", valuePath("made", "site/a"), { body: "of made" }));

const reader = signToken({ sub: "reader", prefix: "site/" });
const writer = signToken({ sub: "writer", prefix: "site/", write: true });

/** Paths of keys outside the prefix, in many encodings. */
const paths = [
  ...outside.map(encodeURIComponent),
  "secret",
  "%73ecret",
  "site",
  "/site/a",
  "%2Fsite/a",
  "site%252Fa",
  "site/../secret",
  "site/%2e%2e/secret",
  "site/.%2E/secret",
  "site\\..\\secret",
  "site/a/../../secret",
  "site/../../values/secret",
  "%53ite/a",
  "site%00/a",
  "no-such-key",
];

const unchanged = async () => {
  for (const key of outside) assert.equal(await WRITES.get(key), `of ${key}`, key);
  assert.equal(await assets.get("site/a"), "of assets");
};

describe("prefix", () => {
  test("tokens read below their prefix, and one for writing writes and deletes there", async () => {
    for (const token of [reader, writer]) {
      assert.equal((await api("GET", valuePath("WRITES", "site/a"), { token })).text, "of site/a");
      assert.equal((await api("GET", `${NAMESPACES}/${ids.WRITES}/values/%73ite%2fa`, { token })).text, "of site/a");
      assert.deepEqual(assertResult(await api("GET", `${W}/metadata/site/a`, { token })), { key: "site/a" });
      assert.deepEqual(assertResult(await api("POST", `${W}/bulk/get`, { token, body: '{"keys":["site/a"]}' })), { values: { "site/a": "of site/a" } });
    }
    const token = writer;
    assertResult(await api("PUT", valuePath("WRITES", "site/new"), { token, body: "v" }));
    assert.equal(await WRITES.get("site/new"), "v");
    assertResult(await api("DELETE", valuePath("WRITES", "site/new"), { token }));
    assert.equal(await WRITES.get("site/new"), null);
    assertResult(await api("PUT", `${W}/bulk`, { token, body: json([{ key: "site/bulk", value: "v" }]) }));
    assertResult(await api("DELETE", `${W}/bulk`, { token, body: '["site/bulk"]' }));
    await unchanged();
  });

  for (const path of paths)
    test(`no call reaches values/${path}, and its answer is the same whether the key exists or not`, async () => {
      for (const token of [reader, writer])
        for (const [method, kind] of [
          ["GET", "values"],
          ["HEAD", "values"],
          ["PUT", "values"],
          ["DELETE", "values"],
          ["GET", "metadata"],
        ]) {
          const response = await api(method, `${W}/${kind}/${path}`, { token, body: method === "PUT" ? "hacked" : undefined });
          if (method === "HEAD") assert.ok([403, 404].includes(response.status));
          else if (response.status !== 404 || response.json().errors[0].code !== 7003)
            assert.equal(assertFailure(response, 403, 10000), "Authentication error");
        }
      await unchanged();
    });

  test("a token for reading changes nothing", async () => {
    const token = reader;
    assertFailure(await api("PUT", valuePath("WRITES", "site/a"), { token, body: "w" }), 403, 10000);
    assertFailure(await api("DELETE", valuePath("WRITES", "site/a"), { token }), 403, 10000);
    for (const body of ["[]", "no JSON", json([{ key: "site/a", value: "w" }])]) assertFailure(await api("PUT", `${W}/bulk`, { token, body }), 403, 10000);
    assertFailure(await api("POST", `${W}/bulk/delete`, { token, body: '["site/a"]' }), 403, 10000);
    assertFailure(await api("DELETE", `${W}/bulk`, { token, body: '["site/a"]' }), 403, 10000);
    assert.equal(await WRITES.get("site/a"), "of site/a");
  });

  test("a batch with one key outside the prefix is refused whole", async () => {
    const token = writer;
    for (const key of [...outside, "no-such-key"]) {
      const pairs = [
        { key: "site/batch", value: "w" },
        { key, value: "hacked" },
      ];
      assertFailure(await api("PUT", `${W}/bulk`, { token, body: json(pairs) }), 403, 10000);
      assertFailure(await api("POST", `${W}/bulk/delete`, { token, body: json(["site/a", key]) }), 403, 10000);
      assertFailure(await api("DELETE", `${W}/bulk`, { token, body: json(["site/a", key]) }), 403, 10000);
      assertFailure(await api("POST", `${W}/bulk/get`, { token, body: json({ keys: ["site/a", key] }) }), 403, 10000);
    }
    assert.equal(await WRITES.get("site/batch"), null);
    assert.equal(await WRITES.get("site/a"), "of site/a");
    await unchanged();
  });

  test("a large batch, which is split over further invocations, keeps the scope of its token", async () => {
    const pairs = Array.from({ length: 1000 }, (_, number) => ({ key: `site/large/${number}`, value: "v" }));
    const outcome = assertResult(await api("PUT", `${W}/bulk`, { token: writer, body: json(pairs) }));
    assert.deepEqual(outcome, { successful_key_count: 1000, unsuccessful_keys: [] });
    assertFailure(await api("PUT", `${W}/bulk`, { token: writer, body: json([...pairs, { key: "secret", value: "w" }]) }), 403, 10000);
    assertResult(await api("POST", `${W}/bulk/delete`, { token: writer, body: json(pairs.map(({ key }) => key)) }));
    await unchanged();
  });

  test("a list has keys below the prefix only, whatever prefix and cursor it asks for", async () => {
    const cursor = assertResult(await api("GET", `${W}/keys`)) && (await api("GET", `${W}/keys?limit=10`)).json().result_info.cursor;
    for (const query of [
      "",
      "prefix=",
      "prefix=s",
      "prefix=site",
      "prefix=site/",
      "prefix=site%2F",
      "prefix=%73ite",
      "prefix=&prefix=secret",
      `cursor=${encodeURIComponent(cursor)}`,
    ])
      for (const { name } of assertResult(await api("GET", `${W}/keys?${query}`, { token: reader }))) assert.match(name, /^site\//, query);
    assert.deepEqual(
      assertResult(await api("GET", `${W}/keys`, { token: reader })).map(({ name }) => name),
      ["site/a", "site/b"],
    );
    for (const prefix of ["secret", "site0", "sitemap", "Site/", "/", "z"])
      assert.deepEqual(assertResult(await api("GET", `${W}/keys?prefix=${encodeURIComponent(prefix)}`, { token: reader })), []);
  });
});

describe("namespace", () => {
  const token = signToken({ namespace: "WRITES", write: true });

  test("a token sees its namespace only, by title or id", async () => {
    for (const namespace of ["WRITES", ids.WRITES]) {
      const scoped = signToken({ namespace });
      assert.deepEqual(
        assertResult(await api("GET", NAMESPACES, { token: scoped })).map(({ title }) => title),
        ["WRITES"],
      );
      assert.equal(assertResult(await api("GET", `${NAMESPACES}/${ids.WRITES}`, { token: scoped })).title, "WRITES");
      const { bindings } = assertResult(await api("GET", "/accounts/a/workers/scripts/kv-edge/settings", { token: scoped }));
      assert.deepEqual(bindings, [{ type: "kv_namespace", name: "WRITES", namespace_id: ids.WRITES }]);
    }
  });

  test("every call on another namespace has the same answer, whether it exists or not", async () => {
    const calls = [
      ["GET", ""],
      ["PUT", "", '{"title":"t"}'],
      ["DELETE", ""],
      ["GET", "/keys"],
      ["GET", "/values/site%2Fa"],
      ["PUT", "/values/site%2Fa", "hacked"],
      ["DELETE", "/values/site%2Fa"],
      ["GET", "/metadata/site%2Fa"],
      ["PUT", "/bulk", json([{ key: "site/a", value: "hacked" }])],
      ["DELETE", "/bulk", '["site/a"]'],
      ["POST", "/bulk/delete", '["site/a"]'],
      ["POST", "/bulk/get", '{"keys":["site/a"]}'],
    ];
    for (const namespace of ["assets", ids.assets, "made", made.id, "KV_NAMESPACES", "none", "0".repeat(32), "%61ssets", "x/../assets"])
      for (const [method, path, body] of calls) {
        const response = await api(method, `${NAMESPACES}/${namespace}${path}`, { token, body });
        assert.equal(assertFailure(response, 403, 10000), "Authentication error", `${method} ${namespace}${path}`);
      }
    await unchanged();
    assert.equal((await api("GET", valuePath("made", "site/a"))).text, "of made");
  });

  test("a token never makes, renames or deletes a namespace, its own included", async () => {
    const token = signToken({ namespace: "made", write: true });
    assert.equal((await api("GET", valuePath("made", "site/a"), { token })).text, "of made");
    assertFailure(await api("POST", NAMESPACES, { token, body: '{"title":"t"}' }), 403, 10000);
    assertFailure(await api("POST", NAMESPACES, { token, body: '{"title":"WRITES"}' }), 403, 10000);
    assertFailure(await api("PUT", `${NAMESPACES}/${made.id}`, { token, body: '{"title":"t"}' }), 403, 10000);
    assertFailure(await api("DELETE", `${NAMESPACES}/${made.id}`, { token }), 403, 10000);
    assert.equal(assertResult(await api("GET", `${NAMESPACES}/made`)).id, made.id);
  });

  test("a token for writing does not make a read-only namespace writable", async () => {
    const scoped = signToken({ namespace: "assets", write: true });
    assertFailure(await api("PUT", valuePath("assets", "site/a"), { token: scoped, body: "w" }), 403, 10405);
    assert.equal(await assets.get("site/a"), "of assets");
  });
});

describe("validity", () => {
  const now = () => Math.floor(Date.now() / 1000);
  const verify = (token) => api("GET", "/user/tokens/verify", { token });

  test("a token is valid until it expires", async () => {
    const { status, expires_on } = assertResult(await verify(signToken({ exp: now() + 3600 })));
    assert.equal(status, "active");
    assert.ok(Math.abs(Date.parse(expires_on) / 1000 - now() - 3600) < 60);
    for (const exp of [now(), now() - 3600, 0]) assertFailure(await verify(signToken({ exp })), 401, 10000);
    const soon = signToken({ exp: now() + 2 });
    await eventually(async () => (await verify(soon)).status === 401, "the token expires");
  });

  for (const [what, token] of [
    ["that another secret signs", signToken({}, { secret: "another" })],
    ["without a signature", signToken().replace(/[^.]+$/, "")],
    ["whose algorithm is none", signToken({}, { header: { alg: "none", typ: "JWT" } })],
    ["whose header, though signed, has its members in another order", signToken({}, { header: { typ: "JWT", alg: "HS256" } })],
    [
      "with a changed claim",
      signToken().replace(/\.[^.]+\./, `.${Buffer.from(json({ sub: "ci", namespace: "assets", prefix: "", write: true, exp: 4e9 })).toString("base64url")}.`),
    ],
    ["whose signature is shorter", signToken().slice(0, -1)],
    ["whose signature is longer", `${signToken()}A`],
    ["with padding", `${signToken()}=`],
    ["whose claims are no JSON of a token", signToken({ exp: "4000000000" })],
    ["whose expiration is negative", signToken({ exp: -1 })],
  ])
    test(`a token ${what} is refused`, async () => {
      assertFailure(await verify(token), 401, 10000);
      assertFailure(await api("GET", `${W}/keys`, { token }), 401, 10000);
    });

  test("a token is revoked by its name within CONFIG_REFRESH, and others are not", async () => {
    const [revoked, kept] = [signToken({ sub: uniqueName("revoked") }), signToken({ sub: "kept" })];
    assertResult(await verify(revoked));
    const { sub } = JSON.parse(Buffer.from(revoked.split(".")[1], "base64url").toString());
    await USER_CONFIGURATION.put("kv-edge:revoked-tokens", json([sub]));
    await eventually(async () => (await verify(revoked)).status === 401, "the token is revoked", 10_000);
    assertFailure(await api("GET", `${W}/keys`, { token: revoked }), 401, 10000);
    assertResult(await verify(kept));
    assertResult(await verify(WORKER_TOKEN));
    await USER_CONFIGURATION.delete("kv-edge:revoked-tokens");
    await eventually(async () => (await verify(revoked)).status === 200, "the token is valid again", 10_000);
  });

  test("no signed token changes the list of revoked ones", async () => {
    const token = signToken({ namespace: "USER_CONFIGURATION", write: true });
    assertResult(await api("PUT", valuePath("USER_CONFIGURATION", "another"), { token, body: "v" }));
    const key = "kv-edge:revoked-tokens";
    for (const path of [key, encodeURIComponent(key), "%6bv-edge%3Arevoked-tokens"]) {
      assertFailure(await api("PUT", `${NAMESPACES}/USER_CONFIGURATION/values/${path}`, { token, body: "[]" }), 403, 10000);
      assertFailure(await api("DELETE", `${NAMESPACES}/USER_CONFIGURATION/values/${path}`, { token }), 403, 10000);
    }
    assertFailure(await api("PUT", `${NAMESPACES}/USER_CONFIGURATION/bulk`, { token, body: json([{ key, value: "[]" }]) }), 403, 10000);
    assertFailure(await api("POST", `${NAMESPACES}/USER_CONFIGURATION/bulk/delete`, { token, body: json([key]) }), 403, 10000);
  });

  test("with TOKEN_SECRET and no API_TOKEN, the tokens that it signs are accepted, and no others", async () => {
    const secret = "another secret";
    const { api } = await startKvApi({ secrets: { TOKEN_SECRET: secret } });
    const verify = (token) => api("GET", "/user/tokens/verify", { token });
    assertResult(await verify(signToken({}, { secret })));
    for (const token of [WORKER_TOKEN, secret, "undefined", signToken()]) assertFailure(await verify(token), 401, 10000);
  });

  test("while the list of revoked tokens is broken or cannot be read for the first time, no signed token is accepted", async () => {
    const other = await startKvApi({ faulty: true, vars: { CONFIG_REFRESH: "1" } });
    const verify = (headers, token) => other.api("GET", "/user/tokens/verify", { headers, token });
    const unreadable = { "X-Kv-Faults": json({ USER_CONFIGURATION: { get: ["500"] } }) };
    assertFailure(await verify(unreadable, signToken()), 503, 10001);
    assertResult(await verify(unreadable));
    await other.env.USER_CONFIGURATION.put("kv-edge:revoked-tokens", "no JSON");
    assertFailure(await verify({}, signToken()), 503, 10001);
    assertResult(await verify({}));
  });
});

// The console's files and its API: what a token opens, and what the page is given about flags.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { KEY_BYTES_MAX } from "../console/src/key_name.js";
import { ROOT } from "../scripts/run.mjs";
import { assertOutcome, consoleApi } from "./harness/console.mjs";
import { send } from "./harness/http.mjs";
import { signToken } from "./harness/kv-api.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";
import { startWorker, WORKER_TOKEN } from "./harness/worker.mjs";

const worker = await startWorker({
  faulty: true,
  vars: { CONFIG_REFRESH: "0", CONFIG_PREFIX: "user:", KV_API_WRITABLE: "assets", KV_API_NAMESPACES: "KV_NAMESPACES", TENANT_DOMAIN: "shops.example" },
});
const direct = { url: worker.directUrl };

/** Sends a request for a file of the page, a GET unless a method is given. */
const requestFile = (path, { method, ...headers } = {}) => send(direct, path, { method, headers });

const api = consoleApi(worker);

/** Returns the JSON of a successful call. */
const result = async (path, options) => assertOutcome(await api(path, options));

describe("the page", () => {
  const files = [
    ["/console/", "index.html", /^text\/html\b/],
    ["/console/index.html", "index.html", /^text\/html\b/],
    ["/console/app.js", "app.js", /^text\/javascript\b/],
    ["/console/app.css", "app.css", /^text\/css\b/],
  ];

  for (const [path, name, type] of files)
    test(`${path} is the file ${name}, which browsers ask for again each time`, async () => {
      const response = await requestFile(path);
      assert.equal(response.status, 200);
      assert.ok(response.bytes.equals(readFileSync(join(ROOT, "build", "console", "console", name))));
      assert.match(response.headers["content-type"], type);
      assert.equal(response.headers["cache-control"], "no-cache");
      assert.match(response.headers.etag, /^"[^"]+"$/);
    });

  test("the browser may run the page's own scripts and styles alone, and send nothing to another host", async () => {
    for (const [path] of files) {
      const { headers } = await requestFile(path);
      const policy = headers["content-security-policy"].split("; ");
      assert.deepEqual(policy, [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
      ]);
      assert.equal(headers["x-content-type-options"], "nosniff");
      assert.equal(headers["referrer-policy"], "no-referrer");
      assert.equal(headers["cross-origin-opener-policy"], "same-origin");
    }
  });

  test("a file that has not changed is a 304 with the same fields", async () => {
    const { headers } = await requestFile("/console/");
    for (const condition of [headers.etag, `"other", ${headers.etag}`, `W/${headers.etag}`]) {
      const response = await requestFile("/console/", { "If-None-Match": condition });
      assert.deepEqual([response.status, response.bytes.length], [304, 0], condition);
      for (const name of ["etag", "cache-control", "content-security-policy"]) assert.equal(response.headers[name], headers[name]);
    }
    assert.equal((await requestFile("/console/", { "If-None-Match": '"other"' })).status, 200);
  });

  test("HEAD has the status and ETag of GET, and no body", async () => {
    const { headers } = await requestFile("/console/");
    const response = await requestFile("/console/", { method: "HEAD" });
    assert.deepEqual([response.status, response.bytes.length, response.headers.etag], [200, 0, headers.etag]);
    assert.equal((await api("session", { method: "HEAD" })).bytes.length, 0);
  });

  test("/console leads to /console/", async () => {
    const { status, headers } = await requestFile("/console");
    assert.deepEqual([status, headers.location], [308, "/console/"]);
  });

  test("other paths below /console/ are no files, whatever their encoding", async () => {
    for (const path of [
      "/console/x",
      "/console/api",
      "/console/src/main.jsx",
      "/console/..%2findex.html",
      "/console//",
      "/console/%2e%2e/%2e%2e/wrangler.toml/",
    ])
      assert.equal((await requestFile(path)).status, 404, path);
    assertPlainError(await requestFile("/console/x"), 404, "The console has no such file.");
    assertProblem(await requestFile("/console/", { method: "POST", Accept: "application/json" }), 405, "method_not_allowed");
  });

  test("the hosts of storefronts have no console, and paths that only begin like it are files", async () => {
    await worker.env.assets.put("consoles", "a file");
    assert.equal((await requestFile("/consoles")).text, "a file");
    for (const path of ["/console/", "/console/api/session"]) {
      const response = await requestFile(path, { Host: "tea.shops.example", Authorization: `Bearer ${WORKER_TOKEN}` });
      assertPlainError(response, 404, 'Storefront "tea" not found.');
    }
  });

  test("a deploy without the page says so", async () => {
    await worker.setVars({ CONSOLE: undefined });
    try {
      assertPlainError(await requestFile("/console/"), 503, /^This deploy has no console\./);
      assert.equal((await api("session")).status, 200);
    } finally {
      await worker.setVars({});
    }
  });
});

describe("a token", () => {
  test("is asked for by every call", async () => {
    for (const token of [null, "wrong", signToken({ exp: 1 }), signToken({}, { secret: "other" })])
      for (const path of ["session", "metrics", "cache", "flags/check", "releases", "releases/rollback", "storefronts/check", "values", "no-such-call"])
        assertProblem(await api(path, { token }), 401, "unauthorized");
  });

  test("API_TOKEN may do everything that KV_API_WRITABLE allows", async () => {
    const { bindings, version, keyBytesMax, ...session } = await result("session");
    assert.equal(keyBytesMax.bindings, KEY_BYTES_MAX);
    const features = ["assets", "cache", "flags", "storefronts", "writes"];
    assert.deepEqual(session, { name: "API_TOKEN", everything: true, scope: null, expires: null, features, createsNamespaces: true, metrics: false });
    assert.match(version, /^\d+\.\d+\.\d+$/);
    // KV_NAMESPACES holds the namespaces that clients make, and is not listed itself.
    assert.deepEqual(
      bindings.map(({ title, role, writable }) => [title, role, writable]),
      [
        ["CACHE_KV", "cache", false],
        ["USER_CONFIGURATION", "configuration", false],
        ["ROUTING_CONFIG", "storefronts", false],
        ["assets", "assets", true],
        ["WRITES", "writes", false],
        ["USERS_NOTIFICATION_CONFIG", "other", false],
      ],
    );
  });

  test("a signed token sees its scope, and writes if it and KV_API_WRITABLE say so", async () => {
    for (const [namespace, write, writable] of [
      ["assets", true, true],
      ["assets", false, false],
      ["WRITES", true, false],
    ]) {
      const token = signToken({ sub: "reader", namespace, prefix: "site/", write, exp: 4e9 });
      const { name, everything, scope, expires, bindings } = await result("session", { token });
      assert.deepEqual({ name, everything, expires }, { name: "reader", everything: false, expires: "2096-10-02T07:06:40Z" });
      assert.deepEqual(scope, { namespace, prefix: "site/", write, readOnlyKeys: ["kv-edge:revoked-tokens"] });
      const readable = bindings.map(({ title }) => title);
      const writables = bindings.filter((binding) => binding.writable).map(({ title }) => title);
      assert.deepEqual([readable, writables], [[namespace], writable ? [namespace] : []]);
    }
  });

  test("API_TOKEN alone creates namespaces, and only if the Worker has a home for them", async () => {
    const token = signToken({ namespace: "assets", prefix: "", write: true });
    const creates = async (token) => (await result("session", { token })).createsNamespaces;
    assert.deepEqual([await creates(WORKER_TOKEN), await creates(token)], [true, false]);
    await worker.setVars({ KV_API_NAMESPACES: "" });
    try {
      assert.equal(await creates(WORKER_TOKEN), false);
    } finally {
      await worker.setVars({});
    }
  });

  test("the ids of the session are those of the KV REST API", async () => {
    const { bindings } = await result("session");
    const { id } = bindings.find(({ title }) => title === "assets");
    const path = `/client/v4/accounts/0123456789abcdef0123456789abcdef/storage/kv/namespaces/${id}/values/consoles`;
    assert.equal((await send(direct, path, { headers: { Authorization: `Bearer ${WORKER_TOKEN}` } })).text, "a file");
  });

  test("without API_TOKEN the API is closed, and the page is served", async () => {
    await worker.setVars({ API_TOKEN: undefined });
    try {
      assertProblem(await api("session"), 503, "not_configured");
      assert.equal((await requestFile("/console/")).status, 200);
    } finally {
      await worker.setVars({});
    }
  });

  test("a call that does not exist is a 404, an unknown parameter a 400, and another method a 405", async () => {
    for (const path of ["no-such-call", "", "session/x", "values/x", "session/", "metrics/", "flags", "flags/no-such-call", "flags/check/"]) {
      const method = path.startsWith("flags") ? "POST" : "GET";
      assertProblem(await api(path, { method }), 404, "not_found");
    }
    for (const [path, method] of [
      ["session", "GET"],
      ["metrics", "GET"],
      ["flags/check", "POST"],
      ["flags/evaluate", "POST"],
      ["flags/sample", "POST"],
      ["releases", "GET"],
      ["releases/rollback", "POST"],
      ["storefronts/check", "POST"],
    ]) {
      const { detail } = assertProblem(await api(`${path}?url=a`, { method }), 400, "invalid_parameter");
      assert.match(detail, /"url" is unknown/, path);
    }
    const refused = await api("session", { body: "{}" });
    assertProblem(refused, 405, "method_not_allowed");
    assert.equal(refused.headers.allow, "GET, HEAD");
    for (const call of ["check", "evaluate", "sample"]) {
      const response = await api(`flags/${call}`);
      assertProblem(response, 405, "method_not_allowed");
      assert.equal(response.headers.allow, "POST");
    }
  });
});

/** Definitions with a switch, a rollout, and a rule about an attribute. */
const DEFINITIONS = JSON.stringify({
  flags: {
    beta: { default: "off", rules: [{ match: [{ attribute: "plan", eq: "pro" }], variant: "on" }] },
    checkout: { variants: { blue: { color: "blue" }, red: { color: "red" } }, default: "red", rules: [{ percentage: 40, variant: "blue" }] },
    plain: { default: "on" },
  },
});

describe("flags/check", () => {
  test("valid definitions have their names, and warnings", async () => {
    const checked = await result("flags/check", { json: { definitions: DEFINITIONS } });
    assert.deepEqual(checked, { flags: ["beta", "checkout", "plain"], faults: [], warnings: [] });
    const twice = { flags: { a: { default: "off", rules: [100, 50].map((percentage) => ({ percentage, variant: "on" })) } } };
    const { faults, warnings } = await result("flags/check", { json: { definitions: JSON.stringify(twice) } });
    assert.deepEqual([faults, warnings.map(({ path }) => path)], [[], ["flags.a.rules[1]"]]);
  });

  test("each fault has its path, repeated members too", async () => {
    const definitions = '{"flags": {"a": {"default": "maybe", "on": true, "on": false}, "b c": {"default": "off"}}}';
    const { flags, faults } = await result("flags/check", { json: { definitions } });
    assert.deepEqual(flags, ["a", "b c"]);
    assert.deepEqual(
      faults.map(({ path }) => path),
      ["flags.a.on", "flags.a.default", 'flags["b c"]'],
    );
    assert.equal(faults[0].problem, "it occurs more than once; only the last one counts");
  });

  test("a text that is not JSON has one fault with line and column", async () => {
    const { faults } = await result("flags/check", { json: { definitions: '{\n  "flags": {},\n}' } });
    assert.equal(faults.length, 1);
    assert.deepEqual([faults[0].path, faults[0].line, faults[0].column], ["", 3, 1]);
    assert.match(faults[0].problem, /^not JSON: /);
  });

  test("needs a token of the namespace, and no access to the stored definitions", async () => {
    const check = (claims) => api("flags/check", { token: signToken(claims), json: { definitions: DEFINITIONS } });
    assert.equal((await check({ namespace: "USER_CONFIGURATION", prefix: "x/" })).status, 200);
    assertProblem(await check({ namespace: "assets", prefix: "" }), 403, "out_of_scope");
  });

  test("repeated members below a very long name are reported until their paths are too long", async () => {
    const members = Array.from({ length: 10_000 }, (_, index) => `"m${index}":1,"m${index}":2`).join(",");
    const definitions = `{"${"n".repeat(500_000)}":{${members}}}`;
    const { faults } = await result("flags/check", { json: { definitions } });
    const repeated = faults.filter(({ problem }) => problem === "it occurs more than once; only the last one counts");
    assert.ok(repeated.length > 0 && faults.length < 10, `${repeated.length} of ${faults.length} faults`);
  });

  test("definitions of 2 MiB are read, and longer bodies are refused", async () => {
    const definitions = JSON.stringify({ flags: { a: { default: "on", description: "d".repeat(2 * 1024 * 1024 - 100) } } });
    assert.deepEqual((await result("flags/check", { json: { definitions } })).faults, []);
    const { faults } = await result("flags/check", { json: { definitions: " ".repeat(2 * 1024 * 1024) + DEFINITIONS } });
    assert.match(faults[0].problem, /at most 2097152 are allowed/);
    assertProblem(await api("flags/check", { json: { definitions: "x".repeat(5 * 1024 * 1024) } }), 413, "body_too_large");
  });

  test("a body that is not the call's is a 400 that says why", async () => {
    for (const body of ["", "{", "[]", "{}", '{"definitions": 1}', '{"definitions": "{}", "definition": "{}"}', "\xff"])
      assertProblem(await api("flags/check", { method: "POST", body }), 400, "invalid_body");
    const { detail } = assertProblem(await api("flags/check", { json: { definitions: "{}", flagz: 1 } }), 400, "invalid_body");
    assert.match(detail, /unknown field `flagz`/);
  });
});

describe("flags/evaluate", () => {
  const evaluate = (body, options) => result("flags/evaluate", { json: body, ...options });

  test("each flag has its value, its variant, the reason, and the rule that decided", async () => {
    const { flags } = await evaluate({ definitions: DEFINITIONS, context: { targetingKey: "sample-user-0", plan: "pro" }, record: null });
    assert.deepEqual(flags.beta, { value: true, variant: "on", reason: "TARGETING_MATCH", rule: 0, error: null });
    assert.deepEqual(flags.plain, { value: true, variant: "on", reason: "STATIC", rule: null, error: null });
    assert.equal(flags.checkout.reason, "SPLIT");
    assert.deepEqual(flags.checkout.value, { color: flags.checkout.variant });
    assert.equal(flags.checkout.rule, flags.checkout.variant === "blue" ? 0 : null);
  });

  test("a flag that cannot be evaluated has the error, and the others their values", async () => {
    const { flags } = await evaluate({ definitions: DEFINITIONS });
    assert.deepEqual(flags.checkout, { value: null, variant: null, reason: null, rule: null, error: "TARGETING_KEY_MISSING" });
    assert.deepEqual([flags.beta.variant, flags.beta.reason, flags.beta.rule], ["off", "DEFAULT", null]);
  });

  test("a record goes before the context: the stored one, a given one, or none", async () => {
    await worker.env.USER_CONFIGURATION.put("user:ann", JSON.stringify({ plan: "pro" }));
    const beta = async (body, options) => (await evaluate({ definitions: DEFINITIONS, ...body }, options)).flags.beta.variant;
    const context = { targetingKey: "ann", plan: "free" };
    assert.equal(await beta({ context }), "on");
    assert.equal(await beta({ context: { ...context, plan: "pro" }, record: { plan: "free" } }), "off");
    assert.equal(await beta({ context, record: {} }), "off");
    assert.equal(await beta({ context, record: null }), "off");
    assert.equal(await beta({ context: { targetingKey: "bob", plan: "pro" } }), "on");
  });

  test("without definitions the stored ones are evaluated, as clients get them", async () => {
    await worker.env.USER_CONFIGURATION.put("flags", DEFINITIONS);
    await worker.emptyMemory();
    const context = { targetingKey: "ann" };
    const { flags } = await evaluate({ context });
    const { flags: served } = (await send(direct, "/ofrep/v1/evaluate/flags", { method: "POST", body: JSON.stringify({ context }) })).json();
    assert.deepEqual(
      served.map(({ key, value, variant, reason }) => [key, value, variant, reason]),
      Object.entries(flags).map(([key, { value, variant, reason }]) => [key, value, variant, reason]),
    );
  });

  test("definitions and records are read only within the token's scope", async () => {
    const context = { targetingKey: "ann" };
    const given = { definitions: DEFINITIONS, context, record: {} };
    for (const [scope, stored, ofAnn] of [
      [{ namespace: "USER_CONFIGURATION", prefix: "" }, 200, 200],
      [{ namespace: "USER_CONFIGURATION", prefix: "user:" }, 403, 200],
      [{ namespace: "USER_CONFIGURATION", prefix: "user:b" }, 403, 403],
      [{ namespace: "USER_CONFIGURATION", prefix: "flags" }, 200, 403],
    ]) {
      const token = signToken(scope);
      const status = async (call, body) => (await api(`flags/${call}`, { token, json: body })).status;
      assert.equal(await status("evaluate", given), 200);
      assert.equal(await status("evaluate", { context, record: {} }), stored, JSON.stringify(scope));
      assert.equal(await status("sample", { flag: "plain", users: 1 }), stored, JSON.stringify(scope));
      assert.equal(await status("evaluate", { definitions: DEFINITIONS, context }), ofAnn, JSON.stringify(scope));
    }
    assertProblem(await api("flags/evaluate", { token: signToken(), json: {} }), 403, "out_of_scope");
    const elsewhere = signToken({ namespace: "WRITES", prefix: "" });
    for (const call of ["check", "evaluate", "sample"]) assertProblem(await api(`flags/${call}`, { token: elsewhere, json: given }), 403, "out_of_scope");
  });

  test("faults of the definitions and of the context are a 400 that names them", async () => {
    const problem = async (body, code) => assertProblem(await api("flags/evaluate", { json: body }), 400, code).detail;
    assert.match(await problem({ definitions: '{"flags":{"a":{}}}' }, "invalid_definitions"), /flags\.a\.default: it is missing/);
    assert.match(await problem({ definitions: DEFINITIONS, context: { targetingKey: 1 } }, "invalid_body"), /targetingKey must be a string/);
    assert.match(await problem({ definitions: DEFINITIONS, context: { targetingKey: "k".repeat(512) } }, "invalid_body"), /512/);
    await problem({ definitions: DEFINITIONS, context: [] }, "invalid_body");
    assert.match(await problem({ definitions: DEFINITIONS, context: { a: "x".repeat(65_536) } }, "invalid_body"), /longer than 65536 bytes/);
    await problem({ definitions: DEFINITIONS, record: [] }, "invalid_body");
  });

  test("without the binding of the stored definitions, evaluating them is a 503", async () => {
    await worker.emptyMemory();
    await worker.setVars({ USER_CONFIGURATION: undefined });
    try {
      assertProblem(await api("flags/evaluate", { json: {} }), 503, "kv_unavailable");
    } finally {
      await worker.setVars({});
    }
  });
});

describe("flags/sample", () => {
  test("the variant of each of 1,000 users is the one that the user gets, and the shares add up", async () => {
    const { variants, users } = await result("flags/sample", { json: { definitions: DEFINITIONS, flag: "checkout", context: {}, users: 1000 } });
    assert.equal(users.length, 1000);
    assert.deepEqual(
      variants,
      ["blue", "red"].map((variant) => ({ variant, users: users.filter((given) => given === variant).length })),
    );
    assert.ok(variants[0].users > 350 && variants[0].users < 450, JSON.stringify(variants));
    for (const user of [0, 1, 999]) {
      const { flags } = await result("flags/evaluate", { json: { definitions: DEFINITIONS, context: { targetingKey: `sample-user-${user}` }, record: null } });
      assert.equal(flags.checkout.variant, users[user]);
    }
  });

  test("attributes of the context are those of every user", async () => {
    const sample = (context) => result("flags/sample", { json: { definitions: DEFINITIONS, flag: "beta", context, users: 3 } });
    assert.deepEqual((await sample({ plan: "pro" })).users, ["on", "on", "on"]);
    assert.deepEqual((await sample({})).variants, [
      { variant: "off", users: 3 },
      { variant: "on", users: 0 },
    ]);
  });

  test("1 to 1,000 users of a flag that exists are sampled", async () => {
    const sample = (body) => api("flags/sample", { json: { definitions: DEFINITIONS, flag: "beta", users: 1, ...body } });
    assertProblem(await sample({ flag: "no-such-flag" }), 404, "flag_not_found");
    for (const users of [0, 1001, -1, 1.5, "3", undefined]) assertProblem(await sample({ users }), 400, "invalid_body");
  });
});

// OFREP (https://github.com/open-feature/protocol): the evaluation of one flag; and the errors,
// the limit of the body and the methods of both routes.
import assert from "node:assert/strict";
import http from "node:http";
import { before, describe, test } from "node:test";
import { OFREP_FLAGS, ofrepFlag, snapshotOf, startConfig } from "./harness/config.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertEvaluated, assertOfrepError, bucketOf } from "./harness/ofrep.mjs";
import { assertProblem } from "./harness/problem.mjs";

const config = await startConfig({ vars: { CONFIG_SNAPSHOT: "snapshot" } });
const { evaluate } = config;

const theme = { size: 2.5, list: [1, "é", null, { a: true }], 'a"b': "</script>" };
const flags = {
  static: { default: "off" },
  "static-on": { default: "on", metadata: { owner: "shop", level: 3, draft: false, 'a"b': "é\u2028</script>" } },
  disabled: { on: false, default: "on", off: "off", rules: [{ allow: ["user-7"], variant: "on" }] },
  "disabled-switch": { on: false, default: "on" },
  "disabled-default": { on: false, variants: { on: true, off: false }, default: "on" },
  text: { variants: { a: 'é "quoted" \u2028 </script>', b: "" }, default: "a", rules: [{ allow: ["b"], variant: "b" }] },
  number: {
    variants: { half: 0.5, large: 1e21, minus: -0.25, whole: 12345678901234 },
    default: "half",
    rules: ["large", "minus", "whole"].map((variant) => ({ allow: [variant], variant })),
  },
  json: {
    variants: { theme, empty: {}, list: [] },
    default: "theme",
    rules: [
      { allow: ["e"], variant: "empty" },
      { allow: ["l"], variant: "list" },
    ],
  },
  lists: { default: "off", rules: [{ deny: ["user-13", "both"] }, { allow: ["user-7", "both"], variant: "on" }] },
  "deny-to": {
    variants: { a: "a", b: "b", c: "c" },
    default: "a",
    rules: [
      { deny: ["x"], variant: "b" },
      { match: [{ attribute: "plan", eq: "pro" }], variant: "c" },
    ],
  },
  plan: { default: "off", rules: [{ match: [{ attribute: "plan", in: ["pro", "team"] }], variant: "on" }] },
  version: {
    default: "off",
    rules: [
      {
        match: [
          { attribute: "app.version", semverGte: "2.1.0" },
          { attribute: "beta", eq: true, not: true },
        ],
        variant: "on",
      },
    ],
  },
  who: { default: "off", rules: [{ match: [{ attribute: "targetingKey", startsWith: ["admin-", "root"] }], variant: "on" }] },
  ab: {
    variants: { a: "a", b: "b", c: "c" },
    default: "c",
    rules: [
      { percentage: 25, variant: "a" },
      { percentage: 50, variant: "b" },
    ],
  },
  nobody: { default: "off", rules: [{ percentage: 0, variant: "on" }] },
  everybody: { default: "off", rules: [{ percentage: 100, variant: "on" }] },
  "some-pro": { default: "off", rules: [{ match: [{ attribute: "plan", eq: "pro" }], percentage: 50, variant: "on" }] },
  "A.b_c-D.9": { default: "on" },
  "own-key": {
    default: "off",
    rules: ["flags.static.default", "records.sam.plan"].map((attribute) => ({ match: [{ attribute, in: ["off", "team"] }], variant: "on" })),
  },
};

before(() => config.putFlags(flags));

/** Key, context, and the evaluation: variant, value, reason. */
const evaluations = [
  ["static", {}, "off", false, "STATIC"],
  ["static-on", { targetingKey: "anyone" }, "on", true, "STATIC"],
  ["A.b_c-D.9", {}, "on", true, "STATIC"],
  ["disabled", { targetingKey: "user-7" }, "off", false, "DISABLED"],
  ["disabled-switch", {}, "off", false, "DISABLED"],
  ["disabled-default", {}, "on", true, "DISABLED"],
  ["text", { targetingKey: "a" }, "a", flags.text.variants.a, "DEFAULT"],
  ["text", { targetingKey: "b" }, "b", "", "TARGETING_MATCH"],
  ["number", {}, "half", 0.5, "DEFAULT"],
  ["number", { targetingKey: "large" }, "large", 1e21, "TARGETING_MATCH"],
  ["number", { targetingKey: "minus" }, "minus", -0.25, "TARGETING_MATCH"],
  ["number", { targetingKey: "whole" }, "whole", 12345678901234, "TARGETING_MATCH"],
  ["json", {}, "theme", theme, "DEFAULT"],
  ["json", { targetingKey: "e" }, "empty", {}, "TARGETING_MATCH"],
  ["json", { targetingKey: "l" }, "list", [], "TARGETING_MATCH"],
  ["lists", { targetingKey: "user-7" }, "on", true, "TARGETING_MATCH"],
  ["lists", { targetingKey: "user-13" }, "off", false, "TARGETING_MATCH"],
  ["lists", { targetingKey: "both" }, "off", false, "TARGETING_MATCH"],
  ["lists", { targetingKey: "user-8" }, "off", false, "DEFAULT"],
  ["lists", {}, "off", false, "DEFAULT"],
  ["lists", { targetingKey: "" }, "off", false, "DEFAULT"],
  ["deny-to", { targetingKey: "x", plan: "pro" }, "b", "b", "TARGETING_MATCH"],
  ["deny-to", { targetingKey: "y", plan: "pro" }, "c", "c", "TARGETING_MATCH"],
  ["plan", { plan: "team" }, "on", true, "TARGETING_MATCH"],
  ["plan", { plan: "Team" }, "off", false, "DEFAULT"],
  ["plan", { plan: ["team"] }, "off", false, "DEFAULT"],
  ["plan", {}, "off", false, "DEFAULT"],
  ["version", { app: { version: "2.1.0" }, beta: false }, "on", true, "TARGETING_MATCH"],
  ["version", { "app.version": "v3", beta: "x" }, "off", false, "DEFAULT"], // of another type
  ["version", { app: { version: "2.1.0-rc.1" }, beta: false }, "off", false, "DEFAULT"],
  ["version", { app: { version: "2.1.0" }, beta: true }, "off", false, "DEFAULT"],
  ["version", { app: { version: "2.1.0" } }, "off", false, "DEFAULT"],
  ["who", { targetingKey: "admin-1" }, "on", true, "TARGETING_MATCH"],
  ["who", { targetingKey: "user" }, "off", false, "DEFAULT"],
  ["nobody", { targetingKey: "user" }, "off", false, "SPLIT"],
  ["everybody", { targetingKey: "user" }, "on", true, "SPLIT"],
  ["some-pro", { targetingKey: "user", plan: "free" }, "off", false, "DEFAULT"],
  ["some-pro", { plan: "free" }, "off", false, "DEFAULT"], // stops before the rollout
];
for (const [flag, context, variant, value, reason] of evaluations) {
  test(`${flag} for ${JSON.stringify(context)} is ${variant}, ${reason}`, async () => {
    assertEvaluated(await evaluate(flag, context), { key: flag, variant, value, reason, metadata: flags[flag].metadata });
  });
}

test("a rollout is by the hash of the flag's name and the targeting key", async () => {
  for (let index = 0; index < 40; index += 1) {
    const targetingKey = uniqueName("üser");
    const bucket = bucketOf("ab", targetingKey);
    const [variant] = bucket < 25_000 ? ["a"] : bucket < 50_000 ? ["b"] : ["c"];
    assertEvaluated(await evaluate("ab", { targetingKey }), { key: "ab", variant, value: variant, reason: "SPLIT" });
  }
});

test("a rollout matches the buckets below its percentage, to the third decimal", async () => {
  const name = uniqueName("exact");
  const bucket = bucketOf(name, "user");
  for (const [percentage, variant] of [
    [bucket / 1000, "off"],
    [(bucket + 1) / 1000, "on"],
  ]) {
    await config.putFlags({ ...flags, [name]: { default: "off", rules: [{ percentage, variant: "on" }] } });
    const response = await evaluate(name, { targetingKey: "user" });
    assertEvaluated(response, { key: name, variant, value: variant === "on", reason: "SPLIT" });
  }
  await config.putFlags(flags);
});

describe("the user's record", () => {
  test("supplies attributes, which precede the client's context", async () => {
    const targetingKey = uniqueName("user");
    await config.putRecord(targetingKey, { plan: "pro", app: { version: "2.2" }, beta: false });
    assert.equal((await evaluate("plan", { targetingKey })).json().value, true);
    assert.equal((await evaluate("plan", { targetingKey, plan: "free" })).json().value, true);
    assert.equal((await evaluate("version", { targetingKey, app: { version: "1.0.0" }, beta: true })).json().value, true);
    await config.putRecord(targetingKey, { plan: "free" });
    assert.equal((await evaluate("plan", { targetingKey, plan: "pro" })).json().value, false);
    assert.equal((await evaluate("plan", { plan: "pro" })).json().value, true);
  });

  test("cannot change the targeting key", async () => {
    const targetingKey = uniqueName("user");
    await config.putRecord(targetingKey, { targetingKey: "admin-1" });
    assert.equal((await evaluate("who", { targetingKey })).json().value, false);
  });

  test("may be in the snapshot", async () => {
    await config.kv.put("snapshot", snapshotOf({ sam: { plan: "team" } }));
    assert.equal((await evaluate("plan", { targetingKey: "sam", plan: "free" })).json().value, true);
  });

  for (const id of ["flags", "snapshot"]) {
    test(`does not exist for the targeting key ${id}, a key of kv-edge's own`, async () =>
      assertEvaluated(await evaluate("own-key", { targetingKey: id }), { key: "own-key", variant: "off", value: false, reason: "DEFAULT" }));
  }
});

describe("errors", () => {
  for (const flag of ["unknown", "Static", "constructor", "__proto__", "static ", "a b", "<script>", "a/b", 'a"b\\', "é", "a\u0000b", "🎉", "x".repeat(129)]) {
    test(`${JSON.stringify(flag).slice(0, 20)} is an unknown flag`, async () => {
      assertOfrepError(await evaluate(flag, {}), 404, "FLAG_NOT_FOUND", flag);
    });
  }

  test("a path below a flag is an unknown flag", async () => {
    assertOfrepError(await config.request("POST", `${OFREP_FLAGS}/static/x`, { body: {} }), 404, "FLAG_NOT_FOUND", "static/x");
  });

  test("an empty name is an unknown flag", async () => {
    assertOfrepError(await config.request("POST", `${OFREP_FLAGS}/`, { body: {} }), 404, "FLAG_NOT_FOUND", "");
  });

  for (const encoded of ["%", "%zz", "static%", "%ff", "%C3%28", "%ED%A0%80", "a%20b%"]) {
    test(`${encoded} is not a flag's name, whatever the body is`, async () => {
      for (const body of [{}, "{"]) {
        assertOfrepError(await config.request("POST", `${OFREP_FLAGS}/${encoded}`, { body }), 400, "PARSE_ERROR", encoded);
      }
    });
  }

  const bodies = [
    ["{", "PARSE_ERROR"],
    ["nonsense", "PARSE_ERROR"],
    ["[]", "PARSE_ERROR"],
    ["null", "PARSE_ERROR"],
    ['"x"', "PARSE_ERROR"],
    ["7", "PARSE_ERROR"],
    ['{"context":{}} {}', "PARSE_ERROR"],
    [Buffer.from([0x7b, 0xff, 0x7d]), "PARSE_ERROR"],
    [Buffer.from('{"context":{"plan":"pr\xff"}}', "latin1"), "PARSE_ERROR"],
    [Buffer.from('{"context":{"targetingKey":"\xe9t\xe9"}}', "latin1"), "PARSE_ERROR"],
    [Buffer.from('{"context":{"pl\xc3":"pro"}}', "latin1"), "PARSE_ERROR"],
    [Buffer.from('{"context":{"plan":"\xed\xa0\x80"}}', "latin1"), "PARSE_ERROR"],
    [`{"context":{"a":${"[".repeat(5000)}${"]".repeat(5000)}}}`, "PARSE_ERROR"],
    ['{"context":[]}', "INVALID_CONTEXT"],
    ['{"context":"x"}', "INVALID_CONTEXT"],
    ['{"context":7}', "INVALID_CONTEXT"],
    ['{"context":{"targetingKey":7}}', "INVALID_CONTEXT"],
    ['{"context":{"targetingKey":["a"]}}', "INVALID_CONTEXT"],
    ['{"context":{"targetingKey":"."}}', "INVALID_CONTEXT"],
    ['{"context":{"targetingKey":".."}}', "INVALID_CONTEXT"],
    [JSON.stringify({ context: { targetingKey: "a".repeat(513) } }), "INVALID_CONTEXT"],
    [JSON.stringify({ context: { targetingKey: "€".repeat(171) } }), "INVALID_CONTEXT"],
  ];
  for (const [body, code] of bodies) {
    test(`the body ${JSON.stringify(body.toString("latin1")).slice(0, 50)} gets 400 ${code}`, async () => {
      assertOfrepError(await config.request("POST", ofrepFlag("static"), { body }), 400, code, "static");
      assertOfrepError(await config.request("POST", OFREP_FLAGS, { body }), 400, code);
    });
  }

  for (const [how, framing, body] of [
    ["at its length", "Content-Length: 100", '{"context":'],
    ["at the end of its JSON, before its length", "Content-Length: 100", "{}"],
    ["in a chunk", "Transfer-Encoding: chunked", '9\r\n{"con'],
    ["before the last chunk", "Transfer-Encoding: chunked", "2\r\n{}\r\n"],
    ["by an invalid chunk", "Transfer-Encoding: chunked", "2\r\n{}\r\nzz\r\n"],
  ]) {
    test(`a body that breaks off ${how} gets 400 PARSE_ERROR`, async () => {
      for (const [path, key] of [[ofrepFlag("static"), "static"], [OFREP_FLAGS]]) {
        assertOfrepError(await config.sendIncomplete(path, { headers: {}, framing, body }), 400, "PARSE_ERROR", key);
      }
    });
  }

  for (const body of [
    undefined,
    "",
    "{}",
    '{"context":{}}',
    ' {"context" : {"targetingKey":""} } ',
    '{"context":{},"other":1}',
    `{"context":{"targetingKey":"${"a".repeat(512)}"}}`,
  ]) {
    test(`the body ${JSON.stringify(body)?.slice(0, 50)} is a context`, async () => {
      assertEvaluated(await config.request("POST", ofrepFlag("static"), { body }), { key: "static", variant: "off", value: false, reason: "STATIC" });
    });
  }

  test("Content-Type is ignored", async () => {
    for (const type of ["text/plain", "application/json; charset=utf-8", ""]) {
      const response = await config.request("POST", ofrepFlag("plan"), { body: '{"context":{"plan":"pro"}}', headers: { "Content-Type": type } });
      assert.equal(response.json().value, true);
    }
  });

  for (const context of [{}, { targetingKey: "" }, { plan: "pro" }]) {
    test(`a rollout needs a targeting key: ${JSON.stringify(context)}`, async () => {
      assertOfrepError(await evaluate("ab", context), 400, "TARGETING_KEY_MISSING", "ab");
    });
  }
});

describe("with a prefix the targeting key is an id as /config has it", async () => {
  const prefixed = await startConfig({ vars: { CONFIG_PREFIX: "user:" } });
  before(async () => {
    await prefixed.putFlags(flags);
    for (const id of ["..", "a".repeat(507)]) await prefixed.putRecord(`user:${id}`, { plan: "pro" });
  });
  const ids = [
    ["..", true],
    [".", true],
    ["507 bytes", true, "a".repeat(507)],
    ["508 bytes", false, "a".repeat(508)],
    ["510 bytes", false, "a".repeat(510)],
    ["170 times three bytes", false, "€".repeat(170)],
  ];
  for (const [what, isId, targetingKey = what] of ids) {
    test(`${what} ${isId ? "is an id" : "is not an id, for every flag"}`, async () => {
      for (const flag of ["static", "plan", "disabled", "unknown"]) {
        const response = await prefixed.evaluate(flag, { targetingKey });
        if (!isId) assertOfrepError(response, 400, "INVALID_CONTEXT", flag);
        else assert.equal(response.status, flag === "unknown" ? 404 : 200);
      }
      const all = await prefixed.evaluateAll({ targetingKey });
      if (isId) assert.equal(all.status, 200);
      else assertOfrepError(all, 400, "INVALID_CONTEXT");
      const page = await prefixed.getPage(targetingKey);
      assert.equal(page.status, isId ? 200 : 400);
    });
  }

  for (const targetingKey of ["..", "a".repeat(507)]) {
    test(`the record of ${targetingKey.slice(0, 5)} counts`, async () => {
      assert.equal((await prefixed.evaluate("plan", { targetingKey })).json().value, true);
    });
  }
});

describe("limits of the body", () => {
  const max = 64 * 1024;
  const body = (length) => '{"context":{"plan":"pro"}}'.padEnd(length, " ");

  for (const [path, key] of [[ofrepFlag("plan"), "plan"], [OFREP_FLAGS]]) {
    test(`${path}: 64 KiB are read, one byte more gets 413`, async () => {
      assert.equal((await config.request("POST", path, { body: body(max) })).status, 200);
      assertOfrepError(await config.request("POST", path, { body: body(max + 1) }), 413, "GENERAL", key);
    });

    test(`${path}: a long chunked body gets 413 too`, async () => {
      const { hostname, port } = config.worker.directUrl;
      const response = await new Promise((resolve, reject) => {
        const request = http.request({ hostname, port, path, method: "POST", headers: { "Transfer-Encoding": "chunked" }, agent: false }, resolve);
        request.on("error", reject).end(body(max * 4));
      });
      const text = Buffer.concat(await response.toArray()).toString();
      assertOfrepError({ status: response.statusCode, headers: response.headers, text, json: () => JSON.parse(text) }, 413, "GENERAL", key);
    });
  }
});

describe("methods", () => {
  for (const path of [ofrepFlag("static"), OFREP_FLAGS]) {
    for (const method of ["GET", "HEAD", "PUT", "DELETE", "PATCH"]) {
      test(`${method} ${path} gets 405`, async () => {
        const response = await config.request(method, path);
        assert.equal(response.status, 405);
        assert.equal(response.headers.allow, "POST, OPTIONS");
        if (method !== "HEAD") assertProblem(response, 405, "method_not_allowed");
      });
    }

    test(`OPTIONS ${path} gets 204`, async () => {
      const response = await config.request("OPTIONS", path);
      assert.equal(response.status, 204);
      assert.equal(response.text, "");
    });
  }
});

// The unmodified OpenFeature clients of npm against the Worker: the server SDK with its OFREP
// provider, and the web SDK in Node.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature } from "@openfeature/server-sdk";
import { ProviderEvents, OpenFeature as Web } from "@openfeature/web-sdk";
import { startConfig } from "./harness/config.mjs";
import { eventually } from "./harness/eventually.mjs";
import { uniqueName } from "./harness/names.mjs";
import { comparableDetails, evaluations, flags, methodFor, putFlagsAndRecords, titleOf } from "./harness/openfeature.mjs";

const config = await startConfig();
const baseUrl = config.worker.directUrl.origin;
before(() => putFlagsAndRecords(config));

describe("the server SDK", () => {
  let client;
  before(async () => {
    await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl }));
    client = OpenFeature.getClient();
  });
  after(() => OpenFeature.close());

  for (const evaluation of evaluations) {
    const [context, flag, fallback, expected] = evaluation;
    test(titleOf(evaluation), async () => {
      assert.deepEqual(comparableDetails(await client[methodFor(fallback)](flag, fallback, context)), expected);
    });
  }

  test("returns plain values", async () => {
    assert.equal(await client.getBooleanValue("plain", false), true);
    assert.equal(await client.getStringValue("greeting", "", { language: "fr" }), "Bonjour «é»");
    assert.equal(await client.getNumberValue("limit", 0), 10);
    assert.deepEqual(await client.getObjectValue("theme", {}), flags.theme.variants.theme);
  });

  for (const flag of ["a b", "a/b", "é", "<script>", "a?b", "x".repeat(200)]) {
    test(`${flag.slice(0, 10)} is an unknown flag`, async () => {
      const { value, errorCode } = await client.getBooleanDetails(flag, true);
      assert.equal(value, true);
      assert.equal(errorCode, "FLAG_NOT_FOUND");
    });
  }

  test("a targeting key that cannot be an id is an invalid context", async () => {
    const { value, errorCode } = await client.getBooleanDetails("plain", false, { targetingKey: "a".repeat(513) });
    assert.deepEqual([value, errorCode], [false, "INVALID_CONTEXT"]);
  });

  test("accepts dates and objects in a context", async () => {
    const context = { targetingKey: "u", since: new Date(0), nested: { a: [1, { b: null }] }, language: "fr" };
    assert.equal((await client.getStringDetails("greeting", "", context)).variant, "fr");
  });

  test("an edit takes effect at the next evaluation, a broken one does not", async () => {
    await config.putFlags({ ...flags, plain: { default: "off" } });
    assert.equal(await client.getBooleanValue("plain", true), false);
    await config.putFlags("{");
    assert.equal(await client.getBooleanValue("plain", true), false);
    await config.putFlags(flags);
    assert.equal(await client.getBooleanValue("plain", false), true);
  });

  test("definitions that were never good are a parse error, a failing KV is a general error", async () => {
    await config.putFlags("{");
    await config.emptyMemory();
    await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: config.worker.directUrl.origin }));
    assert.deepEqual(comparableDetails(await client.getBooleanDetails("plain", false)), { value: false, reason: "ERROR", errorCode: "PARSE_ERROR" });
    await config.putFlags(flags);
    await config.emptyMemory();
    const headers = [["X-Kv-Faults", JSON.stringify({ USER_CONFIGURATION: { get: ["500"] } })]];
    await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: config.worker.directUrl.origin, headers }));
    assert.deepEqual(comparableDetails(await client.getBooleanDetails("plain", false)), { value: false, reason: "ERROR", errorCode: "GENERAL" });
  });
});

describe("the web SDK, in Node", () => {
  /** The provider's requests and their responses. */
  const exchanges = [];
  const recording = async (request, init) => {
    const response = await fetch(request, init);
    exchanges.push({ tag: request.headers.get("If-None-Match"), status: response.status, etag: response.headers.get("ETag") });
    return response;
  };
  const provider = (options) =>
    new OFREPWebProvider({ baseUrl: config.worker.directUrl.origin, cacheMode: "disabled", fetchImplementation: recording, ...options });

  let client;
  before(async () => {
    await putFlagsAndRecords(config);
    await Web.setProviderAndWait(provider());
    client = Web.getClient();
  });
  after(() => Web.close());

  for (const evaluation of evaluations) {
    const [context, flag, fallback, expected] = evaluation;
    test(titleOf(evaluation), async () => {
      await Web.setContext(context);
      assert.deepEqual(comparableDetails(client[methodFor(fallback)](flag, fallback)), expected);
    });
  }

  test("one request serves all flags, and each change of the context sends another one", async () => {
    await Web.setContext({ targetingKey: "pro-user" });
    const before = exchanges.length;
    for (const flag of Object.keys(flags)) client.getBooleanDetails(flag, false);
    assert.equal(exchanges.length, before);
    await Web.setContext({ targetingKey: "free-user" });
    assert.equal(client.getNumberValue("limit", 0), 10);
    assert.equal(exchanges.length, before + 1);
  });

  test("polling gets 304 until an edit, or a new record of the user", async () => {
    const targetingKey = uniqueName("polling");
    const changed = [];
    await Web.setContext({ targetingKey });
    await Web.setProviderAndWait(provider({ pollInterval: 50 }));
    client.addHandler(ProviderEvents.ConfigurationChanged, ({ flagsChanged }) => changed.push(flagsChanged));
    exchanges.length = 0;
    const polls = (status, count) => eventually(() => exchanges.filter((one) => one.status === status).length >= count, `${count} responses ${status}`);
    await polls(304, 3);
    assert.deepEqual(changed, []);
    assert.ok(
      exchanges.every(({ tag, status, etag }) => status === 304 && tag === etag),
      JSON.stringify(exchanges),
    );

    await config.putFlags({ ...flags, plain: { default: "off" } });
    await polls(200, 1);
    await eventually(() => client.getBooleanValue("plain", true) === false, "the edit counts");
    await config.putRecord(targetingKey, { plan: "pro" });
    await polls(200, 2);
    await eventually(() => client.getNumberValue("limit", 0) === 1.5e9, "the record counts");
    assert.deepEqual(changed, [["plain"], ["limit"]]);
    await config.putFlags(flags);
    await polls(200, 3);
  });

  test("if KV fails the provider is stale, and still has its flags", async () => {
    let fails = false;
    const failing = (request, init) => {
      const asked = new Request(
        request,
        fails ? { headers: { ...Object.fromEntries(request.headers), "X-Kv-Faults": '{"USER_CONFIGURATION":"missing"}' } } : {},
      );
      return recording(asked, init);
    };
    await Web.setContext({ targetingKey: "u" });
    await config.emptyMemory();
    await Web.setProviderAndWait(provider({ pollInterval: 50, fetchImplementation: failing }));
    fails = true;
    exchanges.length = 0;
    // Later than definitions in memory may be used in place of KV's.
    await config.advanceClock(2 * 60 * 60);
    await eventually(() => exchanges.some(({ status }) => status === 503), "a response 503");
    await eventually(() => client.providerStatus === "STALE", "the provider is stale");
    assert.equal(client.getBooleanValue("plain", false), true);
    fails = false;
    await eventually(() => exchanges.at(-1).status === 304, "it is as it was");
  });
});

// `kv-edge assets push` against an API that fails, and against one that asks for an account and a
// token.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { filesOfRelease, startNumberedReleases, writingCalls } from "./harness/numbered-releases.mjs";
import { ACCOUNT_ID, apiError, CLOUDFLARE_TOKEN } from "./harness/rest-api.mjs";
import { makeFolder, runTool } from "./harness/tool.mjs";

const { assets, api, pushRelease, recordCalls, assertServes } = await startNumberedReleases();

beforeEach(async () => {
  api.intercept = undefined;
  await assets.delete();
});

describe("an API that fails", () => {
  /** Each call fails the first time; a retry for the same keys passes. */
  const once = (fail) => {
    const failed = new Set();
    return (call, pass) => {
      const keys = /\/bulk/.test(call.path) ? JSON.parse(call.body).map((item) => item.key ?? item) : [];
      const name = [call.method, call.path, ...keys].join(" ");
      if (failed.has(name)) return pass();
      failed.add(name);
      return fail(call, pass);
    };
  };
  for (const [what, intercept] of [
    ["500 to every call once", once(() => apiError(500, 10001, "internal error"))],
    ["502 without JSON to every call once", once(() => ({ status: 502, headers: { "Content-Type": "text/html" }, body: "<h1>Bad gateway</h1>" }))],
    ["429 to every call once, with Retry-After", once(() => apiError(429, 10429, "more than 1200 calls", { "Retry-After": "1" }))],
    ["a cut connection for every call once", once(() => undefined)],
    ["a cut connection for every call once, which was made all the same", once(async (_call, pass) => void (await pass()))],
  ]) {
    test(`${what}: the push completes`, async () => {
      await assets.push(filesOfRelease(1));
      api.intercept = intercept;
      const { code, stderr } = await pushRelease(2);
      api.intercept = undefined;
      assert.equal(code, 0, stderr);
      await assertServes(2);
      assert.deepEqual(await assets.keys("kv-edge:push:"), []);
    });
  }

  test("Retry-After is waited for", async () => {
    let first;
    let waitedMs;
    api.intercept = (_call, pass) => {
      if (first === undefined) {
        first = Date.now();
        return apiError(429, 10429, "slow down", { "Retry-After": "2" });
      }
      waitedMs ??= Date.now() - first;
      return pass();
    };
    assert.equal((await pushRelease(1)).code, 0);
    assert.ok(waitedMs >= 1950, `${waitedMs} ms`);
  });

  test("of a bulk write only the keys that failed are sent again", async () => {
    const bulks = [];
    api.intercept = async ({ method, path, body }, pass) => {
      if (method !== "PUT" || !/\/bulk$/.test(path)) return pass();
      const items = JSON.parse(body);
      if (!items.some(({ key }) => key.startsWith("kv-edge:blob:"))) return pass();
      bulks.push(items.map(({ key }) => key));
      if (bulks.length > 1) return pass();
      await Promise.all(items.slice(0, 2).map(({ key, value, base64 }) => assets.kv.put(key, base64 ? Buffer.from(value, "base64") : value)));
      const unsuccessful_keys = bulks[0].slice(2);
      return { status: 200, body: JSON.stringify({ success: true, errors: [], messages: [], result: { successful_key_count: 2, unsuccessful_keys } }) };
    };
    const { code, stderr } = await pushRelease(1);
    assert.equal(code, 0, stderr);
    assert.ok(bulks[0].length > 2);
    assert.deepEqual(bulks[1].toSorted(), bulks[0].slice(2).sort());
    await assertServes(1);
  });

  test("calls that succeed each within the deadline, but not all of them together: the push completes", async () => {
    api.intercept = async (_call, pass) => (await sleep(500), pass());
    const started = Date.now();
    const { code, stderr } = await assets.run("push", [makeFolder(filesOfRelease(1)), "--deadline", "2"]);
    assert.equal(code, 0, stderr);
    assert.ok(Date.now() - started > 2000);
    api.intercept = undefined;
    await assertServes(1);
  });

  test("writes that keep failing: exit code 1 and an error message soon after --deadline, and the old release stays", async () => {
    await assets.push(filesOfRelease(1));
    api.intercept = (call, pass) => (writingCalls([call]).length > 0 ? apiError(503, 10001, "out of order") : pass());
    const started = Date.now();
    const { code, stderr } = await assets.run("push", [makeFolder(filesOfRelease(2)), "--deadline", "3"]);
    assert.equal(code, 1, stderr);
    assert.ok(Date.now() - started < 300_000, "as long as by the default deadline, 15 minutes");
    assert.match(stderr, /503/);
    await assertServes(1);
  });
});

describe("with the paths of an account of Cloudflare", () => {
  const NAMESPACE = "assets";
  const env = { CLOUDFLARE_API_TOKEN: CLOUDFLARE_TOKEN, CLOUDFLARE_ACCOUNT_ID: ACCOUNT_ID };
  const account = (n, { namespace = NAMESPACE, ...options } = {}) =>
    runTool(["assets", "push", makeFolder(filesOfRelease(n)), "--api-base", api.accountBase, "--namespace", namespace], { env, ...options });

  test("with a token and an account: the push completes, and the token shows nowhere", async () => {
    const { code, stdout, stderr, calls } = await recordCalls(() => account(1));
    assert.equal(code, 0, stderr);
    await assertServes(1);
    assert.ok(calls.every(({ headers }) => headers.authorization === `Bearer ${CLOUDFLARE_TOKEN}`));
    assert.ok(!(stdout + stderr).includes(CLOUDFLARE_TOKEN));
  });

  for (const status of [400, 401, 403]) {
    test(`${status}: exit code 1, an error message, and no second try`, async () => {
      const before = api.calls.length;
      api.intercept = () => apiError(status, 10000, "Authentication error");
      const { code, stdout, stderr } = await account(1);
      assert.equal(code, 1);
      assert.equal(api.calls.length - before, 1);
      assert.match(stderr, /Authentication error/);
      assert.match(stderr, new RegExp(String(status)));
      assert.ok(!(stdout + stderr).includes(CLOUDFLARE_TOKEN));
    });
  }

  test("a response that repeats the token: it is never printed", async () => {
    const before = api.calls.length;
    api.intercept = ({ headers }) => {
      const refused = `proxy refused ${headers.authorization}`;
      const isFirst = api.calls.length - before === 1;
      // The second time the message is cut within the token.
      return isFirst ? apiError(503, 10001, refused, { "Retry-After": "2" }) : apiError(403, 10000, "x".repeat(300 - 25) + refused);
    };
    const { code, stdout, stderr } = await account(1);
    assert.equal(code, 1, stderr);
    assert.equal(stderr.match(/proxy refused Bearer …/g)?.length, 2, stderr);
    assert.ok(!(stdout + stderr).includes(CLOUDFLARE_TOKEN.slice(0, 4)), stderr);
  });

  test("without a token: an error message that names the variable, and no call", async () => {
    const before = api.calls.length;
    const { code, stderr } = await account(1, { env: { CLOUDFLARE_ACCOUNT_ID: ACCOUNT_ID } });
    assert.equal(code, 1);
    assert.match(stderr, /CLOUDFLARE_API_TOKEN/);
    assert.equal(api.calls.length, before);
  });

  test("a namespace that is not there: exit code 1 and its name", async () => {
    const { code, stderr } = await account(1, { namespace: "no-such-namespace" });
    assert.equal(code, 1);
    assert.match(stderr, /there is no namespace "no-such-namespace"/);
  });
});

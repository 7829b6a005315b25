// `kv-edge token`: a token that the tool signs reaches its namespace and prefix through the KV
// REST API, and nothing else, until it is revoked.
import assert from "node:assert/strict";
import { afterEach, before, describe, test } from "node:test";
import { send } from "./harness/http.mjs";
import { apiFor } from "./harness/rest-api.mjs";
import { changingCalls, kindOfCall } from "./harness/rest-api-faults.mjs";
import { runTool } from "./harness/tool.mjs";
import { startWorker, WORKER_TOKEN } from "./harness/worker.mjs";

const NAMESPACES = "/client/v4/accounts/0123456789abcdef0123456789abcdef/storage/kv/namespaces";

/** Returns the result of `kv-edge token create`, by default with the secret of the Worker. */
const create = (args, env = { API_TOKEN: WORKER_TOKEN }) => runTool(["token", "create", ...args], { env });

async function tokenOf(...args) {
  const { code, stdout, stderr } = await create(args);
  assert.equal(code, 0, stderr);
  return stdout.trim();
}

const worker = await startWorker({ restApi: true, vars: { KV_API_WRITABLE: "WRITES,USER_CONFIGURATION", CONFIG_REFRESH: "0" } });
for (const key of ["site/a", "site/b", "other"]) await worker.env.WRITES.put(key, key);

test("with --json, a command of `token` or `routes` that fails writes its error as JSON", async () => {
  for (const args of [
    ["token", "create", "--namespace", "WRITES", "--read"],
    ["token", "revoke", "ci", "--api-base", "http://127.0.0.1:9/client/v4"],
    ["routes", "validate", "--key", "a", "one.json", "two.json"],
  ]) {
    const { code, stdout, stderr } = await runTool([...args, "--json"], { env: {} });
    assert.notEqual(code, 0);
    assert.equal(stderr, `error: ${JSON.parse(stdout).error}\n`, args.join(" "));
  }
});

describe("kv-edge token", () => {
  const call = (token, method, path, body) =>
    send({ url: worker.directUrl }, NAMESPACES + path, { method, body, headers: { Authorization: `Bearer ${token}` } });

  test("a token limited to a prefix reads and lists its keys, and gets 403 for everything else", async () => {
    const token = await tokenOf("--namespace", "WRITES", "--prefix", "site/", "--read", "--name", "reader");
    assert.equal((await call(token, "GET", "/WRITES/values/site%2Fa")).text, "site/a");
    const { result } = (await call(token, "GET", "/WRITES/keys")).json();
    assert.deepEqual(
      result.map(({ name }) => name),
      ["site/a", "site/b"],
    );
    assert.deepEqual(
      (await call(token, "GET", "")).json().result.map(({ title }) => title),
      ["WRITES"],
    );
    for (const [method, path] of [
      ["GET", "/WRITES/values/other"],
      ["GET", "/WRITES/values/absent"],
      ["GET", "/assets/values/site%2Fa"],
      ["GET", "/no-such-namespace/keys"],
      ["PUT", "/WRITES/values/site%2Fa"],
      ["DELETE", "/WRITES/values/site%2Fa"],
      ["DELETE", "/WRITES"],
      ["POST", ""],
    ]) {
      const response = await call(token, method, path);
      assert.deepEqual([response.status, response.json().errors[0].code], [403, 10000], `${method} ${path}`);
    }
  });

  test("a token with --write writes only within its scope", async () => {
    const token = await tokenOf("--namespace", "WRITES", "--prefix", "site/", "--read", "--write");
    assert.equal((await call(token, "PUT", "/WRITES/values/site%2Fnew", "x")).status, 200);
    assert.equal(await worker.env.WRITES.get("site/new"), "x");
    assert.equal(
      (
        await call(
          token,
          "PUT",
          "/WRITES/bulk",
          JSON.stringify([
            { key: "site/c", value: "" },
            { key: "elsewhere", value: "" },
          ]),
        )
      ).status,
      403,
    );
    assert.equal(await worker.env.WRITES.get("site/c"), null);
  });

  test("a revoked token is refused, and so is one signed with another secret", async () => {
    const token = await tokenOf("--namespace", "WRITES", "--read", "--name", "leaked");
    assert.equal((await call(token, "GET", "/WRITES/keys")).status, 200);
    const revoke = () =>
      runTool(["token", "revoke", "leaked", "--namespace", "USER_CONFIGURATION", "--api-base", new URL("/client/v4", worker.directUrl).href, "--json"], {
        env: { CLOUDFLARE_API_TOKEN: WORKER_TOKEN, CLOUDFLARE_ACCOUNT_ID: "demo" },
      });
    assert.deepEqual(JSON.parse((await revoke()).stdout), { revoked: "leaked", changed: true, dryRun: false });
    assert.deepEqual(JSON.parse((await revoke()).stdout), { revoked: "leaked", changed: false, dryRun: false });
    assert.equal(await worker.env.USER_CONFIGURATION.get("kv-edge:revoked-tokens"), '["leaked"]');
    assert.equal((await call(token, "GET", "/WRITES/keys")).status, 401);

    const { stdout } = await create(["--namespace", "WRITES", "--read"], { API_TOKEN: "another secret" });
    assert.equal((await call(stdout.trim(), "GET", "/WRITES/keys")).status, 401);
  });

  describe("revocations at the same time", () => {
    const revoke = ({ base }, name) => runTool(["token", "revoke", name, "--api-base", base]);
    let api;
    before(async () => (api = await apiFor(worker)));
    afterEach(() => (api.intercept = undefined));

    test("none is lost if several read the same list before one of them writes", async () => {
      const names = ["first", "second", "third"];
      await worker.env.USER_CONFIGURATION.put("kv-edge:revoked-tokens", '["earlier"]');
      const { promise: allHaveRead, resolve } = Promise.withResolvers();
      let readers = 0;
      api.intercept = async (call, pass) => {
        const reply = await pass();
        if (kindOfCall(call) === "read") {
          readers += 1;
          if (readers === names.length) resolve();
          await allHaveRead;
        }
        return reply;
      };
      for (const { code, stderr } of await Promise.all(names.map((name) => revoke(api, name)))) assert.equal(code, 0, stderr);
      assert.deepEqual(await worker.env.USER_CONFIGURATION.get("kv-edge:revoked-tokens", "json"), ["earlier", ...names]);
    });

    test("if KV keeps showing another list, the command fails after four writes and says what to do", async () => {
      let writes = 0;
      api.intercept = async (call, pass) => {
        if (kindOfCall(call) === "read") return { status: 200, body: '["other"]' };
        writes += changingCalls([call]).length;
        return pass();
      };
      const { code, stdout, stderr } = await revoke(api, "hidden");
      assert.deepEqual([code, stdout, writes], [1, "", 4]);
      assert.match(stderr, /was written 4 times, .*run this again in a minute/);
      assert.deepEqual(await worker.env.USER_CONFIGURATION.get("kv-edge:revoked-tokens", "json"), ["hidden", "other"]);
    });
  });

  test("--json says what the token allows; the error for a wrong argument says what to do", async () => {
    const { stdout } = await create(["--namespace", "assets", "--read", "--expires", "1h", "--name", "ci", "--json"]);
    const { token, expires, ...rest } = JSON.parse(stdout);
    assert.deepEqual(rest, { name: "ci", namespace: "assets", prefix: "", read: true, write: false });
    assert.ok(Math.abs(expires - Date.now() / 1000 - 3600) < 60, `${expires}`);
    assert.equal(token.split(".").length, 3);
    for (const [args, env, message] of [
      [["--namespace", "assets", "--read"], { API_TOKEN: "" }, /set TOKEN_SECRET, or API_TOKEN/],
      [["--namespace", "assets"], undefined, /--read/],
      [["--namespace", "assets", "--read", "--expires", "soon"], undefined, /not a duration/],
      [["--namespace", "assets", "--read", "--expires", "9999d"], undefined, /ten years/],
      [["--namespace", "assets", "--read", "--prefix", "p".repeat(4000)], undefined, /too long/],
      [["--namespace", "assets", "--read", "--name", "a b"], undefined, /1 to 64 characters/],
    ]) {
      const result = await create(args, env);
      assert.equal(result.code, 2, result.stderr);
      assert.match(result.stderr, message);
    }
  });
});

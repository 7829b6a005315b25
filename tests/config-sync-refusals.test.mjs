// `kv-edge config sync` against an API that fails or refuses: what is retried and reported, and
// what KV has then. `run` of the fixture checks that no output has the token, even if an error
// repeats it.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assertFigures, makeRows, startSync, tableWithPendingChanges, userId } from "./harness/config-sync.mjs";
import { ACCOUNT_ID, apiError, CLOUDFLARE_TOKEN } from "./harness/rest-api.mjs";
import { acceptSomeItems, changingCalls, failFirstTry, keysOfCall, kindOfCall } from "./harness/rest-api-faults.mjs";

const sync = await startSync();
const { api } = sync;

beforeEach(() => {
  api.intercept = undefined;
});

describe("an API that fails or refuses", () => {
  test("the run ends after its --deadline with exit code 1, and the next one completes the work", async () => {
    const { users, args, assertAllSynced } = await tableWithPendingChanges(sync);
    api.intercept = (call, pass) => (changingCalls([call]).length > 0 ? apiError(503, 10001, "out of order") : pass());
    const started = Date.now();
    const { code, summary, stderr } = await users.run([...args, "--deadline", "2"]);
    assert.ok(Date.now() - started < 300_000, "it took minutes, as with the default deadline");
    assert.equal(code, 1, stderr);
    assert.equal(summary.written, 0);
    assert.ok(summary.failed >= 10);
    assert.match(summary.problems.join("\n"), /503/);
    api.intercept = undefined;
    await users.sync(args, { written: 10, deleted: 2, failed: 0 });
    await assertAllSynced();
  });

  test("for some keys: these count as failed, the others are written", async () => {
    const users = await sync.table(makeRows(12));
    const bad = [userId("00003"), userId("00011")].map((id) => users.prefix + id);
    api.intercept = (call, pass) => (kindOfCall(call) === "write" ? acceptSomeItems(api, call, pass, ({ key }) => !bad.includes(key)) : pass());
    const result = await users.run(["--deadline", "3"]);
    assert.equal(result.code, 1);
    assertFigures(result, { read: 12, written: 10, failed: 2 });
    api.intercept = undefined;
    await users.sync([], { written: 2, unchanged: 10, failed: 0 });
    await users.assertSynced();
  });

  for (const status of [400, 413]) {
    test(`${status} to a bulk write: no second try, and the other batches go on`, async () => {
      const users = await sync.table(makeRows(1100));
      let first;
      api.intercept = (call, pass) => {
        if (kindOfCall(call) !== "write") return pass();
        first ??= call;
        return first === call ? apiError(status, 10000, `refused because of "${keysOfCall(call)[0]}"`) : pass();
      };
      const { code, summary, stderr, calls } = await users.run();
      assert.equal(code, 1, stderr);
      assert.equal(calls.filter((call) => kindOfCall(call) === "write").length, 2);
      const refused = keysOfCall(first).length;
      assert.deepEqual([summary.written, summary.failed], [1100 - refused, refused]);
      assert.match(summary.problems.join("\n"), new RegExp(status));
      api.intercept = undefined;
      await users.sync([], { written: refused, failed: 0 });
      await users.assertSynced();
    });
  }

  for (const status of [401, 403]) {
    test(`${status} to the bulk writes: no second try, and after those under way there are no more`, async () => {
      const users = await sync.table(makeRows(9000));
      api.intercept = async (call, pass) =>
        kindOfCall(call) === "write" ? (await sleep(200), apiError(status, 10000, `refused because of "${keysOfCall(call)[0]}"`)) : pass();
      const { code, stderr, calls } = await users.run();
      assert.equal(code, 1, stderr);
      const writes = calls.filter((call) => kindOfCall(call) === "write").map((call) => keysOfCall(call)[0]);
      assert.ok(writes.length <= 4, `${writes.length} calls`);
      assert.equal(new Set(writes).size, writes.length);
      assert.equal(calls.filter((call) => kindOfCall(call) === "delete").length, 0);
      assert.match(stderr, new RegExp(status));
    });
  }

  for (const status of [400, 401, 403, 404, 413]) {
    test(`${status} to every call: exit code 1 after one call`, async () => {
      const users = await sync.table(makeRows(5));
      api.intercept = ({ headers }) => apiError(status, 10000, `refused ${headers.authorization}`);
      const env = { CLOUDFLARE_API_TOKEN: CLOUDFLARE_TOKEN, CLOUDFLARE_ACCOUNT_ID: ACCOUNT_ID };
      const withoutAccount = await users.run();
      const withAccount = await sync.run([...users.arguments("--json"), "--api-base", api.accountBase, "--namespace", sync.namespace], { env, api: false });
      for (const { code, stderr, calls } of [withoutAccount, withAccount]) {
        assert.equal(code, 1, stderr);
        assert.equal(calls.length, 1);
        assert.match(stderr, new RegExp(status));
      }
    });
  }

  test("401 to the list: it stops, and nothing is written", async () => {
    const users = await sync.table(makeRows(5));
    api.intercept = (call, pass) => (kindOfCall(call) === "list" ? apiError(401, 10000, "Authentication error") : pass());
    const { code, calls } = await users.run();
    assert.equal(code, 1);
    assert.equal(calls.filter((call) => kindOfCall(call) === "list").length, 1);
    assert.deepEqual(changingCalls(calls), []);
  });
});

test("with the paths of an account of Cloudflare and a token, the run completes though first tries fail", async () => {
  const { users, args, assertAllSynced } = await tableWithPendingChanges(sync);
  const env = { CLOUDFLARE_API_TOKEN: CLOUDFLARE_TOKEN, CLOUDFLARE_ACCOUNT_ID: ACCOUNT_ID };
  api.intercept = failFirstTry(() => apiError(500, 10001, `proxy refused Bearer ${CLOUDFLARE_TOKEN}`));
  const { code, stderr, stdout, calls } = await sync.run([...users.arguments(...args), "--api-base", api.accountBase, "--namespace", sync.namespace], {
    env,
    api: false,
  });
  assert.equal(code, 0, stdout + stderr);
  assert.ok(calls.every(({ headers }) => headers.authorization === `Bearer ${CLOUDFLARE_TOKEN}`));
  await assertAllSynced();
});

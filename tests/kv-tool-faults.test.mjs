// `kv-edge kv` against an API that fails for a while: the command completes, or leaves what
// --resume needs; and which runs --resume refuses to continue.
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { beforeEach, describe, test } from "node:test";
import { makePairs, movingCommands, startKvTool } from "./harness/kv-tool.mjs";
import { apiError } from "./harness/rest-api.mjs";
import { acceptSomeItems, changingCalls, failFirstTry, keysOfCall, kindOfCall } from "./harness/rest-api-faults.mjs";

const tool = await startKvTool();
const { api } = tool;
const COMMANDS = movingCommands(tool);

beforeEach(() => {
  api.intercept = undefined;
});

/** Returns an interceptor that accepts half of the items of the first bulk call. */
function leaveOutHalfOnce() {
  let bulkCalls = 0;
  return (call, pass) => {
    if (changingCalls([call]).length === 0) return pass();
    bulkCalls += 1;
    return bulkCalls === 1 ? acceptSomeItems(api, call, pass, (_, index) => index % 2 === 0) : pass();
  };
}

const figuresOf = ({ calls: _calls, seconds: _seconds, dryRun: _dryRun, bytes: _bytes, ...figures }) => figures;

describe("an API that fails", () => {
  for (const [what, makeInterceptor] of [
    ["500 to every call, once", () => failFirstTry(() => apiError(500, 10001, "internal error"))],
    [
      "502 without JSON to every call once",
      () => failFirstTry(() => ({ status: 502, headers: { "Content-Type": "text/html" }, body: "<h1>Bad gateway</h1>" })),
    ],
    ["429 to every call once, with Retry-After", () => failFirstTry(() => apiError(429, 10429, "more than 1200 calls", { "Retry-After": "1" }))],
    ["a cut connection for every call once", () => failFirstTry(() => undefined)],
    ["a cut connection for every call once, which was made all the same", () => failFirstTry(async (_call, pass) => void (await pass()))],
    ["a bulk call leaves out half of its keys", () => leaveOutHalfOnce()],
  ]) {
    test(`${what}: the command completes`, async () => {
      for (const start of Object.values(COMMANDS)) {
        api.intercept = undefined;
        const { args, assertDone, figures } = await start(24);
        api.intercept = makeInterceptor();
        const { json } = await tool.succeed([...args, "--json"], { account: true });
        assert.deepEqual(figuresOf(json), figures);
        await assertDone();
      }
      api.intercept = undefined;
      const target = tool.namespace();
      await target.put(target.prefixed(makePairs(24)));
      api.intercept = makeInterceptor();
      await tool.succeed(["delete", ...target.name, ...target.keys, "--yes"], { account: true });
      await target.assertHas([]);
    });
  }

  test("calls wait when the rate limit says that none is left", async () => {
    const target = tool.namespace();
    const times = [];
    api.intercept = (call, pass) => {
      if (kindOfCall(call) !== "write") return pass();
      times.push(Date.now());
      const result = { successful_key_count: keysOfCall(call).length, unsuccessful_keys: [] };
      const body = JSON.stringify({ success: true, errors: [], messages: [], result });
      return { status: 200, headers: { "Content-Type": "application/json", Ratelimit: '"default";r=0;t=3', "Ratelimit-Policy": '"burst";q=1200;w=300' }, body };
    };
    const { stderr } = await tool.succeed(["import", tool.writeInput(target.prefixed(makePairs(5500))), ...target.name], { account: true });
    // Three calls may begin before the first response.
    assert.equal(times.length, 6);
    assert.ok(times[3] - times[0] >= 2900, `${times} ${stderr}`);
    assert.match(stderr, /the rate limit of the API is reached: waiting 3 s/);
  });

  test("an error that no retry mends ends the command and leaves what --resume needs", async () => {
    for (const [command, start] of Object.entries(COMMANDS)) {
      api.intercept = undefined;
      const { args, assertDone, figures } = await start(command === "import" ? 1050 : 220);
      let calls = 0;
      api.intercept = (_call, pass) => {
        calls += 1;
        return calls > (command === "import" ? 3 : 5) ? apiError(403, 10000, "Authentication error") : pass();
      };
      await tool.fail(args, 1, 'the permission "Workers KV Storage: Edit"', { account: true });
      api.intercept = undefined;
      const { json } = await tool.succeed([...args, "--resume", "--json"], { account: true });
      assert.deepEqual(figuresOf(json), figures);
      await assertDone();
    }
  });
});

test("a list that does not say whether there are more keys ends the command: it does not look complete", async () => {
  const source = tool.namespace();
  api.intercept = (call, pass) => {
    const body = JSON.stringify({ success: true, errors: [], messages: [], result: [{ name: "a" }] });
    return kindOfCall(call) === "list" ? { status: 200, headers: { "Content-Type": "application/json" }, body } : pass();
  };
  await tool.fail(["ls", ...source.name], 1, "200");
});

describe("what is not resumed", () => {
  /** Interrupts a command once it has saved how far it got. */
  async function interrupted(start, count) {
    const started = await start(count);
    let child;
    api.intercept = async (call, pass) => {
      if (changingCalls([call]).length > 0 || existsSync(`${started.args.at(-1)}.state`)) child.kill("SIGKILL");
      return pass();
    };
    const { signal } = await tool.run(started.args, { account: true, running: (started) => (child = started) });
    assert.equal(signal, "SIGKILL");
    api.intercept = undefined;
    return started;
  }

  test("an import of a file that has changed", async () => {
    const { args } = await interrupted(COMMANDS.import, 1050);
    const file = args[1];
    const before = readFileSync(file, "utf8");
    writeFileSync(file, before.replace("value 1", "value X"));
    await tool.fail([...args, "--resume"], 1, `${file}.state is the state of another run`, { account: true });
    writeFileSync(file, before);
    await tool.fail([...args, "--resume", "--skip"], 1, "is the state of another run", { account: true });
    await tool.fail(args, 1, "an earlier run was interrupted, and --resume continues it", { account: true });
    await tool.succeed([...args, "--resume"], { account: true });
  });

  test("an export of another namespace, format or prefix, or one whose partial file is damaged", async () => {
    const { args, assertDone } = await interrupted(COMMANDS.export, 2000);
    const file = args.at(-1);
    assert.ok(existsSync(`${file}.partial`) && !existsSync(file));
    const other = ["export", "--namespace", "USERS_NOTIFICATION_CONFIG", ...args.slice(3), "--resume"];
    for (const changed of [other, [...args, "--resume", "--format", "json"]]) {
      await tool.fail(changed, 1, `${file}.state is the state of another run`, { account: true });
    }
    writeFileSync(`${file}.partial`, "");
    await tool.fail([...args, "--resume"], 1, "it is shorter than the interrupted export left it", { account: true });
    writeFileSync(`${file}.state`, "{");
    await tool.fail([...args, "--resume"], 1, "is not the state of this command", { account: true });
    await tool.succeed(args, { account: true });
    await assertDone();
  });

  test("an import from stdin", async () => {
    await tool.fail(["import", "-", "--namespace", "WRITES", "--resume"], 2, "--resume needs a regular file", { input: "" });
  });
});

// `kv-edge kv` against an API that fails for a while, and killed at any time: after it, or after a
// run with --resume, nothing is lost and nothing is doubled.
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { beforeEach, describe, test } from "node:test";
import { assertNoLeftovers, exportedPairs, makePairs, refuseBinaryBulkReads, startKvTool, summaryOf } from "./harness/kv-tool.mjs";
import { acceptSomeItems, changingCalls, failFirstTry, keysOfCall, kindOfCall, randomFaults, randomNumbers } from "./harness/rest-api-faults.mjs";
import { apiError } from "./harness/site.mjs";

const tool = await startKvTool();
const { api } = tool;

beforeEach(() => {
  api.intercept = undefined;
});

/**
 * Returns each command with work to do: its arguments, what checks that all of it is done, and
 * whether the API is that of an account. The state of a copy is in a file that it names.
 */
const COMMANDS = {
  async export(count) {
    const source = tool.namespace();
    const pairs = source.prefixed(makePairs(count));
    await source.put(pairs);
    const file = tool.file();
    const assertDone = () => {
      assert.deepEqual(summaryOf(exportedPairs(file)), summaryOf(pairs));
      assertNoLeftovers(file);
    };
    return { args: ["export", ...source.name, ...source.keys, "--output", file], assertDone, namespace: source, figures: { pairs: count, gone: 0 } };
  },
  async import(count) {
    const target = tool.namespace();
    const pairs = target.prefixed(makePairs(count));
    const file = tool.writeInput(pairs);
    const assertDone = async () => {
      await target.assertHas(pairs);
      assertNoLeftovers(file);
    };
    return { args: ["import", file, ...target.name], assertDone, namespace: target, figures: { read: count, written: count, skipped: 0, expired: 0 } };
  },
  async copy(count) {
    const source = tool.namespace();
    const target = tool.namespace("USERS_NOTIFICATION_CONFIG", source.prefix);
    const pairs = source.prefixed(makePairs(count));
    await source.put(pairs);
    const state = tool.file("state");
    const assertDone = async () => {
      await target.assertHas(pairs);
      assert.ok(!existsSync(state));
    };
    const args = ["copy", ...source.name, "--to-namespace", target.binding, ...source.keys, "--state", state];
    return { args, assertDone, namespace: source, figures: { read: count, written: count, skipped: 0, expired: 0 } };
  },
};

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

describe("an API that fails for a while: the command completes", () => {
  for (const [what, makeInterceptor] of [
    ["500 to every call once", () => failFirstTry(() => apiError(500, 10001, "internal error"))],
    [
      "502 without JSON to every call once",
      () => failFirstTry(() => ({ status: 502, headers: { "Content-Type": "text/html" }, body: "<h1>Bad gateway</h1>" })),
    ],
    ["429 to every call once, with Retry-After", () => failFirstTry(() => apiError(429, 10429, "more than 1200 calls", { "Retry-After": "1" }))],
    ["a cut connection for every call once", () => failFirstTry(() => undefined)],
    ["a cut connection for every call once, which was made all the same", () => failFirstTry(async (_call, pass) => void (await pass()))],
    ["a bulk call leaves out half of its keys", () => leaveOutHalfOnce()],
  ]) {
    test(what, async () => {
      for (const start of Object.values(COMMANDS)) {
        api.intercept = undefined;
        const { args, assertDone, figures } = await start(60);
        api.intercept = makeInterceptor();
        const { json } = await tool.succeed([...args, "--json"], { account: true });
        assert.deepEqual(figuresOf(json), figures);
        await assertDone();
      }
      api.intercept = undefined;
      const target = tool.namespace();
      await target.put(target.prefixed(makePairs(60)));
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
      const { args, assertDone, figures } = await start(1300);
      let calls = 0;
      api.intercept = (_call, pass) => {
        calls += 1;
        return calls > (command === "import" ? 3 : 10) ? apiError(403, 10000, "Authentication error") : pass();
      };
      await tool.fail(args, 1, 'the permission "Workers KV Storage: Edit"', { account: true });
      api.intercept = undefined;
      const { json } = await tool.succeed([...args, "--resume", "--json"], { account: true });
      assert.deepEqual(figuresOf(json), figures);
      await assertDone();
    }
  });
});

describe("killed and resumed: nothing is lost and nothing is doubled", () => {
  for (const [command, start] of Object.entries(COMMANDS)) {
    for (const when of ["before", "after"]) {
      test(`${command}, killed at later and later calls, ${when} they take effect`, async () => {
        const { args, assertDone, namespace } = await start(1300);
        const refuse = refuseBinaryBulkReads(namespace);
        let kills = 0;
        for (let nth = 1; ; nth = Math.ceil(nth * 1.6) + 1) {
          let process;
          let calls = 0;
          api.intercept = async (call, pass) => {
            calls += 1;
            if (calls < nth) return refuse(call, pass);
            if (when === "after") await pass();
            process.kill("SIGKILL");
            return undefined;
          };
          const { signal, code, stdout, stderr } = await tool.run([...args, "--resume"], { account: true, running: (child) => (process = child) });
          if (signal === null) {
            assert.equal(code, 0, stdout + stderr);
            break;
          }
          kills += 1;
        }
        assert.ok(kills >= 2, `${kills} kills`);
        await assertDone();
      });
    }

    test(`${command}, killed at random times`, async () => {
      const { args, assertDone } = await start(1300);
      const random = randomNumbers(command.length);
      let kills = 0;
      let last;
      while (last?.code !== 0 && kills < 12) {
        const running = (child) => {
          const timer = setTimeout(() => child.kill("SIGKILL"), 50 + random(600));
          child.on("exit", () => clearTimeout(timer));
        };
        last = await tool.run([...args, "--resume"], { running });
        kills += last.signal === null ? 0 : 1;
      }
      assert.ok(kills > 0);
      if (last.code !== 0) await tool.succeed([...args, "--resume"]);
      await assertDone();
    });

    for (const seed of [21, 22]) {
      test(`${command}, under a random schedule of faults and kills (${seed})`, async () => {
        const { args, assertDone } = await start(300);
        const random = randomNumbers(seed);
        let last;
        for (let run = 0; run < 6 && last?.code !== 0; run += 1) {
          const fail = randomFaults(api, random);
          let process;
          api.intercept = (call, pass) => {
            if (random(12) === 0) process.kill("SIGKILL");
            return fail(call, pass);
          };
          last = await tool.run([...args, "--resume"], { account: true, running: (child) => (process = child) });
        }
        api.intercept = undefined;
        if (last.code !== 0) await tool.succeed([...args, "--resume"], { account: true });
        await assertDone();
      });
    }
  }

  test("delete, killed at each call: another run deletes the rest", async () => {
    const target = tool.namespace();
    await target.put(target.prefixed(makePairs(2100)));
    let kills = 0;
    for (let nth = 3; ; nth += 2) {
      let process;
      let calls = 0;
      api.intercept = (_call, pass) => {
        calls += 1;
        if (calls >= nth) process.kill("SIGKILL");
        return pass();
      };
      const { signal } = await tool.run(["delete", ...target.name, ...target.keys, "--yes"], { running: (child) => (process = child) });
      if (signal === null) break;
      kills += 1;
    }
    assert.ok(kills > 0);
    await target.assertHas([]);
  });

  test("a resumed export reads only what is missing", async () => {
    const { args, assertDone } = await COMMANDS.export(2100);
    let process;
    let calls = 0;
    api.intercept = (_call, pass) => {
      calls += 1;
      if (calls === 1500) process.kill("SIGKILL");
      return pass();
    };
    await tool.run(args, { running: (child) => (process = child) });
    api.intercept = undefined;
    const rest = await tool.succeed([...args, "--resume"]);
    assert.ok(rest.calls.length < 1200, `${rest.calls.length} calls`);
    await assertDone();
  });
});

describe("what is not resumed", () => {
  /** Interrupts a command once it has saved how far it came. */
  async function interrupted(start, count) {
    const started = await start(count);
    let process;
    api.intercept = async (call, pass) => {
      if (changingCalls([call]).length > 0 || existsSync(`${started.args.at(-1)}.state`)) process.kill("SIGKILL");
      return pass();
    };
    const { signal } = await tool.run(started.args, { account: true, running: (child) => (process = child) });
    assert.equal(signal, "SIGKILL");
    api.intercept = undefined;
    return started;
  }

  test("an import of a file that has changed", async () => {
    const { args } = await interrupted(COMMANDS.import, 1300);
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
    const { args, assertDone } = await interrupted(COMMANDS.export, 3000);
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
    await tool.fail(["import", "-", "--namespace", "WRITES", "--resume"], 2, "--resume needs a file", { input: "" });
  });
});

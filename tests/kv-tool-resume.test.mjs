// `kv-edge kv`, killed at any time: after a run with --resume, nothing is lost and nothing is
// doubled.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { makePairs, movingCommands, refuseBinaryBulkReads, startKvTool } from "./harness/kv-tool.mjs";
import { changingCalls, randomFaults, randomNumbers } from "./harness/rest-api-faults.mjs";

const tool = await startKvTool();
const { api } = tool;
const COMMANDS = movingCommands(tool);

/** How many pairs each command moves: two batches of an import, many reads of the others. */
const COUNTS = { export: 220, import: 1050, copy: 220 };

beforeEach(() => {
  api.intercept = undefined;
});

describe("killed and resumed: nothing is lost and nothing is doubled", () => {
  for (const [command, start] of Object.entries(COMMANDS)) {
    for (const when of ["before", "after"]) {
      test(`${command}, killed at later and later calls, ${when} they take effect`, async () => {
        const { args, assertDone, namespace } = await start(COUNTS[command]);
        const refuse = refuseBinaryBulkReads(namespace);
        let kills = 0;
        for (let nth = 1; ; nth = Math.ceil(nth * 1.6) + 1) {
          let child;
          let calls = 0;
          api.intercept = async (call, pass) => {
            calls += 1;
            if (calls < nth) return refuse(call, pass);
            if (when === "after") await pass();
            child.kill("SIGKILL");
            return undefined;
          };
          const { signal, code, stdout, stderr } = await tool.run([...args, "--resume"], { account: true, running: (started) => (child = started) });
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
      const { args, assertDone } = await start(COUNTS[command]);
      // So that a fast machine does not finish before the first kill.
      api.intercept = async (_call, pass) => {
        await sleep(30);
        return pass();
      };
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
        const { args, assertDone } = await start(150);
        const random = randomNumbers(seed);
        let last;
        for (let run = 0; run < 6 && last?.code !== 0; run += 1) {
          const fail = randomFaults(api, random);
          let child;
          api.intercept = (call, pass) => {
            if (random(12) === 0) child.kill("SIGKILL");
            return fail(call, pass);
          };
          last = await tool.run([...args, "--resume"], { account: true, running: (started) => (child = started) });
        }
        api.intercept = undefined;
        if (last.code !== 0) await tool.succeed([...args, "--resume"], { account: true });
        await assertDone();
      });
    }
  }

  test("delete, killed at later and later calls: another run, without --resume, deletes the rest", async () => {
    const target = tool.namespace();
    await target.put(target.prefixed(makePairs(1100)));
    let kills = 0;
    for (let nth = 3; ; nth += 2) {
      let child;
      let calls = 0;
      api.intercept = (_call, pass) => {
        calls += 1;
        if (calls >= nth) child.kill("SIGKILL");
        return pass();
      };
      const { signal } = await tool.run(["delete", ...target.name, ...target.keys, "--yes"], { running: (started) => (child = started) });
      if (signal === null) break;
      kills += 1;
    }
    assert.ok(kills > 0);
    await target.assertHas([]);
  });

  for (const command of ["import", "copy"]) {
    test(`${command} --skip: what an interrupted run wrote counts as written, not as skipped`, async () => {
      const { args, assertDone, namespace, figures } = await COMMANDS[command](3200);
      const existing = namespace.prefixed(makePairs(3200)).filter((_pair, at) => at % 8 === 0);
      await tool.namespace(command === "copy" ? "USERS_NOTIFICATION_CONFIG" : namespace.binding, namespace.prefix).put(existing);
      const refuse = refuseBinaryBulkReads(namespace);
      for (const writes of [1, 2]) {
        let child;
        let left = writes;
        api.intercept = async (call, pass) => {
          if (changingCalls([call]).length === 0) return refuse(call, pass);
          left -= 1;
          if (left < 0) return undefined;
          const reply = await pass();
          if (left > 0) return reply;
          child.kill("SIGKILL");
          return undefined;
        };
        const { signal } = await tool.run([...args, "--skip", "--resume"], { account: true, running: (started) => (child = started) });
        assert.equal(signal, "SIGKILL");
      }
      api.intercept = refuse;
      const { json } = await tool.succeed([...args, "--skip", "--resume", "--json"], { account: true });
      const { read, written, skipped, expired } = json;
      assert.deepEqual({ read, written, skipped, expired }, { ...figures, written: 2800, skipped: 400 });
      await assertDone();
    });
  }

  test("a resumed export reads what is missing, not all again", async () => {
    const { args, assertDone } = await COMMANDS.export(1250);
    let child;
    let calls = 0;
    api.intercept = (_call, pass) => {
      calls += 1;
      if (calls === 1150) child.kill("SIGKILL");
      return pass();
    };
    await tool.run(args, { running: (started) => (child = started) });
    api.intercept = undefined;
    const rest = await tool.succeed([...args, "--resume"]);
    // The position is saved once a second, during which a fast machine makes hundreds of calls.
    assert.ok(rest.calls.length < 1000, `${rest.calls.length} calls`);
    await assertDone();
  });
});

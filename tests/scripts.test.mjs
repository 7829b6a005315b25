// `npm start` and `npm test` before anything runs: ports in use, words of the command line, closed
// pipes. `npx kv-edge`: it passes on output, exit code and signals.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { atPort, portsAfter } from "../demo/upstreams.mjs";
import { requireFreePorts } from "../scripts/ports.mjs";
import { ROOT } from "../scripts/run.mjs";

const portsOf = (port) => ({ "kv-edge": port, ...portsAfter(port) });

/** Listens on a port, or on any free one, and returns it. */
async function listen(port = 0) {
  const server = createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  after(() => server.close());
  return server.address().port;
}

/**
 * Runs a program to its end: `{ code, stdout, stderr }`. `closed` names output streams that nobody
 * reads.
 */
async function run(command, args, { cwd = ROOT, closed = [], env = {} } = {}) {
  // npm would look for a newer npm, and wait for the registry.
  const child = spawn(command, args, { cwd, env: { ...process.env, npm_config_update_notifier: "false", ...env } });
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) {
    if (closed.includes(name)) child[name].destroy();
    else child[name].setEncoding("utf8").on("data", (chunk) => (text[name] += chunk));
  }
  const [code] = await once(child, "close");
  return { code, ...text };
}

describe("the ports of `npm start`", () => {
  for (const name of ["kv-edge", "article", "storefrontB"]) {
    test(`that of ${name} is in use: others are proposed, and all of them are free`, async () => {
      const taken = await listen();
      const port = taken - (portsOf(0)[name] ?? 0);
      const failure = await requireFreePorts(port, portsOf).then(
        () => assert.fail("it is free"),
        (error) => error,
      );
      assert.match(failure.message, /^Port \d+ \(.+\) is occupied: stop the program that listens there .*`npm start -- --port \d+`/);
      const proposed = Number(failure.message.match(/--port (\d+)`/)[1]);
      await requireFreePorts(proposed, portsOf);
    });
  }

  test("atPort moves every port in the records and in the page of the demo", () => {
    const written = (path) => readFileSync(join(ROOT, path), "utf8");
    for (const path of ["demo/storefronts.json", "static/index.html"]) {
      assert.equal(atPort(written(path), 8787), written(path));
      const moved = atPort(written(path), 8788); // each port becomes one that another one had
      const count = (text, port) => text.split(`:${port}`).length - 1;
      for (const port of [8787, 8788, 8789, 8790]) assert.equal(count(moved, port + 1), count(written(path), port), `${path}: ${port}`);
    }
  });

  for (const port of ["0", "65533", "x", "8787.5"]) {
    test(`--port ${port}: an error message`, async () => {
      const { code, stdout, stderr } = await run("node", ["scripts/start.mjs", "--port", port]);
      assert.deepEqual([code, stdout], [1, ""]);
      assert.match(stderr, /^\nkv-edge: --port takes a number from 1 to 65532/);
    });
  }
});

test("`npm test` refuses words for a stage that has no files to choose from", async () => {
  const { code, stdout, stderr } = await run("node", ["scripts/test.mjs", "--only", "docs,fmt", "config"]);
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, /^\nkv-edge: The stage fmt takes no words such as "config"\./);
});

test("a script shows what a program writes to a pipe", async () => {
  const script = `import { run } from "./scripts/run.mjs"; await run("echo", ["shown"], { doing: "the test", stdio: ["ignore", "pipe", "pipe"] });`;
  assert.deepEqual(await run("node", ["--input-type=module", "--eval", script]), { code: 0, stdout: "shown\n", stderr: "" });
});

describe("a closed pipe", () => {
  test("at stdout ends a script as it ends other programs, without a stack", async () => {
    assert.deepEqual(await run("node", ["scripts/start.mjs", "--help"], { closed: ["stdout"] }), { code: 141, stdout: "", stderr: "" });
  });

  test("at stderr keeps the exit code of the script", async () => {
    assert.equal((await run("node", ["scripts/start.mjs", "--port", "x"], { closed: ["stderr"] })).code, 1);
  });
});

describe("`npx kv-edge`", () => {
  const validate = ["config", "validate", "flags.json", "--json"];
  const cwd = join(ROOT, "demo");

  test("has the tool's output and exit code, in any folder of the project", async () => {
    const { code, stdout } = await run("npx", ["kv-edge", ...validate], { cwd });
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout), { files: [{ file: "flags.json", flags: 4, faults: [], warnings: [] }], valid: true });
    assert.equal((await run("npx", ["kv-edge", "config", "validate", "no-such-file.json"], { cwd })).code, 2);
  });

  test("has the exit code of the tool, or of the signal that ended it; the tool gets each signal once", async () => {
    const folder = mkdtempSync(join(tmpdir(), "kv-edge-"));
    const tool = join(folder, "tool");
    for (const [signal, trap, expected] of [
      ["SIGINT", "trap 'echo got; exit 7' INT", [7, "got\n"]],
      ["SIGINT", "", [130, ""]],
      ["SIGTERM", "", [143, ""]],
    ]) {
      // The tool signals its parent, the wrapper, as its first act: as early as anybody could.
      writeFileSync(tool, `#!/bin/sh\n${trap}\nkill -${signal.slice(3)} $PPID\nwhile :; do sleep 0.1; done\n`, { mode: 0o755 });
      // Detached: it belongs to no terminal.
      const child = spawn("node", ["scripts/kv-edge.mjs"], { cwd: ROOT, detached: true, env: { ...process.env, KV_EDGE_CLI: tool } });
      let stdout = "";
      child.stdout.on("data", (chunk) => (stdout += chunk));
      const [code] = await once(child, "close");
      assert.deepEqual([code, stdout], expected, signal);
    }
  });

  test("`npm run --silent kv-edge` has the tool's output, too; without --silent it warns of npm's own lines", async () => {
    const silent = await run("npm", ["run", "--silent", "kv-edge", "--", ...validate], { cwd });
    assert.equal(JSON.parse(silent.stdout).valid, true);
    assert.doesNotMatch(silent.stderr, /npx kv-edge/);
    const loud = await run("npm", ["run", "kv-edge", "--", ...validate], { cwd, env: { npm_config_loglevel: "notice" } });
    assert.match(loud.stderr, /`npx kv-edge …` and `npm run --silent kv-edge -- …` write JSON alone/);
  });
});

#!/usr/bin/env node
// `npx kv-edge` and `npm run kv-edge`: builds the command-line tool if it is out of date, and runs
// it, or the built one that KV_EDGE_CLI names. It is the quick build, unless there is a release
// build. Only the tool writes to stdout, so that
// `--json` is JSON alone.
import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { buildTool } from "./cli.mjs";
import { fail, main, targetFolder } from "./run.mjs";

const args = process.argv.slice(2);
const { npm_lifecycle_event: script, npm_config_loglevel: level, npm_config_json: json } = process.env;
if (script === "kv-edge" && args.includes("--json") && !process.stdout.isTTY && level !== "silent" && json !== "true") {
  console.error(
    "kv-edge: `npm run` writes two lines of its own to stdout before the JSON; `npx kv-edge …` and `npm run --silent kv-edge -- …` write JSON alone.",
  );
}

/** Returns true if this process belongs to a terminal, wherever its output goes. */
function hasTerminal() {
  try {
    closeSync(openSync("/dev/tty"));
    return true;
  } catch {
    return false;
  }
}

await main(async () => {
  // `npm start` has made the quick build. For millions of keys, cargo can make the other one.
  const quick = !existsSync(join(targetFolder(process.env), "release", "kv-edge"));
  const tool = process.env.KV_EDGE_CLI || (await buildTool(process.env, { log: console.error, quick }));
  // A terminal sends Ctrl-C and its end to the tool too, which then finishes the calls in
  // progress. A signal from here would be the second one, which ends it at once.
  const isSentByTerminal = hasTerminal();
  let child;
  // From here on the tool decides when it ends. This comes before its start: a signal that ended
  // this process alone would leave the tool running.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    const before = process.listeners(signal);
    process.on(signal, () => (isSentByTerminal && signal !== "SIGTERM") || child.kill(signal));
    for (const listener of before) process.off(signal, listener);
  }
  // npm runs a script in the folder of package.json. Paths on the command line are relative to the
  // caller's folder, INIT_CWD.
  child = spawn(tool, args, { stdio: "inherit", cwd: process.env.INIT_CWD ?? process.cwd() });
  child.on("error", (error) => fail(`${tool} did not start (${error.code ?? error.message}).`));
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal];
  });
});

// npm run bench:sync: times `kv-edge config sync` of a large table into the local KV of `wrangler
// dev`. See --help.
//
// Most of the time is the local KV's, which stores one value at a time. The tool's own part shows
// in its CPU time and its memory.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildTool } from "../scripts/cli.mjs";
import { freePort } from "../scripts/ports.mjs";
import { Failure, main, ROOT, start } from "../scripts/run.mjs";
import { nodeEnvironment } from "../scripts/setup.mjs";
import { startPostgres } from "../tests/harness/postgres.mjs";

const HELP = `Times \`kv-edge config sync\` from a PostgreSQL of its own into the local KV: a table for the first time, again
unchanged, and again after some of its rows changed.

  npm run bench:sync -- [options]

  --rows NUMBER      rows of the table (100000)
  --changed NUMBER   rows that change before the last pass (1000)
  --snapshot         with a snapshot of all rows
  --json FILE        writes every figure to FILE as well
  --tool FILE        the tool to measure (built by default)
  --help             this text`;

const QUERY = "SELECT id, preview_features_enabled, plan, created_at FROM users";
/**
 * How often the tool's peak memory and CPU time are read. Both only grow: the last values count.
 */
const POLL_MS = 10;

function parseOptions() {
  const [text, flag] = [{ type: "string" }, { type: "boolean" }];
  let values;
  try {
    ({ values } = parseArgs({ options: { rows: text, changed: text, snapshot: flag, json: text, tool: text, help: flag } }));
  } catch (error) {
    throw new Failure(`${error.message.split(/[.\n]/, 1)[0]}. See --help.`);
  }
  const whole = (name, byDefault) => {
    const number = Number(values[name] ?? byDefault);
    if (!Number.isInteger(number) || number < 1 || number > 10_000_000) throw new Failure(`--${name} takes a whole number from 1 to 10000000.`);
    return number;
  };
  const rows = whole("rows", 100_000);
  return { ...values, rows, changed: Math.min(whole("changed", 1000), rows) };
}

await main(async () => {
  const options = parseOptions();
  if (options.help) return console.log(HELP);
  if (process.platform !== "linux") throw new Failure("The benchmark reads memory and CPU time from /proc and so needs Linux.");
  const env = nodeEnvironment();
  const tool = options.tool ? resolve(options.tool) : await buildTool(env);
  const folder = mkdtempSync(join(tmpdir(), "kv-edge-bench-sync-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const database = await startPostgres();
  const kv = await startKv(folder, env);

  await database.query(`CREATE TABLE users (id text PRIMARY KEY, preview_features_enabled boolean NOT NULL, plan text, created_at timestamptz)`);
  await database.query(
    `INSERT INTO users SELECT gen_random_uuid(), n % 3 = 0, (ARRAY['free', 'pro', 'team'])[n % 3 + 1], now() - n * interval '1 minute' FROM generate_series(1, $1) n`,
    [options.rows],
  );
  await database.query("ANALYZE users");

  const arguments_ = [
    "config",
    "sync",
    `--local=${kv.base}`,
    "--query",
    QUERY,
    "--prefix",
    "user:",
    "--json",
    ...(options.snapshot ? ["--snapshot", "users"] : []),
  ];
  const measure = () => timeTool(tool, arguments_, { ...env, DATABASE_URL: database.url() });
  const passes = [];
  const pass = async (what, expected) => {
    const figures = { what, ...(await measure()) };
    for (const [name, count] of Object.entries(expected)) {
      if (figures.summary[name] !== count) throw new Failure(`${what}: ${figures.summary[name]} rows ${name}, not ${count}.`);
    }
    passes.push(figures);
  };
  await pass("first", { read: options.rows, written: options.rows });
  await pass("unchanged", { written: 0, unchanged: options.rows });
  await database.query("UPDATE users SET plan = plan || '+' WHERE id IN (SELECT id FROM users ORDER BY md5(id) LIMIT $1)", [options.changed]);
  await pass(`${options.changed} changed`, { written: options.changed, unchanged: options.rows - options.changed });
  await Promise.all([database.stop(), kv.stop()]);

  const machine = `${cpus().length} cores (${cpus()[0]?.model ?? "unknown"})`;
  console.log(`${options.rows} rows${options.snapshot ? " and a snapshot" : ""}, ${machine}\n`);
  print(passes);
  if (options.json)
    writeFileSync(
      options.json,
      `${JSON.stringify({ date: new Date().toISOString(), machine, rows: options.rows, snapshot: options.snapshot ?? false, passes }, null, 2)}\n`,
    );
});

function print(passes) {
  const table = [["pass", "seconds", "written", "calls", "CPU of the tool", "peak memory"]];
  for (const { what, seconds, cpuSeconds, peakBytes, summary } of passes) {
    table.push([what, seconds.toFixed(2), String(summary.written), String(summary.calls), `${cpuSeconds.toFixed(2)} s`, `${(peakBytes / 1e6).toFixed(1)} MB`]);
  }
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  for (const row of table) console.log(row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join("  "));
}

/** Runs the tool to its end and measures it. */
async function timeTool(tool, args, env) {
  const started = performance.now();
  const child = spawn(tool, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].setEncoding("utf8").on("data", (text) => (output[name] += text));
  let last = {};
  const looking = setInterval(() => (last = readUsage(child.pid) ?? last), POLL_MS);
  const [code] = await once(child, "close");
  clearInterval(looking);
  const seconds = (performance.now() - started) / 1000;
  if (code !== 0) throw new Failure(`The tool ended with ${code}: ${output.stdout}${output.stderr}`);
  return { seconds, ...last, summary: JSON.parse(output.stdout) };
}

/**
 * Returns the peak memory and the CPU time of a process so far, or undefined once it has ended.
 */
function readUsage(pid) {
  try {
    const peakKib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    if (peakKib === undefined) return undefined;
    // The name may hold spaces, so what is before its `)` is cut off: the third field comes first.
    // utime and stime are the 14th and 15th, in clock ticks (proc(5)), of which Linux has 100 a
    // second.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return { peakBytes: Number(peakKib) * 1024, cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100 };
  } catch {
    return undefined;
  }
}

/** Starts `wrangler dev` on an empty KV: `{ base, stop }`. */
async function startKv(folder, env) {
  writeFileSync(join(folder, "worker.js"), "export default { fetch: () => new Response() };\n");
  writeFileSync(
    join(folder, "wrangler.toml"),
    'name = "bench-sync"\nmain = "worker.js"\ncompatibility_date = "2026-11-01"\nkv_namespaces = [{ binding = "USER_CONFIGURATION" }]\n',
  );
  const wrangler = join(ROOT, "node_modules", "wrangler", "bin", "wrangler.js");
  const port = await freePort();
  const args = [wrangler, "dev", "--local", "--ip", "127.0.0.1", "--port", String(port), "--show-interactive-dev-session=false"];
  const child = start("node", args, { cwd: folder, env, stdio: ["ignore", "pipe", "pipe", "ipc"] });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (log = (log + text).slice(-20_000)));
  await new Promise((ready, failed) => {
    child.once("message", ready); // sent once, when it listens
    child.once("exit", () => failed(new Failure(`\`wrangler dev\` ended before it served: ${log}`)));
    child.once("error", failed);
  });
  const stop = async () => {
    const exit = once(child, "exit");
    process.kill(child.target, "SIGTERM"); // `start` sets `target`: the child and its own children
    await exit;
  };
  return { base: `http://127.0.0.1:${port}`, stop };
}

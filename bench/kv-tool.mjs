// Measures time and peak memory of `kv-edge kv export` from an API with KEYS generated keys (by
// default a million), and of `kv-edge kv import` of 10,000 pairs: node bench/kv-tool.mjs [KEYS]
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const CLI = process.env.KV_EDGE_CLI ?? fileURLToPath(new URL("../target/release/kv-edge", import.meta.url));
const KEYS = Number(process.argv[2] ?? 1_000_000);
const IMPORTED_PAIRS = 10_000;
const TOKEN = "token-of-the-benchmark";

const nameOf = (number) => `key/${String(number).padStart(9, "0")}`;
const textOf = (name) => `${name} ${"x".repeat(200)}`;

/**
 * Returns the result of a call as the API does, as far as the two commands ask for it: a prefix
 * longer than `key/` finds nothing. Names and values are computed from numbers.
 */
function resultOf(url, body) {
  if (url.pathname.endsWith("/keys")) {
    const prefix = url.searchParams.get("prefix") ?? "";
    if (!"key/".startsWith(prefix)) return { result: [], result_info: { cursor: "" } };
    const from = Number(url.searchParams.get("cursor") ?? 0);
    const to = Math.min(from + 1000, KEYS);
    const result = Array.from({ length: to - from }, (_, at) => ({ name: nameOf(from + at), metadata: { number: from + at } }));
    return { result, result_info: { cursor: to < KEYS ? String(to) : "" } };
  }
  if (url.pathname.endsWith("/bulk/get")) return { result: { values: Object.fromEntries(JSON.parse(body).keys.map((name) => [name, textOf(name)])) } };
  return { result: { successful_key_count: JSON.parse(body).length, unsuccessful_keys: [] } };
}

const server = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { result, result_info } = resultOf(new URL(request.url, "http://localhost"), Buffer.concat(chunks).toString());
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ success: true, errors: [], messages: [], result, result_info }));
});
server.listen(0, "127.0.0.1");
await once(server, "listening");

/**
 * Runs the tool and returns `{ seconds, peakMib, json }`. The peak of its memory is read from
 * /proc; without it, the peak is 0.
 */
async function run(args) {
  const started = performance.now();
  const child = spawn(
    CLI,
    ["kv", ...args, "--namespace", "0".repeat(32), "--account", "a", "--api-base", `http://127.0.0.1:${server.address().port}`, "--json"],
    {
      env: { ...process.env, CLOUDFLARE_API_TOKEN: TOKEN },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  let peakKib = 0;
  const timer = setInterval(() => {
    try {
      peakKib = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1] ?? peakKib);
    } catch {} // It has ended.
  }, 20);
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (output += text));
  const [code] = await once(child, "close");
  clearInterval(timer);
  if (code !== 0) throw new Error(`exit code ${code}: ${output}`);
  return { seconds: ((performance.now() - started) / 1000).toFixed(1), peakMib: (peakKib / 1024).toFixed(0), json: JSON.parse(output) };
}

const folder = mkdtempSync(join(tmpdir(), "kv-edge-bench-"));
try {
  const file = join(folder, "export.ndjson");
  const exported = await run(["export", "--output", file]);
  const megabytes = (statSync(file).size / 1e6).toFixed(0);
  console.log(`export of ${exported.json.pairs} pairs (${megabytes} MB): ${exported.seconds} s, ${exported.json.calls} calls, peak ${exported.peakMib} MiB`);
  const input = join(folder, "import.ndjson");
  const line = (_, at) => `${JSON.stringify({ key: `new/${at}`, value: textOf(nameOf(at)) })}\n`;
  writeFileSync(input, Array.from({ length: IMPORTED_PAIRS }, line).join(""));
  const imported = await run(["import", input]);
  console.log(`import of ${imported.json.written} pairs: ${imported.seconds} s, ${imported.json.calls} calls, peak ${imported.peakMib} MiB`);
} finally {
  rmSync(folder, { recursive: true, force: true });
  server.close();
  server.closeAllConnections();
}

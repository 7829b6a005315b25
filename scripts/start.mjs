// `npm start`: builds, starts the demo upstreams and `wrangler dev`, fills the local KV and prints
// what to try.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs, stripVTControlCharacters } from "node:util";
import { PORT, portsAfter, startUpstreams } from "../demo/upstreams.mjs";
import { build } from "./build.mjs";
import { buildTool } from "./cli.mjs";
import { portInUse, requireFreePorts } from "./ports.mjs";
import { Failure, fail, main, ROOT, start } from "./run.mjs";
import { seed } from "./seed.mjs";
import { nodeEnvironment } from "./setup.mjs";

const HELP = `npm start [-- --port N]

Serves kv-edge at http://localhost:${PORT} (or port N), with demo upstreams on the three ports after it. Each port has a
local KV of its own; that of ${PORT} is the one that \`npx wrangler kv … --local\` reads. Ctrl-C ends it. Vars and the secret
API_TOKEN in .dev.vars win over those of the demo.`;

/** The vars that the demo needs. */
const demoVars = ({ article, storefrontA, storefrontB }) => ({
  CACHE_UPSTREAMS: `https://example.com,http://127.0.0.1:${article}`,
  ROUTING_ORIGINS: [storefrontA, storefrontB].map((port) => `http://127.0.0.1:${port}`).join(","),
  ROUTING_INSECURE: "true",
  TENANT_DOMAIN: "shops.localhost",
  KV_API_WRITABLE: "*",
  KV_API_NAMESPACES: "KV_NAMESPACES",
  METRICS: "on",
  // Who looks before the files are stored sees them soon after.
  ASSETS_REFRESH: "1",
  API_TOKEN: "local-demo-token",
});

/** The ports of kv-edge and of the demo, by what listens there. */
const portsOf = (port) => {
  const { article, storefrontA, storefrontB } = portsAfter(port);
  return {
    "kv-edge": port,
    "a demo upstream, an article": article,
    "a demo upstream, storefront A": storefrontA,
    "a demo upstream, storefront B": storefrontB,
  };
};

/** The Worker with the limit that the demo page shows. wrangler.toml names the one to deploy. */
const ENTRY = "demo/entry.mjs";

const PORT_MAX = 65535 - Object.keys(portsAfter(0)).length;

/**
 * What wrangler repeats at every reload: the table of bindings, empty lines, the command that it
 * runs.
 */
const WRANGLER_NOISE = /^(\s*|Your Worker has access to the following bindings:|Binding +Resource.*|env\.\w+ .*|\[custom build\] (Running:.*)?)$/;

/** What wrangler prints if another process has taken a port that it chose for itself. */
const PORT_TAKEN = 'Address already in use (socket "direct:';

await main(
  async () => {
    const { help, port } = parseOptions();
    if (help) return console.log(HELP);
    const env = nodeEnvironment();
    await requireFreePorts(port, portsOf);
    // Before the build, so that a second `npm start` meanwhile fails at once.
    await startUpstreams(portsAfter(port)).catch(async (error) => {
      throw error.code === "EADDRINUSE" ? await portInUse(error.port, "a demo upstream", portsOf) : error;
    });
    await build({ quick: true });
    // Again, since the build may have taken minutes.
    await requireFreePorts(port, (port) => ({ "kv-edge": port }));

    const server = await startWrangler(port, env, 3);
    console.log(`Serving at http://localhost:${port}; the demo's files and records follow`);
    const records = await seed(port, process.env.KV_EDGE_CLI || (await buildTool(env, { quick: true })));
    console.log(`Put ${records} records of users and storefronts\n`);
    printAddresses(port);
    server.showOutput();
  },
  { signalExitCode: 0 },
);

function parseOptions() {
  let values;
  try {
    ({ values } = parseArgs({ options: { port: { type: "string", default: String(PORT) }, help: { type: "boolean", short: "h" } } }));
  } catch (error) {
    const hint = error.code === "ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL" ? " npm passes on only what follows `--`." : "";
    throw new Failure(`${error.message}.${hint}\n\n${HELP}`);
  }
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 1 || port > PORT_MAX) {
    throw new Failure(`--port takes a number from 1 to ${PORT_MAX}, not "${values.port}": the demo's upstreams have the ports after it.`);
  }
  return { help: values.help, port };
}

/**
 * Starts `wrangler dev` and waits until it serves. Shows what it prints before `showOutput` is
 * called only if it ends before then. Two wranglers that start at the same moment may choose the
 * same port for a socket of their own; then it starts again, `tries` times in all.
 */
async function startWrangler(port, env, tries) {
  const overridden = varsOfDotenv();
  const vars = Object.entries(demoVars(portsAfter(port)))
    .filter(([name]) => !overridden.includes(name))
    .flatMap(([name, value]) => ["--var", `${name}:${value}`]);
  const wrangler = join(ROOT, "node_modules", "wrangler", "bin", "wrangler.js");
  // Storefront records contain the ports of their upstreams, so each port has its own KV.
  const state = port === PORT ? [] : ["--persist-to", join(".wrangler", `state-${port}`)];
  const args = [wrangler, "dev", ENTRY, "--local", "--ip", "127.0.0.1", "--port", String(port), "--show-interactive-dev-session=false", ...state, ...vars];
  const child = start("node", args, {
    env: process.stdout.isTTY ? { ...env, FORCE_COLOR: "1" } : env,
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let buffered = [];
  const show = (line) => {
    if (buffered) buffered.push(line);
    else if (!WRANGLER_NOISE.test(stripVTControlCharacters(line))) console.log(line);
  };
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on("line", show);
  const serves = await new Promise((ended, failed) => {
    child.once("message", () => ended(true)); // sent once, when it listens
    child.once("close", () => {
      if (tries > 1 && buffered?.some((line) => line.includes(PORT_TAKEN))) return ended(false);
      if (buffered?.length) console.error(buffered.join("\n"));
      void fail(`\`wrangler dev\` ended${buffered ? " before it served; the lines above say why" : ""}.`);
    });
    child.once("error", failed);
  });
  if (!serves) return startWrangler(port, env, tries - 1);
  return { showOutput: () => (buffered = undefined) };
}

/**
 * Returns the names that .dev.vars sets, or .env, which wrangler reads if there is no .dev.vars.
 */
function varsOfDotenv() {
  const file = [".dev.vars", ".env"].map((name) => join(ROOT, name)).find(existsSync);
  return file ? [...readFileSync(file, "utf8").matchAll(/^\s*(?:export\s+)?(\w+)\s*=/gm)].map(([, name]) => name) : [];
}

function printAddresses(port) {
  const base = `http://localhost:${port}`;
  const ports = portsAfter(port);
  const token = varsOfDotenv().includes("API_TOKEN") ? "$API_TOKEN" : demoVars(ports).API_TOKEN;
  const rows = [
    ["The demo page: a panel for each job", `${base}/`],
    [`The console: sign in with ${token}`, `${base}/console/`],
    ["Get started: put a value, read it back", `curl ${base}/get-started`],
    ["Cache: a clock, fresh for 5 s", `curl -i ${base}/cache/http://127.0.0.1:${ports.article}/clock`],
    ["Cache: a page as JSON, fresh for 60 s", `curl '${base}/cache?url=http://127.0.0.1:${ports.article}/article'`],
    ["Configuration: regular page", `curl '${base}/config?userId=user-id-abc'`],
    ["Configuration: preview banner", `curl '${base}/config?userId=user-id-def'`],
    ["Flags: one of them, by the user's record", `curl -d '{"context":{"targetingKey":"user-id-def"}}' ${base}/ofrep/v1/evaluate/flags/new-checkout`],
    ["Flags: all of them", `curl -i -d '{"context":{"targetingKey":"ann","country":"DE"}}' ${base}/ofrep/v1/evaluate/flags`],
    ["Records of many users", `curl -d '{"userIds":["user-id-abc","ann"]}' -H "Authorization: Bearer ${token}" ${base}/config`],
    ["Routing: to storefrontA", `curl -d 'size=M' '${base}/stores/storefrontA/cart?step=1'`],
    ["Routing: to storefrontB, under /shop", `curl ${base}/stores/storefrontB/products/42`],
    ["Routing: 80 % green, 20 % black", `curl -i ${base}/stores/tea/`],
    ["Routing: the same shop by its host", `curl ${base.replace("localhost", "tea.shops.localhost")}/admin/orders`],
    ["Assets: an image", `curl -o logo.png ${base}/logo.png`],
    ["Assets: a page in German", `curl -i -H 'Accept-Language: de-CH' ${base}/about`],
    ["Translations: in German", `curl -H 'Accept-Language: de-CH' ${base}/hello-world`],
    ["Concurrent writes: 20 to one key", `curl -X POST -H "Authorization: Bearer ${token}" '${base}/writes/counter?n=20&strategy=coalesce'`],
    ["Concurrent writes: 20 under KV's limit", `curl -X POST -H "Authorization: Bearer ${token}" '${base}/writes/limited-counter?n=20&strategy=direct'`],
    ["A value that is never lost", `curl -d 'a value' -H "Authorization: Bearer ${token}" '${base}/writes/note?strategy=coalesce&wait=durable'`],
    ["The newest value of that key", `curl -H "Authorization: Bearer ${token}" '${base}/writes/note?consistent=1'`],
    ["KV REST API: the namespaces", `curl -H "Authorization: Bearer ${token}" ${base}/client/v4/accounts/demo/storage/kv/namespaces`],
    ["KV REST API: the keys of one", `curl -H "Authorization: Bearer ${token}" ${base}/client/v4/accounts/demo/storage/kv/namespaces/assets/keys`],
    ["Health", `curl ${base}/healthz`],
  ];
  const width = Math.max(...rows.map(([what]) => what.length));
  for (const [what, how] of rows) console.log(`  ${what.padEnd(width)}  ${how}`);
  console.log("\nReady. A change under src/ or crates/ rebuilds. Ctrl-C ends it.\n");
}

// `npm run deploy`: builds, and runs `wrangler deploy` with the given arguments but `--features`.
import { join } from "node:path";
import { build, parseFeatures } from "./build.mjs";
import { Failure, main, outputOf, ROOT, run } from "./run.mjs";
import { nodeEnvironment } from "./setup.mjs";

const HELP = `npm run deploy [-- ARGUMENTS OF wrangler deploy]

  npm run deploy                         deploys kv-edge
  npm run deploy -- --env staging        deploys kv-edge-staging (or --env production)
  npm run deploy -- --dry-run            bundles and prints sizes, without an account
  npm run deploy -- --features cache     with this job alone (npm run build -- --help lists them)

Account      \`npx wrangler login\`, or CLOUDFLARE_API_TOKEN (and CLOUDFLARE_ACCOUNT_ID) in the environment.
Namespaces   wrangler.toml gives no ids: at the first deploy wrangler creates the KV namespaces and binds them by name.
Secret       npx wrangler secret put API_TOKEN --env staging
             Until it is set, what needs it responds with 503: /writes, /client/v4 and more, as wrangler.toml says.
Vars         in wrangler.toml, each explained there.
Records      npx wrangler kv key put --binding ROUTING_CONFIG --remote storefrontA '{"origin":"https://shop.example"}'
             (with --env staging for that environment)
Files        npx kv-edge assets push dist
             (with --namespace kv-edge-staging-assets for that environment; needs CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID)`;

await main(async () => {
  const args = process.argv.slice(2);
  const at = args.findIndex((arg) => /^--features(=|$)/.test(arg));
  const [named] = at < 0 ? [] : args.splice(at, args[at] === "--features" ? 2 : 1).slice(-1);
  if (args.includes("--help") || args.includes("-h")) return console.log(HELP);
  const env = nodeEnvironment();
  const wrangler = join(ROOT, "node_modules", "wrangler", "bin", "wrangler.js");
  if (!args.includes("--dry-run") && !loggedIn(env, wrangler)) {
    throw new Failure("No Cloudflare account to deploy to: run `npx wrangler login` or set CLOUDFLARE_API_TOKEN; `npm run deploy -- --dry-run` works without.");
  }
  await build({ quick: false, features: await parseFeatures(named && [named.replace("--features=", "")]) });
  // wrangler warns that there are several environments, unless told that none is meant.
  const namesEnvironment = env.CLOUDFLARE_ENV !== undefined || args.some((arg) => /^(-e|--env)(=|$)/.test(arg));
  // It may ask which account to use, so it keeps the terminal.
  await run("node", [wrangler, "deploy", ...(namesEnvironment ? [] : ["--env="]), ...args], {
    doing: "wrangler deploy",
    env,
    stdio: "inherit",
    detached: false,
  });
});

function loggedIn(env, wrangler) {
  if (env.CLOUDFLARE_API_TOKEN || env.CLOUDFLARE_API_KEY) return true;
  const output = outputOf("node", [wrangler, "whoami", "--json"], env);
  return output !== undefined && /"loggedIn":\s*true/.test(output);
}

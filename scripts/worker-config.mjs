// Reads the Worker's definition from wrangler.toml, and its modules. The tests, the conformance
// suite and the benchmark start workerd with them. wrangler reads the same file for `npm start`
// and for a deploy; tests/wrangler.test.mjs checks that both read it alike.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Failure, ROOT } from "./run.mjs";
import { readToml } from "./toml.mjs";

/** Sections that concern only how wrangler builds and deploys. */
const NOT_FOR_THE_RUNTIME = ["$schema", "main", "build", "env", "routes", "workers_dev", "preview_urls", "observability", "placement", "limits"];

/**
 * Returns the top level of wrangler.toml: `name`, `compatibilityDate`, `compatibilityFlags`,
 * `vars`, `kvNamespaces` (names of bindings), `analyticsDatasets`, each `{ name, dataset }`,
 * `durableObjects`, each `{ name, className, isSqlite }`, and `staticFiles`, the binding of static
 * assets: `{ name, directory, htmlHandling, notFoundHandling }`. Throws a `Failure` for a section
 * that is not read here, so that no binding is missing unnoticed.
 */
export async function readWorkerConfig() {
  const {
    name,
    compatibility_date: compatibilityDate,
    compatibility_flags: compatibilityFlags = [],
    vars = {},
    kv_namespaces: kvNamespaces = [],
    durable_objects: { bindings: objects = [] } = {},
    analytics_engine_datasets: datasets = [],
    assets,
    migrations = [],
    ...others
  } = await readToml("wrangler.toml");
  const unread = Object.keys(others).filter((section) => !NOT_FOR_THE_RUNTIME.includes(section));
  if (unread.length > 0) {
    throw new Failure(`wrangler.toml has ${unread.join(", ")}, which scripts/worker-config.mjs does not read: tests and benchmark would run without it.`);
  }
  if (typeof compatibilityDate !== "string") throw new Failure("wrangler.toml has no compatibility_date.");
  if (assets?.run_worker_first !== true)
    throw new Failure("wrangler.toml does not say run_worker_first: tests and benchmark would see other routes than a deploy.");
  const sqlite = new Set(migrations.flatMap(({ new_sqlite_classes: classes = [] }) => classes));
  return {
    name,
    compatibilityDate,
    compatibilityFlags,
    vars,
    kvNamespaces: kvNamespaces.map(({ binding }) => binding),
    analyticsDatasets: datasets.map(({ binding, dataset }) => ({ name: binding, dataset })),
    durableObjects: objects.map(({ name: binding, class_name: className }) => ({ name: binding, className, isSqlite: sqlite.has(className) })),
    staticFiles: {
      name: assets.binding,
      directory: join(ROOT, assets.directory),
      htmlHandling: assets.html_handling,
      notFoundHandling: assets.not_found_handling,
    },
  };
}

/**
 * Returns the entry and all modules that it imports by relative paths, as a `Map` from the path
 * below `directory` to the content, the entry first. Throws a `Failure` if one is missing.
 */
export function collectModules(directory, entry, found = new Map()) {
  if (found.has(entry)) return found;
  const path = join(directory, entry);
  if (!existsSync(path)) throw new Failure(`${path} is missing: run \`npm run build\`.`);
  const content = readFileSync(path);
  found.set(entry, content);
  if (entry.endsWith(".wasm")) return found;
  for (const [, , to] of content.toString().matchAll(/\b(from|import)\s*\(?\s*["'](\.{1,2}\/[^"']+)["']/g)) {
    collectModules(directory, join(dirname(entry), to), found);
  }
  return found;
}

// Fills the local KV namespaces of a running `wrangler dev` through its REST API.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, Failure } from "./run.mjs";

/** Puts the files of static/ and the sample records of demo/; what else is in the namespaces stays. */
export async function seed(base) {
  const api = `${base}/cdn-cgi/explorer/api/storage/kv/namespaces`;
  const files = readdirSync(join(ROOT, "static"), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const puts = files.map((entry) => {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    const key = path.slice(join(ROOT, "static").length + 1).replaceAll("\\", "/");
    return ["assets", key, readFileSync(path)];
  });
  for (const [namespace, file] of [["USER_CONFIGURATION", "users.json"], ["ROUTING_CONFIG", "storefronts.json"]]) {
    const records = JSON.parse(readFileSync(join(ROOT, "demo", file), "utf8"));
    for (const [key, record] of Object.entries(records)) puts.push([namespace, key, JSON.stringify(record)]);
  }
  await Promise.all(
    puts.map(async ([namespace, key, body]) => {
      const url = `${api}/${encodeURIComponent(namespace)}/values/${encodeURIComponent(key)}`;
      const answer = await fetch(url, { method: "PUT", body, headers: { "content-type": "application/octet-stream" } });
      if (!answer.ok) throw new Failure(`The local KV did not take ${key} for ${namespace}: ${answer.status} ${await answer.text()}`);
    }),
  );
  return puts.length;
}

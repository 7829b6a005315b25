// Fills the local KV namespaces of a running `wrangler dev`.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, Failure, run } from "./run.mjs";

/** Pushes the files of static/ with the tool, as one release, and puts the sample records of demo/; what else is in the namespaces stays. */
export async function seed(base, tool) {
  await run(tool, ["assets", "push", "static", `--local=${base}`], { doing: "pushing the files of static/" });
  const api = `${base}/cdn-cgi/explorer/api/storage/kv/namespaces`;
  const puts = [];
  for (const [namespace, file] of [["USER_CONFIGURATION", "users.json"], ["ROUTING_CONFIG", "storefronts.json"]]) {
    const records = JSON.parse(readFileSync(join(ROOT, "demo", file), "utf8"));
    for (const [key, record] of Object.entries(records)) puts.push([namespace, key, JSON.stringify(record)]);
  }
  puts.push(["USER_CONFIGURATION", "flags", readFileSync(join(ROOT, "demo", "flags.json"), "utf8")]);
  await Promise.all(
    puts.map(async ([namespace, key, body]) => {
      const url = `${api}/${encodeURIComponent(namespace)}/values/${encodeURIComponent(key)}`;
      const answer = await fetch(url, { method: "PUT", body, headers: { "content-type": "application/octet-stream" } });
      if (!answer.ok) throw new Failure(`The local KV did not take ${key} for ${namespace}: ${answer.status} ${await answer.text()}`);
    }),
  );
  return puts.length;
}

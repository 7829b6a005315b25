// Fills the local KV namespaces of a running `wrangler dev`.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atPort, PORT } from "../demo/upstreams.mjs";
import { Failure, ROOT, run } from "./run.mjs";

/**
 * Pushes static/ as a release with the tool, and puts the sample records of demo/. Other keys
 * stay. Returns the number of records.
 */
export async function seed(port, tool) {
  const base = `http://127.0.0.1:${port}`;
  await withStatic(port, (folder) => run(tool, ["assets", "push", folder, `--local=${base}`], { doing: "pushing the files of static/" }));
  const api = `${base}/cdn-cgi/explorer/api/storage/kv/namespaces`;
  const puts = [];
  for (const [namespace, file] of [
    ["USER_CONFIGURATION", "users.json"],
    ["ROUTING_CONFIG", "storefronts.json"],
  ]) {
    const records = JSON.parse(atPort(readFileSync(join(ROOT, "demo", file), "utf8"), port));
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

/** Calls `push` with the folder of the demo's files, whose page links to the ports in use. */
async function withStatic(port, push) {
  if (port === PORT) return push("static");
  const folder = mkdtempSync(join(tmpdir(), "kv-edge-static-"));
  try {
    cpSync(join(ROOT, "static"), folder, { recursive: true });
    const page = join(folder, "index.html");
    writeFileSync(page, atPort(readFileSync(page, "utf8"), port));
    await push(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

// Fills the local KV namespaces of a running `wrangler dev` with the files of static/ and the
// records of demo/.
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
  const puts = demoRecords(port);
  await Promise.all(
    puts.map(async ([namespace, key, body]) => {
      const url = `${api}/${encodeURIComponent(namespace)}/values/${encodeURIComponent(key)}`;
      const response = await fetch(url, { method: "PUT", body, headers: { "content-type": "application/octet-stream" } });
      if (!response.ok) throw new Failure(`The local KV did not take ${key} for ${namespace}: ${response.status} ${await response.text()}`);
    }),
  );
  return puts.length;
}

/** Returns the sample records as `[namespace, key, value]`, with the ports in use. */
export function demoRecords(port) {
  const read = (file) => readFileSync(join(ROOT, "demo", file), "utf8");
  const recordsOf = (namespace, file) => Object.entries(JSON.parse(atPort(read(file), port))).map(([key, record]) => [namespace, key, JSON.stringify(record)]);
  return [
    ...recordsOf("USER_CONFIGURATION", "users.json"),
    ...recordsOf("ROUTING_CONFIG", "storefronts.json"),
    ["USER_CONFIGURATION", "flags", read("flags.json")],
  ];
}

/** Calls `push` with the folder of the demo's files, whose page has the ports in use. */
export async function withStatic(port, push) {
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

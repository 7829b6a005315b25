// Stored records in JSON: dumps what the KV namespaces and some Durable Objects of a Worker store,
// and restarts a Worker with such a dump. Expirations of keys are left out.
import assert from "node:assert/strict";
import { brotliCompressSync, brotliDecompressSync } from "node:zlib";
import { readWorkerConfig } from "../../scripts/worker-config.mjs";
import { send } from "./http.mjs";

/** Longer values are compressed. */
const PLAIN_BYTES_MAX = 2048;

/** Returns bytes as JSON: text if they are UTF-8, else base64; long ones as Brotli in base64. */
function encode(bytes) {
  if (bytes.length > PLAIN_BYTES_MAX) return { brotli: brotliCompressSync(bytes).toString("base64") };
  const text = bytes.toString("utf8");
  return Buffer.from(text).equals(bytes) ? { text } : { base64: bytes.toString("base64") };
}

function decode({ text, base64, brotli }) {
  if (brotli !== undefined) return brotliDecompressSync(Buffer.from(brotli, "base64"));
  return Buffer.from(text ?? base64, text === undefined ? "base64" : "utf8");
}

const storagePath = (key) => `/.storage?key=${encodeURIComponent(key)}`;

/**
 * Returns everything in the Worker's KV namespaces, and what the `KeyWriter` objects of these keys
 * store.
 */
export async function dumpStorage(worker, keys) {
  const namespaces = {};
  for (const name of (await readWorkerConfig()).kvNamespaces) namespaces[name] = await entriesOf(worker.env[name]);
  const objects = {};
  for (const key of keys) {
    const { alarmMs, values } = (await send(worker, storagePath(key))).json();
    objects[key] = {
      alarmMs,
      values: values.map(({ name, text, base64 }) => ({ name, ...(text === undefined ? { bytes: encode(Buffer.from(base64, "base64")) } : { text }) })),
    };
  }
  return { namespaces, objects };
}

async function entriesOf(kv) {
  const { keys, list_complete: isComplete } = await kv.list();
  assert.ok(isComplete, "records on more than one page");
  return Promise.all(
    keys.map(async ({ name, metadata }) => ({
      key: name,
      ...encode(Buffer.from(await kv.get(name, "arrayBuffer"))),
      ...(metadata !== undefined && { metadata }),
    })),
  );
}

/**
 * Puts a dump into a Worker whose storage is empty, and restarts it with nothing in memory and its
 * clock a minute after `recordedMs`, when the dump was made. Sets the objects' alarms last, since
 * they may be due.
 */
export async function restoreStorage(worker, { recordedMs, namespaces, objects = {} }) {
  for (const [name, entries] of Object.entries(namespaces)) {
    for (const { key, metadata, ...value } of entries) await worker.env[name].put(key, decode(value), { metadata });
  }
  const control = async (path, body) => assert.equal((await send(worker, path, { method: "PUT", body: JSON.stringify(body) })).status, 204);
  for (const [key, { values }] of Object.entries(objects)) {
    const stored = values.map(({ name, text, bytes }) => ({ name, ...(text === undefined ? { base64: decode(bytes).toString("base64") } : { text }) }));
    await control(storagePath(key), { alarmMs: null, values: stored });
  }
  await worker.killAndRestart();
  await control(`/.clock?offsetMs=${recordedMs + 60_000 - Date.now()}`);
  for (const [key, { alarmMs }] of Object.entries(objects)) await control(storagePath(key), { alarmMs, values: [] });
}

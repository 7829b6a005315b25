// Records as files: all that the namespaces and the objects of a Worker hold, and a Worker that
// begins with it.
import assert from "node:assert/strict";
import { brotliCompressSync, brotliDecompressSync } from "node:zlib";
import { send } from "./http.mjs";

/** Longer values are compressed. */
const PLAIN_BYTES_MAX = 2048;

/** Bytes as JSON: as text if they are UTF-8, else in base64, of Brotli if they are long. */
function encode(bytes) {
  if (bytes.length > PLAIN_BYTES_MAX) return { brotli: brotliCompressSync(bytes).toString("base64") };
  const text = bytes.toString("utf8");
  return Buffer.from(text).equals(bytes) ? { text } : { base64: bytes.toString("base64") };
}

function decode({ text, base64, brotli }) {
  if (brotli !== undefined) return brotliDecompressSync(Buffer.from(brotli, "base64"));
  return Buffer.from(text ?? base64, text === undefined ? "base64" : "utf8");
}

const isNamespace = (binding) => typeof binding?.getWithMetadata === "function";
const storagePath = (key) => `/.storage?key=${encodeURIComponent(key)}`;

/** What the KV of a Worker holds, and what the objects of these keys store. */
export async function dumpStorage(worker, keys) {
  const namespaces = {};
  for (const [name, kv] of Object.entries(worker.env)) if (isNamespace(kv)) namespaces[name] = await entriesOf(kv);
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
    keys.map(async ({ name, metadata }) => ({ key: name, ...encode(Buffer.from(await kv.get(name, "arrayBuffer"))), ...(metadata && { metadata }) })),
  );
}

/**
 * Puts records into a Worker that holds none, and starts it again: with nothing in its memory, a
 * minute after the records were made. Then the alarms of objects are set, which may be due.
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

// `unstorage` with its driver `cloudflare-kv-http`, unmodified, on the KV REST API of the built
// Worker.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createStorage } from "unstorage";
import cloudflareKvHttp from "unstorage/drivers/cloudflare-kv-http";
import { ACCOUNT as accountId, BINARY, manyBytes, ODD_KEYS, signToken, startKvApi, VALUE_BYTES_MAX } from "./harness/kv-api.mjs";
import { uniqueName } from "./harness/names.mjs";
import { WORKER_TOKEN } from "./harness/worker.mjs";

const worker = await startKvApi();
const { WRITES } = worker.env;
const apiURL = new URL(worker.baseUrl).origin;

const storageOf = (options) => createStorage({ driver: cloudflareKvHttp({ accountId, namespaceId: "WRITES", apiURL, apiToken: WORKER_TOKEN, ...options }) });
const storage = storageOf();

/**
 * Keys in which unstorage only replaces `/` and `\` with `:`. In others it also drops empty
 * segments, and a `?` with all that follows.
 */
const keys = ODD_KEYS.filter((key) => !/^\/|\/$|\/\/|\?/.test(key));

test("odd keys are written, found, read and removed", async () => {
  for (const key of keys) {
    const stored = key.replaceAll(/[/\\]/g, ":");
    await storage.setItem(key, `of ${key}`);
    assert.equal(await WRITES.get(stored), `of ${key}`, key);
    assert.equal(await storage.getItem(key), `of ${key}`);
    assert.equal(await storage.hasItem(key), true);
    await storage.removeItem(key);
    assert.equal(await WRITES.get(stored), null);
    assert.equal(await storage.hasItem(key), false);
    assert.equal(await storage.getItem(key), null);
  }
});

test("JSON, text that is no JSON, bytes, and a text of 25 MiB come back as they were", async () => {
  for (const value of [{ a: [1, null, "ü"] }, "no {JSON", "line\nfeed", ""]) {
    const key = uniqueName("value");
    await storage.setItem(key, value);
    assert.deepEqual(await storage.getItem(key), value);
  }
  for (const bytes of [Buffer.alloc(0), BINARY]) {
    const key = uniqueName("bytes");
    await storage.setItemRaw(key, bytes);
    const raw = await WRITES.get(key, "arrayBuffer");
    assert.ok(Buffer.from(raw).equals(bytes) || Buffer.from(raw).toString().startsWith("base64:"));
    assert.ok(Buffer.from(await storage.getItemRaw(key)).equals(bytes), `${bytes.length}`);
  }
  const text = manyBytes(VALUE_BYTES_MAX / 2).toString("hex");
  await storage.setItem("longest", text);
  assert.equal(await WRITES.get("longest"), text);
  assert.equal(await storage.getItem("longest"), text);
});

test("a ttl says when the key expires, after 60 seconds at the earliest", async () => {
  for (const [ttl, seconds] of [
    [600, 600],
    [1, 60],
  ]) {
    const key = uniqueName("ttl");
    await storage.setItem(key, "v", { ttl });
    const { keys: listed } = await WRITES.list({ prefix: key });
    assert.ok(Math.abs(listed[0].expiration - Date.now() / 1000 - seconds) < 55, `${listed[0].expiration}`);
  }
});

test("2,300 keys are listed, and cleared below a base; others stay", async () => {
  const below = storageOf({ base: "many" });
  await WRITES.put("other", "v");
  const pairs = Array.from({ length: 2300 }, (_, number) => ({ key: `many:${number}`, value: "v" }));
  assert.equal((await worker.api("PUT", `/accounts/${accountId}/storage/kv/namespaces/WRITES/bulk`, { body: JSON.stringify(pairs) })).status, 200);
  const listed = await below.getKeys();
  assert.deepEqual(listed.sort(), pairs.map(({ key }) => key.replace("many:", "")).sort());
  await below.clear();
  assert.deepEqual((await WRITES.list({ prefix: "many:" })).keys, []);
  assert.equal(await WRITES.get("other"), "v");
});

test("each of the driver's credentials works, and a token reaches its prefix only", async () => {
  await storageOf({ apiToken: WORKER_TOKEN }).setItem("credentials", "v");
  for (const credentials of [{ userServiceKey: WORKER_TOKEN }, { email: "a@example.com", apiKey: WORKER_TOKEN }]) {
    const driver = cloudflareKvHttp({ accountId, namespaceId: "WRITES", apiURL, ...credentials });
    assert.equal(await createStorage({ driver }).getItem("credentials"), "v");
  }
  const scoped = storageOf({ apiToken: signToken({ prefix: "scoped:", write: true }), base: "scoped" });
  await scoped.setItem("k", "v");
  assert.equal(await WRITES.get("scoped:k"), "v");
  assert.deepEqual(await scoped.getKeys(), ["k"]);
  const outside = storageOf({ apiToken: signToken({ prefix: "scoped:", write: true }) });
  await assert.rejects(outside.setItem("credentials", "w"), /403/);
  await assert.rejects(outside.getItem("credentials"), /403/);
  assert.deepEqual(await outside.getKeys(), ["scoped:k"]);
  assert.equal(await WRITES.get("credentials"), "v");
});

// The npm package `cloudflare`, unmodified, versions 7 and 5, against the KV REST API of the built
// Worker. Version 5 leaves the encoding of keys to its caller, and is the one inside wrangler.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import Cloudflare7 from "cloudflare";
import Cloudflare5 from "cloudflare-5";
import { ACCOUNT as account_id, BINARY, manyBytes, ODD_KEYS, startKvApi, VALUE_BYTES_MAX } from "./harness/kv-api.mjs";
import { uniqueName } from "./harness/names.mjs";
import { WORKER_TOKEN } from "./harness/worker.mjs";

const worker = await startKvApi();
const { WRITES, assets } = worker.env;
const baseURL = worker.baseUrl;

/** The two versions, with the calls whose parameters differ. */
const versions = [
  {
    name: "cloudflare 7",
    Cloudflare: Cloudflare7,
    of: ({ kv }) => ({
      put: (key, options, namespace_id = "WRITES") => kv.namespaces.values.update(key, { account_id, namespace_id, ...options }),
      get: (key, namespace_id = "WRITES") => kv.namespaces.values.get(key, { account_id, namespace_id }),
      delete: (key, namespace_id = "WRITES") => kv.namespaces.values.delete(key, { account_id, namespace_id }),
      metadata: (key, namespace_id = "WRITES") => kv.namespaces.metadata.get(key, { account_id, namespace_id }),
    }),
    /** How the client sends metadata given as an object. */
    metadataOfObject: { a: "1", b: { c: "d" }, l: ["1", "true"] },
  },
  {
    name: "cloudflare 5",
    Cloudflare: Cloudflare5,
    of: ({ kv }) => ({
      put: (key, options, namespace = "WRITES") => kv.namespaces.values.update(namespace, encodeURIComponent(key), { account_id, ...options }),
      get: (key, namespace = "WRITES") => kv.namespaces.values.get(namespace, encodeURIComponent(key), { account_id }),
      delete: (key, namespace = "WRITES") => kv.namespaces.values.delete(namespace, encodeURIComponent(key), { account_id }),
      metadata: (key, namespace = "WRITES") => kv.namespaces.metadata.get(namespace, encodeURIComponent(key), { account_id }),
    }),
    metadataOfObject: { a: 1, b: { c: "d" }, l: [1, true] },
  },
];

/** Returns everything that an iterable of entries or pages has. */
async function all(iterable) {
  const entries = [];
  for await (const entry of iterable) entries.push(entry);
  return entries;
}

const bytesOf = async (response) => Buffer.from(await response.arrayBuffer());
const inKv = async (key) => Buffer.from((await WRITES.get(key, "arrayBuffer")) ?? assert.fail(`${key} is not in KV`));

/** Awaits a call that has to fail, and returns its status and error codes. */
const failureOf = (call) =>
  call.then(
    () => assert.fail("no error"),
    (error) => [error.status, ...(error.errors ?? []).map(({ code }) => code)],
  );

for (const { name, Cloudflare, of, metadataOfObject } of versions) {
  const client = new Cloudflare({ apiToken: WORKER_TOKEN, baseURL });
  const { namespaces } = client.kv;
  const values = of(client);
  const toFile = (bytes) => Cloudflare.toFile(bytes, "value");

  describe(name, () => {
    test("any key is written, read, and deleted", async () => {
      for (const key of ODD_KEYS) {
        await values.put(key, { value: `of ${key}` }).catch((error) => assert.fail(`${JSON.stringify(key)}: ${error}`));
        const { value } = await WRITES.getWithMetadata(key);
        assert.equal(value, `of ${key}`.replace("\n", "\r\n"), "the client itself turns a line feed in a form into CR LF");
        assert.equal(await (await values.get(key)).text(), value);
        await values.delete(key);
        assert.equal(await WRITES.get(key), null);
        await values.delete(key);
      }
    });

    test("values pass byte for byte: empty, every byte, 25 MiB", async () => {
      for (const bytes of [Buffer.alloc(0), BINARY, manyBytes(VALUE_BYTES_MAX)]) {
        const key = uniqueName("bytes");
        await values.put(key, { value: await toFile(bytes) });
        assert.ok((await inKv(key)).equals(bytes), `${bytes.length} bytes in KV`);
        assert.ok((await bytesOf(await values.get(key))).equals(bytes), `${bytes.length} bytes as the client reads them`);
      }
    });

    test("a value of more than 25 MiB is refused with 413", async () => {
      const key = uniqueName("too-long");
      assert.deepEqual(await failureOf(values.put(key, { value: await toFile(Buffer.alloc(VALUE_BYTES_MAX + 1)) })), [413, 10022]);
      assert.equal(await WRITES.get(key), null);
    });

    test("metadata passes as JSON text, and as an object in the form of the client", async () => {
      for (const [metadata, stored] of [
        ['{"a":1,"n":null}', { a: 1, n: null }],
        ["[1,2]", [1, 2]],
        ['"text"', "text"],
        [{ a: 1, b: { c: "d" }, l: [1, true] }, metadataOfObject],
      ]) {
        const key = uniqueName("metadata");
        await values.put(key, { value: "v", metadata });
        assert.deepEqual((await WRITES.getWithMetadata(key)).metadata, stored);
        assert.deepEqual(await values.metadata(key), stored);
        await values.put(key, { value: "v" });
        assert.equal(await values.metadata(key), null, "a write without metadata clears it");
      }
      assert.deepEqual(await failureOf(values.put("metadata", { value: "v", metadata: "{" })), [400, 10147]);
    });

    test("a key expires at `expiration` or after `expiration_ttl`, which takes precedence; the field `expiration` says when", async () => {
      const now = Math.floor(Date.now() / 1000);
      const expirationOf = async (options) => {
        const key = uniqueName("expires");
        await values.put(key, { value: "v", ...options });
        const { keys } = await WRITES.list({ prefix: key });
        assert.deepEqual(keys, [{ name: key, ...(keys[0].expiration && { expiration: keys[0].expiration }) }]);
        const field = (await values.get(key)).headers.get("expiration");
        assert.equal(field, keys[0].expiration === undefined ? null : String(keys[0].expiration));
        return keys[0].expiration;
      };
      assert.equal(await expirationOf({ expiration: now + 3600 }), now + 3600);
      assert.ok(Math.abs((await expirationOf({ expiration_ttl: 600 })) - now - 600) < 60);
      assert.ok(Math.abs((await expirationOf({ expiration_ttl: 600, expiration: now + 3600 })) - now - 600) < 60);
      assert.equal(await expirationOf({}), undefined);
      assert.deepEqual(await failureOf(values.put("expires", { value: "v", expiration_ttl: 59 })), [400, 10034]);
      assert.deepEqual(await failureOf(values.put("expires", { value: "v", expiration: now - 1 })), [400, 10033]);
    });

    test("bulk calls change 2,300 pairs, the client lists them by pages, and reads 100", async () => {
      const prefix = uniqueName("pages/");
      const pairs = Array.from({ length: 2300 }, (_, number) => ({ key: `${prefix}${number}`, value: `v${number}`, metadata: { number } }));
      const put = await namespaces.bulkUpdate("WRITES", { account_id, body: pairs });
      assert.deepEqual(put, { successful_key_count: 2300, unsuccessful_keys: [] });
      const keys = await all(namespaces.keys.list("WRITES", { account_id, prefix }));
      assert.deepEqual(keys.map((key) => key.name).sort(), pairs.map(({ key }) => key).sort());
      assert.deepEqual(keys.find((key) => key.name === `${prefix}7`).metadata, { number: 7 });
      const few = pairs.slice(0, 100).map(({ key }) => key);
      const got = await namespaces.bulkGet("WRITES", { account_id, keys: few });
      assert.deepEqual(got, { values: Object.fromEntries(pairs.slice(0, 100).map(({ key, value }) => [key, value])) });
      const removed = await namespaces.bulkDelete("WRITES", { account_id, body: pairs.map(({ key }) => key) });
      assert.deepEqual(removed, { successful_key_count: 2300, unsuccessful_keys: [] });
      assert.deepEqual((await WRITES.list({ prefix })).keys, []);
    });

    test("a small limit takes more pages, and none is lost or listed twice", async () => {
      const prefix = uniqueName("few/");
      for (let number = 0; number < 25; number += 1) await WRITES.put(`${prefix}${number}`, "v");
      const pages = await all((await namespaces.keys.list("WRITES", { account_id, prefix, limit: 10 })).iterPages());
      const names = pages.map((page) => page.result.map((key) => key.name));
      assert.deepEqual(
        names.map((page) => page.length),
        [10, 10, 5],
      );
      assert.deepEqual(names.flat().sort(), Array.from({ length: 25 }, (_, number) => `${prefix}${number}`).sort());
    });

    test("a bulk write is checked whole before its first write", async () => {
      const prefix = uniqueName("whole/");
      const body = [
        { key: `${prefix}a`, value: "v" },
        { key: `${prefix}b`, value: "v", expiration_ttl: 1 },
      ];
      assert.deepEqual(await failureOf(namespaces.bulkUpdate("WRITES", { account_id, body })), [400, 10034]);
      assert.deepEqual((await WRITES.list({ prefix })).keys, []);
    });

    test("bulk get returns JSON and metadata as asked for, null for what is missing, and refuses what is no text", async () => {
      const prefix = uniqueName("get/");
      await WRITES.put(`${prefix}json`, '{"a":[1]}', { metadata: { m: 1 } });
      await WRITES.put(`${prefix}bytes`, BINARY);
      const bulkGet = (names, options) => namespaces.bulkGet("WRITES", { account_id, keys: names.map((key) => `${prefix}${key}`), ...options });
      assert.deepEqual(await bulkGet(["json", "none"], { type: "json" }), { values: { [`${prefix}json`]: { a: [1] }, [`${prefix}none`]: null } });
      assert.deepEqual(await bulkGet(["json", "none"], { withMetadata: true }), {
        values: { [`${prefix}json`]: { value: '{"a":[1]}', metadata: { m: 1 } }, [`${prefix}none`]: null },
      });
      assert.deepEqual(await failureOf(bulkGet(["bytes"])), [400, 10029]);
      assert.deepEqual(await failureOf(bulkGet([])), [400, 10029]);
    });

    test("namespaces are made, read, renamed, listed by pages, and deleted", async () => {
      const titles = Array.from({ length: 7 }, () => uniqueName("namespace"));
      const made = [];
      for (const title of titles) made.push(await namespaces.create({ account_id, title }));
      const [{ id }] = made;
      assert.match(id, /^[0-9a-f]{32}$/);
      assert.deepEqual(await failureOf(namespaces.create({ account_id, title: titles[0] })), [400, 10014]);
      const listed = await all(namespaces.list({ account_id, per_page: 5, order: "title", direction: "desc" }));
      const names = listed.map(({ title }) => title);
      assert.deepEqual(names, [...names].sort().reverse());
      assert.deepEqual(
        titles.filter((title) => names.filter((listed) => listed === title).length !== 1),
        [],
      );
      const title = uniqueName("renamed");
      await namespaces.update(id, { account_id, title });
      assert.deepEqual(await namespaces.get(id, { account_id }), { id, title, supports_url_encoding: true });
      await values.put("k", { value: "first" }, id);
      await values.put("k", { value: "second" }, made[1].id);
      assert.equal(await (await values.get("k", id)).text(), "first");
      for (const namespace of made) await namespaces.delete(namespace.id, { account_id });
      assert.deepEqual(await failureOf(namespaces.get(id, { account_id })), [404, 10013]);
      assert.deepEqual(await failureOf(values.get("k", id)), [404, 10013]);
    });

    test("errors have the classes and codes that the client knows", async () => {
      assert.deepEqual(await failureOf(values.get("no such key")), [404, 10009]);
      assert.deepEqual(await failureOf(values.metadata("no such key")), [404, 10009]);
      await assert.rejects(values.get("no such key"), Cloudflare.NotFoundError);
      await assert.rejects(new Cloudflare({ apiToken: "wrong", baseURL }).kv.namespaces.get("WRITES", { account_id }), Cloudflare.AuthenticationError);
      assert.deepEqual(await failureOf(namespaces.get("0".repeat(32), { account_id })), [404, 10013]);
      await assets.put("kept", "v");
      assert.deepEqual(await failureOf(values.delete("kept", "assets")), [403, 10405]);
      assert.deepEqual(await failureOf(values.put("kept", { value: "w" }, "assets")), [403, 10405]);
      assert.equal(await assets.get("kept"), "v");
      assert.equal(await (await values.get("kept", "assets")).text(), "v");
    });

    test("an email with a key is as good as a token, which is active and sees one account", async () => {
      const older = new Cloudflare({ apiEmail: "a@example.com", apiKey: WORKER_TOKEN, apiToken: null, baseURL });
      assert.equal((await older.kv.namespaces.get("WRITES", { account_id })).title, "WRITES");
      assert.equal((await client.user.tokens.verify()).status, "active");
      assert.equal((await all(client.accounts.list())).length, 1);
    });
  });
}

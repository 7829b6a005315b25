// Records that earlier builds wrote: the Worker serves them, and the tool continues from them.
// tests/fixtures/records has them; form-1.json there is written by hand.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import {
  film,
  flags,
  greetings,
  PREFIX,
  plainFiles,
  releases,
  responses,
  SNAPSHOT,
  storefronts,
  UPSTREAM_PORT,
  users,
  values,
  WITHOUT_RECORD,
} from "./fixtures/records/contents.mjs";
import { assertPage, ofrepFlag } from "./harness/config.mjs";
import { eventually } from "./harness/eventually.mjs";
import { send } from "./harness/http.mjs";
import { assertHit, parseCacheStatus } from "./harness/http-cache.mjs";
import { startPostgres } from "./harness/postgres.mjs";
import { dumpStorage, restoreStorage } from "./harness/records.mjs";
import { apiFor } from "./harness/rest-api.mjs";
import { runTool } from "./harness/tool.mjs";
import { startUpstream } from "./harness/upstream.mjs";
import { startWorker } from "./harness/worker.mjs";
import { writesOf } from "./harness/writes.mjs";

const folder = new URL("fixtures/records/", import.meta.url);
const recorded = (name) => JSON.parse(readFileSync(new URL(name, folder), "utf8"));
const BY_HAND = "form-1.json";
const generations = readdirSync(folder).filter((name) => name.endsWith(".json") && name !== BY_HAND);
const upstream = await startUpstream();

/** Starts a Worker with these records, which keeps hardly any of them in memory. */
async function startWith(records) {
  const vars = {
    CACHE_UPSTREAMS: `http://127.0.0.1:${UPSTREAM_PORT}`,
    CACHE_REFRESH: "0",
    ASSETS_REFRESH: "0",
    CONFIG_REFRESH: "0",
    CONFIG_PREFIX: PREFIX,
    CONFIG_SNAPSHOT: SNAPSHOT,
    ROUTING_ORIGINS: upstream.origin,
  };
  const worker = await startWorker({ faulty: true, restApi: true, vars });
  await restoreStorage(worker, records);
  return worker;
}

const started = [];
for (const generation of generations) {
  const records = recorded(generation);
  started.push({ generation, records, worker: await startWith(records) });
}

for (const { generation, records, worker } of started) {
  const { origin } = records;

  describe(generation, () => {
    const get = (path, headers) => send({ url: worker.directUrl }, path, { headers });
    const cached = (path, headers) => get(`/cache/${origin}${path}`, headers);

    for (const [path, { headers, body }] of Object.entries(responses)) {
      if (path.startsWith("/purged/")) {
        test(`the cache does not serve ${path}`, async () => {
          const response = await cached(path);
          assert.equal(response.status, 502, response.text);
          assert.equal(parseCacheStatus(response).hit, undefined);
        });
      } else if (path !== "/document") {
        test(`the cache serves ${path}`, async () => {
          const response = await cached(path);
          assertHit(response);
          assert.deepEqual(response.bytes, Buffer.from(body));
          for (const [name, value] of Object.entries(headers)) assert.equal(response.headers[name.toLowerCase()], value);
        });
      }
    }

    test("the cache serves each variant", async () => {
      for (const [language, text] of Object.entries(greetings)) assertHit(await cached("/greeting", { "Accept-Language": language }), text);
    });

    test("the cache serves a page as JSON", async () => {
      const { fromCache, data } = (await get(`/cache?url=${origin}/document`)).json();
      assert.deepEqual([fromCache, data.title, data.content], [true, "A document", "A document"]);
    });

    test("the release is served, with its languages, codings, rules and chunks", async () => {
      const [, files] = releases;
      assert.equal((await get("/")).text, files["index.html"]);
      for (const [language, name] of [
        ["en", "about.html"],
        ["de", "about.de.html"],
      ]) {
        const { text, headers } = await get("/about", { "Accept-Language": language });
        assert.deepEqual([text, headers["content-language"], headers["x-about"]], [files[name], language, "us"]);
      }
      for (const [coding, decode] of Object.entries({ br: brotliDecompressSync, gzip: gunzipSync, zstd: zstdDecompressSync })) {
        const { headers, bytes } = await get("/style.css", { "Accept-Encoding": coding });
        assert.equal(headers["content-encoding"], coding);
        assert.equal(decode(bytes).toString(), files["style.css"]);
      }
      const { status, headers } = await get("/old");
      assert.deepEqual([status, headers.location], [301, "/about"]);
      const from = 8 * 1024 * 1024 - 10;
      const range = await get("/film.mp4", { Range: `bytes=${from}-${from + 19}` });
      assert.equal(range.status, 206);
      assert.deepEqual(range.bytes, film.subarray(from, from + 20));
      const whole = await get("/film.mp4");
      assert.ok(whole.bytes.equals(film));
    });

    test("hashed files of the previous release are served, and unversioned keys", async () => {
      assert.equal((await get("/app.11111111.js")).text, releases[0]["app.11111111.js"]);
      assert.equal((await get("/plain.txt")).text, plainFiles["plain.txt"]);
      const { text, headers } = await get("/hello-world", { "Accept-Language": "de" });
      assert.match(text, /<h1>Hallo!<\/h1>/);
      assert.equal(headers["content-language"], "de");
    });

    test("users are configured by their records and by the snapshot, and flags are evaluated", async () => {
      await worker.env.USER_CONFIGURATION.delete(PREFIX + WITHOUT_RECORD);
      for (const [id, preview] of Object.entries(users)) {
        const source = id === WITHOUT_RECORD ? "snapshot" : undefined;
        assertPage(await get(`/config?userId=${id}`), { preview, source });
      }
      for (const [context, variant] of [
        [{ targetingKey: "bob", plan: "pro" }, "off"],
        [{ targetingKey: "ada", plan: "pro" }, "on"],
        [{ targetingKey: "ada", plan: "free" }, "off"],
      ]) {
        const response = await send({ url: worker.directUrl }, ofrepFlag("preview"), {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ context }),
        });
        assert.equal(response.status, 200, response.text);
        assert.deepEqual([response.json().variant, response.json().value], [variant, flags.flags.preview.variants[variant]]);
      }
    });

    test("a storefront's record routes to its origin", async () => {
      const { ROUTING_CONFIG } = worker.env;
      for (const key of Object.keys(storefronts())) {
        await ROUTING_CONFIG.put(key, (await ROUTING_CONFIG.get(key)).replaceAll(origin, upstream.origin));
      }
      const response = await get("/stores/tea/cups");
      assert.equal(response.status, 200, response.text);
      assert.deepEqual([response.json().url, response.headers["x-shop"]], ["/cups", "tea"]);
    });

    test("values keep their versions, in KV and in objects that had not flushed them", async () => {
      const { read, readConsistent, coalesce, kvValue, waitForKv } = writesOf(worker);
      assert.equal((await read("direct")).text, values.direct);
      const last = values.coalesced.at(-1);
      const expected = { coalesced: [last, '"2"'], waiting: [values.waiting, '"1"'], long: [values.long, '"1"'] };
      for (const [key, [value, etag]] of Object.entries(expected)) {
        const { text, headers } = await readConsistent(key);
        assert.equal(headers.etag, etag);
        assert.ok(text === value, key);
        // The clock is that of the records, so an alarm's time has passed when it is set, and
        // workerd loses one that is set for the millisecond in which another ends. Each read sets
        // it again.
        await eventually(async () => {
          await readConsistent(key);
          return (await kvValue(key)) === value;
        }, `${key} has its value in KV`);
      }
      const next = await coalesce("coalesced", { headers: { "If-Match": '"2"' }, body: "third" });
      assert.equal(next.headers.etag, '"3"', next.text);
      await waitForKv("coalesced", "third");
    });

    test("the tool rolls back to the previous release", async () => {
      const { base } = await apiFor(worker);
      const run = async (command, ...args) => {
        const { code, stdout, stderr } = await runTool(["assets", command, ...args, "--api-base", base]);
        assert.equal(code, 0, stderr);
        return stdout;
      };
      const listed = await run("list", "--json");
      for (const { key } of records.namespaces.assets) {
        const [, id] = /^kv-edge:release:(.*)$/.exec(key) ?? [];
        if (id) assert.ok(listed.includes(id), listed);
      }
      await run("rollback");
      assert.equal((await get("/")).text, releases[0]["index.html"]);
    });

    test("a sync of the same rows writes nothing", async () => {
      const database = await startPostgres();
      after(() => database.stop());
      await database.query("CREATE TABLE users (id text, preview_features_enabled boolean)");
      for (const row of Object.entries(users)) await database.query("INSERT INTO users VALUES ($1, $2)", row);
      // On its own Worker, since the other one lacks a record.
      const { base } = await apiFor(await startWith({ ...records, objects: {} }));
      const args = ["config", "sync", "--api-base", base, "--query", "SELECT * FROM users", "--prefix", PREFIX, "--snapshot", SNAPSHOT, "--json"];
      const { code, stdout, stderr } = await runTool(args, { env: { DATABASE_URL: database.url() } });
      assert.equal(code, 0, stderr);
      const { written, unchanged, deleted } = JSON.parse(stdout.trim().split("\n").at(-1));
      assert.deepEqual({ written, unchanged, deleted }, { written: 0, unchanged: 3, deleted: 0 });
    });
  });
}

test("a cache record of version 1 counts as missing, and is not a fault", async () => {
  const { origin, ...records } = recorded(BY_HAND);
  const worker = await startWith(records);
  const response = await send(worker, `/cache/${origin}/form-1`);
  assert.equal(response.status, 502, response.text);
  const { hit, fwd } = parseCacheStatus(response);
  assert.deepEqual([hit, fwd], [undefined, "uri-miss"]);
  assert.deepEqual(
    worker.log().filter(({ code }) => code === "broken_record"),
    [],
  );
});

test("a dump has every kind of metadata, and restores it", async () => {
  const metadata = { zero: 0, empty: "", false: false, object: { a: 1 } };
  const from = await startWorker({ faulty: true });
  for (const [key, value] of Object.entries(metadata)) await from.env.WRITES.put(key, "value", { metadata: value });
  await from.env.WRITES.put("none", "value");
  const { namespaces } = await dumpStorage(from, []);
  const dumped = namespaces.WRITES.map((entry) => [entry.key, entry.metadata]);
  assert.deepEqual(Object.fromEntries(dumped), { ...metadata, none: undefined });
  const to = await startWorker({ faulty: true });
  await restoreStorage(to, { recordedMs: Date.now(), namespaces });
  const { keys } = await to.env.WRITES.list();
  assert.deepEqual(
    keys.map(({ name, metadata }) => [name, metadata]),
    dumped,
  );
});

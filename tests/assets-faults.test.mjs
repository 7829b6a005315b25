// What is served if KV fails, or if records of a release are broken or missing: the release in
// memory, a 503, a body that breaks off, without a pointer unversioned keys alone, and for
// /hello-world the English text; never a 500.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";
import { startAssets } from "./harness/assets.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";

const assets = await startAssets({ mayBreakOff: true });

const POINTER = "kv-edge:current";
const json = { Accept: "application/json" };
const film = randomBytes(26 * 1024 * 1024);
const files = {
  "index.html": "<!doctype html><p>start",
  "a.txt": "file a",
  "b.txt": "file b",
  "image.png": randomBytes(300_000),
  "404.html": "<!doctype html><p>none",
};

/** In which order a request reads KV if the manifest is in memory; faults have the same order. */
const READS = { pointer: 0, file: 1 };
const failing = (read, ...faults) => ({ get: [...Array(READS[read]).fill("ok"), ...faults] });

/** Checks a 503: as JSON, with Retry-After, and as text. */
async function assertUnavailable(ask, code = "kv_unavailable") {
  const problem = await ask(json);
  assertProblem(problem, 503, code);
  assert.match(problem.headers["retry-after"], /^[1-9]\d*$/);
  assertPlainError(await ask({}), 503, /./);
}

describe("a read of KV", () => {
  before(() => assets.push(files));
  const failures = ["500", "no response", "throws undefined"];

  for (const fault of failures) {
    test(`of the pointer fails once (${fault}): it is retried`, async () => {
      const { response, reads } = await assets.recordReads(() => assets.get("/a.txt", {}, { faults: { get: [fault, "ok"] } }));
      assert.deepEqual([response.status, response.text, response.headers["asset-source"]], [200, "file a", undefined]);
      assert.deepEqual(reads.slice(0, 2), [POINTER, POINTER]);
    });

    test(`of the pointer keeps failing (${fault}): the release in memory serves the request, with Asset-Source: previous`, async () => {
      await assets.get("/a.txt");
      for (const path of ["/a.txt", "/"]) {
        await assets.get(path);
        const { response, reads } = await assets.recordReads(() => assets.get(path, {}, { faults: { get: [fault] } }));
        assert.deepEqual([response.status, response.headers["asset-source"]], [200, "previous"]);
        assert.ok(reads.length <= 2, `${reads}`);
      }
      assert.equal((await assets.get("/a.txt")).headers["asset-source"], undefined);
    });

    test(`of a file fails once (${fault}): it is retried`, async () => {
      await assets.emptyMemory();
      await assets.get("/a.txt");
      for (const path of ["/b.txt", "/image.png"]) {
        const response = await assets.get(path, {}, { faults: failing("file", fault, "ok") });
        assert.equal(response.status, 200, response.text);
        assert.ok(response.bytes.equals(Buffer.from(files[path.slice(1)])));
      }
    });

    test(`of a file keeps failing (${fault}): 503, and the next request succeeds`, async () => {
      await assets.emptyMemory();
      await assets.get("/a.txt");
      for (const path of ["/b.txt", "/image.png"]) {
        await assertUnavailable((headers) => assets.get(path, headers, { faults: failing("file", fault) }));
        assert.ok((await assets.get(path)).bytes.equals(Buffer.from(files[path.slice(1)])));
      }
    });

    test(`keeps failing with nothing in memory (${fault}): 503`, async () => {
      await assets.emptyMemory();
      const { response, reads } = await assets.recordReads(() => assets.get("/a.txt", json, { faults: { get: [fault] } }));
      assertProblem(response, 503, "kv_unavailable");
      assert.deepEqual(reads, [POINTER, POINTER]);
      assert.equal((await assets.get("/a.txt")).text, "file a");
    });
  }

  test("of a file in memory is not needed", async () => {
    await assets.get("/a.txt");
    const response = await assets.get("/a.txt", {}, { faults: failing("file", "500") });
    assert.deepEqual([response.status, response.text], [200, "file a"]);
  });

  test("that gets 429 is retried once, then 503", async () => {
    await assets.emptyMemory();
    const { response, reads } = await assets.recordReads(() => assets.get("/a.txt", json, { faults: { get: ["429"] } }));
    assertProblem(response, 503, "kv_unavailable");
    assert.deepEqual(reads, [POINTER, POINTER]);
  });

  test("of an unversioned key keeps failing: 503, not 404", async () => {
    await assets.kv.put("plain.txt", "plain");
    await assets.get("/a.txt");
    await assertUnavailable((headers) => assets.get("/plain.txt", headers, { faults: failing("file", "500") }));
    assert.equal((await assets.get("/plain.txt")).text, "plain");
  });

  test("of the 404 page keeps failing: a plain 404 with Asset-Source: default, and the next request gets the page", async () => {
    await assets.emptyMemory();
    await assets.get("/a.txt");
    const { response, reads } = await assets.recordReads(() => assets.get("/none", {}, { faults: { get: ["ok", "ok", "500"] } }));
    assertPlainError(response, 404, "Not found");
    assert.deepEqual([response.headers["asset-source"], response.headers["cache-control"]], ["default", "no-store"]);
    assert.deepEqual(reads.slice(-2), Array(2).fill((await assets.file("/404.html")).keys[0]));
    assert.equal((await assets.get("/none")).text, files["404.html"]);
  });

  describe("with a release that has dropped files", () => {
    const script = "/app.3f2a1b9c.js";
    before(async () => {
      await assets.emptyMemory();
      await assets.push({ ...files, "worker.js": "worker", [script.slice(1)]: "app", "404.html": "<!doctype html><p>before" });
      for (const path of ["/worker.js", "/none"]) await assets.get(path);
      await assets.push(files, "--previous", "1");
      await assets.get("/a.txt");
    });

    test("of the 404 page keeps failing: the page of the previous release, and a file that was dropped does not come back", async () => {
      for (const path of ["/worker.js", "/gone/worker.js"]) {
        const response = await assets.get(path, {}, { faults: { get: ["ok", "ok", "500"] } });
        assert.deepEqual([response.status, response.text, response.headers["asset-source"]], [404, "<!doctype html><p>before", "previous"]);
      }
    });

    test("of a previous release's manifest keeps failing: 503 for a file that it may have, not 404", async () => {
      await assets.emptyMemory();
      await assets.get("/a.txt");
      await assertUnavailable((headers) => assets.get(script, headers, { faults: { get: ["ok", "500", "500", "ok"] } }));
      assert.equal((await assets.get(script)).text, "app");
    });
  });

  test("of the file is not needed for HEAD and 304", async () => {
    await assets.emptyMemory();
    const { etag } = (await assets.head("/b.txt")).headers;
    assert.equal((await assets.head("/b.txt", {}, { faults: failing("file", "500") })).status, 200);
    assert.equal((await assets.get("/b.txt", { "If-None-Match": etag }, { faults: failing("file", "500") })).status, 304);
  });
});

/** Values that are not a valid pointer. */
const broken = [
  "",
  "not json",
  "{",
  "null",
  "42",
  "[]",
  "{}",
  '{"current":5}',
  '{"version":1}',
  '{"current":"../../x","switchedMs":1}',
  new Uint8Array([0xff, 0xfe, 0]),
];
const named = (value) => (typeof value === "string" ? JSON.stringify(value) : "bytes that are not UTF-8");

describe("the pointer", () => {
  let good;
  before(async () => {
    await assets.push(files);
    good = await assets.kv.get(POINTER);
  });
  beforeEach(() => assets.kv.put(POINTER, good));
  after(() => assets.kv.put(POINTER, good));

  for (const value of broken) {
    test(`is ${named(value)}: the release in memory serves the request, with Asset-Source: previous`, async () => {
      assert.equal((await assets.get("/a.txt")).text, "file a");
      await assets.kv.put(POINTER, value);
      const response = await assets.get("/a.txt");
      assert.deepEqual([response.status, response.text, response.headers["asset-source"]], [200, "file a", "previous"]);
    });
  }

  for (const value of ["", "not json", '{"current":5}']) {
    test(`is ${named(value)}, with nothing in memory: 503`, async () => {
      await assets.kv.put(POINTER, value);
      await assets.emptyMemory();
      await assertUnavailable((headers) => assets.get("/a.txt", headers));
      await assets.kv.put(POINTER, good);
      assert.equal((await assets.get("/a.txt")).text, "file a");
    });
  }

  test("is missing: only unversioned keys are served", async () => {
    await assets.kv.put("plain.txt", "plain");
    await assets.kv.put("index.html", "plain index");
    await assets.kv.delete(POINTER);
    await assets.emptyMemory();
    assert.equal((await assets.get("/plain.txt")).text, "plain");
    assert.equal((await assets.get("/")).text, "plain index");
    assertPlainError(await assets.get("/a.txt"), 404, "Not found");
    assert.equal((await assets.get("/kv-edge:current")).status, 404);
    await assets.kv.delete("index.html");
  });

  test("names a missing release: the release in memory serves the request; with nothing in memory, 503", async () => {
    await assets.get("/a.txt");
    await assets.kv.put(POINTER, JSON.stringify({ current: "20990101T000000Z-00000000", previous: [], switchedMs: Date.now() }));
    assert.deepEqual([(await assets.get("/a.txt")).text, (await assets.get("/a.txt")).headers["asset-source"]], ["file a", "previous"]);
    await assets.emptyMemory();
    await assertUnavailable((headers) => assets.get("/a.txt", headers));
  });

  test("names previous releases that are missing: the current one is served", async () => {
    await assets.kv.put(POINTER, JSON.stringify({ ...JSON.parse(good), previous: ["20200101T000000Z-00000000", "20200101T000001Z-00000000"] }));
    assert.equal((await assets.get("/a.txt")).text, "file a");
    assert.equal((await assets.get("/old.3f2a1b9c.js")).status, 404);
  });
});

describe("the manifest", () => {
  let key, good;
  before(async () => {
    await assets.push(files);
    key = `kv-edge:release:${(await assets.pointer()).current}`;
    good = await assets.kv.get(key);
  });
  beforeEach(() => assets.kv.put(key, good));

  const later = () => JSON.stringify({ ...JSON.parse(good), version: 2 });
  const changed = (change) => {
    const manifest = JSON.parse(good);
    return JSON.stringify({ ...manifest, files: manifest.files.map(change) });
  };
  const cut = () => good.slice(0, -20);
  for (const [name, make] of [
    ...["", "not json", "null", "{}"].map((value) => [named(value), () => value]),
    ["a manifest of a later version of the format", later],
    ["a manifest that is cut off", cut],
    ["a manifest with a media type of two lines", () => changed((file) => ({ ...file, t: "text/plain\nX-A: b" }))],
    ["a manifest with a language of two lines", () => changed((file) => ({ ...file, l: "d\ne" }))],
    ["a manifest with a hash that is too long for a key", () => changed((file) => ({ ...file, b: { ...file.b, h: "a".repeat(600) } }))],
  ]) {
    test(`is ${name}: 503 with nothing in memory, until it is repaired`, async () => {
      await assets.kv.put(key, make());
      await assets.emptyMemory();
      await assertUnavailable((headers) => assets.get("/a.txt", headers));
      await assets.kv.put(key, good);
      assert.equal((await assets.get("/a.txt")).text, "file a");
    });
  }

  test("of the next release is unreadable: the previous one is served, with Asset-Source: previous", async () => {
    assert.equal((await assets.get("/a.txt")).text, "file a");
    await assets.kv.put("kv-edge:release:20990101T000000Z-00000000", "not json");
    const pointer = await assets.kv.get(POINTER);
    await assets.kv.put(POINTER, JSON.stringify({ current: "20990101T000000Z-00000000", previous: [JSON.parse(pointer).current], switchedMs: Date.now() }));
    const response = await assets.get("/a.txt");
    assert.deepEqual([response.status, response.text, response.headers["asset-source"]], [200, "file a", "previous"]);
    await assets.kv.put(POINTER, pointer);
  });
});

describe("a file that the manifest names", () => {
  before(() => assets.push({ ...files, "film.mp4": film }));
  beforeEach(async () => {
    await assets.emptyMemory();
    await assets.get("/a.txt");
  });

  for (const path of ["/b.txt", "/image.png"]) {
    test(`${path} is missing: it is read again once, then 503, never an empty 200`, async () => {
      const [key] = (await assets.file(path)).keys;
      const bytes = await assets.kv.get(key, "arrayBuffer");
      await assets.kv.delete(key);
      const { response, reads } = await assets.recordReads(() => assets.get(path, json));
      assertProblem(response, 503, "file_missing");
      assert.deepEqual(
        reads.filter((read) => read === key),
        [key, key],
      );
      await assertUnavailable((headers) => assets.get(path, { ...headers, Range: "bytes=0-3" }), "file_missing");
      assert.equal((await assets.head(path)).status, 200);
      await assets.kv.put(key, bytes);
      assert.equal((await assets.get(path)).status, 200);
    });

    test(`${path} is not seen by the first read: the second finds it`, async () => {
      const response = await assets.get(path, {}, { faults: failing("file", "missing", "ok") });
      assert.equal(response.status, 200, response.text);
      assert.ok(response.bytes.equals(Buffer.from(files[path.slice(1)])));
    });
  }

  // The stream of a longer file is passed through: `whole_body` in asset_store.rs says why.
  test("a short file is shorter than the manifest says: 503", async () => {
    const [key] = (await assets.file("/b.txt")).keys;
    const bytes = await assets.kv.get(key, "arrayBuffer");
    for (const less of [new ArrayBuffer(0), bytes.slice(0, 3)]) {
      await assets.kv.put(key, less);
      assertProblem(await assets.get("/b.txt", json), 503, "file_missing");
    }
    await assets.kv.put(key, bytes);
    assert.equal((await assets.get("/b.txt")).text, files["b.txt"]);
  });

  test("a chunk is missing: ranges in other chunks are served, its own are 503, and the whole file is not served as complete", async () => {
    const {
      keys: [, key],
      lengths: [length],
    } = await assets.file("/film.mp4");
    const bytes = await assets.kv.get(key, "arrayBuffer");
    await assets.kv.delete(key);
    assert.equal((await assets.get("/film.mp4", { Range: "bytes=0-99" })).status, 206);
    await assertUnavailable((headers) => assets.get("/film.mp4", { ...headers, Range: `bytes=${length}-${length + 99}` }), "file_missing");
    const whole = await assets.get("/film.mp4").catch(() => ({ status: "broken" }));
    assert.ok(whole.status !== 200 || whole.complete === false, `${whole.status}, ${whole.bytes?.length} bytes`);
    await assets.kv.put(key, bytes);
    assert.ok((await assets.get("/film.mp4")).bytes.equals(film));
  });

  test("a chunk is shorter than the manifest says: the body breaks off", async () => {
    const {
      keys: [, key],
      lengths: [length],
    } = await assets.file("/film.mp4");
    const bytes = await assets.kv.get(key, "arrayBuffer");
    await assets.kv.put(key, bytes.slice(0, 5));
    for (const headers of [{}, { Range: `bytes=${length - 10}-` }]) {
      const response = await assets.get("/film.mp4", headers);
      assert.equal(response.complete, false);
    }
    await assets.kv.put(key, bytes);
  });

  test("a file is shorter than the manifest says: no range is served as complete", async () => {
    const [key] = (await assets.file("/image.png")).keys;
    const bytes = await assets.kv.get(key, "arrayBuffer");
    await assets.kv.put(key, bytes.slice(0, 3));
    for (const range of ["bytes=0-9", "bytes=1-2,100-200", "bytes=-5"]) {
      const response = await assets.get("/image.png", { Range: range }).catch((error) => ({ error }));
      assert.ok(response.error || response.status === 503 || !response.complete, `${range}: ${response.status}`);
    }
    await assets.kv.put(key, bytes);
  });

  test("the 404 page is missing: a plain 404", async () => {
    const [key] = (await assets.file("/404.html")).keys;
    await assets.kv.delete(key);
    assertPlainError(await assets.get("/none"), 404, "Not found");
    await assets.kv.put(key, files["404.html"]);
    assert.equal((await assets.get("/none")).text, files["404.html"]);
  });

  test("the page of a single-page application is missing: 503, since it is the response to the path", async () => {
    await assets.push({ "index.html": "app" }, "--not-found", "single-page-application");
    const [key] = (await assets.file("/index.html")).keys;
    await assets.kv.delete(key);
    assertProblem(await assets.get("/some/route", { ...json, "Sec-Fetch-Mode": "navigate" }), 503, "file_missing");
    await assets.kv.put(key, "app");
    await assets.push({ ...files, "film.mp4": film });
  });

  test("an encoding is missing: 503 for it, and the unencoded file is served", async () => {
    const prose = "prose ".repeat(2000);
    await assets.push({ "prose.txt": prose });
    const { encoded } = await assets.file("/prose.txt");
    await assets.kv.delete(encoded.br.keys[0]);
    assert.equal((await assets.get("/prose.txt", { "Accept-Encoding": "identity" })).text, prose);
    const response = await assets.get("/prose.txt", { "Accept-Encoding": "br" });
    assert.equal(response.status, 503);
  });
});

test("/hello-world is in English if KV fails", async () => {
  await assets.push({ "hello-world.json": JSON.stringify([{ language_code: "de", message: "Hallo Welt!" }]) });
  await assets.emptyMemory();
  const failed = await assets.get("/hello-world", { "Accept-Language": "de" }, { faults: { get: ["500"] } });
  assert.deepEqual([failed.status, failed.headers["content-language"], failed.headers["translation-source"]], [200, "en", "default"]);
  assert.equal((await assets.get("/hello-world", { "Accept-Language": "de" })).headers["content-language"], "de");
});

// How many KV reads the responses of static files cost. What is in memory is fresh for thirty
// seconds, the default.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { before, beforeEach, describe, test } from "node:test";
import { startAssets } from "./harness/assets.mjs";
import { eventually } from "./harness/eventually.mjs";
import { send } from "./harness/http.mjs";

const assets = await startAssets({ refresh: "30" });

const POINTER = "kv-edge:current";
const prose = "prose that is worth an encoding. ".repeat(200);
const files = {
  "index.html": `<!doctype html><p>${prose}`,
  "about.html": `<!doctype html><p lang="en">${prose}`,
  "about.de.html": `<!doctype html><p lang="de">${prose}`,
  "small.txt": prose,
  "never-read.txt": `${prose} never read`,
  "100k.bin": randomBytes(100 * 1024),
  "large.bin": randomBytes(20 * 1024 * 1024),
  "404.html": "<!doctype html><p>none",
  _redirects: "/old /small.txt 301\n",
  "hello-world.json": JSON.stringify([
    { language_code: "en", message: "Hello World!" },
    { language_code: "de", message: "Hallo Welt!" },
  ]),
};

before(async () => {
  await assets.kv.put("plain.txt", "plain");
  await assets.push(files);
});

test("the first response of all reads pointer, manifest and file, one after the other", async () => {
  await assets.emptyMemory();
  const { response, reads } = await assets.recordReads(() => assets.get("/small.txt"));
  assert.equal(response.status, 200);
  const { keys } = await assets.file("/small.txt");
  const { current } = await assets.pointer();
  assert.deepEqual(reads, [POINTER, `kv-edge:release:${current}`, ...keys]);
});

describe("with the manifest in memory", () => {
  let etag;
  before(async () => {
    await assets.emptyMemory();
    ({ etag } = (await assets.get("/small.txt")).headers);
    await assets.get("/none");
  });

  /** Requests that cost no read: what is asked for, path, header fields, status. */
  const free = [
    ["a small file that was read before", "/small.txt", {}, 200],
    ["a range of it", "/small.txt", { Range: "bytes=5-9" }, 206],
    ["several ranges of it", "/small.txt", { Range: "bytes=0-1,7-9" }, 206],
    ["304 by its ETag", "/small.txt", { "If-None-Match": () => etag }, 304],
    ["304 of a file that was never read", "/never-read.txt", { "If-None-Match": "*" }, 304],
    ["304 of a large file", "/large.bin", { "If-None-Match": "*" }, 304],
    ["304 by a date", "/never-read.txt", { "If-Modified-Since": new Date(Date.now() + 60_000).toUTCString() }, 304],
    ["412", "/never-read.txt", { "If-Match": '"x"' }, 412],
    ["416", "/never-read.txt", { Range: "bytes=99999999-" }, 416],
    ["406", "/never-read.txt", { "Accept-Encoding": "identity;q=0" }, 406],
    ["307 to the canonical path", "/about.html?x=1", {}, 307],
    ["a redirect by a rule", "/old", {}, 301],
    ["an invalid path", "/%zz", {}, 404],
    ["dots in a path", "/a%2f..%2fb", {}, 404],
    ["a key of the releases", "/kv-edge:current", {}, 404],
    ["what was not there before", "/none", {}, 404],
  ];
  for (const [what, path, headers, status] of free) {
    test(`${what} costs no read`, async () => {
      const fields = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, typeof value === "function" ? value() : value]));
      const { response, reads } = await assets.recordReads(() => assets.get(path, fields));
      assert.equal(response.status, status);
      assert.deepEqual(reads, []);
    });
  }

  for (const path of ["/small.txt", "/never-read.txt", "/large.bin", "/", "/about?lang=de", "/about.html", "/%zz"]) {
    test(`HEAD ${path} costs no read`, async () => assert.deepEqual((await assets.recordReads(() => assets.head(path))).reads, []));
  }

  for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
    test(`${method} costs no read`, async () => {
      const { response, reads } = await assets.recordReads(() => assets.request(method, "/small.txt"));
      assert.equal(response.status, 405);
      assert.deepEqual(reads, []);
    });
  }

  for (const [path, headers] of [
    ["/small.txt", { "Accept-Encoding": "br" }],
    ["/small.txt", { "Accept-Encoding": "gzip" }],
    ["/about", { "Accept-Language": "de" }],
    ["/about", { "Accept-Language": "en", "Accept-Encoding": "zstd" }],
    ["/", {}],
    ["/hello-world", { "Accept-Language": "de" }],
  ]) {
    test(`${path} ${JSON.stringify(headers)} costs one read at most, and none the second time`, async () => {
      const first = await assets.recordReads(() => assets.get(path, headers));
      assert.equal(first.response.status, 200);
      assert.ok(first.reads.length <= 1, `${first.reads}`);
      const second = await assets.recordReads(() => assets.get(path, headers));
      assert.deepEqual(second.reads, []);
      assert.ok(second.response.bytes.equals(first.response.bytes));
      assert.equal(second.response.headers.etag, first.response.headers.etag);
    });
  }

  test("a large file costs one read each time", async () => {
    for (let turn = 1; turn <= 2; turn += 1) {
      const { response, reads } = await assets.recordReads(() => assets.get("/large.bin"));
      assert.ok(response.bytes.equals(files["large.bin"]));
      assert.equal(reads.length, 1);
    }
  });

  test("a file of 100 KiB costs one read at most", async () => {
    for (let turn = 1; turn <= 2; turn += 1) {
      const { response, reads } = await assets.recordReads(() => assets.get("/100k.bin"));
      assert.ok(response.bytes.equals(files["100k.bin"]));
      assert.ok(reads.length <= 1);
    }
  });

  test("an unversioned key costs one read each time", async () => {
    for (let turn = 1; turn <= 2; turn += 1) {
      const { response, reads } = await assets.recordReads(() => assets.get("/plain.txt"));
      assert.equal(response.text, "plain");
      assert.deepEqual(reads, ["plain.txt"]);
    }
  });

  test("what is not there costs one read the first time, and none soon after", async () => {
    const path = "/not-there-either.txt";
    const first = await assets.recordReads(() => assets.get(path));
    assert.equal(first.response.status, 404);
    assert.ok(first.reads.filter((key) => key === "not-there-either.txt").length === 1, `${first.reads}`);
    for (const ask of [assets.get, assets.head]) {
      const { response, reads } = await assets.recordReads(() => ask(path));
      assert.equal(response.status, 404);
      assert.deepEqual(reads, []);
    }
  });

  test("many different missing paths do not evict files from memory", async () => {
    await assets.get("/small.txt");
    for (let number = 0; number < 3000; number += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, index) => send({ url: assets.worker.directUrl }, `/scan-${number + index}.php`)));
    }
    assert.deepEqual((await assets.recordReads(() => assets.get("/small.txt"))).reads, []);
  });
});

describe("what is in memory is checked in the background", () => {
  beforeEach(async () => {
    await assets.advanceClock(1000);
    await assets.get("/small.txt");
    await eventually(async () => (await assets.recordReads(() => assets.get("/small.txt"))).reads.length === 0, "a fresh memory");
  });

  test("before thirty seconds have passed, a response from memory costs no read", async () => {
    await assets.advanceClock(25);
    assert.deepEqual((await assets.recordReads(() => assets.get("/small.txt"))).reads, []);
  });

  test("after thirty seconds, twenty requests at once cause one read of the pointer", async () => {
    await assets.advanceClock(31);
    const ask = () => Promise.all(Array.from({ length: 20 }, () => assets.get("/small.txt")));
    const { response: responses, reads } = await assets.recordReads(ask, { background: 1 });
    assert.ok(responses.every(({ status }) => status === 200));
    assert.deepEqual(reads, [POINTER]);
  });

  test("after minutes without a request, no response waits for the read, either", async () => {
    await assets.advanceClock(9 * 60);
    const ask = () => assets.get("/small.txt", {}, { faults: { get: ["never"] } });
    const { response, reads } = await assets.recordReads(ask, { background: 1 });
    assert.deepEqual([response.text, reads], [prose, [POINTER]]);
  });

  test("a response arrives though the read of the pointer never ends", async () => {
    await assets.advanceClock(31);
    const response = await assets.get("/small.txt", {}, { faults: { get: ["never"] } });
    assert.equal(response.text, prose);
  });

  test("the next release shows after the read of the pointer, and not before", async () => {
    await assets.push({ ...files, "small.txt": "the next release" });
    assert.equal((await assets.get("/small.txt")).text, prose);
    await assets.advanceClock(31);
    await assets.get("/small.txt");
    await eventually(async () => (await assets.get("/small.txt")).text === "the next release", "the next release");
    await assets.push(files);
    await assets.advanceClock(31);
    await assets.get("/small.txt");
    await eventually(async () => (await assets.get("/small.txt")).text === prose, "the first files again");
  });

  test("a key that was not there shows when thirty seconds have passed", async () => {
    assert.equal((await assets.get("/late.txt")).status, 404);
    await assets.kv.put("late.txt", "late");
    assert.equal((await assets.get("/late.txt")).status, 404);
    await assets.advanceClock(31);
    await eventually(async () => (await assets.get("/late.txt")).text === "late", "the key");
  });

  test("reads of the pointer that fail change no response", async () => {
    await assets.advanceClock(31);
    for (let turn = 0; turn < 5; turn += 1) {
      const response = await assets.get("/small.txt", {}, { faults: { get: ["500"] } });
      assert.deepEqual([response.status, response.text], [200, prose]);
    }
  });
});

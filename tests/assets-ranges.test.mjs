// Parts of files of a release (RFC 9110 §14), as media players, download managers and PDF viewers
// ask for them.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startAssets } from "./harness/assets.mjs";
import { openRequest } from "./harness/http.mjs";
import { assertProblem } from "./harness/problem.mjs";

const assets = await startAssets();
const MIB = 1024 * 1024;
const CHUNK = 8 * MIB;
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

const data = randomBytes(1000);
const text = "text that is shorter in every encoding. ".repeat(200);
const film = randomBytes(60_000_000);
const chunk = randomBytes(CHUNK);
const loop = Buffer.concat([chunk, chunk, chunk, chunk]);
await assets.push({ "data.bin": data, "text.txt": text, "empty.bin": "", "film.mp4": film, "loop.mp4": loop, "page.html": "<p>page" });

const wholeHeaders = (await assets.head("/data.bin")).headers;

/**
 * The parts of a `multipart/byteranges` (RFC 9110 §14.6): `[{ contentType, contentRange, bytes
 * }]`.
 */
function parts({ headers, bytes }) {
  const boundary = /^multipart\/byteranges; ?boundary="?([^";]{1,70})"?$/.exec(headers["content-type"])?.[1];
  assert.ok(boundary, headers["content-type"]);
  const body = bytes.toString("latin1");
  const [preamble, ...rest] = `\r\n${body}`.split(`\r\n--${boundary}`);
  assert.equal(preamble, "");
  assert.match(rest.pop(), /^--(\r\n)?$/);
  return rest.map((part) => {
    const end = part.indexOf("\r\n\r\n");
    const fields = Object.fromEntries(
      part
        .slice(2, end)
        .split("\r\n")
        .map((line) => line.split(/: ?(.*)/s).slice(0, 2)),
    );
    const lower = Object.fromEntries(Object.entries(fields).map(([name, value]) => [name.toLowerCase(), value]));
    return { contentType: lower["content-type"], contentRange: lower["content-range"], bytes: Buffer.from(part.slice(end + 4), "latin1") };
  });
}

/** Checks a 206 for these parts, `[first, last]` each, against the file's bytes. */
function assertParts(response, expected, file, type) {
  assert.equal(response.status, 206, response.text.slice(0, 100));
  assert.ok(response.complete);
  assert.equal(response.headers["content-length"], String(response.bytes.length));
  assert.equal(response.headers["content-encoding"], undefined);
  const of = ([first, last]) => `bytes ${first}-${last}/${file.length}`;
  if (expected.length === 1) {
    const [[first, last]] = expected;
    assert.equal(response.headers["content-range"], of(expected[0]));
    assert.equal(response.headers["content-type"], type);
    assert.ok(response.bytes.equals(file.subarray(first, last + 1)), `${first}-${last}`);
    return;
  }
  // §15.3.7.2: "MUST NOT generate a Content-Range header field in the HTTP header section
  // of a multiple part response".
  assert.equal(response.headers["content-range"], undefined);
  const found = parts(response);
  assert.deepEqual(
    found.map(({ contentRange }) => contentRange),
    expected.map(of),
  );
  for (const [index, [first, last]] of expected.entries()) {
    assert.equal(found[index].contentType, type);
    assert.ok(found[index].bytes.equals(file.subarray(first, last + 1)), `${first}-${last}`);
  }
}

test("a 200 has Accept-Ranges", () => {
  assert.equal(wholeHeaders["accept-ranges"], "bytes");
  assert.equal(wholeHeaders["content-length"], "1000");
});

const every = (n, step) => Array.from({ length: n }, (_, index) => `${index * step}-${index * step}`).join(",");

/** A Range on 1000 bytes, and the ranges sent, 416, or 200. */
const ranges = [
  // §14.1.2: first-last, open, suffix.
  ["bytes=0-0", [[0, 0]]],
  ["bytes=0-499", [[0, 499]]],
  ["bytes=500-999", [[500, 999]]],
  ["bytes=999-", [[999, 999]]],
  ["bytes=0-", [[0, 999]]],
  ["bytes=990-2000", [[990, 999]]],
  ["bytes=5-99999999999999999999999", [[5, 999]]],
  ["bytes=-1", [[999, 999]]],
  ["bytes=-999", [[1, 999]]],
  ["bytes=-5000", [[0, 999]]],
  ["bytes = 0-3", 200],
  ["Bytes=0-3", [[0, 3]]],
  ["bytes= 0-3", [[0, 3]]],
  // Several.
  [
    "bytes=0-0,-1",
    [
      [0, 0],
      [999, 999],
    ],
  ],
  [
    "bytes=0-9, 100-109 ,500-509",
    [
      [0, 9],
      [100, 109],
      [500, 509],
    ],
  ],
  [
    "bytes=0-9,,20-29,",
    [
      [0, 9],
      [20, 29],
    ],
  ],
  // §15.3.7.2: overlapping or adjacent parts become one.
  ["bytes=0-9,5-19", [[0, 19]]],
  ["bytes=0-9,10-19", [[0, 19]]],
  ["bytes=5-9,0-9,0-4", [[0, 9]]],
  ["bytes=0-,-1", [[0, 999]]],
  // §14.1.1: one that is satisfiable is enough.
  ["bytes=2000-3000,0-3", [[0, 3]]],
  ["bytes=-0,990-", [[990, 999]]],
  [
    "bytes=2000-,3000-,0-0,9-9",
    [
      [0, 0],
      [9, 9],
    ],
  ],
  // At most sixteen that do not touch; more are an attack (§14.2), and the whole is a valid
  // response.
  [`bytes=${every(16, 10)}`, Array.from({ length: 16 }, (_, index) => [index * 10, index * 10])],
  [`bytes=${every(17, 10)}`, 200],
  [`bytes=${every(900, 1)}`, [[0, 899]]],
  // §15.5.17: none is satisfiable.
  ["bytes=1000-", 416],
  ["bytes=1000-1000", 416],
  ["bytes=-0", 416],
  ["bytes=99999999999999999999999-", 416],
  ["bytes=1000-,2000-,-0", 416],
  // Malformed, or of another unit: ignored.
  ...[
    "bytes=9-5",
    "bytes=a-b",
    "bytes=1",
    "bytes=-",
    "bytes=--1",
    "bytes=+1-2",
    "bytes=1-2-3",
    "bytes 0-3",
    "0-3",
    "items=0-3",
    "bytes=",
    "bytes=,",
    "=0-3",
    "bytes=0-3,x",
    "bytes=0x1-2",
    "bytes=0-3;q=1",
  ].map((range) => [range, 200]),
];
for (const [range, expected] of ranges) {
  const outcome = Array.isArray(expected) ? `206 ${expected.slice(0, 3).join(" ")}` : expected;
  test(`Range: ${range.slice(0, 60)} gets ${outcome}`, async () => {
    const response = await assets.get("/data.bin", { Range: range });
    assert.equal(response.headers["x-content-type-options"], "nosniff");
    if (Array.isArray(expected)) {
      assertParts(response, expected, data, "application/octet-stream");
      for (const name of ["etag", "last-modified", "cache-control", "vary"]) assert.equal(response.headers[name], wholeHeaders[name], name);
    } else if (expected === 416) {
      assert.equal(response.status, 416);
      assert.equal(response.headers["content-range"], "bytes */1000");
      assert.ok(response.bytes.length < 200 && !response.headers["content-type"]?.startsWith("application/octet-stream"));
      assert.ok(!/max-age=[1-9]/.test(response.headers["cache-control"] ?? ""));
    } else {
      assert.equal(response.status, 200);
      assert.equal(response.headers["content-range"], undefined);
      assert.ok(response.bytes.equals(data));
    }
  });
}

test("a client that asks for JSON gets problem details that say Range Not Satisfiable", async () => {
  const response = await assets.get("/data.bin", { Range: "bytes=1000-", Accept: "application/json" });
  assertProblem(response, 416, "range_not_satisfiable");
  assert.equal(response.headers["content-range"], "bytes */1000");
});

test("a Range on HEAD is ignored (RFC 9110 §14.2)", async () => {
  for (const range of ["bytes=0-3", "bytes=0-0,-1", "bytes=1000-"]) {
    const { status, headers, bytes } = await assets.head("/data.bin", { Range: range });
    assert.deepEqual([status, headers["content-length"], headers["content-range"], bytes.length], [200, "1000", undefined, 0]);
  }
});

test("of an empty file, a range from a position is 416, and a suffix gets 200", async () => {
  assert.equal((await assets.get("/empty.bin", { Range: "bytes=0-" })).status, 416);
  assert.equal((await assets.get("/empty.bin", { Range: "bytes=0-" })).headers["content-range"], "bytes */0");
  assert.equal((await assets.get("/empty.bin", { Range: "bytes=-5" })).status, 200);
});

test("a range is one of the unencoded file, even if encodings are accepted, or preferred", async () => {
  const identity = await assets.get("/text.txt");
  for (const accepted of ["br", "gzip, zstd", "*", "br;q=1, identity;q=0.1"]) {
    const response = await assets.get("/text.txt", { Range: "bytes=10-49", "Accept-Encoding": accepted });
    assertParts(response, [[10, 49]], Buffer.from(text), "text/plain; charset=utf-8");
    assert.equal(response.headers.etag, identity.headers.etag);
    assert.equal(response.headers.vary, identity.headers.vary);
  }
  assertParts(
    await assets.get("/text.txt", { Range: "bytes=0-9,-9", "Accept-Encoding": "br" }),
    [
      [0, 9],
      [text.length - 9, text.length - 1],
    ],
    Buffer.from(text),
    "text/plain; charset=utf-8",
  );
});

const other = (seconds) => new Date(Date.parse(wholeHeaders["last-modified"]) + seconds * 1000).toUTCString();
// The range if the representation is the same, else the whole (RFC 9110 §13.1.5).
for (const [what, ifRange, status] of [
  ["its ETag", wholeHeaders.etag, 206],
  ["its Last-Modified", wholeHeaders["last-modified"], 206],
  ["its ETag as a weak one", `W/${wholeHeaders.etag}`, 200],
  ["another ETag", '"00000000000000000000000000000000"', 200],
  ["a list with its ETag", `${wholeHeaders.etag}, "b"`, 200],
  ["its ETag without quotes", wholeHeaders.etag.slice(1, -1), 200],
  ["*", "*", 200],
  ["an earlier date", other(-60), 200],
  ["a later date", other(60), 200],
  ["an invalid date", "yesterday", 200],
]) {
  test(`If-Range with ${what} gets ${status}`, async () => {
    const response = await assets.get("/data.bin", { Range: "bytes=0-9", "If-Range": ifRange });
    assert.equal(response.status, status);
    assert.ok(response.bytes.equals(status === 206 ? data.subarray(0, 10) : data));
    // An unsatisfiable range of another representation is not a 416 either.
    const beyond = await assets.get("/data.bin", { Range: "bytes=5000-", "If-Range": ifRange });
    assert.equal(beyond.status, status === 206 ? 416 : 200);
  });
}

test("If-Range with the ETag of an encoding gets the whole file", async () => {
  const { headers } = await assets.get("/text.txt", { "Accept-Encoding": "br" });
  const response = await assets.get("/text.txt", { Range: "bytes=0-9", "If-Range": headers.etag });
  assert.deepEqual([response.status, response.text], [200, text]);
});

describe("a film of 60 MB, which is stored in chunks", () => {
  let chunks;
  before(async () => {
    chunks = (await assets.file("/film.mp4")).keys;
    assert.equal(chunks.length, Math.ceil(film.length / CHUNK));
  });

  /** Requests a range; returns the chunks that were read from KV. */
  const part = async (first, last) => {
    const { response, reads } = await assets.recordReads(() => assets.get("/film.mp4", { Range: `bytes=${first}-${last}` }));
    assertParts(response, [[first, last]], film, "video/mp4");
    return reads.filter((key) => key.startsWith("kv-edge:blob:")).map((key) => chunks.indexOf(key));
  };

  for (const [what, first, last, read] of [
    ["its first bytes", 0, 99, [0]],
    ["a whole chunk", CHUNK, 2 * CHUNK - 1, [1]],
    ["the last byte of a chunk", 3 * CHUNK - 1, 3 * CHUNK - 1, [2]],
    ["the first byte of a chunk", 3 * CHUNK, 3 * CHUNK, [3]],
    ["two bytes across an edge", 4 * CHUNK - 1, 4 * CHUNK, [3, 4]],
    ["three chunks, the outer ones in part", 2 * CHUNK - 5, 3 * CHUNK + 4, [1, 2, 3]],
    ["its end", film.length - 1000, film.length - 1, [7]],
    ["all but two bytes", 1, film.length - 2, [0, 1, 2, 3, 4, 5, 6, 7]],
  ]) {
    test(`${what}: ${read.length} of its 8 chunks are read`, async () => assert.deepEqual(await part(first, last), read));
  }

  test("Safari's requests before it plays and after a seek succeed", async () => {
    assertParts(await assets.get("/film.mp4", { Range: "bytes=0-1" }), [[0, 1]], film, "video/mp4");
    assertParts(await assets.get("/film.mp4", { Range: `bytes=0-${film.length - 1}` }), [[0, film.length - 1]], film, "video/mp4");
    assertParts(await assets.get("/film.mp4", { Range: "bytes=41000000-" }), [[41_000_000, film.length - 1]], film, "video/mp4");
  });

  test("several parts read the chunks that they are in, and no other", async () => {
    const asked = [
      [0, 9],
      [CHUNK - 5, CHUNK + 4],
      [5 * CHUNK, 5 * CHUNK + 999],
      [film.length - 7, film.length - 1],
    ];
    const range = `bytes=${asked.map((part) => part.join("-")).join(",")}`;
    const { response, reads } = await assets.recordReads(() => assets.get("/film.mp4", { Range: range }));
    assertParts(response, asked, film, "video/mp4");
    assert.deepEqual(
      reads.filter((key) => chunks.includes(key)).map((key) => chunks.indexOf(key)),
      [0, 1, 5, 7],
    );
  });

  test("sixteen parts of one chunk read it once", async () => {
    const asked = Array.from({ length: 16 }, (_, part) => [CHUNK * 3 - 1000 + part * 20, CHUNK * 3 - 991 + part * 20]);
    const range = `bytes=${asked.map((part) => part.join("-")).join(",")}`;
    const { response, reads } = await assets.recordReads(() => assets.get("/film.mp4", { Range: range }));
    assertParts(response, asked, film, "video/mp4");
    assert.deepEqual(
      reads.filter((key) => chunks.includes(key)).map((key) => chunks.indexOf(key)),
      [2],
    );
  });

  test("the whole arrives whole", async () => {
    const response = await assets.get("/film.mp4");
    assert.equal(response.status, 200);
    assert.equal(response.complete, true);
    assert.equal(response.headers["content-length"], String(film.length));
    assert.equal(sha256(response.bytes), sha256(film));
  });

  test("HEAD and a range past the end read no chunk", async () => {
    for (const ask of [() => assets.head("/film.mp4"), () => assets.get("/film.mp4", { Range: "bytes=60000000-" })]) {
      const { reads } = await assets.recordReads(ask);
      assert.deepEqual(
        reads.filter((key) => chunks.includes(key)),
        [],
      );
    }
  });

  test("a client that goes away ends the reading", async () => {
    const { reads } = await assets.recordReads(async () => {
      const { request, response } = openRequest({ url: assets.worker.directUrl }, "/film.mp4");
      request.end();
      (await response).once("data", () => request.destroy());
      await sleep(1500);
    });
    const read = reads.filter((key) => chunks.includes(key)).length;
    assert.ok(read < chunks.length, `${read} of ${chunks.length} chunks were read`);
  });
});

for (const [first, last] of [
  [CHUNK - 5, CHUNK + 4],
  [2 * CHUNK - 5, 4 * CHUNK - 2],
]) {
  test(`bytes ${first}-${last} of a file whose chunks are equal arrive whole`, async () => {
    assert.equal(new Set((await assets.file("/loop.mp4")).keys).size, 1);
    assertParts(await assets.get("/loop.mp4", { Range: `bytes=${first}-${last}` }), [[first, last]], loop, "video/mp4");
  });
}

test("after the next release, If-Range with an old ETag gets the whole of the new file", async () => {
  const next = randomBytes(1000);
  await assets.push({ "data.bin": next });
  const response = await assets.get("/data.bin", { Range: "bytes=500-", "If-Range": wholeHeaders.etag });
  assert.equal(response.status, 200);
  assert.ok(response.bytes.equals(next));
});

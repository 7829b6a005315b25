// Content codings of files of a release (RFC 9110 §8.4, §12.5.3). Requests use the Worker's own
// socket, so that its bytes arrive unchanged; Node decodes nothing.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import { startAssets } from "./harness/assets.mjs";
import { listMembers } from "./harness/http.mjs";
import { assertProblem } from "./harness/problem.mjs";

const assets = await startAssets();

const decoders = { br: brotliDecompressSync, gzip: gunzipSync, zstd: zstdDecompressSync };
const decoded = ({ headers, bytes }) => (decoders[headers["content-encoding"]] ?? ((plain) => plain))(bytes);

const words = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor".split(" ");
const prose = (n) => Array.from(randomBytes(n), (byte) => words[byte % words.length]).join(" ");
const files = {
  "page.html": `<!doctype html><title>t</title><p>${prose(3000)}`,
  "text.txt": prose(2000),
  "script.js": `// ${prose(1000)}`,
  "data.json": JSON.stringify({ prose: prose(1000) }),
  "drawing.svg": `<svg xmlns="http://www.w3.org/2000/svg"><!-- ${prose(1000)} --></svg>`,
  "code.wasm": Buffer.concat([Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]), Buffer.alloc(4000)]),
  "text of bytes.txt": Buffer.from(randomBytes(256).toString("hex").repeat(20), "utf8"),
  "large.csv": prose(60_000),
  "404.html": `<!doctype html><title>none</title><p>${prose(500)}`,
};
const plainFiles = {
  "image.png": Buffer.alloc(5000), // a type that is not compressed
  "tiny.txt": "abc", // encoded it would be longer
  "random.txt": randomBytes(3000),
  "empty.txt": "",
};
await assets.push({ ...files, ...plainFiles });

const path = (file) => `/${encodeURIComponent(file).replace(/\.html$/, "")}`;
const lengths = new Map();
for (const coding of ["identity", "br", "gzip", "zstd"]) {
  lengths.set(coding, (await assets.get("/text.txt", { "Accept-Encoding": coding })).bytes.length);
}
const smallest = (...codings) => codings.toSorted((a, b) => lengths.get(a) - lengths.get(b))[0];
const ANY = smallest("br", "gzip", "zstd");

for (const [file, content] of Object.entries(files)) {
  if (file === "404.html") continue;
  test(`${file} is served unencoded and as br, zstd and gzip, each with its own ETag and the same decoded bytes`, async () => {
    const tags = new Set();
    for (const coding of ["identity", "br", "zstd", "gzip"]) {
      const response = await assets.get(path(file), { "Accept-Encoding": coding });
      assert.equal(response.status, 200, response.text);
      assert.equal(response.headers["content-encoding"], coding === "identity" ? undefined : coding);
      assert.ok(decoded(response).equals(Buffer.from(content)), coding);
      assert.equal(response.headers["content-length"], String(response.bytes.length));
      if (coding !== "identity") assert.ok(response.bytes.length <= Buffer.byteLength(content) * 0.9, `${coding} saves too little`);
      assert.ok(listMembers(response.headers.vary).includes("Accept-Encoding"));
      tags.add(response.headers.etag);

      const head = await assets.head(path(file), { "Accept-Encoding": coding });
      const { date, ...fields } = response.headers;
      const { date: _date, ...fieldsOfHead } = head.headers;
      assert.deepEqual(fieldsOfHead, fields, `HEAD ${coding}`);
      assert.equal(head.bytes.length, 0);

      const none = await assets.get(path(file), { "Accept-Encoding": coding, "If-None-Match": response.headers.etag });
      assert.equal(none.status, 304);
      assert.ok(listMembers(none.headers.vary).includes("Accept-Encoding"), "Vary of the 304");
      assert.equal(none.headers.etag, response.headers.etag);
    }
    assert.equal(tags.size, 4);
  });
}

for (const [file, content] of Object.entries(plainFiles)) {
  test(`${file} is served unencoded only, without Vary`, async () => {
    for (const field of [undefined, "br, gzip, zstd", "*"]) {
      const response = await assets.get(path(file), field === undefined ? {} : { "Accept-Encoding": field });
      assert.equal(response.status, 200);
      assert.equal(response.headers["content-encoding"], undefined);
      assert.equal(response.headers.vary, undefined);
      assert.ok(response.bytes.equals(Buffer.from(content)));
    }
  });
}

/** Accept-Encoding, and the coding that is sent, or 406. */
const cases = [
  [undefined, "identity"],
  ["", "identity"],
  ["br", "br"],
  ["gzip", "gzip"],
  ["zstd", "zstd"],
  ["x-gzip", "gzip"],
  ["BR", "br"],
  ["gZip", "gzip"],
  // What browsers send.
  ["gzip, deflate, br, zstd", ANY],
  ["gzip, deflate, br", smallest("br", "gzip")],
  ["gzip, deflate", "gzip"],
  // The highest weight; of equal ones the shortest.
  ["gzip;q=1, br;q=0.5, zstd;q=0.5", "gzip"],
  ["gzip;q=0.5, br;q=0.8, zstd;q=0.7", "br"],
  ["br;q=0.1, zstd;q=0.2, gzip;q=0.1", "zstd"],
  ["gzip;q=0.5, br;q=0.5, zstd;q=0.5", ANY],
  ["gzip;q=0.001, br;q=0.002", "br"],
  ["gzip ; q=0.2 ,\tbr ; Q=0.1", "gzip"],
  // q=0 excludes.
  ["br;q=0", "identity"],
  ["br;q=0, gzip", "gzip"],
  ["br;q=0.000, zstd;q=0.0, gzip;q=0", "identity"],
  // `*` matches codings that are not named.
  ["*", ANY],
  ["*;q=0.5, gzip", "gzip"],
  ["br;q=0, *", smallest("gzip", "zstd")],
  ["*, br;q=0.5, zstd;q=0.5", "gzip"],
  ["*;q=0, gzip;q=0.001", "gzip"],
  ["*;q=0, identity;q=0.1", "identity"],
  // identity has a weight too.
  ["identity", "identity"],
  ["identity, br;q=0.5", "identity"],
  ["identity;q=0.5, br", "br"],
  ["identity;q=0.5, br;q=0.5", "br"],
  ["br;q=0.1", "br"],
  ["identity;q=0, br", "br"],
  // Nothing is left.
  ["identity;q=0", 406],
  ["*;q=0", 406],
  ["deflate, identity;q=0", 406],
  ["br;q=0, gzip;q=0, zstd;q=0, identity;q=0", 406],
  ["br;q=0, gzip;q=0, zstd;q=0, *;q=0", 406],
  // Unknown codings and invalid weights are ignored.
  ["deflate", "identity"],
  ["compress, deflate;q=0.5", "identity"],
  ["br;q=2", "identity"],
  ["br;q=abc, gzip;q=0.1", "gzip"],
  ["br;q=0.1234, gzip;q=0.1", "gzip"],
  ["br;q=-1", "identity"],
  [";;;,,,q=1", "identity"],
  [`${"x,".repeat(3000)}gzip`, /^(gzip|identity)$/],
];
for (const [field, expected] of cases) {
  test(`Accept-Encoding: ${field === undefined ? "(none)" : JSON.stringify(field.slice(0, 60))} gets ${expected}`, async () => {
    const headers = field === undefined ? {} : { "Accept-Encoding": field };
    const response = await assets.get("/text.txt", headers);
    if (expected === 406) {
      assert.equal(response.status, 406);
      assert.equal(response.headers["content-encoding"], undefined);
      assert.ok(!/max-age=[1-9]/.test(response.headers["cache-control"] ?? ""));
    } else {
      assert.equal(response.status, 200);
      const coding = response.headers["content-encoding"] ?? "identity";
      if (expected instanceof RegExp) assert.match(coding, expected);
      else assert.equal(coding, expected);
      assert.equal(decoded(response).toString(), files["text.txt"]);
    }
    assert.ok(listMembers(response.headers.vary).includes("Accept-Encoding"));
    assert.equal((await assets.head("/text.txt", headers)).status, response.status);
  });
}

test("a client that asks for JSON gets problem details that say Not Acceptable", async () => {
  const response = await assets.get("/text.txt", { "Accept-Encoding": "identity;q=0", Accept: "application/json" });
  assertProblem(response, 406, "not_acceptable");
});

test("the visitor's own Accept-Encoding counts if Cloudflare has rewritten the field", async () => {
  const from = (clientAcceptEncoding) => ({ "Accept-Encoding": "br, gzip", "MF-CF-Blob": JSON.stringify({ clientAcceptEncoding }) });
  for (const [sent, coding] of [
    ["gzip", "gzip"],
    ["zstd", "zstd"],
    ["", undefined],
    ["br;q=0.5, gzip", "gzip"],
  ]) {
    assert.equal((await assets.get("/text.txt", from(sent))).headers["content-encoding"], coding, sent);
  }
});

test("a 404 page is encoded too", async () => {
  const response = await assets.get("/none", { "Accept-Encoding": "br" });
  assert.equal(response.status, 404);
  assert.equal(decoded(response).toString(), files["404.html"]);
  assert.equal(response.headers["content-encoding"], "br");
  assert.ok(listMembers(response.headers.vary).includes("Accept-Encoding"));
});

test("Vary names every request field that the response depends on, in a fixed order", async () => {
  await assets.push({ "page.html": files["page.html"], "page.de.html": files["page.html"] });
  assert.equal((await assets.get("/page")).headers.vary, "Accept-Encoding, Accept-Language, Cookie");
  assert.equal((await assets.get("/page?lang=de")).headers.vary, "Accept-Encoding");
});

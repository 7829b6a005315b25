// Entity tags of files of a release, and preconditions on them (RFC 9110 §8.8, §13).
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startAssets } from "./harness/assets.mjs";
import { listMembers } from "./harness/http.mjs";

const assets = await startAssets();
const text = "a text that is long enough to be worth a gzip. ".repeat(100);
await assets.push({
  "page.html": `<!doctype html><p>${text}`,
  "page.de.html": `<!doctype html><p lang="de">${text}`,
  "text.txt": text,
  "image.png": "not really a png",
});

const plain = await assets.get("/text.txt");
const etag = plain.headers.etag;
const modified = plain.headers["last-modified"];
const modifiedPlus = (seconds) => new Date(Date.parse(modified) + seconds * 1000).toUTCString();

test("a file has a strong ETag, and a Last-Modified that is not in the future", () => {
  assert.match(etag, /^"[\x21\x23-\x7e]+"$/);
  assert.ok(Date.parse(modified) <= Date.now());
  assert.equal(new Date(Date.parse(modified)).toUTCString(), modified);
});

const E = etag;

/**
 * Preconditions, and the status that they get, by themselves and in the order of RFC 9110
 * §13.2.2. In a test's title, E is the file's ETag and M its Last-Modified.
 */
const cases = [
  // §13.1.2, If-None-Match: lists, `*`, the weak comparison.
  [{ "If-None-Match": E }, 304],
  [{ "If-None-Match": `W/${E}` }, 304],
  [{ "If-None-Match": `"a", W/"b",${E} , "c"` }, 304],
  [{ "If-None-Match": `"a,${E.slice(1)}` }, 200],
  [{ "If-None-Match": "*" }, 304],
  [{ "If-None-Match": '"other"' }, 200],
  [{ "If-None-Match": E.slice(1, -1) }, 304], // written by hand, without quotes
  [{ "If-None-Match": "" }, 200],
  // §13.1.1, If-Match: the strong comparison.
  [{ "If-Match": E }, 200],
  [{ "If-Match": "*" }, 200],
  [{ "If-Match": `"a", ${E}` }, 200],
  [{ "If-Match": '"other"' }, 412],
  [{ "If-Match": `W/${E}` }, 412],
  // §13.1.3, If-Modified-Since.
  [{ "If-Modified-Since": modified }, 304],
  [{ "If-Modified-Since": modifiedPlus(60) }, 304],
  [{ "If-Modified-Since": modifiedPlus(-60) }, 200],
  [{ "If-Modified-Since": "yesterday" }, 200],
  [{ "If-Modified-Since": "" }, 200],
  // §13.1.4, If-Unmodified-Since.
  [{ "If-Unmodified-Since": modified }, 200],
  [{ "If-Unmodified-Since": modifiedPlus(60) }, 200],
  [{ "If-Unmodified-Since": modifiedPlus(-60) }, 412],
  [{ "If-Unmodified-Since": "yesterday" }, 200],
  // §13.2.2: If-None-Match takes precedence over If-Modified-Since, If-Match over
  // If-Unmodified-Since.
  [{ "If-None-Match": '"other"', "If-Modified-Since": modified }, 200],
  [{ "If-None-Match": E, "If-Modified-Since": modifiedPlus(-60) }, 304],
  [{ "If-Match": E, "If-Unmodified-Since": modifiedPlus(-60) }, 200],
  [{ "If-Match": '"other"', "If-Unmodified-Since": modified }, 412],
  // First If-Match, then If-None-Match.
  [{ "If-Match": E, "If-None-Match": E }, 304],
  [{ "If-Match": '"other"', "If-None-Match": E }, 412],
  [{ "If-Unmodified-Since": modifiedPlus(-60), "If-None-Match": E }, 412],
  [{ "If-Unmodified-Since": modifiedPlus(-60), "If-Modified-Since": modified }, 412],
  // A condition before a Range.
  [{ "If-None-Match": E, Range: "bytes=0-3" }, 304],
  [{ "If-Match": '"other"', Range: "bytes=0-3" }, 412],
  [{ "If-None-Match": '"other"', Range: "bytes=0-3" }, 206],
];
for (const [headers, status] of cases) {
  const named = JSON.stringify(headers).replaceAll(JSON.stringify(E).slice(1, -1), "E").replaceAll(modified, "M");
  test(`${named} gets ${status}`, async () => {
    const response = await assets.get("/text.txt", headers);
    assert.equal(response.status, status, response.text.slice(0, 100));
    if (status === 200) assert.equal(response.text, text);
    if (status === 304) assert.equal(response.text, "");
    if (headers.Range) return;
    const head = await assets.head("/text.txt", headers);
    assert.deepEqual([head.status, head.text], [status, ""], "HEAD");
  });
}

test("a 304 carries what a 200 would: ETag, Cache-Control, Vary, Content-Location (RFC 9110 §15.4.5), and nothing of the body", async () => {
  for (const path of ["/text.txt", "/image.png", "/page", "/page?lang=de"]) {
    for (const headers of [{}, { "Accept-Encoding": "br" }, { "Accept-Language": "de" }]) {
      const full = await assets.get(path, headers);
      assert.equal(full.status, 200);
      const none = await assets.get(path, { ...headers, "If-None-Match": full.headers.etag });
      assert.equal(none.status, 304);
      for (const name of ["etag", "cache-control", "vary", "content-location"]) {
        assert.equal(none.headers[name], full.headers[name], `${name} of ${path} ${JSON.stringify(headers)}`);
      }
      for (const name of ["content-type", "content-encoding", "content-range"]) assert.equal(none.headers[name], undefined, name);
      assert.ok([undefined, full.headers["content-length"]].includes(none.headers["content-length"]));
      assert.equal(none.bytes.length, 0);
    }
  }
});

test("each encoding has an ETag of its own, and so has each language (RFC 9110 §8.8.3.3)", async () => {
  const tags = new Map();
  for (const path of ["/text.txt", "/page", "/page?lang=de"]) {
    for (const coding of ["identity", "gzip", "br", "zstd"]) {
      const { headers } = await assets.get(path, { "Accept-Encoding": coding });
      assert.equal(headers["content-encoding"], coding === "identity" ? undefined : coding);
      assert.match(headers.etag, /^"[^"]+"$/);
      assert.ok(!tags.has(headers.etag), `${path} ${coding} has the tag of ${tags.get(headers.etag)}`);
      tags.set(headers.etag, `${path} ${coding}`);
    }
  }
});

test("the tag of another encoding is not the tag of this one", async () => {
  const { headers } = await assets.get("/text.txt", { "Accept-Encoding": "br" });
  assert.equal((await assets.get("/text.txt", { "If-None-Match": headers.etag })).status, 200);
  assert.equal((await assets.get("/text.txt", { "If-None-Match": headers.etag, "Accept-Encoding": "br" })).status, 304);
  assert.equal((await assets.get("/text.txt", { "If-Match": headers.etag, "Accept-Encoding": "gzip" })).status, 412);
});

test("a 412 has neither the file nor a lifetime for caches", async () => {
  const response = await assets.get("/text.txt", { "If-Match": '"other"' });
  assert.equal(response.status, 412);
  assert.notEqual(response.text, text);
  assert.ok(!/immutable|max-age=[1-9]/.test(response.headers["cache-control"] ?? ""));
});

test("the same bytes in the next release keep ETag and Last-Modified; other bytes have others", async () => {
  const { etag: imageTag } = (await assets.get("/image.png")).headers;
  await sleep(1100); // HTTP dates have whole seconds
  await assets.push({ "text.txt": text, "image.png": "another png", "more.txt": "more" });
  const same = await assets.get("/text.txt");
  assert.deepEqual([same.headers.etag, same.headers["last-modified"]], [etag, modified]);
  assert.equal((await assets.get("/text.txt", { "If-None-Match": etag })).status, 304);
  const { headers } = await assets.get("/image.png");
  assert.notEqual(headers.etag, imageTag);
  assert.ok(Date.parse(headers["last-modified"]) > Date.parse(modified));
});

test("HEAD has the same fields as GET", async () => {
  for (const headers of [{}, { "Accept-Encoding": "br, gzip" }, { "If-None-Match": "*" }]) {
    const [get, head] = await Promise.all([assets.get("/text.txt", headers), assets.head("/text.txt", headers)]);
    const fields = ({ headers: { date, connection, ...more } }) => more;
    assert.deepEqual(fields(head), fields(get));
    assert.ok(listMembers(get.headers.vary).includes("Accept-Encoding"));
  }
});

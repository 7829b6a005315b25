// `GET /{key}` without a release: unversioned keys of the `assets` namespace, as documented.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { send, sendForJson } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";
import { startWorker } from "./harness/worker.mjs";

const worker = await startWorker();
const { assets } = worker.env;

const MIB = 1024 * 1024;
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

const types = [
  ["page.html", "text/html; charset=utf-8"],
  ["page.htm", "text/html; charset=utf-8"],
  ["style.css", "text/css; charset=utf-8"],
  ["data.csv", "text/csv; charset=utf-8"],
  ["notes.txt", "text/plain; charset=utf-8"],
  ["read.md", "text/markdown; charset=utf-8"],
  ["script.js", /^(text|application)\/javascript; charset=utf-8$/],
  ["module.mjs", /^(text|application)\/javascript; charset=utf-8$/],
  ["data.json", "application/json"],
  ["paper.pdf", "application/pdf"],
  ["image.png", "image/png"],
  ["photo.jpg", "image/jpeg"],
  ["photo.jpeg", "image/jpeg"],
  ["drawing.svg", "image/svg+xml"],
  ["moving.gif", "image/gif"],
  ["new.webp", "image/webp"],
  ["new.avif", "image/avif"],
  ["film.mp4", "video/mp4"],
  ["song.mp3", "audio/mpeg"],
  ["font.woff2", "font/woff2"],
  ["code.wasm", "application/wasm"],
  ["bundle.zip", "application/zip"],
  // Case does not matter; only the last extension counts.
  ["LOUD.HTML", "text/html; charset=utf-8"],
  ["archive.json.png", "image/png"],
  // Without an extension that is known, a file is text.
  ["file.unknown-extension", "text/plain; charset=utf-8"],
  ["no-extension", "text/plain; charset=utf-8"],
  ["folder.png/no-extension", "text/plain; charset=utf-8"],
  ["trailing-dot.", "text/plain; charset=utf-8"],
];
for (const [key, type] of types) {
  test(`${key} is served as ${type}`, async () => {
    await assets.put(key, "some bytes");
    const response = await send(worker, `/${key}`);
    assert.equal(response.status, 200);
    assert.equal(response.text, "some bytes");
    if (type instanceof RegExp) {
      assert.match(response.headers["content-type"], type);
    } else {
      assert.equal(response.headers["content-type"], type);
    }
  });
}

test("besides Content-Type and what HTTP needs, only Cache-Control and nosniff are sent", async () => {
  const key = `${uniqueName("plain")}.txt`;
  await assets.put(key, "text");
  const { headers } = await send(worker, `/${key}`);
  const transport = new Set(["content-length", "transfer-encoding", "connection", "date", "keep-alive"]);
  assert.deepEqual(
    Object.keys(headers)
      .filter((name) => !transport.has(name))
      .sort(),
    ["cache-control", "content-type", "x-content-type-options"],
  );
  assert.equal(headers["x-content-type-options"], "nosniff");
});

const everyByte = Uint8Array.from({ length: 256 }, (_, byte) => byte);
for (const extension of ["bin", "png", "txt", "html", "js", "json"]) {
  test(`every byte value survives in a .${extension}`, async () => {
    const key = uniqueName("bytes") + `.${extension}`;
    await assets.put(key, everyByte);
    const response = await send(worker, `/${key}`);
    assert.deepEqual(new Uint8Array(response.bytes), everyByte);
    assert.equal(response.headers["content-length"], "256");
  });
}

for (const [name, size] of [
  ["100 KiB", 100 * 1024],
  ["25 MiB, the most that KV accepts,", 25 * MIB],
]) {
  test(`a binary file of ${name} comes back byte for byte, with its length`, async () => {
    const bytes = randomBytes(size);
    const key = uniqueName("large") + ".bin";
    await assets.put(key, bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + size));
    const response = await send(worker, `/${key}`);
    assert.equal(response.status, 200);
    assert.equal(response.complete, true);
    assert.equal(response.headers["content-length"], String(size));
    assert.equal(response.bytes.length, size);
    assert.equal(sha256(response.bytes), sha256(bytes));
  });
}

test("an empty file is a file", async () => {
  const key = `${uniqueName("empty")}.txt`;
  await assets.put(key, "");
  const response = await send(worker, `/${key}`);
  assert.equal(response.status, 200);
  assert.equal(response.bytes.length, 0);
});

test("/ is index.html", async () => {
  await assets.put("index.html", "<h1>Start</h1>");
  for (const path of ["/", "/?utm=1", "/index.html"]) {
    const response = await send(worker, path);
    assert.equal(response.status, 200, path);
    assert.equal(response.text, "<h1>Start</h1>");
    assert.equal(response.headers["content-type"], "text/html; charset=utf-8");
  }
});

const paths = [
  ["/a%20b.txt", "a b.txt"],
  ["/caf%C3%A9.txt", "café.txt"],
  ["/%E6%97%A5%E6%9C%AC.txt", "日本.txt"],
  ["/once%2525.txt", "once%25.txt"],
  ["/slash%2Fin.txt", "slash/in.txt"],
  ["/plus+sign.txt", "plus+sign.txt"],
  ["/%61bc.txt", "abc.txt"],
  ["/hash%23mark.txt", "hash#mark.txt"],
  ["/ask%3Fed.txt", "ask?ed.txt"],
  ["/deep/er/file.txt", "deep/er/file.txt"],
  ["/two//slashes.txt", "two//slashes.txt"],
  ["/folder/", "folder/"],
  ["//leading.txt", "leading.txt"],
  ["///many/leading.txt", "many/leading.txt"],
  ["/query.txt?v=1&w=%zz", "query.txt"],
  ["/dots/../resolved.txt", "resolved.txt"],
  ["/...", "..."],
  ["/healthz.txt", "healthz.txt"],
  ["/storesfront.txt", "storesfront.txt"],
];
for (const [path, key] of paths) {
  test(`${path} is the key ${JSON.stringify(key)}`, async () => {
    const value = uniqueName("value");
    await assets.put(key, value);
    const response = await send(worker, path);
    assert.equal(response.status, 200, response.text);
    assert.equal(response.text, value);
  });
}

test("a path is decoded once", async () => {
  await assets.put("twice%20.txt", "escaped");
  await assets.put("twice .txt", "blank");
  assert.equal((await send(worker, "/twice%2520.txt")).text, "escaped");
  assert.equal((await send(worker, "/twice%20.txt")).text, "blank");
});

test("a missing key gets 404 Not found", async () => {
  assertPlainError(await send(worker, `/${uniqueName("missing")}`), 404, "Not found");
  const problem = assertProblem(await sendForJson(worker, `/${uniqueName("missing")}`), 404, "not_found");
  assert.equal(problem.detail, "Not found");
});

for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"]) {
  test(`${method} gets 405 with Allow, and changes nothing`, async () => {
    const key = `${uniqueName("unchanged")}.txt`;
    await assets.put(key, "before");
    const body = method === "OPTIONS" ? undefined : "after";
    const response = await sendForJson(worker, `/${key}`, { method, body });
    assertProblem(response, 405, "method_not_allowed");
    assert.equal(response.headers.allow, "GET, HEAD");
    assert.equal(await assets.get(key), "before");
  });
}

test("HEAD has the Content-Type and Cache-Control of GET, and no body", async () => {
  const key = uniqueName("head") + ".png";
  await assets.put(key, everyByte);
  const get = await send(worker, `/${key}`);
  const head = await send(worker, `/${key}`, { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal(head.bytes.length, 0);
  for (const name of ["content-type", "x-content-type-options", "cache-control"]) {
    assert.equal(head.headers[name], get.headers[name], name);
  }
  const missing = await send(worker, `/${uniqueName("missing")}`, { method: "HEAD" });
  assert.equal(missing.status, 404);
  assert.equal(missing.bytes.length, 0);
});

for (const path of ["/%", "/a%", "/a%2", "/%zz", "/%g0x", "/%ff", "/%C3%28", "/%ED%A0%80", "/%C0%AF", "/ok/%"]) {
  test(`the percent-encoding ${path} names no file: 404`, async () => {
    assertProblem(await sendForJson(worker, path), 404, "not_found");
    assertPlainError(await send(worker, path), 404, "Not found");
  });
}

test("a key of 512 bytes is a key, also in characters of several bytes", async () => {
  for (const key of ["k".repeat(512), "é".repeat(256)]) {
    await assets.put(key, "longest");
    assert.equal((await send(worker, `/${encodeURIComponent(key)}`)).text, "longest");
  }
});

test("a key of 513 bytes gets 400", async () => {
  for (const key of ["k".repeat(513), "€".repeat(171)]) {
    assertProblem(await sendForJson(worker, `/${encodeURIComponent(key)}`), 400, "invalid_key");
  }
});

for (const path of ["/.", "/..", "/%2e", "/%2E%2e", "/%2f.", "/%2f..", "/%00", "/%0d%0aX-Injected:%201"]) {
  test(`the path ${path} gets no 5xx, and sets no header field`, async () => {
    const response = await send(worker, path);
    assert.ok(response.status < 500, `${response.status} ${response.text}`);
    assert.equal(response.headers["x-injected"], undefined);
  });
}

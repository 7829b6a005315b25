// Single values of the KV REST API on the wire, as raw bodies and as forms.
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { describe, test } from "node:test";
import { assertFailure, assertResult, BINARY, manyBytes, NAMESPACES, startKvApi, VALUE_BYTES_MAX, valuePath } from "./harness/kv-api.mjs";
import { uniqueName } from "./harness/names.mjs";
import { WORKER_TOKEN } from "./harness/worker.mjs";

// tests/faulty/entry.mjs reads the rest of a body that is refused, as `wrangler dev` does.
const worker = await startKvApi({ faulty: true });
const { api } = worker;
const { WRITES } = worker.env;
const json = JSON.stringify;
const W = `${NAMESPACES}/WRITES`;

const bytesInKv = async (key) => Buffer.from((await WRITES.get(key, "arrayBuffer")) ?? assert.fail(`${key} is not in KV`));

/** Sends these bytes on a connection of its own, and returns the status of the response. */
async function sendRaw(text) {
  const socket = net.connect(worker.directUrl.port, worker.directUrl.hostname);
  await once(socket, "connect");
  socket.on("error", () => {});
  socket.write(text);
  const chunks = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  await once(socket, "close");
  return Number(Buffer.concat(chunks).toString().split(" ")[1]);
}

const rawHead = (method, path, fields = []) =>
  [
    `${method} /client/v4${path} HTTP/1.1`,
    `Host: ${worker.directUrl.host}`,
    `Authorization: Bearer ${WORKER_TOKEN}`,
    "Connection: close",
    ...fields,
    "",
    "",
  ].join("\r\n");

/** Returns a form with these parts, `[disposition, content, type]`. */
function form(parts, boundary = "B") {
  const chunks = parts.flatMap(([disposition, content, type]) => [
    `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n${type ? `Content-Type: ${type}\r\n` : ""}\r\n`,
    content,
    "\r\n",
  ]);
  return Buffer.concat([...chunks, `--${boundary}--\r\n`].map((chunk) => Buffer.from(chunk)));
}
const formType = { "Content-Type": "multipart/form-data; boundary=B" };

describe("values", () => {
  test("a body is stored byte for byte, whatever its type and however it is framed", async () => {
    for (const [type, body] of [
      ["application/json", "no {JSON"],
      ["application/x-www-form-urlencoded", "value=a&metadata=b"],
      ["multipart/mixed; boundary=B", form([['name="value"', "v"]])],
      ["text/plain; charset=utf-16", BINARY],
      [undefined, BINARY],
      [undefined, Buffer.alloc(0)],
    ]) {
      const key = uniqueName("framed");
      const headers = type === undefined ? {} : { "Content-Type": type };
      assertResult(await api("PUT", valuePath("WRITES", key), { body, headers }));
      assert.ok((await bytesInKv(key)).equals(Buffer.from(body)), type);
      const status = await sendRaw(
        Buffer.concat([
          Buffer.from(rawHead("PUT", valuePath("WRITES", `${key}-chunked`), ["Transfer-Encoding: chunked"])),
          ...[...Buffer.from(body)].map((byte) => Buffer.concat([Buffer.from("1\r\n"), Buffer.from([byte]), Buffer.from("\r\n")])),
          Buffer.from("0\r\n\r\n"),
        ]),
      );
      assert.equal(status, 200);
      assert.ok((await bytesInKv(`${key}-chunked`)).equals(Buffer.from(body)), `${type}, in chunks`);
    }
  });

  test("a put without a body stores an empty value", async () => {
    const status = await sendRaw(rawHead("PUT", valuePath("WRITES", "no-body")));
    assert.equal(status, 200);
    assert.equal((await bytesInKv("no-body")).length, 0);
  });

  test("an upload that breaks off writes nothing", async () => {
    await WRITES.put("cut", "before");
    const socket = net.connect(worker.directUrl.port, worker.directUrl.hostname);
    await once(socket, "connect");
    socket.write(`${rawHead("PUT", valuePath("WRITES", "cut"), ["Content-Length: 1000"])}half`);
    await new Promise((resolve) => setTimeout(resolve, 200));
    socket.destroy();
    assertResult(await api("GET", `${W}/keys?prefix=cut`));
    assert.equal(await WRITES.get("cut"), "before");
  });

  test("25 MiB pass through both ways; a byte more is refused with 413: with a length, in chunks, or in a form", async () => {
    const bytes = manyBytes(VALUE_BYTES_MAX);
    const path = valuePath("WRITES", "longest");
    assertResult(await api("PUT", path, { body: bytes }));
    const got = await api("GET", path);
    assert.ok(got.bytes.equals(bytes));
    const more = Buffer.alloc(VALUE_BYTES_MAX + 1);
    assertFailure(await api("PUT", path, { body: more }), 413, 10022);
    const chunk = Buffer.concat([Buffer.from(`${more.length.toString(16)}\r\n`), more, Buffer.from("\r\n0\r\n\r\n")]);
    assert.equal(await sendRaw(Buffer.concat([Buffer.from(rawHead("PUT", path, ["Transfer-Encoding: chunked"])), chunk])), 413);
    assertFailure(await api("PUT", path, { headers: formType, body: form([['name="value"', more]]) }), 413, 10022);
    assert.ok((await bytesInKv("longest")).equals(bytes), "the value before is still there");
  });

  test("a value comes as octets that no cache may store or change, and says how long KV took", async () => {
    await WRITES.put("plain", "<h1>no page</h1>");
    const { status, headers, text } = await api("GET", valuePath("WRITES", "plain"));
    assert.deepEqual([status, text], [200, "<h1>no page</h1>"]);
    assert.equal(headers["content-type"], "application/octet-stream");
    assert.equal(headers["cache-control"], "no-store, no-transform");
    assert.match(headers["server-timing"], /^kv;dur=\d/);
    assert.equal(headers.expiration, undefined);
  });

  test("HEAD has the fields of GET and no body, a missing key included", async () => {
    await WRITES.put("head", "12345", { expirationTtl: 600 });
    const { status, headers, bytes } = await api("HEAD", valuePath("WRITES", "head"));
    assert.deepEqual([status, bytes.length, headers["content-length"]], [200, 0, "5"]);
    assert.match(headers.expiration, /^\d+$/);
    assert.match(headers.etag, /^"[0-9a-f]+"$/);
    const missing = await api("HEAD", valuePath("WRITES", "no-such-key"));
    assert.deepEqual([missing.status, missing.bytes.length], [404, 0]);
  });

  test("an entity tag validates, and a range gets a part", async () => {
    await WRITES.put("ranged", "0123456789");
    const path = valuePath("WRITES", "ranged");
    const get = (headers) => api("GET", path, { headers });
    const { etag } = (await api("HEAD", path)).headers;
    assert.equal((await get({ "If-None-Match": etag })).status, 304);
    assert.equal((await get({ "If-None-Match": '"other"' })).text, "0123456789");
    assertFailure(await get({ "If-Match": '"other"' }), 412, 10412);
    const part = await get({ Range: "bytes=2-4" });
    assert.deepEqual([part.status, part.text, part.headers["content-range"]], [206, "234", "bytes 2-4/10"]);
    assert.equal((await get({ Range: "bytes=-3" })).text, "789");
    assert.equal((await get({ Range: "bytes=2-4", "If-Range": '"other"' })).text, "0123456789");
    assert.equal((await get({ Range: "lines=1-2" })).text, "0123456789");
    const beyond = await get({ Range: "bytes=10-" });
    assertFailure(beyond, 416, 10416);
    assert.equal(beyond.headers["content-range"], "bytes */10");
  });

  test("a GET and a DELETE may have a body, which is ignored", async () => {
    await WRITES.put("with-body", "v");
    assert.equal((await api("GET", valuePath("WRITES", "with-body"), { body: "x".repeat(100_000) })).text, "v");
    assertResult(await api("DELETE", valuePath("WRITES", "with-body"), { body: "{}", headers: { "Content-Type": "application/json" } }));
    assert.equal(await WRITES.get("with-body"), null);
  });

  test("a write without expiration or metadata clears the previous ones", async () => {
    const path = valuePath("WRITES", "cleared");
    assertResult(
      await api("PUT", `${path}?expiration_ttl=600`, {
        body: form([
          ['name="value"', "v"],
          ['name="metadata"', "1"],
        ]),
        headers: formType,
      }),
    );
    const before = await api("GET", path);
    assert.match(before.headers.expiration, /^\d+$/);
    assertResult(await api("PUT", path, { body: "w" }));
    const { headers, text } = await api("GET", path);
    assert.deepEqual([text, headers.expiration], ["w", undefined]);
    assert.equal(assertResult(await api("GET", `${W}/metadata/cleared`)), null);
  });

  for (const [query, code] of [
    ["expiration_ttl=59", 10034],
    ["expiration_ttl=-60", 10034],
    ["expiration_ttl=60.5", 10034],
    ["expiration_ttl=soon", 10034],
    ["expiration_ttl=99999999999999999999", 10034],
    ["expiration_ttl=9007199254740993", 10034],
    ["expiration=1", 10033],
    ["expiration=0", 10033],
    ["expiration=soon", 10033],
    ["expiration=99999999999999999999", 10033],
    ["expiration=9007199254740993", 10033],
    ["expiration_ttl=%ff", 7003],
  ])
    test(`?${query} is refused with 400 and ${code}, and writes nothing`, async () => {
      assertFailure(await api("PUT", `${valuePath("WRITES", "expires")}?${query}`, { body: "v" }), 400, code);
      assert.equal(await WRITES.get("expires"), null);
    });
});

describe("forms", () => {
  const put = (key, body, type = formType) => api("PUT", valuePath("WRITES", key), { body, headers: type });

  test("value and metadata may come in any order, with other parts around them", async () => {
    const value = ['name="value"; filename="blob"', BINARY, "application/octet-stream"];
    const metadata = ['name="metadata"', '{"a":[1]}', "application/json"];
    const other = ['name="other"', BINARY];
    for (const parts of [
      [value, metadata],
      [metadata, value],
      [other, metadata, other, value, other],
      [
        ["name=value", BINARY],
        ["NAME=metadata", '{"a":[1]}'],
      ],
      [
        ['filename="value"; name="value"', BINARY],
        ['filename="name=\\"x\\""; name="metadata"', '{"a":[1]}'],
      ],
    ]) {
      const key = uniqueName("form");
      assertResult(await put(key, form(parts)));
      assert.ok((await bytesInKv(key)).equals(BINARY));
      assert.deepEqual((await WRITES.getWithMetadata(key)).metadata, { a: [1] });
    }
  });

  test("what looks like a boundary within the value is part of it", async () => {
    for (const value of ["\r\n--Bx", "--B", "\r\n--", "\n--B--\n", "\r\n\r\n--\r\n"]) {
      const key = uniqueName("boundary");
      assertResult(await put(key, form([['name="value"', value]])));
      assert.equal(await WRITES.get(key), value);
    }
  });

  test("metadata as fields becomes an object whose leaves are text", async () => {
    const parts = [
      ['name="metadata[a]"', "1"],
      ['name="metadata[b][c]"', "d"],
      ['name="metadata[l][]"', "x"],
      ['name="value"', "v"],
      ['name="metadata[l][]"', "y"],
    ];
    const key = uniqueName("fields");
    assertResult(await put(key, form(parts)));
    assert.deepEqual((await WRITES.getWithMetadata(key)).metadata, { a: "1", b: { c: "d" }, l: ["x", "y"] });
  });

  for (const [what, body, status, code, type] of [
    ["no value", form([['name="metadata"', "{}"]]), 400, 10047],
    ["no part", "--B--\r\n", 400, 10047],
    ["no boundary", form([['name="value"', "v"]]), 400, 10047, { "Content-Type": "multipart/form-data" }],
    ["another boundary", form([['name="value"', "v"]], "C"), 400, 10047],
    ["no end", form([['name="value"', "v"]]).subarray(0, -6), 400, 10047],
    ["an empty body", "", 400, 10047],
    [
      "metadata that is no JSON",
      form([
        ['name="value"', "v"],
        ['name="metadata"', "{a}"],
      ]),
      400,
      10147,
    ],
    [
      "metadata that is empty",
      form([
        ['name="value"', "v"],
        ['name="metadata"', ""],
      ]),
      400,
      10147,
    ],
    [
      "metadata that is no UTF-8",
      form([
        ['name="value"', "v"],
        ['name="metadata"', BINARY],
      ]),
      400,
      10147,
    ],
    [
      "metadata of more than 1,024 bytes",
      form([
        ['name="value"', "v"],
        ['name="metadata"', json("x".repeat(1023))],
      ]),
      413,
      10024,
    ],
    [
      "metadata that is longer in KV's own form",
      form([
        ['name="value"', "v"],
        ['name="metadata"', json(Array(250).fill(0)).replaceAll("0", "1e9")],
      ]),
      413,
      10024,
    ],
    [
      "metadata of more than 64 KiB",
      form([
        ['name="value"', "v"],
        ['name="metadata"', json("x".repeat(70_000))],
      ]),
      413,
      10024,
    ],
    [
      "metadata fields that contradict each other",
      form([
        ['name="value"', "v"],
        ['name="metadata[a]"', "1"],
        ['name="metadata[a][b]"', "1"],
      ]),
      400,
      10147,
    ],
    ["a head that is huge", form([[`name="value"; filename="${"x".repeat(20_000)}"`, "v"]]), 400, 10047],
  ])
    test(`a form with ${what} is refused with ${status} and ${code}, and writes nothing`, async () => {
      const key = uniqueName("bad-form");
      assertFailure(await put(key, body, type), status, code);
      assert.equal(await WRITES.get(key), null);
    });
});

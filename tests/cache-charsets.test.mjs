// `GET /cache?url=URL`: pages in many character encodings, and in every supported content coding.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import zlib from "node:zlib";
import { eventually } from "./harness/eventually.mjs";
import { send, sendForJson } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { startUpstream } from "./harness/upstream.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startUpstream();
const worker = await startWorker({ vars: { CACHE_UPSTREAMS: upstream.origin } });
const { CACHE_KV } = worker.env;

/**
 * Serves these bytes with the `Content-Type` `type`, if it is given; in parts without a
 * `Content-Length` if `parts` cuts them.
 */
const serve = (bytes, { type = "text/html", headers = {}, parts } = {}) =>
  upstream.serve((_request, response) => {
    response.writeHead(200, { ...(type && { "content-type": type }), ...(!parts && { "content-length": bytes.length }), ...headers });
    if (!parts) return response.end(bytes);
    const next = (at) => (at >= bytes.length ? response.end() : response.write(bytes.subarray(at, at + parts), () => setImmediate(next, at + parts)));
    next(0);
  });

const pathOf = (url) => `/cache?url=${encodeURIComponent(url)}`;
async function view(url) {
  const response = await send(worker, pathOf(url));
  assert.equal(response.status, 200, response.text);
  return response.json().data;
}

const latin1 = (text) => Buffer.from(text, "latin1");
/** The bytes of a text in an encoding that Node does not write. */
const bytes = (...hex) => Buffer.from(hex.join(""), "hex");
const utf16be = (text) => Buffer.from(text, "utf16le").swap16();

/** Labels, the bytes of a text in that encoding, and the text. */
const charsets = [
  ["iso-8859-1", bytes("4772fcdf65"), "Grüße"],
  ["ISO-8859-1", bytes("80"), "€"],
  ["windows-1252", bytes("4772fcdf6580"), "Grüße€"],
  ["iso-8859-2", bytes("b1e6ea"), "ąćę"],
  ["iso-8859-15", bytes("a4"), "€"],
  ["windows-1250", bytes("9ce6"), "ść"],
  ["windows-1251", bytes("cff0e8e2e5f2"), "Привет"],
  ["windows-1253", bytes("c3e5e9e1"), "Γεια"],
  ["windows-1254", bytes("fdf0"), "ığ"],
  ["windows-1256", bytes("e3d1cdc8c7"), "مرحبا"],
  ["koi8-r", bytes("f0d2c9d7c5d4"), "Привет"],
  ["Shift_JIS", bytes("93fa967b5c"), "日本\\"],
  ["EUC-JP", bytes("c6fccbdc"), "日本"],
  ["ISO-2022-JP", bytes("1b2442467c4b5c1b2842"), "日本"],
  ["gb2312", bytes("c4e3bac3"), "你好"],
  ["gbk", bytes("c4e3bac3"), "你好"],
  ["gb18030", bytes("c4e3bac39439fc36"), "你好😀"],
  ["big5", bytes("a741a66e"), "你好"],
  ["euc-kr", bytes("c7d1b1db"), "한글"],
  ["utf-8", Buffer.from("Grüße 日本"), "Grüße 日本"],
  ["macintosh", bytes("8a"), "ä"],
  ["x-user-defined", bytes("80"), "\uf780"],
];

/** A page in ASCII around a text in some encoding. */
const around = (text, head = "") =>
  Buffer.concat([latin1(`<!doctype html><html><head>${head}<title>`), text, latin1("</title></head><body><p>"), text, latin1("</p></body></html>")]);

const assertText = ({ title, content }, text) => assert.deepEqual({ title, content }, { title: text, content: text });

describe("the charset of Content-Type", { concurrency: true }, () => {
  for (const [label, encoded, text] of charsets) {
    test(`${label}: ${text}`, async () => {
      for (const type of [`text/html; charset=${label}`, `text/html;charset="${label}"`, `application/xhtml+xml; a=b; Charset=${label.toUpperCase()}`]) {
        assertText(await view(serve(around(encoded), { type })), text);
      }
    });

    test(`${label}, in parts, which may end within a character`, async () => {
      const long = Buffer.concat(Array.from({ length: Math.ceil(40_000 / (encoded.length + 1)) }, () => Buffer.concat([encoded, latin1(" ")])));
      const expected = `${text} `.repeat(Math.ceil(40_000 / (encoded.length + 1))).trim();
      for (const parts of [undefined, 997, 4096]) {
        assertText(await view(serve(around(long), { type: `text/html; charset=${label}`, parts })), expected);
      }
    });
  }

  for (const [label, encode] of [
    ["utf-16le", (text) => Buffer.from(text, "utf16le")],
    ["utf-16be", utf16be],
    ["UTF-16", (text) => Buffer.from(text, "utf16le")],
  ]) {
    test(`${label}`, async () => {
      const page = encode("<title>Grüße 日本 😀</title><body>Grüße 日本 😀</body>");
      assertText(await view(serve(page, { type: `text/html; charset=${label}` })), "Grüße 日本 😀");
      assertText(await view(serve(page, { type: `text/html; charset=${label}`, parts: 3 })), "Grüße 日本 😀");
    });
  }

  test("an unknown label is ignored: the page's own declaration counts, else UTF-8", async () => {
    for (const type of ["text/html; charset=nonsense", "text/html; charset=", "text/html; charset", undefined, "", "text/html"]) {
      assertText(await view(serve(around(Buffer.from("Grüße")), { type })), "Grüße");
      assertText(await view(serve(around(latin1("Grüße"), "<meta charset=iso-8859-1>"), { type })), "Grüße");
    }
  });
});

describe("what the page declares itself", { concurrency: true }, () => {
  for (const [label, encoded, text] of charsets.filter(([label]) => label !== "x-user-defined")) {
    test(`<meta charset=${label}>`, async () => {
      for (const meta of [`<meta charset="${label}">`, `<meta http-equiv="Content-Type" content="text/html; charset=${label}">`]) {
        assertText(await view(serve(around(encoded, meta))), text);
      }
    });
  }

  test("counts within the first 1024 bytes only, also if they arrive in parts", async () => {
    const meta = "<meta charset=windows-1251>";
    const text = bytes("cff0e8e2e5f2");
    const fits = around(text, `<!--${"x".repeat(900)}-->${meta}`);
    for (const parts of [undefined, 10]) assertText(await view(serve(fits, { parts })), "Привет");
    const late = around(text, `<!--${"x".repeat(1100)}-->${meta}`);
    for (const parts of [undefined, 10]) assert.match((await view(serve(late, { parts }))).title, /\ufffd/);
  });

  test("yields to Content-Type, and both to a byte order mark", async () => {
    const meta = "<meta charset=windows-1251>";
    assertText(await view(serve(around(latin1("Grüße"), meta), { type: "text/html; charset=windows-1252" })), "Grüße");
    const marked = Buffer.concat([bytes("efbbbf"), around(Buffer.from("Grüße"), meta)]);
    assertText(await view(serve(marked, { type: "text/html; charset=windows-1252" })), "Grüße");
    for (const [mark, encode] of [
      ["fffe", (text) => Buffer.from(text, "utf16le")],
      ["feff", utf16be],
    ]) {
      const page = Buffer.concat([bytes(mark), encode("<title>Grüße</title><body>Grüße</body>")]);
      assertText(await view(serve(page, { type: "text/html; charset=windows-1252" })), "Grüße");
    }
  });
});

const html = "<!doctype html><title>Käse</title><body>Grüße aus Köln</body>";
const plain = { title: "Käse", content: "Grüße aus Köln" };
const coded = {
  gzip: zlib.gzipSync,
  "x-gzip": zlib.gzipSync,
  deflate: zlib.deflateSync,
  br: zlib.brotliCompressSync,
  zstd: zlib.zstdCompressSync,
  identity: (bytes) => bytes,
  "gzip, br": (bytes) => zlib.brotliCompressSync(zlib.gzipSync(bytes)),
  "br, identity, ZSTD": (bytes) => zlib.zstdCompressSync(zlib.brotliCompressSync(bytes)),
};

/**
 * Pages of 16 MiB in a few bytes, with one coding and with two. Made beforehand, since it takes a
 * while.
 */
const long = Buffer.alloc(16 * 1024 * 1024, "x");
const bombs = Object.fromEntries(
  ["gzip", "deflate", "br", "zstd"].map((coding) => {
    const bomb = coded[coding](long);
    return [
      coding,
      [
        [coding, bomb],
        [`gzip, ${coding}`, coded[coding](zlib.gzipSync(long))],
        [`${coding}, gzip`, zlib.gzipSync(bomb)],
      ],
    ];
  }),
);

describe("a content coding", { concurrency: true }, () => {
  for (const [coding, encode] of Object.entries(coded)) {
    for (const control of ["max-age=60", "no-store"]) {
      for (const parts of [undefined, 7]) {
        const page = () => serve(encode(Buffer.from(html)), { headers: { "content-encoding": coding, "cache-control": control }, parts });

        test(`${coding}, ${control}${parts ? ", in parts" : ""}: the page is read, with one request to the upstream`, async () => {
          const url = page();
          const { title, content } = await view(url);
          assert.deepEqual({ title, content }, plain);
          assert.equal(upstream.requestCount(url), 1);
        });
      }
    }

    test(`${coding}: what /cache/{URL} has stored becomes JSON without a fetch, and the other way round`, async () => {
      const headers = { "content-encoding": coding, "cache-control": "max-age=60" };
      const stored = serve(encode(Buffer.from(html)), { headers });
      assert.equal((await send(worker, `/cache/${stored}`)).status, 200);
      await eventually(() => CACHE_KV.get(`GET ${stored}`), `what is stored of ${stored}`);
      const { title, content } = await view(stored);
      assert.deepEqual({ title, content }, plain);
      const viewed = serve(encode(Buffer.from(html)), { headers });
      await view(viewed);
      const response = await send(worker, `/cache/${viewed}`, { headers: { "Accept-Encoding": "gzip, br, zstd" } });
      assert.equal(response.status, 200);
      assert.match(response.headers["cache-status"], /hit/);
      for (const url of [stored, viewed]) assert.equal(upstream.requestCount(url), 1);
    });

    test(`${coding}, with a charset`, async () => {
      const bytes = encode(around(latin1("Grüße")));
      assertText(await view(serve(bytes, { type: "text/html; charset=iso-8859-1", headers: { "content-encoding": coding } })), "Grüße");
    });
  }

  for (const coding of ["compress", "x-own", "gzip, x-own", "gzip, gzip, gzip, gzip"]) {
    test(`${coding}: is not supported, and the error names those that are`, async () => {
      const url = serve(Buffer.from(html), { headers: { "content-encoding": coding } });
      const { detail } = assertProblem(await sendForJson(worker, pathOf(url)), 502, "unreadable_page");
      assert.match(detail, /gzip, deflate, br and zstd/);
    });
  }

  for (const coding of ["gzip", "deflate", "br", "zstd"]) {
    test(`${coding}: a page that is not so encoded, or cut off, is an error of the upstream`, async () => {
      const whole = coded[coding](Buffer.from(html.repeat(200)));
      for (const bytes of [Buffer.from(html), whole.subarray(0, whole.length / 2)]) {
        const url = serve(bytes, { headers: { "content-encoding": coding } });
        assertProblem(await sendForJson(worker, pathOf(url)), 502, "upstream_failed");
      }
    });

    test(`${coding}: a page of more than 8 MiB is too long, however few bytes it comes in`, async () => {
      for (const [name, bytes] of bombs[coding]) {
        const url = serve(bytes, { headers: { "content-encoding": name } });
        const { detail } = assertProblem(await sendForJson(worker, pathOf(url)), 502, "upstream_failed");
        assert.match(detail, /8 MiB/);
      }
    });
  }
});

test("a page that is too long, breaks off or is unreadable logs no uncaught exception", async () => {
  const long = Buffer.from(`<title>t</title><body>${"x".repeat(9 * 1024 * 1024)}`);
  const gzip = { headers: { "content-encoding": "gzip" } };
  const urls = [
    serve(long),
    serve(long, { parts: 65536 }),
    serve(zlib.gzipSync(long), gzip),
    serve(zlib.gzipSync(long), { headers: { "content-encoding": "gzip", "cache-control": "no-store" } }),
    serve(Buffer.from("no gzip"), gzip),
    ...[undefined, "gzip", "br"].map((coding) =>
      upstream.serve((_request, response) => {
        response.writeHead(200, { "content-type": "text/html", ...(coding && { "content-encoding": coding }) });
        response.write(coding ? coded[coding](long).subarray(0, 30) : "<title>Half</title><body>half", () => setTimeout(() => response.destroy(), 20));
      }),
    ),
  ];
  for (const url of urls) assertProblem(await sendForJson(worker, pathOf(url)), 502, "upstream_failed");
  // The line of a later error shows that those of these requests are in the log.
  const id = uniqueName("fence");
  await send(worker, pathOf(urls[0]), { headers: { "CF-Ray": id } });
  await eventually(() => worker.lines().some((line) => line.includes(id)), "a line in the log");
  assert.deepEqual(
    worker.lines().filter((line) => /uncaught/i.test(line)),
    [],
  );
});

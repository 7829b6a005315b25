// Values that `POST /writes/{key}` can write: of every kind and of up to 25 MiB, under every key
// that Workers KV accepts, and however slowly they arrive.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { openRequest, send } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { bearer, startWorker } from "./harness/worker.mjs";
import { assertReport, writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true });
const { WRITES } = worker.env;
const { readConsistent, read, write, kvValue, kvBytes, waitForKv, setFaults, objectState, waitUntilFlushed, puts } = writesOf(worker);

const KiB = 1024;
const MiB = 1024 * KiB;
const LONGEST = 25 * MiB;

/** Returns bytes without repetition, so that a part in the wrong place shows. */
function bytesOf(length) {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at);
  return bytes;
}

const assertBytes = (actual, expected, what) => {
  assert.equal(actual.length, expected.length, what);
  assert.ok(actual.equals(expected), `${what}: other bytes`);
};

const kinds = [
  ["one byte", Buffer.from("x")],
  ["text that is no ASCII", Buffer.from("Grüße, 世界 🎉")],
  ["every byte", Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))],
  ["bytes that are not UTF-8", Buffer.from([0xff, 0xfe, 0xc3, 0x28, 0x00, 0xed, 0xa0, 0x80])],
  ["zeros alone", Buffer.alloc(1000)],
  ["what looks like a chunk", Buffer.from("0\r\n\r\n5\r\nhello\r\n")],
];

const lengths = [
  ["1 MiB", MiB],
  ["1 MiB and one byte", MiB + 1],
  ["2 MiB, which no record of an object can hold", 2 * MiB],
  ["3 MiB and some", 3 * MiB + 12345],
];

describe("a body is the value of one write", { concurrency: true }, () => {
  for (const [name, body] of [...kinds, ...lengths.map(([name, length]) => [name, bytesOf(length)])]) {
    for (const strategy of ["direct", "backoff", "coalesce"]) {
      test(`${strategy}: ${name}, byte for byte`, async () => {
        const key = uniqueName(strategy);
        const response = await write(key, { strategy, body });
        if (strategy === "direct") {
          assert.equal(response.status, 200, response.text);
          assert.deepEqual(response.json(), [{ attempt: 1, success: true }]);
        } else {
          assert.equal(assertReport(response, 200, 1).puts, 1);
        }
        assertBytes(await kvBytes(key), body, "in KV");
        assertBytes((await read(key)).bytes, body, "read");
      });
    }

    test(`${name}, while it is pending: byte for byte from the object, also after its eviction`, async () => {
      const key = uniqueName("pending");
      await setFaults(key, { put: ["429", "429", "ok"] });
      const response = await write(key, { strategy: "coalesce", wait: "durable", body });
      assertReport(response, 202, 1);
      assertBytes((await readConsistent(key)).bytes, body, "read");
      await worker.evict(key);
      assertBytes((await readConsistent(key)).bytes, body, "read after the eviction");
      await waitUntilFlushed(key);
      assertBytes(await kvBytes(key), body, "in KV");
    });
  }

  test("a short value replaces a long one completely", async () => {
    const key = uniqueName("shorter");
    await setFaults(key, { put: ["429", "ok"] });
    for (const body of [bytesOf(3 * MiB), Buffer.from("short")]) {
      assertReport(await write(key, { strategy: "coalesce", wait: "durable", body }), 202, 1);
    }
    assert.equal((await readConsistent(key)).text, "short");
    await waitUntilFlushed(key);
    assert.equal(await kvValue(key), "short");
  });

  for (const n of [1, 2, 20, 100]) {
    test(`n=${n} with a body gets 400, and nothing is written`, async () => {
      const key = uniqueName("count");
      for (const strategy of ["direct", "backoff", "coalesce"]) {
        assertProblem(await write(key, { strategy, n, body: "value" }), 400, "invalid_n");
      }
      assert.deepEqual(await puts(key), []);
      assert.deepEqual((await objectState(key)).records, []);
    });
  }
});

describe("an empty value", { concurrency: true }, () => {
  /** Sends a request without a body and without Content-Length. */
  async function writeNothing(key, parameters) {
    const path = `/writes/${key}?${new URLSearchParams(parameters)}`;
    const { request, response } = openRequest(worker, path, { method: "POST", headers: bearer });
    // Node would send Content-Length.
    request.useChunkedEncodingByDefault = false;
    request.end();
    const received = await response;
    const text = (await received.toArray()).join("");
    return { status: received.statusCode, headers: received.headers, text, json: () => JSON.parse(text) };
  }
  const empties = [
    ["Content-Length: 0", (key, parameters) => write(key, { body: "", ...parameters })],
    ["no Content-Length and no body", writeNothing],
  ];
  for (const strategy of ["direct", "backoff", "coalesce"]) {
    for (const [name, writeEmpty] of empties) {
      test(`${strategy}, ${name}: is written and read back like any other`, async () => {
        const key = uniqueName("empty");
        await WRITES.put(key, "before");
        const response = await writeEmpty(key, { strategy });
        if (strategy === "direct") assert.deepEqual([response.status, response.json()], [200, [{ attempt: 1, success: true }]]);
        else assertReport(response, 200, 1);
        assert.equal(await kvValue(key), "");
        assert.equal((await puts(key)).length, 1);
        for (const get of [await read(key), await readConsistent(key)]) {
          assert.equal(get.status, 200);
          assert.equal(get.bytes.length, 0);
        }
      });
    }

    test(`${strategy}: with n the demonstration writes its documented values`, async () => {
      for (const [, writeEmpty] of empties) {
        const key = uniqueName("demonstration");
        assert.equal((await writeEmpty(key, { strategy, n: 3 })).status, 200);
        assert.match(await kvValue(key), /^Write attempt #[123]$/);
      }
    });
  }

  test("coalesce stores it with a version while KV refuses it, and compares it with If-Match", async () => {
    const key = uniqueName("empty");
    await setFaults(key, { put: ["500", "500", "ok"] });
    const stored = await write(key, { strategy: "coalesce", wait: "durable", body: "" });
    assert.equal(stored.status, 202);
    assert.equal(stored.headers.etag, '"1"');
    const newest = await readConsistent(key);
    assert.deepEqual([newest.status, newest.text, newest.headers.etag], [200, "", '"1"']);
    await waitUntilFlushed(key);
    assert.equal(await kvValue(key), "");
    const kept = await readConsistent(key);
    assert.deepEqual([kept.status, kept.text, kept.headers.etag], [200, "", '"1"']);
    assert.equal((await readConsistent(key, { headers: { "If-None-Match": '"1"' } })).status, 304);
    const other = await write(key, { strategy: "coalesce", body: "", headers: { "If-Match": '"7"' } });
    assertProblem(other, 412, "precondition_failed");
    const again = await write(key, { strategy: "coalesce", body: "", headers: { "If-Match": '"1"' } });
    assert.deepEqual([again.status, again.headers.etag], [200, '"2"']);
  });
});

/** Not concurrent: a value of 25 MiB takes some hundred MB for a moment. */
describe("the longest value", () => {
  for (const strategy of ["direct", "backoff", "coalesce"]) {
    test(`${strategy} accepts exactly 25 MiB`, async () => {
      const key = uniqueName("longest");
      const body = bytesOf(LONGEST);
      const response = await write(key, { strategy, body });
      assert.equal(response.status, 200, response.text);
      assertBytes(await kvBytes(key), body, "in KV");
      if (strategy !== "coalesce") return;
      assertBytes((await readConsistent(key)).bytes, body, "read");
      await waitUntilFlushed(key);
    });

    test(`${strategy} responds with 413 to one byte more, and nothing is written`, async () => {
      const key = uniqueName("too-long");
      assertProblem(await write(key, { strategy, body: Buffer.alloc(LONGEST + 1) }), 413, "value_too_large");
      assert.deepEqual(await puts(key), []);
      assert.deepEqual((await objectState(key)).records, []);
    });
  }
});

describe("how a body arrives", { concurrency: true }, () => {
  for (const strategy of ["direct", "backoff", "coalesce"]) {
    test(`${strategy} responds with 411 to a body of unknown length, and nothing is written`, async () => {
      const key = uniqueName("chunked");
      const headers = { ...bearer, "Transfer-Encoding": "chunked" };
      const { request, response } = openRequest(worker, `/writes/${key}?strategy=${strategy}`, { method: "POST", headers });
      request.end("value");
      const received = await response;
      const chunks = await received.toArray();
      const { statusCode: status, headers: fields } = received;
      const json = () => JSON.parse(Buffer.concat(chunks).toString());
      assertProblem({ status, headers: fields, text: Buffer.concat(chunks).toString(), json }, 411, "length_required");
      assert.deepEqual(await puts(key), []);
      assert.deepEqual((await objectState(key)).records, []);
    });
  }

  for (const strategy of ["direct", "backoff", "coalesce"]) {
    for (const [sent, contentLength] of [
      [4, 1000],
      [1_500_000, 2_000_000],
    ]) {
      test(`${strategy}: a client that disconnects after ${sent} of ${contentLength} bytes has written nothing`, async () => {
        const key = uniqueName("broken-off");
        await WRITES.put(key, "before");
        const headers = { ...bearer, "Content-Length": contentLength };
        const { request } = openRequest(worker, `/writes/${key}?strategy=${strategy}`, { method: "POST", headers });
        request.write(Buffer.alloc(sent, "x"));
        await new Promise((resolve) => setTimeout(resolve, 500));
        request.destroy();
        await new Promise((resolve) => setTimeout(resolve, 500));
        assert.equal(await kvValue(key), "before");
        assert.deepEqual((await objectState(key)).records, []);
      });
    }
  }

  for (const [strategy, parameters, status] of [
    ["backoff", { timeoutMs: 2000 }, 200],
    ["coalesce", { timeoutMs: 2000 }, 200],
    ["coalesce", { timeoutMs: 2000, wait: "durable" }, 202],
  ]) {
    test(`${strategy}, ${JSON.stringify(parameters)}: a client may send its value slowly; the deadline applies to KV`, async () => {
      const key = uniqueName("slow");
      const body = Buffer.alloc(2_000_000, "0123456789");
      const query = new URLSearchParams({ strategy, ...parameters });
      const headers = { ...bearer, "Content-Length": body.length };
      const { request, response } = openRequest(worker, `/writes/${key}?${query}`, { method: "POST", headers });
      for (let start = 0; start < body.length; start += 500_000) {
        request.write(body.subarray(start, start + 500_000));
        await new Promise((resolve) => setTimeout(resolve, 700));
      }
      request.end();
      const received = await response;
      assert.equal(received.statusCode, status, (await received.toArray()).join(""));
      await eventually(async () => (await kvBytes(key)).equals(body), "the whole value is in KV");
    });
  }
});

describe("a key", { concurrency: true }, () => {
  for (const [name, key] of [
    ["with a slash", "a/b"],
    ["with dots between slashes", "a/../b"],
    ["that begins with a slash", "/a"],
    ["of three dots", "..."],
    ["with a space", "a b"],
    ["of a space alone", " "],
    ["with what a URL takes apart", "a?b#c&d=e;f+g"],
    ["with a percent sign", "100%25"],
    ["with a backslash and quotes", "\\ \"'"],
    ["that looks like a URL", "https://example.com/?x=1"],
    ["in letters of the world", "ключ-鍵-مفتاح"],
    ["with an emoji", "🔑"],
    ["with a zero byte and a line break", "a\u0000b\r\nc"],
    ["of 512 bytes", "k".repeat(512)],
    ["of 512 bytes of UTF-8", "€".repeat(170) + "ab"],
    ["that names a property of every object", "__proto__"],
  ]) {
    test(`${name} is one key, with its own object`, async () => {
      const response = await write(key, { strategy: "coalesce", body: `value of ${key}` });
      assertReport(response, 200, 1);
      assert.equal(response.headers.etag, '"1"');
      assert.equal(await kvValue(key), `value of ${key}`);
      assert.equal((await read(key)).text, `value of ${key}`);
      const newest = await readConsistent(key);
      assert.equal(newest.text, `value of ${key}`);
      assert.equal(newest.headers.etag, '"1"');
    });
  }

  test("is the same however it is encoded", async () => {
    const paths = ["x%2Fy-same", "x/y-same", "%78/%79-same"];
    for (const [index, path] of paths.entries()) {
      const options = { method: "POST", headers: bearer, body: path };
      const response = await send(worker, `/writes/${path}?strategy=coalesce&wait=durable`, options);
      assert.equal(response.headers.etag, `"${index + 1}"`, response.text);
    }
    await waitForKv("x/y-same", paths.at(-1));
  });

  for (const key of ["k".repeat(513), "€".repeat(171)]) {
    test(`of 513 bytes gets 400, and there is no object for it: ${key.slice(0, 3)}…`, async () => {
      for (const wait of ["kv", "durable"]) {
        assertProblem(await write(key, { strategy: "coalesce", wait, body: "value" }), 400, "invalid_key");
      }
      assertProblem(await readConsistent(key), 400, "invalid_key");
      assert.deepEqual((await objectState(key)).records, []);
    });
  }
});

// `/console/api/values`: values as the page reads them. What does not exist, or is no text, is no
// error there, because a browser logs each 4xx as an error of the page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertOutcome, consoleApi } from "./harness/console.mjs";
import { assertResult, BINARY, NAMESPACES, ODD_KEYS, signToken, startKvApi } from "./harness/kv-api.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";

const worker = await startKvApi();
const call = consoleApi(worker);
const KV = worker.env.WRITES;

const read = (namespace, key, options) => call(`values?${new URLSearchParams({ namespace, key })}`, options);
const readTexts = (namespace, keys, options) => call(`values?${new URLSearchParams({ namespace })}`, { json: { keys }, ...options });

/** Returns the bytes and the metadata of a value, as the page reads them. */
function pairOf({ status, headers, bytes, text }) {
  assert.equal(status, 200, text);
  assert.equal(headers["content-type"], "application/octet-stream");
  assert.equal(headers["cache-control"], "no-store, no-transform");
  const metadata = headers["kv-metadata"];
  return [bytes, metadata === undefined ? null : JSON.parse(decodeURIComponent(metadata))];
}

test("a value comes byte for byte with its metadata, whatever its key", async () => {
  for (const [key, metadata] of [...ODD_KEYS.map((key) => [key, null]), ["meta", { "é\n": "\u{1f600}", n: [1.5, null] }], ["long", "ü".repeat(500)]]) {
    await KV.put(key, BINARY, { metadata });
    assert.deepEqual(pairOf(await read("WRITES", key)), [BINARY, metadata], key);
  }
});

test("a key that does not exist is a 204, an empty value is not", async () => {
  const key = uniqueName("empty");
  const { status, bytes, headers } = await read("WRITES", key);
  assert.deepEqual([status, bytes.length, headers["cache-control"]], [204, 0, "no-store, no-transform"]);
  await KV.put(key, "");
  assert.deepEqual(pairOf(await read("WRITES", key)), [Buffer.alloc(0), null]);
});

test("texts are read together; what does not exist is null, and what is no text is left out", async () => {
  const folder = uniqueName("texts");
  const [text, empty, bytes, gone] = ["text", "empty", "bytes", "gone"].map((name) => `${folder}/${name}`);
  await KV.put(text, 'é "\n\u{1f600}');
  await KV.put(empty, "");
  await KV.put(bytes, BINARY);
  const { values } = assertOutcome(await readTexts("WRITES", [text, empty, bytes, gone]));
  assert.deepEqual(values, { [text]: 'é "\n\u{1f600}', [empty]: "", [gone]: null });
});

test("texts that are too long together are all left out", async () => {
  const keys = ["a", "b"].map((name) => uniqueName(name));
  for (const key of keys) await KV.put(key, "x".repeat(13 * 1024 * 1024));
  assert.deepEqual(assertOutcome(await readTexts("WRITES", keys)).values, {});
  assert.equal(assertOutcome(await readTexts("WRITES", keys.slice(0, 1))).values[keys[0]].length, 13 * 1024 * 1024);
});

test("namespaces of clients are read by their id and by their title", async () => {
  const title = uniqueName("made");
  const { id } = assertResult(await worker.api("POST", NAMESPACES, { body: JSON.stringify({ title }) }));
  const { id: other } = assertResult(await worker.api("POST", NAMESPACES, { body: JSON.stringify({ title: `${title}-other` }) }));
  assertResult(await worker.api("PUT", `${NAMESPACES}/${id}/values/a`, { body: "in it" }));
  for (const name of [id, title]) {
    assert.equal(String(pairOf(await read(name, "a"))[0]), "in it");
    assert.deepEqual(assertOutcome(await readTexts(name, ["a", "b"])).values, { a: "in it", b: null });
  }
  assert.equal((await read(other, "a")).status, 204);
});

test("a namespace that does not exist is an error, and so is a key that no namespace can have", async () => {
  assertProblem(await read("no-such", "a"), 404, "namespace_not_found");
  assertProblem(await readTexts("no-such", ["a"]), 404, "namespace_not_found");
  assertProblem(await read("WRITES", "k".repeat(513)), 400, "invalid_parameter");
  for (const query of ["", "?key=a", "?namespace=WRITES", "?namespace=WRITES&key="]) assertProblem(await call(`values${query}`), 400, "invalid_parameter");
  assertProblem(await call("values", { json: { keys: ["a"] } }), 400, "invalid_parameter");
  for (const keys of [[], Array.from({ length: 101 }, (_, index) => `${index}`), [""], [1]]) {
    assertProblem(await readTexts("WRITES", keys), 400, "invalid_body");
  }
});

test("a token reads its namespace and its prefix alone, and does not learn what else there is", async () => {
  const folder = `${uniqueName("scoped")}/`;
  await KV.put(`${folder}a`, "mine");
  const token = signToken({ namespace: "WRITES", prefix: folder });
  assert.equal(String(pairOf(await read("WRITES", `${folder}a`, { token }))[0]), "mine");
  assert.equal((await read("WRITES", `${folder}gone`, { token })).status, 204);
  assert.deepEqual(assertOutcome(await readTexts("WRITES", [`${folder}a`], { token })).values, { [`${folder}a`]: "mine" });
  for (const [namespace, key] of [
    ["WRITES", "other"],
    ["assets", `${folder}a`],
    ["no-such", `${folder}a`],
  ]) {
    assertProblem(await read(namespace, key, { token }), 403, "out_of_scope");
    assertProblem(await readTexts(namespace, [key], { token }), 403, "out_of_scope");
  }
  assertProblem(await readTexts("WRITES", [`${folder}a`, "other"], { token }), 403, "out_of_scope");
});

test("HEAD has the status and the metadata of GET, and no body", async () => {
  const key = uniqueName("head");
  await KV.put(key, "a value", { metadata: { by: "ann" } });
  for (const [name, status] of [
    [key, 200],
    [`${key}-gone`, 204],
    ["k".repeat(513), 400],
  ]) {
    const [head, get] = [await read("WRITES", name, { method: "HEAD" }), await read("WRITES", name)];
    assert.deepEqual([head.status, head.bytes.length], [status, 0], name);
    for (const field of ["content-type", "cache-control", "kv-metadata"]) assert.equal(head.headers[field], get.headers[field], field);
  }
  assert.equal((await read("WRITES", key, { method: "HEAD", token: signToken({ namespace: "assets" }) })).status, 403);
});

test("other methods are refused", async () => {
  for (const method of ["PUT", "DELETE", "OPTIONS"]) {
    const response = await call("values?namespace=WRITES&key=a", { method });
    assert.deepEqual([response.status, response.headers.allow], [405, "GET, HEAD, POST"]);
  }
});

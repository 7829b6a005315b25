// `GET /config?userId=ID`: the documented personalised page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertPage } from "./harness/config.mjs";
import { eventually } from "./harness/eventually.mjs";
import { send, sendForJson } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";
import { startWorker } from "./harness/worker.mjs";

// KV is read at every request, so that a change takes effect at once.
const worker = await startWorker({ vars: { CONFIG_REFRESH: "0" } });
const { USER_CONFIGURATION } = worker.env;

const configOf = (id) => send(worker, `/config?userId=${encodeURIComponent(id)}`);

const records = [
  ['{"preview_features_enabled": true}', true],
  ['{"preview_features_enabled": false}', false],
  ["{}", false],
  ['{"preview_features_enabled": null}', false],
  ['{"preview_features_enabled": true, "theme": "dark", "limits": {"a": [1]}}', true],
  ['\n{ "preview_features_enabled" : true }\n', true],
  ['{"preview_features_enabled": true, "n": 9007199254740993}', true],
];
for (const [record, preview] of records) {
  test(`${JSON.stringify(record)} shows the ${preview ? "preview banner" : "regular page"}`, async () => {
    const id = uniqueName("user");
    await USER_CONFIGURATION.put(id, record);
    const response = await configOf(id);
    assertPage(response, { preview });
  });
}

test("an unknown user gets the regular page", async () => {
  const response = await configOf(uniqueName("nobody"));
  assertPage(response, { preview: false });
});

for (const query of ["", "?", "?userId=", "?userId", "?userid=alice", "?other=1&userId=", "?user=alice"]) {
  test(`/config${query} gets 400 with the documented sentence`, async () => {
    const response = await send(worker, `/config${query}`);
    assertPlainError(response, 400, "Please provide a userId query parameter");
  });
}

const brokenRecords = [
  "{",
  "",
  "not json",
  '"a string"',
  "[true]x",
  "42",
  "[]",
  "null",
  '{"preview_features_enabled": 1}',
  '{"preview_features_enabled": [true]}',
  '{"preview_features_enabled": "true"}',
  '{"preview_features_enabled": true',
  new Uint8Array([0xff, 0xfe, 0x00, 0x80]),
];
for (const record of brokenRecords) {
  const shown = typeof record === "string" ? JSON.stringify(record) : "bytes that are not UTF-8";
  test(`the broken record ${shown} gets the regular page, and is reported in a header and in the log`, async () => {
    const id = uniqueName("broken");
    await USER_CONFIGURATION.put(id, record);
    const before = worker.log().length;
    const response = await configOf(id);
    assertPage(response, { preview: false, source: "default" });
    await eventually(() => worker.log().length > before, "a log line for the broken record");
  });
}

const encodedIds = [
  ["a%20b", "a b"],
  ["a+b", "a b"],
  ["a%2Bb", "a+b"],
  ["%C3%A9t%C3%A9", "été"],
  ["a%2525", "a%25"],
  ["x%26y%3Dz", "x&y=z"],
];
for (const [encoded, id] of encodedIds) {
  test(`userId=${encoded} is the key ${JSON.stringify(id)}`, async () => {
    await USER_CONFIGURATION.put(id, '{"preview_features_enabled": true}');
    assertPage(await send(worker, `/config?userId=${encoded}`), { preview: true });
    await USER_CONFIGURATION.delete(id);
    assertPage(await send(worker, `/config?userId=${encoded}`), { preview: false });
  });
}

test("userId is found among other parameters, and the first one counts", async () => {
  const id = uniqueName("first");
  await USER_CONFIGURATION.put(id, '{"preview_features_enabled": true}');
  assertPage(await send(worker, `/config?a=1&userId=${id}&userId=other&b`), { preview: true });
});

const keysWithin = ["a".repeat(512), "é".repeat(256), "..."];
for (const id of keysWithin) {
  test(`a userId of ${Buffer.byteLength(id)} bytes (${id.slice(0, 3)}) is looked up`, async () => {
    await USER_CONFIGURATION.put(id, '{"preview_features_enabled": true}');
    assertPage(await configOf(id), { preview: true });
  });
}

const keysBeyond = [
  ["513 bytes", "a".repeat(513)],
  ["171 characters of three bytes", "€".repeat(171)],
  [".", "."],
  ["..", ".."],
];
for (const [name, id] of keysBeyond) {
  test(`a userId that cannot be a key (${name}) gets 400`, async () => {
    const response = await sendForJson(worker, `/config?userId=${encodeURIComponent(id)}`);
    assertProblem(response, 400, "invalid_key");
  });
}

for (const encoded of ["%", "%zz", "%a", "%ff", "%C3%28", "%ED%A0%80"]) {
  test(`the percent-encoding userId=${encoded} gets 400`, async () => {
    const response = await sendForJson(worker, `/config?userId=${encoded}`);
    assertProblem(response, 400, "bad_percent_encoding");
  });
}

test("the page contains nothing that the client sends", async () => {
  const response = await configOf("<script>alert(1)</script>");
  assertPage(response, { preview: false });
  assert.doesNotMatch(response.text, /<script|alert/);
});

test("HEAD gets the status and the Config-Source of GET, without the body", async () => {
  const id = uniqueName("head");
  await USER_CONFIGURATION.put(id, "{");
  const response = await send(worker, `/config?userId=${id}`, { method: "HEAD" });
  assert.equal(response.status, 200);
  assert.equal(response.headers["config-source"], "default");
  assert.equal(response.text, "");
});

for (const method of ["PUT", "DELETE", "PATCH", "OPTIONS"]) {
  test(`${method} gets 405`, async () => {
    const response = await sendForJson(worker, "/config?userId=x", { method });
    assertProblem(response, 405, "method_not_allowed");
    assert.equal(response.headers.allow, "GET, HEAD, POST");
  });
}

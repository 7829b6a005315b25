// `POST /config`: several users' configurations in one request, by bulk reads of KV.
import assert from "node:assert/strict";
import http from "node:http";
import { before, describe, test } from "node:test";
import { makeUserIds, snapshotOf, startConfig, usersOf } from "./harness/config.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { bearer } from "./harness/worker.mjs";

const on = { preview_features_enabled: true };
const off = { preview_features_enabled: false };
const IDS_MAX = 1000;
const BODY_MAX = 600 * 1024;

describe("who may ask, and for what", async () => {
  const config = await startConfig();
  const post = (body, headers = bearer) => config.request("POST", "/config", { body, headers: { Accept: "application/json", ...headers } });

  for (const [what, headers] of [
    ["no token", {}],
    ["a wrong token", { Authorization: "Bearer nonsense" }],
    ["another scheme", { Authorization: bearer.Authorization.replace("Bearer", "Basic") }],
    ["an empty token", { Authorization: "Bearer " }],
  ]) {
    test(`${what} gets 401, without a read`, async () => {
      const { response, reads } = await config.recordReads(() => post({ userIds: ["a"] }, headers));
      assertProblem(response, 401, "unauthorized");
      assert.deepEqual(reads, []);
    });
  }

  const wrong = [
    ["not JSON", "{"],
    ["an empty body", ""],
    ["a list", "[]"],
    ["null", "null"],
    ["no userIds", "{}"],
    ["userIds is a string", { userIds: "a" }],
    ["userIds is an object", { userIds: { a: 1 } }],
    ["userIds is null", { userIds: null }],
    ["an id is a number", { userIds: ["a", 7] }],
    ["an id is null", { userIds: ["a", null] }],
    ["an id is a list", { userIds: ["a", ["a"]] }],
    ["another member", { userIds: ["a"], user: "b" }],
    ["bytes that are not UTF-8", Buffer.from([0x7b, 0xff, 0x7d])],
    ["an id that is not UTF-8", Buffer.from('{"userIds":["a\xff"]}', "latin1")],
    ["1001 ids", { userIds: Array.from({ length: IDS_MAX + 1 }, (_, index) => `${index}`) }],
  ];
  for (const [what, body] of wrong) {
    test(`${what} gets 400, without a read`, async () => {
      const { response, reads } = await config.recordReads(() => post(body));
      assertProblem(response, 400, "invalid_user_ids");
      assert.deepEqual(reads, []);
    });
  }

  for (const [what, id] of [
    ["empty", ""],
    [".", "."],
    ["..", ".."],
    ["513 bytes", "a".repeat(513)],
    ["171 times three bytes", "€".repeat(171)],
  ]) {
    test(`an id that cannot be a key (${what}) gets 400 by its index, without a read`, async () => {
      const { response, reads } = await config.recordReads(() => post({ userIds: ["fine", "a", id, "b"] }));
      const { detail } = assertProblem(response, 400, "invalid_key");
      assert.match(detail, /userIds\[2\]/);
      assert.deepEqual(reads, []);
    });
  }

  test("an empty list gets a response without users and without a read", async () => {
    const { response, reads } = await config.recordReads(() => post({ userIds: [] }));
    assert.deepEqual(usersOf(response), {});
    assert.deepEqual(reads, []);
  });

  for (const [what, length, status] of [
    ["short", 0, 200],
    ["as long as it may be", BODY_MAX, 200],
    ["too long", BODY_MAX + 1, 413],
  ]) {
    test(`a chunked body that is ${what} gets ${status}`, async () => {
      const { hostname, port } = config.worker.directUrl;
      const response = await new Promise((resolve, reject) => {
        const request = http.request(
          { hostname, port, path: "/config", method: "POST", headers: { ...bearer, "Transfer-Encoding": "chunked" }, agent: false },
          resolve,
        );
        request.on("error", reject).end('{"userIds":["a"]}'.padEnd(length, " "));
      });
      response.resume();
      assert.equal(response.statusCode, status);
    });
  }

  for (const framing of ["Content-Length: 100", "Transfer-Encoding: chunked"]) {
    test(`a body that breaks off gets 400, without a read: ${framing}`, async () => {
      const headers = { ...bearer, Accept: "application/json" };
      const { response, reads } = await config.recordReads(() => config.sendIncomplete("/config", { headers, framing, body: '12\r\n{"userIds":["a"]}\r\n' }));
      assertProblem(response, 400, "body_broken");
      assert.deepEqual(reads, []);
    });
  }

  test("a body of the maximum length is read, one byte more gets 413", async () => {
    const body = (length) => '{"userIds":["a"]}'.padEnd(length, " ");
    assert.deepEqual(Object.keys(usersOf(await post(body(BODY_MAX)))), ["a"]);
    const response = await post(body(BODY_MAX + 1));
    assertProblem(response, 413, "user_ids_too_large");
  });

  test("a thousand of the longest ids fit", async () => {
    const userIds = Array.from({ length: IDS_MAX }, (_, index) => `${index}-`.padEnd(512, "x"));
    assert.equal(Object.keys(usersOf(await post({ userIds }))).length, IDS_MAX);
  });
});

describe("without API_TOKEN", async () => {
  const config = await startConfig({ secrets: {} });
  test("gets 503, and the page is still there", async () => {
    assertProblem(await config.postUsers(["a"], { headers: { Accept: "application/json" } }), 503, "not_configured");
    assert.equal((await config.getPage("a")).status, 200);
  });
});

describe("the response", async () => {
  const config = await startConfig({ refresh: "30", vars: { CONFIG_SNAPSHOT: "snapshot" } });
  const sam = { preview_features_enabled: true, plan: "pro" };
  before(() => config.kv.put("snapshot", snapshotOf({ sam, both: off })));

  test("has each user's source and whole record", async () => {
    const full = { preview_features_enabled: true, plan: "pro", n: 1.5, text: '<b>"é\u2028', list: [1, { a: null }], nothing: null };
    const [recorded, broken, nobody] = makeUserIds(3);
    await config.putRecord(recorded, full);
    await config.kv.put(broken, "{");
    await config.putRecord("both", on);
    const users = usersOf(await config.postUsers([recorded, "sam", "both", broken, nobody]));
    assert.deepEqual(users, {
      [recorded]: { source: "record", config: full },
      sam: { source: "snapshot", config: sam },
      both: { source: "record", config: on },
      [broken]: { source: "default", config: null },
      [nobody]: { source: "none", config: null },
    });
  });

  test("keeps numbers as they are in the record", async () => {
    const [id] = makeUserIds(1);
    await config.putRecord(id, '{"a":9007199254740993,"b":0.1000000000000000055}');
    assert.match((await config.postUsers([id])).text, /"config":\{"a":9007199254740993,"b":0\.1000000000000000055\}/);
  });

  test("reads an id that is requested twice only once, and returns it once", async () => {
    const [a, b] = makeUserIds(2);
    const { response, reads } = await config.recordReads(() => config.postUsers([a, b, a, a]));
    assert.deepEqual(Object.keys(usersOf(response)).toSorted(), [a, b].toSorted());
    assert.deepEqual(
      reads
        .flat()
        .filter((key) => key !== "snapshot")
        .toSorted(),
      [a, b].toSorted(),
    );
  });

  test("may have property names of JavaScript objects, and any characters, as ids", async () => {
    const names = ["__proto__", "constructor", "toString", 'a"b', "a\\b", "a\u0000b", "été", "🎉"];
    const users = usersOf(await config.postUsers(names));
    assert.deepEqual(Object.keys(users).toSorted(), names.toSorted());
  });

  test("has no record for reserved ids, and does not read them", async () => {
    await config.putRecord("flags", { flags: {} });
    const { response, reads } = await config.recordReads(() => config.postUsers(["flags", "snapshot"]));
    assert.deepEqual(usersOf(response), { flags: { source: "none", config: null }, snapshot: { source: "none", config: null } });
    assert.ok(!reads.flat().includes("flags"), `${reads}`);
  });

  /** How many ids a request has, and how many keys each of its calls reads, the fewest first. */
  for (const [count, calls] of [
    [1, [1]],
    [99, [99]],
    [100, [100]],
    [101, [1, 100]],
    [250, [50, 100, 100]],
    [1000, Array(10).fill(100)],
  ]) {
    const fitsInMemory = count <= 250;
    test(`${count} ids cost ${calls.length} calls${fitsInMemory ? ", and none the second time" : ""}`, async () => {
      const userIds = makeUserIds(count);
      await Promise.all(userIds.slice(0, 20).map((id) => config.putRecord(id, on)));
      await config.postUsers(["sam"]); // loads the snapshot into memory
      const { response, reads } = await config.recordReads(() => config.postUsers(userIds));
      assert.deepEqual(
        reads.map((keys) => (Array.isArray(keys) ? keys.length : 1)).toSorted((a, b) => a - b),
        calls,
      );
      assert.deepEqual(new Set(reads.flat()), new Set(userIds));
      const users = usersOf(response);
      for (const [index, id] of userIds.entries())
        assert.deepEqual(users[id], index < 20 ? { source: "record", config: on } : { source: "none", config: null });
      if (!fitsInMemory) return;
      const again = await config.recordReads(() => config.postUsers(userIds));
      assert.deepEqual(again.reads, []);
      assert.deepEqual(usersOf(again.response), users);
    });
  }

  test("memory is used first, and records read here serve pages too", async () => {
    const [known, unknown, asked] = makeUserIds(3);
    for (const id of [known, asked]) await config.putRecord(id, on);
    await config.getPage(known);
    await config.getPage(unknown);
    const { response, reads } = await config.recordReads(() => config.postUsers([known, unknown, asked]));
    assert.deepEqual(reads.flat(), [asked]);
    assert.equal(usersOf(response)[known].source, "record");
    const page = await config.recordReads(() => config.getPage(asked));
    assert.deepEqual(page.reads, []);
    assert.match(page.response.text, /🎉/);
  });

  test("an expired record is read again", async () => {
    const [id] = makeUserIds(1);
    await config.putRecord(id, on);
    await config.postUsers([id]);
    await config.putRecord(id, off);
    await config.advanceClock(61);
    assert.deepEqual(usersOf(await config.postUsers([id]))[id], { source: "record", config: off });
  });
});

describe("the prefix", async () => {
  const config = await startConfig({ vars: { CONFIG_PREFIX: "u:" } });
  test("precedes each id in KV, and is not in the response", async () => {
    await config.putRecord("u:a", on);
    await config.putRecord("b", on);
    const { response, reads } = await config.recordReads(() => config.postUsers(["a", "b"]));
    assert.deepEqual(usersOf(response), { a: { source: "record", config: on }, b: { source: "none", config: null } });
    assert.deepEqual(reads.flat().toSorted(), ["u:a", "u:b"]);
  });
});

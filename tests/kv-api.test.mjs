// The KV REST API on the wire: statuses, error codes, fields and bodies that no client sends
// by itself. kv-api-values has single values and forms; kv-api-wrangler, kv-api-sdk, kv-api-python
// and kv-api-unstorage have the clients.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { ACCOUNT, assertFailure, assertResult, BINARY, NAMESPACES, ODD_KEYS, startKvApi, VALUE_BYTES_MAX, valuePath } from "./harness/kv-api.mjs";
import { uniqueName } from "./harness/names.mjs";
import { WORKER_TOKEN } from "./harness/worker.mjs";

// tests/faulty/entry.mjs reads the rest of a body that is refused, as `wrangler dev` does.
const worker = await startKvApi({ faulty: true, analyticsDatasets: [{ name: "KV_API_ANALYTICS", dataset: "kv_api" }] });
const { api } = worker;
const { WRITES } = worker.env;
const json = JSON.stringify;
const W = `${NAMESPACES}/WRITES`;

describe("paths", () => {
  for (const path of [
    `/${W}/keys`,
    `//accounts/${ACCOUNT}/storage/kv/namespaces/WRITES/keys`,
    `${W}//keys/`,
    `/accounts/any account/storage/kv/namespaces/WRITES/keys`.replace(" ", "%20"),
    `/accounts/${ACCOUNT}/storage/kv/namespaces/%57RITES/keys?`,
    `${W}/keys?unknown=1&&=&prefix=paths`,
  ])
    test(`${path} lists keys`, async () => {
      assert.ok(Array.isArray(assertResult(await api("GET", path))));
    });

  for (const [method, path, status, code] of [
    ["GET", "", 404, 7003],
    ["GET", "/", 404, 7003],
    ["GET", "/zones", 404, 7003],
    ["GET", "/Accounts", 404, 7003],
    ["GET", `${W}/value/k`, 404, 7003],
    ["GET", `${W}/keys/k`, 404, 7003],
    ["GET", `${W}/bulk/other`, 404, 7003],
    ["GET", `${W}/values`, 400, 10030],
    ["GET", `${W}/values/`, 400, 10030],
    ["PUT", `${W}/values/`, 400, 10030],
    ["DELETE", `${W}/values/.`, 400, 10030],
    ["DELETE", `${W}/values/..`, 400, 10030],
    ["DELETE", `${W}/values/%2e%2E`, 400, 10030],
    ["PUT", `${W}/values/..`, 400, 10030],
    ["GET", `${W}/metadata/..`, 400, 10030],
    ["GET", `${W}/values/${"k".repeat(513)}`, 400, 10030],
    ["GET", `${W}/values/${"%C3%BC".repeat(257)}`, 400, 10030],
    ["GET", `${W}/values/%`, 400, 7003],
    ["GET", `${W}/values/%zz`, 400, 7003],
    ["GET", `${W}/values/%ff`, 400, 7003],
    ["GET", `${W}/values/%C0%AF`, 400, 7003],
    ["GET", `${W}/values/%ED%A0%80`, 400, 7003],
    ["GET", `${NAMESPACES}/%ff/keys`, 400, 7003],
    ["GET", `${W}/keys?prefix=%ff`, 400, 7003],
    ["GET", `${W}/keys?cursor=%zz`, 400, 7003],
    ["GET", `${W}/keys?limit=0`, 400, 10029],
    ["GET", `${W}/keys?limit=9`, 400, 10029],
    ["GET", `${W}/keys?limit=1001`, 400, 10029],
    ["GET", `${W}/keys?limit=10.5`, 400, 10029],
    ["GET", `${W}/keys?limit=%0010`, 400, 10029],
    ["GET", `${W}/keys?prefix=${"p".repeat(513)}`, 400, 10030],
    ["GET", `${NAMESPACES}?page=x`, 400, 10029],
    ["GET", `${NAMESPACES}?per_page=-1`, 400, 10029],
    ["GET", `${NAMESPACES}?page=99999999999999999999`, 400, 10029],
    ["GET", `${NAMESPACES}/${"0".repeat(32)}`, 404, 10013],
    ["GET", `${NAMESPACES}/writes/keys`, 404, 10013],
    ["GET", `${NAMESPACES}/KV_NAMESPACES/keys`, 404, 10013],
    ["GET", `${NAMESPACES}/API_TOKEN/keys`, 404, 10013],
    ["GET", `${NAMESPACES}/KEY_WRITER/keys`, 404, 10013],
    ["GET", `${NAMESPACES}/__proto__/keys`, 404, 10013],
    ["GET", `${NAMESPACES}/constructor/keys`, 404, 10013],
    ["GET", `${W}/values/no-such-key`, 404, 10009],
    ["GET", `${W}/metadata/no-such-key`, 404, 10009],
    ["POST", W, 405, 10405],
    ["PATCH", NAMESPACES, 405, 10405],
    ["DELETE", NAMESPACES, 405, 10405],
    ["POST", `${W}/values/k`, 405, 10405],
    ["OPTIONS", `${W}/values/k`, 405, 10405],
    ["PROPFIND", `${W}/values/k`, 405, 10405],
    ["PUT", `${W}/keys`, 405, 10405],
    ["DELETE", `${W}/metadata/k`, 405, 10405],
    ["GET", `${W}/bulk`, 405, 10405],
    ["POST", `${W}/bulk`, 405, 10405],
    ["GET", `${W}/bulk/get`, 405, 10405],
    ["DELETE", `${W}/bulk/delete`, 405, 10405],
    ["POST", "/user/tokens/verify", 405, 10405],
    ["DELETE", W, 405, 10405],
    ["PUT", `${NAMESPACES}/assets/values/k`, 403, 10405],
    ["DELETE", `${NAMESPACES}/assets/values/k`, 403, 10405],
    ["PUT", `${NAMESPACES}/assets/bulk`, 403, 10405],
    ["DELETE", `${NAMESPACES}/assets/bulk`, 403, 10405],
    ["POST", `${NAMESPACES}/assets/bulk/delete`, 403, 10405],
  ])
    test(`${method} ${path.length > 150 ? `${path.slice(0, 150)}…` : path || "(nothing)"} is refused with ${status} and ${code}`, async () => {
      const body = ["PUT", "POST", "PATCH"].includes(method) ? "[]" : undefined;
      assertFailure(await api(method, path, { body }), status, code);
    });

  test("a namespace is still there after calls with the key `..`", async () => {
    const { id } = assertResult(await api("POST", NAMESPACES, { body: json({ title: uniqueName("dots") }) }));
    for (const dots of ["..", "%2e%2e", ".%2E", "x/../.."]) {
      assertFailure(await api("DELETE", `${NAMESPACES}/${id}/values/${dots}`), 400, 10030);
      assertFailure(await api("PUT", `${NAMESPACES}/${id}/values/${dots}`, { body: '{"title":"other"}' }), 400, 10030);
      assertFailure(await api("GET", `${NAMESPACES}/${id}/values/${dots}`), 400, 10030);
    }
    assert.equal(assertResult(await api("GET", `${NAMESPACES}/${id}`)).id, id);
  });

  test("a key may have its slashes encoded or not, and is decoded once", async () => {
    for (const [path, key] of [
      ["a/b//c/", "a/b//c/"],
      ["/a", "/a"],
      ["%2Fa%2fb", "/a/b"],
      ["%252F", "%2F"],
      ["a+b", "a+b"],
      ["a;b=c,d", "a;b=c,d"],
      ["keys?prefix=x", "keys"],
      ["%00", "\0"],
    ]) {
      assertResult(await api("PUT", `${W}/values/${path}`, { body: key }));
      assert.equal(await WRITES.get(key), key, path);
      assert.equal((await api("GET", `${W}/values/${path}`)).text, key);
    }
  });

  test("if a parameter is given twice, the first one counts", async () => {
    const key = uniqueName("twice");
    assertResult(await api("PUT", `${W}/values/${key}?expiration_ttl=600&expiration_ttl=1`, { body: "v" }));
    assertFailure(await api("PUT", `${W}/values/${key}?expiration_ttl=1&expiration_ttl=600`, { body: "w" }), 400, 10034);
    assert.equal(await WRITES.get(key), "v");
  });
});

describe("credentials", () => {
  for (const [what, headers, status, code] of [
    ["none", {}, 400, 9106],
    ["an empty field", { Authorization: "" }, 400, 9106],
    ["another scheme", { Authorization: "Basic eDp5" }, 400, 6003],
    ["no scheme", { Authorization: WORKER_TOKEN }, 400, 6003],
    ["a wrong token", { Authorization: "Bearer wrong" }, 401, 10000],
    ["a token with more after it", { Authorization: `Bearer ${WORKER_TOKEN}x` }, 401, 10000],
    ["a token in two fields", { Authorization: [`Bearer ${WORKER_TOKEN}`, "Bearer x"] }, 401, 10000],
    ["a wrong key", { "X-Auth-Email": "a@example.com", "X-Auth-Key": "wrong" }, 401, 10000],
    ["an e-mail address alone", { "X-Auth-Email": "a@example.com" }, 400, 9106],
    ["a token that is very long", { Authorization: `Bearer ${"x".repeat(12_000)}` }, 401, 10000],
    ["a token that is not ASCII", { Authorization: "Bearer \xfc" }, 401, 10000],
  ])
    test(`${what}: every path is refused with ${status} and ${code}, whether it exists or not`, async () => {
      for (const path of ["/user/tokens/verify", NAMESPACES, `${W}/keys`, `${NAMESPACES}/none/keys`, `${W}/values/k`, "/zones"])
        assertFailure(await api("GET", path, { token: null, headers }), status, code);
      assertFailure(await api("PUT", `${W}/values/refused`, { token: null, headers, body: "v" }), status, code);
      assert.equal(await WRITES.get("refused"), null);
    });

  test("the scheme is case-insensitive, and the key of the older schemes is the token", async () => {
    for (const headers of [
      { Authorization: `bearer ${WORKER_TOKEN}` },
      { Authorization: `BEARER  ${WORKER_TOKEN} ` },
      { "X-Auth-Email": "a@example.com", "X-Auth-Key": WORKER_TOKEN },
      { "X-Auth-User-Service-Key": WORKER_TOKEN },
    ])
      assertResult(await api("GET", "/user/tokens/verify", { token: null, headers }));
  });
});

describe("bulk calls", () => {
  const bulk = (body, path = "bulk", method = "PUT") =>
    api(method, `${W}/${path}`, { body: typeof body === "string" || Buffer.isBuffer(body) ? body : json(body) });
  const ok = { key: "bulk-refused", value: "v" };

  for (const [what, body, status, code] of [
    ["nothing", "", 400, 10012],
    ["no JSON", "[{", 400, 10012],
    ["an object", ok, 400, 10012],
    ["text after the array", `${json([ok])}x`, 400, 10012],
    ["bytes that are no UTF-8", Buffer.concat([Buffer.from('[{"key":"bulk-refused","value":"'), BINARY, Buffer.from('"}]')]), 400, 10012],
    ["a pair without a key", [ok, { value: "v" }], 400, 10012],
    ["a pair without a value", [ok, { key: "k" }], 400, 10012],
    ["a value that is a number", [ok, { key: "k", value: 1 }], 400, 10012],
    ["a key that is null", [ok, { key: null, value: "v" }], 400, 10012],
    ["half a surrogate pair", `[${json(ok)},{"key":"\\ud800","value":"v"}]`, 400, 10012],
    ["an empty key", [ok, { key: "", value: "v" }], 400, 10030],
    ["the key `..`", [ok, { key: "..", value: "v" }], 400, 10030],
    ["a key that is too long", [ok, { key: "k".repeat(513), value: "v" }], 400, 10030],
    ["broken base64", [ok, { key: "k", value: "%%%", base64: true }], 400, 10012],
    ["a bad expiration_ttl", [ok, { key: "k", value: "v", expiration_ttl: 5 }], 400, 10034],
    ["a bad expiration", [ok, { key: "k", value: "v", expiration: 5 }], 400, 10033],
    ["metadata that is too long", [ok, { key: "k", value: "v", metadata: "m".repeat(1100) }], 413, 10024],
    ["10,001 pairs", Array.from({ length: 10_001 }, (_, number) => ({ key: `bulk-refused${number}`, value: "" })), 400, 10029],
    ["a value of more than 25 MiB", [ok, { key: "k", value: "v".repeat(VALUE_BYTES_MAX + 1) }], 413, 10022],
    ["more than 32 MiB", [ok, { key: "k", value: "v".repeat(33 * 1024 * 1024) }], 413, 10022],
  ])
    test(`a bulk write of ${what} is refused with ${status} and ${code}, and writes nothing`, async () => {
      assertFailure(await bulk(body), status, code);
      assert.deepEqual((await WRITES.list({ prefix: "bulk-refused" })).keys, []);
    });

  for (const [what, body, status, code] of [
    ["nothing", "", 400, 10012],
    ["an object", {}, 400, 10012],
    ["numbers", [1], 400, 10012],
    ["an empty key", ["kept", ""], 400, 10030],
    ["10,001 keys", Array.from({ length: 10_001 }, (_, number) => `kept${number}`), 400, 10029],
  ])
    test(`a bulk delete of ${what} is refused with ${status} and ${code} in both forms, and deletes nothing`, async () => {
      await WRITES.put("kept", "v");
      assertFailure(await bulk(body, "bulk/delete", "POST"), status, code);
      assertFailure(await bulk(body, "bulk", "DELETE"), status, code);
      assert.equal(await WRITES.get("kept"), "v");
    });

  for (const [what, body, status, code] of [
    ["nothing", "", 400, 10012],
    ["an array", [], 400, 10012],
    ["no keys", { keys: [] }, 400, 10029],
    ["101 keys", { keys: Array.from({ length: 101 }, (_, number) => `k${number}`) }, 400, 10029],
    ["an unknown type", { keys: ["k"], type: "stream" }, 400, 10012],
    ["an empty key", { keys: [""] }, 400, 10030],
    ["a value that is no JSON as JSON", { keys: ["text"], type: "json" }, 400, 10029],
  ])
    test(`a bulk read of ${what} is refused with ${status} and ${code}`, async () => {
      await WRITES.put("text", "no JSON");
      assertFailure(await bulk(body, "bulk/get", "POST"), status, code);
    });

  test("an empty batch changes nothing and succeeds", async () => {
    for (const [method, path] of [
      ["PUT", "bulk"],
      ["DELETE", "bulk"],
      ["POST", "bulk/delete"],
    ])
      assert.deepEqual(assertResult(await bulk([], path, method)), { successful_key_count: 0, unsuccessful_keys: [] });
  });

  test("a bulk write accepts any key, ignores unknown members, and keeps the last of equal keys", async () => {
    const pairs = ODD_KEYS.map((key) => ({ key, value: `of ${key}`, other: {} }));
    const outcome = assertResult(await bulk([{ key: "same", value: "1" }, ...pairs, { key: "same", value: "2" }]));
    assert.deepEqual(outcome, { successful_key_count: ODD_KEYS.length + 1, unsuccessful_keys: [] });
    for (const key of ODD_KEYS) assert.equal(await WRITES.get(key), `of ${key}`);
    assert.equal(await WRITES.get("same"), "2");
    const { values } = assertResult(await bulk({ keys: [...ODD_KEYS, "same", "same", "__proto__"] }, "bulk/get", "POST"));
    for (const key of ODD_KEYS) assert.equal(values[key], `of ${key}`);
    assertResult(await bulk([...ODD_KEYS, "same", "no such key"], "bulk/delete", "POST"));
    for (const key of ODD_KEYS) assert.equal(await WRITES.get(key), null);
  });

  test("a value with U+FFFD is text, and bytes that are no UTF-8 are not", async () => {
    await WRITES.put("replacement", "a\ufffdb");
    await WRITES.put("broken", Buffer.from([0x61, 0xff]));
    assert.deepEqual(assertResult(await bulk({ keys: ["replacement"] }, "bulk/get", "POST")), { values: { replacement: "a\ufffdb" } });
    assertFailure(await bulk({ keys: ["replacement", "broken"] }, "bulk/get", "POST"), 400, 10029);
  });
});

describe("lists and namespaces", () => {
  test("the pages of 2,300 keys have each key once, and the same cursor in `cursor` and `cursors.after`", async () => {
    const pairs = Array.from({ length: 2300 }, (_, number) => ({ key: `page/${String(number).padStart(4, "0")}`, value: "v" }));
    assertResult(await api("PUT", `${W}/bulk`, { body: json(pairs) }));
    const [names, counts] = [[], []];
    let cursor = "";
    do {
      const response = await api("GET", `${W}/keys?prefix=page%2F&cursor=${encodeURIComponent(cursor)}`);
      names.push(...assertResult(response).map(({ name }) => name));
      const { result_info } = response.json();
      counts.push(result_info.count);
      cursor = result_info.cursor;
      assert.deepEqual(result_info.cursors, { after: cursor });
    } while (cursor !== "");
    assert.deepEqual(counts, [1000, 1000, 300]);
    assert.deepEqual(
      names,
      pairs.map(({ key }) => key),
    );
  });

  test("a title is text of 1 to 512 bytes that no other namespace has, a binding included", async () => {
    for (const [body, code] of [
      ["", 10019],
      ["{}", 10019],
      ['{"title":""}', 10019],
      ['{"title":1}', 10019],
      [json({ title: "t".repeat(513) }), 10019],
      ['{"title":"WRITES"}', 10014],
    ])
      assertFailure(await api("POST", NAMESPACES, { body }), 400, code);
    assertFailure(await api("POST", NAMESPACES, { body: json({ title: assertResult(await api("GET", W)).id }) }), 400, 10014);
    assertFailure(await api("PUT", W, { body: '{"title":"other"}' }), 405, 10405);
  });

  test("created namespaces are isolated: no key of one is in another, and what a deleted one had is gone", async () => {
    const make = async (title) => assertResult(await api("POST", NAMESPACES, { body: json({ title }) })).id;
    const [one, other] = [await make(uniqueName("apart")), await make(uniqueName("apart"))];
    for (const key of ["k", `${other}`, "/", "../x", "..%2F", ":"]) {
      assertResult(await api("PUT", valuePath(one, key), { body: "of one" }));
      assertFailure(await api("GET", valuePath(other, key)), 404, 10009);
    }
    assert.deepEqual(assertResult(await api("GET", `${NAMESPACES}/${other}/keys`)), []);
    assert.equal(assertResult(await api("GET", `${NAMESPACES}/${one}/keys`)).length, 6);
    assertFailure(await api("PUT", valuePath(one, "k".repeat(512)), { body: "v" }), 400, 10030);
    assertResult(await api("DELETE", `${NAMESPACES}/${one}`));
    for (const path of [`${NAMESPACES}/${one}`, valuePath(one, "k"), `${NAMESPACES}/${one}/keys`]) assertFailure(await api("GET", path), 404, 10013);
    assertFailure(await api("PUT", valuePath(one, "k"), { body: "v" }), 404, 10013);
    assertFailure(await api("DELETE", `${NAMESPACES}/${one}`), 404, 10013);
    const again = await make("apart again");
    assert.notEqual(again, one);
    assert.deepEqual(assertResult(await api("GET", `${NAMESPACES}/${again}/keys`)), []);
  });

  test("a title that is used again names the new namespace at once, and never the one that had it", async () => {
    const title = uniqueName("again");
    const make = async () => assertResult(await api("POST", NAMESPACES, { body: json({ title }) })).id;
    const before = await make();
    assertResult(await api("PUT", valuePath(title, "k"), { body: "of the old one" }));
    assertResult(await api("PUT", `${NAMESPACES}/${before}`, { body: json({ title: `${title}-renamed` }) }));
    const after = await make();
    assertFailure(await api("GET", valuePath(title, "k")), 404, 10009);
    assertResult(await api("PUT", valuePath(title, "k"), { body: "of the new one" }));
    assert.equal((await api("GET", valuePath(after, "k"))).text, "of the new one");
    assert.equal((await api("GET", valuePath(before, "k"))).text, "of the old one");
  });

  test("the keys of a deleted namespace are removed from KV_NAMESPACES, page by page", async () => {
    const id = assertResult(await api("POST", NAMESPACES, { body: json({ title: uniqueName("removed") }) })).id;
    const pairs = Array.from({ length: 900 }, (_, number) => ({ key: `k${number}`, value: "v" }));
    assertResult(await api("PUT", `${NAMESPACES}/${id}/bulk`, { body: json(pairs) }));
    const home = worker.env.KV_NAMESPACES;
    assert.equal((await home.list({ prefix: `${id}:` })).keys.length, 900);
    assertResult(await api("DELETE", `${NAMESPACES}/${id}`));
    await eventually(async () => (await home.list({ prefix: `${id}:` })).keys.length === 0, "the keys to be removed");
  });

  test("a namespace cannot be in a jurisdiction, and a write cannot be conditional", async () => {
    assertFailure(await api("POST", NAMESPACES, { body: '{"title":"eu","jurisdiction":"eu"}' }), 400, 10029);
    for (const [method, path] of [
      ["PUT", valuePath("WRITES", "conditional")],
      ["DELETE", valuePath("WRITES", "conditional")],
      ["PUT", `${W}/bulk`],
    ])
      for (const name of ["If-Match", "If-None-Match"]) assertFailure(await api(method, path, { body: "[]", headers: { [name]: "*" } }), 400, 10029);
    assert.equal(await WRITES.get("conditional"), null);
  });

  test("a page of namespaces after the last one is empty, and says how many there are", async () => {
    const response = await api("GET", `${NAMESPACES}?page=1000000&per_page=5`);
    assert.deepEqual(assertResult(response), []);
    const { total_count, total_pages } = response.json().result_info;
    assert.equal(total_pages, Math.ceil(total_count / 5));
  });

  test("without KV_API_NAMESPACES no namespace can be created, and every binding is listed", async () => {
    await worker.setVars({ KV_API_NAMESPACES: "", KV_API_WRITABLE: "*" });
    const message = assertFailure(await api("POST", NAMESPACES, { body: '{"title":"t"}' }), 405, 10405);
    assert.match(message, /KV_API_NAMESPACES/);
    const titles = assertResult(await api("GET", `${NAMESPACES}?per_page=100&order=title`)).map(({ title }) => title);
    assert.deepEqual(titles, ["CACHE_KV", "KV_NAMESPACES", "ROUTING_CONFIG", "USERS_NOTIFICATION_CONFIG", "USER_CONFIGURATION", "WRITES", "assets"]);
    assertResult(await api("PUT", valuePath("assets", "k"), { body: "v" }));
    assert.equal(await worker.env.assets.get("k"), "v");
    await worker.setVars({});
  });

  // The local Analytics Engine drops the points, so that only a failure can be seen.
  test("no call fails to write its data point to Analytics Engine", () => {
    assert.deepEqual(
      worker.log().filter(({ code }) => code === "analytics_failed"),
      [],
    );
  });

  test("without API_TOKEN every call is refused", async () => {
    await worker.setVars({ API_TOKEN: undefined });
    assertFailure(await api("GET", NAMESPACES), 503, 10001);
    assertFailure(await api("PUT", valuePath("WRITES", "refused"), { body: "v" }), 503, 10001);
    await worker.setVars({});
  });
});

// Whose page `/config` shows: `USER_ID_FROM` says whether the user's id is in the query, in a
// header or in a cookie.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { assertPage, startConfig } from "./harness/config.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";

/** Checks that no cache may store the page, and that `Vary` names where the id comes from. */
function assertPrivate(response, vary) {
  assert.equal(response.headers.vary?.toLowerCase(), vary);
  assert.equal(response.headers["cache-control"], "private, no-store");
}

const json = { Accept: "application/json" };
const long = "a".repeat(513);

describe("USER_ID_FROM = query", async () => {
  const config = await startConfig({ vars: { USER_ID_FROM: "query" } });
  before(() => config.putRecord("alice", { preview_features_enabled: true }));

  test("reads the parameter userId", async () => {
    const response = await config.getPage("alice");
    assertPage(response, { preview: true });
    assert.equal(response.headers.vary, undefined);
  });

  test("ignores headers and cookies", async () => {
    const response = await config.request("GET", "/config", { headers: { userId: "alice", Cookie: "userId=alice" } });
    assertPlainError(response, 400, "Please provide a userId query parameter");
  });
});

describe("USER_ID_FROM = header:NAME", async () => {
  const config = await startConfig({ vars: { USER_ID_FROM: "header:X-User-Id" } });
  before(async () => {
    for (const id of ["alice", "a%20b", "été", "a b"]) await config.putRecord(id, { preview_features_enabled: true });
  });
  const missing = /^Please provide the user's id in the header X-User-Id$/i;
  const ask = (headers, query = "") => config.request("GET", `/config${query}`, { headers });

  const users = [
    ["the id", "alice", true],
    ["another user", "bob", false],
    ["a percent sign stands for itself", "a%20b", true],
    ["blanks around the id are ignored", "  alice ", true],
    ["a blank within", "a b", true],
    ["bytes of UTF-8", Buffer.from("été").toString("latin1"), true],
  ];
  for (const [what, value, preview] of users) {
    test(`${what}: ${JSON.stringify(value)}`, async () => {
      const response = await ask({ "X-User-Id": value });
      assertPage(response, { preview });
      assertPrivate(response, "x-user-id");
    });
  }

  test("the header's name is case-insensitive", async () => {
    assertPage(await ask({ "x-user-ID": "alice" }), { preview: true });
  });

  test("a query parameter does not count", async () => {
    assertPage(await ask({ "X-User-Id": "bob" }, "?userId=alice"), { preview: false });
    assertPlainError(await ask({}, "?userId=alice"), 400, missing);
  });

  test("an empty header is a missing one", async () => {
    assertPlainError(await ask({ "X-User-Id": "" }), 400, missing);
    assertProblem(await ask({ "X-User-Id": " ", ...json }), 400, "missing_user_id");
  });

  for (const id of [".", "..", long]) {
    test(`an id that cannot be a key gets 400: ${id.slice(0, 5)}`, async () => {
      assertProblem(await ask({ "X-User-Id": id, ...json }), 400, "invalid_key");
    });
  }
});

describe("USER_ID_FROM = cookie:NAME", async () => {
  const config = await startConfig({ vars: { USER_ID_FROM: "cookie:uid" } });
  before(async () => {
    for (const id of ["alice", "first"]) await config.putRecord(id, { preview_features_enabled: true });
  });
  const ask = (cookie, query = "") => config.request("GET", `/config${query}`, { headers: cookie === undefined ? {} : { Cookie: cookie } });

  for (const [cookie, preview] of [
    ["uid=alice", true],
    ["a=b; uid=alice; c=d", true],
    ["uid=bob", false],
    ["uid=first; uid=second", true],
    ["xuid=x; uid=alice", true],
  ]) {
    test(`${cookie} shows the ${preview ? "preview" : "regular page"}`, async () => {
      const response = await ask(cookie);
      assertPage(response, { preview });
      assertPrivate(response, "cookie");
    });
  }

  for (const cookie of [undefined, "", "uid=", "other=alice", "UID=alice", "xuid=alice", "uid"]) {
    test(`${cookie === undefined ? "no cookie" : JSON.stringify(cookie)} gets 400`, async () => {
      const response = await ask(cookie, "?userId=alice");
      assertPlainError(response, 400, "Please provide the user's id in the cookie uid");
    });
  }

  test("an id that cannot be a key gets 400", async () => {
    const response = await config.request("GET", "/config", { headers: { Cookie: `uid=${long}`, ...json } });
    assertProblem(response, 400, "invalid_key");
  });
});

describe("USER_ID_FROM", async () => {
  const config = await startConfig();

  for (const value of ["Query", "path", "header:", "header:a b", "cookie:", "cookie:a;b"]) {
    test(`= ${JSON.stringify(value)} gets 503, without a read`, async () => {
      await config.worker.setVars({ USER_ID_FROM: value });
      const headers = { ...json, "X-User-Id": "a", Cookie: "uid=a" };
      const { response, reads } = await config.recordReads(() => config.request("GET", "/config?userId=a", { headers }));
      assertProblem(response, 503, "not_configured");
      assert.deepEqual(reads, []);
    });
  }

  test("empty: the default, the query", async () => {
    await config.worker.setVars({ USER_ID_FROM: "" });
    await config.putRecord("alice", { preview_features_enabled: true });
    assertPage(await config.getPage("alice"), { preview: true });
  });
});

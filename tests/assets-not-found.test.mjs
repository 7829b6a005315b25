// Paths without a file in the release: the nearest 404.html, --not-found, single-page apps.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { EXAMPLE_FILES, startAssets, titledPage } from "./harness/assets.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";

const assets = await startAssets();

describe("a path without a file", () => {
  const nearest = [
    ["/none", "root 404"],
    ["/none/deep/er", "root 404"],
    ["/none.css", "root 404"],
    ["/folder/none", "folder 404"],
    ["/folder/deep/none", "folder 404"],
    ["/folder/none/", "folder 404"],
    ["/folders/none", "root 404"],
    // Paths that cannot be decoded, and those that no file can have.
    ["/50%", "root 404"],
    ["/caf%E9", "root 404"],
    ["/%00", "root 404"],
    ["/%5C", "root 404"],
    ["/folder/50%", "folder 404"],
    ["/folder/deep/%C0%AF", "folder 404"],
    [`/folder/${"a".repeat(600)}`, "folder 404"],
  ];
  describe("the nearest 404.html is served", () => {
    before(() => assets.push(EXAMPLE_FILES));
    for (const [path, name] of nearest) {
      test(`${path}: ${name}`, async () => {
        const response = await assets.get(path);
        assert.equal(response.status, 404);
        assert.equal(response.text, titledPage(name));
        assert.equal(response.headers["content-type"], "text/html; charset=utf-8");
        assert.equal(response.headers["cache-control"], "no-cache");
        assert.equal(response.headers.etag, undefined);
        const head = await assets.head(path);
        assert.deepEqual([head.status, head.text], [404, ""]);
      });
    }

    test("a client that accepts JSON gets problem details", async () => {
      assertProblem(await assets.get("/none", { Accept: "application/json" }), 404, "not_found");
    });

    test("conditions and Range do not change it", async () => {
      for (const headers of [{ "If-None-Match": "*" }, { "If-Modified-Since": new Date().toUTCString() }, { Range: "bytes=0-3" }]) {
        const response = await assets.get("/none", headers);
        assert.deepEqual([response.status, response.text], [404, titledPage("root 404")], JSON.stringify(headers));
      }
    });
  });

  test("--not-found none: a plain 404, though there is a 404.html", async () => {
    await assets.push(EXAMPLE_FILES, "--not-found", "none");
    assertPlainError(await assets.get("/none"), 404, "Not found");
  });

  test("without a 404.html in a folder above: a plain 404", async () => {
    await assets.push({ "index.html": titledPage("index"), "folder/404.html": titledPage("folder 404") });
    assertPlainError(await assets.get("/none"), 404, "Not found");
    assert.equal((await assets.get("/folder/none")).text, titledPage("folder 404"));
  });

  describe("--not-found single-page-application", () => {
    const navigation = { "Sec-Fetch-Mode": "navigate", Accept: "text/html,application/xhtml+xml,*/*;q=0.8" };
    before(() => assets.push({ "index.html": titledPage("app"), "style.css": "body {}" }, "--not-found", "single-page-application"));

    for (const path of ["/some/route", "/user/7", "/none.css", "/a.b", "/search/50%", "/caf%E9", "/%zz"]) {
      test(`a navigation to ${path} gets index.html with 200`, async () => {
        const response = await assets.get(path, navigation);
        assert.deepEqual([response.status, response.text], [200, titledPage("app")]);
        assert.equal(response.headers["content-type"], "text/html; charset=utf-8");
        assert.equal(response.headers["cache-control"], "no-cache");
        assert.equal((await assets.head(path, navigation)).status, 200);
      });
    }

    for (const [what, headers] of [
      ["a request for a script", { "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script", Accept: "*/*" }],
      ["a fetch", { "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", Accept: "*/*" }],
      ["a fetch of JSON", { "Sec-Fetch-Mode": "cors", Accept: "application/json" }],
      ["a request for an image", { "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image", Accept: "image/*" }],
      ["a request from curl", { Accept: "*/*" }],
    ]) {
      test(`${what} of a path without a file gets 404`, async () => {
        assert.equal((await assets.get("/none.js", headers)).status, 404);
        assert.equal((await assets.get("/some/route", headers)).status, 404);
      });
    }
  });
});

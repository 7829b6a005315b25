// Which file a path serves: html_handling of Workers static assets, strict decoding, names in
// Unicode, and unversioned keys beside a release.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { EXAMPLE_FILES, startAssets, titledPage } from "./harness/assets.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";

const assets = await startAssets();

/** A path, and the file that is served there, the path it is redirected to, or nothing. */
const handling = {
  "auto-trailing-slash": [
    ["/", "index.html"],
    ["/index", "→ /"],
    ["/index.html", "→ /"],
    ["/file", "file.html"],
    ["/file.html", "→ /file"],
    ["/file/", "→ /file"],
    ["/file/index", "→ /file"],
    ["/file/index.html", "→ /file"],
    ["/folder", "→ /folder/"],
    ["/folder.html", "→ /folder/"],
    ["/folder/", "folder/index.html"],
    ["/folder/index", "→ /folder/"],
    ["/folder/index.html", "→ /folder/"],
    ["/folder/deep/page", "folder/deep/page.html"],
    // Both exist, and each has its own path.
    ["/both", "both.html"],
    ["/both/", "both/index.html"],
    ["/both.html", "→ /both"],
    ["/both/index.html", "→ /both/"],
    // Other files than HTML have one path.
    ["/style.css", "style.css"],
    ["/style.css/", undefined],
    ["/style", undefined],
    ["/no-extension", "no-extension"],
    ["/no-extension.html", undefined],
    ["/folder/data.json", "folder/data.json"],
    // Case counts.
    ["/File", undefined],
    ["/FILE.HTML", undefined],
    // A location is encoded.
    ["/a%20b", "a b.html"],
    ["/a%20b.html", "→ /a%20b"],
    ["/%C3%BCber/%C3%9F", "über/ß.html"],
    ["/%C3%BCber/%C3%9F.html", "→ /%C3%BCber/%C3%9F"],
    ["/%66ile", "file.html"],
  ],
  "force-trailing-slash": [
    ["/", "index.html"],
    ["/index.html", "→ /"],
    ["/file", "→ /file/"],
    ["/file.html", "→ /file/"],
    ["/file/", "file.html"],
    ["/file/index", "→ /file/"],
    ["/file/index.html", "→ /file/"],
    ["/folder", "→ /folder/"],
    ["/folder.html", "→ /folder/"],
    ["/folder/", "folder/index.html"],
    ["/folder/index", "→ /folder/"],
    ["/folder/index.html", "→ /folder/"],
    ["/style.css", "style.css"],
    ["/no-extension", "no-extension"],
  ],
  "drop-trailing-slash": [
    ["/", "index.html"],
    ["/index.html", "→ /"],
    ["/file", "file.html"],
    ["/file.html", "→ /file"],
    ["/file/", "→ /file"],
    ["/file/index", "→ /file"],
    ["/file/index.html", "→ /file"],
    ["/folder", "folder/index.html"],
    ["/folder.html", "→ /folder"],
    ["/folder/", "→ /folder"],
    ["/folder/index", "→ /folder"],
    ["/folder/index.html", "→ /folder"],
    ["/style.css", "style.css"],
  ],
  none: [
    ["/index.html", "index.html"],
    ["/file", undefined],
    ["/file.html", "file.html"],
    ["/file/", undefined],
    ["/file/index", undefined],
    ["/file/index.html", undefined],
    ["/folder", undefined],
    ["/folder.html", undefined],
    ["/folder/", undefined],
    ["/folder/index", undefined],
    ["/folder/index.html", "folder/index.html"],
    ["/style.css", "style.css"],
  ],
};

for (const [mode, paths] of Object.entries(handling)) {
  describe(`html_handling ${mode}`, () => {
    before(() => assets.push(EXAMPLE_FILES, "--html-handling", mode));

    for (const [path, expected] of paths) {
      test(`${path} is ${expected ?? "nothing"}`, async () => {
        for (const method of ["GET", "HEAD"]) {
          const response = await assets.request(method, path);
          if (expected === undefined) {
            assert.equal(response.status, 404, path);
          } else if (expected.startsWith("→ ")) {
            assert.equal(response.status, 307, response.text);
            assert.equal(response.headers.location, expected.slice(2));
          } else {
            assert.equal(response.status, 200, response.headers.location ?? response.text);
            assert.equal(response.text, method === "HEAD" ? "" : EXAMPLE_FILES[expected]);
          }
        }
      });
    }
  });
}

describe("a redirect to the canonical path", () => {
  before(() => assets.push(EXAMPLE_FILES));

  for (const [query, kept] of [
    ["?a=1&b=%20x", "?a=1&b=%20x"],
    ["?", /^\/file\??$/],
    ["?next=//evil.example/", "?next=//evil.example/"],
  ]) {
    test(`keeps the query ${query}`, async () => {
      const { status, headers } = await assets.get(`/file.html${query}`);
      assert.equal(status, 307);
      if (typeof kept === "string") assert.equal(headers.location, `/file${kept}`);
      else assert.match(headers.location, kept);
    });
  }

  for (const path of [
    "//file.html",
    "///folder",
    "//evil.example/..",
    "//folder/index.html",
    "/%2Ffile.html",
    "/%5Cfile.html",
    "/\\file.html",
    "//%5cevil.example/file.html",
  ]) {
    test(`never leaves the host: ${path}`, async () => {
      const { status, headers } = await assets.get(path);
      assert.ok([200, 307, 404].includes(status), `${status}`);
      if (headers.location !== undefined) assert.match(headers.location, /^\/([^/\\]|$)/);
    });
  }

  test("following it leads to the file in one step", async () => {
    for (const path of ["/index", "/file/", "/folder", "/folder.html", "/both/index.html", "/a%20b.html", "/%C3%BCber/%C3%9F.html"]) {
      const { headers } = await assets.get(path);
      assert.equal((await assets.get(headers.location)).status, 200, `${path} → ${headers.location}`);
    }
  });
});

/** Invalid and ambiguous paths (RFC 3629, RFC 3986): no key is read for them. */
const strict = [
  ..."/% /a% /a%2 /%zz /%g0x /ok/%".split(" "),
  ..."/%ff /%C3%28 /%ED%A0%80 /%C0%AF /%F4%90%80%80 /caf%C3".split(" "),
  ..."/%00 /file.html%00 /a%00b.css".split(" "),
  // Dots beside an encoded slash, and backslashes, which Windows takes for slashes.
  ..."/folder%2f..%2ffile /..%2ffile /%2e%2e%2ffile /folder/..%2fdata.json /folder%2f. /%2f.. /%2f%2E%2e".split(" "),
  ..."/folder%5cdata.json /..%5cfile /folder/..%5c..%5cfile".split(" "),
];

describe("decoding once and strictly", () => {
  before(() => assets.push(EXAMPLE_FILES, "--not-found", "none"));

  for (const path of strict) {
    test(`${path} gets 404, without a read of KV for it`, async () => {
      const { response, reads } = await assets.recordReads(() => assets.get(path));
      assertPlainError(response, 404, "Not found");
      // The release decides what a missing path serves.
      assert.deepEqual(
        reads.filter((key) => !/^kv-edge:(current$|release:)/.test(key)),
        [],
      );
      assertProblem(await assets.get(path, { Accept: "application/json" }), 404, "not_found");
    });
  }

  for (const [path, expected] of [
    ["/folder/../file", "file.html"],
    ["/%2e%2e/file", "file.html"],
    ["/folder/%2E./.%2e/file", "file.html"],
    ["/./folder/%2e/data.json", "folder/data.json"],
    ["/..", "index.html"],
    ["/folder\\data.json", "folder/data.json"],
  ]) {
    test(`${path} is resolved as the URL Standard does: ${expected}`, async () => {
      const { status, text } = await assets.get(path);
      assert.deepEqual([status, text], [200, EXAMPLE_FILES[expected]]);
    });
  }

  test("a path is decoded once", async () => {
    await assets.push({ "100%25.txt": "escaped", "100%.txt": "percent", "x%2e%2e": "dots" }, "--not-found", "none");
    assert.equal((await assets.get("/100%2525.txt")).text, "escaped");
    assert.equal((await assets.get("/100%25.txt")).text, "percent");
    assert.equal((await assets.get("/x%252e%252e")).text, "dots");
  });
});

describe("names in Unicode", () => {
  const [composed, decomposed] = ["\u00fcber/k\u00e4se", "u\u0308ber/ka\u0308se"];
  const files = {
    "404.html": titledPage("root 404"),
    [`${decomposed}.html`]: titledPage("cheese"),
    [`${decomposed}.txt`]: "text",
    "\u00fcber/404.html": titledPage("über 404"),
  };
  before(() => assets.push({ ...files, _headers: "/\u00fcber/*\n  X-A: 1\n" }));

  for (const [form, path] of Object.entries({ NFC: encodeURI(`/${composed}`), NFD: encodeURI(`/${decomposed}`) })) {
    test(`a file whose name is in NFD on the disk is found in ${form}`, async () => {
      for (const [ending, text] of [
        ["", titledPage("cheese")],
        [".txt", "text"],
      ]) {
        const response = await assets.get(path + ending);
        assert.deepEqual([response.status, response.text, response.headers["x-a"]], [200, text, "1"]);
      }
      assert.equal((await assets.get(`${path}.html`)).headers.location, encodeURI(`/${composed}`));
      const none = await assets.get(`${path}-none`);
      assert.deepEqual([none.status, none.text], [404, titledPage("über 404")]);
    });
  }

  test("unversioned keys are found as they are spelled", async () => {
    await assets.kv.put("key-a\u0308.txt", "in NFD");
    assert.equal((await assets.get("/key-a%CC%88.txt")).text, "in NFD");
    assert.equal((await assets.get("/key-%C3%A4.txt")).status, 404);
  });
});

describe("unversioned keys", () => {
  before(async () => {
    await assets.kv.put("plain.txt", "plain");
    await assets.kv.put("plain.html", "plain page");
    await assets.kv.put("style.css", "plain style");
    await assets.kv.put("index.html", "plain index");
    await assets.push(EXAMPLE_FILES);
  });

  test("are served beside a release, at exactly their key", async () => {
    assert.equal((await assets.get("/plain.txt")).text, "plain");
    assert.equal((await assets.get("/plain.html")).text, "plain page");
    assert.equal((await assets.get("/plain")).status, 404);
  });

  test("yield to a file of the release", async () => {
    assert.equal((await assets.get("/style.css")).text, "body {}");
    assert.equal((await assets.get("/")).text, EXAMPLE_FILES["index.html"]);
  });

  test("serve / with index.html if the release has no index", async () => {
    await assets.push({ "style.css": "body {}" });
    assert.equal((await assets.get("/")).text, "plain index");
  });

  test("are neither served nor read with --no-plain-keys", async () => {
    await assets.push(EXAMPLE_FILES, "--no-plain-keys");
    const { response, reads } = await assets.recordReads(() => assets.get("/plain.txt"));
    assert.equal(response.status, 404);
    assert.ok(!reads.includes("plain.txt"), `${reads}`);
  });
});

test("keys that begin with kv-edge: are not served, however the path is spelled", async () => {
  await assets.push(EXAMPLE_FILES, "--not-found", "none");
  const { current } = await assets.pointer();
  const {
    keys: [blob],
  } = await assets.file("/style.css");
  await assets.kv.put("kv-edge:own", "a key that was written by hand");
  for (const key of ["current", "own", `release:${current}`, blob.slice("kv-edge:".length), "", "push:"]) {
    for (const prefix of [
      "/kv-edge:",
      "//kv-edge:",
      "/%6bv-edge:",
      "/kv%2Dedge:",
      "/kv-edge%3a",
      "/%2fkv-edge:",
      "/x/../kv-edge:",
      "/./kv-edge:",
      "/\\kv-edge:",
    ]) {
      const response = await assets.get(prefix + key);
      assert.equal(response.status, 404, `${prefix}${key}: ${response.text.slice(0, 80)}`);
    }
  }
});

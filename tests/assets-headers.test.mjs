// Header fields of files, and the rules of `_headers` and `_redirects` in the syntax of Workers
// static assets.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { startAssets } from "./harness/assets.mjs";
import { assertProblem } from "./harness/problem.mjs";

const assets = await startAssets();

const IMMUTABLE = "public, max-age=31536000, immutable";
const REVALIDATED = "public, max-age=0, must-revalidate";
const page = (name) => `<!doctype html><title>${name}</title>`;
const files = {
  "index.html": page("start"),
  "file.html": page("file"),
  "app.html": page("app"),
  "style.css": "body {}",
  "plain.css": "a {}",
  "removed.txt": "removed",
  "404.html": page("none"),
  "app.3f2a1b9c.js": "hashed 1",
  "index-BXf3k2aQ.js": "hashed 2",
  "photo-20261121.jpg": "a date",
  "lib.min.js": "no hash",
  "users/anna/posts/1.txt": "a post",
  "news/2026/first.txt": "news",
  "long.txt": "worth an encoding ".repeat(100),
};

describe("by default", () => {
  before(() => assets.push(files));

  for (const [path, cacheControl] of [
    ["/app.3f2a1b9c.js", IMMUTABLE],
    ["/index-BXf3k2aQ.js", IMMUTABLE],
    ["/", "no-cache"],
    ["/file", "no-cache"],
    ["/style.css", REVALIDATED],
    ["/lib.min.js", REVALIDATED],
    ["/photo-20261121.jpg", REVALIDATED],
  ]) {
    test(`${path} has Cache-Control: ${cacheControl}, also in a 304`, async () => {
      const { headers } = await assets.get(path);
      assert.equal(headers["cache-control"], cacheControl);
      const notModified = await assets.get(path, { "If-None-Match": headers.etag });
      assert.deepEqual([notModified.status, notModified.headers["cache-control"]], [304, cacheControl]);
    });
  }

  test("--immutable names further files that never change, and so are immutable", async () => {
    await assets.push(files, "--immutable", "photo-*.jpg");
    assert.equal((await assets.get("/photo-20261121.jpg")).headers["cache-control"], IMMUTABLE);
    assert.equal((await assets.get("/style.css")).headers["cache-control"], REVALIDATED);
    await assets.push(files);
  });

  test("nosniff is sent with every file and every 404, Accept-Ranges with every file", async () => {
    for (const path of ["/", "/style.css", "/app.3f2a1b9c.js", "/none"]) {
      const { headers } = await assets.get(path);
      assert.equal(headers["x-content-type-options"], "nosniff", path);
      if (path !== "/none") assert.equal(headers["accept-ranges"], "bytes");
    }
  });

  test("HTML has a Content-Security-Policy and a Referrer-Policy, a stylesheet has neither", async () => {
    for (const path of ["/", "/file"]) {
      const { headers } = await assets.get(path);
      assert.match(
        headers["content-security-policy"],
        /^default-src 'self';.*\bobject-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'$/,
      );
      assert.equal(headers["referrer-policy"], "strict-origin-when-cross-origin");
    }
    const { headers } = await assets.get("/style.css");
    assert.deepEqual([headers["content-security-policy"], headers["referrer-policy"]], [undefined, undefined]);
  });
});

describe("_headers", () => {
  const rules = `# a comment
/*
  X-All: yes
  X-Joined: one
  Cache-Control: ${IMMUTABLE}
  Referrer-Policy: no-referrer

/plain.css
  ! Cache-Control
  ! X-All
/style.css
  X-Joined: two
  # a comment among them
  X-Colon: a: b: c
/style*
  X-Joined: three
/file
  ! Content-Security-Policy
/removed.txt
  ! Cache-Control
/users/:name/*
  X-User: <:name>
  X-Rest: [:splat]
https://only.example/*
  X-Host: only
https://:sub.many.example/*
  X-Sub: :sub
`;
  before(() => assets.push({ ...files, _headers: rules, _redirects: "/moved /file\n" }));

  test("is not served as a file, and neither is _redirects", async () => {
    assert.equal((await assets.get("/_headers")).status, 404);
    assert.equal((await assets.get("/_redirects")).status, 404);
  });

  test("sets fields, and replaces defaults", async () => {
    const { headers } = await assets.get("/lib.min.js");
    assert.equal(headers["x-all"], "yes");
    assert.equal(headers["cache-control"], IMMUTABLE);
    assert.equal((await assets.get("/")).headers["referrer-policy"], "no-referrer");
  });

  test("joins the values that several rules set, in their order", async () => {
    const { headers } = await assets.get("/style.css");
    assert.equal(headers["x-joined"], "one, two, three");
    assert.equal(headers["x-colon"], "a: b: c");
    assert.equal((await assets.get("/lib.min.js")).headers["x-joined"], "one");
  });

  test("removes fields", async () => {
    const plain = (await assets.get("/plain.css")).headers;
    assert.equal(plain["x-all"], undefined);
    assert.notEqual(plain["cache-control"], IMMUTABLE);
    const { headers } = await assets.get("/file");
    assert.equal(headers["content-security-policy"], undefined);
    assert.notEqual((await assets.get("/")).headers["content-security-policy"], undefined);
    const removed = (await assets.get("/removed.txt")).headers;
    assert.deepEqual([removed["cache-control"], removed["x-content-type-options"]], ["no-cache", "nosniff"]);
  });

  test("inserts what placeholders and splats match", async () => {
    const { headers } = await assets.get("/users/anna/posts/1.txt");
    assert.deepEqual([headers["x-user"], headers["x-rest"]], ["<anna>", "[posts/1.txt]"]);
  });

  test("with rules for a host keeps files out of Workers Cache, whose key ignores the host", async () => {
    const { headers } = await assets.get("/style.css", { Host: "other.example" });
    assert.equal(headers["cloudflare-cdn-cache-control"], "no-store");
  });

  test("applies rules that name a host to that host only", async () => {
    for (const [host, ofHost, sub] of [
      ["only.example", "only", undefined],
      ["a.many.example", undefined, "a"],
      ["other.example", undefined, undefined],
    ]) {
      const { headers } = await assets.get("/style.css", { Host: host });
      assert.deepEqual([headers["x-host"], headers["x-sub"]], [ofHost, sub], host);
    }
  });

  test("applies to 206 and 304", async () => {
    const part = await assets.get("/style.css", { Range: "bytes=0-1" });
    assert.deepEqual([part.status, part.headers["x-all"]], [206, "yes"]);
    const none = await assets.get("/style.css", { "If-None-Match": part.headers.etag });
    assert.deepEqual([none.status, none.headers["cache-control"]], [304, IMMUTABLE]);
  });

  test("applies to redirects and errors, as on Workers static assets", async () => {
    for (const [path, headers, status] of [
      ["/moved", {}, 302],
      ["/file.html", {}, 307],
      ["/none", {}, 404],
      ["/none.js", { Accept: "application/json" }, 404],
      ["/50%", { Accept: "application/json" }, 404],
      ["/style.css", { Range: "bytes=999-" }, 416],
      ["/style.css", { "If-Match": '"x"' }, 412],
    ]) {
      const response = await assets.get(path, headers);
      assert.deepEqual([response.status, response.headers["x-all"], response.headers["referrer-policy"]], [status, "yes", "no-referrer"], path);
      if (status === 404 && headers.Accept) assertProblem(response, 404, "not_found");
    }
    // The site's own redirect is cached as long as its rules say; a redirect to a canonical path
    // is not.
    assert.equal((await assets.get("/moved")).headers["cache-control"], IMMUTABLE);
    assert.equal((await assets.get("/file.html")).headers["cache-control"], REVALIDATED);
  });

  test("applies to a 404 without a page", async () => {
    await assets.push({ "a.txt": "a", _headers: "/*\n  X-Frame-Options: DENY\n  Content-Type: application/pdf\n" });
    const bare = await assets.get("/none");
    assert.deepEqual([bare.status, bare.headers["x-frame-options"], bare.text.trim()], [404, "DENY", "Not found"]);
    assert.match(bare.headers["content-type"], /^text\/plain/);
    assert.equal(bare.headers["cache-control"], "no-store");
    await assets.push({ ...files, _headers: rules, _redirects: "/moved /file\n" });
  });

  test("never lets an error be used from a cache without validation", async () => {
    for (const [path, headers, status] of [
      ["/none", {}, 404],
      ["/none.js", { Accept: "application/json" }, 404],
      ["/%zz", {}, 404],
      ["/style.css", { Range: "bytes=999-" }, 416],
      ["/style.css", { "If-Match": '"x"' }, 412],
      ["/long.txt", { "Accept-Encoding": "identity;q=0" }, 406],
    ]) {
      for (const method of ["GET", "HEAD"]) {
        const response = await assets.request(method, path, { headers });
        if (method === "GET") assert.equal(response.status, status, path);
        if (response.status < 400) continue;
        assert.match(String(response.headers["cache-control"]), /^no-(cache|store)/, `${method} ${path}: ${status}`);
      }
    }
    assert.equal((await assets.get("/none")).headers["cache-control"], "no-cache");
  });
});

describe("_redirects", () => {
  const rules = `# comments, and empty lines

/old /file
/moved https://other.example/x?a=1#f 301
/see /file 303
/temp /file 307
/perm /file 308
/blog/* /news/:splat
/movies/:title/:year /media/:year/:title?from=:title 301
/app/* /app 200
/rewritten /style.css 200
/nowhere /not-there 200
/with-query /file?kept=1
/style.css /file 302
/open/* /:splat
/pair/:a/:b /:a/:b
/away/* https://other.example/:splat
/first /file?1
/fir* /file?2
`;
  before(async () => {
    await assets.push({ ...files, _redirects: rules });
    await assets.get("/");
  });

  for (const [path, status, location] of [
    ["/old", 302, "/file"],
    ["/old?a=1&b=%20", 302, "/file?a=1&b=%20"],
    ["/moved", 301, "https://other.example/x?a=1#f"],
    ["/see", 303, "/file"],
    ["/temp", 307, "/file"],
    ["/perm", 308, "/file"],
    ["/blog/2026/a%20b?x=1", 302, "/news/2026/a%20b?x=1"],
    ["/blog/", 302, "/news/"],
    ["/movies/alien/1979", 301, "/media/1979/alien?from=alien"],
    ["/with-query?other=2", 302, "/file?kept=1"],
    ["/away/a/b", 302, "https://other.example/a/b"],
    // A rule takes precedence over a file.
    ["/style.css", 302, "/file"],
    // The first matching rule applies.
    ["/first", 302, "/file?1"],
    ["/firth", 302, "/file?2"],
  ]) {
    test(`${path}: ${status} ${location}, without reading a file`, async () => {
      for (const method of ["GET", "HEAD"]) {
        const { response, reads } = await assets.recordReads(() => assets.request(method, path));
        assert.deepEqual([response.status, response.headers.location], [status, location]);
        assert.deepEqual(reads, ["kv-edge:current"]);
      }
    });
  }

  test("200 serves the file of the target at the requested path, or a 404 if there is none", async () => {
    for (const [path, file, type] of [
      ["/app/some/route?x=1", "app.html", "text/html; charset=utf-8"],
      ["/app/", "app.html", "text/html; charset=utf-8"],
      ["/rewritten", "style.css", "text/css; charset=utf-8"],
    ]) {
      const response = await assets.get(path);
      assert.deepEqual([response.status, response.text, response.headers["content-type"]], [200, files[file], type]);
      assert.equal((await assets.get(path, { "If-None-Match": response.headers.etag })).status, 304);
      assert.equal((await assets.head(path)).headers["content-length"], String(files[file].length));
    }
    assert.equal((await assets.get("/nowhere")).status, 404);
  });

  for (const target of [
    "/evil.example",
    "//evil.example",
    "%2Fevil.example",
    "%2F%2Fevil.example",
    "%5Cevil.example",
    "\\evil.example",
    "/%5Cevil.example",
    "%09/evil.example",
    "https://evil.example",
    "https:evil.example",
    "%0d%0aSet-Cookie:%20a=b",
    "..//evil.example",
    "javascript:alert(1)",
    "@evil.example",
    ".evil.example",
  ]) {
    test(`redirects only to its own host or one that a rule names: ${target}`, async () => {
      for (const [path, host] of [
        [`/open/${target}`, "site.example"],
        [`/pair/${target}`, "site.example"],
        [`/pair/a/${target}`, "site.example"],
        [`/away/${target}`, "other.example"],
        [`/${target}`, "site.example"],
      ]) {
        const { status, headers } = await assets.get(path, { Host: "site.example" });
        assert.ok(status < 500, `${status}`);
        assert.equal(headers["set-cookie"], undefined);
        if (headers.location === undefined) continue;
        const { protocol, host: found } = new URL(headers.location, "http://site.example/open/x");
        assert.equal(found, host, `${path} → ${headers.location}`);
        assert.match(protocol, /^https?:$/);
      }
    });
  }

  test("methods other than GET and HEAD get 405, whatever a rule says", async () => {
    for (const path of ["/old", "/app/x", "/file", "/none"]) {
      for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
        const response = await assets.request(method, path, { headers: { Accept: "application/json" }, body: "x" });
        assertProblem(response, 405, "method_not_allowed");
        assert.equal(response.headers.allow, "GET, HEAD");
      }
    }
  });
});

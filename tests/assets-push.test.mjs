// `kv-edge assets push`: what it writes. If it is killed, visitors see the old or the new release.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { beforeEach, describe, test } from "node:test";
import { filesOfRelease, startNumberedReleases, writingCalls } from "./harness/numbered-releases.mjs";
import { makeFolder } from "./harness/tool.mjs";

const { assets, api, pushRelease, recordCalls, assertServes } = await startNumberedReleases();

beforeEach(async () => {
  api.intercept = undefined;
  await assets.delete();
});

test("a push whose output is no longer read, as in `kv-edge assets push … 2>&1 | head -1`, completes and exits with 141", async () => {
  await assets.push(filesOfRelease(1));
  const closed = ({ stdout, stderr }) => {
    stdout.destroy();
    stderr.destroy();
  };
  const { code, signal } = await pushRelease(2, { running: closed });
  assert.deepEqual([code, signal], [141, null]);
  await assertServes(2);
});

describe("a push that is killed", () => {
  test("at each of its REST calls, before it is made or when its response is due: visitors see the old or the new release; the next push completes", async () => {
    await assets.push(filesOfRelease(1));
    const { code, calls } = await recordCalls(() => pushRelease(2));
    assert.equal(code, 0);
    assert.ok(calls.length >= 4 && calls.length <= 20, `${calls.length} calls`);
    let old = 2;
    const switched = [];
    for (let at = 1; at <= calls.length; at += 1) {
      for (const when of ["before", "after"]) {
        const next = old + 1;
        let child;
        let number = 0;
        api.intercept = async (_call, pass) => {
          number += 1;
          if (number < at) return pass();
          if (when === "after" && number === at) await pass();
          child.kill("SIGKILL");
          return undefined;
        };
        const { signal } = await pushRelease(next, { running: (started) => (child = started) });
        api.intercept = undefined;
        assert.equal(signal, "SIGKILL", `${when} call ${at}`);
        const now = await assertServes(old, next);
        switched.push(now === next);
        const again = await pushRelease(next);
        assert.equal(again.code, 0, again.stderr);
        await assertServes(next);
        old = next;
      }
    }
    // The switch is atomic: the old release at every step before it, the new one at every step
    // after it.
    assert.deepEqual(switched, switched.toSorted());
    assert.ok(switched.includes(false), "no kill came before the switch");
  });

  test("the very first push, killed at each step: visitors get nothing of the release or all of it", async () => {
    const { calls } = await recordCalls(() => pushRelease(1));
    for (let at = 1; at <= calls.length; at += 1) {
      await assets.delete();
      let child;
      let number = 0;
      api.intercept = async (_call, pass) => {
        number += 1;
        const response = await pass();
        if (number === at) child.kill("SIGKILL");
        return response;
      };
      await pushRelease(1, { running: (started) => (child = started) });
      api.intercept = undefined;
      await assertServes(1, 404);
      assert.equal((await pushRelease(1)).code, 0);
      await assertServes(1);
    }
  });
});

describe("what is written", () => {
  test("--dry-run writes nothing", async () => {
    const { code, calls, stdout } = await recordCalls(() => assets.run("push", [makeFolder(filesOfRelease(1)), "--dry-run"]));
    assert.equal(code, 0);
    assert.deepEqual(writingCalls(calls), []);
    assert.deepEqual(await assets.keys(), []);
    assert.notEqual(stdout.trim(), "");
  });

  test("a second push of the same files writes nothing", async () => {
    const folder = makeFolder(filesOfRelease(1));
    await assets.push(folder);
    const { calls } = await recordCalls(() => assets.push(folder));
    assert.deepEqual(writingCalls(calls), []);
  });

  test("only what KV lacks is uploaded", async () => {
    const files = { ...filesOfRelease(1), "large.bin": randomBytes(3_000_000) };
    await assets.push(files);
    const {
      keys: [large],
    } = await assets.file("/large.bin");
    const { calls } = await recordCalls(() => assets.push({ ...files, "new.txt": "new" }));
    const bytes = writingCalls(calls).reduce((sum, { body }) => sum + body.length, 0);
    assert.ok(bytes < 100_000, `${bytes} bytes were sent`);
    const uploads = writingCalls(calls).filter(({ path, body }) => path.includes(large) || body.includes(large));
    assert.deepEqual(
      uploads.map(({ path }) => path),
      [],
      "only the manifest names large.bin",
    );
  });

  test("the files come first, then the manifest, then the pointer, which is written once", async () => {
    const { calls } = await recordCalls(() => assets.push(filesOfRelease(1)));
    const order = writingCalls(calls).flatMap(({ method, path, body }) =>
      /\/bulk$/.test(path) ? JSON.parse(body).map(({ key }) => `${method} ${key}`) : [`${method} ${path.split("/values/")[1] ?? path}`],
    );
    const at = (part) => order.findIndex((line) => line.includes(part));
    const last = (part) => order.findLastIndex((line) => line.startsWith("PUT") && line.includes(part));
    assert.ok(last("kv-edge:blob:") < at("kv-edge:release:"), order.join("\n"));
    assert.ok(last("kv-edge:release:") < at("kv-edge:current"), order.join("\n"));
    assert.equal(order.filter((line) => line.includes("kv-edge:current")).length, 1);
  });

  test("a thousand files are a few calls, --json is one line of JSON", async () => {
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, number) => [`${number % 10}/${number}.txt`, `file ${number}`]));
    const { calls, stdout } = await recordCalls(() => assets.push(many, "--json"));
    assert.ok(calls.length <= 20, `${calls.length} calls`);
    assert.equal(typeof JSON.parse(stdout), "object");
    for (const number of [0, 123, 999]) assert.equal((await assets.get(`/${number % 10}/${number}.txt`)).text, `file ${number}`);
  });

  for (const [file, content, line] of [
    ["_headers", "/*\n  X-Good: yes\n  no colon\n", 3],
    ["_headers", "X-Before: any rule\n", 1],
    ["_headers", "/a\n  Content-Length: 5\n", 2],
    ["_redirects", "# comment\n/only-one-word\n", 2],
    ["_redirects", "/a /b 999\n", 1],
    ["_redirects", "/a /b\n\n/c/* /d/:nobody\n", 3],
    ["_redirects", "/a/* /b\n/loop* /loops\n", 2],
    ["_redirects", "/a/* /b\n/a/x /c\n", 2],
  ]) {
    test(`an error in ${file} names its line, exits with 1 and writes nothing: ${JSON.stringify(content)}`, async () => {
      const { code, stderr, calls } = await recordCalls(() => assets.run("push", [makeFolder({ ...filesOfRelease(1), [file]: content })]));
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`${file}.*line ${line}\\b|${file}:${line}\\b`, "s"));
      assert.deepEqual(writingCalls(calls), []);
    });
  }

  test("a folder that is not there, and a file in its place: exit code 2 and its name", async () => {
    for (const path of ["/no/such/folder", `${makeFolder({ "file.txt": "x" })}/file.txt`]) {
      const { code, stderr } = await assets.run("push", [path]);
      assert.equal(code, 2);
      assert.ok(stderr.includes(path), stderr);
    }
  });

  test(".assetsignore, _headers, _redirects and ignored files are not uploaded", async () => {
    await assets.push({
      ".assetsignore": "*.map\n/drafts/\n!keep.map\n",
      _headers: "/*\n  X-A: b\n",
      _redirects: "/b.js /a.js\n",
      "a.js": "a",
      "a.js.map": "{}",
      "keep.map": "{}",
      "drafts/x.html": "x",
      "sub/drafts/y.html": "y",
      ".well-known/security.txt": "hidden, and a file",
    });
    assert.deepEqual(
      (await assets.files()).map(({ path }) => path),
      ["/.well-known/security.txt", "/a.js", "/keep.map", "/sub/drafts/y.html"],
    );
  });
});

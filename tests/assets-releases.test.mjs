// Releases: the switch to the next one, files of previous ones, rollback, list, and gc.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startAssets } from "./harness/assets.mjs";
import { apiError } from "./harness/rest-api.mjs";
import { makeFolder } from "./harness/tool.mjs";

const assets = await startAssets();

/** Returns the files of release `n` of a site, whose page names its hashed script. */
const release = (n) => {
  const script = `/app.${n}f2a1b9c.js`;
  return {
    script,
    page: `<!doctype html><title>${n}</title><script src="${script}"></script>`,
    get files() {
      return { "index.html": this.page, [script.slice(1)]: `release ${n}`, [`only-${n}.html`]: `<p>${n}`, "same.css": "body {}" };
    },
  };
};

/** Pushes releases 1 to n and returns their ids. */
async function pushReleases(n, ...args) {
  const ids = [];
  for (let number = 1; number <= n; number += 1) {
    await assets.push(release(number).files, ...args);
    ids.push((await assets.pointer()).current);
  }
  return ids;
}

/** Returns the number of the release that is served. */
async function servedNumber() {
  const { text } = await assets.get("/");
  return Number(/<title>(\d+)/.exec(text)?.[1]);
}

beforeEach(() => {
  assets.api.intercept = undefined;
  return assets.delete();
});

test("a release has an id in the order of time and a manifest; equal bytes of two releases are stored once, under their hash", async () => {
  const [first, second] = await pushReleases(2);
  assert.match(first, /^\d{8}T\d{6}Z-[0-9a-f]{8}$/);
  assert.ok(first.slice(0, 16) <= second.slice(0, 16));
  assert.deepEqual(await assets.keys("kv-edge:release:"), [first, second].map((id) => `kv-edge:release:${id}`).sort());
  const { current, previous } = await assets.pointer();
  assert.deepEqual([current, previous], [second, [first]]);
  const blobs = await assets.keys("kv-edge:blob:");
  const files = (await Promise.all([first, second].map((id) => assets.files(id)))).flat();
  const named = files.flatMap(({ keys, encoded }) => [...keys, ...Object.values(encoded).flatMap((body) => body.keys)]);
  assert.deepEqual(blobs, [...new Set(named)].sort());
  assert.ok(blobs.length < named.length);
  assert.ok(blobs.every((key) => /^kv-edge:blob:[0-9a-f]{32}$/.test(key)));
  assert.deepEqual(await assets.keys("kv-edge:push:"), []);
});

describe("release skew", () => {
  test("a page of an earlier release still gets the hashed files that the next ones dropped", async () => {
    await pushReleases(3);
    assert.equal(await servedNumber(), 3);
    for (const n of [1, 2, 3]) {
      const response = await assets.get(release(n).script);
      assert.deepEqual([response.status, response.text], [200, `release ${n}`]);
      assert.equal(response.headers["cache-control"], "public, max-age=31536000, immutable");
      assert.equal((await assets.get(release(n).script, { "If-None-Match": response.headers.etag })).status, 304);
      assert.equal((await assets.get(release(n).script, { Range: "bytes=0-6" })).text, "release");
    }
  });

  test("pages that only earlier releases had are gone", async () => {
    await pushReleases(3);
    for (const path of ["/only-1", "/only-1.html", "/only-2"]) assert.equal((await assets.get(path)).status, 404, path);
    assert.equal((await assets.get("/only-3")).status, 200);
  });

  test("as many previous releases are remembered as --previous says", async () => {
    await pushReleases(4, "--previous", "2");
    const statuses = [];
    for (const n of [1, 2, 3, 4]) statuses.push((await assets.get(release(n).script)).status);
    assert.deepEqual(statuses, [404, 200, 200, 200]);
    await assets.push(release(5).files, "--previous", "0");
    assert.equal((await assets.get(release(4).script)).status, 404);
  });
});

test("pushing the same files again makes no new release", async () => {
  const [id] = await pushReleases(1);
  const before = await assets.keys();
  await assets.push(release(1).files);
  assert.deepEqual([await assets.keys(), (await assets.pointer()).current], [before, id]);
});

test("the same files again are served, even if somebody switches to another release meanwhile", async () => {
  const [first, second] = await pushReleases(2);
  let isSwitched = false;
  assets.api.intercept = async (call, pass) => {
    if (!isSwitched && call.path.includes("/keys?")) {
      isSwitched = true;
      await assets.kv.put("kv-edge:current", JSON.stringify({ current: first, previous: [second], switchedMs: 1 }));
    }
    return pass();
  };
  const { code, stderr } = await assets.run("push", [makeFolder(release(2).files)]);
  assets.api.intercept = undefined;
  assert.equal(code, 0, stderr);
  assert.match(stderr, new RegExp(`${first} was switched to during this push; switched back`));
  const { current, previous } = await assets.pointer();
  assert.deepEqual([current, previous], [second, [first]]);
});

test("during pushes, each visitor gets one whole release, and what its page names", async () => {
  const heavy = () => Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`heavy/${index}.bin`, randomBytes(50_000)]));
  await assets.push({ ...release(1).files, ...heavy() });
  let ended = false;
  const seen = [];
  const visitor = async () => {
    while (!ended) {
      const page = await assets.get("/");
      assert.equal(page.status, 200);
      const n = Number(/<title>(\d+)/.exec(page.text)[1]);
      assert.equal(page.text, release(n).page);
      const script = await assets.get(/src="([^"]+)"/.exec(page.text)[1]);
      assert.deepEqual([script.status, script.text], [200, `release ${n}`]);
      seen.push(n);
      await sleep(5);
    }
  };
  const visits = [visitor(), visitor(), visitor()];
  for (let n = 2; n <= 5; n += 1) await assets.push({ ...release(n).files, ...heavy() });
  ended = true;
  await Promise.all(visits);
  assert.ok(seen.includes(1), "no visitor saw the first release");
  assert.equal(await servedNumber(), 5);
});

describe("rollback", () => {
  test("goes back to the release before, in one write of the pointer", async () => {
    const [first, second] = await pushReleases(2);
    const { calls } = assets.api;
    const before = calls.length;
    const { code, stderr } = await assets.run("rollback");
    assert.equal(code, 0, stderr);
    const writes = calls
      .slice(before)
      .filter(({ method }) => method === "PUT")
      .map(({ body }) => JSON.parse(body).map(({ key }) => key));
    assert.deepEqual(
      writes.filter(([key]) => !key.startsWith("kv-edge:push:")),
      [["kv-edge:current"]],
    );
    assert.deepEqual(await assets.keys("kv-edge:push:"), []);
    assert.equal(await servedNumber(), 1);
    assert.equal((await assets.pointer()).current, first);
    // Visitors of the second release may still request its files.
    assert.equal((await assets.get(release(2).script)).text, "release 2");
    assert.ok((await assets.pointer()).previous.includes(second));
  });

  test("a client with later bytes does not get 304 after a rollback", async () => {
    await assets.push({ "text.txt": "first" });
    const first = (await assets.get("/text.txt")).headers;
    await sleep(1100); // HTTP dates have whole seconds
    await assets.push({ "text.txt": "second" });
    const second = (await assets.get("/text.txt")).headers;
    await sleep(1100);
    assert.equal((await assets.run("rollback")).code, 0);
    for (const headers of [{ "If-Modified-Since": second["last-modified"] }, { "If-None-Match": second.etag }]) {
      const response = await assets.get("/text.txt", headers);
      assert.deepEqual([response.status, response.text], [200, "first"], JSON.stringify(headers));
    }
    assert.equal((await assets.get("/text.txt")).headers.etag, first.etag);
    assert.equal((await assets.get("/text.txt", { "If-Unmodified-Since": second["last-modified"] })).status, 412);
  });

  test("goes to a release that is named, and back again", async () => {
    const ids = await pushReleases(3);
    for (const n of [1, 3, 2]) {
      assert.equal((await assets.run("rollback", [ids[n - 1]])).code, 0);
      assert.equal(await servedNumber(), n);
    }
  });

  test("a push after a rollback is served, even of files that were served before", async () => {
    await pushReleases(2);
    assert.equal((await assets.run("rollback")).code, 0);
    assert.equal(await servedNumber(), 1);
    await assets.push(release(2).files);
    assert.equal(await servedNumber(), 2);
  });

  for (const [what, args] of [
    ["a release that is not there", ["20200101T000000Z-00000000"]],
    ["a name that no release can have", ["../current"]],
  ]) {
    test(`${what}: exits with 1 and a message, and nothing is switched`, async () => {
      const [, id] = await pushReleases(2);
      const { code, stderr } = await assets.run("rollback", args);
      assert.equal(code, 1);
      assert.match(stderr, /\w+ .*\w/);
      assert.equal((await assets.pointer()).current, id);
    });
  }

  test("without a previous release: exit code 1", async () => {
    await pushReleases(1);
    assert.equal((await assets.run("rollback")).code, 1);
    assert.equal(await servedNumber(), 1);
  });

  test("--dry-run switches nothing", async () => {
    await pushReleases(2);
    assert.equal((await assets.run("rollback", ["--dry-run"])).code, 0);
    assert.equal(await servedNumber(), 2);
  });
});

describe("list", () => {
  test("names the releases and which is served", async () => {
    const ids = await pushReleases(3);
    const { code, stdout } = await assets.run("list");
    assert.equal(code, 0);
    for (const id of ids) assert.ok(stdout.includes(`${id === ids[2] ? "*" : " "} ${id}`), stdout);
    const json = await assets.run("list", ["--json"]);
    const { current, releases } = JSON.parse(json.stdout);
    assert.equal(current, ids[2]);
    assert.deepEqual(releases.map(({ id, isCurrent }) => [id, isCurrent]).sort(), ids.map((id) => [id, id === current]).sort());
  });

  test("an empty namespace is no error", async () => {
    assert.equal((await assets.run("list")).code, 0);
  });
});

describe("gc", () => {
  test("keeps what the pointer's previous release needs, even if KV's list lacks that release", async () => {
    const [first] = await pushReleases(2);
    assets.api.intercept = async (call, pass) => {
      const reply = await pass();
      if (!call.path.includes("/keys?") || !call.path.includes("kv-edge:release:")) return reply;
      const body = JSON.parse(reply.body);
      return { status: 200, body: JSON.stringify({ ...body, result: body.result.filter(({ name }) => !name.endsWith(first)) }) };
    };
    assert.equal((await assets.run("gc", ["--keep", "1", "--min-age", "0s"])).code, 0);
    assets.api.intercept = undefined;
    assert.equal((await assets.run("rollback")).code, 0);
    for (const path of ["/only-1", release(1).script]) assert.equal((await assets.get(path)).status, 200, path);
  });

  /** Checks that everything to which the remaining releases refer exists. */
  async function assertWhole() {
    const blobs = new Set(await assets.keys("kv-edge:blob:"));
    for (const release of await assets.keys("kv-edge:release:")) {
      const files = await assets.files(release.slice("kv-edge:release:".length));
      const keys = files.flatMap(({ keys, encoded }) => [...keys, ...Object.values(encoded).flatMap((body) => body.keys)]);
      for (const key of keys) assert.ok(blobs.has(key), `${release} refers to ${key}, which is gone`);
    }
  }

  test("keeps as many releases as --keep says, with all that they refer to, and deletes the rest", async () => {
    const ids = await pushReleases(4, "--previous", "1");
    const before = await assets.keys("kv-edge:blob:");
    const { code, stderr } = await assets.run("gc", ["--keep", "2", "--min-age", "0s"]);
    assert.equal(code, 0, stderr);
    assert.deepEqual(
      (await assets.keys("kv-edge:release:")).map((key) => key.slice("kv-edge:release:".length)),
      ids.slice(2).sort(),
    );
    await assertWhole();
    const after = await assets.keys("kv-edge:blob:");
    assert.ok(after.length < before.length);
    assert.equal(await servedNumber(), 4);
    assert.equal((await assets.get(release(3).script)).text, "release 3");
    assert.equal((await assets.get(release(1).script)).status, 404);
  });

  test("never deletes the current release or unversioned keys, however few releases are kept", async () => {
    const ids = await pushReleases(3);
    assert.equal((await assets.run("rollback", [ids[0]])).code, 0);
    await assets.kv.put("plain.txt", "plain");
    const { code, stderr } = await assets.run("gc", ["--keep", "1", "--min-age", "0s"]);
    assert.equal(code, 0, stderr);
    assert.equal(await servedNumber(), 1);
    assert.equal((await assets.get("/same.css")).text, "body {}");
    assert.equal((await assets.get("/plain.txt")).text, "plain");
    await assertWhole();
  });

  test("leaves what is younger than --min-age", async () => {
    await pushReleases(4, "--previous", "0");
    const before = await assets.keys();
    await assets.kv.put("kv-edge:blob:00000000000000000000000000000000", "of a push under way", { metadata: { uploadedMs: Date.now() } });
    assert.equal((await assets.run("gc", ["--keep", "1", "--min-age", "1h"])).code, 0);
    const after = await assets.keys();
    assert.ok(after.includes("kv-edge:blob:00000000000000000000000000000000"));
    for (const key of before) assert.ok(after.includes(key), key);
  });

  /**
   * Writes to keys with this prefix, or deletions of them if `isDelete`, wait until `resume` is
   * called; `started` resolves at the first one.
   */
  const hold = (prefix, isDelete = false) => {
    const held = Promise.withResolvers();
    const released = Promise.withResolvers();
    assets.api.intercept = async ({ method, path, body }, pass) => {
      const names = method !== "GET" && /\/bulk/.test(path) ? JSON.parse(body).map((item) => item.key ?? item) : [];
      if (isDelete === path.endsWith("/delete") && names.some((name) => name.startsWith(prefix))) {
        held.resolve();
        await released.promise;
      }
      return pass();
    };
    const resume = () => {
      assets.api.intercept = undefined;
      released.resolve();
    };
    return { started: held.promise, resume };
  };

  test("while it deletes, nothing is switched to what it deletes, and nothing is uploaded", async () => {
    const ids = await pushReleases(3, "--previous", "0");
    const { started, resume } = hold("kv-edge:release:", true);
    const gc = assets.run("gc", ["--keep", "1", "--min-age", "0s"]);
    await started;
    for (const [command, args] of [
      ["rollback", [ids[0]]],
      ["push", [makeFolder(release(4).files)]],
      ["gc", ["--min-age", "0s"]],
    ]) {
      const { code, stderr } = await assets.run(command, args);
      assert.equal(code, 1, `${command}: ${stderr}`);
      assert.match(stderr, /gc.* is (running|under way)/, command);
    }
    resume();
    assert.equal((await gc).code, 0);
    assert.deepEqual(await assets.keys("kv-edge:push:"), []);
    assert.equal(await servedNumber(), 3);
    await assertWhole();
    await assets.push(release(4).files);
    assert.equal(await servedNumber(), 4);
  });

  test("refuses while a push or a rollback is under way; --force does not", async () => {
    const ids = await pushReleases(2);
    for (const id of ["20261121T000000Z-00000000", "rollback-5"]) {
      await assets.kv.put(`kv-edge:push:${id}`, "{}");
      const { code, stderr } = await assets.run("gc", ["--keep", "1", "--min-age", "0s"]);
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`${id}.*--force`));
      assert.equal((await assets.keys("kv-edge:release:")).length, 2);
      assert.deepEqual(await assets.keys("kv-edge:push:"), [`kv-edge:push:${id}`]);
      await assets.delete("kv-edge:push:");
    }
    await assets.kv.put("kv-edge:push:20261121T000000Z-00000000", "{}");
    assert.equal((await assets.run("gc", ["--keep", "1", "--min-age", "0s", "--force"])).code, 0);
    assert.deepEqual(await assets.keys("kv-edge:release:"), [`kv-edge:release:${ids[1]}`]);
    assert.deepEqual(await assets.keys("kv-edge:push:"), ["kv-edge:push:20261121T000000Z-00000000"]);
  });

  for (const [what, spoil, reason] of [
    ["is missing", (key) => assets.kv.delete(key), /the manifest of the release \S+ does not exist\. Nothing was deleted/],
    ["cannot be read", (key) => assets.kv.put(key, "{}"), /the manifest of the release \S+ cannot be read: .* Nothing was deleted/],
  ]) {
    test(`deletes nothing if the manifest of a kept release ${what}`, async () => {
      const ids = await pushReleases(3, "--previous", "0");
      await spoil(`kv-edge:release:${ids[2]}`);
      const before = await assets.keys();
      const { code, stderr } = await assets.run("gc", ["--keep", "1", "--min-age", "0s"]);
      assert.equal(code, 1);
      assert.match(stderr, reason);
      assert.deepEqual(await assets.keys(), before);
    });
  }

  test("removes its lease even if it fails", async () => {
    await pushReleases(3, "--previous", "0");
    assets.api.intercept = ({ path, body }, pass) =>
      path.endsWith("/bulk/delete") && !body.includes("kv-edge:push:") ? apiError(400, 10001, "not today") : pass();
    const { code, stderr } = await assets.run("gc", ["--keep", "1", "--min-age", "0s"]);
    assert.equal(code, 1);
    assert.match(stderr, /not today/);
    assert.deepEqual(await assets.keys("kv-edge:push:"), []);
  });

  test("--dry-run deletes nothing", async () => {
    await pushReleases(3, "--previous", "0");
    const before = await assets.keys();
    const { code, stdout } = await assets.run("gc", ["--keep", "1", "--min-age", "0s", "--dry-run"]);
    assert.equal(code, 0);
    assert.deepEqual(await assets.keys(), before);
    assert.notEqual(stdout.trim(), "");
  });
});

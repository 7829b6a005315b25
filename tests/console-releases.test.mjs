// `/console/api/releases`: the releases that the tool has pushed, what changed between two of
// them, and going back to one as `kv-edge assets rollback` does.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { startAssets, titledPage } from "./harness/assets.mjs";
import { assertOutcome, consoleApi } from "./harness/console.mjs";
import { eventually } from "./harness/eventually.mjs";
import { signToken } from "./harness/kv-api.mjs";
import { assertProblem } from "./harness/problem.mjs";

const assets = await startAssets({ vars: { KV_API_WRITABLE: "assets,WRITES" } });
const call = consoleApi(assets.worker);

/** Pushes these folders one after the other, and returns the ids of their releases. */
async function pushed(...folders) {
  const ids = [];
  for (const files of folders) {
    await assets.push(files);
    ids.push((await assets.pointer()).current);
  }
  return ids;
}

/** Pushes releases 1 to n, whose pages have their number as title. */
const numbered = (n) => pushed(...Array.from({ length: n }, (_, index) => ({ "index.html": titledPage(`${index + 1}`), "same.css": "body {}" })));

const rollBack = (to, { from, ...options } = {}) => call("releases/rollback", { json: { to, from }, ...options });
const served = async () => /<title>(.+)<\/title>/.exec((await assets.get("/")).text)?.[1];
const withFaults = (faults) => ({ headers: { "X-Kv-Faults": JSON.stringify({ assets: faults }) } });
const changesOf = (from, to, options) => call(`releases/changes?${new URLSearchParams({ from, to })}`, options);

beforeEach(() => assets.delete());

test("releases are listed, the newest first, as the tool lists them", async () => {
  assert.deepEqual(assertOutcome(await call("releases")), { current: null, previous: [], releases: [], isComplete: true, hasNewest: true });
  const [first, second] = await numbered(2);
  const { releases, ...rest } = assertOutcome(await call("releases"));
  assert.deepEqual(rest, { current: second, previous: [first], isComplete: true, hasNewest: true });
  const ofTool = JSON.parse((await assets.run("list", ["--json"])).stdout).releases;
  const expected = ofTool.map(({ createdMs, ...release }) => ({
    ...release,
    pushed: new Date(Math.floor(createdMs / 1000) * 1000).toISOString().replace(".000Z", "Z"),
  }));
  assert.deepEqual(releases, expected);
  assert.deepEqual(
    releases.map(({ id, isCurrent, files }) => [id, isCurrent, files]),
    [
      [second, true, 2],
      [first, false, 2],
    ],
  );
});

test("a manifest of another tool is listed without figures", async () => {
  await assets.kv.put("kv-edge:release:odd", "{}", { metadata: "odd" });
  const { releases } = assertOutcome(await call("releases"));
  assert.deepEqual(releases, [{ id: "odd", pushed: null, files: null, bytes: null, isCurrent: false }]);
});

test("more releases than are shown make the list incomplete", async () => {
  for (let n = 0; n < 1005; n += 1) await assets.kv.put(`kv-edge:release:${String(n).padStart(6, "0")}-a`, "{}");
  const { releases, isComplete, hasNewest } = assertOutcome(await call("releases"));
  assert.deepEqual([releases.length, isComplete, hasNewest], [1000, false, true]);
  assert.deepEqual([releases[0].id, releases.at(-1).id], ["001004-a", "000005-a"]);
});

test("of more releases than KV lists in ten pages, the served and the previous ones are shown", async () => {
  for (let n = 10; n < 30; n += 1) await assets.kv.put(`kv-edge:release:1999${n}-a`, "{}");
  const ids = await numbered(2);
  const { releases, isComplete, hasNewest, current } = assertOutcome(await call("releases", withFaults({ list: ["short page"] })));
  assert.deepEqual([isComplete, hasNewest, current], [false, false, ids[1]]);
  assert.deepEqual(
    releases.map(({ id }) => id),
    [...ids.toReversed(), ...Array.from({ length: 10 }, (_, n) => `1999${19 - n}-a`)],
  );
});

describe("changes", () => {
  test("files are compared by path, bytes and type, and rules by name", async () => {
    const [from, to] = await pushed(
      { "index.html": titledPage("1"), "gone.html": titledPage("gone"), "same.css": "body {}", _headers: "/*\n  X-A: 1\n" },
      { "index.html": titledPage("2"), "new/page.html": titledPage("new"), "same.css": "body {}", _headers: "/*\n  X-A: 2\n" },
    );
    assert.deepEqual(assertOutcome(await changesOf(from, to)), {
      added: ["/new/page.html"],
      removed: ["/gone.html"],
      changed: ["/index.html"],
      unchanged: 1,
      counts: { added: 1, removed: 1, changed: 1 },
      rules: ["_headers"],
    });
    const back = assertOutcome(await changesOf(to, from));
    assert.deepEqual([back.added, back.removed], [["/gone.html"], ["/new/page.html"]]);
    assert.deepEqual(assertOutcome(await changesOf(to, to)).counts, { added: 0, removed: 0, changed: 0 });
  });

  test("a list is cut at 1,000 paths, and the counts are exact", async () => {
    const [from, to] = await pushed(
      { "index.html": "1" },
      { "index.html": "1", ...Object.fromEntries(Array.from({ length: 1003 }, (_, n) => [`p${n}.txt`, `${n % 7}`])) },
    );
    const { added, counts, unchanged } = assertOutcome(await changesOf(from, to));
    assert.deepEqual([added.length, counts.added, unchanged], [1000, 1003, 1]);
  });

  test("releases whose manifests are too long to hold both are refused, each alone or together", async () => {
    const [id] = await numbered(1);
    const manifest = await assets.manifest(id);
    const ofLength = async (id, megabytes) => {
      const files = manifest.files.map((file, n) => (n === 0 ? { ...file, t: "x".repeat(megabytes * 1024 * 1024) } : file));
      await assets.kv.put(`kv-edge:release:${id}`, JSON.stringify({ ...manifest, id, files }));
    };
    await ofLength("long", 9);
    await ofLength("longer", 17);
    assert.deepEqual(assertOutcome(await changesOf(id, "long")).counts, { added: 0, removed: 0, changed: 1 });
    for (const pair of [
      ["long", "long"],
      [id, "longer"],
      ["longer", id],
    ])
      assertProblem(await changesOf(...pair), 409, "releases_too_long");
  });

  test("a release that does not exist or cannot be read is an error, and so is another query", async () => {
    const [id] = await numbered(1);
    assertProblem(await changesOf(id, "none"), 404, "release_not_found");
    assertProblem(await changesOf("x".repeat(600), id), 404, "release_not_found");
    await assets.kv.put("kv-edge:release:broken", "{");
    await assets.kv.put("kv-edge:release:other", JSON.stringify(await assets.manifest(id)));
    for (const broken of ["broken", "other"]) assertProblem(await changesOf(id, broken), 409, "release_unreadable");
    for (const query of ["", "?from=a", "?to=a", "?from=a&to=", "?from=a&to=b&c=d"])
      assertProblem(await call(`releases/changes${query}`), 400, "invalid_parameter");
    assertProblem(await call("releases/changes?from=%zz&to=a"), 400, "bad_percent_encoding");
  });
});

describe("rollback", () => {
  test("a rollback serves the earlier release at once, and can be undone", async () => {
    const [first, second, third] = await numbered(3);
    assert.deepEqual(assertOutcome(await rollBack(first)), { from: third, to: first, changed: true });
    assert.equal(await served(), "1");
    const { current, previous, rolledBackMs, switchedMs } = await assets.pointer();
    assert.deepEqual([current, previous, rolledBackMs], [first, [third, second], switchedMs]);
    assert.deepEqual(assertOutcome(await rollBack(third)), { from: first, to: third, changed: true });
    assert.equal(await served(), "3");
    assert.deepEqual(await assets.keys("kv-edge:push:"), [], "the lease is given up");
  });

  test("the pointer is the one that the tool writes", async () => {
    const ids = await numbered(3);
    const steps = async (roll) => {
      const pointers = [];
      for (const id of [ids[0], ids[2], ids[1]]) {
        await roll(id);
        const { switchedMs, rolledBackMs, ...pointer } = await assets.pointer();
        assert.equal(switchedMs, rolledBackMs);
        pointers.push(pointer);
      }
      return pointers;
    };
    const before = await assets.kv.get("kv-edge:current");
    const ofTool = await steps(async (id) => assert.equal((await assets.run("rollback", [id])).code, 0));
    await assets.kv.put("kv-edge:current", before);
    assert.deepEqual(await steps(async (id) => assertOutcome(await rollBack(id))), ofTool);
  });

  test("a release that seems to be served already is switched to all the same: KV may return an old pointer", async () => {
    const [first, second] = await numbered(2);
    const before = await assets.pointer();
    assert.deepEqual(assertOutcome(await rollBack(second)), { from: second, to: second, changed: false });
    const { current, previous, switchedMs } = await assets.pointer();
    assert.deepEqual([current, previous], [second, [first]]);
    assert.ok(switchedMs > before.switchedMs);
  });

  test("whoever names the release that they replace replaces no other", async () => {
    const [first, second, third] = await numbered(3);
    const { detail } = assertProblem(await rollBack(first, { from: second }), 409, "release_switched");
    assert.match(detail, new RegExp(`"${third}" is served, not "${second}"`));
    assert.equal((await assets.pointer()).current, third);
    assert.deepEqual(await assets.keys("kv-edge:push:"), [], "the lease is given up");
    assert.deepEqual(assertOutcome(await rollBack(first, { from: third })), { from: third, to: first, changed: true });
    assert.equal(await served(), "1");
  });

  test("a release is found by its manifest, however many there are", async () => {
    const ids = await numbered(2);
    for (let n = 10; n < 30; n += 1) await assets.kv.put(`kv-edge:release:1999${n}-a`, "{}");
    assertOutcome(await rollBack(ids[0], withFaults({ "list kv-edge:release:": ["short page"] })));
    assert.equal(await served(), "1");
  });

  test("a running gc refuses a rollback; a push or another rollback does not", async () => {
    const [first, second] = await numbered(2);
    await assets.kv.put("kv-edge:push:gc-1795261475000", "{}");
    const { detail } = assertProblem(await rollBack(first), 409, "gc_running");
    assert.match(detail, /gc-1795261475000/);
    assert.equal((await assets.pointer()).current, second);
    assert.deepEqual(await assets.keys("kv-edge:push:"), ["kv-edge:push:gc-1795261475000"], "the lease is given up");
    await assets.delete("kv-edge:push:");
    for (const other of [first, "rollback-5"]) await assets.kv.put(`kv-edge:push:${other}`, "{}");
    assertOutcome(await rollBack(first));
  });

  test("a gc that starts meanwhile sees the lease, and stops", async () => {
    const [first] = await numbered(2);
    // The manifest is read under the lease.
    const faults = { [`get kv-edge:release:${first}`]: ["slow for 1500"] };
    const rolling = rollBack(first, withFaults(faults));
    await eventually(async () => (await assets.keys("kv-edge:push:rollback-")).length === 1, "the lease");
    const { code, stderr } = await assets.run("gc", ["--min-age", "0s"]);
    assert.equal(code, 1);
    assert.match(stderr, /a rollback is running/);
    assertOutcome(await rolling);
    assert.equal(await served(), "1");
  });

  test("a release that does not exist or cannot be read is not served", async () => {
    assertProblem(await rollBack("any"), 404, "release_not_found");
    const [first, second] = await numbered(2);
    assertProblem(await rollBack("none"), 404, "release_not_found");
    await assets.kv.put(`kv-edge:release:${first}`, "{");
    assertProblem(await rollBack(first), 409, "release_unreadable");
    assert.equal((await assets.pointer()).current, second);
    assert.deepEqual(await assets.keys("kv-edge:push:"), []);
  });

  test("another body or method is refused", async () => {
    for (const body of ["", "{", "[]", "{}", '{"to":1}', '{"to":"a","dryRun":true}', '{"to":"a","from":1}'])
      assertProblem(await call("releases/rollback", { body }), 400, "invalid_body");
    assertProblem(await call("releases/rollback", { body: `{"to":"${"a".repeat(5000)}"}` }), 413, "body_too_large");
    assertProblem(await call("releases/rollback"), 405, "method_not_allowed");
    assertProblem(await call("releases", { json: {} }), 405, "method_not_allowed");
    assertProblem(await call("releases/none"), 404, "not_found");
  });
});

describe("tokens", () => {
  const token = (claims) => signToken({ namespace: "assets", ...claims });
  const forbidden = async (response) => assertProblem(await response, 403, "out_of_scope");

  test("without a valid token nothing is shown", async () => {
    for (const path of ["releases", "releases/changes?from=a&to=b"]) {
      assertProblem(await call(path, { token: null }), 401, "unauthorized");
      assertProblem(await call(path, { token: "wrong" }), 401, "unauthorized");
    }
    assertProblem(await rollBack("a", { token: null }), 401, "unauthorized");
  });

  test("a token of the namespace lists and compares, and rolls back only if it may write", async () => {
    const [first, second] = await numbered(2);
    const reader = token();
    assert.equal(assertOutcome(await call("releases", { token: reader })).current, second);
    assertOutcome(await changesOf(first, second, { token: reader }));
    await forbidden(rollBack(first, { token: reader }));
    assert.equal((await assets.pointer()).current, second);
    assertOutcome(await rollBack(first, { token: token({ write: true, prefix: "kv-edge:" }) }));
  });

  test("a token of another namespace or of other keys sees no release", async () => {
    const [first] = await numbered(2);
    for (const claims of [
      { namespace: "WRITES", write: true },
      { prefix: "site/", write: true },
      { prefix: "kv-edge:release:2", write: true },
    ]) {
      await forbidden(call("releases", { token: token(claims) }));
      await forbidden(changesOf(first, first, { token: token(claims) }));
      await forbidden(rollBack(first, { token: token(claims) }));
    }
    assertOutcome(await changesOf(first, first, { token: token({ prefix: "kv-edge:release:" }) }));
    await forbidden(rollBack(first, { token: token({ prefix: "kv-edge:release:", write: true }) }));
  });

  test("a namespace that KV_API_WRITABLE does not list is not changed", async () => {
    const [first, second] = await numbered(2);
    await assets.worker.setVars({ KV_API_WRITABLE: "WRITES" });
    assertProblem(await rollBack(first), 403, "read_only");
    assert.equal((await assets.pointer()).current, second);
    await assets.worker.setVars({ KV_API_WRITABLE: "assets,WRITES" });
  });
});

describe("faults", () => {
  test("if KV fails before the switch, nothing is switched, and the lease is given up", async () => {
    const [first, second] = await numbered(2);
    // The first failure may pass, and the call is repeated; the second does not pass.
    const failing = ["500", "403"];
    for (const operation of ["list", "get", `get kv-edge:release:${first}`, "put", "put kv-edge:current"]) {
      const response = await rollBack(first, withFaults({ [operation]: failing }));
      assert.ok(response.status >= 500, `${response.status} ${response.text}`);
      assert.equal((await assets.pointer()).current, second, operation);
      assert.deepEqual(await assets.keys("kv-edge:push:"), [], operation);
    }
    assertOutcome(await rollBack(first));
  });
});

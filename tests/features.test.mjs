// `npm run build -- --features`; and a Worker built with one job: that job's routes respond, the
// others are unknown paths.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { allFeatures, build, builtFeatures } from "../scripts/build.mjs";
import { ROOT } from "../scripts/run.mjs";
import { startWorker, WORKER_TOKEN } from "./harness/worker.mjs";

const OUT = "target/features/cache";

const npmRunBuild = (...args) => spawnSync("node", ["scripts/build.mjs", ...args], { cwd: ROOT, encoding: "utf8" });

describe("`npm run build -- --features`", async () => {
  const all = (await allFeatures()).join(", ");

  test("an unknown feature is named, with the existing ones", () => {
    const { status, stderr } = npmRunBuild("--features", "cache,cahce");
    assert.deepEqual([status, stderr], [1, `\nkv-edge: There is no feature "cahce". There are: ${all}.\n`]);
  });

  test("--help has an example, and the features", () => {
    const { status, stdout } = npmRunBuild("--help");
    assert.equal(status, 0);
    assert.match(stdout, /npm run build -- --features cache,assets/);
    assert.ok(stdout.endsWith(`Features: ${all}\n`), stdout);
  });
});

describe("the cache alone", async () => {
  await build({ quick: true, features: ["cache"], out: OUT });
  const worker = await startWorker({ entry: `${OUT}/entry.js` });

  test("wrangler's build keeps the features of the last build, or builds all of them", async () => {
    assert.deepEqual(await builtFeatures(OUT), ["cache"]);
    assert.deepEqual(await builtFeatures("no-such-folder"), await allFeatures());
  });

  /** Returns the status, media type and body of a response to a client that accepts JSON. */
  async function ask(method, path, headers = {}) {
    const response = await fetch(new URL(path, worker.url), { method, headers: { accept: "application/json", ...headers } });
    return [response.status, response.headers.get("content-type"), await response.json()];
  }

  test("its routes respond", async () => {
    const [status, , { code }] = await ask("GET", "/cache/https://upstream.example/");
    assert.deepEqual([status, code], [403, "upstream_not_allowed"]);
    const purged = await fetch(new URL("/cache/purge", worker.url), {
      method: "POST",
      headers: { authorization: `Bearer ${WORKER_TOKEN}` },
      body: '{"tag":"a"}',
    });
    assert.deepEqual([purged.status, (await purged.json()).purged], [200, [{ tag: "a" }]]);
  });

  for (const [method, path] of [
    ["GET", "/"],
    ["GET", "/about"],
    ["GET", "/console/"],
    ["GET", "/console/api/session"],
    ["GET", "/get-started"],
    ["GET", "/metrics"],
    ["GET", "/hello-world"],
    ["GET", "/config?userId=a"],
    ["POST", "/config"],
    ["POST", "/ofrep/v1/evaluate/flags"],
    ["GET", "/stores/a/"],
    ["GET", "/writes/a"],
    ["POST", "/writes/a"],
  ]) {
    test(`${method} ${path} is an unknown path`, async () => {
      const problem = { type: "about:blank", title: "Not Found", status: 404, code: "not_found", detail: "Not found" };
      assert.deepEqual(await ask(method, path), [404, "application/problem+json", problem]);
    });
  }

  test("/healthz does not mention flags", async () => {
    const [status, , health] = await ask("GET", "/healthz");
    assert.deepEqual([status, Object.keys(health)], [200, ["status", "version"]]);
  });
});

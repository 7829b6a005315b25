// wrangler, unmodified, with the KV REST API of the built Worker: every `kv` command. Only the
// environment says where the API is.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { ROOT } from "../scripts/run.mjs";
import { ACCOUNT, BINARY, manyBytes, ODD_KEYS, signToken, startKvApi, VALUE_BYTES_MAX } from "./harness/kv-api.mjs";
import { uniqueName } from "./harness/names.mjs";
import { WORKER_TOKEN } from "./harness/worker.mjs";

const worker = await startKvApi();
const { WRITES, assets } = worker.env;

const folder = mkdtempSync(join(tmpdir(), "kv-edge-kv-api-wrangler-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Writes a file of this name, and returns its path. */
function file(name, contents) {
  const path = join(folder, name);
  writeFileSync(path, contents);
  return path;
}

const credentials = { CLOUDFLARE_API_TOKEN: WORKER_TOKEN };

/** Runs wrangler. Resolves to `{ code, stdout, bytes, output }`: the output is of both streams. */
async function wrangler(args, { auth = credentials, account = ACCOUNT, base = worker.baseUrl } = {}) {
  const { CLOUDFLARE_API_TOKEN: _token, ...inherited } = process.env;
  const env = {
    ...inherited,
    CLOUDFLARE_API_BASE_URL: base,
    ...(account && { CLOUDFLARE_ACCOUNT_ID: account }),
    ...auth,
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_HIDE_BANNER: "true",
    WRANGLER_LOG_PATH: folder,
    // Its start compiles a bundle of ten megabytes otherwise, each time.
    NODE_COMPILE_CACHE: folder,
    XDG_CONFIG_HOME: folder,
    CI: "true",
    NO_COLOR: "1",
  };
  const child = spawn(process.execPath, [join(ROOT, "node_modules/wrangler/bin/wrangler.js"), ...args], {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, all] = [[], []];
  child.stdout.on("data", (chunk) => out.push(chunk) && all.push(chunk));
  child.stderr.on("data", (chunk) => all.push(chunk));
  const [code] = await once(child, "close");
  const bytes = Buffer.concat(out);
  return { code, bytes, stdout: bytes.toString(), output: Buffer.concat(all).toString() };
}

/** Runs a command that has to succeed. */
async function run(args, options) {
  const ended = await wrangler(args, options);
  assert.equal(ended.code, 0, `wrangler ${args.join(" ")}: ${ended.output}`);
  return ended;
}

/** Runs a command that has to fail, and returns what it prints. */
async function runToFail(args, options) {
  const ended = await wrangler(args, options);
  assert.notEqual(ended.code, 0, `wrangler ${args.join(" ")}: ${ended.output}`);
  return ended.output;
}

const onKeys = (command, ...args) => ["kv", ...command.split(" "), ...args, "--namespace-id", "WRITES", "--remote"];

/** Returns what `kv key list` prints as JSON. */
const listed = async (prefix) => JSON.parse((await run(onKeys("key list", "--prefix", prefix))).stdout);

describe("wrangler kv", { concurrency: 3 }, () => {
  test("key put, get, list and delete pass values, metadata and expiration on", async () => {
    const key = uniqueName("a key/ü?#%41");
    const expiration = Math.floor(Date.now() / 1000) + 3600;
    await run(onKeys("key put", key, "grüße", "--metadata", '{"a":{"b":[1,null]}}', "--expiration", String(expiration)));
    assert.deepEqual(await WRITES.getWithMetadata(key), { value: "grüße", metadata: { a: { b: [1, null] } }, cacheStatus: null });
    assert.equal((await run(onKeys("key get", key))).stdout, "grüße");
    assert.deepEqual(await listed(key), [{ name: key, expiration, metadata: { a: { b: [1, null] } } }]);
    await run(onKeys("key delete", key));
    assert.equal(await WRITES.get(key), null);
  });

  test("key put --ttl sets when the key expires, and a put without it ends that", async () => {
    const key = uniqueName("ttl");
    await run(onKeys("key put", key, "1", "--ttl", "600"));
    const [{ expiration }] = await listed(key);
    assert.ok(Math.abs(expiration - Date.now() / 1000 - 600) < 60, `${expiration}`);
    await run(onKeys("key put", key, "2"));
    assert.deepEqual(await listed(key), [{ name: key }]);
  });

  test("key put --path and key get pass bytes through: an empty file, every byte, and 25 MiB with metadata", async () => {
    for (const [name, bytes, ...more] of [
      ["empty", Buffer.alloc(0)],
      ["binary", BINARY],
      ["binary-with-metadata", BINARY, "--metadata", '{"a":"b"}'],
      ["longest", manyBytes(VALUE_BYTES_MAX), "--metadata", '{"l":[1]}'],
    ]) {
      await run(onKeys("key put", name, "--path", file(name, bytes), ...more));
      const { value, metadata } = await WRITES.getWithMetadata(name, "arrayBuffer");
      assert.ok(Buffer.from(value).equals(bytes), `${name} in KV`);
      assert.deepEqual(metadata, more.length === 0 ? null : JSON.parse(more[1]));
      assert.ok((await run(onKeys("key get", name))).bytes.equals(bytes), `${name} as wrangler gets it`);
    }
  });

  test("bulk put and bulk delete change 2,300 pairs in batches of 1,000, and key list finds them all", async () => {
    const pairs = Array.from({ length: 2300 }, (_, number) => ({ key: `bulk/${number}`, value: `value ${number}` }));
    await run(onKeys("bulk put", file("pairs.json", JSON.stringify(pairs))));
    const names = (await listed("bulk/")).map(({ name }) => name);
    assert.deepEqual(new Set(names), new Set(pairs.map(({ key }) => key)));
    assert.equal(names.length, 2300);
    assert.equal(await WRITES.get("bulk/2299"), "value 2299");
    await run(onKeys("bulk delete", file("names.json", JSON.stringify(names)), "--force"));
    assert.deepEqual((await WRITES.list({ prefix: "bulk/" })).keys, []);
  });

  test("bulk put takes any key, base64, metadata and expiration; bulk get returns the values of 100 keys", async () => {
    const expiration = Math.floor(Date.now() / 1000) + 7200;
    const pairs = ODD_KEYS.map((key, number) => ({ key, value: `${number}`, metadata: { number } }));
    pairs.push({ key: "of-base64", value: BINARY.toString("base64"), base64: true, expiration, metadata: null });
    await run(onKeys("bulk put", file("odd.json", JSON.stringify(pairs))));
    for (const [number, key] of ODD_KEYS.entries()) {
      const { value, metadata } = await WRITES.getWithMetadata(key);
      assert.deepEqual({ value, metadata }, { value: `${number}`, metadata: { number } }, key);
    }
    assert.ok(Buffer.from(await WRITES.get("of-base64", "arrayBuffer")).equals(BINARY));
    const { keys } = await WRITES.list({ prefix: "of-base64" });
    assert.deepEqual(keys, [{ name: "of-base64", expiration }]);
    const { stdout } = await run(onKeys("bulk get", file("wanted.json", JSON.stringify([...ODD_KEYS, "no such key"]))));
    const got = JSON.parse(stdout.slice(stdout.indexOf("{"), stdout.lastIndexOf("}") + 1));
    assert.deepEqual(got, Object.fromEntries([...ODD_KEYS.map((key, number) => [key, `${number}`]), ["no such key", null]]));
  });

  test("namespaces are made, listed, renamed, used and deleted", async () => {
    const [title, renamed] = [uniqueName("made"), uniqueName("renamed")];
    const made = await run(["kv", "namespace", "create", title]);
    const [id] = /[0-9a-f]{32}/.exec(made.output) ?? assert.fail(made.output);
    assert.match(await runToFail(["kv", "namespace", "create", title]), /already exists/);
    const list = async () => JSON.parse((await run(["kv", "namespace", "list"])).stdout);
    const namespaces = await list();
    assert.deepEqual(
      namespaces.find((namespace) => namespace.id === id),
      { id, title, supports_url_encoding: true },
    );
    assert.ok(namespaces.some((namespace) => namespace.title === "WRITES"));
    await run(["kv", "key", "put", "a/key", "of its own", "--namespace-id", id, "--remote"]);
    assert.equal(await WRITES.get("a/key"), null);
    await run(["kv", "namespace", "rename", title, "--new-name", renamed]);
    assert.equal((await run(["kv", "key", "get", "a/key", "--namespace-id", id, "--remote"])).stdout, "of its own");
    await run(["kv", "namespace", "rename", "--namespace-id", id, "--new-name", title]);
    await run(["kv", "namespace", "delete", "--namespace-id", id, "--skip-confirmation"]);
    assert.equal(
      (await list()).find((namespace) => namespace.id === id),
      undefined,
    );
  });

  test("--binding finds the id of a namespace in the Worker's settings", async () => {
    const config = file("wrangler.json", JSON.stringify({ name: "kv-edge", compatibility_date: "2026-11-01", kv_namespaces: [{ binding: "WRITES" }] }));
    const on = (...args) => run(["kv", "key", ...args, "--binding", "WRITES", "--config", config, "--remote"]);
    await on("put", "by-binding", "x");
    assert.equal(await WRITES.get("by-binding"), "x");
    assert.match((await on("list", "--prefix", "by-binding")).stdout, /"by-binding"/);
  });

  test("without an account id wrangler finds the account", async () => {
    await run(onKeys("key put", "no-account", "x"), { account: undefined });
    assert.equal(await WRITES.get("no-account"), "x");
  });

  test("a base URL that ends in a slash, and an email address with an API key in place of a token, work", async () => {
    await run(onKeys("key put", "slash", "x"), { base: `${worker.baseUrl}/` });
    await run(onKeys("key put", "older key", "x"), { auth: { CLOUDFLARE_EMAIL: "a@example.com", CLOUDFLARE_API_KEY: WORKER_TOKEN } });
    assert.deepEqual([await WRITES.get("slash"), await WRITES.get("older key")], ["x", "x"]);
  });

  test("whoami accepts the token, and names the account", async () => {
    const { output } = await run(["whoami"], { account: undefined });
    assert.match(output, /kv-edge/);
  });

  test("errors are printed with the status or the code of the API", async () => {
    assert.match(await runToFail(onKeys("key get", "no such key")), /404/);
    assert.match(await runToFail(["kv", "key", "list", "--namespace-id", "0".repeat(32), "--remote"]), /list keys: 'namespace not found' \[code: 10013\]/);
    assert.match(await runToFail(onKeys("key put", "k", "v", "--ttl", "59")), /\[code: 10034\]|at least 60/);
    const many = Array.from({ length: 101 }, (_, number) => `k${number}`);
    assert.match(await runToFail(onKeys("bulk get", file("many.json", JSON.stringify(many)))), /maximum of 100 keys.*\[code: 10029\]/s);
    await assets.put("site/x", "kept");
    const onAssets = ["--namespace-id", "assets", "--remote"];
    assert.match(await runToFail(["kv", "key", "delete", "site/x", ...onAssets]), /KV_API_WRITABLE.*\[code: 10405\]/s);
    assert.match(await runToFail(["kv", "namespace", "delete", "--namespace-id", "assets", "--skip-confirmation"]), /\[code: 10405\]/);
    assert.equal(await assets.get("site/x"), "kept");
  });

  test("a wrong token, and a token of another scope, are refused with 10000", async () => {
    assert.match(await runToFail(onKeys("key put", "k-refused", "v"), { auth: { CLOUDFLARE_API_TOKEN: "wrong" } }), /\[code: 10000\]/);
    const scoped = { auth: { CLOUDFLARE_API_TOKEN: signToken({ prefix: "scoped/", write: true }) } };
    assert.match(await runToFail(onKeys("key put", "k-refused", "v"), scoped), /\[code: 10000\]/);
    assert.equal(await WRITES.get("k-refused"), null);
    await run(onKeys("key put", "scoped/k", "v"), scoped);
    assert.equal(await WRITES.get("scoped/k"), "v");
  });

  test("a key that is `..`, which no URL can carry, never deletes, shows or renames its namespace", async () => {
    const made = await run(["kv", "namespace", "create", uniqueName("dots")]);
    const [id] = /[0-9a-f]{32}/.exec(made.output);
    const on = ["--namespace-id", id, "--remote"];
    assert.match(await runToFail(["kv", "key", "delete", "..", ...on]), /\[code: 10030\]/);
    await runToFail(["kv", "key", "get", "..", ...on]);
    await runToFail(["kv", "key", "put", "..", '{"title":"renamed"}', ...on]);
    await run(["kv", "key", "list", ...on]);
  });
});

// The PyPI package `cloudflare`, unmodified, in a virtual environment of its own, with the KV REST
// API of the built Worker. Skipped if there is no Python, or pip cannot install the package.
import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ACCOUNT, BINARY, ODD_KEYS, startKvApi } from "./harness/kv-api.mjs";
import { pythonWith } from "./harness/python.mjs";
import { WORKER_TOKEN } from "./harness/worker.mjs";

const PACKAGE = "cloudflare==5.9.0";
const SCRIPT = fileURLToPath(new URL("fixtures/kv_api_client.py", import.meta.url));

const { run: runPython, missing } = await pythonWith(PACKAGE);

describe(`PyPI ${PACKAGE}`, { skip: missing }, async () => {
  const worker = await startKvApi();
  const { WRITES, assets } = worker.env;
  const values = join(mkdtempSync(join(tmpdir(), "kv-edge-python-")), "binary");
  writeFileSync(values, BINARY);
  await assets.put("kept", "v");
  const input = { account_id: ACCOUNT, token: WORKER_TOKEN, base_url: worker.baseUrl, keys: ODD_KEYS, file: values };

  /** Runs a function of the script. Returns what it returns. */
  const run = async (name) => {
    const { stdout } = await runPython([SCRIPT, name, JSON.stringify(input)]);
    return JSON.parse(stdout);
  };

  test("unusual keys are written, read and deleted", async () => {
    assert.deepEqual(await run("keys"), Object.fromEntries(ODD_KEYS.map((key) => [key, `of ${key}`])));
    for (const key of ODD_KEYS) assert.equal(await WRITES.get(key), null, key);
  });

  test("values pass byte for byte: empty, every byte, 25 MiB", async () => {
    assert.deepEqual(await run("values"), { empty: true, binary: true, longest: true });
    assert.ok(Buffer.from(await WRITES.get("python/binary", "arrayBuffer")).equals(BINARY));
    assert.equal((await WRITES.get("python/empty", "arrayBuffer")).byteLength, 0);
    assert.equal((await WRITES.get("python/longest", "arrayBuffer")).byteLength, 25 * 1024 * 1024);
  });

  test("metadata passes as text and as a dict, and the field `expiration` says when a key expires", async () => {
    const { of_text, of_dict, expiration } = await run("metadata");
    assert.deepEqual(of_text, { a: 1 });
    assert.deepEqual(of_dict, { a: 1, b: { c: "d" } });
    assert.deepEqual((await WRITES.getWithMetadata("python/dict")).metadata, of_dict);
    const { keys } = await WRITES.list({ prefix: "python/text" });
    assert.equal(expiration, String(keys[0].expiration));
  });

  test("bulk calls change 2,300 pairs, and the client lists them by pages", async () => {
    assert.deepEqual(await run("bulk"), { put: 2300, listed: 2300, distinct: 2300, got: "v7", deleted: 2300 });
    assert.deepEqual((await WRITES.list({ prefix: "python/bulk/" })).keys, []);
  });

  test("namespaces are made, renamed, listed and deleted", async () => {
    assert.deepEqual(await run("namespaces"), { title: "python renamed", value: "v", listed: true, after: [404, 10013] });
  });

  test("errors have the classes and codes that the client knows; a read-only namespace stays as it is", async () => {
    assert.deepEqual(await run("errors"), {
      missing_key: ["NotFoundError", 404, 10009],
      missing_namespace: ["NotFoundError", 404, 10013],
      wrong_token: ["AuthenticationError", 401, 10000],
      bad_ttl: ["BadRequestError", 400, 10034],
      read_only: ["PermissionDeniedError", 403, 10405],
    });
    assert.equal(await assets.get("kept"), "v");
  });

  test("an email address and an API key, the older credentials, work in place of a token", async () => {
    assert.deepEqual(await run("older_key"), { title: "WRITES", status: "active", accounts: 1 });
  });
});

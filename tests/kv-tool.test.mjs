// `kv-edge kv` against the real local KV: each of its commands, and that what is exported is
// imported again, byte for byte.
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { beforeEach, describe, test } from "node:test";
import { assertNoLeftovers, exportedPairs, makePairs, ODD_PAIRS, refuseBinaryBulkReads, startKvTool, summaryOf } from "./harness/kv-tool.mjs";
import { apiError } from "./harness/rest-api.mjs";
import { kindOfCall } from "./harness/rest-api-faults.mjs";
import { makeFolder, runTool } from "./harness/tool.mjs";

const tool = await startKvTool();
const { api } = tool;

beforeEach(() => {
  api.intercept = undefined;
});

describe("export and import", () => {
  for (const account of [false, true]) {
    for (const format of ["ndjson", "json"]) {
      test(`any keys and values pass through a file of ${format}, ${account ? "as in an account" : "locally"}`, async () => {
        const source = tool.namespace();
        const pairs = source.prefixed(ODD_PAIRS);
        await source.put(pairs);
        api.intercept = refuseBinaryBulkReads(source);
        const file = tool.file();
        const exact = account ? ["--exact"] : [];
        const { json } = await tool.succeed(["export", ...source.name, ...source.keys, "--format", format, "--output", file, "--json", ...exact], { account });
        assert.deepEqual([json.pairs, json.gone, json.bytes], [pairs.length, 0, readFileSync(file).length]);
        assertNoLeftovers(file);
        assert.deepEqual(summaryOf(exportedPairs(file)), summaryOf(pairs));
        const target = tool.namespace("USERS_NOTIFICATION_CONFIG", source.prefix);
        const imported = await tool.succeed(["import", file, ...target.name, "--json"], { account });
        assert.deepEqual([imported.json.read, imported.json.written], [pairs.length, pairs.length]);
        assertNoLeftovers(file);
        await target.assertHas(pairs);
      });
    }
  }

  test("texts are read a hundred at a time, and only values that may be binary one by one", async () => {
    const source = tool.namespace();
    const pairs = source.prefixed(makePairs(510));
    await source.put(pairs);
    for (const intercept of [refuseBinaryBulkReads(source), undefined]) {
      api.intercept = intercept;
      const file = tool.file();
      const { calls } = await tool.succeed(["export", ...source.name, ...source.keys, "--output", file], { account: true });
      assert.deepEqual(summaryOf(exportedPairs(file)), summaryOf(pairs));
      assert.ok(calls.length < 270, `${calls.length} calls`);
    }
  });

  test("an API without bulk reads is read key by key", async () => {
    const source = tool.namespace();
    await source.put(source.prefixed(makePairs(120)));
    api.intercept = (call, pass) => (call.path.endsWith("/bulk/get") ? apiError(404, 7000, "No route for that URI") : pass());
    const file = tool.file();
    await tool.succeed(["export", ...source.name, ...source.keys, "--output", file], { account: true });
    assert.equal(exportedPairs(file).length, 120);
  });

  test("without --output the pairs are written to stdout, in the order of the keys", async () => {
    const source = tool.namespace();
    await source.put(source.prefixed(makePairs(300)));
    const { stdout, stderr } = await tool.succeed(["export", ...source.name, ...source.keys]);
    const keys = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).key);
    assert.deepEqual(
      keys,
      source.prefixed(makePairs(300)).map(({ key }) => key),
    );
    assert.match(stderr, /exporting: 300 pairs/);
    await tool.fail(["export", ...source.name, "--json"], 2, "--json needs --output");
  });

  test("a dry run counts what an export would write, and writes nothing", async () => {
    const source = tool.namespace();
    await source.put(source.prefixed(makePairs(30)));
    const file = tool.file();
    const args = ["export", ...source.name, ...source.keys];
    const dry = await tool.succeed([...args, "--output", file, "--dry-run", "--json"]);
    assertNoLeftovers(file);
    assert.ok(!existsSync(file));
    assert.match((await tool.succeed([...args, "--dry-run"])).stdout, /^would export 30 pairs \(.* kB\)\n$/);
    const { json } = await tool.succeed([...args, "--output", file, "--json"]);
    assert.deepEqual([dry.json.dryRun, dry.json.pairs, dry.json.bytes], [true, json.pairs, json.bytes]);
    assert.equal(json.dryRun, false);
  });

  test("an empty export is an empty file, or an empty array", async () => {
    const source = tool.namespace();
    for (const [format, expected] of [
      ["ndjson", ""],
      ["json", "[]\n"],
    ]) {
      const file = tool.file();
      await tool.succeed(["export", ...source.name, ...source.keys, "--format", format, "--output", file]);
      assert.equal(readFileSync(file, "utf8"), expected);
      await tool.succeed(["import", file, ...source.name]);
    }
  });

  test("keys that are deleted during the export are counted", async () => {
    const source = tool.namespace();
    const pairs = source.prefixed(makePairs(20));
    await source.put(pairs);
    api.intercept = async (call, pass) => {
      const response = await pass();
      if (kindOfCall(call) === "list") await source.kv.delete(pairs[5].key);
      return response;
    };
    const file = tool.file();
    const { json } = await tool.succeed(["export", ...source.name, ...source.keys, "--output", file, "--json"]);
    assert.deepEqual([json.pairs, json.gone], [19, 1]);
  });

  test("values of 25 MiB pass", async () => {
    const target = tool.namespace();
    const value = Buffer.alloc(25 * 1024 * 1024, "0123456789é");
    const file = tool.file();
    const pair = { key: `${target.prefix}long`, value: value.toString("base64"), base64: true, metadata: { a: 1 } };
    writeFileSync(file, `${JSON.stringify(pair)}\n`);
    await tool.succeed(["import", file, ...target.name]);
    await target.assertHas([{ ...pair, value }]);
    const exported = tool.file();
    await tool.succeed(["export", ...target.name, ...target.keys, "--output", exported]);
    assert.ok(Buffer.from(exportedPairs(exported)[0].value).equals(value));
  });
});

describe("import", () => {
  const lines = (pairs) => pairs.map((pair) => `${JSON.stringify(pair)}\n`).join("");

  test("existing keys stop it before the first write, are kept, or are replaced", async () => {
    const target = tool.namespace();
    const [a, b, c] = target.prefixed(["a", "b", "c"].map((key) => ({ key, value: `new ${key}` })));
    const old = { ...b, value: "old", metadata: 1 };
    await target.put([old]);
    const input = lines([a, b, c]);
    const run = (...args) => ["import", "-", ...target.name, "--json", ...args];
    await tool.fail(run(), 1, `1 of the keys to write exist already: ${b.key}; nothing was written`, { input });
    await target.assertHas([old]);
    for (const [option, expected] of [
      ["--fail", [3, 2, 1]],
      ["--skip", [3, 2, 1]],
      ["--overwrite", [3, 3, 0]],
    ]) {
      const { json } = await tool.succeed(run("--dry-run", option), { input });
      assert.deepEqual([json.read, json.written, json.skipped], expected, option);
    }
    await target.assertHas([old]);
    const skipped = await tool.succeed(run("--skip"), { input });
    assert.deepEqual([skipped.json.written, skipped.json.skipped], [2, 1]);
    await target.assertHas([a, old, c]);
    const replaced = await tool.succeed(run("--overwrite"), { input });
    assert.deepEqual([replaced.json.written, replaced.json.skipped], [3, 0]);
    await target.assertHas([a, b, c]);
  });

  test("a pair that exists and has expired is counted once, and a dry run counts as the import does", async () => {
    const target = tool.namespace();
    const pairs = target.prefixed(["a", "b", "c"].map((key) => ({ key, value: "new", ...(key === "c" ? {} : { expiration: 1 }) })));
    await target.put(target.prefixed([{ key: "a", value: "old" }]));
    for (const options of [["--dry-run"], []]) {
      const { json } = await tool.succeed(["import", "-", ...target.name, "--json", "--skip", ...options], { input: lines(pairs) });
      assert.deepEqual([json.read, json.written, json.skipped, json.expired], [3, 1, 1, 1], options.join());
    }
  });

  test("the keys of a long file are compared with the list of keys", async () => {
    const target = tool.namespace();
    const pairs = target.prefixed(makePairs(1200));
    await target.put(pairs.slice(0, 1100));
    const { json, calls } = await tool.succeed(["import", "-", ...target.name, "--skip", "--json"], {
      input: lines(pairs.map(({ value, ...rest }) => ({ ...rest, value: String(value) }))),
    });
    assert.deepEqual([json.written, json.skipped], [100, 1100]);
    assert.ok(calls.length <= 5, `${calls.length} calls`);
  });

  test("a mistake in the last line is found before the first write", async () => {
    const target = tool.namespace();
    const [a, b] = target.prefixed(["a", "b"].map((key) => ({ key, value: "x" })));
    const run = (input, line, problem) => tool.fail(["import", "-", ...target.name], 1, `stdin line ${line}: ${problem}`, { input });
    await run(`${lines([a, b])}{"key":"c"}`, 3, "missing field `value`");
    await run(lines([a, b, a]), 3, `the key ${JSON.stringify(a.key)} occurs twice`);
    await run(lines([a, { ...b, metadata: "m".repeat(1023) }]), 2, `${JSON.stringify(b.key)}: the metadata has 1025 bytes`);
    await run(lines([a, b]).slice(0, -3), 2, "the pair is cut off");
    await target.assertHas([]);
  });

  test("a file that cannot be read ends a command with exit code 2, as a mistake in the command line does", async () => {
    const { name } = tool.namespace();
    for (const path of [tool.file(), tool.folder]) {
      await tool.fail(["import", path, ...name], 2, "it cannot be read");
      await tool.fail(["put", "key", "--file", path, ...name], 2, "it cannot be read");
    }
    for (const args of [
      ["assets", "push", tool.file(), "--json"],
      ["config", "sync", "--query", " "],
    ]) {
      assert.equal((await runTool([...args, "--local"])).code, 2, args.join(" "));
    }
  });

  test("an export that cannot replace what has the name of its file says so, and where the pairs are", async () => {
    const source = tool.namespace();
    await source.put(source.prefixed([{ key: "a", value: "x" }]));
    const folder = makeFolder({});
    const problem = `${folder}: it cannot be written: `;
    const { stderr } = await tool.fail(["export", ...source.name, ...source.keys, "--output", folder], 1, problem);
    assert.ok(stderr.includes(`; the pairs are in ${folder}.partial`), stderr);
    assert.match(readFileSync(`${folder}.partial`, "utf8"), /^\{.*"x".*\}\n$/);
  });

  test("pairs that have expired are not written, and pairs that soon expire are kept for two minutes", async () => {
    const target = tool.namespace();
    const now = Math.floor(Date.now() / 1000);
    const [gone, soon, later] = target.prefixed([
      { key: "gone", value: "x", expiration: now - 1 },
      { key: "soon", value: "x", expiration: now + 30 },
      { key: "later", value: "x", expiration_ttl: 600 },
    ]);
    const { json } = await tool.succeed(["import", "-", ...target.name, "--json"], { input: JSON.stringify([gone, soon, later]) });
    assert.deepEqual([json.read, json.written, json.expired], [3, 2, 1]);
    const { keys } = await target.kv.list({ prefix: target.prefix });
    assert.deepEqual(
      keys.map(({ name }) => name),
      [later.key, soon.key],
    );
    assert.ok(keys[1].expiration >= now + 100 && keys[0].expiration >= now + 600);
  });
});

describe("copy", () => {
  test("pairs are copied with metadata and expiration, and existing keys are kept or replaced", async () => {
    const source = tool.namespace();
    const target = tool.namespace("USERS_NOTIFICATION_CONFIG", source.prefix);
    const pairs = source.prefixed(ODD_PAIRS);
    await source.put(pairs);
    const run = (...args) => ["copy", ...source.name, "--to-namespace", target.binding, ...source.keys, "--json", ...args];
    const dry = await tool.succeed(run("--dry-run"));
    assert.deepEqual([dry.json.read, dry.json.written], [pairs.length, pairs.length]);
    await target.assertHas([]);
    await tool.succeed(run());
    await target.assertHas(pairs);
    await tool.fail(run(), 1, `${pairs.length} of the keys to write exist already`);
    await target.kv.delete(pairs[0].key);
    const { json, calls } = await tool.succeed(run("--skip"));
    assert.deepEqual([json.read, json.written, json.skipped], [pairs.length, 1, pairs.length - 1]);
    assert.equal(calls.filter((call) => kindOfCall(call) === "read").length, 1, "values of existing keys are not read");
    await target.kv.put(pairs[1].key, "changed");
    await tool.succeed(run("--overwrite"));
    await target.assertHas(pairs);
  });

  test("pairs are copied from an account to the local KV and back, each with its own token", async () => {
    const source = tool.namespace();
    const target = tool.namespace("USERS_NOTIFICATION_CONFIG", source.prefix);
    const pairs = source.prefixed(makePairs(250));
    await source.put(pairs);
    api.intercept = refuseBinaryBulkReads(source);
    const to = ["--to-namespace", target.binding];
    await tool.succeed(["copy", ...source.name, ...to, ...source.keys, `--to-local=${api.base}`], { account: true });
    await target.assertHas(pairs);
    const back = ["copy", ...target.name, "--to-namespace", source.binding, ...source.keys, "--overwrite", "--to-api-base", api.accountBase];
    await tool.succeed(back, { env: { CLOUDFLARE_ACCOUNT_ID: "0123456789abcdef0123456789abcdef", TO_CLOUDFLARE_API_TOKEN: "a-secret-token-of-the-tests" } });
    const token = "a-secret-token-of-the-tests";
    const fromLocal = { env: { CLOUDFLARE_ACCOUNT_ID: "0123456789abcdef0123456789abcdef", CLOUDFLARE_API_TOKEN: token } };
    const { calls } = await tool.fail(back, 1, "TO_CLOUDFLARE_API_TOKEN is not set", fromLocal);
    assert.ok(
      calls.every(({ headers }) => headers?.authorization === undefined),
      "the token of the source goes to no other API",
    );
    // A token is meant for one API.
    await tool.fail(["copy", ...source.name, ...to, "--to-api-base", "http://127.0.0.1:9/client/v4"], 1, "TO_CLOUDFLARE_API_TOKEN is not set", {
      account: true,
    });
    await tool.fail(["copy", ...source.name, "--to-namespace", source.binding], 2, "the same namespace");
  });
});

describe("delete", () => {
  test("all keys with a prefix are counted, and deleted only with --yes", async () => {
    const target = tool.namespace();
    const other = tool.namespace("WRITES", `${target.prefix.slice(0, -1)}-other:`);
    await target.put(target.prefixed(makePairs(1100)));
    await other.put(other.prefixed(makePairs(3)));
    const run = (...args) => ["delete", ...target.name, ...target.keys, "--json", ...args];
    await tool.fail(run(), 2, "--yes deletes them without asking");
    const dry = await tool.succeed(run("--dry-run"));
    assert.equal(dry.json.deleted, 1100);
    assert.ok(dry.calls.every((call) => kindOfCall(call) !== "delete"));
    const { json } = await tool.succeed(run("--yes"));
    assert.equal(json.deleted, 1100);
    await target.assertHas([]);
    await other.assertHas(other.prefixed(makePairs(3)));
  });

  test("exactly the keys that were counted are deleted, not those that come later", async () => {
    const target = tool.namespace();
    await target.put(target.prefixed(makePairs(3)));
    const late = { key: `${target.prefix}late`, value: "x" };
    let lists = 0;
    api.intercept = async (call, pass) => {
      if (kindOfCall(call) === "list") {
        lists += 1;
        if (lists === 2) await target.kv.put(late.key, late.value);
      }
      return pass();
    };
    const { json } = await tool.succeed(["delete", ...target.name, ...target.keys, "--yes", "--json"]);
    assert.deepEqual([lists, json.deleted], [2, 3]);
    await target.assertHas([late]);
  });

  test("named keys are deleted, and an empty prefix is refused", async () => {
    const target = tool.namespace();
    const pairs = target.prefixed(ODD_PAIRS);
    await target.put(pairs);
    await tool.succeed(["delete", ...target.name, ...pairs.slice(2).map(({ key }) => key), `${target.prefix}missing`]);
    await target.assertHas(pairs.slice(0, 2));
    await tool.fail(["delete", ...target.name, "--prefix", "", "--yes"], 2, "--all deletes them");
    await tool.fail(["delete", ...target.name, "--yes"], 2, "required");
  });
});

test("import sends metadata with every digit and in the order of their members", async () => {
  const target = tool.namespace();
  const pairOf = (key) => `{"key":"${target.prefix}${key}","value":"x","metadata":{"lat":31.245270191439438,"a":[18446744073709551617,1.50],"é":"\\u00e9"}}\n`;
  const sent = [];
  api.intercept = (call, pass) => {
    if (kindOfCall(call) === "write") sent.push(String(call.body));
    return pass();
  };
  await tool.succeed(["import", "-", ...target.name], { input: pairOf("a") });
  assert.ok(sent[0].includes(pairOf("a").split('"metadata":')[1].trim().slice(0, -1)), sent[0]);
});

describe("ls, get and put", () => {
  test("a key that ends one page of the list and begins the next is one key", async () => {
    const pages = { "": [["a/1", "a/2"], "2"], 2: [[], "3"], 3: [["a/2", "b"], ""] };
    api.intercept = (call, pass) => {
      if (kindOfCall(call) !== "list") return pass();
      const [names, cursor] = pages[new URL(call.path, "http://api").searchParams.get("cursor") ?? ""];
      const result = names.map((name) => ({ name }));
      return { status: 200, body: JSON.stringify({ success: true, errors: [], messages: [], result, result_info: { cursor } }) };
    };
    assert.equal((await tool.succeed(["ls", ...tool.namespace().name])).stdout, "b\na/  (2 keys)\n");
    assert.equal((await tool.succeed(["ls", "--recursive", ...tool.namespace().name])).stdout, "a/1\na/2\nb\n");
  });

  test("keys are listed as folders", async () => {
    const target = tool.namespace();
    const keys = ["a/1", "a/2/x", "a/2/y", "b", "c:1", "a"];
    await target.put(target.prefixed(keys.map((key) => ({ key, value: "x" }))));
    const ls = async (prefix, ...args) => (await tool.succeed(["ls", target.prefix + prefix, ...target.name, ...args])).stdout.replaceAll(target.prefix, "");
    assert.equal(await ls(""), "a\nb\nc:1\na/  (3 keys)\n");
    assert.equal(await ls("a/"), "a/1\na/2/  (2 keys)\n");
    assert.equal(await ls("c", "--delimiter", ":"), "c:  (1 key)\n");
    assert.equal(await ls("a", "--recursive"), "a\na/1\na/2/x\na/2/y\n");
    const { json } = await tool.succeed(["ls", `${target.prefix}a/`, ...target.name, "--json"]);
    assert.deepEqual(
      { ...json, calls: 0 },
      {
        prefix: `${target.prefix}a/`,
        folders: [{ prefix: `${target.prefix}a/2/`, keys: 2 }],
        keys: [{ name: `${target.prefix}a/1` }],
        calls: 0,
      },
    );
  });

  test("put and get pass bytes, metadata and expiration, and refuse mistakes", async () => {
    const target = tool.namespace();
    const key = `${target.prefix}ü/ %2F`;
    const file = tool.file("value");
    const value = Buffer.from([0, 255, 10, 128]);
    writeFileSync(file, value);
    await tool.succeed(["put", key, "--file", file, ...target.name, "--metadata", '{"a":1}', "--expiration", "4000000000"]);
    await target.assertHas([{ key, value, metadata: { a: 1 }, expiration: 4_000_000_000 }]);
    const { json } = await tool.succeed(["get", key, ...target.name, "--json"]);
    assert.deepEqual(json, { key, value: value.toString("base64"), base64: true, metadata: { a: 1 }, expiration: 4_000_000_000 });
    await tool.succeed(["put", key, "text", ...target.name, "--ttl", "60"]);
    api.intercept = (call, pass) =>
      kindOfCall(call) === "list"
        ? { status: 200, body: JSON.stringify({ success: true, errors: [], messages: [], result: [], result_info: { cursor: "" } }) }
        : pass();
    await tool.fail(["get", key, ...target.name, "--json"], 1, "metadata and expiration are not known yet");
    api.intercept = undefined;
    assert.equal((await tool.succeed(["get", key, ...target.name])).stdout, "text");
    await tool.succeed(["put", key, "--file", "-", ...target.name], { input: "" });
    await target.assertHas([{ key, value: "" }]);
    await tool.succeed(["put", key, "changed", ...target.name, "--dry-run"]);
    await target.assertHas([{ key, value: "" }]);
    await tool.fail(["get", `${key}x`, ...target.name], 1, "there is no key");
    await tool.fail(["put", "..", "x", ...target.name], 1, 'The key is "." or ".."');
    await tool.fail(["put", key, "x", ...target.name, "--ttl", "59"], 2, "from 60");
    await tool.fail(["put", key, ...target.name], 2, "required");
    await tool.fail(["get", key], 2, "--namespace");
  });
});

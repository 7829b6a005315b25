// The fixture of the tests of `kv-edge kv` and of files of pairs: the real tool, the KV of a
// running Worker, and the REST API between the two, whose calls a test may intercept.
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { uniqueName } from "./names.mjs";
import { ACCOUNT_ID, apiFor, CLOUDFLARE_TOKEN, EXPLORER_ITEMS_MAX } from "./rest-api.mjs";
import { makeFolder, runTool } from "./tool.mjs";
import { startWorker } from "./worker.mjs";

/** The environment of a run against the API as in a Cloudflare account. */
const ACCOUNT = { CLOUDFLARE_ACCOUNT_ID: ACCOUNT_ID, CLOUDFLARE_API_TOKEN: CLOUDFLARE_TOKEN };

/** Pairs that are easily broken: odd keys, texts and bytes, metadata, an expiration. */
export const ODD_PAIRS = [
  { key: "a b/ü/%2F?x=1#y&z+", value: "percent, space, question mark" },
  { key: "/leading//double/", value: "" },
  { key: "emoji/😀", value: '😀 \u0000 " \\ \n\r\n\t' },
  { key: "...", value: "three dots" },
  { key: "zz\nline", value: "a key with a line feed" },
  { key: "binary", value: Buffer.from([0, 255, 254, 128, 10, 13]) },
  { key: "replacement", value: "the character \uFFFD itself" },
  { key: "byte-order-mark", value: "\uFEFFtext" },
  { key: "metadata", value: "x", metadata: { b: [1, null, "é"], a: { "": true } } },
  { key: "text-metadata", value: "x", metadata: "only text" },
  { key: "later", value: "x", metadata: 1, expiration: 2_000_000_000 },
];

/** Returns `count` pairs, some of them binary, some with metadata or an expiration. */
export const makePairs = (count) =>
  Array.from({ length: count }, (_, n) => ({
    key: `k${String(n).padStart(6, "0")}`,
    value: n % 50 === 7 ? Buffer.from([n % 256, 255, 0]) : `value ${n}`,
    ...(n % 3 === 0 && { metadata: { n } }),
    ...(n % 10 === 0 && { expiration: 2_000_000_000 + n }),
  }));

/** Starts a Worker and the API for a test file. */
export async function startKvTool({ vars } = {}) {
  const worker = await startWorker({ restApi: true, vars });
  return new KvTool(worker, await apiFor(worker));
}

class KvTool {
  constructor(worker, api) {
    this.worker = worker;
    this.api = api;
    this.folder = makeFolder({});
  }

  /** Returns the path of a file that does not exist yet. */
  file = (name = "pairs.ndjson") => join(this.folder, `${uniqueName("file")}-${name}`);

  /** Returns a file with these pairs, as `export` writes it. */
  writeInput(pairs) {
    const file = this.file();
    const written = ({ value, ...rest }) => (Buffer.isBuffer(value) ? { value: value.toString("base64"), base64: true, ...rest } : { value, ...rest });
    writeFileSync(file, pairs.map((pair) => `${JSON.stringify(written(pair))}\n`).join(""));
    return file;
  }

  /** Returns a namespace of the Worker: an object whose keys begin with a prefix of its own. */
  namespace(binding = "WRITES", prefix = `${uniqueName("n")}:`) {
    return new TestNamespace(this, binding, prefix);
  }

  /**
   * Runs `kv-edge kv …`: `{ code, signal, stdout, stderr, json, calls }`. `json` is the line of
   * `--json`, parsed. With `account` the API is that of a Cloudflare account, otherwise that of
   * `wrangler dev`; `base` is the address of another one.
   */
  async run(args, { account = false, base, env = {}, ...options } = {}) {
    const { api } = this;
    const before = api.calls.length;
    const result = await runTool(["kv", ...args.map(String), "--api-base", base ?? (account ? api.accountBase : api.base)], {
      env: { ...(account && ACCOUNT), ...env },
      ...options,
    });
    assert.ok(!`${result.stdout}${result.stderr}`.includes(CLOUDFLARE_TOKEN), "the token shows");
    const json = args.includes("--json") && result.stdout ? JSON.parse(result.stdout) : undefined;
    return { ...result, json, calls: api.calls.slice(before) };
  }

  /** Runs a command that has to succeed. */
  async succeed(args, options) {
    const result = await this.run(args, options);
    assert.equal(result.code, 0, `${args.join(" ")}\n${result.stdout}${result.stderr}`);
    return result;
  }

  /** Runs a command that has to fail with this code and this text in its message. */
  async fail(args, code, text, options) {
    const result = await this.run(args, options);
    assert.equal(result.code, code, `${args.join(" ")}\n${result.stdout}${result.stderr}`);
    assert.ok(result.stderr.includes(text), `${JSON.stringify(text)} is not in: ${result.stderr}`);
    return result;
  }
}

class TestNamespace {
  constructor(tool, binding, prefix) {
    Object.assign(this, { tool, binding, prefix, kv: tool.worker.env[binding] });
    /** The keys that `put` gave a value that is not text. */
    this.binaryKeys = new Set();
    /** The arguments of the namespace, and of its keys. */
    this.name = ["--namespace", binding];
    this.keys = ["--prefix", prefix];
  }

  /** Returns pairs with the prefix in their keys. */
  prefixed = (pairs) => pairs.map((pair) => ({ ...pair, key: this.prefix + pair.key }));

  /** Puts pairs into KV. */
  async put(pairs) {
    for (const { key, value } of pairs) if (!Buffer.from(String(value)).equals(Buffer.from(value))) this.binaryKeys.add(key);
    const id = await this.#id();
    for (let from = 0; from < pairs.length; from += EXPLORER_ITEMS_MAX) {
      const items = pairs.slice(from, from + EXPLORER_ITEMS_MAX).map(asItem);
      await this.tool.api.forwardItems({ method: "PUT", path: `/storage/kv/namespaces/${id}/bulk` }, items);
    }
    return this;
  }

  async #id() {
    const found = await fetch(`${this.tool.api.base}/storage/kv/namespaces`).then((response) => response.json());
    return found.result.find(({ id, title }) => [id, title].includes(this.binding)).id;
  }

  /**
   * Returns what KV has under the prefix, as `summaryOf` shows it. The values of `texts`, a set of
   * keys, are read a hundred at a time, which takes a sixth of the CPU time: as text, so bytes
   * that are not UTF-8 show as U+FFFD.
   */
  async stored(texts = new Set()) {
    const pairs = [];
    for (let page; !page?.list_complete; ) {
      page = await this.kv.list({ prefix: this.prefix, cursor: page?.cursor });
      for (const { name, metadata, expiration } of page.keys) pairs.push({ key: name, metadata, expiration });
    }
    const values = new Map();
    const [together, alone] = [pairs.filter(({ key }) => texts.has(key)), pairs.filter(({ key }) => !texts.has(key))].map((some) => some.map(({ key }) => key));
    while (together.length > 0) for (const [key, value] of await this.kv.get(together.splice(0, 100))) values.set(key, value);
    const read = async (key) => values.set(key, Buffer.from(await this.kv.get(key, "arrayBuffer")));
    while (alone.length > 0) await Promise.all(alone.splice(0, 100).map(read));
    return summaryOf(pairs.map((pair) => ({ ...pair, value: values.get(pair.key) })));
  }

  /** Checks that KV has exactly these pairs under the prefix. */
  async assertHas(pairs) {
    const texts = pairs.filter(({ value }) => typeof value === "string" && value.length < 1000 && !/^\uFEFF|\uFFFD/.test(value));
    const stored = await this.stored(new Set(texts.map(({ key }) => key)));
    const expected = summaryOf(pairs);
    assert.equal(stored.length, expected.length);
    assert.deepEqual(stored.filter((line, at) => line !== expected[at]).slice(0, 3), expected.filter((line, at) => line !== stored[at]).slice(0, 3));
  }
}

/** Returns a pair as an item of a bulk write. */
const asItem = ({ key, value, ...rest }) => ({ key, value: Buffer.from(value).toString("base64"), base64: true, ...rest });

/** Returns pairs as texts that can be compared, in the order of their keys. */
export function summaryOf(pairs) {
  const sorted = pairs.toSorted((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
  return sorted.map(({ key, value, metadata = null, expiration = null }) =>
    JSON.stringify([key, Buffer.from(value).toString("base64"), sortedMembers(metadata), expiration]),
  );
}

const sortedMembers = (json) =>
  json !== null && typeof json === "object" && !Array.isArray(json)
    ? Object.fromEntries(
        Object.entries(json)
          .sort()
          .map(([name, value]) => [name, sortedMembers(value)]),
      )
    : json;

/** Returns the pairs of an exported file. Checks that no key is in it twice. */
export function exportedPairs(path) {
  const text = readFileSync(path, "utf8");
  const pairs = text.startsWith("[")
    ? JSON.parse(text)
    : text
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line));
  assert.equal(new Set(pairs.map(({ key }) => key)).size, pairs.length, "a key occurs twice");
  return pairs.map(({ base64 = false, value, ...rest }) => ({ ...rest, value: base64 ? Buffer.from(value, "base64") : value }));
}

/** Checks that a command left no other file beside its result. */
export function assertNoLeftovers(path) {
  for (const suffix of [".state", ".state.new", ".partial"]) assert.ok(!existsSync(path + suffix), `${path}${suffix} is left`);
}

/** Refuses bulk reads of values that are not text, as Cloudflare does. */
export const refuseBinaryBulkReads = (namespace) => (call, pass) => {
  if (!call.path.endsWith("/bulk/get")) return pass();
  const isText = JSON.parse(call.body).keys.every((key) => !namespace.binaryKeys.has(key));
  const body = JSON.stringify({
    success: false,
    result: null,
    messages: [],
    errors: [{ code: 10029, message: "bulk get keys: 'At least one of the requested keys corresponds to a non-text value'" }],
  });
  return isText ? pass() : { status: 400, headers: { "Content-Type": "application/json" }, body };
};

/**
 * Returns a function for each command that moves pairs. It prepares this many pairs, and returns
 * the command's arguments, the namespace, the figures of `--json`, and `assertDone`, which checks
 * that all pairs were moved. The state of a copy is in a file that its arguments name.
 */
export const movingCommands = (tool) => ({
  async export(count) {
    const source = tool.namespace();
    const pairs = source.prefixed(makePairs(count));
    await source.put(pairs);
    const file = tool.file();
    const assertDone = () => {
      assert.deepEqual(summaryOf(exportedPairs(file)), summaryOf(pairs));
      assertNoLeftovers(file);
    };
    return { args: ["export", ...source.name, ...source.keys, "--output", file], assertDone, namespace: source, figures: { pairs: count, gone: 0 } };
  },
  async import(count) {
    const target = tool.namespace();
    const pairs = target.prefixed(makePairs(count));
    const file = tool.writeInput(pairs);
    const assertDone = async () => {
      await target.assertHas(pairs);
      assertNoLeftovers(file);
    };
    return { args: ["import", file, ...target.name], assertDone, namespace: target, figures: { read: count, written: count, skipped: 0, expired: 0 } };
  },
  async copy(count) {
    const source = tool.namespace();
    const target = tool.namespace("USERS_NOTIFICATION_CONFIG", source.prefix);
    const pairs = source.prefixed(makePairs(count));
    await source.put(pairs);
    const state = tool.file("state");
    const assertDone = async () => {
      await target.assertHas(pairs);
      assert.ok(!existsSync(state));
    };
    const args = ["copy", ...source.name, "--to-namespace", target.binding, ...source.keys, "--state", state];
    return { args, assertDone, namespace: source, figures: { read: count, written: count, skipped: 0, expired: 0 } };
  },
});

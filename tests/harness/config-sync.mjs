// The fixture of the `kv-edge config sync` tests: tables in a real PostgreSQL, the real tool, and
// the KV of a running Worker behind a REST API whose calls a test may intercept.
//
// No run of the tool may print a secret: `Sync.run` searches its output for every id, value,
// password and token.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { PASSWORD, startPostgres } from "./postgres.mjs";
import { apiFor, CLOUDFLARE_TOKEN, EXPLORER_ITEMS_MAX } from "./rest-api.mjs";
import { runTool } from "./tool.mjs";
import { startWorker } from "./worker.mjs";

/** Part of every id, text and password. The tool prints none of them, so it may not print this. */
export const SECRET_MARK = "qzx";
const SECRETS = [SECRET_MARK, PASSWORD, encodeURIComponent(PASSWORD), CLOUDFLARE_TOKEN];

const EXPLORER = "/cdn-cgi/local/explorer/api";
/** The most keys of a bulk read. */
const READ_MAX = 100;

/** Returns the id of a row. */
export const userId = (name) => `${SECRET_MARK}-${name}`;

/** Returns `count` different rows by id, the first of them number `from`. */
export const makeRows = (count, { from = 0, plan = "free" } = {}) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [userId(String(from + n).padStart(5, "0")), { on: n % 2 === 0, plan: `${SECRET_MARK} ${plan}` }]));

/** Returns the hash that the tool stores for a value: the first 128 bits of SHA-256. */
export const hashOf = (value) => createHash("sha256").update(value).digest("hex").slice(0, 32);

/** Compares two texts by their bytes, for `sort`. */
export const compareBytes = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));

/**
 * Syncs a table of `count` rows, then changes it. The next sync has to update a quarter of the
 * rows, insert another quarter, delete a tenth, and write the snapshot. `assertAllSynced` checks
 * all of it.
 */
export async function tableWithPendingChanges(sync, count = 20) {
  const users = await sync.table(makeRows(count));
  const snapshot = `snapshot-of-${users.name}`;
  await users.sync(["--snapshot", snapshot]);
  await users.set({ ...makeRows(count / 4, { from: count / 2, plan: "pro" }), ...makeRows(count / 4, { from: count }) });
  await users.delete(...Object.keys(makeRows(count / 10)));
  const assertAllSynced = async () => {
    await users.assertSynced();
    const { value, metadata } = (await sync.kvEntries(snapshot)).get(snapshot);
    const { hash, count, text } = users.expectedSnapshot();
    assert.equal(value, `{"format":1,"version":${metadata.snapshot.version},"hash":"${hash}","count":${count},"records":${text}}`);
  };
  return { users, args: ["--snapshot", snapshot], assertAllSynced };
}

/** Starts a database, a Worker, and the API between the tool and KV, for a test file. */
export async function startSync({ tls, vars } = {}) {
  const [worker, database] = await Promise.all([startWorker({ vars, restApi: true }), startPostgres({ tls })]);
  after(() => database.stop());
  const api = await apiFor(worker);
  const found = await fetch(new URL(`${EXPLORER}/storage/kv/namespaces`, worker.url)).then((response) => response.json());
  const namespace = found.result.find(({ id, title }) => [id, title].includes("USER_CONFIGURATION")).id;
  return new Sync({ worker, database, api, namespace });
}

class Sync {
  #tables = 0;

  constructor(parts) {
    Object.assign(this, parts);
    this.kv = this.worker.env.USER_CONFIGURATION;
  }

  /**
   * Creates a table of users with its own prefix in KV, beside keys that do not belong to the
   * sync.
   */
  async table(rows = {}, { prefix } = {}) {
    this.#tables += 1;
    const table = new Table(this, `users_${this.#tables}`, prefix ?? `p${this.#tables}:`);
    await this.database.query(`CREATE TABLE ${table.name} (id text, preview_features_enabled boolean, plan text)`);
    await table.set(rows);
    await table.addEntriesOfOthers();
    return table;
  }

  /**
   * Runs `kv-edge config …`: `{ code, signal, stdout, stderr, lines, summary, calls }`. `lines`
   * are those of `--json`, parsed; `calls` are the API calls of this run.
   */
  async run(args, { env = {}, running, api = true } = {}) {
    const before = this.api.calls.length;
    const result = await runTool(["config", ...args, ...(api ? ["--api-base", this.api.base] : [])], {
      env: { DATABASE_URL: this.database.url(), ...env },
      running,
    });
    for (const secret of SECRETS)
      assert.ok(!(result.stdout + result.stderr).includes(secret), `${JSON.stringify(secret)} shows in: ${result.stdout}${result.stderr}`);
    const lines = args.includes("--json")
      ? result.stdout
          .split("\n")
          .filter(Boolean)
          .map((line) => JSON.parse(line))
      : [];
    return { ...result, lines, summary: lines.at(-1), calls: this.api.calls.slice(before) };
  }

  /** Puts `[{ key, value, metadata }]` into KV. */
  async put(items) {
    const path = `/storage/kv/namespaces/${this.namespace}/bulk`;
    for (let from = 0; from < items.length; from += EXPLORER_ITEMS_MAX)
      await this.api.forwardItems({ method: "PUT", path }, items.slice(from, from + EXPLORER_ITEMS_MAX));
  }

  /** Returns everything in KV under a prefix: `Map { key → { value, metadata } }`. */
  async kvEntries(prefix = "") {
    const listed = [];
    for (let page; !page?.list_complete; ) {
      page = await this.kv.list({ prefix, cursor: page?.cursor });
      listed.push(...page.keys);
    }
    const all = new Map();
    for (let from = 0; from < listed.length; from += READ_MAX) {
      const keys = listed.slice(from, from + READ_MAX);
      const names = keys.map(({ name }) => name);
      // Together they may be longer than a bulk read may be.
      const values = await this.kv.get(names).catch(async () => new Map(await Promise.all(names.map(async (name) => [name, await this.kv.get(name)]))));
      for (const { name, metadata = null } of keys) all.set(name, { value: values.get(name), metadata });
    }
    return all;
  }
}

class Table {
  #sync;

  constructor(sync, name, prefix) {
    this.#sync = sync;
    this.name = name;
    this.prefix = prefix;
    this.query = `SELECT id, preview_features_enabled, plan FROM ${name}`;
    /** The rows of the table: `Map { id → { on, plan } }`. */
    this.rows = new Map();
    /** What KV has that does not belong to the sync: `Map { key → { value, metadata } }`. */
    this.entriesOfOthers = new Map();
  }

  /** Inserts rows; replaces rows with the same ids. */
  async set(rows) {
    const ids = Object.keys(rows);
    if (ids.length === 0) return;
    const { database } = this.#sync;
    await database.query(`DELETE FROM ${this.name} WHERE id = ANY($1::text[])`, [ids]);
    const columns = [ids, ids.map((id) => rows[id].on), ids.map((id) => rows[id].plan)];
    await database.query(`INSERT INTO ${this.name} SELECT * FROM unnest($1::text[], $2::boolean[], $3::text[])`, columns);
    for (const id of ids) this.rows.set(id, rows[id]);
  }

  async delete(...ids) {
    await this.#sync.database.query(`DELETE FROM ${this.name} WHERE id = ANY($1::text[])`, [ids]);
    for (const id of ids) this.rows.delete(id);
  }

  /**
   * Puts keys that do not belong to the sync: before, between and after its own, without metadata,
   * with metadata of another program, and under another prefix.
   */
  async addEntriesOfOthers() {
    const { prefix } = this;
    const plant = (key, value, metadata = null) => this.entriesOfOthers.set(key, { value, metadata });
    plant(`${prefix}!${SECRET_MARK}`, "by hand");
    plant(`${prefix}${userId("00001x")}`, "of another prefix", { sync: { prefix: `${prefix}x`, hash: hashOf("") } });
    plant(`${prefix}${userId("00002x")}`, "of something else", { sync: true, prefix });
    plant(`${prefix}~${SECRET_MARK}`, "last", { plan: "by hand" });
    const items = [...this.entriesOfOthers].map(([key, { value, metadata }]) => ({ key, value, ...(metadata && { metadata }) }));
    await this.#sync.put(items);
  }

  /** Returns the key that the tool has to write for a row, and its value and metadata. */
  expectedEntry(id, { on, plan } = this.rows.get(id)) {
    const value = JSON.stringify({ preview_features_enabled: on, plan });
    return [this.prefix + id, { value, metadata: { sync: { prefix: this.prefix, hash: hashOf(value) } } }];
  }

  /** Returns what the snapshot has to contain, without its version. */
  expectedSnapshot() {
    const records = [...this.rows.keys()].sort(compareBytes).map((id) => `${JSON.stringify(id)}:${this.expectedEntry(id)[1].value}`);
    const text = `{${records.join(",")}}`;
    return { hash: hashOf(text), count: records.length, text };
  }

  arguments(...args) {
    return ["sync", "--query", this.query, "--prefix", this.prefix, ...args];
  }

  /** Runs the sync and returns its result, whether it succeeds or not. */
  run(args = [], { json = true, ...options } = {}) {
    return this.#sync.run([...this.arguments(...args), ...(json ? ["--json"] : [])], options);
  }

  /** Runs the sync, which has to succeed with these figures in its summary. */
  async sync(args, expected = {}) {
    const result = await this.run(args);
    assert.equal(result.code, 0, `${result.stdout}${result.stderr}`);
    assertFigures(result, expected);
    return result;
  }

  /**
   * Checks that KV has exactly the rows of the table, and still has the keys of others. Keys in
   * `except` are not compared.
   */
  async assertSynced({ except = [] } = {}) {
    const stored = await this.#sync.kvEntries(this.prefix);
    const expected = new Map([...this.entriesOfOthers, ...[...this.rows.keys()].map((id) => this.expectedEntry(id))]);
    for (const key of except) for (const entries of [stored, expected]) entries.delete(key);
    const problems = [];
    for (const [key, entry] of expected) {
      const found = stored.get(key);
      if (!isDeepStrictEqual(found, entry)) problems.push(`${key}: ${JSON.stringify(found)}, not ${JSON.stringify(entry)}`);
    }
    for (const key of stored.keys()) if (!expected.has(key)) problems.push(`${key} is still there`);
    assert.deepEqual(problems.slice(0, 5), [], `${problems.length} keys differ`);
  }
}

/** Checks that the summary has these figures. */
export function assertFigures({ summary, stdout, stderr }, expected) {
  const found = Object.fromEntries(Object.keys(expected).map((name) => [name, summary?.[name]]));
  assert.deepEqual(found, expected, `${stdout}${stderr}`);
}

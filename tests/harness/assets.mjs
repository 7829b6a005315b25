// The fixture of the tests of static files: a Worker, and the tool that pushes folders into its
// namespace `assets`.
import assert from "node:assert/strict";
import { eventually } from "./eventually.mjs";
import { send } from "./http.mjs";
import { apiFor, callExplorer, EXPLORER_ITEMS_MAX } from "./rest-api.mjs";
import { makeFolder, runTool } from "./tool.mjs";
import { startWorker } from "./worker.mjs";

/** Returns a page whose title is its name. */
export const titledPage = (name) => `<!doctype html><title>${name}</title>`;

const PAGES = ["index.html", "file.html", "folder/index.html", "folder/deep/page.html", "both.html", "both/index.html", "a b.html", "über/ß.html"];

/** Files for tests of paths: pages in folders, two 404 pages, and files of other types. */
export const EXAMPLE_FILES = {
  ...Object.fromEntries(PAGES.map((path) => [path, titledPage(path)])),
  "style.css": "body {}",
  "folder/data.json": "{}",
  "no-extension": "bytes",
  "404.html": titledPage("root 404"),
  "folder/404.html": titledPage("folder 404"),
};

/** Pushes a folder into the `assets` namespace. Fails if the tool does. */
export async function pushAssets(worker, folder, args = []) {
  const { base } = await apiFor(worker);
  const result = await runTool(["assets", "push", folder, "--api-base", base, ...args]);
  assert.equal(result.code, 0, `${result.stdout}\n${result.stderr}`);
  return result;
}

/**
 * Starts a Worker for a test file, whose KV calls are counted and can fail. It reads the pointer
 * to the release at every request, so that a push takes effect at once; `refresh` sets another
 * `ASSETS_REFRESH`.
 */
export async function startAssets({ refresh = "0", vars, ...options } = {}) {
  const worker = await startWorker({ faulty: true, restApi: true, vars: { ASSETS_REFRESH: refresh, ...vars }, ...options });
  return new Assets(worker, await apiFor(worker));
}

class Assets {
  constructor(worker, api) {
    this.worker = worker;
    this.api = api;
    /** The real `assets` namespace. */
    this.kv = worker.env.assets;
  }

  /** Pushes these files, or an existing folder. Fails if the tool does. */
  push(files, ...args) {
    return pushAssets(this.worker, typeof files === "string" ? files : makeFolder(files), args);
  }

  /**
   * Runs `kv-edge assets …` against the local API and returns its result, whether it succeeds or
   * not.
   */
  run(command, args = [], options) {
    return runTool(["assets", command, ...args, "--api-base", this.api.base], options);
  }

  /** Sends a request to workerd's own socket. `faults` are those of this request's KV calls. */
  request(method, path, { headers = {}, faults, body } = {}) {
    const fields = faults ? { "X-Kv-Faults": JSON.stringify({ assets: faults }), ...headers } : headers;
    return send({ url: this.worker.directUrl }, path, { method, headers: fields, body });
  }

  get = (path, headers, options) => this.request("GET", path, { headers, ...options });
  head = (path, headers, options) => this.request("HEAD", path, { headers, ...options });

  /** Returns a KV value, parsed as JSON. */
  getJson = async (key) => JSON.parse(await this.kv.get(key));
  pointer = () => this.getJson("kv-edge:current");
  manifest = async (id) => this.getJson(`kv-edge:release:${id ?? (await this.pointer()).current}`);

  /**
   * Returns the files of a release, by default the current one, as its manifest describes them: `{
   * path, keys, lengths, length, encoded }`. `keys` are the KV keys of their bytes.
   */
  async files(id) {
    return (await this.manifest(id)).files.map(({ p: path, b: body, e = [] }) => ({
      path,
      ...storedBytes(body),
      encoded: Object.fromEntries(e.map(({ c: coding, b }) => [coding, storedBytes(b)])),
    }));
  }

  /** Returns such a description of one file of the current release. */
  async file(path) {
    const file = (await this.files()).find((file) => file.path === path);
    assert.ok(file, `${path} is not in the manifest`);
    return file;
  }

  /** Returns the keys with a prefix. */
  async keys(prefix = "") {
    const names = [];
    for (let page; !page?.list_complete; ) {
      page = await this.kv.list({ prefix, cursor: page?.cursor });
      names.push(...page.keys.map(({ name }) => name));
    }
    return names;
  }

  /** Deletes the keys with a prefix. */
  async delete(prefix = "") {
    const keys = await this.keys(prefix);
    while (keys.length > 0) {
      const body = Buffer.from(JSON.stringify(keys.splice(0, EXPLORER_ITEMS_MAX)));
      const response = await callExplorer(this.worker, "POST", "/storage/kv/namespaces/assets/bulk/delete", { "content-type": "application/json" }, body);
      assert.equal(response.status, 200, `${response.body}`);
    }
  }

  /** Returns every KV call on `assets` so far. */
  async kvCalls() {
    const calls = (await send({ url: this.worker.directUrl }, "/.kv-calls?under=")).json();
    return calls.filter(({ binding }) => binding === "assets");
  }

  /**
   * Runs `action` and returns its result as `response`, and the keys that the Worker read
   * meanwhile as `reads`. If some are read after the response, `background` is the number of reads
   * to wait for, those before it included.
   */
  async recordReads(action, { background = 0 } = {}) {
    const before = (await this.kvCalls()).length;
    const response = await action();
    const since = async () => (await this.kvCalls()).slice(before);
    if (background > 0) await eventually(async () => (await since()).length >= background, `${background} reads`);
    return { response, reads: (await since()).map(({ key }) => key) };
  }

  /** Advances the Worker's clock. */
  async advanceClock(seconds) {
    this.offsetMs = (this.offsetMs ?? 0) + seconds * 1000;
    const response = await send({ url: this.worker.directUrl }, `/.clock?offsetMs=${this.offsetMs}`, { method: "PUT" });
    assert.equal(response.status, 204);
  }

  /** Empties the Worker's memory, as if another isolate began on the same KV. */
  emptyMemory = () => this.worker.emptyMemory();
}

/** Returns where bytes are stored: under one key, or under a key for each chunk. */
const storedBytes = ({ h, n: length, c = [{ h, n: length }] }) => ({
  keys: c.map((part) => `kv-edge:blob:${part.h}`),
  lengths: c.map((part) => part.n),
  length,
});

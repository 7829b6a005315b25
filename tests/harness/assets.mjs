// Runs the real `kv-edge` against the KV of a running Worker, through a REST API whose calls a
// test may intercept; and the fixture of the static asset tests, which pushes folders that way.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { eventually } from "./eventually.mjs";
import { send } from "./http.mjs";
import { startWorker } from "./worker.mjs";

/** The command-line tool: `KV_EDGE_CLI`, or the one that `npm test` has built. */
const CLI = process.env.KV_EDGE_CLI ?? fileURLToPath(new URL("../../target/release/kv-edge", import.meta.url));

/** The path of the local KV's REST API in `wrangler dev`, and the one in miniflare. */
const EXPLORER = "/cdn-cgi/explorer/api";
const EXPLORER_OF_MINIFLARE = "/cdn-cgi/local/explorer/api";
/** The most items of a bulk call that miniflare accepts. */
export const EXPLORER_ITEMS_MAX = 1000;
const ACCOUNT = /^\/client\/v4\/accounts\/[0-9a-f]{32}/;

/** An account (the API of the tests takes any), and the token that `accountBase` requires. */
export const ACCOUNT_ID = "0123456789abcdef0123456789abcdef";
export const CLOUDFLARE_TOKEN = "a-secret-token-of-the-tests";

/** Limits of Cloudflare's REST API ("Write multiple key-value pairs", "Limits"). */
const BULK_ITEMS_MAX = 10_000;
const BULK_BYTES_MAX = 100 * 1024 * 1024;

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

/**
 * Creates a folder with these files, `{ "docs/about.html": text or bytes }`, and returns its path.
 * It is removed after the test that calls this, or outside of tests after the last one.
 */
export function makeFolder(files) {
  const folder = mkdtempSync(join(tmpdir(), "kv-edge-files-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

/**
 * Runs the tool to its end: `{ code, signal, stdout, stderr }`. `running` is called with the
 * process when it starts; `input` is its standard input.
 */
export async function runTool(args, { env = {}, input, running } = {}) {
  // Without the developer's own credentials.
  const { CLOUDFLARE_API_TOKEN, CLOUDFLARE_ACCOUNT_ID, TO_CLOUDFLARE_API_TOKEN, ...inherited } = process.env;
  const child = spawn(CLI, args, { env: { ...inherited, ...env }, stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"] });
  running?.(child);
  child.stdin?.on("error", () => {}).end(input); // It may end before it has read all of it.
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].setEncoding("utf8").on("data", (text) => (output[name] += text));
  const [code, signal] = await once(child, "close");
  return { code, signal, ...output };
}

const apis = new WeakMap();

/**
 * Returns the REST API over the KV of a Worker that was started with `restApi`; starts it at the
 * first call.
 */
export function apiFor(worker) {
  if (!apis.has(worker)) apis.set(worker, startApi(worker));
  return apis.get(worker);
}

/** Pushes a folder into the `assets` namespace. Fails if the tool does. */
export async function pushAssets(worker, folder, args = []) {
  const { base } = await apiFor(worker);
  const result = await runTool(["assets", "push", folder, "--api-base", base, ...args]);
  assert.equal(result.code, 0, `${result.stdout}\n${result.stderr}`);
  return result;
}

/**
 * Starts the REST API: `base` is its URL as in `wrangler dev`, `accountBase` its URL as in a
 * Cloudflare account. `calls` are all calls so far, `responses` counts those that have ended, also
 * by a closed connection.
 *
 * If a test sets `intercept(call, pass)`, it responds in place of the API with `{ status, headers,
 * body }`, or with undefined, which closes the connection. `pass()` makes the call and returns its
 * response. `forwardItems` makes a bulk call for some of the items of an intercepted call.
 */
async function startApi(worker) {
  assert.ok(worker.hasRestApi, "start the Worker with `restApi: true`");
  const calls = [];
  const self = { calls, intercept: undefined, responses: 0, forwardItems: (call, items) => forwardItems(worker, call, items) };
  const respond = async (request, response) => {
    const body = await buffer(request);
    const isAccount = ACCOUNT.test(request.url);
    const path = request.url.replace(isAccount ? ACCOUNT : EXPLORER, "");
    const call = { number: calls.length + 1, method: request.method, path: decodeURIComponent(path), headers: request.headers, body };
    calls.push(call);
    const pass = () => (isAccount ? refuseAsCloudflare(call) : undefined) ?? callExplorer(worker, call.method, path, request.headers, body);
    const reply = await (self.intercept ? self.intercept(call, pass) : pass());
    self.responses += 1;
    if (reply === undefined) return request.socket.destroy();
    response.writeHead(reply.status, reply.headers ?? { "Content-Type": "application/json" });
    response.end(reply.body);
  };
  // A tool that is killed during a call breaks the connection, and nobody waits for the response.
  const server = http.createServer((request, response) =>
    respond(request, response).catch((error) => {
      if (!request.socket.destroyed) throw error;
    }),
  );
  server.on("clientError", (_error, socket) => socket.destroy());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  server.unref(); // A test may have started it, and others use it too.
  const origin = `http://127.0.0.1:${server.address().port}`;
  return Object.assign(self, { base: `${origin}${EXPLORER}`, accountBase: `${origin}/client/v4` });
}

/** Makes a bulk call for some of the items of an intercepted call. */
async function forwardItems(worker, call, items) {
  if (items.length === 0) return;
  const url = new URL(EXPLORER_OF_MINIFLARE + call.path, worker.url);
  const response = await fetch(url, { method: call.method, headers: { "content-type": "application/json" }, body: JSON.stringify(items) });
  assert.ok(response.ok, await response.text());
}

/** Returns the error for a call that Cloudflare refuses and the local API accepts. */
function refuseAsCloudflare({ headers, body, path, method }) {
  if (headers.authorization !== `Bearer ${CLOUDFLARE_TOKEN}`) return apiError(403, 10000, "Authentication error");
  if (/\/bulk(\/delete)?$/.test(path)) {
    if (body.length > BULK_BYTES_MAX) return apiError(413, 10033, "request too large");
    if (JSON.parse(body).length > BULK_ITEMS_MAX) return apiError(400, 10032, "too many items");
  }
  if (method === "GET" && /\/keys(\?|$)/.test(path)) {
    const limit = new URLSearchParams(path.split("?")[1]).get("limit");
    if (limit !== null && (Number(limit) < 10 || Number(limit) > 1000)) return apiError(400, 10029, "limit out of range");
  }
  return undefined;
}

/** Returns an error in the words of Cloudflare's API. */
export const apiError = (status, code, message, headers = {}) => ({
  status,
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify({ success: false, errors: [{ code, message }], messages: [], result: null }),
});

/** Makes a call to miniflare's REST API. */
function callExplorer(worker, method, path, headers, body) {
  const { hostname, port } = worker.url;
  const { authorization, connection, expect, "transfer-encoding": _framing, ...fields } = headers;
  const options = { hostname, port, method, path: EXPLORER_OF_MINIFLARE + path, agent: false };
  options.headers = { ...fields, host: `${hostname}:${port}`, "content-length": body.length, "accept-encoding": "identity" };
  return new Promise((resolve, reject) => {
    const request = http.request(options, (response) => {
      const { "content-encoding": _coding, "transfer-encoding": _chunked, ...headersOfResponse } = response.headers;
      const reply = (body) => ({ status: response.statusCode, headers: { ...headersOfResponse, connection: "close" }, body });
      buffer(response).then(reply).then(resolve, reject);
    });
    request.on("error", reject).end(body);
  });
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

/** Returns the members of a list field such as `Vary`, in order. */
export const listMembers = (field) => (field === undefined ? [] : field.split(",").map((member) => member.trim()));

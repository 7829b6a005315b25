// The fixture of the tests of configuration and flags: puts records, snapshots and flag
// definitions into KV, sends requests to /config and /ofrep, and records the KV reads that they
// cost.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { eventually } from "./eventually.mjs";
import { send } from "./http.mjs";
import { uniqueName } from "./names.mjs";
import { bearer, startWorker } from "./worker.mjs";

/** The OFREP route that evaluates all flags. */
export const OFREP_FLAGS = "/ofrep/v1/evaluate/flags";
/** Returns the OFREP route that evaluates one flag. */
export const ofrepFlag = (flag) => `${OFREP_FLAGS}/${encodeURIComponent(flag)}`;

const banner = /<div class="preview-banner">\s*🎉 You have early access to preview features! 🎉\s*<\/div>/;

/** Checks the documented page, its banner, and its `Config-Source`. */
export function assertPage(response, { preview, source }) {
  assert.equal(response.status, 200, response.text);
  assert.equal(response.headers["content-type"], "text/html; charset=utf-8");
  assert.match(response.text, /^\s*<!DOCTYPE html>/i);
  assert.match(response.text, /<title>My App<\/title>/);
  assert.match(response.text, /<h1>Welcome to My App<\/h1>/);
  assert.match(response.text, /<p>This is the regular content everyone sees\.<\/p>/);
  if (preview) assert.match(response.text, banner);
  else assert.doesNotMatch(response.text, /<div|🎉/);
  assert.equal(response.headers["config-source"], source);
}

/** Checks a response of `POST /config`, and returns its users. */
export function usersOf(response) {
  assert.equal(response.status, 200, response.text);
  assert.match(response.headers["content-type"], /^application\/json\b/);
  assert.equal(response.headers["cache-control"], "no-store");
  const { users, ...rest } = response.json();
  assert.deepEqual(rest, {});
  return users;
}

/** Returns this many ids of users that no other test of the file has. */
export const makeUserIds = (count, name = "user") => Array.from({ length: count }, (_, index) => `${uniqueName(name)}-${index}`);

/** Returns a snapshot as `kv-edge config sync --snapshot` writes it. */
export function snapshotOf(records, version = 1) {
  const ids = Object.keys(records).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const text = JSON.stringify(Object.fromEntries(ids.map((id) => [id, records[id]])));
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 32);
  return `{"format":1,"version":${version},"hash":"${hash}","count":${ids.length},"records":${text}}`;
}

/**
 * Starts a Worker whose KV calls are recorded and can fail. It reads KV at every request, so that
 * an edit takes effect at once; `refresh` sets another `CONFIG_REFRESH`, `null` leaves the
 * default.
 */
export async function startConfig({ refresh = "0", vars, ...options } = {}) {
  const set = { CONFIG_REFRESH: refresh ?? undefined, ...vars };
  return new Config(await startWorker({ faulty: true, vars: set, ...options }));
}

class Config {
  constructor(worker) {
    this.worker = worker;
    this.clockOffsetMs = 0;
  }

  /** The real `USER_CONFIGURATION` namespace. */
  get kv() {
    return this.worker.env.USER_CONFIGURATION;
  }

  /**
   * Sends a request to workerd's own socket. `faults` are those of this request's calls of
   * USER_CONFIGURATION; a `body` that is neither text nor bytes is sent as JSON.
   */
  request(method, path, { headers, faults, body } = {}) {
    const text = body === undefined || typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const type = body === undefined ? {} : { "Content-Type": "application/json" };
    const asked = faults ? { "X-Kv-Faults": JSON.stringify({ USER_CONFIGURATION: faults }) } : {};
    return send({ url: this.worker.directUrl }, path, { method, headers: { ...type, ...asked, ...headers }, body: text });
  }

  /** Sends a request and closes its side of the connection before the body is complete. */
  async sendIncomplete(path, { headers = bearer, framing = "Content-Length: 100", body = '{"' } = {}) {
    const { hostname, port } = this.worker.directUrl;
    const socket = net.connect({ host: hostname, port, allowHalfOpen: true });
    const fields = [...Object.entries({ Host: "a", ...headers }).map(([name, value]) => `${name}: ${value}`), framing];
    const chunks = [];
    socket.on("data", (chunk) => chunks.push(chunk)).end(`POST ${path} HTTP/1.1\r\n${fields.join("\r\n")}\r\n\r\n${body}`);
    await once(socket, "end");
    const [head, text] = Buffer.concat(chunks).toString().split("\r\n\r\n");
    const [line, ...lines] = head.split("\r\n");
    const named = lines.map((field) => field.split(/: (.*)/, 2)).map(([name, value]) => [name.toLowerCase(), value]);
    return { status: Number(line.split(" ")[1]), headers: Object.fromEntries(named), text, json: () => JSON.parse(text) };
  }

  /** `GET /config`: the page of a user. */
  getPage = (id, options) => this.request("GET", `/config?userId=${encodeURIComponent(id)}`, options);

  /** `POST /config`: the configuration of several users. */
  postUsers = (userIds, { headers, ...options } = {}) => this.request("POST", "/config", { body: { userIds }, headers: { ...bearer, ...headers }, ...options });

  /** Evaluates one flag by OFREP. */
  evaluate = (flag, context, options) => this.request("POST", ofrepFlag(flag), { body: { context }, ...options });

  /** Evaluates all flags by OFREP. */
  evaluateAll = (context, options) => this.request("POST", OFREP_FLAGS, { body: { context }, ...options });

  healthz = async () => (await this.request("GET", "/healthz")).json();

  /** Puts flag definitions: an object of flags, or the whole value as text. */
  putFlags = (flags) => this.kv.put("flags", typeof flags === "string" ? flags : JSON.stringify({ flags }));

  /** Puts a user's record, an object or text. */
  putRecord = (key, record) => this.kv.put(key, typeof record === "string" ? record : JSON.stringify(record));

  putSnapshot = (records, { key = "snapshot", version } = {}) => this.kv.put(key, snapshotOf(records, version));

  /** Returns every call on `USER_CONFIGURATION` so far. */
  async kvCalls() {
    const calls = (await send({ url: this.worker.directUrl }, "/.kv-calls?under=")).json();
    return calls.filter(({ binding }) => binding === "USER_CONFIGURATION");
  }

  /**
   * Runs `action` and returns its result as `response`, and the keys that the Worker read
   * meanwhile as `reads`, in order; the keys of a bulk read are a list. If reads happen after the
   * response, `background` is the number of all reads, for which it waits.
   */
  async recordReads(action, { background = 0 } = {}) {
    const before = (await this.kvCalls()).length;
    const response = await action();
    const since = async () => (await this.kvCalls()).slice(before);
    if (background > 0) {
      await eventually(async () => {
        const calls = await since();
        return calls.length >= background && calls.every(({ endedMs }) => endedMs !== undefined);
      }, `${background} reads`);
    }
    return { response, reads: (await since()).map(({ key, keys }) => keys ?? key) };
  }

  /** Advances the Worker's clock. */
  async advanceClock(seconds) {
    this.clockOffsetMs += seconds * 1000;
    const response = await send({ url: this.worker.directUrl }, `/.clock?offsetMs=${this.clockOffsetMs}`, { method: "PUT" });
    assert.equal(response.status, 204);
  }

  /** Empties the Worker's memory, as if another isolate began on the same KV. */
  emptyMemory = () => this.worker.emptyMemory();
}

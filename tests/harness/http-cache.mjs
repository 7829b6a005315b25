// The fixture of the tests of the shared HTTP cache (`/cache/{absolute URL}`) and of what is built
// on it: a Worker, its upstreams and their clock. A test creates a `resource`, requests it through
// the cache, and looks at the upstream and at KV.
import assert from "node:assert/strict";
import { eventually } from "./eventually.mjs";
import { send, sendForJson } from "./http.mjs";
import { clock, startScriptedUpstream } from "./scripted-upstream.mjs";
import { startWorker } from "./worker.mjs";

/**
 * Starts a Worker and `upstreamCount` upstreams from which it may fetch. `extraUpstreams` are
 * further origins that it may fetch from. The memory tier is off (`CACHE_REFRESH` 0) unless `vars`
 * set it, so that every hit comes from KV.
 */
export async function startCache({ upstreamCount = 1, extraUpstreams = [], vars, ...options } = {}) {
  const upstreams = await Promise.all(Array.from({ length: upstreamCount }, () => startScriptedUpstream()));
  const listed = [...upstreams.map(({ origin }) => origin), ...extraUpstreams].join(",");
  const worker = await startWorker({ faulty: true, vars: { CACHE_UPSTREAMS: listed, CACHE_REFRESH: "0", ...vars }, ...options });
  const [upstream, ...others] = upstreams;
  return {
    worker,
    upstream,
    kv: worker.env.CACHE_KV,
    /** Returns an upstream that no other test uses: for tests that may open its circuit. */
    unusedUpstream: () => others.pop(),
    /**
     * Serves `script` at a path of an upstream and returns that `Resource`; see
     * `startScriptedUpstream`.
     */
    resource: (script, { at = upstream, path, query } = {}) => new Resource(worker, at, at.serve(script, path), query),
    /** Returns the resource at a given path or with another query. */
    resourceAt: (path, { at = upstream, query } = {}) => new Resource(worker, at, path, query),
    /** Advances the clock of the Worker and of the upstreams. */
    async advanceClock(seconds) {
      clock.offsetMs += seconds * 1000;
      const response = await send(worker, `/.clock?offsetMs=${clock.offsetMs}`, { method: "PUT" });
      assert.equal(response.status, 204);
    },
  };
}

/** A resource of an upstream, requested through the cache. */
class Resource {
  constructor(worker, upstream, path, query = "") {
    this.worker = worker;
    this.upstream = upstream;
    this.path = path;
    this.url = upstream.origin + path + query;
    /** The key in `CACHE_KV`. */
    this.key = `GET ${this.url}`;
  }

  request(method, { headers, body, faults } = {}) {
    const fields = faults ? { "X-Kv-Faults": JSON.stringify({ CACHE_KV: faults }), ...headers } : headers;
    return send(this.worker, `/cache/${this.url}`, { method, headers: fields, body });
  }

  get = (headers, options) => this.request("GET", { headers, ...options });
  head = (headers, options) => this.request("HEAD", { headers, ...options });
  getForJson = (headers) => sendForJson(this.worker, `/cache/${this.url}`, { headers });

  /** The requests for its path that the upstream received, whatever their query. */
  get requests() {
    return this.upstream.requestsTo(this.path);
  }

  get requestCount() {
    return this.requests.length;
  }

  /** Waits until the upstream has received `times` requests for it. */
  waitForRequests(times) {
    return eventually(() => this.requestCount >= times, `request ${times} for ${this.path} at the upstream`);
  }

  /** Returns the KV calls for its key and the keys of its variants, in order. */
  async kvCalls(operation) {
    const response = await send(this.worker, `/.kv-calls?under=${encodeURIComponent(this.key)}`);
    const calls = response.json().filter(({ key }) => key === this.key || key.startsWith(`${this.key}#`));
    return operation === undefined ? calls : calls.filter((call) => call.operation === operation);
  }

  /** Returns how often it was read from KV. */
  async kvReadCount() {
    return (await this.kvCalls()).filter(({ operation }) => operation.startsWith("get")).length;
  }

  /** Waits until it was put into KV `times` times. */
  waitUntilStored(times = 1) {
    const done = async () => (await this.kvCalls("put")).filter((call) => call.done).length >= times;
    return eventually(done, `put ${times} of ${this.path}`);
  }

  /** Sends a GET whose response must be stored, and waits until KV has it. */
  async getAndStore(headers) {
    const before = (await this.kvCalls("put")).filter((call) => call.done).length;
    const response = await this.get(headers);
    assert.equal(parseCacheStatus(response).stored, true, `${response.status} ${response.headers["cache-status"]}`);
    await this.waitUntilStored(before + 1);
    return response;
  }

  /** Checks that nothing was put into KV. */
  async assertNotStored() {
    assert.deepEqual(await this.kvCalls("put"), []);
  }
}

/** Returns the parameters of the member that kv-edge added to `Cache-Status` (RFC 9211). */
export function parseCacheStatus({ status, headers, text }) {
  const field = headers["cache-status"];
  assert.equal(typeof field, "string", `a response ${status} without Cache-Status: ${text.slice(0, 200)}`);
  const [name, ...parameters] = field.split(",").at(-1).split(";");
  assert.equal(name.trim(), "kv-edge");
  const number = (value) => (/^-?\d+$/.test(value) ? Number(value) : value);
  return Object.fromEntries(
    parameters.map((parameter) => {
      const [key, value] = parameter.trim().split("=");
      return [key, value === undefined ? true : number(value)];
    }),
  );
}

/** Checks that a response is a hit, with `text` if given: fresh, or stale because of `detail`. */
export function assertHit(response, text, { detail } = {}) {
  const { hit, fwd, ttl, ...more } = parseCacheStatus(response);
  const message = `${response.status} ${response.headers["cache-status"]}`;
  assert.deepEqual({ hit, fwd, detail: more.detail }, { hit: true, fwd: undefined, detail }, message);
  assert.ok(Number.isInteger(ttl) && (detail === undefined ? ttl >= 0 : ttl <= 0), message);
  assert.match(response.headers.age, /^\d+$/);
  if (text !== undefined) assert.equal(response.text, text);
}

/**
 * Checks that the request was forwarded to the upstream, for the reason `fwd`; `more` are further
 * parameters of `Cache-Status`.
 */
export function assertForwarded(response, fwd, text, more = {}) {
  const found = parseCacheStatus(response);
  const message = `${response.status} ${response.headers["cache-status"]}`;
  assert.deepEqual({ hit: found.hit, fwd: found.fwd }, { hit: undefined, fwd }, message);
  for (const [name, value] of Object.entries(more)) assert.equal(found[name], value, `${name} of ${message}`);
  if (text !== undefined) assert.equal(response.text, text);
}

/** Checks that seconds differ by 4 at most from those expected: real time passes, too. */
export function assertAboutSeconds(value, expected, what) {
  assert.ok(Math.abs(Number(value) - expected) <= 4, `${what}: ${value}, not about ${expected}`);
}

/** Returns a promise and `open`, which resolves it: for a script's `until`. */
export function gate() {
  const { promise, resolve } = Promise.withResolvers();
  return { promise, open: resolve };
}

/** Returns the field lines of a response that is fresh for `seconds`. */
export const freshFor = (seconds, ...lines) => [`Cache-Control: max-age=${seconds}`, ...lines];

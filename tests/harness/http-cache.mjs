// What the tests of the shared HTTP cache at `/cache/{absolute URL}` do with a Worker, its upstreams and its clock.
import assert from "node:assert/strict";
import { eventually } from "./eventually.mjs";
import { send, sendForJson } from "./http.mjs";
import { clock, startScriptedUpstream } from "./scripted-upstream.mjs";
import { startWorker } from "./worker.mjs";

/**
 * Starts a Worker with so many upstreams that it may fetch from. Its memory tier is off unless `vars` say otherwise, so that a
 * hit shows what KV holds.
 */
export async function startCache({ origins = 1, extraUpstreams = [], vars, ...options } = {}) {
  const upstreams = await Promise.all(Array.from({ length: origins }, () => startScriptedUpstream()));
  const listed = [...upstreams.map(({ origin }) => origin), ...extraUpstreams].join(",");
  const worker = await startWorker({ faulty: true, vars: { CACHE_UPSTREAMS: listed, CACHE_REFRESH: "0", ...vars }, ...options });
  const [upstream, ...others] = upstreams;
  return {
    worker,
    upstream,
    kv: worker.env.CACHE_KV,
    /** An upstream that no other test uses, for one whose circuit may open. */
    unusedUpstream: () => others.pop(),
    /** A resource of an upstream that plays this script; see `startScriptedUpstream`. */
    resource: (script, { at = upstream, path, query } = {}) => new Resource(worker, at, at.serve(script, path), query),
    /** The resource at another path, or with another query. */
    resourceAt: (path, { at = upstream, query } = {}) => new Resource(worker, at, path, query),
    /** Lets time pass for the Worker and for the upstreams. */
    async advanceClock(seconds) {
      clock.offsetMs += seconds * 1000;
      const response = await send(worker, `/.clock?offsetMs=${clock.offsetMs}`, { method: "PUT" });
      assert.equal(response.status, 204);
    },
  };
}

/** What an upstream serves at a path, and how it is asked for through the cache. */
class Resource {
  constructor(worker, upstream, path, query = "") {
    this.worker = worker;
    this.upstream = upstream;
    this.path = path;
    this.url = upstream.origin + path + query;
    /** Its key in `CACHE_KV`. */
    this.key = `GET ${this.url}`;
  }

  request(method, { headers, body, faults } = {}) {
    const fields = faults ? { "X-Kv-Faults": JSON.stringify({ CACHE_KV: faults }), ...headers } : headers;
    return send(this.worker, `/cache/${this.url}`, { method, headers: fields, body });
  }

  get = (headers, options) => this.request("GET", { headers, ...options });
  head = (headers, options) => this.request("HEAD", { headers, ...options });
  getForJson = (headers) => sendForJson(this.worker, `/cache/${this.url}`, { headers });

  /** The requests that reached the upstream. */
  get requests() {
    return this.upstream.requestsTo(this.path);
  }

  get requestCount() {
    return this.requests.length;
  }

  /** Waits until so many requests have reached the upstream. */
  waitForRequests(times) {
    return eventually(() => this.requestCount >= times, `request ${times} for ${this.path} at the upstream`);
  }

  /** The calls that the Worker made for its key, those of its variants included, in order. */
  async kvCalls(operation) {
    const response = await send(this.worker, `/.kv-calls?under=${encodeURIComponent(this.key)}`);
    const own = response.json().filter(({ key }) => key === this.key || key.startsWith(`${this.key}#`));
    return operation === undefined ? own : own.filter((call) => call.operation === operation);
  }

  /** How often it was read from KV. */
  async kvReadCount() {
    return (await this.kvCalls()).filter(({ operation }) => operation.startsWith("get")).length;
  }

  /** Waits until it was put into KV so many times. */
  waitUntilStored(times = 1) {
    const done = async () => (await this.kvCalls("put")).filter((call) => call.done).length >= times;
    return eventually(done, `put ${times} of ${this.path}`);
  }

  /** Asks for it and waits until it is kept. */
  async getAndStore(headers) {
    const before = (await this.kvCalls("put")).filter((call) => call.done).length;
    const response = await this.get(headers);
    assert.equal(parseCacheStatus(response).stored, true, `${response.status} ${response.headers["cache-status"]}`);
    await this.waitUntilStored(before + 1);
    return response;
  }

  /** Checks that nothing was put into KV, also not after the answer. */
  async assertNotStored() {
    assert.deepEqual(await this.kvCalls("put"), []);
  }
}

/** The member of `Cache-Status` that kv-edge added (RFC 9211), taken apart. */
export function parseCacheStatus({ status, headers, text }) {
  const field = headers["cache-status"];
  assert.equal(typeof field, "string", `an answer ${status} without Cache-Status: ${text.slice(0, 200)}`);
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

/** Checks that an answer comes from the store: with this text, and stale for this reason, or fresh. */
export function assertHit(response, text, { detail } = {}) {
  const { hit, fwd, ttl, ...more } = parseCacheStatus(response);
  const told = `${response.status} ${response.headers["cache-status"]}`;
  assert.deepEqual({ hit, fwd, detail: more.detail }, { hit: true, fwd: undefined, detail }, told);
  assert.ok(Number.isInteger(ttl) && (detail === undefined ? ttl >= 0 : ttl <= 0), told);
  assert.match(response.headers.age, /^\d+$/);
  if (text !== undefined) assert.equal(response.text, text);
}

/** Checks that the upstream was asked, for this reason; `more` are further parameters of the member. */
export function assertForwarded(response, fwd, text, more = {}) {
  const found = parseCacheStatus(response);
  const told = `${response.status} ${response.headers["cache-status"]}`;
  assert.deepEqual({ hit: found.hit, fwd: found.fwd }, { hit: undefined, fwd }, told);
  for (const [name, value] of Object.entries(more)) assert.equal(found[name], value, `${name} of ${told}`);
  if (text !== undefined) assert.equal(response.text, text);
}

/** Checks a number of seconds; real time passes beside the clock of the tests. */
export function assertAboutSeconds(value, expected, what) {
  assert.ok(Math.abs(Number(value) - expected) <= 4, `${what}: ${value}, not about ${expected}`);
}

/** A promise that a test fulfils: what a script waits for with `until`. */
export function gate() {
  const { promise, resolve } = Promise.withResolvers();
  return { promise, open: resolve };
}

/** Field lines of an answer that is fresh for so many seconds. */
export const freshFor = (seconds, ...lines) => [`Cache-Control: max-age=${seconds}`, ...lines];

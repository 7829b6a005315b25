// The fixture of the tests of METRICS: a Worker whose routes count, with an upstream from which
// `/cache` may fetch, and what it has counted.
import assert from "node:assert/strict";
import { eventually } from "./eventually.mjs";
import { send } from "./http.mjs";
import { startCache } from "./http-cache.mjs";
import { bearer } from "./worker.mjs";

/** The routes that show the counts. A test does not count how often it reads them. */
export const READING = new Set(["/metrics", "/console/api/{call}"]);

/** Returns the vars that say for how many seconds records in memory are fresh. */
export const refreshVars = (seconds) => Object.fromEntries(["CACHE", "CONFIG", "ROUTING", "ASSETS"].map((job) => [`${job}_REFRESH`, String(seconds)]));

/** Returns options with further header fields. */
export const withFields = (fields, { headers, ...options } = {}) => ({ headers: { ...headers, ...fields }, ...options });
export const asOperator = (options) => withFields(bearer, options);

/**
 * The field by which tests/faulty/entry.mjs records for which request the Worker calls KV or an
 * object. Upstreams receive it, too.
 */
export const CAUSE = "X-Test-Cause";

/** Returns how many requests a route has counted. */
export const requestsOf = (all, route) => all[route]?.requests ?? 0;

/** Returns what a route has counted since `before`, without times, costs and what is 0. */
export function since(before, after, route) {
  const [old, now] = [before[route] ?? { statuses: {} }, after[route] ?? { statuses: {} }];
  const difference = (a, b) =>
    Object.fromEntries(
      Object.keys(b)
        .map((name) => [name, b[name] - (a[name] ?? 0)])
        .filter(([, value]) => value !== 0),
    );
  const { statuses, milliseconds: _time, costDollars: _cost, ...numbers } = now;
  const { statuses: oldStatuses, ...oldNumbers } = old;
  return { ...difference(oldNumbers, numbers), statuses: difference(oldStatuses, statuses) };
}

/**
 * Starts the Worker for a test file, whose records in memory are fresh for two seconds. Returns
 * what `startCache` returns, and functions that send requests and read the counts.
 */
export async function startMetrics({ vars } = {}) {
  const given = { METRICS: "on", ...refreshVars(2), KV_API_WRITABLE: "*", KV_API_NAMESPACES: "KV_NAMESPACES", ...vars };
  const cache = await startCache({ restApi: true, vars: given });
  const { worker, advanceClock } = cache;
  const get = (path, options) => send(worker, path, options);
  const authorized = (path, options) => get(path, asOperator(options));
  const control = async (path) => (await get(path)).json();

  /** Returns the counts of each route in a resolution, added up. */
  async function counts(resolution = "hour") {
    const response = await send(worker, `/console/api/metrics?resolution=${resolution}`, { headers: bearer });
    assert.equal(response.status, 200, response.text);
    const total = {};
    for (const { routes } of response.json().points) {
      for (const [route, { statuses, ...numbers }] of Object.entries(routes)) {
        total[route] ??= { statuses: {} };
        // Costs are exact to the billionth of a dollar, but not as sums of floating point numbers.
        for (const [name, number] of Object.entries(numbers)) total[route][name] = Math.round(((total[route][name] ?? 0) + number) * 1e9) / 1e9;
        for (const [status, number] of Object.entries(statuses)) total[route].statuses[status] = (total[route].statuses[status] ?? 0) + number;
      }
    }
    return total;
  }

  /** Requests to `/healthz` so far. Every hand-over of a test ends with one. */
  let healthChecks = 0;
  async function healthz() {
    healthChecks += 1;
    const response = await get("/healthz", withFields({ [CAUSE]: "/healthz" }));
    assert.equal(response.status, 200);
    return response;
  }

  /**
   * Makes the isolate hand over, and returns all counts once they contain those of every request
   * so far.
   */
  async function handedOver() {
    await healthz();
    await advanceClock(11);
    await healthz();
    // The clock goes back, because an alarm that is set by a clock ahead of the real one comes
    // late.
    await advanceClock(-11);
    return eventually(async () => {
      const all = await counts();
      return requestsOf(all, "/healthz") === healthChecks && all;
    }, "the counts are handed over");
  }

  /** Expects no more the counts that an isolate has not handed over and that are lost with it. */
  async function acceptLoss() {
    healthChecks = requestsOf(await counts(), "/healthz");
  }

  /** Waits until KV was not called for a second and a half, and every call has ended. */
  async function waitUntilQuiet() {
    let last = -1;
    let unchanged = 0;
    await eventually(async () => {
      const calls = await control("/.kv-calls?under=");
      unchanged = calls.length === last && calls.every(({ endedMs }) => endedMs !== undefined) ? unchanged + 1 : 0;
      last = calls.length;
      return unchanged > 60;
    }, "KV is quiet");
  }

  return { ...cache, get, authorized, control, counts, healthz, handedOver, acceptLoss, waitUntilQuiet };
}

// A model of Workers Cache, the cache that Cloudflare can put in front of a Worker. The real one
// does not run locally. The rules are those of its documentation
// (https://developers.cloudflare.com/workers/cache/). If a page leaves a question open, the model
// stores and reuses more, so that a test which passes here passes there.
//
// Left out, because they only store less: Cache Deception Armor, the limit of size, tiers, purges
// and versions. What a hit does with `Range` and conditions is left out, too: it decides how much
// of a stored response is sent, but not which response.

/** "Cache keys": the request fields that are part of the key, beside path and query. */
const KEY_FIELDS = [
  "x-http-method-override",
  "x-http-method",
  "x-method-override",
  "x-forwarded-host",
  "x-host",
  "x-forwarded-scheme",
  "x-original-url",
  "x-rewrite-url",
  "forwarded",
  "cloudflare-workers-version-key",
];

/** "Header precedence": the first of these that a response has is followed. */
const CONTROL_FIELDS = ["cloudflare-cdn-cache-control", "cdn-cache-control", "cache-control"];

/** "Cache-Control semantics": for how many seconds a response that states no lifetime is fresh. */
const HEURISTIC = { 200: 7200, 203: 7200, 204: 7200, 300: 1200, 301: 1200, 404: 180, 405: 60, 410: 180, 414: 60, 501: 60 };

/** "Status codes that are never cached". A 304 is no response of its own (RFC 9111 §3). */
const isNeverStored = (status) => status < 200 || status === 206 || status === 304 || (status >= 520 && status <= 526);

/**
 * Parses directives: `Map { "max-age" => "60", "public" => true }`. Names are in lower case.
 */
function parseDirectives(field) {
  const members = field.match(/(?:[^,"]|"[^"]*")+/g) ?? [];
  return new Map(
    members.map((member) => {
      const [name, value] = member.split(/=(.*)/s);
      return [name.trim().toLowerCase(), value === undefined ? true : value.trim().replaceAll('"', "")];
    }),
  );
}

/** Returns the directives to follow. `isTargeted` is true if they are from a field for CDNs. */
function selectDirectives(headers) {
  const name = CONTROL_FIELDS.find((field) => headers[field] !== undefined) ?? "cache-control";
  return { directives: parseDirectives(headers[name] ?? ""), isTargeted: name !== "cache-control" };
}

/** Returns for how many seconds a response is fresh; `undefined` if it must not be stored. */
function lifetimeOf({ status, headers }) {
  const { directives, isTargeted } = selectDirectives(headers);
  // With field names, only those fields are withheld (RFC 9111 §5.2.2.4).
  if (directives.get("no-cache") === true) return 0;
  const seconds = directives.get("s-maxage") ?? directives.get("max-age");
  if (seconds !== undefined) return Number(seconds);
  if (headers.expires !== undefined && !isTargeted) {
    return Math.max(0, (Date.parse(headers.expires) - Date.parse(headers.date)) / 1000) || 0;
  }
  // Directives without a lifetime leave it to the cache as well (RFC 9111 §4.2.2).
  return HEURISTIC[status] ?? (directives.has("public") ? 7200 : undefined);
}

/** Returns the fields to store; `undefined` if the response must not be stored. */
function storable(request, response) {
  const { status, headers } = response;
  if (isNeverStored(status)) return undefined;
  const { directives } = selectDirectives(headers);
  // "includes `private` or `no-store`"; with field names, only those fields are withheld.
  const withheld = [directives.get("private"), directives.get("no-cache")].filter((names) => typeof names === "string");
  if (directives.has("no-store") || directives.get("private") === true) return undefined;
  if (request.headers.authorization !== undefined && !["public", "must-revalidate", "s-maxage"].some((name) => directives.has(name))) return undefined;
  if (headers.vary?.includes("*")) return undefined;
  const names = withheld.flatMap((list) => list.split(",").map((name) => name.trim().toLowerCase()));
  const stored = Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name)));
  return stored["set-cookie"] === undefined ? stored : undefined;
}

const variesBy = (headers) => (headers.vary ?? "").split(",").map((name) => name.trim().toLowerCase());

/** A stored response, and the request that it was the response to. */
class Entry {
  constructor({ headers }, response, nowSeconds) {
    this.response = response;
    this.selecting = variesBy(response.headers).map((name) => [name, headers[name]]);
    this.keep(nowSeconds);
  }

  /** Starts its lifetime anew. */
  keep(nowSeconds) {
    this.staleAt = nowSeconds + lifetimeOf(this.response) - Number(this.response.headers.age ?? 0);
  }

  /** "Values are compared verbatim." */
  isFor({ headers }) {
    return this.selecting.every(([name, value]) => headers[name] === value);
  }

  /** Returns true if it is stale only for so long that it may be served while it is refreshed. */
  mayRefreshLater(nowSeconds) {
    const seconds = Number(selectDirectives(this.response.headers).directives.get("stale-while-revalidate") ?? 0);
    return !this.forbidsStale() && nowSeconds < this.staleAt + seconds;
  }

  /** Returns true if it may be served in place of an error: by default without a limit of time. */
  mayReplaceError(nowSeconds) {
    const seconds = selectDirectives(this.response.headers).directives.get("stale-if-error");
    return !this.forbidsStale() && (seconds === undefined || nowSeconds < this.staleAt + Number(seconds));
  }

  forbidsStale() {
    const { directives } = selectDirectives(this.response.headers);
    return ["s-maxage", "must-revalidate", "proxy-revalidate"].some((name) => directives.has(name));
  }
}

export class WorkersCache {
  #entries = new Map();
  #run;
  #nowSeconds;

  /**
   * `run(request)` runs the Worker: `{ method, path, headers, body }` to `{ status, headers, bytes
   * }`. Names of fields are in lower case. `nowSeconds()` is the cache's clock.
   */
  constructor(run, nowSeconds) {
    this.#run = run;
    this.#nowSeconds = nowSeconds;
  }

  /**
   * Responds to a request: `{ response, cacheStatus }`, with the value of `Cf-Cache-Status`. If it
   * is MISS, EXPIRED or BYPASS, the response is the Worker's, otherwise a stored one.
   */
  async respond(request) {
    if (!["GET", "HEAD"].includes(request.method) || request.headers.upgrade !== undefined) {
      return { response: await this.#run(request), cacheStatus: "BYPASS" };
    }
    const key = JSON.stringify([request.path, ...KEY_FIELDS.map((name) => request.headers[name])]);
    const entries = this.#entries.get(key) ?? [];
    const entry = entries.find((stored) => stored.isFor(request));
    if (entry === undefined) return { response: await this.#fill(key, request), cacheStatus: "MISS" };
    const now = this.#nowSeconds();
    if (now < entry.staleAt) return { response: entry.response, cacheStatus: "HIT" };
    if (entry.mayRefreshLater(now)) {
      const { response } = entry;
      await this.#validate(key, request, entry);
      return { response, cacheStatus: "UPDATING" };
    }
    return this.#validate(key, request, entry);
  }

  /** "A HEAD request on a cold cache is converted to a GET internally." */
  async #fill(key, request) {
    const response = await this.#run({ ...request, method: "GET" });
    this.#store(key, request, response);
    return response;
  }

  async #validate(key, request, entry) {
    const { etag, "last-modified": modified } = entry.response.headers;
    const { "if-none-match": _tag, "if-modified-since": _date, range: _range, ...fields } = request.headers;
    const conditions = { ...(etag && { "if-none-match": etag }), ...(modified && { "if-modified-since": modified }) };
    const response = await this.#run({ ...request, method: "GET", headers: { ...fields, ...conditions } });
    if (response.status === 304) {
      entry.response = { ...entry.response, headers: { ...entry.response.headers, ...response.headers } };
      if (storable(request, entry.response)) entry.keep(this.#nowSeconds());
      else this.#remove(key, entry);
      return { response: entry.response, cacheStatus: "REVALIDATED" };
    }
    if (response.status >= 500 && entry.mayReplaceError(this.#nowSeconds())) return { response: entry.response, cacheStatus: "STALE" };
    this.#remove(key, entry);
    this.#store(key, request, response);
    return { response, cacheStatus: "EXPIRED" };
  }

  #store(key, request, response) {
    const headers = storable(request, response);
    if (headers === undefined || lifetimeOf(response) === undefined) return;
    const entry = new Entry(request, { ...response, headers }, this.#nowSeconds());
    const others = (this.#entries.get(key) ?? []).filter((stored) => !stored.isFor(request));
    this.#entries.set(key, [entry, ...others]);
  }

  #remove(key, entry) {
    this.#entries.set(
      key,
      this.#entries.get(key).filter((stored) => stored !== entry),
    );
  }
}

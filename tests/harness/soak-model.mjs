// The model of the shared HTTP cache's soak test: upstreams that respond at random and record
// what they sent, and what a client may be sent in response. And `randomFrom`, which other tests
// use, too.
import { crc32, gzipSync } from "node:zlib";

/** A random generator (mulberry32): the same seed gives the same numbers. */
export function randomFrom(state) {
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (low, high) => low + Math.floor(random() * (high - low + 1));
  return { random, int, chance: (share) => random() < share, pick: (list) => list[int(0, list.length - 1)] };
}

const LONGEST = 200 * 1024;
const pool = Buffer.alloc(2 * LONGEST);
const filler = randomFrom(1);
for (let at = 0; at < pool.length; at += 4) pool.writeUInt32LE(Math.floor(filler.random() * 2 ** 32), at);

/**
 * Returns the length of a body: from 0 to 200 KiB. Some are within a byte of 64 KiB, the longest
 * body that the cache reads whole.
 */
function lengthOf(identity) {
  const { random, int, pick } = randomFrom(crc32(`length of ${identity}`));
  const kind = random();
  if (kind < 0.05) return 0;
  if (kind < 0.15) return int(1, 100);
  if (kind < 0.75) return int(100, 4096);
  if (kind < 0.9) return int(4096, 65_535);
  return kind < 0.93 ? pick([65_535, 65_536, 65_537]) : int(65_537, LONGEST);
}

/** Returns the body of a version: its identity, length and checksum, if they fit, and noise. */
function bytesOf(identity, length) {
  const from = crc32(`noise of ${identity}`) % LONGEST;
  const title = `${identity} ${length} `;
  const noise = pool.subarray(from, from + Math.max(0, length - title.length - 9));
  if (length < title.length + 9) return pool.subarray(from, from + length);
  return Buffer.concat([Buffer.from(`${title}${crc32(noise).toString(16).padStart(8, "0")}\n`), noise]);
}

const zipped = new Map();

/** Returns the body of a version as it is sent. */
export function bodyOf({ identity, isZipped }) {
  if (!isZipped) return bytesOf(identity, lengthOf(identity));
  const known = zipped.get(identity);
  if (known) return known;
  const body = gzipSync(bytesOf(identity, lengthOf(identity) % 20_000), { level: 1 });
  if (zipped.size >= 2000) zipped.delete(zipped.keys().next().value);
  zipped.set(identity, body);
  return body;
}

/** Returns the identity that a body states, to report a wrong one. */
export const identityOf = (bytes) => /^http\S+ [\x20-\x7e]{0,200}(?=\n)/.exec(bytes.subarray(0, 300).toString("latin1"))?.[0] ?? "no title";

/**
 * Each has cache directives, the seconds for which a response is fresh (`fresh`) and may be served
 * stale (`swr`, `sie`), and its validators.
 */
const POLICIES = [
  { control: "max-age=1", fresh: 1, etag: true },
  { control: "max-age=10", fresh: 10, etag: true },
  { control: "max-age=1, stale-while-revalidate=2", fresh: 1, swr: 2, etag: true },
  { control: "max-age=1, stale-if-error=5", fresh: 1, sie: 5, etag: true },
  { control: "max-age=1, stale-while-revalidate=1, stale-if-error=5", fresh: 1, swr: 1, sie: 5, etag: true, modified: true },
  { control: "max-age=1, stale-while-revalidate=1, stale-if-error=5", fresh: 1, swr: 1, sie: 5 },
  { control: "no-cache", fresh: 0, etag: true },
  { control: "max-age=1, must-revalidate", fresh: 1, etag: true },
  { control: "s-maxage=1, max-age=100", fresh: 1, modified: true },
  { control: "max-age=2", fresh: 2 },
  { control: "no-store", cdn: "max-age=2, stale-if-error=5", fresh: 2, sie: 5, etag: true },
  // Heuristic freshness: a tenth of some 1600 seconds since Last-Modified.
  { fresh: 160, modified: true, isHeuristic: true },
];
const RESOURCES = 216;
/** How many timeouts of a method and path open its circuit for the visitor of these requests. */
const CIRCUIT_OPENS_AFTER = 5;
const GROUPS = 12;
/** Directives of responses that are for one request only. */
const ONE_OFF = ["private", "no-store", "private, max-age=60", "no-store, max-age=60", "max-age=60, private, stale-if-error=60"];
const ERRORS = [500, 502, 503, 504];
const HANGS = { hangs: true };
/** Outages of a whole upstream, in turn. */
const OUTAGES = [
  { breaksAt: "head" },
  { isError: true },
  HANGS,
  { breaksAt: "head", reset: true },
  { isError: true },
  { breaksAt: "in head" },
  { isError: true },
];

/** The resources of these upstreams, and every response that was ever sent for them. */
export class Model {
  serial = 0;
  records = new Map();
  outages = new Map();
  isQuiet = false;
  #outagesSoFar = 0;
  /** While an upstream hangs: how many requests wait for it, by method and path. */
  #hangs;

  constructor(seed, upstreams) {
    this.seed = seed;
    this.startedMs = Date.now();
    const { int, chance, pick } = randomFrom(seed);
    this.resources = Array.from({ length: RESOURCES }, (_, id) => {
      const upstream = upstreams[id % upstreams.length];
      const group = int(1, GROUPS);
      const path = `/g${group}/r${id}`;
      const names = pick([[], [], ["x-variant"], ["x-variant", "x-other"]]);
      const policy = POLICIES[id % POLICIES.length];
      const url = upstream.origin + path;
      return {
        id,
        url,
        path,
        upstream,
        group,
        names,
        policy,
        isZipped: chance(0.15),
        isOften404: chance(0.1),
        version: 1,
        floor: { serial: 0, version: 0 },
        history: [],
      };
    });
    for (const upstream of upstreams) {
      const byPath = new Map(this.resources.filter((resource) => resource.upstream === upstream).map((resource) => [resource.path, resource]));
      upstream.serveByDefault((request) => {
        // The upstream keeps every request, and a hundred thousand are too many.
        if (upstream.requests.length > 1000) upstream.requests.length = 0;
        return this.#respond(byPath.get(request.target), request);
      });
    }
  }

  /**
   * Ends the outage, or begins one with a chance of one half. A hang is always of the upstream of
   * the first resource, the most requested one. It lasts until its timeouts have opened a circuit,
   * however many requests the machine makes in a second.
   */
  turnOutage({ chance, pick }) {
    if (this.#hangs !== undefined && Math.max(0, ...this.#hangs.values()) < CIRCUIT_OPENS_AFTER) return undefined;
    this.#hangs = undefined;
    if (this.outages.size > 0) return this.outages.clear();
    if (chance(0.5)) return undefined;
    this.#outagesSoFar += 1;
    const outage = OUTAGES[this.#outagesSoFar % OUTAGES.length];
    if (outage === HANGS) this.#hangs = new Map();
    return this.outages.set(outage === HANGS ? this.resources[0].upstream : pick(this.resources).upstream, outage);
  }

  /** Gives the resource a new version: every earlier response is out of date. */
  #change(resource) {
    resource.version += 1;
    return resource.version;
  }

  #respond(resource, request) {
    this.serial += 1;
    const serial = this.serial;
    const random = randomFrom(this.seed + serial * 7919);
    const { chance, pick, int } = random;
    const isSafe = ["GET", "HEAD"].includes(request.method);
    const changes = resource.policy.isHeuristic ? 0.005 : 0.05;
    const record = { serial, resource, method: request.method, atMs: Date.now(), selecting: {}, isOneOff: false };
    this.records.set(serial, record);
    if (!isSafe) {
      record.version = this.#change(resource);
      if (chance(0.3)) {
        record.other = { resource: pick(this.resources.filter(({ upstream }) => upstream === resource.upstream)) };
        record.other.version = this.#change(record.other.resource);
      }
    } else if (chance(changes)) this.#change(resource);
    const faults = this.isQuiet ? {} : this.#faults(resource, random);
    if (faults === HANGS) {
      const path = `${request.method} ${resource.path}`;
      this.#hangs?.set(path, (this.#hangs.get(path) ?? 0) + 1);
    }
    const response = isSafe ? this.#read(record, request, faults, random) : this.#written(record, faults, random);
    const body = bodyOf(record);
    const hasBody = request.method !== "HEAD" && ![204, 304].includes(response.status);
    response.body = hasBody || request.method === "HEAD" ? body.subarray(response.from ?? 0, response.to) : "";
    response.framing = pick(["length", "length", "length", "chunked"]);
    const { inBody, ...ofHead } = faults;
    Object.assign(response, ofHead);
    if (inBody && hasBody && response.body.length > 1 && response.breaksAt === undefined) {
      // A body that is passed on as it arrives stalls for the client, too. A short one with a
      // Content-Length is read whole first.
      const stalls = inBody.stalls && response.framing === "length" && body.length <= 65_536;
      response[stalls ? "stallsAt" : "breaksAt"] = int(0, response.body.length - 1);
      response.reset = inBody.reset;
    }
    record.isBroken = [response.breaksAt, response.stallsAt].some((at) => at !== undefined) || response.hangs === true;
    record.status = response.status;
    const asked = `${serial} after ${record.atMs - this.startedMs} ms: ${request.method} ${JSON.stringify(notedFields(request))}`;
    const end = record.isBroken ? `broken off at ${response.breaksAt ?? response.stallsAt}` : response.framing;
    this.note(resource, `upstream: ${asked} -> ${response.status} ${record.identity} ${record.control ?? ""} ${end}`);
    return response;
  }

  /** Chooses the faults of a response. */
  #faults({ upstream }, { chance, pick, int }) {
    const outage = this.outages.get(upstream);
    if (outage) return outage;
    // Not `HANGS`: only the timeouts of an outage are counted.
    if (chance(0.004)) return { hangs: true };
    if (chance(0.015)) return { breaksAt: pick(["head", "in head"]), reset: chance(0.5) };
    if (chance(0.03)) return { isError: true };
    const faults = chance(0.2) ? { delayMs: int(1, 40) } : {};
    if (chance(0.02)) faults.delayMs = int(100, 250);
    if (chance(0.03)) faults.inBody = { stalls: chance(0.3), reset: chance(0.5) };
    if (chance(0.1)) faults.closes = true;
    return faults;
  }

  /** Returns the response to a GET or HEAD. */
  #read(record, request, { isError }, { chance, pick }) {
    const { resource } = record;
    const { policy } = resource;
    for (const name of resource.names) record.selecting[name] = request.field(name) ?? "-";
    const headers = [`X-Soak: ${record.serial}`, `Cache-Tag: all, g${resource.group}`];
    if (isError) {
      const control = pick([[], [], ["Cache-Control: no-store"]]);
      return this.#oneOff(record, { status: pick(ERRORS), headers: [...headers, ...control] });
    }
    if (resource.names.length > 0) headers.push(`Vary: ${resource.names.join(", ")}`);
    const hasAuthorization = request.field("authorization") !== undefined;
    const hasCredentials = hasAuthorization || request.field("cookie") !== undefined;
    const isMarkedOneOff = !hasCredentials && chance(0.04);
    // A response to a request with credentials is shared only if its freshness is explicit, and
    // with `Authorization` only if a directive allows it (RFC 9111 §3.5).
    const isFreshForAll = policy.fresh > 0 && !policy.isHeuristic;
    const isForOne = isMarkedOneOff || (hasCredentials && !isFreshForAll) || (hasAuthorization && !/s-maxage|must-revalidate/.test(policy.control));
    record.sharesCookies = !hasCredentials && !isMarkedOneOff && isFreshForAll && (/s-maxage/.test(policy.control) || policy.cdn !== undefined);
    record.control = isMarkedOneOff ? pick(ONE_OFF) : policy.control;
    if (isMarkedOneOff) headers.push(`${policy.cdn ? "CDN-Cache-Control" : "Cache-Control"}: ${record.control}`);
    else {
      if (policy.control) headers.push(`Cache-Control: ${policy.control}`);
      if (policy.cdn) headers.push(`CDN-Cache-Control: ${policy.cdn}`);
    }
    if (isForOne || policy.isHeuristic || chance(0.3)) headers.push(`Set-Cookie: id=${record.serial}`);
    this.#represent(record, resource.version);
    const etag = policy.etag ? `"${resource.id}-${resource.version}-${crc32(record.identity)}"` : undefined;
    // A second for each version, so that no two have the same.
    const modifiedMs = this.startedMs - 1_600_000 + resource.version * 1000;
    const modified = policy.modified ? new Date(modifiedMs).toUTCString() : undefined;
    const validators = [...(etag ? [`ETag: ${etag}`] : []), ...(modified ? [`Last-Modified: ${modified}`] : [])];
    const asked = request.field("if-none-match");
    const since = Date.parse(request.field("if-modified-since") ?? "");
    const isSame = asked === undefined ? modified !== undefined && Date.parse(modified) <= since : etag !== undefined && asked.includes(etag);
    if (isSame && chance(0.95)) {
      record.isOneOff = isForOne;
      return { status: 304, headers: [...headers, ...validators] };
    }
    if (isForOne) {
      // Without a directive against it, it has validators, so that a cache could store it.
      const oneOffValidators = [
        ...(etag && !isMarkedOneOff ? [`ETag: "only-${record.serial}"`] : []),
        ...(modified && !isMarkedOneOff ? [`Last-Modified: ${modified}`] : []),
      ];
      return this.#oneOff(record, { status: record.ofStatus, headers: [...headers, ...oneOffValidators] });
    }
    if (resource.isZipped) headers.push("Content-Encoding: gzip");
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.field("range") ?? "");
    const length = bodyOf(record).length;
    const isUnchanged = [undefined, etag].includes(request.field("if-range"));
    if (request.method === "GET" && range && isUnchanged && record.ofStatus === 200 && Number(range[1]) < length && chance(0.9)) {
      const [from, to] = [Number(range[1]), Math.min(Number(range[2]) + 1, length)];
      return { status: 206, headers: [...headers, ...validators, `Content-Range: bytes ${from}-${to - 1}/${length}`], from, to };
    }
    return { status: record.ofStatus, headers: [...headers, ...validators] };
  }

  /** Sets the identity of a version: its URL, the fields that select it, its number. */
  #represent(record, version) {
    const { resource } = record;
    record.version = version;
    record.identity = `${resource.url} ${JSON.stringify(record.selecting)} ${version}`;
    record.isZipped = resource.isZipped;
    record.ofStatus = resource.isOften404 && version % 3 === 0 ? 404 : 200;
  }

  /** Returns a response whose body no other request may get. */
  #oneOff(record, response) {
    record.isOneOff = true;
    record.ofStatus = response.status;
    record.isZipped = record.resource.isZipped;
    if (record.isZipped) response.headers.push("Content-Encoding: gzip");
    record.identity = `${record.resource.url} ${JSON.stringify(record.selecting)} only-${record.serial}`;
    return response;
  }

  /**
   * Returns the response to an unsafe method. Some to a POST may answer the next GET
   * (`Content-Location`, RFC 9110 §9.3.3).
   */
  #written(record, { isError }, { chance, pick }) {
    const { resource, version, other, serial } = record;
    const headers = [`X-Soak: ${serial}`];
    if (other) headers.push(`${chance(0.5) ? "Location" : "Content-Location"}: ${other.resource.path}`);
    if (isError) return this.#oneOff(record, { status: pick(ERRORS), headers });
    if (record.method !== "POST" || resource.names.length > 0 || other || chance(0.5))
      return this.#oneOff(record, { status: pick([200, 201, 204, 303, 404]), headers });
    this.#represent(record, version);
    record.ofStatus = 200;
    record.control = "max-age=3";
    const more = [
      `Cache-Tag: all, g${resource.group}`,
      `Content-Location: ${resource.path}`,
      "Cache-Control: max-age=3",
      ...(resource.isZipped ? ["Content-Encoding: gzip"] : []),
    ];
    return { status: 200, headers: [...headers, ...more] };
  }

  /** Records an event of a resource, to report with a wrong response. */
  note(resource, event) {
    resource.history.push(event);
    if (resource.history.length > 60) resource.history.shift();
  }

  /** Records that from now on no response may be older than this one. */
  raiseFloor(resource, serial, version = 0) {
    this.note(resource, `floor: ${serial} ${version}`);
    resource.floor = { serial: Math.max(resource.floor.serial, serial), version: Math.max(resource.floor.version, version) };
  }

  /**
   * Returns the longest time, in seconds, that a hit may have been stored. `detail` is that of its
   * Cache-Status, `asked` the request's Cache-Control.
   */
  oldestHit({ control, resource: { policy } }, detail, asked) {
    const { fresh, swr = 0, sie = 0 } = control === "max-age=3" ? { fresh: 3 } : policy;
    const number = (name) => Number(new RegExp(`${name}=(\\d+)`).exec(asked ?? "")?.[1] ?? 0);
    switch (detail) {
      case undefined:
        return fresh;
      case "stale-while-revalidate":
        return fresh + swr;
      case "stale-if-error":
        return fresh + Math.max(sie, number("stale-if-error"));
      default:
        return fresh + number("max-stale");
    }
  }
}

const NOTED_FIELDS = ["if-none-match", "if-modified-since", "range", "cache-control", "x-variant", "x-other", "authorization", "cookie"];
const notedFields = (request) => Object.fromEntries(NOTED_FIELDS.flatMap((name) => (request.field(name) === undefined ? [] : [[name, request.field(name)]])));

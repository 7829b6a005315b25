// The built Worker with bindings that fail as a test says. If no fault applies, they call the
// real ones.
//
// Faults are named in two ways, both as JSON; the list of an operation is used in order, its last
// entry again and again:
// - the request header `X-Kv-Faults`, such as {"WRITES":{"put":["429","ok"]}}, for the calls that
//   the Worker makes for this request. {"KEY_WRITER":"missing"} removes the binding;
//   {"WRITES":{"get a":["500"]}} is for the key `a` alone;
// - `PUT /.kv-faults?key=K` with {"put":["limit"],"get":["500"]}, for the calls for that key in
//   WRITES by requests without that header, and in any namespace by Durable Objects, until it is
//   set again. {"object":["throws"]} makes the key's object itself fail. The key `metrics` is that
//   of the object METRICS_STORE, which can also be slow or lose its response:
//   {"object":["slow for 50","lost response"]}. If K is a path, {"fetch":["slow for 50"]} is for
//   the requests to it without that header, the Worker's own included.
//
// `getWithMetadata` has the faults of `get`. A `get` of several keys at once (a bulk read) is the
// operation `bulk`; without faults of its own it has those of `get`. `injectFault` lists the
// faults.
//
// Each call is recorded with its `cause`: the request header `X-Test-Cause` of the request for
// which the Worker makes it, even after the response, or the class of the Durable Object that
// makes it.
//
// A test controls and inspects it by these routes:
// - `GET /.kv-calls?key=K` returns the calls for a key so far, `?under=P` those for all keys with
//   the prefix P (a `list` counts by its prefix, a bulk read by each of its `keys`, a request with
//   a fault by its path);
// - `GET /.object?key=K` returns the alarm of the key's object and the size of what it stores,
//   `GET /.storage?key=K` all of its records and its alarm, and `PUT /.storage?key=K` stores such
//   a response. `/.storage` with `&binding=B` is that of the object K of another class;
// - `GET /.object-calls` returns how many calls each class of objects has received;
// - `DELETE /.alarm?key=K` deletes the object's alarm, `POST /.crash?key=K` crashes the object;
// - `PUT /.calls-max?calls=N` limits the KV calls of each request to the Worker from now on, as
//   Workers KV does (1,000), and those of an object to each namespace since its start;
//   `GET /.invocations` returns how many `calls` each request has made since, its `path`, its
//   `cause`, and its `objectCalls` by class;
// - `PUT /.clock?offsetMs=N` sets the clock of the Worker and of its objects N milliseconds ahead;
// - `DELETE /.memory` replaces the instance of WebAssembly, which holds all that the Worker keeps
//   in memory. Workers KV and the objects keep what they store;
// - `PUT /.vars` does the same, and replaces vars and secrets of the Worker, but not of its
//   objects: {"CONFIG_REFRESH":"1","API_TOKEN":null} sets the one and removes the other.
import { DurableObject } from "cloudflare:workers";
import worker, { KeyWriter as BuiltKeyWriter, MetricsStore as BuiltMetricsStore, NamespaceList as BuiltNamespaceList } from "../../build/entry.js";

const calls = [];
const receivedByObjects = { KEY_WRITER: 0, METRICS_STORE: 0, NAMESPACE_LIST: 0 };
const lastPutMs = new Map();
const faultsByKey = new Map();

const PHRASES = {
  400: "Bad Request",
  403: "Forbidden",
  413: "Content Too Large",
  429: "Too Many Requests",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

const realNow = Date.now;
let clockOffsetMs = 0;
let replacedVars = {};
Date.now = () => realNow.call(Date) + clockOffsetMs;

/** Of longer bytes only the length is recorded; strings are recorded whole. */
const RECORDED_BYTES_MAX = 4096;

/** The most KV calls of an invocation, and the invocations since that was set. */
let callsMax = Number.POSITIVE_INFINITY;
let invocations = [];

/** Counts a KV call of an invocation. Throws the runtime's own error if it is one too many. */
function countCall(invocation) {
  invocation.calls += 1;
  if (invocation.calls > callsMax) throw new Error("Too many API requests by single Worker invocation.");
}

/** Returns an error with the runtime's own message. */
const failure = (operation, status) =>
  new Error(`KV ${{ put: "PUT", delete: "DELETE", bulk: "GET_BULK" }[operation] ?? "GET"} failed: ${status} ${PHRASES[status]}`);

/** What an operation returns if KV has nothing. */
const EMPTY_RESULTS = {
  getWithMetadata: () => ({ value: null, metadata: null }),
  list: () => ({ keys: [], list_complete: true }),
  bulk: ({ keys }) => new Map(keys.map((key) => [key, null])),
};

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * Crashes an object. Calls `abort` from a timer, because it ends what the isolate runs at that
 * moment, and WebAssembly on the stack would never return.
 */
const crash = (ctx) => new Promise(() => setTimeout(() => ctx.abort("a crash of the test")));

/**
 * Applies a fault to a call: throws, or returns `{ value }` in place of KV's, `{ options }` to
 * call KV with as well, `{ afterwards }` to call after KV's, or undefined to call KV as usual.
 */
async function injectFault(fault, call, ctx) {
  const { binding, operation, key } = call;
  const [kind, ms] = fault.split(" for ");
  switch (kind) {
    case "ok":
      return undefined;
    // Takes `ms` milliseconds.
    case "slow":
      await sleep(Number(ms));
      return undefined;
    // KV's result comes so many milliseconds late.
    case "late":
      return { afterwards: () => sleep(Number(ms)) };
    // One put a second for each key: Workers KV enforces it, the local KV does not.
    case "limit": {
      const name = JSON.stringify([binding, key]);
      const now = realNow();
      if (now - (lastPutMs.get(name) ?? Number.NEGATIVE_INFINITY) < 1000) throw failure(operation, 429);
      lastPutMs.set(name, now);
      return undefined;
    }
    // A page of a list has one key: KV may return fewer than it is asked for.
    case "short page":
      return { options: { limit: 1 } };
    case "missing":
      return { value: EMPTY_RESULTS[operation]?.(call) ?? null };
    // KV never returns this for a text.
    case "not a text":
      return { value: operation === "bulk" ? new Map(call.keys.map((key) => [key, 5])) : 5 };
    // Acknowledges a put without making it, as if another location had not seen it yet.
    case "pretends":
      return { value: undefined };
    case "never":
      return { value: new Promise(() => {}) };
    // The free plan's daily operations are used up.
    case "quota":
      throw new Error(`KV ${operation}() limit exceeded for the day.`);
    case "no response":
      throw new Error("Network connection lost.");
    // KV makes the put, but its response is lost.
    case "lost response":
      return { afterwards: () => Promise.reject(new Error("Network connection lost.")) };
    // The object crashes before its put, or after KV has made it.
    case "crash before":
      return crash(ctx);
    case "crash after":
      return { afterwards: () => crash(ctx) };
    // The runtime never throws these, but the Worker must survive them.
    case "throws a string":
      throw "a string";
    case "throws undefined":
      throw undefined;
    default:
      throw failure(operation, fault);
  }
}

/** Applies the fault of a request to a path, if there is one. */
async function injectFetchFault(path) {
  const fault = faultsOfKey(path).next("fetch", path);
  if (fault === "ok") return;
  const startedMs = realNow();
  const call = { operation: "fetch", key: path, by: "client", startedMs, endedMs: startedMs };
  calls.push(call);
  await injectFault(fault, call);
}

/** Returns the names under which faults may be listed, the most specific first. */
const namesOf = (operation, key) => [`${operation} ${key}`, operation, ...(operation === "bulk" ? ["get"] : [])];

/** Returns the faults in order: `next("put", key)` is that of the next put. */
function faultSequence(faults) {
  const made = {};
  return {
    next(operation, key) {
      const name = namesOf(operation, key).find((name) => faults[name]);
      if (name === undefined) return "ok";
      const turn = made[name] ?? 0;
      made[name] = turn + 1;
      return faults[name][Math.min(turn, faults[name].length - 1)];
    },
  };
}

const noFaults = faultSequence({});
const faultsOfKey = (key) => faultsByKey.get(key) ?? noFaults;

/** Returns the bindings with the vars that a test has replaced. */
function withReplacedVars(env) {
  const all = Object.entries({ ...env, ...replacedVars });
  return Object.fromEntries(all.filter(([, value]) => value !== null));
}

/** Empties the memory of the Worker: its instance traps, and the next call makes a new one. */
async function emptyMemory(env, ctx) {
  // Waits until the calls under way have ended, for a second at most: a cancelled one never ends.
  for (let turn = 0; turn < 200 && calls.some(({ endedMs }) => endedMs === undefined); turn += 1) await sleep(5);
  await sleep(0);
  await new Promise((resolve) => {
    const trap = {
      get method() {
        resolve();
        throw new WebAssembly.RuntimeError("unreachable");
      },
    };
    worker.fetch(trap, env, ctx);
  });
}

/** Returns the value of a put in a form that a test can compare. */
function describeValue(value) {
  if (typeof value === "string") return { value };
  if (value instanceof ReadableStream) return { value: "a stream" };
  const bytes = value.byteLength;
  return bytes > RECORDED_BYTES_MAX ? { bytes } : { bytes, value: new TextDecoder().decode(value) };
}

/**
 * Returns `kv` with the faults that `faultsFor(key)` lists. `ctx` is that of the object that makes
 * the calls, if one does; `invocation` counts them; `cause` is recorded with them.
 */
function withFaults(kv, binding, faultsFor, { ctx, cause, invocation = { calls: 0 } }) {
  return new Proxy(kv, {
    get(target, name) {
      const method = Reflect.get(target, name);
      if (typeof method !== "function") return method;
      return async (first, ...rest) => {
        const isBulk = Array.isArray(first);
        const operation = isBulk ? "bulk" : name;
        const key = operation === "list" ? (first?.prefix ?? "") : isBulk ? null : first;
        const call = { binding, operation, key, by: ctx ? "object" : "worker", cause, startedMs: realNow(), done: false };
        if (operation === "put") Object.assign(call, describeValue(rest[0]), { metadata: rest[1]?.metadata, ttl: rest[1]?.expirationTtl });
        if (isBulk) call.keys = [...first];
        calls.push(call);
        try {
          countCall(invocation);
          const fault = faultsFor(key).next(operation === "getWithMetadata" ? "get" : operation, key);
          const instead = await injectFault(fault, call, ctx);
          if (instead && "value" in instead) return await instead.value;
          const result = await method.call(target, instead?.options ? { ...first, ...instead.options } : first, ...rest);
          call.done = true;
          await instead?.afterwards?.();
          return result;
        } finally {
          call.endedMs = realNow();
        }
      };
    },
  });
}

/**
 * Returns the bindings with faults in every KV namespace; `faultsOf(binding)` returns the faults
 * by key.
 */
function withFaultsInAll(env, faultsOf, by) {
  const isNamespace = (value) => typeof value?.getWithMetadata === "function";
  const bindings = Object.entries(env).map(([name, value]) => [name, isNamespace(value) ? withFaults(value, name, faultsOf(name), by) : value]);
  return Object.fromEntries(bindings);
}

/** Returns the bindings, of which those of classes of objects count the calls of an invocation. */
function countingObjectCalls(env, { objectCalls }) {
  const counting = (namespace, binding) => ({
    getByName(name) {
      const stub = namespace.getByName(name);
      return {
        fetch(request) {
          objectCalls[binding] = (objectCalls[binding] ?? 0) + 1;
          return stub.fetch(request);
        },
      };
    },
  });
  return Object.fromEntries(Object.entries(env).map(([name, value]) => [name, name in receivedByObjects ? counting(value, name) : value]));
}

/** The key's Durable Object, with the faults of its key in its KV calls. */
export class KeyWriter extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.writer = new BuiltKeyWriter(
      ctx,
      withFaultsInAll(env, () => faultsOfKey, { ctx, cause: "KEY_WRITER" }),
    );
  }

  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/.object") return Response.json(await summarizeStorage(this.ctx.storage));
    if (pathname === "/.storage") return handleStorage(this.ctx, request);
    if (pathname === "/.crash") await crash(this.ctx);
    if (pathname === "/.alarm") {
      await this.ctx.storage.deleteAlarm();
      return new Response(null, { status: 204 });
    }
    receivedByObjects.KEY_WRITER += 1;
    if (faultsOfKey(this.ctx.id.name).next("object", this.ctx.id.name) === "throws") throw new Error("a secret of the object");
    return this.writer.fetch(request);
  }

  alarm(info) {
    return this.writer.alarm(info);
  }
}

/** The object that lists namespaces, whose KV calls have the faults of their keys. */
export class NamespaceList extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.list = new BuiltNamespaceList(
      ctx,
      withFaultsInAll(env, () => faultsOfKey, { ctx, cause: "NAMESPACE_LIST" }),
    );
  }

  fetch(request) {
    if (new URL(request.url).pathname === "/.storage") return handleStorage(this.ctx, request);
    receivedByObjects.NAMESPACE_LIST += 1;
    return this.list.fetch(request);
  }

  alarm(info) {
    return this.list.alarm(info);
  }
}

/** The object that adds the metrics up, with the faults of the key `metrics`. */
export class MetricsStore extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.store = new BuiltMetricsStore(ctx, env);
  }

  async fetch(request) {
    if (new URL(request.url).pathname === "/.storage") return handleStorage(this.ctx, request);
    receivedByObjects.METRICS_STORE += 1;
    const [fault, ms] = faultsOfKey("metrics").next("object", "metrics").split(" for ");
    if (fault === "throws") throw new Error("a secret of the object");
    if (fault === "slow") await sleep(Number(ms));
    const response = await this.store.fetch(request);
    if (fault === "lost response") throw new Error("Network connection lost.");
    return response;
  }
}

/**
 * Returns a summary of what an object stores: its alarm, its records with their lengths, and its
 * tables with their row counts.
 */
async function summarizeStorage(storage) {
  const records = [...(await storage.list())].map(([name, value]) => ({ name, bytes: length(value) }));
  const names = storage.sql.exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'");
  const tables = [...names].map(({ name }) => {
    const { rows } = storage.sql.exec(`SELECT count(*) AS rows FROM "${name}"`).one();
    return { name, rows };
  });
  return { alarmMs: await storage.getAlarm(), records, tables };
}

/** Responds to `GET /.storage` or `PUT /.storage`. */
async function handleStorage(ctx, request) {
  if (request.method === "GET") return Response.json(await storageOf(ctx));
  await store(ctx, await request.json());
  return new Response(null, { status: 204 });
}

/** Returns the records of an object, bytes in base64, and its alarm; not its tables. */
async function storageOf({ storage }) {
  const values = [...(await storage.list())];
  const shown = (value) => (typeof value === "string" ? { text: value } : { base64: new Uint8Array(value).toBase64() });
  return { alarmMs: await storage.getAlarm(), values: values.map(([name, value]) => ({ name, ...shown(value) })) };
}

async function store({ storage }, { alarmMs, values }) {
  for (const { name, text, base64 } of values) await storage.put(name, text ?? Uint8Array.fromBase64(base64).buffer);
  if (alarmMs !== null) await storage.setAlarm(alarmMs);
}

const length = (value) => value?.byteLength ?? new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value)).length;

/** Returns the object of the class that the request names. */
const objectFor = (request, env, key) => env[new URL(request.url).searchParams.get("binding") ?? "KEY_WRITER"].getByName(key);

const controls = {
  "GET /.kv-calls": (request, _env, key) => {
    const under = new URL(request.url).searchParams.get("under");
    const isMeant = (name) => (under === null ? name === key : name.startsWith(under));
    return Response.json(calls.filter((call) => (call.keys ?? [call.key]).some(isMeant)));
  },
  "PUT /.kv-faults": async (request, _env, key) => {
    faultsByKey.set(key, faultSequence(await request.json()));
    return new Response(null, { status: 204 });
  },
  "PUT /.calls-max": (request) => {
    callsMax = Number(new URL(request.url).searchParams.get("calls"));
    invocations = [];
    return new Response(null, { status: 204 });
  },
  "GET /.invocations": () => Response.json(invocations),
  "PUT /.clock": (request) => {
    clockOffsetMs = Number(new URL(request.url).searchParams.get("offsetMs"));
    return new Response(null, { status: 204 });
  },
  "DELETE /.memory": async (_request, env, _key, ctx) => {
    await emptyMemory(env, ctx);
    return new Response(null, { status: 204 });
  },
  "PUT /.vars": async (request, env, _key, ctx) => {
    replacedVars = await request.json();
    await emptyMemory(env, ctx);
    return new Response(null, { status: 204 });
  },
  "GET /.object-calls": () => Response.json(receivedByObjects),
  "GET /.object": (request, env, key) => env.KEY_WRITER.getByName(key).fetch(request),
  "GET /.storage": (request, env, key) => objectFor(request, env, key).fetch(request),
  "PUT /.storage": (request, env, key) => objectFor(request, env, key).fetch(request),
  "DELETE /.alarm": (request, env, key) => env.KEY_WRITER.getByName(key).fetch(request),
  "POST /.crash": async (request, env, key) => {
    await env.KEY_WRITER.getByName(key)
      .fetch(request)
      .catch(() => {});
    return new Response(null, { status: 204 });
  },
};

/**
 * Reads the rest of a request body, as `wrangler dev` does. workerd closes a connection whose body
 * is unread, and the client may miss the response.
 */
async function drain({ body, bodyUsed }) {
  if (body === null || bodyUsed) return;
  const reader = body.getReader();
  try {
    while (!(await reader.read()).done);
  } catch {
    // The client has closed the connection.
  }
}

export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    const control = controls[`${request.method} ${url.pathname}`];
    if (control) return control(request, env, url.searchParams.get("key"), ctx);

    const header = request.headers.get("X-Kv-Faults");
    const faults = JSON.parse(header ?? "{}");
    if (header === null) await injectFetchFault(url.pathname);
    const cause = request.headers.get("X-Test-Cause") ?? undefined;
    const invocation = { path: url.pathname, cause, calls: 0, objectCalls: {} };
    invocations.push(invocation);
    const present = Object.entries(withReplacedVars(env)).filter(([binding]) => faults[binding] !== "missing");
    const faultsOf = (binding) => {
      if (header === null && binding === "WRITES") return faultsOfKey;
      const ofRequest = faultSequence(faults[binding] ?? {});
      return () => ofRequest;
    };
    const bindings = withFaultsInAll(countingObjectCalls(Object.fromEntries(present), invocation), faultsOf, { cause, invocation });
    const response = await worker.fetch(request, bindings, ctx);
    await drain(request);
    return response;
  },
};

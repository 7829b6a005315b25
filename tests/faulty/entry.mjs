// The built Worker with KV bindings that fail as a test says. The bindings behind are the real ones.
//
// A request names its faults in the header `X-Kv-Faults`, as JSON: binding, operation, and what its calls do in order, the
// last one again and again: {"WRITES":{"put":["429","ok"]}}. `GET /.kv-calls?key=K` answers the calls made for a key so far.
import worker from "../../build/entry.js";

const calls = [];
const takenAt = new Map();

const phrases = { 400: "Bad Request", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable" };

/** The runtime's own message. */
const failure = (operation, status) =>
  new Error(`KV ${operation === "put" ? "PUT" : "GET"} failed: ${status} ${phrases[status]}`);

/** What a call does instead of asking KV, or afterwards: throw, answer, or nothing (`undefined`). */
function act(fault, { binding, operation, key }) {
  switch (fault) {
    case "ok":
      return undefined;
    // One put a second for each key, as Workers KV has it and the local KV does not.
    case "limit": {
      const name = JSON.stringify([binding, key]);
      const now = Date.now();
      if (now - (takenAt.get(name) ?? Number.NEGATIVE_INFINITY) < 1000) throw failure(operation, 429);
      takenAt.set(name, now);
      return undefined;
    }
    case "missing":
      return { value: operation === "getWithMetadata" ? { value: null, metadata: null } : null };
    // Acknowledges a put without making it: another location has not seen it yet.
    case "pretends":
      return { value: undefined };
    case "never":
      return { value: new Promise(() => {}) };
    // No well-behaved runtime throws these. The Worker must not fall over them either.
    case "throws a string":
      throw "a string";
    case "throws undefined":
      throw undefined;
    default:
      throw failure(operation, fault);
  }
}

function wrap(kv, binding, faults) {
  const made = {};
  return new Proxy(kv, {
    get(target, operation) {
      const method = Reflect.get(target, operation);
      if (typeof method !== "function") return method;
      return async (key, ...rest) => {
        const script = faults[operation === "getWithMetadata" ? "get" : operation] ?? ["ok"];
        const turn = made[operation] ?? 0;
        made[operation] = turn + 1;
        const call = { binding, operation, key, value: operation === "put" ? rest[0] : undefined, done: false };
        calls.push(call);
        const instead = act(script[Math.min(turn, script.length - 1)], call);
        if (instead) return instead.value;
        const result = await method.call(target, key, ...rest);
        call.done = true;
        return result;
      };
    },
  });
}

export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    if (url.pathname === "/.kv-calls") {
      return Response.json(calls.filter(({ key }) => key === url.searchParams.get("key")));
    }
    const faults = JSON.parse(request.headers.get("X-Kv-Faults") ?? "{}");
    const faulty = { ...env };
    for (const [binding, value] of Object.entries(env)) {
      if (typeof value?.getWithMetadata === "function") faulty[binding] = wrap(value, binding, faults[binding] ?? {});
    }
    return worker.fetch(request, faulty, ctx);
  },
};

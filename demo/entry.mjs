// The Worker that `npm start` serves: the built one, with a limit of Workers KV that the local KV
// does not enforce. Workers KV accepts one write a second to a key and responds with 429 to the
// others. Here that holds for the keys of WRITES that begin with `limited-`, which the demo page
// uses if its switch is on; nothing else changes. `npm run deploy` takes build/entry.js, so it
// never contains this file.
//
// https://developers.cloudflare.com/kv/platform/limits/
import { DurableObject } from "cloudflare:workers";
import worker, { KeyWriter as BuiltKeyWriter } from "../build/entry.js";

export { MetricsStore, NamespaceList } from "../build/entry.js";

const LIMITED = "limited-";
const INTERVAL_MS = 1000;

/** When each limited key was last put. The Worker and its objects run in one isolate. */
const lastPutMs = new Map();

/** Records a put, or throws the error of Workers KV if the key was put less than a second ago. */
function requireInterval(key) {
  const now = Date.now();
  for (const [other, ms] of lastPutMs) if (now - ms >= INTERVAL_MS) lastPutMs.delete(other);
  if (lastPutMs.has(key)) throw new Error("KV PUT failed: 429 Too Many Requests");
  lastPutMs.set(key, now);
}

/** Returns the bindings with the limit in WRITES. */
const withLimit = (env) => ({
  ...env,
  WRITES: new Proxy(env.WRITES, {
    get(kv, name) {
      const method = Reflect.get(kv, name);
      if (typeof method !== "function") return method;
      if (name !== "put") return method.bind(kv);
      return async (key, ...rest) => {
        if (key.startsWith(LIMITED)) requireInterval(key);
        return kv.put(key, ...rest);
      };
    },
  }),
});

/** The Durable Object of a key, whose puts have the limit too. */
export class KeyWriter extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.writer = new BuiltKeyWriter(ctx, withLimit(env));
  }

  fetch(request) {
    return this.writer.fetch(request);
  }

  alarm(info) {
    return this.writer.alarm(info);
  }
}

export default {
  fetch: (request, env, ctx) => worker.fetch(request, withLimit(env), ctx),
};

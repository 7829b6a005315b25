// The built Worker, with a counter of calls of queueMicrotask, and with traps on request.
//
// `GET /.executor` returns how often queueMicrotask was called, the number of the WebAssembly
// instance, and the type of a timer. A request with `X-Trap` traps when it uses
// USER_CONFIGURATION, its only binding: that throws a WebAssembly.RuntimeError, as a trap in Rust
// code does. `PUT /.trap` makes the next use of WRITES by an object trap.
import { DurableObject } from "cloudflare:workers";
import worker, { KeyWriter as Built } from "../../build/entry.js";

export { MetricsStore, NamespaceList } from "../../build/entry.js";

let calls = 0;
const queueMicrotask = globalThis.queueMicrotask;
globalThis.queueMicrotask = (callback) => {
  calls += 1;
  queueMicrotask(callback);
};

const trap = () => {
  throw new WebAssembly.RuntimeError("unreachable");
};

const trapped = {
  get USER_CONFIGURATION() {
    return trap();
  },
};

let objectTraps = false;

/** KV whose puts of the key `slow` take half a second longer: time for a trap meanwhile. */
const withSlowPuts = (kv) => ({
  async put(key, ...rest) {
    if (key === "slow") await new Promise((resolve) => setTimeout(resolve, 500));
    return kv.put(key, ...rest);
  },
  get: kv.get.bind(kv),
  getWithMetadata: kv.getWithMetadata.bind(kv),
});

/** The key's Durable Object, whose next use of WRITES may trap. */
export class KeyWriter extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    const { WRITES, ...others } = env;
    this.writer = new Built(ctx, {
      ...others,
      get WRITES() {
        if (!objectTraps) return withSlowPuts(WRITES);
        objectTraps = false;
        return trap();
      },
    });
  }

  fetch(request) {
    return this.writer.fetch(request);
  }

  alarm(info) {
    return this.writer.alarm(info);
  }
}

export default {
  fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === "/.trap") {
      objectTraps = true;
      return new Response(null, { status: 204 });
    }
    if (pathname === "/.executor") {
      const timer = setTimeout(() => {}, 0);
      return Response.json({ queueMicrotaskCalls: calls, instance: globalThis.__worker_init_state.instanceId, timer: typeof timer });
    }
    return worker.fetch(request, request.headers.has("X-Trap") ? trapped : env, ctx);
  },
};

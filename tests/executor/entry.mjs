// The built Worker, with a look at how its futures are woken, and with traps on request.
//
// `GET /.executor` answers how often queueMicrotask was called and the number of the WebAssembly instance. A request with `X-Trap`
// finds a binding whose use throws what a trap throws, in the midst of Rust code: a WebAssembly.RuntimeError. `PUT /.trap` makes
// the next put of an object trap in the same way.
import { DurableObject } from "cloudflare:workers";
import worker, { KeyWriter as Built } from "../../build/entry.js";

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

/** KV that takes half a second for the puts of the key `slow`. */
const withSlowPuts = (kv) => ({
  async put(key, ...rest) {
    if (key === "slow") await new Promise((resolve) => setTimeout(resolve, 500));
    return kv.put(key, ...rest);
  },
  get: kv.get.bind(kv),
  getWithMetadata: kv.getWithMetadata.bind(kv),
});

/** The key's Durable Object, with the trap at its put. */
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
      return Response.json({ queueMicrotaskCalls: calls, instance: globalThis.__worker_init_state.instanceId });
    }
    return worker.fetch(request, request.headers.has("X-Trap") ? trapped : env, ctx);
  },
};

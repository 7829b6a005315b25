// The module that workerd loads: the Worker that `worker-build` made, without the two Proxies it stands behind.
//
// Those Proxies make an object for each request and look after one thing: a WebAssembly instance that trapped is replaced
// before the next request. Here a healthy instance is called directly; after a trap the request takes the way through the
// Proxies, which put a new instance in place.
import Worker from "../build/index.js";

const handle = Worker.prototype.fetch;
const state = globalThis.__worker_init_state;

function noteTrap(error) {
  if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
}

// Rust code runs in promise continuations: what traps there rejects a promise that nobody waits for.
addEventListener("unhandledrejection", (event) => noteTrap(event.reason));

export default {
  fetch(request, env, ctx) {
    if (state.criticalError) return new Worker(ctx, env).fetch(request);
    try {
      return handle.call({ env, ctx }, request);
    } catch (error) {
      noteTrap(error);
      throw error;
    }
  },
};

// The module that workerd loads: what Rust exports, as a Worker and as the classes of its Durable
// Objects.
//
// An instance of WebAssembly that trapped is not used again: wasm-bindgen notes the trap, and
// makes a new instance at the next call (`tests/executor.test.mjs`). What belongs to the old
// instance, such as an object of a class that Rust exports, is made again here.
import * as wasm from "kv-edge-bindings";

// `worker` counts the instances here (its `init.rs`).
const state = wasm.__worker_init_state();

/**
 * Returns the class of a Durable Object, which must outlive a trap. What was under way in the old
 * instance never ends, and an alarm that does not end keeps the next one from being called. So it
 * fails then, and the runtime calls it again.
 */
const outlivingTraps = (Built, feature) =>
  class {
    #ctx;
    #env;
    #object;
    #instanceId;

    constructor(ctx, env) {
      // The class exists even then, because wrangler.toml names it: an object keeps what it has
      // stored for a later build with the feature.
      if (!Built) throw new Error(`this build has no ${feature}`);
      this.#ctx = ctx;
      this.#env = env;
    }

    /** Returns the object, made again if the instance it belongs to has trapped. */
    #current() {
      Built.touch(); // Any call makes the new instance after a trap.
      if (this.#instanceId !== state.instanceId) {
        this.#object = new Built(this.#ctx, this.#env);
        this.#instanceId = state.instanceId;
      }
      return this.#object;
    }

    fetch(request) {
      return this.#current().fetch(request);
    }

    async alarm(info) {
      const object = this.#current();
      const { instanceId } = state;
      let watch;
      const trapped = new Promise((_, reject) => {
        watch = setInterval(() => {
          Built.touch();
          if (state.instanceId !== instanceId) reject(new Error("WebAssembly trapped"));
        }, 1000);
      });
      try {
        await Promise.race([object.alarm(info?.isRetry ?? false), trapped]);
      } finally {
        clearInterval(watch);
      }
    }
  };

export class KeyWriter extends outlivingTraps(wasm.KeyWriter, "writes") {}

export class MetricsStore extends outlivingTraps(wasm.MetricsStore, "metrics") {}

export class NamespaceList extends outlivingTraps(wasm.NamespaceList, "kv-api") {}

export default { fetch: (request, env, ctx) => wasm.fetch(request, env, ctx) };

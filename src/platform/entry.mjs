// The module that workerd loads: what Rust exports, as a Worker and as the class of its Durable
// Object.
//
// An instance of WebAssembly that trapped is not used again: wasm-bindgen notes the trap, and
// makes a new instance at the next call (`tests/executor.test.mjs`). What belongs to the old
// instance, such as an object of a class that Rust exports, is made again here.
import * as wasm from "kv-edge-bindings";

// A build without the feature `writes` has no `KeyWriter`.
const Writer = wasm.KeyWriter;

// `worker` counts the instances here (its `init.rs`).
const state = wasm.__worker_init_state();

// The Durable Object, which must outlive a trap. What was under way in the old instance never
// ends, and an alarm that does not end keeps the next one from being called. So it fails then, and
// the runtime calls it again.
export class KeyWriter {
  #ctx;
  #env;
  #writer;
  #instanceId;

  constructor(ctx, env) {
    // The class exists even then, because wrangler.toml names it: an object keeps its unwritten
    // values for a later build with the feature.
    if (!Writer) throw new Error("this build has no writes");
    this.#ctx = ctx;
    this.#env = env;
  }

  /** Returns the object, made again if the instance it belongs to has trapped. */
  #current() {
    Writer.touch(); // Any call makes the new instance after a trap.
    if (this.#instanceId !== state.instanceId) {
      this.#writer = new Writer(this.#ctx, this.#env);
      this.#instanceId = state.instanceId;
    }
    return this.#writer;
  }

  fetch(request) {
    return this.#current().fetch(request);
  }

  async alarm(info) {
    const writer = this.#current();
    const { instanceId } = state;
    let watch;
    const trapped = new Promise((_, reject) => {
      watch = setInterval(() => {
        Writer.touch();
        if (state.instanceId !== instanceId) reject(new Error("WebAssembly trapped"));
      }, 1000);
    });
    try {
      await Promise.race([writer.alarm(info?.isRetry ?? false), trapped]);
    } finally {
      clearInterval(watch);
    }
  }
}

export default { fetch: (request, env, ctx) => wasm.fetch(request, env, ctx) };

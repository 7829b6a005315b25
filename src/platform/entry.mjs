// The module that workerd loads: the Worker that `worker-build` made, without the two Proxies
// around it.
//
// Those allocate objects for each request in order to replace a WebAssembly instance that has
// trapped. wasm-bindgen replaces it by itself: it notes the trap, and the next call makes a new
// instance (`tests/executor.test.mjs`).
import * as built from "worker-build";

// A build without the feature `writes` has no `KeyWriter`.
const { default: Worker, KeyWriter: Writer } = built;

const wasm = globalThis.__worker_init_state;

// The Durable Object, which must outlive a trap. The class of worker-build makes a new object in
// the new instance, but whatever was under way in the old one never ends, and an alarm that never
// ends prevents the next one. So the alarm fails here after a trap, and the runtime calls it
// again.
export class KeyWriter {
  constructor(ctx, env) {
    // The class exists even then, because wrangler.toml names it: an object keeps its unwritten
    // values for a later build with the feature.
    if (!Writer) throw new Error("this build has no writes");
    this.writer = new Writer(ctx, env);
  }

  fetch(request) {
    return this.writer.fetch(request);
  }

  async alarm(info) {
    const { instanceId } = wasm;
    let watch;
    const trapped = new Promise((_, reject) => {
      watch = setInterval(() => {
        Writer.touch();
        if (wasm.instanceId !== instanceId) reject(new Error("WebAssembly trapped"));
      }, 1000);
    });
    try {
      await Promise.race([this.writer.alarm(info?.isRetry ?? false), trapped]);
    } finally {
      clearInterval(watch);
    }
  }
}

const handle = Worker.prototype.fetch;

export default { fetch: (request, env, ctx) => handle.call({ env, ctx }, request) };

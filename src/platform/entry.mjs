// The module that workerd loads: the Worker that `worker-build` made, without the two Proxies it stands behind.
//
// Those make objects for each request, to replace a WebAssembly instance that trapped. wasm-bindgen does that by itself: it
// notes the trap and puts a new instance in place at the next call (`tests/executor.test.mjs`).
import * as built from "worker-build";

// A build without the feature `writes` has no `KeyWriter`.
const { default: Worker, KeyWriter: Writer } = built;

const wasm = globalThis.__worker_init_state;

// The Durable Object, which must outlive a trap. worker-build's class makes a new object in the new instance; but what was under
// way in the old one never ends, and an alarm that does not end keeps the next one from being called. So it fails then, and
// the runtime calls it again.
export class KeyWriter {
  constructor(ctx, env) {
    // The class stays, as wrangler.toml names it: an object keeps what it has not put yet for a
    // build that can.
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

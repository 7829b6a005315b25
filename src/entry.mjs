// The module that workerd loads: the Worker that `worker-build` made, without the two Proxies it stands behind.
//
// Those make objects for each request, to replace a WebAssembly instance that trapped. wasm-bindgen does that by itself: it
// notes the trap and puts a new instance in place at the next call (`tests/executor.test.mjs`).
import Worker from "../build/index.js";

const handle = Worker.prototype.fetch;

// The Durable Object stands behind them: a few of its calls take the place of many puts, and an object outlives a trap.
export { KeyWriter } from "../build/index.js";

export default { fetch: (request, env, ctx) => handle.call({ env, ctx }, request) };

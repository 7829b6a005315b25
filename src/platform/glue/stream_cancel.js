// Streams that nobody reads. This is a module of its own, because the glue imports a module once
// for each of its functions that WebAssembly calls itself, and the bundler warns about a second
// import.

/**
 * Cancels a stream, so that its connection is free again. A broken stream rejects, and the runtime
 * would log the rejection as `Uncaught Error`.
 */
export function cancel(stream) {
  stream.cancel().catch(() => {});
}

// Streams that nobody reads. A module of its own: of two functions of one module that WebAssembly
// calls itself, the glue names the module twice, and the bundler warns.

/**
 * Ends a stream, so that its connection is free. One that is broken has ended already, and the
 * runtime logs a rejection that nobody handles as `Uncaught Error`.
 */
export function end(stream) {
  stream.cancel().catch(() => {});
}

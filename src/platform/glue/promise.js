// Promises that Rust waits for. One function of WebAssembly, `settle`, serves all of them.

const [FULFILLED, REJECTED, LATE] = [0, 1, 2];

/**
 * Calls `settle(id, how, value)` once: when the promise settles, or after `timeoutMs` milliseconds
 * if that is a number.
 */
export function watch(promise, id, settle, timeoutMs) {
  if (timeoutMs === undefined) {
    promise.then(
      (value) => settle(id, FULFILLED, value),
      (error) => settle(id, REJECTED, error),
    );
    return;
  }
  let timer = setTimeout(() => {
    timer = undefined;
    settle(id, LATE);
  }, timeoutMs);
  const end = (how, value) => {
    if (timer === undefined) return;
    clearTimeout(timer);
    timer = undefined;
    settle(id, how, value);
  };
  promise.then(
    (value) => end(FULFILLED, value),
    (error) => end(REJECTED, error),
  );
}

// Promises that Rust waits for. One function of WebAssembly, `settle`, serves all of them.

const [FULFILLED, REJECTED, LATE] = [0, 1, 2];

/** Calls `settle(id, how, value)` when the promise settles. */
export function watch(promise, id, settle) {
  promise.then(
    (value) => settle(id, FULFILLED, value),
    (error) => settle(id, REJECTED, error),
  );
}

/**
 * The deadlines of one request, or of one Durable Object: a timer belongs to whoever set it. To
 * set one, and to clear it, costs more than all else here. So one timer serves all deadlines, and
 * that of a request is not cleared: it ends with the request. That of an object would keep the
 * object in memory, which is paid for, so it is cleared once nothing waits.
 */
export class Deadlines {
  #isOfObject;
  #waits = new Set();
  #timer;
  /** When the next timer fires. */
  #timerAt = Infinity;

  constructor(isOfObject) {
    this.#isOfObject = isOfObject;
  }

  /**
   * Calls `settle(id, how, value)` once: when the promise settles, or after `timeoutMs`
   * milliseconds.
   */
  watch(promise, id, settle, timeoutMs) {
    const wait = { id, settle, timeoutMs, endsAt: performance.now() + timeoutMs };
    this.#waits.add(wait);
    if (wait.endsAt < this.#timerAt) this.#setTimer(wait.endsAt, timeoutMs);
    const end = (how, value) => {
      if (!this.#waits.delete(wait)) return;
      if (this.#waits.size === 0) this.#endTimer();
      settle(id, how, value);
    };
    promise.then(
      (value) => end(FULFILLED, value),
      (error) => end(REJECTED, error),
    );
  }

  #setTimer(at, milliseconds) {
    this.#endTimer();
    this.#timerAt = at;
    this.#timer = setTimeout(() => this.#endLate(at), milliseconds);
  }

  #endTimer() {
    if (!this.#isOfObject) return;
    clearTimeout(this.#timer);
    this.#timerAt = Infinity;
  }

  /** Ends the waits whose time is over, and sets the timer of the next one. */
  #endLate(now) {
    if (this.#timerAt === now) this.#timerAt = Infinity;
    for (const wait of this.#waits) {
      if (wait.endsAt > now) continue;
      this.#waits.delete(wait);
      wait.settle(wait.id, LATE);
    }
    const [next] = [...this.#waits].sort((one, other) => one.endsAt - other.endsAt);
    if (next === undefined || next.endsAt >= this.#timerAt) return;
    // The clock may have been set back: no wait becomes longer by more than its timeout.
    this.#setTimer(next.endsAt, Math.min(next.endsAt - performance.now(), next.timeoutMs));
  }
}

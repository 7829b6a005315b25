// Tells other people's changes of a key from the versions that this page read or wrote. KV may
// serve the old version for a minute after a write, so for that long one that the page replaced is
// not a conflict.

/** How long KV may serve a version after its successor was written, in milliseconds. */
const PROPAGATION_MS = 60_000;

/** Somebody else has changed a key since the page has read it. `theirs` is what it is now. */
export class ChangedInBetween extends Error {
  constructor(theirs) {
    super("Somebody else has changed or deleted this since you opened it.");
    this.theirs = theirs;
  }
}

/**
 * The versions of a key that the page has read and written: `{ bytes, metadata, expiration }`, or
 * `null` if there is none.
 */
export class OwnVersions {
  #current;
  #replaced = [];

  /** `version` is what the page has read. */
  constructor(version) {
    this.#current = version;
  }

  /** Adds a newer version. The one before it counts as known for a minute. */
  add(version, nowMs = Date.now()) {
    this.#replaced.push({ version: this.#current, endMs: nowMs + PROPAGATION_MS });
    this.#current = version;
  }

  /**
   * Checks what KV has now. Throws a `ChangedInBetween` if somebody else has changed or deleted
   * it. `consent` is such an error from before, if whoever saw its `theirs` agreed to replace
   * that version.
   */
  check(version, consent) {
    const isAgreed = consent !== undefined && areSame(consent.theirs, version);
    if (!isAgreed && !this.has(version)) throw new ChangedInBetween(version);
  }

  /** Returns true if a version is the current one, or if KV may still serve it. */
  has(version, nowMs = Date.now()) {
    this.#replaced = this.#replaced.filter(({ endMs }) => nowMs < endMs);
    return [this.#current, ...this.#replaced.map((one) => one.version)].some((known) => areSame(known, version));
  }
}

function areSame(one, other) {
  if (one === null || other === null) return one === other;
  return areEqual(one.bytes, other.bytes) && JSON.stringify(one.metadata) === JSON.stringify(other.metadata) && areSameTimes(one.expiration, other.expiration);
}

/** An unknown expiration (`undefined`) equals any other. */
const areSameTimes = (one, other) => one === undefined || other === undefined || one === other;

const areEqual = (a, b) => a.length === b.length && a.every((byte, index) => byte === b[index]);

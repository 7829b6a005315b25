// Which versions of a key the console recognizes as its own writes, and does not report as changes
// by somebody else.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ChangedInBetween, OwnVersions } from "../console/src/own_versions.js";

const version = (text, rest) => ({ bytes: new TextEncoder().encode(text), metadata: null, expiration: null, ...rest });

test("the version before our own write is known for a minute, the current one for good", () => {
  const versions = new OwnVersions(version("first"));
  assert.ok(versions.has(version("first"), 1e9));
  versions.add(version("second"), 0);
  assert.ok(versions.has(version("first"), 59_999));
  assert.ok(!versions.has(version("first"), 60_000));
  assert.ok(versions.has(version("second"), 1e9));
});

test("bytes, metadata, an expiration and a deletion are changes; an unknown expiration is none", () => {
  const versions = new OwnVersions(version("a", { expiration: 7 }));
  for (const other of [version("b", { expiration: 7 }), version("a", { expiration: 8 }), version("a"), version("a", { expiration: 7, metadata: 1 }), null]) {
    assert.ok(!versions.has(other));
  }
  assert.ok(versions.has(version("a", { expiration: undefined })));
  assert.ok(new OwnVersions(null).has(null));
});

test("consent to replace a version of somebody else is for that version alone", () => {
  const versions = new OwnVersions(version("first"));
  const consent = new ChangedInBetween(version("theirs"));
  versions.check(version("theirs"), consent);
  versions.check(version("first"), consent);
  for (const other of [version("theirs again"), null]) assert.throws(() => versions.check(other, consent), ChangedInBetween);
  assert.throws(() => versions.check(version("theirs")), ChangedInBetween);
  versions.check(null, new ChangedInBetween(null));
});

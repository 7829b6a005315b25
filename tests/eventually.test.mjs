// The harness's own `eventually`, on which most other tests rely.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "./harness/eventually.mjs";

test("eventually returns the first value that is not null, undefined or false", async () => {
  const values = [undefined, null, false, 0];
  assert.equal(await eventually(() => values.shift(), "a value"), 0);
});

test("eventually looks once if it has no time", async () => {
  assert.equal(await eventually(() => 1, "a value", 0), 1);
});

test("eventually counts the time that looking takes", async () => {
  let looks = 0;
  const look = async () => {
    looks += 1;
    await sleep(100);
  };
  await assert.rejects(eventually(look, "nothing", 200), { message: "did not happen: nothing" });
  assert.ok(looks <= 2, `${looks}`);
});

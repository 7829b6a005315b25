// Which KV keys are users' records: the prefix, reserved ids.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { assertPage, snapshotOf, startConfig } from "./harness/config.mjs";

const on = { preview_features_enabled: true };
const off = { preview_features_enabled: false };

describe("keys", async () => {
  const config = await startConfig({ vars: { CONFIG_SNAPSHOT: "all", CONFIG_PREFIX: "fl" } });
  before(async () => {
    await config.putRecord("alice", on); // without the prefix
    await config.putRecord("flbob", on);
    await config.putRecord("flags", JSON.stringify({ flags: {}, ...on }));
    await config.kv.put("all", snapshotOf({ bob: off, sam: on }));
  });

  test("the prefix precedes the id", async () => {
    assertPage(await config.getPage("bob"), { preview: true });
    assertPage(await config.getPage("alice"), { preview: false });
    assertPage(await config.getPage("flbob"), { preview: false });
  });

  test("the ids of a snapshot have no prefix", async () => {
    assertPage(await config.getPage("sam"), { preview: true, source: "snapshot" });
    assertPage(await config.getPage("flsam"), { preview: false });
  });

  test("an id that, after the prefix, is the key of the flag definitions has no record", async () => {
    const { response, reads } = await config.recordReads(() => config.getPage("ags"));
    assertPage(response, { preview: false });
    assert.ok(!reads.includes("flags"), `${reads}`);
  });

  test("with a prefix an id may be dots, and the length limit includes the prefix", async () => {
    await config.putRecord("fl..", on);
    await config.putRecord(`fl${"a".repeat(510)}`, on);
    assertPage(await config.getPage(".."), { preview: true });
    assertPage(await config.getPage("a".repeat(510)), { preview: true });
    const response = await config.getPage("a".repeat(511), { headers: { Accept: "application/json" } });
    assert.equal(response.status, 400, response.text);
    assert.equal(response.json().code, "invalid_key");
  });
});

describe("reserved ids", async () => {
  const config = await startConfig({ vars: { CONFIG_SNAPSHOT: "all" } });
  before(async () => {
    await config.putRecord("flags", { flags: {}, ...on });
    await config.kv.put("all", snapshotOf({ sam: on }).replace("{", '{"preview_features_enabled":true,'));
  });
  for (const id of ["flags", "all"]) {
    test(`${id} has no record`, async () => {
      const response = await config.getPage(id);
      assert.equal(response.status, 200);
      assert.doesNotMatch(response.text, /🎉/);
      assert.equal((await config.postUsers([id])).json().users[id].source, "none");
    });
  }
});

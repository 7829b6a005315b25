// How many KV reads `/config` makes; tests/faulty/entry.mjs records them. Records in memory are
// fresh for 30 seconds, the default of CONFIG_REFRESH. The tests set the clock ahead; it goes on
// by itself, too, so some seconds are left before each limit.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { assertPage, snapshotOf, startConfig } from "./harness/config.mjs";
import { eventually } from "./harness/eventually.mjs";
import { uniqueName } from "./harness/names.mjs";

const on = { preview_features_enabled: true };
const off = { preview_features_enabled: false };

describe("without a snapshot", async () => {
  const config = await startConfig({ refresh: null });
  const reads = async (id, options) => (await config.recordReads(() => config.getPage(id), options)).reads;

  test("the first page of a user reads the record, further ones read nothing", async () => {
    const id = uniqueName("user");
    await config.putRecord(id, on);
    assert.deepEqual(await reads(id), [id]);
    for (let again = 0; again < 5; again += 1) assert.deepEqual(await reads(id), []);
    assertPage(await config.getPage(id), { preview: true });
  });

  test("a missing record is remembered too", async () => {
    const id = uniqueName("unknown");
    assert.deepEqual(await reads(id), [id]);
    await config.putRecord(id, on);
    const { response, reads: second } = await config.recordReads(() => config.getPage(id));
    assert.deepEqual(second, []);
    assertPage(response, { preview: false });
  });

  test("HEAD uses the same memory", async () => {
    const id = uniqueName("head");
    await config.putRecord(id, on);
    assert.deepEqual(await reads(id), [id]);
    assert.deepEqual((await config.recordReads(() => config.request("HEAD", `/config?userId=${id}`))).reads, []);
  });

  test("a stale record is served while one read in the background refreshes it", async () => {
    const id = uniqueName("refreshed");
    await config.putRecord(id, on);
    await config.getPage(id);
    await config.putRecord(id, off);
    await config.advanceClock(29);
    assert.deepEqual(await reads(id), []);
    await config.advanceClock(2);
    const { response, reads: again } = await config.recordReads(() => config.getPage(id), { background: 1 });
    assertPage(response, { preview: true });
    assert.deepEqual(again, [id]);
    await eventually(async () => !(await config.getPage(id)).text.includes("🎉"), "the new record shows");
    assert.deepEqual(await reads(id), []);
  });

  test("concurrent requests for a stale record make one read", async () => {
    const id = uniqueName("crowd");
    await config.putRecord(id, on);
    await config.getPage(id);
    await config.advanceClock(31);
    const { reads: made } = await config.recordReads(() => Promise.all(Array.from({ length: 20 }, () => config.getPage(id))), { background: 1 });
    assert.deepEqual(made, [id]);
  });

  test("a missing record is refreshed likewise", async () => {
    const id = uniqueName("unknown");
    await config.getPage(id);
    await config.putRecord(id, on);
    await config.advanceClock(31);
    const { response, reads: again } = await config.recordReads(() => config.getPage(id), { background: 1 });
    assertPage(response, { preview: false });
    assert.deepEqual(again, [id]);
    await eventually(async () => (await config.getPage(id)).text.includes("🎉"), "the new record shows");
  });

  test("a background read that fails keeps the record, and the next one is after CONFIG_REFRESH", async () => {
    const id = uniqueName("failing");
    await config.putRecord(id, on);
    await config.getPage(id);
    await config.advanceClock(31);
    const faults = { get: ["500"] }; // each read fails
    const first = await config.recordReads(() => config.getPage(id, { faults }), { background: 2 });
    assertPage(first.response, { preview: true });
    assert.deepEqual(first.reads, [id, id]); // retried once
    await eventually(async () => (await config.getPage(id)).headers["config-source"] === "stale", "Config-Source: stale");
    assert.deepEqual(await reads(id), []);
    await config.advanceClock(31);
    assert.deepEqual(await reads(id, { background: 1 }), [id]);
    await eventually(async () => (await config.getPage(id)).headers["config-source"] === undefined, "the page is as KV has it");
  });

  // A stale record is served until 60 s after it was read, twice CONFIG_REFRESH.
  for (const [seconds, isBlocking] of [
    [55, false],
    [61, true],
    [24 * 60 * 60, true],
  ]) {
    test(`a record read ${seconds} s ago is read again ${isBlocking ? "before the response" : "in the background"}`, async () => {
      const id = uniqueName("away");
      await config.putRecord(id, on);
      await config.getPage(id);
      await config.putRecord(id, off);
      await config.advanceClock(seconds);
      const { response, reads: made } = await config.recordReads(() => config.getPage(id), { background: 1 });
      assert.deepEqual(made, [id]);
      assertPage(response, { preview: !isBlocking });
    });
  }

  for (const path of ["/config", "/config?userId=", "/config?userId=..", "/config?userId=%zz"]) {
    test(`${path} reads nothing`, async () => {
      const { response, reads: made } = await config.recordReads(() => config.request("GET", path));
      assert.equal(response.status, 400);
      assert.deepEqual(made, []);
    });
  }

  test("more users than fit in memory are served too", async () => {
    // A user without a record takes some 140 bytes of 256 KiB.
    const ids = Array.from({ length: 2200 }, (_, index) => `many-${index}`);
    for (let from = 0; from < ids.length; from += 100) {
      const pages = await Promise.all(ids.slice(from, from + 100).map((id) => config.getPage(id)));
      for (const page of pages) assertPage(page, { preview: false });
    }
    assert.deepEqual(await reads(ids.at(-1)), []);
    assert.deepEqual(await reads(ids[0]), [ids[0]]);
  });
});

describe("with a snapshot", async () => {
  const config = await startConfig({ refresh: "30", vars: { CONFIG_SNAPSHOT: "snapshot" } });
  const records = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`id-${index}`, { preview_features_enabled: index % 2 === 1 }]));
  before(() => config.kv.put("snapshot", snapshotOf(records)));

  test("it is read once for many users", async () => {
    const first = await config.recordReads(() => config.getPage("id-1"));
    assertPage(first.response, { preview: true, source: "snapshot" });
    assert.deepEqual(first.reads.toSorted(), ["id-1", "snapshot"]);
    for (let index = 2; index < 30; index += 1) {
      const { response, reads } = await config.recordReads(() => config.getPage(`id-${index}`));
      assertPage(response, { preview: index % 2 === 1, source: "snapshot" });
      assert.deepEqual(reads, [`id-${index}`]);
    }
    assert.deepEqual((await config.recordReads(() => config.getPage("id-1"))).reads, []);
  });

  test("a user with a record does not need the snapshot", async () => {
    await config.putRecord("own", on);
    await config.emptyMemory();
    assert.deepEqual((await config.recordReads(() => config.getPage("own"))).reads, ["own"]);
  });

  test("a stale snapshot is read again in the background, once", async () => {
    await config.emptyMemory();
    await config.getPage("id-1");
    await config.kv.put("snapshot", snapshotOf({ ...records, "id-1": off }, 2));
    await config.advanceClock(31);
    const { response, reads } = await config.recordReads(() => config.getPage("id-1"), { background: 2 });
    assertPage(response, { preview: true, source: "snapshot" });
    assert.deepEqual(reads.toSorted(), ["id-1", "snapshot"]);
    await eventually(async () => !(await config.getPage("id-1")).text.includes("🎉"), "the new snapshot counts");
    assert.deepEqual((await config.recordReads(() => config.getPage("id-1"))).reads, []);
  });

  // A stale snapshot is served until 600 s after it was read, twenty times CONFIG_REFRESH.
  for (const [seconds, isBlocking] of [
    [61, false],
    [595, false],
    [601, true],
  ]) {
    test(`a snapshot read ${seconds} s ago is read again ${isBlocking ? "before the response" : "in the background"}`, async () => {
      await config.kv.put("snapshot", snapshotOf(records, 100 + seconds));
      await config.emptyMemory();
      await config.getPage("id-1");
      await config.kv.put("snapshot", snapshotOf({ ...records, "id-1": off }, 101 + seconds));
      await config.advanceClock(seconds);
      const { response, reads } = await config.recordReads(() => config.getPage("id-1"), { background: 2 });
      assertPage(response, { preview: !isBlocking, source: "snapshot" });
      assert.deepEqual(reads.toSorted(), ["id-1", "snapshot"]);
      await eventually(async () => !(await config.getPage("id-1")).text.includes("🎉"), "the new snapshot counts");
    });
  }

  test("a snapshot of just below 10 MiB fits in memory", async () => {
    const text = "x".repeat(140);
    const large = Object.fromEntries(Array.from({ length: 50_000 }, (_, index) => [`id-${index}`, { preview_features_enabled: index % 2 === 1, text }]));
    const value = snapshotOf(large, 3);
    assert.ok(value.length > 9_000_000 && value.length < 10 * 1024 * 1024, `${value.length}`);
    await config.kv.put("snapshot", value);
    await config.emptyMemory();
    assert.deepEqual((await config.recordReads(() => config.getPage("id-1"))).reads.toSorted(), ["id-1", "snapshot"]);
    const { response, reads } = await config.recordReads(() => config.getPage("id-49999"));
    assertPage(response, { preview: true, source: "snapshot" });
    assert.deepEqual(reads, ["id-49999"]);
    await config.kv.put("snapshot", snapshotOf(records, 4));
  });

  test("a missing snapshot is remembered", async () => {
    await config.kv.delete("snapshot");
    await config.emptyMemory();
    assert.deepEqual((await config.recordReads(() => config.getPage("id-1"))).reads.toSorted(), ["id-1", "snapshot"]);
    assert.deepEqual((await config.recordReads(() => config.getPage("id-2"))).reads, ["id-2"]);
  });

  test("reserved ids read the snapshot at most", async () => {
    for (const id of ["flags", "snapshot"]) {
      const { reads } = await config.recordReads(() => config.getPage(id));
      assert.ok(!reads.includes("flags") && reads.filter((key) => key === "snapshot").length <= 1, `${reads}`);
    }
  });
});

describe("CONFIG_REFRESH", async () => {
  const config = await startConfig();

  for (const [value, seconds] of [
    ["3600", 3600],
    ["1", 1],
    ["3601", 3600],
    ["-1", 30],
    ["", 30],
  ]) {
    test(`= ${JSON.stringify(value)} ${seconds > 10 ? "keeps records fresh for" : "refreshes records after"} ${seconds} s`, async () => {
      await config.worker.setVars({ CONFIG_REFRESH: value });
      await config.getPage("user");
      if (seconds > 10) {
        await config.advanceClock(seconds - 10);
        assert.deepEqual((await config.recordReads(() => config.getPage("user"))).reads, []);
        await config.advanceClock(10);
      } else {
        await config.advanceClock(seconds);
      }
      assert.deepEqual((await config.recordReads(() => config.getPage("user"), { background: 1 })).reads, ["user"]);
    });
  }

  test("= 0 reads KV every time", async () => {
    await config.worker.setVars({ CONFIG_REFRESH: "0" });
    for (let again = 0; again < 3; again += 1) assert.deepEqual((await config.recordReads(() => config.getPage("user"))).reads, ["user"]);
  });
});

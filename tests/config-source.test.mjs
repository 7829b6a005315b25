// The source of a user's configuration if the record is missing, broken or unreadable, and the
// value of `Config-Source`. Without a snapshot; config-snapshot.test.mjs tests it with one.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { assertPage, startConfig } from "./harness/config.mjs";
import { eventually } from "./harness/eventually.mjs";
import { uniqueName } from "./harness/names.mjs";

const on = { preview_features_enabled: true };
const off = { preview_features_enabled: false };

/** How a read may fail at once. */
const failures = ["500", "503", "429", "400", "no response", "throws a string", "throws undefined"];

/** Requests a page with this fault at every read of the user's record. */
const failing = (config, id, fault) => config.getPage(id, { faults: { [`get ${id}`]: [fault] } });

const HOUR = 60 * 60;

describe("without a snapshot", async () => {
  const config = await startConfig();

  test("a user's record, and a missing one, have no Config-Source", async () => {
    const id = uniqueName("user");
    assertPage(await config.getPage(id), { preview: false });
    await config.putRecord(id, on);
    assertPage(await config.getPage(id), { preview: true });
    await config.kv.delete(id);
    assertPage(await config.getPage(id), { preview: false });
  });

  for (const broken of ["{", "", "[]", "null", '{"preview_features_enabled":"yes"}', new Uint8Array([0xff, 0xfe])]) {
    const shown = typeof broken === "string" ? JSON.stringify(broken) : "bytes that are not UTF-8";
    test(`a record that an edit breaks is served as it was before: ${shown}`, async () => {
      const id = uniqueName("edited");
      await config.putRecord(id, on);
      assertPage(await config.getPage(id), { preview: true });
      await config.kv.put(id, broken);
      for (let again = 0; again < 2; again += 1) assertPage(await config.getPage(id), { preview: true, source: "last-good" });
      await config.putRecord(id, off);
      assertPage(await config.getPage(id), { preview: false });
    });

    test(`a broken record with no earlier version in memory gets the defaults: ${shown}`, async () => {
      const id = uniqueName("broken");
      await config.kv.put(id, broken);
      for (let again = 0; again < 2; again += 1) assertPage(await config.getPage(id), { preview: false, source: "default" });
      await config.putRecord(id, on);
      assertPage(await config.getPage(id), { preview: true });
    });
  }

  test("a broken record is logged without its content", async () => {
    const id = uniqueName("logged");
    const lines = () => config.worker.log().filter(({ route, code }) => route === "/config" && code === "broken_record");
    const before = lines().length;
    await config.kv.put(id, '{"preview_features_enabled":"a secret value"}');
    assertPage(await config.getPage(id), { preview: false, source: "default" });
    await eventually(() => lines().length > before, "a line in the log");
    assert.ok(!config.worker.lines().some((line) => line.includes("a secret value")));
  });

  for (const fault of failures) {
    test(`KV fails (${fault}): the record in memory is served, else the defaults`, async () => {
      const id = uniqueName("failing");
      await config.putRecord(id, on);
      assertPage(await failing(config, id, fault), { preview: false, source: "default" });
      assertPage(await config.getPage(id), { preview: true });
      assertPage(await failing(config, id, fault), { preview: true, source: "stale" });
      assertPage(await config.getPage(id), { preview: true });
    });
  }

  test("a read that fails once is retried", async () => {
    const id = uniqueName("once");
    await config.putRecord(id, on);
    assertPage(await config.getPage(id, { faults: { get: ["500", "ok"] } }), { preview: true });
  });

  test("a read that never ends times out", async () => {
    const id = uniqueName("never");
    await config.putRecord(id, on);
    assertPage(await config.getPage(id), { preview: true });
    assertPage(await failing(config, id, "never"), { preview: true, source: "stale" });
  });

  test("a missing user is still missing while KV fails", async () => {
    const id = uniqueName("unknown");
    assertPage(await config.getPage(id), { preview: false });
    assertPage(await failing(config, id, "500"), { preview: false, source: "stale" });
  });

  for (const broken of ["", "{"]) {
    test(`a missing user whose new record is broken gets the defaults: ${JSON.stringify(broken)}`, async () => {
      const id = uniqueName("unknown");
      assertPage(await config.getPage(id), { preview: false });
      await config.kv.put(id, broken);
      assertPage(await config.getPage(id), { preview: false, source: "default" });
    });
  }

  test("a record that was good before it broke is served while KV fails", async () => {
    const id = uniqueName("both");
    await config.putRecord(id, on);
    await config.getPage(id);
    await config.kv.put(id, "{");
    assertPage(await config.getPage(id), { preview: true, source: "last-good" });
    assertPage(await failing(config, id, "500"), { preview: true, source: "stale" });
    assertPage(await config.getPage(id), { preview: true, source: "last-good" });
  });

  test("a record is not served stale for more than an hour while KV fails", async () => {
    const id = uniqueName("hour");
    await config.putRecord(id, on);
    await config.getPage(id);
    await config.advanceClock(HOUR - 60);
    assertPage(await failing(config, id, "500"), { preview: true, source: "stale" });
    await config.advanceClock(120);
    assertPage(await failing(config, id, "500"), { preview: false, source: "default" });
    assertPage(await config.getPage(id), { preview: true });
  });

  test("the last good version of a broken record is served for more than an hour", async () => {
    const id = uniqueName("long");
    await config.putRecord(id, on);
    await config.getPage(id);
    await config.kv.put(id, "{");
    await config.advanceClock(5 * HOUR);
    assertPage(await config.getPage(id), { preview: true, source: "last-good" });
  });

  test("without the binding the defaults are served, not an error", async () => {
    const headers = { "X-Kv-Faults": JSON.stringify({ USER_CONFIGURATION: "missing" }) };
    assertPage(await config.getPage(uniqueName("user"), { headers }), { preview: false, source: "default" });
  });
});

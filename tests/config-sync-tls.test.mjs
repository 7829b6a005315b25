// `kv-edge config sync`: connects to the database over TLS as libpq's `sslmode` says, and reports
// a failure.
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { certificate } from "./harness/certificate.mjs";
import { makeRows, startSync } from "./harness/config-sync.mjs";
import { PASSWORD, startPostgres } from "./harness/postgres.mjs";
import { makeFolder } from "./harness/tool.mjs";

const ca = certificate({ commonName: "CA of the tests" });
const otherCa = certificate({ commonName: "another CA" });
const limitedCa = certificate({ commonName: "CA for another domain", permitted: "example.com" });
const selfSigned = certificate({ commonName: "localhost", hosts: ["localhost", "127.0.0.1"] });
/** As `openssl req -x509` makes it. */
const selfSignedCa = certificate({ commonName: "localhost", hosts: ["localhost"], isAuthority: true });

/** Valid for the name, not for the address. */
const sync = await startSync({ tls: certificate({ commonName: "localhost", hosts: ["localhost"], issuer: ca }) });
const plain = await startPostgres();
const selfSignedDatabase = await startPostgres({ tls: selfSigned });
after(() => Promise.all([plain.stop(), selfSignedDatabase.stop()]));

const folder = makeFolder({
  "ca.pem": ca.cert,
  "other-ca.pem": otherCa.cert,
  "both.pem": otherCa.cert + ca.cert,
  "limited-ca.pem": limitedCa.cert,
  "self-signed.pem": selfSigned.cert,
  "self-signed-ca.pem": selfSignedCa.cert,
  "broken.pem": "no certificate",
  "garbage.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
});
const pem = (name) => join(folder, `${name}.pem`);
const QUERY = "SELECT 'a' AS id, true AS x WHERE false";

/** Syncs a query without rows from this database. `sync.run` fails if the password is printed. */
const reach = (DATABASE_URL, env = {}) => sync.run(["sync", "--query", QUERY, "--prefix", "tls:", "--json"], { env: { DATABASE_URL, ...env } });

describe("TLS", () => {
  const databases = { encrypted: sync.database, plain, "self-signed": selfSignedDatabase };
  for (const [database, host, parameters, isAccepted] of [
    ["encrypted", "127.0.0.1", {}, true],
    ["encrypted", "127.0.0.1", { sslmode: "disable" }, false],
    ["encrypted", "127.0.0.1", { sslmode: "prefer" }, true],
    ["encrypted", "127.0.0.1", { sslmode: "require" }, true],
    ["encrypted", "localhost", { sslmode: "verify-full" }, false],
    ["encrypted", "localhost", { sslmode: "verify-full", sslrootcert: "system" }, false],
    ["encrypted", "localhost", { sslmode: "verify-full", sslrootcert: pem("ca") }, true],
    ["encrypted", "localhost", { sslmode: "verify-full", sslrootcert: pem("both") }, true],
    ["encrypted", "localhost", { sslmode: "verify-full", sslrootcert: pem("other-ca") }, false],
    ["encrypted", "127.0.0.1", { sslmode: "verify-full", sslrootcert: pem("ca") }, false],
    ["encrypted", "127.0.0.1", { sslmode: "verify-ca", sslrootcert: pem("ca") }, true],
    ["encrypted", "127.0.0.1", { sslmode: "verify-ca", sslrootcert: pem("other-ca") }, false],
    ["encrypted", "127.0.0.1", { sslmode: "verify-ca" }, false],
    ["encrypted", "127.0.0.1", { sslmode: "allow" }, false],
    ["encrypted", "localhost", { sslmode: "verify-full", sslrootcert: pem("broken") }, false],
    ["encrypted", "localhost", { sslmode: "verify-full", sslrootcert: pem("missing") }, false],
    ["encrypted", "localhost", { sslmode: "nonsense" }, false],
    ["plain", "127.0.0.1", {}, true],
    ["plain", "127.0.0.1", { sslmode: "disable" }, true],
    ["plain", "127.0.0.1", { sslmode: "prefer" }, true],
    ["plain", "127.0.0.1", { sslmode: "require" }, false],
    ["plain", "localhost", { sslmode: "verify-full", sslrootcert: pem("ca") }, false],
    ["self-signed", "127.0.0.1", { sslmode: "require" }, true],
    ["self-signed", "127.0.0.1", { sslmode: "verify-full", sslrootcert: pem("self-signed") }, true],
    ["self-signed", "localhost", { sslmode: "verify-full", sslrootcert: pem("self-signed") }, true],
    ["self-signed", "localhost", { sslmode: "verify-full", sslrootcert: pem("ca") }, false],
  ]) {
    const shown =
      Object.entries(parameters)
        .map(([name, value]) => `${name}=${value.replace(`${folder}/`, "")}`)
        .join("&") || "no parameters";
    test(`${database} at ${host}, ${shown}: ${isAccepted ? "it connects" : "an error message"}`, async () => {
      const query = new URLSearchParams(parameters).toString();
      const url = databases[database].url({ host, parameters: query && `?${query}` });
      const words = `${databases[database].keywords({ host })} ${Object.entries(parameters)
        .map(([name, value]) => `${name}='${value}'`)
        .join(" ")}`;
      for (const form of [url, words]) {
        const { code, stderr, summary } = await reach(form);
        assert.equal(code, isAccepted ? 0 : 1, stderr);
        if (isAccepted) assert.equal(summary.read, 0);
        else assert.match(stderr, /\S+ \S+ \S+/);
      }
    });
  }

  test("verify-ca without sslrootcert is refused, since any publicly signed certificate would pass", async () => {
    const DATABASE_URL = sync.database.url({ parameters: "?sslmode=verify-ca" });
    const { code, stderr } = await reach(DATABASE_URL, { SSL_CERT_FILE: pem("ca") });
    assert.equal(code, 1);
    assert.match(stderr, /sslmode=verify-ca without a CA to trust; .*sslrootcert=FILE/);
  });

  test("a file without a certificate that can be parsed is what the error is about", async () => {
    const parameters = `?sslmode=verify-full&sslrootcert=${encodeURIComponent(pem("garbage"))}`;
    const { code, stderr } = await reach(sync.database.url({ host: "localhost", parameters }));
    assert.equal(code, 1);
    assert.match(stderr, /garbage\.pem \(in DATABASE_URL\) contains no usable certificates: /);
  });

  test("a certificate for another host does not lead to the advice to check less", async () => {
    const parameters = `?sslmode=verify-full&sslrootcert=${encodeURIComponent(pem("ca"))}`;
    const { code, stderr } = await reach(sync.database.url({ host: "127.0.0.1", parameters }));
    assert.equal(code, 1);
    assert.match(stderr, /is not for this host/);
    assert.doesNotMatch(stderr, /verify-ca|require|disable/);
  });

  describe("a certificate that is refused: the error names the reason", () => {
    const hosts = ["localhost"];
    const sameName = certificate({ commonName: ca.commonName });
    const server = certificate({ commonName: "a server", hosts, issuer: ca });
    for (const [what, settings, trusted, message] of [
      ["signed by another authority", { issuer: otherCa }, "ca", /is not signed by a trusted authority; .*sslrootcert=FILE/],
      ["signed by an authority of the same name", { issuer: sameName }, "ca", /is not signed by the trusted authority of that name, which has another key;/],
      ["signed by a server", { issuer: server }, "ca", /cannot be used \(EndEntityUsedAsCa\);/],
      ["for a name that its authority may not sign", { issuer: limitedCa }, "limited-ca", /cannot be used \(NameConstraintViolation\);/],
      ["marked as one of an authority", { issuer: ca, isAuthority: true }, "ca", /is marked as one of an authority \(CA:TRUE\), and is not itself/],
      ["for clients", { issuer: ca, purpose: "client" }, "ca", /is not for servers \(its extendedKeyUsage lacks serverAuth\);/],
      ["expired", { issuer: ca, days: -1 }, "ca", /has expired;/],
    ]) {
      test(what, async () => {
        const { cert, key } = certificate({ commonName: "localhost", hosts, ...settings });
        await selfSignedDatabase.useCertificate({ cert: cert + settings.issuer.cert, key });
        const parameters = `?sslmode=verify-full&sslrootcert=${encodeURIComponent(pem(trusted))}`;
        const { code, stderr } = await reach(selfSignedDatabase.url({ host: "localhost", parameters }));
        assert.equal(code, 1);
        assert.match(stderr, message);
      });
    }

    test("one that is marked as one of an authority is accepted if it is itself trusted", async () => {
      await selfSignedDatabase.useCertificate(selfSignedCa);
      const parameters = `?sslmode=verify-full&sslrootcert=${encodeURIComponent(pem("self-signed-ca"))}`;
      assert.equal((await reach(selfSignedDatabase.url({ host: "localhost", parameters }))).code, 0);
    });
  });

  test("rows read over TLS are synced", async () => {
    const users = await sync.table(makeRows(200));
    const result = await users.run([], {
      env: { DATABASE_URL: sync.database.url({ host: "localhost", parameters: `?sslmode=verify-full&sslrootcert=${encodeURIComponent(pem("ca"))}` }) },
    });
    assert.equal(result.code, 0, result.stderr);
    await users.assertSynced();
  });

  test("require: a server that refuses TLS gets the SSLRequest and nothing more, no start-up message", async () => {
    const seen = [];
    const server = net.createServer((socket) => socket.on("data", (bytes) => (seen.push(bytes), socket.write("N"))).on("error", () => {}));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { code } = await reach(plain.url({ port: server.address().port, parameters: "?sslmode=require" }));
    server.close();
    assert.equal(code, 1);
    assert.equal(Buffer.concat(seen).length, 8, "an SSLRequest and no more");
  });
});

describe("a database that cannot be read: exit code 1, an error message without the password, no call", () => {
  for (const [what, DATABASE_URL, word] of [
    ["no DATABASE_URL", undefined, /DATABASE_URL/],
    ["an empty DATABASE_URL", "", /DATABASE_URL/],
    ["something that is no URL", `nonsense ${PASSWORD}`, /DATABASE_URL/],
    ["a URL of something else", `mysql://root:${encodeURIComponent(PASSWORD)}@127.0.0.1/x`, /DATABASE_URL/],
    ["an invalid port", `postgres://u:${encodeURIComponent(PASSWORD)}@127.0.0.1:99999/x`, /DATABASE_URL|port/],
    ["an unknown parameter", plain.url({ parameters: "?no_such_parameter=1" }), /DATABASE_URL.*the parameter no_such_parameter is not supported/],
    ["a password that is not escaped in its URL", `postgres://u:${PASSWORD}@127.0.0.1:1/x`, /\S+ \S+/],
    ["a host that is not there", plain.url({ host: "no-such-host.invalid" }), /no-such-host\.invalid/],
    ["a port where nobody listens", plain.url({ port: 1 }), /\b1\b|refused/],
    ["a wrong password", plain.url({ password: `${PASSWORD} wrong` }), /password/],
    ["a database that is not there", plain.url({ database: "no_such_database" }), /no_such_database/],
  ]) {
    test(what, async () => {
      const { code, stderr, stdout, calls } = await reach(DATABASE_URL);
      assert.equal(code, 1, stderr + stdout);
      assert.match(stderr, word);
      assert.ok(stderr.length < 2000, stderr);
      assert.ok("error" in JSON.parse(stdout) || "problems" in JSON.parse(stdout));
      assert.equal(calls.length, 0);
    });
  }

  test("a server that accepts the connection and stays silent: it times out", async () => {
    const sockets = [];
    const server = net.createServer((socket) => sockets.push(socket.on("error", () => {})));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const DATABASE_URL = plain.url({ port: server.address().port, parameters: "?connect_timeout=2" });
    const started = Date.now();
    let timer;
    const running = (child) => (timer = setTimeout(() => child.kill("SIGKILL"), 30_000));
    const { code, stderr, calls } = await sync.run(["sync", "--query", QUERY, "--prefix", "tls:"], { env: { DATABASE_URL }, running });
    clearTimeout(timer);
    server.close();
    for (const socket of sockets) socket.destroy();
    assert.equal(code, 1, `after ${Date.now() - started} ms: ${stderr}`);
    assert.equal(calls.length, 0);
  });
});

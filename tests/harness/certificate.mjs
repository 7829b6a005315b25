// Makes X.509 v3 certificates (RFC 5280) for TLS tests, so that no program has to be installed.
// Encodes the few DER types (X.690) that they need.
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";

const der = (tag, ...parts) => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  if (body.length < 128) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const length = Buffer.from(body.length.toString(16).padStart(body.length > 255 ? 4 : 2, "0"), "hex");
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, body]);
};
const sequence = (...parts) => der(0x30, ...parts);
const set = (...parts) => der(0x31, ...parts);
const explicit = (number, ...parts) => der(0xa0 | number, ...parts);
const octets = (...parts) => der(0x04, ...parts);
const bits = (bytes, unused = 0) => der(0x03, [unused], bytes);
const utf8 = (text) => der(0x0c, text);
const TRUE = der(0x01, [0xff]);

/** An object identifier: the first two numbers share a byte, the others take seven bits a byte. */
function oid(text) {
  const [first, second, ...others] = text.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const number of others) {
    const groups = [number & 0x7f];
    for (let rest = number >> 7; rest > 0; rest >>= 7) groups.unshift(0x80 | (rest & 0x7f));
    bytes.push(...groups);
  }
  return der(0x06, bytes);
}

const time = (milliseconds) => der(0x18, `${new Date(milliseconds).toISOString().replace(/[-:T]/g, "").slice(0, 14)}Z`);
const name = (commonName) => sequence(set(sequence(oid("2.5.4.3"), utf8(commonName))));
const extension = (id, value, ...critical) => sequence(oid(id), ...critical, octets(value));
const pem = (what, bytes) =>
  `-----BEGIN ${what}-----\n${bytes
    .toString("base64")
    .match(/.{1,64}/g)
    .join("\n")}\n-----END ${what}-----\n`;

const ECDSA_WITH_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));
const DAY_MS = 86_400_000;

/** The values of extendedKeyUsage. */
const PURPOSES = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" };

/**
 * Returns a key and its certificate, `{ commonName, privateKey, cert, key }`; the last two are
 * PEM.
 *
 * Without `hosts` (names and IPv4 addresses) it is a certificate authority, which signs only for
 * the domain `permitted` if there is one. `issuer`, the result of another call, signs it; without
 * one it is self-signed. With `hosts`, `isAuthority` marks it as one of an authority, too.
 */
export function certificate({ commonName, hosts, issuer, days = 30, isAuthority = !hosts, purpose = "server", permitted }) {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const altNames = hosts?.map((host) => (/^[\d.]+$/.test(host) ? der(0x87, host.split(".").map(Number)) : der(0x82, host)));
  const extensions = sequence(
    // subjectAltName and extendedKeyUsage of a server
    ...(hosts ? [extension("2.5.29.17", sequence(...altNames)), extension("2.5.29.37", sequence(oid(PURPOSES[purpose])))] : []),
    // basicConstraints, and keyUsage keyCertSign and cRLSign of an authority
    ...(isAuthority ? [extension("2.5.29.19", sequence(TRUE), TRUE), extension("2.5.29.15", bits([0x06], 1), TRUE)] : []),
    // nameConstraints
    ...(permitted ? [extension("2.5.29.30", sequence(explicit(0, sequence(der(0x82, permitted)))), TRUE)] : []),
  );
  const now = Date.now();
  const signed = sequence(
    explicit(0, der(0x02, [2])),
    der(0x02, [0x01], randomBytes(8)),
    ECDSA_WITH_SHA256,
    name(issuer?.commonName ?? commonName),
    sequence(time(now - 2 * DAY_MS), time(now + days * DAY_MS)),
    name(commonName),
    publicKey.export({ type: "spki", format: "der" }),
    explicit(3, extensions),
  );
  const signature = sign("sha256", signed, issuer?.privateKey ?? privateKey);
  const cert = pem("CERTIFICATE", sequence(signed, ECDSA_WITH_SHA256, bits(signature)));
  return { commonName, privateKey, cert, key: privateKey.export({ type: "pkcs8", format: "pem" }) };
}

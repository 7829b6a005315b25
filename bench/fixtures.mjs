// What the timed Workers find: the values in the KV namespaces (but `CACHE_KV`, which loopback.mjs
// serves), and the pages of the upstream.
import { createHash } from "node:crypto";

const TRANSLATIONS = [
  { language_code: "en", message: "Hello World!" },
  { language_code: "es", message: "¡Hola Mundo!" },
  { language_code: "fr", message: "Bonjour le monde!" },
  { language_code: "de", message: "Hallo Welt!" },
  { language_code: "zh", message: "你好，世界！" },
  { language_code: "ja", message: "こんにちは、世界！" },
  { language_code: "hi", message: "नमस्ते दुनिया!" },
  { language_code: "ar", message: "مرحبا بالعالم!" },
];

/** Returns incompressible bytes, the same ones every time. */
function bytes(length) {
  const all = Buffer.allocUnsafe(length);
  let state = 0x2545f491;
  for (let at = 0; at < length; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    all[at] = state >>> 24;
  }
  return all;
}

function stylesheet(length) {
  const rules = Array.from({ length: 40 }, (_, index) => `.column-${index} { width: ${index}em; }\n`).join("");
  return rules.slice(0, length);
}

/** Options of a storefront record, one of each kind. The baseline reads `origin` only. */
const ALL_OPTIONS = {
  routes: [{ path: "/admin", origin: "http://127.0.0.1:1" }],
  headers: { request: { set: { "X-Shop": "tea" } }, response: { remove: ["Server"] } },
  timeoutMs: 10000,
  fallback: { asset: "maintenance.html" },
  access: { deny: { countries: ["XX"], ips: ["192.0.2.0/24"] } },
};

const variants = (upstream) => [
  { name: "blue", origin: upstream, weight: 90 },
  { name: "green", origin: upstream, weight: 10 },
];

/** When the release was pushed. */
const CREATED_MS = Date.UTC(2026, 0, 1);

/** Returns the first 128 bits of SHA-256, by which kv-edge names bytes. */
export const hash = (bytes) => createHash("sha256").update(bytes).digest("hex").slice(0, 32);

/**
 * Returns a release of these files as `kv-edge assets push` stores it. It has no encodings: no
 * request of the benchmark accepts one.
 */
function release(files) {
  const id = "20260101T000000Z-00000000";
  const described = Object.entries(files).map(([name, { bytes, type }]) => ({
    p: `/${name}`,
    b: { h: hash(bytes), n: Buffer.byteLength(bytes) },
    t: type,
    m: CREATED_MS / 1000,
  }));
  const manifest = { version: 1, id, createdMs: CREATED_MS, files: described };
  return {
    "kv-edge:current": JSON.stringify({ current: id, previous: [], switchedMs: CREATED_MS }),
    [`kv-edge:release:${id}`]: JSON.stringify(manifest),
    ...Object.fromEntries(Object.values(files).map(({ bytes }) => [`kv-edge:blob:${hash(bytes)}`, bytes])),
  };
}

/** Twenty flags, with rules of several kinds; the baseline does not read them. */
function flags() {
  const rules = [{ deny: ["user-id-abc"] }, { match: [{ attribute: "appVersion", semverGte: "3.0.0" }], variant: "on" }, { percentage: 10, variant: "on" }];
  const others = Array.from({ length: 19 }, (_, index) => [`flag-${index}`, { default: "off", rules }]);
  const preview = { default: "off", rules: [{ match: [{ attribute: "preview_features_enabled", eq: true }], variant: "on" }] };
  return { preview, ...Object.fromEntries(others) };
}

/** A stylesheet of 1 KiB. */
export const STYLESHEET = stylesheet(1024);

/**
 * Returns the files twice: as `kv-edge assets push` stores them, and for the baseline under their
 * own keys, as documented.
 */
function files() {
  const all = {
    "hello-world.json": { bytes: JSON.stringify(TRANSLATIONS, null, 2), type: "application/json" },
    "style.css": { bytes: STYLESHEET, type: "text/css; charset=utf-8" },
    "photo.png": { bytes: bytes(100 * 1024), type: "image/png" },
    "poster.png": { bytes: bytes(200 * 1024), type: "image/png" },
    "film.mp4": { bytes: bytes(20 * 1024 * 1024), type: "video/mp4" },
  };
  return { ...Object.fromEntries(Object.entries(all).map(([name, { bytes }]) => [name, bytes])), ...release(all) };
}

/** Returns the values by namespace and key. */
export function namespaces(upstream) {
  return {
    USER_CONFIGURATION: { "user-id-def": JSON.stringify({ preview_features_enabled: true }), flags: JSON.stringify({ flags: flags() }) },
    ROUTING_CONFIG: {
      storefrontA: JSON.stringify({ origin: upstream, ...ALL_OPTIONS }),
      tea: JSON.stringify({ origin: upstream, ...ALL_OPTIONS, variants: variants(upstream) }),
    },
    assets: files(),
    WRITES: {},
    USERS_NOTIFICATION_CONFIG: {},
  };
}

const SENTENCE = "Workers KV keeps what is read often close to those who read it, wherever they are.";

/** An article of about 7 KiB with the things that real pages have. */
function article() {
  const end = "&amp; <em>what follows</em> &mdash; it&#39;s short.";
  const paragraph = (number) => `<p class="text" id="p${number}">${SENTENCE}
See <a href="/kv/${number}">part ${number}</a> ${end}</p><!-- ${number} -->`;
  const paragraphs = Array.from({ length: 32 }, (_, index) => paragraph(index + 1));
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Reading &amp; writing at the edge</title>
<style>.text { margin: 1em 0; }</style>
<script>window.dataLayer = ["<p>not text</p>"];</script>
</head>
<body class="article" data-section="kv">
<script type="module">import "/app.js"; console.log("not text");</script>
<style>.note > p { color: gray; }</style>
<noscript><p>Please turn on scripts</p></noscript>
<main><h1>Reading &lt;and&gt; writing</h1>
${paragraphs.join("\n")}
</main>
</body>
</html>
`;
}

/** A page of about the same length that the documented regular expressions can read. */
function plainArticle() {
  const paragraph = (number) => `<p>${SENTENCE} See <a href="/kv/${number}">part ${number}</a> and <em>the rest</em>.</p>`;
  const paragraphs = Array.from({ length: 52 }, (_, index) => paragraph(index + 1));
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Reading and writing at the edge</title>
</head>
<body>
<h1>Reading and writing</h1>
${paragraphs.join("\n")}
</body>
</html>
`;
}

/** The upstream's pages, by path. */
export const PAGES = { "/article": article(), "/plain-article": plainArticle() };

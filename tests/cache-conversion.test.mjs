// `GET /cache?url=U`: how an HTML page becomes `title` and `content`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { send } from "./harness/http.mjs";
import { respondInParts, respondWithPage, startUpstream } from "./harness/upstream.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startUpstream();
const worker = await startWorker({ vars: { CACHE_UPSTREAMS: upstream.origin } });

async function convert(handler) {
  const url = upstream.serve(handler);
  const response = await send(worker, `/cache?url=${encodeURIComponent(url)}`);
  assert.equal(response.status, 200, response.text);
  const { title, content } = response.json().data;
  return { title, content };
}

/** What the response has if the page has no title or no content. */
const placeholders = { title: "No title found", content: "No content found" };

const pages = [
  ["an empty page gets placeholders for title and content", "", placeholders],
  ["a text without tags gets placeholders for title and content", "only words", placeholders],
  ["a page without a body gets the placeholder for the content", "<title>T</title>", { ...placeholders, title: "T" }],
  ["a page without a title gets the placeholder for it", "<body>words</body>", { ...placeholders, content: "words" }],
  ["the title may span several lines", "<title>\n  One\n  page\n</title>", { ...placeholders, title: "One page" }],
  ["the title's tag may have attributes", '<title lang="en">T</title>', { ...placeholders, title: "T" }],
  ["the case of tags does not matter", "<TITLE>T</TITLE><BODY>words</BODY>", { title: "T", content: "words" }],
  ["the first title counts", "<head><title>First</title><title>Second</title></head>", { ...placeholders, title: "First" }],
  ["a title in an inline SVG is not the page's", "<title>Page</title><body><svg><title>Image</title></svg>words</body>", { title: "Page" }],
  ["the body's tag may have attributes", '<body class="a" data-x="1 > 0" onload=\'go("<p>")\'>words</body>', { ...placeholders, content: "words" }],
  ["each tag is a space", "<body>a<b>b</b>c<br>d<p>e</p></body>", { content: "a b c d e" }],
  ["each comment is a space", "<body>a<!-- <p>not me</p> -->b</body>", { content: "a b" }],
  ["white space collapses", "<body>\n\t a \r\n\n  b\f c \n</body>", { content: "a b c" }],
  ["scripts are omitted", "<body>a<script>var x = '<p>no</p>';</script>b</body>", { content: "a b" }],
  ["styles are omitted", "<body>a<style>p > a { color: red }</style>b</body>", { content: "a b" }],
  ["noscript is omitted", "<body>a<noscript><p>no</p></noscript>b</body>", { content: "a b" }],
  ["templates are omitted", "<body>a<template><p>no <b>no</b></p></template>b</body>", { content: "a b" }],
  ["omitted elements may be nested", "<body>a<template>no<template>no</template>no<script>no</script>no</template>b</body>", { content: "a b" }],
  ["a script that never ends is omitted", "<body>a<script>no", { content: "a" }],
  ["a script may contain <!-- <script>", "<body>a<script><!-- <script>no</script> no --></script>b</body>", { content: "a b" }],
  ["tags in a textarea are text", "<body><textarea><script>&amp;</textarea>b</body>", { content: "<script>& b" }],
  ["CDATA is text in an inline SVG, a comment elsewhere", "<body><svg><![CDATA[a>b]]></svg><![CDATA[c>d", { content: "a>b d" }],
  ["the text of scripts and styles in an inline SVG is omitted", "<body><svg><style>no</style><script/>a</svg>b</body>", { content: "a b" }],
  ["the head is not part of the content", "<head><title>T</title><style>no</style>no</head><body>a</body>", { content: "a" }],
  ["nested elements are read", "<body><div><ul><li>a</li><li>b <em>c</em></li></ul></div></body>", { content: "a b c" }],
  ["a body that does not end is read", "<body><p>words", { content: "words" }],
  ["attribute values are not read", '<body><img alt="no" title="no">a</body>', { content: "a" }],
  ["character references of the title are decoded", "<title>Tom &amp; Jerry &lt;3 &#39;quoted&#x27; &eacute;</title>", { title: "Tom & Jerry <3 'quoted' é" }],
  [
    "character references are decoded as browsers do: some need no semicolon, and &#128; to &#159; are Windows-1252",
    "<title>A &amp B &copy2026</title><body>&lt&gt; &notit; &notin; &#128;&#146; &#x80 &NotEqualTilde;</body>",
    { title: "A & B ©2026", content: "<> ¬it; ∉ €’ € ≂̸" },
  ],
  [
    "character references of the content are decoded",
    "<body>&lt;b&gt; &quot;&amp;amp;&quot; &#8364; &#x1F389; &copy; &hellip; a&nbsp;b</body>",
    { content: '<b> "&amp;" € 🎉 © … a b' },
  ],
  ["what is not a character reference stays", "<body>AT&T &unknown; &; & &#; 100&percent</body>", { content: "AT&T &unknown; &; & &#; 100&percent" }],
  ["text that looks like a tag after decoding stays text", "<body>&lt;script&gt;x&lt;/script&gt;</body>", { content: "<script>x</script>" }],
  ["text in any script survives", "<title>日本語</title><body>مرحبا 🎉 é</body>", { title: "日本語", content: "مرحبا 🎉 é" }],
  ["quotes, backslashes and control characters survive the JSON", '<body>"\\ \u0001</body>', { content: '"\\ \u0001' }],
  ["a line separator is white space", "<body>a\u2028b\u2028</body>", { content: "a b" }],
];
for (const [rule, html, expected] of pages) {
  test(rule, async () => {
    const converted = await convert(respondWithPage(html));
    for (const [name, value] of Object.entries(expected)) assert.equal(converted[name], value, name);
  });
}

const splitPages = [
  ["in a tag's name", ["<ti", "tle>T</tit", "le><bo", "dy>wo", "rds</bo", "dy>"]],
  ["in an attribute", ["<title>T</title><body cla", 'ss="a > ', 'b">words</body>']],
  ["in a script", ["<title>T</title><body><scr", "ipt>no</scr", "ipt>words</body>"]],
  ["in a comment", ["<title>T</title><body><!", "-- no -", "->words</body>"]],
];
for (const [where, parts] of splitPages) {
  test(`a page that arrives in parts, cut ${where}, is read as a whole`, async () => {
    assert.deepEqual(await convert(respondInParts(parts)), { title: "T", content: "words" });
  });
}

test("a character reference cut between two parts is decoded", async () => {
  const parts = ["<title>a &am", "p; b</title><body>&#x1F", "389; &euro", "; c</body>"];
  assert.deepEqual(await convert(respondInParts(parts)), { title: "a & b", content: "🎉 € c" });
});

test("characters survive if a page arrives byte by byte", async () => {
  const bytes = Buffer.from("<title>é</title><body>日本🎉</body>");
  const parts = Array.from(bytes, (byte) => Buffer.of(byte));
  assert.deepEqual(await convert(respondInParts(parts)), { title: "é", content: "日本🎉" });
});

test("a word cut between two parts stays one word", async () => {
  assert.equal((await convert(respondInParts(["<body>wo", "rd an", "d word</body>"]))).content, "word and word");
});

test("a large page is read to its end", async () => {
  const words = "word ".repeat(100_000).trim();
  const { title, content } = await convert(respondWithPage(`<title>Large</title><body><p>${words}</p><p>end</p></body>`));
  assert.equal(title, "Large");
  assert.equal(content, `${words} end`);
});

for (const [what, part] of [
  ["elements", "<li>a</li>"],
  ["unclosed elements", "<div>a"],
  ["unclosed inline SVG and MathML", "<svg><desc><math><mi>a"],
  ["titles", "<title>a</title>"],
  ["scripts", "a<script></script>"],
]) {
  test(`a page with 200,000 ${what} is read to its end`, async () => {
    const { title, content } = await convert(respondWithPage(`<title>Many</title><body>${part.repeat(200_000)} end`));
    assert.equal(title, "Many");
    assert.equal(content, `${"a ".repeat(200_000)}end`);
  });
}

test("a compressed page is read", async () => {
  const html = gzipSync("<title>Packed</title><body>words</body>");
  const headers = { "content-encoding": "gzip" };
  assert.deepEqual(await convert(respondWithPage(html, { headers })), { title: "Packed", content: "words" });
});

for (const type of ["text/plain", "application/json", "application/octet-stream"]) {
  test(`a page sent as ${type} is read as HTML, too`, async () => {
    const headers = { "content-type": type };
    const converted = await convert(respondWithPage("<title>T</title><body>words</body>", { headers }));
    assert.deepEqual(converted, { title: "T", content: "words" });
  });
}

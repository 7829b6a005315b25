// The response of a storefront's upstream, as the visitor gets it: redirects and cookies that work
// under the prefix, fields, statuses.
import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import { send, sendForJson } from "./harness/http.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { respond, respondImmediately, sendBytes, sendBytesThenClose, startRawUpstream } from "./harness/raw-upstream.mjs";
import { storefrontsOf } from "./harness/storefronts.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startRawUpstream();
const admin = await startRawUpstream();
const worker = await startWorker({
  vars: { ROUTING_ORIGINS: `${upstream.origin},${admin.origin}`, TENANT_DOMAIN: "shops.example.com" },
});
const storefronts = storefrontsOf(worker);

/**
 * A storefront that is reached by path and by host: `upstream` serves it below a base, `/admin`
 * goes to another one.
 */
const record = { origin: `${upstream.origin}/base`, routes: [{ path: "/admin", origin: admin.origin }] };
await storefronts.put("shop", record);
await storefronts.put("root", { origin: upstream.origin });
await storefronts.put("a;b", { origin: upstream.origin });

const byPath = (id = "shop") => ({
  name: `/stores/${id}`,
  prefix: `/stores/${id}`,
  visitor: `http://127.0.0.1:${worker.url.port}/stores/${id}`,
  headers: {},
});
const byHost = (id = "shop") => ({
  name: `${id}.shops.example.com`,
  prefix: "",
  visitor: `http://${id}.shops.example.com`,
  headers: { Host: `${id}.shops.example.com` },
});

/** Requests `/dir/page` of a storefront, whose upstream responds with these fields. */
async function getFromUpstream(way, fields, { base = "/base", status = "302 Found", at = upstream, path = "/dir/page" } = {}) {
  at.serve(respond(status, fields), base + path);
  return send(worker, way.prefix + path, { headers: way.headers });
}

/**
 * PREFIX is the prefix of the visitor's path, VISITOR the same with scheme and host; ORIGIN and
 * ADMIN are the origins of the two upstreams.
 */
const fillIn = (text, { prefix, visitor }) =>
  text.replaceAll("PREFIX", prefix).replaceAll("VISITOR", visitor).replaceAll("ORIGIN", upstream.origin).replaceAll("ADMIN", admin.origin);

const hidePorts = (text) => text.replaceAll(String(upstream.port), "PORT");

const locations = [
  ["ORIGIN/base/a?x=1&y=http://z#f", "VISITOR/a?x=1&y=http://z#f"],
  ["ORIGIN/base/", "VISITOR/"],
  ["ORIGIN/base/a%2Fb//c;d/", "VISITOR/a%2Fb//c;d/"],
  ["/base/a?x=1#f", "PREFIX/a?x=1#f"],
  ["/base/", "PREFIX/"],
  ["a", "PREFIX/dir/a"],
  ["./a/../b?x", "PREFIX/dir/b?x"],
  ["../a", "PREFIX/a"],
  // The visitor resolves these against a path that is already mapped.
  ["?x=1", "?x=1"],
  ["#f", "#f"],
  // Paths outside the base are not reachable through this storefront.
  ["ORIGIN/outside", "ORIGIN/outside"],
  ["ORIGIN/based", "ORIGIN/based"],
  ["ORIGIN/Base/a", "ORIGIN/Base/a"],
  ["/outside?x#f", "ORIGIN/outside?x#f"],
  ["/based", "ORIGIN/based"],
  ["../../outside", "ORIGIN/outside"],
  // /admin would reach the other upstream, which has that path.
  ["ORIGIN/base/admin/x", "ORIGIN/base/admin/x"],
  ["ADMIN/admin/x", "VISITOR/admin/x"],
  ["ADMIN/other", "ADMIN/other"],
  // Locations at other servers are unchanged, byte for byte.
  ["https://other.example/base/a?x#f", "https://other.example/base/a?x#f"],
  ["HTTPS://Other.Example:443/%41", "HTTPS://Other.Example:443/%41"],
  ["//other.example/base/a", "//other.example/base/a"],
  ["http://127.0.0.1/base/a", "http://127.0.0.1/base/a"],
  ["https://127.0.0.1:1/base/a", "https://127.0.0.1:1/base/a"],
  ["mailto:a@example.com", "mailto:a@example.com"],
];
for (const way of [byPath(), byHost()]) {
  for (const [given, expected] of locations) {
    for (const field of ["Location", "Content-Location"]) {
      test(`${hidePorts(way.name)}: a ${field} ${given} becomes ${expected}`, async () => {
        const response = await getFromUpstream(way, [`${field}: ${fillIn(given, way)}`]);
        assert.equal(response.status, 302);
        assert.equal(response.headers[field.toLowerCase()], fillIn(expected, way));
      });
    }
  }
}

test("a Location whose path begins with two slashes does not redirect to another host", async () => {
  const under = await getFromUpstream(byPath(), ["Location: /base//evil.example/x"]);
  assert.equal(under.headers.location, "/stores/shop//evil.example/x");
  const way = byHost();
  assert.equal((await getFromUpstream(way, ["Location: /base//evil.example/x"])).headers.location, `${way.visitor}//evil.example/x`);
});

test("every Location at an upstream without a base is rewritten", async () => {
  for (const way of [byPath("root"), byHost("root")]) {
    const absolute = await getFromUpstream(way, [`Location: ${upstream.origin}/x/y?z`], { base: "" });
    assert.equal(absolute.headers.location, `${way.visitor}/x/y?z`);
    assert.equal((await getFromUpstream(way, ["Location: /x/y?z"], { base: "" })).headers.location, `${way.prefix}/x/y?z`);
  }
});

test("a Location at the route's upstream is rewritten too", async () => {
  for (const way of [byPath(), byHost()]) {
    const response = await getFromUpstream(way, ["Location: /admin/login"], { base: "", at: admin, path: "/admin/page" });
    assert.equal(response.headers.location, `${way.prefix}/admin/login`);
  }
});

for (const status of ["301 Moved Permanently", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect", "201 Created"]) {
  test(`the Location of a ${status} is rewritten, and not followed`, async () => {
    const before = upstream.requests.length;
    const response = await getFromUpstream(byPath(), ["Location: /base/next"], { status });
    assert.equal(response.status, Number.parseInt(status, 10));
    assert.equal(response.headers.location, "/stores/shop/next");
    assert.equal(upstream.requests.length, before + 1);
  });
}

const refreshes = [
  ["5; url=/base/a", "5; url=PREFIX/a"],
  ["0;URL=ORIGIN/base/a?x", "0;URL=VISITOR/a?x"],
  ["5; url='/base/a'", "5; url='PREFIX/a'"],
  ['5; url="/base/a"', '5; url="PREFIX/a"'],
  ["5; url=https://other.example/base/a", "5; url=https://other.example/base/a"],
  ["5; url=/outside", "5; url=ORIGIN/outside"],
  ["5", "5"],
];
for (const way of [byPath(), byHost()]) {
  for (const [given, expected] of refreshes) {
    test(`${hidePorts(way.name)}: a Refresh ${given} becomes ${expected}`, async () => {
      const response = await getFromUpstream(way, [`Refresh: ${fillIn(given, way)}`], { status: "200 OK" });
      assert.equal(response.headers.refresh, fillIn(expected, way));
    });
  }
}

/**
 * Returns a cookie's parts in order, with Path last and in one spelling, since it may be
 * rewritten.
 */
function parts(cookie) {
  const [pair, ...attributes] = cookie.split(";").map((part) => part.trim());
  const isPath = (attribute) => /^path=/i.test(attribute);
  const paths = attributes.filter(isPath).map((path) => path.replace(/^path/i, "Path"));
  return [pair, ...attributes.filter((attribute) => !isPath(attribute)), ...paths];
}

/**
 * The upstream's cookie, and what the visitor gets under `/stores/{id}`, and by host (undefined is
 * not checked). The request is for /base/dir/page.
 */
const cookies = [
  ["a=1; Path=/base; HttpOnly", "a=1; HttpOnly; Path=PREFIX", "a=1; HttpOnly; Path=/"],
  ["a=1; Path=/base/", "a=1; Path=PREFIX", "a=1; Path=/"],
  ["a=1; Path=/base/dir/x", "a=1; Path=PREFIX/dir/x", "a=1; Path=/dir/x"],
  ["a=1; Path=/", "a=1; Path=PREFIX", "a=1; Path=/"],
  ["a=1; Path=/other", "a=1; Path=PREFIX/other", "a=1; Path=/other"],
  ["a=1", "a=1; Path=PREFIX/dir", undefined],
  ["a=1; Domain=127.0.0.1; Path=/", "a=1; Path=PREFIX", "a=1; Path=/"],
  ["a=1; domain=.shop.example; path=/base; Secure; SameSite=None", "a=1; Secure; SameSite=None; Path=PREFIX", "a=1; Secure; SameSite=None; Path=/"],
  [
    'a="x,y=z"; Path=/base; Expires=Wed, 21 Oct 2037 07:28:00 GMT; Max-Age=5; Partitioned; Priority=High',
    'a="x,y=z"; Expires=Wed, 21 Oct 2037 07:28:00 GMT; Max-Age=5; Partitioned; Priority=High; Path=PREFIX',
    'a="x,y=z"; Expires=Wed, 21 Oct 2037 07:28:00 GMT; Max-Age=5; Partitioned; Priority=High; Path=/',
  ],
  ["domain=path; Path=/base/dir", "domain=path; Path=PREFIX/dir", "domain=path; Path=/dir"],
];
for (const [given, underPath, underHost] of cookies) {
  for (const [way, expected] of [
    [byPath(), underPath],
    [byHost(), underHost],
  ]) {
    if (expected === undefined) continue;
    test(`${hidePorts(way.name)}: the cookie ${given} becomes ${expected}`, async () => {
      const response = await getFromUpstream(way, [`Set-Cookie: ${given}`], { status: "200 OK" });
      const [cookie, ...more] = response.headers["set-cookie"];
      assert.deepEqual(more, []);
      assert.deepEqual(parts(cookie), parts(fillIn(expected, way)));
    });
  }
}

test("a semicolon in the prefix does not end the Path of a cookie", async () => {
  const way = byPath("a;b");
  const response = await getFromUpstream(way, ["Set-Cookie: a=1; Path=/"], { base: "", status: "200 OK" });
  assert.deepEqual(parts(response.headers["set-cookie"][0]), ["a=1", "Path=/stores/a%3Bb"]);
});

test("several cookies arrive, each as its own line and in order", async () => {
  const lines = ["Set-Cookie: a=1; Path=/base", "X-Between: 1", "Set-Cookie: b=2; Path=/base", "set-cookie: a=3; Path=/base"];
  const response = await getFromUpstream(byPath(), lines, { status: "200 OK" });
  assert.deepEqual(
    response.headers["set-cookie"].map((cookie) => cookie.split(";")[0]),
    ["a=1", "b=2", "a=3"],
  );
});

test("the upstream's own hop-by-hop fields, what its Connection lists, and Alt-Svc are dropped", async () => {
  const hop = [
    "Connection: X-Secret, X-Other",
    "X-Secret: 1",
    "X-Other: 1",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "Proxy-Authenticate: Basic",
    "TE: x",
    "Trailer: X-T",
    "Upgrade: h2c",
    'Alt-Svc: h3=":443"',
  ];
  const { headers, text } = await getFromUpstream(byPath(), [...hop, "X-Own: 1", "X-Two: 1", "X-Two: 2"], { status: "200 OK" });
  for (const name of ["x-secret", "x-other", "proxy-connection", "proxy-authenticate", "te", "trailer", "upgrade", "alt-svc"]) {
    assert.equal(headers[name], undefined, name);
  }
  // The platform may add its own Connection.
  assert.doesNotMatch(headers.connection ?? "", /secret|other/i);
  assert.notEqual(headers["keep-alive"], "timeout=5");
  assert.equal(headers["x-own"], "1");
  assert.equal(headers["x-two"], "1, 2");
  assert.equal(text, "");
});

test("a 103 precedes the 200, which is the response", async () => {
  upstream.serve(
    sendBytes("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nX-Own: 1\r\nContent-Length: 2\r\n\r\nok"),
    "/base/early",
  );
  const response = await send(worker, "/stores/shop/early");
  assert.equal(response.status, 200);
  assert.equal(response.headers["x-own"], "1");
  assert.equal(response.headers.link, undefined);
  assert.equal(response.text, "ok");
});

for (const [status, fields] of [
  ["204 No Content", ["X-Own: 1"]],
  ["304 Not Modified", ["X-Own: 1", 'ETag: "x"']],
  ["205 Reset Content", ["X-Own: 1"]],
]) {
  test(`a ${status} has no body`, async () => {
    const response = await getFromUpstream(byPath(), fields, { status });
    assert.equal(response.status, Number.parseInt(status, 10));
    assert.equal(response.headers["x-own"], "1");
    assert.equal(response.text, "");
    assert.equal(response.complete, true);
  });
}

test("the response to HEAD has the fields of GET, and no body", async () => {
  upstream.serve(respond("200 OK", ["X-Own: 1", "Content-Type: text/x-test"], "seven b"), "/base/head");
  const response = await send(worker, "/stores/shop/head", { method: "HEAD" });
  assert.equal(response.status, 200);
  assert.equal(response.headers["content-type"], "text/x-test");
  assert.equal(response.headers["content-length"], "7");
  assert.equal(response.text, "");
  assert.equal(upstream.requestsTo("/base/head")[0].method, "HEAD");
});

test("a status 999, which HTTP does not have, causes a 502", async () => {
  upstream.serve(respond("999 Odd", [], "odd"), "/base/999");
  assertProblem(await sendForJson(worker, "/stores/shop/999"), 502, "origin_failed");
});

test("a response that arrives before the request's body is complete is passed on", async () => {
  upstream.serve(respondImmediately("413 Content Too Large", ["X-Own: 1"], "too much"), "/base/early-refusal");
  const response = await send(worker, "/stores/shop/early-refusal", { method: "POST", body: Buffer.alloc(2_000_000) });
  assert.equal(response.status, 413);
  assert.equal(response.text, "too much");
});

for (const [framing, body] of [
  ["Content-Length: 100", "half"],
  ["Content-Length: 100", ""],
  ["Content-Length: 100000", "half"],
  ["Transfer-Encoding: chunked", "4\r\nhalf\r\n"],
  ["Transfer-Encoding: chunked", "64\r\nhalf"],
]) {
  for (const reset of [false, true]) {
    test(`a response with ${framing} that breaks off after ${JSON.stringify(body)}${reset ? " with a reset" : ""} is never complete for the visitor`, async () => {
      upstream.serve(sendBytesThenClose(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n${body}`, { reset }), "/base/half");
      // The visitor may not even get its head.
      const response = await send(worker, "/stores/shop/half").catch((error) => ({ error, complete: false }));
      assert.equal(response.complete, false);
      if (!response.error) assert.equal(response.status, 200);
    });
  }
}

/**
 * Returns the values of a field, its bytes read as Latin-1. workerd reads bytes over 0x7F that are
 * not UTF-8 as U+FFFD; only fields that are passed on keep them.
 */
async function bytesOf(path, name, headers = []) {
  const { hostname, port } = worker.directUrl;
  const lines = [`GET ${path} HTTP/1.1`, ...(headers.length ? headers : [`Host: ${hostname}:${port}`]), "Connection: close"];
  const text = await new Promise((resolve, reject) => {
    let text = "";
    const socket = net.connect(Number(port), hostname, () => socket.write(`${lines.join("\r\n")}\r\n\r\n`));
    socket
      .setEncoding("latin1")
      .on("error", reject)
      .on("end", () => resolve(text))
      .on("data", (data) => (text += data));
  });
  const fields = text.split("\r\n\r\n")[0].split("\r\n").slice(1);
  return fields.filter((field) => field.toLowerCase().startsWith(`${name}: `)).map((field) => field.slice(name.length + 2));
}

for (const [field, value, expected] of [
  ["X-Note", "gr\xfc\xdfe", ["gr\xfc\xdfe"]],
  ["Content-Disposition", 'attachment; filename="M\xe4rz.pdf"', ['attachment; filename="M\xe4rz.pdf"']],
  ["Location", "/caf\xe9", ["/caf\xe9"]],
  ["Refresh", "1; url=/caf\xe9", ["1; url=/caf\xe9"]],
  ["Set-Cookie", "n=J\xfcrgen; Path=/", ["n=J\xfcrgen; Path=/"]],
  // UTF-8 stays UTF-8.
  ["Location", "/base/caf\xc3\xa9", ["/stores/shop/caf\xc3\xa9"]],
  ["Set-Cookie", "n=J\xc3\xbcrgen; Path=/", ["n=J\xc3\xbcrgen; Path=/stores/shop"]],
  // A cookie for other hosts has to be rewritten, which loses the byte.
  ["Set-Cookie", "n=J\xfcrgen; Domain=example.com; Path=/", ["n=J\xef\xbf\xbdrgen; Path=/stores/shop"]],
]) {
  test(`bytes of ${field}: ${JSON.stringify(value)} arrives as ${JSON.stringify(expected)}`, async () => {
    upstream.serve(sendBytes(Buffer.from(`HTTP/1.1 200 OK\r\n${field}: ${value}\r\nContent-Length: 0\r\n\r\n`, "latin1")), "/base/bytes");
    assert.deepEqual(await bytesOf("/stores/shop/bytes", field.toLowerCase()), expected);
  });
}

test("bytes of cookies arrive unchanged at a storefront with its own host", async () => {
  const lines = ["Set-Cookie: n=J\xfcrgen; Path=/", "Set-Cookie: a=1; Path=/", "Location: /caf\xe9"];
  upstream.serve(sendBytes(Buffer.from(`HTTP/1.1 302 Found\r\n${lines.join("\r\n")}\r\nContent-Length: 0\r\n\r\n`, "latin1")), "/bytes");
  const host = ["Host: root.shops.example.com"];
  assert.deepEqual(await bytesOf("/bytes", "set-cookie", host), ["n=J\xfcrgen; Path=/", "a=1; Path=/"]);
  assert.deepEqual(await bytesOf("/bytes", "location", host), ["/caf\xe9"]);
});

test("the record's edits of the response are applied", async () => {
  const headers = { response: { set: { "X-A": "1", "X-Own": "ours" }, remove: ["Server", "x-powered-by"] } };
  const id = await storefronts.add({ origin: upstream.origin, headers });
  const path = upstream.serve(respond("200 OK", ["X-Own: theirs", "Server: secret/1.0", "X-Powered-By: x", "X-Kept: 1"]));
  const response = await send(worker, `/stores/${id}${path}`);
  assert.equal(response.headers["x-a"], "1");
  assert.equal(response.headers["x-own"], "ours");
  assert.equal(response.headers["x-kept"], "1");
  assert.equal(response.headers.server, undefined);
  assert.equal(response.headers["x-powered-by"], undefined);
  assert.equal(response.headers["x-served-by"], "Cloudflare Worker");
  assert.equal(response.headers["x-storefront-id"], id);
});

test("the fields that name the Worker and the storefront replace the upstream's", async () => {
  const path = upstream.serve(respond("200 OK", ["X-Variant: theirs", "Routing-Source: theirs", "X-Served-By: theirs", "X-Storefront-ID: theirs"]));
  const { headers } = await send(worker, `/stores/root${path}`);
  assert.equal(headers["x-variant"], undefined);
  assert.equal(headers["routing-source"], undefined);
  assert.equal(headers["x-served-by"], "Cloudflare Worker");
  assert.equal(headers["x-storefront-id"], "root");
});

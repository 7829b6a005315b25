// WebSockets and server-sent events of a storefront: endless streams arrive piece by piece.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { openRequest } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { respond, startRawUpstream } from "./harness/raw-upstream.mjs";
import { storefrontsOf } from "./harness/storefronts.mjs";
import { acceptWebSockets, BINARY, CLOSE, connectWebSocket, echoMessages, PONG, TEXT } from "./harness/websocket.mjs";
import { startWorker } from "./harness/worker.mjs";

const upstream = await startRawUpstream();
const worker = await startWorker({ vars: { ROUTING_ORIGINS: upstream.origin, TENANT_DOMAIN: "shops.example.com" } });
const storefronts = storefrontsOf(worker);
await storefronts.put("shop", { origin: `${upstream.origin}/base` });
await storefronts.put("split", {
  variants: [{ name: "blue", origin: `${upstream.origin}/base`, weight: 1 }],
  headers: { request: { set: { "X-Edit": "1" } } },
});

const ways = [
  ["/stores/shop", "/stores/shop", {}],
  ["shop.shops.example.com", "", { Host: "shop.shops.example.com" }],
  ["/stores/split", "/stores/split", {}],
];

/** Serves WebSockets at a new path below the base, and returns the visitor's path. */
function serve(use, options) {
  const path = `/${uniqueName("socket")}`;
  upstream.serve(acceptWebSockets(use, options), `/base${path}`);
  return path;
}

async function connected(path, options) {
  const connection = await connectWebSocket(worker, path, options);
  assert.equal(connection.status, 101, connection.text);
  return connection;
}

for (const [name, prefix, headers] of ways) {
  test(`${name}: text and binary messages go both ways, whole and in order`, async () => {
    const path = serve(echoMessages);
    const { socket } = await connected(prefix + path, { headers });
    const messages = ["hello", "", "é€𝄞", Buffer.from([0, 1, 254, 255]), "x".repeat(60_000), Buffer.alloc(60_000, 7)];
    for (const message of messages) socket.send(message);
    for (const message of messages) {
      const { opcode, data } = await socket.next();
      assert.equal(opcode, typeof message === "string" ? TEXT : BINARY);
      assert.deepEqual(data, Buffer.from(message));
    }
  });

  test(`${name}: the upstream may speak first`, async () => {
    const path = serve((endpoint) => endpoint.send("welcome"));
    const { socket } = await connected(prefix + path, { headers });
    assert.equal((await socket.next()).text, "welcome");
  });

  test(`${name}: the visitor's close reaches the upstream with its code and reason, and its code comes back`, async () => {
    let closed;
    const path = serve(async (endpoint) => {
      closed = await echoMessages(endpoint);
    });
    const { socket } = await connected(prefix + path, { headers });
    socket.close(4001, "bye");
    const { opcode, code } = await socket.next();
    assert.deepEqual([opcode, code], [CLOSE, 4001]);
    assert.deepEqual([closed.code, closed.reason], [4001, "bye"]);
  });

  test(`${name}: the upstream's close reaches the visitor with its code and reason, and its code comes back`, async () => {
    let closed;
    const path = serve(async (endpoint) => {
      endpoint.send("last words");
      endpoint.close(4002, "done");
      closed = await endpoint.next();
    });
    const { socket } = await connected(prefix + path, { headers });
    assert.equal((await socket.next()).text, "last words");
    const { opcode, code, reason } = await socket.next();
    assert.deepEqual([opcode, code, reason], [CLOSE, 4002, "done"]);
    socket.close(4002, "done");
    await eventually(() => closed, "the close at the upstream");
    assert.equal(closed.code, 4002);
  });

  test(`${name}: a ping of either endpoint gets a pong`, async () => {
    let pong;
    const path = serve(async (endpoint) => {
      endpoint.ping("from the upstream");
      pong = await endpoint.next();
      await echoMessages(endpoint);
    });
    const { socket } = await connected(prefix + path, { headers });
    await eventually(() => pong, "a pong at the upstream");
    assert.deepEqual([pong.opcode, pong.text], [PONG, "from the upstream"]);
    socket.ping("from the visitor");
    const { opcode, text } = await socket.next();
    assert.deepEqual([opcode, text], [PONG, "from the visitor"]);
  });
}

test("the upgrade reaches the upstream under its base, with fields as in other requests", async () => {
  const path = serve(echoMessages);
  const headers = { Cookie: "session=1", Origin: "https://shop.example", "X-Forwarded-For": "6.6.6.6" };
  await connected(`/stores/shop${path}?room=1%2F2`, { headers });
  const [request] = upstream.requestsTo(`/base${path}`);
  assert.equal(request.line, `GET /base${path}?room=1%2F2 HTTP/1.1`);
  assert.equal(request.field("Upgrade"), "websocket");
  assert.equal(request.field("Connection"), "Upgrade");
  assert.equal(request.field("Host"), upstream.host);
  assert.equal(request.field("Cookie"), "session=1");
  assert.equal(request.field("Origin"), "https://shop.example");
  assert.equal(request.field("X-Forwarded-For"), "127.0.0.1");
  assert.equal(request.field("X-Forwarded-Prefix"), "/stores/shop");
  assert.equal(request.field("Via"), "1.1 kv-edge");
  assert.equal(request.field("CDN-Loop"), "kv-edge");
});

test("the upstream selects the subprotocol", async () => {
  const path = serve(echoMessages, { subprotocol: "superchat" });
  const { headers } = await connected(`/stores/shop${path}`, { subprotocols: ["chat", "superchat"] });
  assert.equal(upstream.requestsTo(`/base${path}`)[0].field("Sec-WebSocket-Protocol"), "chat, superchat");
  assert.equal(headers["sec-websocket-protocol"], "superchat");
});

test("the response to an upgrade has the Worker's fields and the upstream's", async () => {
  const path = serve(echoMessages, { fields: ["X-Own: 1", "Set-Cookie: a=1; Path=/base"] });
  const { headers } = await connected(`/stores/split${path}`);
  assert.equal(headers["x-own"], "1");
  assert.equal(headers["x-served-by"], "Cloudflare Worker");
  assert.equal(headers["x-storefront-id"], "split");
  assert.equal(headers["x-variant"], "blue");
  assert.ok(
    headers["set-cookie"].some((cookie) => /^a=1; *Path=\/stores\/split$/.test(cookie)),
    headers["set-cookie"],
  );
  assert.equal(upstream.requestsTo(`/base${path}`)[0].field("X-Edit"), "1");
});

test("the response of an upstream that refuses the upgrade is passed on", async () => {
  upstream.serve(respond("403 Forbidden", ["X-Own: 1"], "members only"), "/base/refused");
  const { status, headers, text } = await connectWebSocket(worker, "/stores/shop/refused");
  assert.equal(status, 403);
  assert.equal(headers["x-own"], "1");
  assert.equal(headers["x-storefront-id"], "shop");
  assert.equal(text, "members only");
});

test("a disconnected visitor is noticed at the upstream, and a disconnected upstream by the visitor", async () => {
  let lastMessage;
  const path = serve(async (endpoint) => {
    lastMessage = await endpoint.next();
  });
  const { socket } = await connected(`/stores/shop${path}`);
  socket.destroy();
  await eventually(() => lastMessage, "the end at the upstream");

  const dying = `/${uniqueName("socket")}`;
  upstream.serve((exchange) => acceptWebSockets(() => setTimeout(exchange.end, 50))(exchange), `/base${dying}`);
  const visitor = await connected(`/stores/shop${dying}`);
  const end = await visitor.socket.next();
  assert.ok(end.closed || end.opcode === CLOSE, JSON.stringify(end));
});

/**
 * An event stream whose events the test sends; `closed` is set once the Worker has closed its
 * connection.
 */
function eventStream() {
  const stream = { path: `/${uniqueName("events")}`, closed: false };
  upstream.serve(({ request, write }) => {
    write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.send = (event) => write(`${(event.length + 8).toString(16)}\r\ndata: ${event}\n\n\r\n`);
    stream.finish = () => write("0\r\n\r\n");
    request.closed.then(() => {
      stream.closed = true;
    });
  }, `/base${stream.path}`);
  return stream;
}

for (const [name, prefix, headers] of ways) {
  test(`${name}: the events of a stream arrive one by one, before it ends`, async () => {
    const stream = eventStream();
    const { request, response } = openRequest(worker, prefix + stream.path, { headers: { Accept: "text/event-stream", ...headers } });
    request.end();
    const received = await response;
    assert.equal(received.statusCode, 200);
    assert.equal(received.headers["content-type"], "text/event-stream");
    for (const event of ["one", "two", "three"]) {
      stream.send(event);
      const [bytes] = await once(received, "data");
      assert.equal(bytes.toString(), `data: ${event}\n\n`);
    }
    stream.finish();
    await once(received.resume(), "end");
    assert.equal(received.complete, true);
  });
}

test("the upstream of an event stream notices that the visitor disconnects", async () => {
  const stream = eventStream();
  const { request, response } = openRequest(worker, `/stores/shop${stream.path}`);
  request.end();
  const received = await response;
  stream.send("one");
  await once(received, "data");
  request.destroy();
  // The runtime notices at the latest when it sends something.
  await eventually(() => {
    stream.send("more");
    return stream.closed;
  }, "the end at the upstream");
});

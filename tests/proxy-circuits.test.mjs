// Circuit breakers. A path that keeps failing for a visitor gets no more requests of that visitor
// for a while. If the record has an alternative (another variant, a fallback), it responds to
// everybody then. An upstream that does not respond at all gets no requests.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import net from "node:net";
import { test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { send, sendForJson } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import {
  closeConnection,
  FAILURES,
  inSequence,
  neverRespond,
  respondFailure,
  respondOk,
  sendBytesThenClose,
  startRawUpstreams,
} from "./harness/raw-upstream.mjs";
import { storefrontsOf } from "./harness/storefronts.mjs";
import { startWorker } from "./harness/worker.mjs";

// Circuits belong to origins, and to visitors and paths at them: each test has its own upstreams.
const { routingOrigins, upstreamOf } = await startRawUpstreams(60);
const vars = { ROUTING_ORIGINS: routingOrigins, ROUTING_REFRESH: "0", UPSTREAM_TIMEOUT_MS: "5000" };
const worker = await startWorker({ faulty: true, vars });
const storefronts = storefrontsOf(worker);

let offsetMs = 0;
/** Advances the Worker's clock. */
async function advanceClock(seconds) {
  offsetMs += seconds * 1000;
  assert.equal((await send(worker, `/.clock?offsetMs=${offsetMs}`, { method: "PUT" })).status, 204);
}
// POST is never retried, so that each request is one failure at most.
const post = (id, body = "x") => sendForJson(worker, `/stores/${id}/x`, { method: "POST", body });

function assertOpen(response, secondsMax = 10) {
  assertProblem(response, 502, "circuit_open");
  const seconds = Number(response.headers["retry-after"]);
  assert.ok(seconds >= 1 && seconds <= secondsMax, `Retry-After: ${response.headers["retry-after"]}`);
}

/**
 * Returns a storefront whose upstream has failed five times for one visitor, and responds with
 * `handler` now.
 */
async function opened(handler, record = {}) {
  const upstream = upstreamOf(respondFailure());
  const id = await storefronts.add({ origin: upstream.origin, ...record });
  for (let failures = 0; failures < 5; failures += 1) await post(id);
  assert.equal(upstream.requests.length, 5);
  upstream.serveByDefault(handler);
  return { upstream, id };
}

for (const [name, failure] of Object.entries(FAILURES)) {
  test(`five times ${name} for one visitor open the circuit: 502 with Retry-After, without the upstream`, async () => {
    const upstream = upstreamOf(failure);
    const id = await storefronts.add({ origin: upstream.origin });
    for (let failures = 1; failures <= 5; failures += 1) {
      await post(id);
      assert.equal(upstream.requests.length, failures);
    }
    for (let requests = 0; requests < 3; requests += 1) assertOpen(await post(id));
    assert.equal(upstream.requests.length, 5);
  });
}

test("four failures do not open the circuit, nor five in more than ten seconds, nor five among more successes", async () => {
  const four = upstreamOf(inSequence(respondFailure(), respondFailure(), respondFailure(), respondFailure(), respondOk()));
  const fourId = await storefronts.add({ origin: four.origin });
  for (let requests = 0; requests < 5; requests += 1) await post(fourId);
  assert.equal((await post(fourId)).status, 200);

  const slow = upstreamOf(respondFailure());
  const slowId = await storefronts.add({ origin: slow.origin });
  for (let requests = 1; requests <= 8; requests += 1) {
    assert.equal((await post(slowId)).status, 503);
    await advanceClock(4);
  }

  let turn = 0;
  const busy = upstreamOf((exchange) => {
    turn += 1;
    return (turn % 3 === 0 ? respondFailure() : respondOk())(exchange);
  });
  const busyId = await storefronts.add({ origin: busy.origin });
  for (let requests = 0; requests < 40; requests += 1) await post(busyId);
  assert.equal(busy.requests.length, 40);
});

test("the circuit is that of a path at the origin, whichever storefront leads there", async () => {
  const { upstream, id } = await opened(respondOk());
  assertOpen(await post(await storefronts.add({ origin: upstream.origin })));
  assert.equal((await post(await storefronts.add({ origin: `${upstream.origin}/other` }))).status, 200);
  await storefronts.put(id, { origin: upstreamOf(respondOk("elsewhere")).origin });
  assert.equal((await post(id)).text, "elsewhere");
});

/** Sends a request as another visitor. */
const sendAsOtherVisitor = (id, path, more = {}) =>
  send(worker, `/stores/${id}${path}`, { ...more, headers: { "CF-Connecting-IP": "192.0.2.200", ...more.headers } });

const attacks = {
  ...FAILURES,
  500: respondFailure("500 Internal Server Error"),
  "no response": neverRespond,
  "an end in the middle of the body": sendBytesThenClose("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n12345"),
};
for (const [name, attack] of Object.entries(attacks)) {
  for (const method of ["GET", "POST"]) {
    test(`after a hundred times ${name} (${method}), requests to healthy paths succeed, both another visitor's and the attacker's`, async () => {
      const upstream = upstreamOf((exchange) => (exchange.request.target.startsWith("/bad") ? attack : respondOk())(exchange));
      const id = await storefronts.add({ origin: upstream.origin, timeoutMs: 1000 });
      for (let round = 0; round < 5; round += 1) {
        const body = method === "POST" ? "x" : undefined;
        const paths = Array.from({ length: 20 }, (_, number) => (number % 2 ? "/bad" : `/bad/${round}/${number}`));
        await Promise.all(paths.map((path) => send(worker, `/stores/${id}${path}`, { method, body })));
        for (const path of ["/", "/healthy", "/x?y"]) {
          assert.equal((await sendAsOtherVisitor(id, path)).status, 200);
          assert.equal((await send(worker, `/stores/${id}${path}`)).status, 200);
        }
        assert.equal((await sendAsOtherVisitor(id, "/healthy", { method: "POST", body: "x" })).status, 200);
      }
    });
  }
}

test("a path that fails for one visitor stays open to others", async () => {
  const upstream = upstreamOf(async (exchange) => {
    await exchange.request.completed;
    return (exchange.request.body.toString() === "bad" ? respondFailure() : respondOk())(exchange);
  });
  const id = await storefronts.add({ origin: upstream.origin });
  for (let requests = 0; requests < 5; requests += 1) assert.equal((await post(id, "bad")).status, 503);
  assertOpen(await post(id, "bad"));
  assert.equal((await sendAsOtherVisitor(id, "/x", { method: "POST", body: "good" })).status, 200);
});

test("a body that a visitor sends too slowly, or breaks off, is not a failure of the upstream", async () => {
  const upstream = upstreamOf(async (exchange) => {
    await exchange.request.completed;
    return respondOk()(exchange);
  });
  const id = await storefronts.add({ origin: upstream.origin, timeoutMs: 1000 });
  const { hostname, port } = worker.directUrl;
  for (let requests = 0; requests < 30; requests += 1) {
    const socket = net.connect(Number(port), hostname);
    socket.on("error", () => {});
    const length = requests % 2 ? 10 : 100_000;
    socket.write(`POST /stores/${id}/x HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Length: ${length}\r\n\r\nx`);
    setTimeout(() => socket.destroy(), 1500);
  }
  await eventually(() => upstream.requests.length >= 10, "the streamed bodies at the upstream");
  for (let requests = 0; requests < 3; requests += 1) assert.equal((await post(id)).status, 200);
});

test("an upstream that gives no response to five visitors at five paths, for over ten seconds, gets no requests", async () => {
  const upstream = upstreamOf(closeConnection);
  const id = await storefronts.add({ origin: upstream.origin });
  const ask = (visitor, path) =>
    sendForJson(worker, `/stores/${id}/${path}`, { method: "POST", body: "x", headers: { "CF-Connecting-IP": `192.0.2.${visitor}` } });
  for (let visitor = 0; visitor < 5; visitor += 1) {
    for (let path = 0; path < 4; path += 1) assertProblem(await ask(visitor, (visitor + path) % 5), 502, "origin_failed");
  }
  // Twenty failures within ten seconds do not block other visitors and paths yet.
  assertProblem(await ask(99, "another"), 502, "origin_failed");
  await advanceClock(11);
  assertProblem(await ask(0, 0), 502, "origin_failed");
  upstream.serveByDefault(respondOk());
  assertOpen(await ask(100, "healthy"));
  assert.equal(upstream.requests.length, 22);
  await advanceClock(11);
  assert.equal((await ask(100, "healthy")).status, 200);
  assert.equal((await ask(101, "healthy")).status, 200);
});

test("after ten seconds one request is a probe; its success closes the circuit", async () => {
  let release;
  const { upstream, id } = await opened((exchange) => {
    release = () => respondOk()(exchange);
  });
  await advanceClock(11);
  const probe = post(id);
  await eventually(() => release, "the probe at the upstream");
  for (let requests = 0; requests < 3; requests += 1) assertOpen(await post(id), 60);
  assert.equal(upstream.requests.length, 6);
  upstream.serveByDefault(respondOk());
  release();
  assert.equal((await probe).status, 200);
  for (let requests = 0; requests < 5; requests += 1) assert.equal((await post(id)).status, 200);
});

test("a failed probe opens the circuit again, for twice as long", async () => {
  const { upstream, id } = await opened(respondFailure());
  await advanceClock(11);
  await post(id);
  assert.equal(upstream.requests.length, 6);
  assertOpen(await post(id), 20);
  await advanceClock(11);
  assertOpen(await post(id), 20);
  assert.equal(upstream.requests.length, 6);
  upstream.serveByDefault(respondOk());
  await advanceClock(10);
  assert.equal((await post(id)).status, 200);
});

test("while the circuit of a variant is open, another variant serves its visitors, and the first one gets no requests", async () => {
  const [blue, green] = [upstreamOf(respondFailure()), upstreamOf(respondOk("green"))];
  const id = await storefronts.add({
    variants: [
      { name: "blue", origin: blue.origin, weight: 1 },
      { name: "green", origin: green.origin, weight: 1 },
    ],
    split: { by: "header", name: "X-Group" },
  });
  const ask = () => send(worker, `/stores/${id}/x`, { method: "POST", body: "x", headers: { "X-Group": "blue" } });
  for (let failures = 0; failures < 5; failures += 1) assert.equal((await ask()).status, 503);
  const response = await ask();
  assert.equal(response.text, "green");
  assert.equal(response.headers["x-variant"], "green");
  assert.equal(blue.requests.length, 5);
});

for (const [name, failure] of [...Object.entries(FAILURES), ["silence", neverRespond]]) {
  test(`after ${name} the fallback upstream responds`, async () => {
    const [upstream, backup] = [upstreamOf(failure), upstreamOf(respondOk("backup"))];
    const id = await storefronts.add({ origin: `${upstream.origin}/base`, fallback: `${backup.origin}/backup`, timeoutMs: 1000 });
    const response = await send(worker, `/stores/${id}/x//y?z`);
    assert.equal(response.status, 200, response.text);
    assert.equal(response.text, "backup");
    assert.equal(response.headers["routing-source"], "fallback");
    assert.equal(response.headers["x-storefront-id"], id);
    assert.deepEqual(
      backup.requests.map(({ line }) => line),
      ["GET /backup/x//y?z HTTP/1.1"],
    );
  });
}

test("with an open circuit the fallback upstream gets a POST, too", async () => {
  const backup = upstreamOf(respondOk("backup"));
  const { upstream, id } = await opened(respondOk());
  await storefronts.put(id, { origin: upstream.origin, fallback: backup.origin });
  const body = randomBytes(100_000);
  const response = await post(id, body);
  assert.equal(response.text, "backup");
  assert.deepEqual(backup.requests[0].body, body);
  assert.equal(upstream.requests.length, 5);
});

test("a fallback upstream whose circuit ceases to be open during a slow try serves the request", async () => {
  const backup = upstreamOf(respondFailure());
  const get = (id) => sendForJson(worker, `/stores/${id}/x`);
  const backupId = await storefronts.add({ origin: backup.origin });
  for (let failures = 0; failures < 5; failures += 1) await get(backupId);
  assertOpen(await get(backupId));
  backup.serveByDefault(respondOk("backup"));
  const slow = upstreamOf(async (exchange) => {
    await advanceClock(61);
    return respondFailure()(exchange);
  });
  const response = await get(await storefronts.add({ origin: slow.origin, fallback: backup.origin }));
  assert.deepEqual([response.status, response.text], [200, "backup"]);
});

test("a 500 is passed on, not replaced by the fallback", async () => {
  const backup = upstreamOf(respondOk("backup"));
  const id = await storefronts.add({ origin: upstreamOf(respondFailure("500 Internal Server Error")).origin, fallback: backup.origin });
  assert.equal((await send(worker, `/stores/${id}/x`)).status, 500);
  assert.equal(backup.requests.length, 0);
});

test("the maintenance page responds with 503 for a failure and for an open circuit", async () => {
  const key = uniqueName("maintenance");
  await worker.env.assets.put(key, "<h1>Back soon</h1>");
  const { id } = await opened(respondFailure(), { fallback: { asset: key } });
  const failed = await storefronts.add({ origin: upstreamOf(closeConnection).origin, fallback: { asset: key } });
  for (const path of [`/stores/${id}/x`, `/stores/${failed}/x`]) {
    const response = await send(worker, path);
    assert.equal(response.status, 503);
    assert.equal(response.text, "<h1>Back soon</h1>");
    assert.match(response.headers["content-type"], /^text\/html\b/);
    assert.match(response.headers["retry-after"], /^[1-9]\d*$/);
    assert.equal(response.headers["routing-source"], "fallback");
    assert.equal((await send(worker, path, { method: "HEAD" })).text, "");
  }
});

test("if the maintenance page is missing, the response is the failure", async () => {
  const id = await storefronts.add({ origin: upstreamOf(closeConnection).origin, fallback: { asset: uniqueName("missing") } });
  assertProblem(await sendForJson(worker, `/stores/${id}/x`), 502, "origin_failed");
});

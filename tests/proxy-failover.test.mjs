// Failover if a storefront's upstreams fail: retries and deadlines.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { openRequest, send, sendForJson } from "./harness/http.mjs";
import { assertProblem } from "./harness/problem.mjs";
import {
  closeConnection,
  FAILURES,
  inSequence,
  neverRespond,
  respond,
  respondFailure,
  respondOk,
  sendBytesThenClose,
  startRawUpstreams,
} from "./harness/raw-upstream.mjs";
import { storefrontsOf } from "./harness/storefronts.mjs";
import { startWorker } from "./harness/worker.mjs";

// Each origin has a circuit breaker, so each test has its own upstreams.
const { routingOrigins, upstreamOf } = await startRawUpstreams(130);
const vars = { ROUTING_ORIGINS: routingOrigins, ROUTING_REFRESH: "0", UPSTREAM_TIMEOUT_MS: "5000" };

describe("a retry", async () => {
  const worker = await startWorker({ vars });
  const storefronts = storefrontsOf(worker);

  /** A storefront whose visitors all get `blue` first. */
  const blueGreen = (blue, green, more = {}) =>
    storefronts.add({
      variants: [
        { name: "blue", origin: blue.origin, weight: 1 },
        { name: "green", origin: `${green.origin}/base`, weight: 1 },
      ],
      split: { by: "header", name: "X-Group" },
      ...more,
    });
  const asBlue = { headers: { "X-Group": "blue" } };

  const healthy = await storefronts.add({ origin: upstreamOf(respondOk()).origin });
  /** Sends requests that succeed, because retries are limited to a tenth of all requests. */
  async function earnRetries(retries) {
    for (let round = 0; round < retries; round += 1) {
      await Promise.all(Array.from({ length: 12 }, () => send(worker, `/stores/${healthy}/x`)));
    }
  }

  for (const [name, failure] of Object.entries(FAILURES)) {
    test(`after ${name} of one variant goes to another one`, async () => {
      await earnRetries(1);
      const [blue, green] = [upstreamOf(failure), upstreamOf(respondOk("green"))];
      const response = await send(worker, `/stores/${await blueGreen(blue, green)}/x?y`, asBlue);
      assert.equal(response.status, 200, response.text);
      assert.equal(response.text, "green");
      assert.equal(response.headers["x-variant"], "green");
      assert.deepEqual(
        blue.requests.map(({ line }) => line),
        ["GET /x?y HTTP/1.1"],
      );
      assert.deepEqual(
        green.requests.map(({ line }) => line),
        ["GET /base/x?y HTTP/1.1"],
      );
    });

    test(`after ${name} of the only upstream goes to it again`, async () => {
      await earnRetries(1);
      const upstream = upstreamOf(inSequence(failure, respondOk()));
      const response = await send(worker, `/stores/${await storefronts.add({ origin: upstream.origin })}/x?y`);
      assert.equal(response.status, 200, response.text);
      assert.deepEqual(
        upstream.requests.map(({ line }) => line),
        ["GET /x?y HTTP/1.1", "GET /x?y HTTP/1.1"],
      );
    });
  }

  test("goes to the active variant again, and never to a variant of weight 0", async () => {
    await earnRetries(2);
    for (const more of [{ active: "blue" }, { green: 0 }]) {
      const [blue, green] = [upstreamOf(inSequence(respondFailure(), respondOk("blue"))), upstreamOf(respondOk("green"))];
      const { green: weight = 1, ...rest } = more;
      const variants = [
        { name: "blue", origin: blue.origin, weight: 1 },
        { name: "green", origin: green.origin, weight },
      ];
      const id = await storefronts.add({ variants, split: { by: "header", name: "X-Group" }, ...rest });
      const response = await send(worker, `/stores/${id}/x`, asBlue);
      assert.equal(response.text, "blue");
      assert.equal(response.headers["x-variant"], "blue");
      assert.equal(green.requests.length, 0);
    }
  });

  // Its connection is not used again: the runtime itself would repeat a request without a body if
  // a reused connection turned out to be closed.
  const failAndClose = sendBytesThenClose("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 20\r\n\r\nthe upstream's words");
  for (const [what, first, second, status, text] of [
    ["503, then 502", respondFailure(), respondFailure("502 Bad Gateway"), 502, "the upstream's words"],
    ["503, then a closed connection", failAndClose, closeConnection, 503, "the upstream's words"],
    ["a closed connection, then 503", closeConnection, respondFailure(), 503, "the upstream's words"],
    ["503, then 404", respondFailure(), respond("404 Not Found", [], "none"), 404, "none"],
  ]) {
    test(`is the only one, and the last response is passed on (${what})`, async () => {
      await earnRetries(1);
      const upstream = upstreamOf(inSequence(first, second));
      const id = await storefronts.add({ origin: upstream.origin });
      const response = await send(worker, `/stores/${id}/x`);
      assert.equal(response.status, status);
      assert.equal(response.text, text);
      assert.equal(upstream.requests.length, 2);
    });
  }

  test("that gets no response either ends in a 502", async () => {
    await earnRetries(1);
    const upstream = upstreamOf(closeConnection);
    const response = await sendForJson(worker, `/stores/${await storefronts.add({ origin: upstream.origin })}/x`);
    assertProblem(response, 502, "origin_failed");
    assert.equal(upstream.requests.length, 2);
  });

  /**
   * A method, the length of its body in bytes (undefined for none) or "chunked", and whether it is
   * retried.
   */
  const requests = [
    ["GET", undefined, true],
    ["HEAD", undefined, true],
    ["OPTIONS", undefined, true],
    ["DELETE", undefined, true],
    ["DELETE", 10, true],
    ["PUT", 0, true],
    ["PUT", 1000, true],
    ["PUT", 65_536, true],
    ["PUT", 65_537, false],
    ["PUT", 500_000, false],
    ["PUT", "chunked", false],
    ["POST", 0, false],
    ["POST", 10, false],
    ["PATCH", 10, false],
  ];
  for (const [method, length, isRetried] of requests) {
    const what = length === undefined ? "without a body" : length === "chunked" ? "with a chunked body" : `with ${length} bytes`;
    test(`is ${isRetried ? "" : "not "}made of ${method} ${what}, which arrives as it was sent`, async () => {
      await earnRetries(1);
      const body = length === undefined ? undefined : randomBytes(length === "chunked" ? 10 : length);
      for (const failure of [respondFailure(), closeConnection]) {
        const upstream = upstreamOf(inSequence(failure, respondOk()));
        const path = `/stores/${await storefronts.add({ origin: upstream.origin })}/x`;
        const { request, response } = openRequest(worker, path, { method, headers: { "Content-Type": "text/x-test" } });
        if (length !== "chunked" && body) request.setHeader("Content-Length", body.length);
        if (length === "chunked") request.setHeader("Transfer-Encoding", "chunked");
        request.end(body);
        const received = await response;
        const text = Buffer.concat(await received.toArray()).toString();
        assert.equal(received.statusCode === 200, isRetried, `${received.statusCode} ${text}`);
        assert.equal(upstream.requests.length, isRetried ? 2 : 1);
        for (const sent of upstream.requests) {
          assert.equal(sent.method, method);
          assert.equal(sent.field("Content-Type"), "text/x-test");
          if (sent.complete) assert.deepEqual(sent.body, body ?? Buffer.alloc(0));
        }
        assert.ok(!isRetried || upstream.requests[1].complete);
      }
    });
  }

  for (const status of ["500 Internal Server Error", "501 Not Implemented", "404 Not Found", "429 Too Many Requests"]) {
    test(`is not made after ${status}, the application's response, which opens no circuit`, async () => {
      const upstream = upstreamOf(respondFailure(status));
      const id = await storefronts.add({ origin: upstream.origin });
      for (let requests = 1; requests <= 8; requests += 1) {
        const response = await send(worker, `/stores/${id}/x`);
        assert.equal(response.status, Number.parseInt(status, 10));
        assert.equal(upstream.requests.length, requests);
      }
    });
  }

  test("is not made after the deadline, the record's timeoutMs: 504", async () => {
    for (const method of ["GET", "POST"]) {
      const upstream = upstreamOf(neverRespond);
      const id = await storefronts.add({ origin: upstream.origin, timeoutMs: 300 });
      const body = method === "POST" ? "x" : undefined;
      assertProblem(await sendForJson(worker, `/stores/${id}/x`, { method, body }), 504, "origin_timeout");
      assert.equal(upstream.requests.length, 1);
    }
  });

  test("is not made after a response head that does not end in time: 504", async () => {
    const upstream = upstreamOf(({ write }) => write("HTTP/1.1 200 OK\r\nX-Own: 1\r\n"));
    const id = await storefronts.add({ origin: upstream.origin, timeoutMs: 300 });
    assertProblem(await sendForJson(worker, `/stores/${id}/x`), 504, "origin_timeout");
  });
});

describe("the retry budget", async () => {
  const worker = await startWorker({ vars });
  const storefronts = storefrontsOf(worker);

  test("retries are a tenth of the requests and ten more, so that an outage does not double the load", async () => {
    const broken = Array.from({ length: 60 }, () => upstreamOf(respondFailure()));
    for (const { origin } of broken) {
      assert.equal((await send(worker, `/stores/${await storefronts.add({ origin })}/x`)).status, 503);
    }
    const tries = broken.reduce((sum, { requests }) => sum + requests.length, 0) - broken.length;
    assert.ok(tries >= 5 && tries <= 20, `${tries} second tries for ${broken.length} requests`);
  });
});

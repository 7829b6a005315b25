// A body that is read whole before it is used has a deadline: 408 if it stalls (RFC 9110
// §15.5.9). Values and bulk calls of the KV REST API, which have minutes, and calls of the console
// are not tested.
import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import { NAMESPACES } from "./harness/kv-api.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { respondOk, startRawUpstreams } from "./harness/raw-upstream.mjs";
import { storefrontsOf } from "./harness/storefronts.mjs";
import { startWorker, WORKER_TOKEN } from "./harness/worker.mjs";

const { routingOrigins, upstreamOf } = await startRawUpstreams(1);
const worker = await startWorker({ vars: { ROUTING_ORIGINS: routingOrigins, ROUTING_REFRESH: "0", KV_API_NAMESPACES: "KV_NAMESPACES" } });
const upstream = upstreamOf(respondOk());
const id = await storefrontsOf(worker).add({ origin: upstream.origin });

/** Sends a head and the first byte of a body, nothing more, and returns the whole response. */
function stall(path, framing) {
  const { hostname, port } = worker.directUrl;
  const head = [
    `POST ${path} HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    "Accept: application/json",
    `Authorization: Bearer ${WORKER_TOKEN}`,
    "Content-Type: application/json",
    framing,
  ];
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), hostname, () => socket.write(`${head.join("\r\n")}\r\n\r\n${framing.startsWith("T") ? "1\r\n{\r\n" : "{"}`));
    let text = "";
    socket.setEncoding("latin1").on("error", reject);
    socket.on("data", (data) => (text += data)).on("end", () => resolve(parsed(text)));
    // The connection stays open, so the client ends it at the closing brace of the JSON.
    socket.on("data", () => text.endsWith("}") && socket.end());
  });
}

function parsed(text) {
  const [head, body] = text.split("\r\n\r\n");
  const [line, ...fields] = head.split("\r\n");
  const headers = Object.fromEntries(fields.map((field) => [field.slice(0, field.indexOf(":")).toLowerCase(), field.slice(field.indexOf(":") + 1).trim()]));
  const json = body.slice(body.indexOf("{"), body.lastIndexOf("}") + 1);
  return { status: Number(line.split(" ")[1]), headers, text: json, json: () => JSON.parse(json) };
}

const LENGTH = "Content-Length: 100";
const CHUNKED = "Transfer-Encoding: chunked";
test("a route that reads a body whole responds with 408 to one that stalls", async () => {
  const routes = [
    [`/stores/${id}/x`, LENGTH],
    [`/stores/${id}/x`, "Content-Length: 65536"],
    ["/writes/stalled", LENGTH],
    ["/writes/stalled?strategy=coalesce", LENGTH],
    ["/config", LENGTH],
    ["/config", CHUNKED],
    ["/cache/purge", LENGTH],
    ["/ofrep/v1/evaluate/flags", LENGTH],
    ["/ofrep/v1/evaluate/flags/a", CHUNKED],
    [`/client/v4${NAMESPACES}`, LENGTH],
  ];
  const responses = await Promise.all(routes.map(([path, framing]) => stall(path, framing)));
  for (const [index, response] of responses.entries()) {
    const [path] = routes[index];
    if (path.startsWith("/ofrep")) {
      assert.equal(response.status, 408, path);
      assert.equal(response.json().errorCode, "GENERAL", path);
      assert.equal(response.headers["cache-control"], "no-store");
    } else if (path.startsWith("/client/v4")) {
      assert.equal(response.status, 408, path);
      assert.equal(response.json().errors[0].code, 10012);
    } else {
      assertProblem(response, 408, "body_timeout");
    }
  }
  assert.equal(upstream.requests.length, 0);
});

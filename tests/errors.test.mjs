// Rules for every route: the form of an error, methods, request ids, the log.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { eventually } from "./harness/eventually.mjs";
import { send, sendForJson } from "./harness/http.mjs";
import { uniqueName } from "./harness/names.mjs";
import { assertPlainError, assertProblem } from "./harness/problem.mjs";
import { closedOrigin } from "./harness/upstream.mjs";
import { startWorker, WORKER_TOKEN } from "./harness/worker.mjs";

const closed = await closedOrigin();
const worker = await startWorker({ vars: { CACHE_UPSTREAMS: closed } });
const { ROUTING_CONFIG } = worker.env;
await ROUTING_CONFIG.put("broken", "not json");

const authorization = { Authorization: `Bearer ${WORKER_TOKEN}` };

test("/healthz responds with 200 and the version of the build", async () => {
  const cargo = await readFile(new URL("../Cargo.toml", import.meta.url), "utf8");
  const [, version] = cargo.match(/^version\s*=\s*"([^"]+)"/m);
  const response = await send(worker, "/healthz");
  assert.equal(response.status, 200);
  assert.match(response.headers["content-type"], /^application\/json\b/);
  assert.deepEqual(response.json(), { status: "ok", version, flags: { state: "none", count: 0 } });
  const head = await send(worker, "/healthz", { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal(head.text, "");
});

const allowed = [
  ["/healthz", "GET, HEAD"],
  ["/get-started", "GET, HEAD"],
  ["/cache?url=x", "GET, HEAD"],
  ["/config?userId=x", "GET, HEAD, POST"],
  ["/ofrep/v1/evaluate/flags", "POST, OPTIONS"],
  ["/hello-world", "GET, HEAD"],
  ["/writes/x", "GET, HEAD, POST"],
  ["/", "GET, HEAD"],
  ["/any/file.txt", "GET, HEAD"],
];
for (const [path, allow] of allowed) {
  test(`${path} allows ${allow} and responds with 405 to every other method`, async () => {
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]) {
      if (allow.split(", ").includes(method)) continue;
      const response = await sendForJson(worker, path, { method, headers: authorization });
      assertProblem(response, 405, "method_not_allowed");
      assert.equal(response.headers.allow, allow);
    }
  });
}

for (const path of ["/get-started", "/config?userId=x", "/hello-world", "/healthz"]) {
  test(`${path}: HEAD has the status, media type, language, Vary and Cache-Control of GET, and no body`, async () => {
    const get = await send(worker, path);
    const head = await send(worker, path, { method: "HEAD" });
    assert.equal(head.status, get.status);
    assert.equal(head.text, "");
    for (const name of ["content-type", "content-language", "vary", "cache-control"]) {
      assert.equal(head.headers[name], get.headers[name], name);
    }
  });
}

const errors = [
  ["/cache", 400, "missing_url"],
  ["/cache?url=nonsense", 400, "invalid_url"],
  ["/cache?url=https://other.invalid/", 403, "upstream_not_allowed"],
  [`/cache?url=${closed}/`, 502, "upstream_failed"],
  ["/config", 400, "missing_user_id"],
  ["/stores/", 400, "missing_storefront_id"],
  ["/stores/nobody/", 404, "storefront_not_found"],
  ["/stores/broken/", 502, "broken_record"],
  ["/missing.txt", 404, "not_found"],
  ["/%zz", 404, "not_found"],
  [`/${"k".repeat(513)}`, 400, "invalid_key"],
];
for (const [path, status, code] of errors) {
  const name = path.replace(closed, "http://CLOSED").slice(0, 40);
  test(`${name}: problem details if JSON is accepted, else the sentence alone`, async () => {
    for (const accept of [
      "application/json",
      "application/problem+json",
      "application/json, */*;q=0.1",
      "application/problem+json;q=0.9, application/json;q=0.8",
      "Application/JSON",
    ]) {
      const problem = assertProblem(await send(worker, path, { headers: { Accept: accept } }), status, code);
      for (const other of [undefined, "*/*", "text/plain", "text/html,application/xhtml+xml,*/*;q=0.8", "image/png"]) {
        const headers = other === undefined ? {} : { Accept: other };
        assertPlainError(await send(worker, path, { headers }), status, problem.detail);
      }
    }
  });

  test(`${name}: HEAD has the status and no body`, async () => {
    const response = await send(worker, path, { method: "HEAD" });
    assert.equal(response.status, status);
    assert.equal(response.text, "");
  });
}

const failing = [`/cache?url=${closed}/`, "/stores/broken/x"];
for (const path of failing) {
  const name = path.replace(closed, "http://CLOSED");
  test(`${name}: a 5xx carries the cf-ray as X-Request-Id`, async () => {
    const ray = uniqueName("8a1b2c3d4e5f6789-FRA");
    const plain = await send(worker, path, { headers: { "CF-Ray": ray } });
    assertPlainError(plain, 502, /./);
    assert.equal(plain.headers["x-request-id"], ray);
    const problem = assertProblem(await sendForJson(worker, path, { headers: { "CF-Ray": ray } }), 502, codeOf(path));
    assert.equal(problem.requestId, ray);
  });

  test(`${name}: without a cf-ray each 5xx has its own id`, async () => {
    const ids = new Set();
    for (let requests = 0; requests < 5; requests += 1) {
      ids.add((await send(worker, path)).headers["x-request-id"]);
    }
    assert.equal(ids.size, 5);
  });

  test(`${name}: a 5xx is logged as one JSON line, with the request id of the response`, async () => {
    const { requestId } = (await sendForJson(worker, path)).json();
    const lines = () => worker.log().filter((line) => line.requestId === requestId);
    await eventually(() => lines().length > 0, "a line in the log");
    const [line, ...more] = lines();
    assert.deepEqual(more, []);
    assert.equal(line.stream, "error");
    assert.equal(line.level, "error");
    assert.equal(line.status, 502);
    assert.equal(line.code, codeOf(path));
    assert.equal(typeof line.route, "string");
    assert.notEqual(line.detail, "");
  });
}

function codeOf(path) {
  return path.startsWith("/cache") ? "upstream_failed" : "broken_record";
}

/** Causes a 5xx and waits for its line, so that the lines of earlier requests are in the log. */
async function waitForLog() {
  const id = uniqueName("fence");
  await send(worker, "/stores/broken/", { headers: { "CF-Ray": id } });
  await eventually(() => worker.log().some(({ requestId }) => requestId === id), "a line in the log");
  return id;
}

test("a 4xx is not logged and has no X-Request-Id", async () => {
  await waitForLog();
  const before = worker.log().length;
  for (const path of ["/missing.txt", "/config", "/stores/nobody/", "/%zz"]) {
    assert.equal((await send(worker, path)).headers["x-request-id"], undefined);
  }
  const id = await waitForLog();
  const lines = worker.log().slice(before);
  assert.deepEqual(
    lines.filter(({ requestId }) => requestId !== id),
    [],
  );
});

test("the token never appears in a response or in the log", async () => {
  const headers = { ...authorization, Accept: "application/json" };
  for (const path of ["/stores/broken/", "/writes/x?n=0", "/missing.txt"]) {
    const method = path.startsWith("/writes") ? "POST" : "GET";
    const response = await send(worker, path, { method, headers });
    assert.ok(!(response.text + response.rawHeaders.join("\n")).includes(WORKER_TOKEN));
  }
  await waitForLog();
  assert.ok(!JSON.stringify(worker.log()).includes(WORKER_TOKEN));
});

test("requests that fit nothing get 400, 404 or 405, never a 5xx", async () => {
  const paths = [
    "/%",
    "/%00",
    "/a%00b",
    "/\\",
    "/?",
    "/??",
    "/?%",
    "/;",
    "/~",
    "/config?%",
    "/config?=&=&&",
    "/cache?url=%00",
    "/cache?url=http://%00/",
    "/cache?url=http://a%ff/",
    "/stores/%00/",
    "/stores/%0A/",
    "/stores/%20/",
    "/stores/../..",
    "/stores/%2e%2e/x",
    "/hello-world/",
    "/hello-world/x",
    "/healthz/",
    "/get-started/x",
    "/writes",
    `/${"a/".repeat(2000)}`,
    `/?${"q".repeat(8000)}`,
    `/${"%41".repeat(2000)}`,
    "/.well-known/acme",
    "/__proto__",
    "/constructor",
  ];
  for (const path of paths) {
    const response = await send(worker, path, { headers: authorization });
    assert.ok([400, 404, 405].includes(response.status), `${path.slice(0, 60)}: ${response.status} ${response.text}`);
  }
});

// The console behind an access proxy such as Cloudflare Access, in a browser. The proxy here does
// what Cloudflare documents: without its cookie, a request for any path of the host is redirected
// to a login on another origin, which leads back with the cookie; with it, a request passes.
import assert from "node:assert/strict";
import http from "node:http";
import { after, test } from "node:test";
import { startWorker } from "../harness/worker.mjs";
import { startBrowser } from "./browser.mjs";
import { consoleOf } from "./console.mjs";

const COOKIE = "CF_Authorization";
const CALLBACK = "/cdn-cgi/access/authorized";

const worker = await startWorker({ vars: { KV_API_WRITABLE: "*" } });
const proxy = await startAccessProxy(worker.directUrl);
const browser = await startBrowser();
const open = consoleOf(browser, proxy.origin);

/** Starts the proxy, and the login that signs everybody in. */
async function startAccessProxy(target) {
  /** The sessions that the proxy accepts. */
  const sessions = new Set();
  /** The paths of the requests that passed. */
  const passed = [];
  const login = await listen((request, response) => {
    const back = new URL(request.url, login).searchParams.get("redirect_url");
    response.writeHead(302, { location: `${origin}${CALLBACK}?to=${encodeURIComponent(back)}` }).end();
  });
  const origin = await listen((request, response) => {
    const url = new URL(request.url, origin);
    if (url.pathname === CALLBACK) {
      const session = `session-${sessions.size}`;
      sessions.add(session);
      const cookie = `${COOKIE}=${session}; Path=/; HttpOnly; SameSite=Lax`;
      return response.writeHead(302, { location: url.searchParams.get("to"), "set-cookie": cookie }).end();
    }
    const session = request.headers.cookie?.match(new RegExp(`\\b${COOKIE}=([\\w-]+)`))?.[1];
    if (!sessions.has(session)) {
      return response.writeHead(302, { location: `${login}/login?redirect_url=${encodeURIComponent(request.url)}`, "cache-control": "no-store" }).end();
    }
    passed.push(url.pathname);
    const { method, headers } = request;
    const onward = http.request(new URL(request.url, target), { method, headers }, (from) => {
      response.writeHead(from.statusCode, from.headers);
      from.pipe(response);
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  });
  return { origin, passed, endSessions: () => sessions.clear() };
}

/** Serves on a free port of loopback until the last test has ended, and returns the origin. */
async function listen(handler) {
  const server = http.createServer(handler);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

test("the console signs in through the proxy: its files, its API and the KV REST API pass with the cookie", async () => {
  const { WRITES } = worker.env;
  await WRITES.put("greeting", "hello");
  const { page } = await open("#/browse/WRITES");
  await page.getByText("greeting", { exact: true }).click();
  await page.getByText("hello", { exact: true }).waitFor();
  for (const prefix of ["/console/", "/console/api/", "/client/v4/"]) {
    assert.ok(
      proxy.passed.some((path) => path.startsWith(prefix)),
      `no request for ${prefix} passed`,
    );
  }
});

test("after the proxy's session has ended, the page says what to do; loaded again, it is signed in with the token of the tab", async () => {
  const { WRITES } = worker.env;
  const { page } = await open("#/browse");
  await WRITES.put("later", "still here");
  proxy.endSessions();
  await page.goto(`${proxy.origin}/console/#/browse/WRITES`);
  await page.getByText("If it is behind Cloudflare Access, load this page again to sign in there").first().waitFor();
  await page.reload();
  await page.getByText("later", { exact: true }).click();
  await page.getByText("still here", { exact: true }).waitFor();
});

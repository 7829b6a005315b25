// A headless Chromium for the tests, and what it complains about.
import { after } from "node:test";
import { chromium } from "playwright-core";

/** As `npm test` has found it. */
const EXECUTABLE = process.env.CHROMIUM_BIN ?? "/usr/bin/chromium";

/** Nothing that a browser does by itself; no host but the one under test. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/** No test is about time: a machine may be slow. */
export const DEADLINE_MS = 120_000;

/** Starts Chromium with an empty profile; it ends after the last test. */
export async function startBrowser() {
  const browser = await chromium.launch({ executablePath: EXECUTABLE, headless: true, args: FLAGS, timeout: DEADLINE_MS });
  after(() => browser.close());
  return browser;
}

/**
 * A page of a visitor with cookies and a cache of their own; `base` is the origin of the site.
 * `problems` are the errors of its console, its scripts and its policies so far, and the requests
 * that failed or went elsewhere.
 */
export async function visitor(browser, base, options = {}) {
  const context = await browser.newContext({ baseURL: base, ...options });
  after(() => context.close());
  context.setDefaultTimeout(DEADLINE_MS);
  const problems = [];
  // A violation of a policy is told in the console too; the event names the directive, whatever
  // the console's wording.
  await context.exposeBinding("tellViolation", (_source, violation) => problems.push(violation));
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) =>
      globalThis.tellViolation(`policy: ${effectiveDirective} ${blockedURI}`),
    );
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`script: ${error.message}`));
  page.on("requestfailed", (request) => problems.push(`request: ${request.url()} ${request.failure()?.errorText}`));
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol.startsWith("http") && origin !== base) problems.push(`request: ${request.url()} is elsewhere`);
  });
  return { context, page, problems };
}

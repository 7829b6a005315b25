// A headless Chromium for the tests, and the problems that its pages report.
import { after } from "node:test";
import { chromium } from "playwright-core";
import { findChromium } from "../../scripts/setup.mjs";

/** Disables what a browser does by itself, and all hosts but the one under test. */
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

/** Long, since the machine may be slow. */
export const DEADLINE_MS = 120_000;

/** Starts Chromium with an empty profile; it ends after the last test. */
export async function startBrowser() {
  const browser = await chromium.launch({ executablePath: findChromium(), headless: true, args: FLAGS, timeout: DEADLINE_MS });
  after(() => browser.close());
  return browser;
}

/**
 * Opens a page for a visitor with their own cookies and cache; `base` is the origin of the site.
 * `problems` are so far: errors and warnings of the console, errors of scripts, violations of
 * policies, and requests that failed or went to another origin.
 */
export async function visitor(browser, base, options = {}) {
  const context = await browser.newContext({ baseURL: base, ...options });
  after(() => context.close());
  context.setDefaultTimeout(DEADLINE_MS);
  const problems = [];
  // The console reports a violation of a policy too, but the event names the directive.
  await context.exposeBinding("tellViolation", (_source, violation) => problems.push(violation));
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) =>
      globalThis.tellViolation(`policy: ${effectiveDirective} ${blockedURI}`),
    );
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    // For a response that is an error, the text has the status and not the URL.
    const isOfCall = message.text().startsWith("Failed to load resource");
    problems.push(`console: ${message.text()}${isOfCall ? ` ${message.location().url}` : ""}`);
  });
  page.on("pageerror", (error) => problems.push(`script: ${error.message}`));
  page.on("requestfailed", (request) => problems.push(`request: ${request.url()} ${request.failure()?.errorText}`));
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol.startsWith("http") && origin !== base) problems.push(`request: ${request.url()} is elsewhere`);
  });
  return { context, page, problems };
}

// The OpenFeature web SDK with its OFREP provider from npm, in a browser: on pages of the Worker's
// own origin, of one that OFREP_ORIGINS allows, and of one that it does not.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { startConfig } from "../harness/config.mjs";
import { eventually } from "../harness/eventually.mjs";
import { uniqueName } from "../harness/names.mjs";
import { comparableDetails, evaluations, flags, methodFor, putFlagsAndRecords, titleOf } from "../harness/openfeature.mjs";
import { DEADLINE_MS, startBrowser, visitor } from "./browser.mjs";

/** A site with one page. */
async function startSite() {
  const server = http.createServer((_request, response) => response.setHeader("Content-Type", "text/html").end("<!doctype html><title>elsewhere</title>"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => server.close());
  return `http://127.0.0.1:${server.address().port}`;
}

const [allowed, stranger] = [await startSite(), await startSite()];
const config = await startConfig({ vars: { OFREP_ORIGINS: allowed } });
const browser = await startBrowser();
const base = config.worker.directUrl.origin;
await putFlagsAndRecords(config);
await config.worker.env.assets.put("favicon.ico", "asked for by each page");

/** The client, bundled from its packages as a customer's page has it. */
const {
  outputFiles: [{ text: bundle }],
} = await build({
  stdin: {
    contents: `export { OpenFeature, ProviderEvents } from "@openfeature/web-sdk"; export { OFREPWebProvider } from "@openfeature/ofrep-web-provider";`,
    resolveDir: fileURLToPath(new URL("../..", import.meta.url)),
  },
  bundle: true,
  format: "iife",
  globalName: "flagging",
  platform: "browser",
  write: false,
});

/**
 * Opens a page of a site, on which `globalThis.client` gets its flags from the OFREP provider.
 * Records the provider's requests and their responses.
 */
async function client(site, options = {}) {
  const { page, problems } = await visitor(browser, site);
  const exchanges = [];
  page.on("response", async (response) => {
    const request = response.request();
    if (!request.url().includes("/ofrep/")) return;
    exchanges.push({
      method: request.method(),
      ifNoneMatch: (await request.allHeaders())["if-none-match"],
      status: response.status(),
      etag: response.headers().etag,
    });
  });
  // Any page of the Worker that is a 200: the namespace has no file for `/`.
  await page.goto(site === base ? "/config?userId=page" : "/");
  await page.addScriptTag({ content: bundle });
  await page.evaluate(
    async ({ options }) => {
      const { OpenFeature, OFREPWebProvider, ProviderEvents } = globalThis.flagging;
      globalThis.changed = [];
      globalThis.client = OpenFeature.getClient();
      globalThis.client.addHandler(ProviderEvents.ConfigurationChanged, ({ flagsChanged }) => globalThis.changed.push(flagsChanged));
      await OpenFeature.setContext(options.context ?? {});
      await OpenFeature.setProviderAndWait(new OFREPWebProvider(options)).catch(() => {});
    },
    { options: { baseUrl: base, ...options } },
  );
  return {
    page,
    exchanges,
    /** The page's problems, except that its requests go to another origin than its own. */
    problems: () => problems.filter((problem) => !problem.endsWith("is elsewhere")),
    setContext: (context) => page.evaluate((context) => globalThis.flagging.OpenFeature.setContext(context), context),
    details: (flag, fallback) => page.evaluate(([method, flag, fallback]) => globalThis.client[method](flag, fallback), [methodFor(fallback), flag, fallback]),
    changed: () => page.evaluate(() => globalThis.changed),
    status: () => page.evaluate(() => globalThis.client.providerStatus),
  };
}

for (const [what, site] of [
  ["the same origin", base],
  ["another origin that is allowed", allowed],
]) {
  describe(`on a page of ${what}`, async () => {
    const one = await client(site, { cacheMode: "disabled" });

    for (const evaluation of evaluations) {
      const [context, flag, fallback, expected] = evaluation;
      test(titleOf(evaluation), async () => {
        await one.setContext(context);
        assert.deepEqual(comparableDetails(await one.details(flag, fallback)), expected);
      });
    }

    test("the page has no problems", () => assert.deepEqual(one.problems(), []));

    test("polling gets 304, until an edit or the user's record changes the response", async () => {
      await putFlagsAndRecords(config);
      const targetingKey = uniqueName("polling");
      const polling = await client(site, { cacheMode: "disabled", pollInterval: 100, context: { targetingKey } });
      const posts = (status) => polling.exchanges.filter((one) => one.method === "POST" && one.status === status);
      await eventually(() => posts(304).length >= 3, "three responses 304", DEADLINE_MS);
      assert.ok(
        posts(304).every(({ ifNoneMatch, etag }) => ifNoneMatch === etag && /^"[0-9a-f]{32}"$/.test(etag)),
        JSON.stringify(polling.exchanges),
      );
      assert.deepEqual(await polling.changed(), []);
      assert.equal(posts(200).length, 1);

      await config.putFlags({ ...flags, plain: { default: "off" } });
      await eventually(async () => (await polling.details("plain", true)).value === false, "the edit takes effect", DEADLINE_MS);
      await config.putRecord(targetingKey, { plan: "pro" });
      await eventually(async () => (await polling.details("limit", 0)).value === 1.5e9, "the record takes effect", DEADLINE_MS);
      assert.deepEqual(await polling.changed(), [["plain"], ["limit"]]);
      assert.deepEqual(polling.problems(), []);
      await polling.page.close();
      await putFlagsAndRecords(config);
    });

    test("flags in the browser's storage are used, and revalidated with their ETag", async () => {
      const context = { targetingKey: uniqueName("kept") };
      const kept = await client(site, { context });
      assert.equal((await kept.details("plain", false)).value, true);
      await kept.page.reload();
      const { exchanges } = kept;
      exchanges.length = 0;
      await kept.page.addScriptTag({ content: bundle });
      const cached = await kept.page.evaluate(
        async ({ baseUrl, context }) => {
          const { OpenFeature, OFREPWebProvider } = globalThis.flagging;
          await OpenFeature.setContext(context);
          await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl }));
          return OpenFeature.getClient().getBooleanDetails("plain", false);
        },
        { baseUrl: base, context },
      );
      assert.deepEqual([cached.value, cached.variant], [true, "on"]);
      await eventually(
        () => exchanges.some(({ method, status, ifNoneMatch }) => method === "POST" && status === 304 && ifNoneMatch),
        "the response 304",
        DEADLINE_MS,
      );
      assert.deepEqual(kept.problems(), []);
    });
  });
}

test("on a page of an origin that is not allowed the browser blocks the responses", async () => {
  const { details, problems, status } = await client(stranger, { cacheMode: "disabled", context: { targetingKey: "pro-user" } });
  assert.equal(await status(), "ERROR");
  const { value, errorCode } = await details("limit", 1);
  assert.equal(value, 1);
  assert.notEqual(errorCode, undefined);
  assert.ok(
    problems().some((problem) => /CORS|Access-Control-Allow-Origin/.test(problem)),
    JSON.stringify(problems()),
  );
});

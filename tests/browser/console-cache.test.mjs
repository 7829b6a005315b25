// The console's panel of the cache, in a browser and on the built Worker: what is stored of a URL,
// and purging it. It fits a phone and a wide window, is accessible dark and light, and works with
// the keyboard alone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { send } from "../harness/http.mjs";
import { signToken } from "../harness/kv-api.mjs";
import { startUpstream } from "../harness/upstream.mjs";
import { bearer } from "../harness/worker.mjs";
import { assertUsable, button, keyboardOf, startConsole, until } from "./console.mjs";

const upstream = await startUpstream();
const { worker, open } = await startConsole({ vars: { CACHE_UPSTREAMS: upstream.origin, CACHE_REFRESH: "0" } });
const { CACHE_KV } = worker.env;

test("the panel of the cache shows what is stored of a URL, and purges it", async (context) => {
  const { page, assertClean } = await open("#/cache");
  const CACHEABLE = { "cache-control": "public, max-age=300", "cache-tag": "news", "content-type": "text/plain" };
  const store = async (headers = CACHEABLE) => {
    const url = upstream.serve((_request, response) => response.writeHead(200, headers).end("stored"));
    await send(worker, `/cache/${url}`);
    await until(async () => assert.notEqual(await CACHE_KV.get(`GET ${url}`), null), "the response in KV");
    return url;
  };
  const lookUp = async (url) => {
    await page.getByLabel("URL", { exact: true }).first().fill(url);
    await page.keyboard.press("Enter");
  };

  await context.test("says that a URL is not stored", async () => {
    await lookUp(`${upstream.origin}/never`);
    await page.getByText("is not stored.").waitFor();
    assertClean();
  });

  await context.test("shows for how long a response is fresh, and purges it soft, then hard", async () => {
    await lookUp(await store());
    await page.getByText("is stored, in 1 variant.").waitFor();
    await page.getByText(/^fresh for \d/).waitFor();

    await button(page, "Purge soft").click();
    await assertUsable(page);
    await page.getByRole("dialog").getByRole("button", { name: "Purge soft" }).click();
    await page.getByText("purged soft: stale").waitFor();

    await page.getByRole("radio", { name: /^Hard/ }).check();
    await button(page, "Purge hard").click();
    await page.getByRole("dialog").getByRole("button", { name: "Purge hard" }).click();
    await page.getByText(/is not stored\.|purged hard: not used/).waitFor();
    assertClean();
  });

  await context.test("shows each variant with the request fields that select it", async () => {
    const url = upstream.serve((request, response) =>
      response.writeHead(200, { ...CACHEABLE, vary: "Accept-Language" }).end(request.headers["accept-language"]),
    );
    for (const language of ["de", "fr"]) await send(worker, `/cache/${url}`, { headers: { "accept-language": language } });
    await until(async () => assert.equal((await CACHE_KV.list({ prefix: `GET ${url}` })).keys.length >= 2, true), "two variants in KV");
    await lookUp(url);
    await page.getByText("is stored, in 2 variants.").waitFor();
    assert.equal(await page.getByText("accept-language", { exact: true }).count(), 2);
    await page.getByText("Fields and key").first().click();
    await assertUsable(page);
    assertClean();
  });

  await context.test("shows the page as JSON beside the variants, and does not count it as one", async () => {
    const url = upstream.serve((_request, response) => response.writeHead(200, { ...CACHEABLE, "content-type": "text/html" }).end("<title>A page</title>"));
    await send(worker, `/cache?url=${url}`);
    const kinds = async () => {
      const { variants } = (await send(worker, `/console/api/cache?url=${url}`, { headers: bearer })).json();
      return variants.map(({ kind }) => kind);
    };
    await until(async () => assert.deepEqual(await kinds(), ["url", "page"]), "page and JSON in KV");
    await lookUp(url);
    await page.getByText("is stored, in 1 variant and as JSON.").waitFor();
    assert.equal(await page.getByText("page as JSON", { exact: true }).count(), 1);

    await CACHE_KV.delete(`GET ${url}`);
    await page.getByRole("button", { name: "Look it up" }).click();
    await page.getByText("is stored as JSON only.").waitFor();
    assertClean();
  });

  await context.test("purges a tag", async () => {
    const url = await store({ ...CACHEABLE, "cache-tag": "sports" });
    await lookUp(url);
    await page.getByText("is stored").waitFor();
    await page.getByLabel("What").selectOption("tag");
    await page.getByRole("radio", { name: /^Soft/ }).check();
    assert.ok(await button(page, "Purge soft").isDisabled(), "no tag is named");
    await page.getByLabel("Tag", { exact: true }).fill("sports");
    await button(page, "Purge soft").click();
    await page.getByRole("dialog").getByRole("button", { name: "Purge soft" }).click();
    await page.getByText("purged soft: stale").waitFor();
    assertClean();
  });

  await context.test("says at the field, before any question, what the Worker would refuse", async () => {
    const { page, assertClean } = await open("#/cache");
    const refused = [
      ["url", "URL", "abc", "This cannot be purged: it does not start with http:// or https://."],
      ["url", "URL", "https://elsewhere.example/", "This cannot be purged: the origin https://elsewhere.example is not on the list CACHE_UPSTREAMS."],
      ["prefix", "URLs with a prefix", "abc", "This cannot be purged: it does not start with http:// or https://."],
      ["tag", "Tag", "Grüße", "This cannot be purged: it has characters that are not printable ASCII."],
    ];
    for (const [target, label, text, sentence] of refused) {
      await page.getByLabel("What").selectOption(target);
      const field = page.getByRole("region", { name: "Purge", exact: true }).getByRole("textbox", { name: label, exact: true });
      await field.fill(text);
      await page.getByText(sentence, { exact: true }).waitFor();
      assert.ok(await button(page, "Purge soft").isDisabled(), text);
      await assertUsable(page);
      const checked = page.waitForResponse("**/console/api/cache/check-purge");
      await field.fill(target === "tag" ? "greetings" : upstream.origin);
      await checked;
      await page.getByText(sentence, { exact: true }).waitFor({ state: "detached" });
      assert.equal(await page.getByText(/^This cannot be purged/).count(), 0, text);
      assert.ok(await button(page, "Purge soft").isEnabled(), text);
    }
    assertClean();
  });

  await context.test("offers no purge to a token of one namespace", async () => {
    const { page, assertClean } = await open("#/cache", { token: signToken({ sub: "looker", namespace: "CACHE_KV" }) });
    await page.getByRole("heading", { name: "Cache" }).waitFor();
    assert.equal(await page.getByRole("heading", { name: "Purge" }).count(), 0);
    assertClean();
  });
});

test("the keyboard alone looks a URL up and purges it, and the focus is never lost", async () => {
  const cached = upstream.serve((_request, response) => response.writeHead(200, { "cache-control": "public, max-age=300" }).end("stored"));
  await send(worker, `/cache/${cached}`);
  await until(async () => assert.notEqual(await CACHE_KV.get(`GET ${cached}`), null), "the response in KV");
  const { page, assertClean } = await open();
  const { press, type, assertFocus, tabTo, shiftTabTo } = keyboardOf(page);
  await shiftTabTo("Cache");
  await press("Enter");
  await tabTo("URL");
  await type(cached);
  await tabTo("Look it up");
  await press("Enter");
  await page.getByText("is stored, in 1 variant.").waitFor();
  await assertFocus("Look it up");
  await tabTo("Fields and key");
  await press("Enter");
  await page.getByText("key in KV").waitFor();
  await tabTo("What");
  await tabTo(/^Soft:/);
  await press("ArrowDown");
  await tabTo("Purge hard");
  await press("Enter");
  await assertFocus("Cancel");
  await tabTo("Purge hard");
  await press("Enter");
  await page.getByText(/^Purged\./).waitFor();
  await assertFocus("Purge hard");
  assertClean();
});

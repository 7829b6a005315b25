// The console in a browser: what has the focus goes while a call runs, and the focus goes on to
// what is beside it.
import { test } from "node:test";
import { eventually } from "../harness/eventually.mjs";
import { uniqueName } from "../harness/names.mjs";
import { startBrowse, type } from "./browse.mjs";
import { keyboardOf } from "./console.mjs";

const { worker, open } = await startBrowse();
const { ROUTING_CONFIG, USER_CONFIGURATION } = worker.env;

const FAILURE = { status: 503, json: { errors: [{ code: 1, message: "KV is away." }] } };

/** Holds the calls of a path from now on. Returns a function that waits for one, as a `Route`. */
async function hold(page, path) {
  const held = [];
  await page.route(path, (route) => void held.push(route));
  return () => eventually(() => held.shift(), `a call of ${path}`);
}

/** Waits until an alert says that a call has failed. */
const failed = (page) => page.getByRole("alert").filter({ hasText: "KV is away." }).waitFor();

/** Returns a stored response as the API of the console has it. */
const variant = (key) => ({
  key,
  kind: "url",
  status: 200,
  storedAt: "2026-01-02T03:04:05Z",
  ttlSeconds: 60,
  isFresh: true,
  purged: null,
  isReachable: true,
  selectedBy: null,
  bytes: 1,
  fields: { "content-type": "text/plain" },
});

test("the result of the cache stays while it is read again, and its variants keep the focus; from one that goes, it goes to the result", async () => {
  const { page, assertClean } = await open("#/cache");
  const { press, assertFocus, tabTo, shiftTabTo } = keyboardOf(page);
  const looked = await hold(page, "**/console/api/cache?*");
  const purged = await hold(page, "**/cache/purge");
  const url = "https://a.example/";
  const answer = async (...keys) => {
    const route = await looked();
    await route.fulfill({ json: { url, isStored: true, isComplete: true, variants: keys.map(variant) } });
  };
  const details = page.getByText("Fields and key");
  await page.getByLabel("URL", { exact: true }).first().fill(url);
  await press("Enter");
  await answer("first", "second");
  await details.nth(1).waitFor();

  await tabTo("Purge soft");
  await press("Enter");
  await tabTo("Purge soft");
  await press("Enter");
  const purge = await purged();
  await shiftTabTo("Fields and key");
  await press("Enter");
  await purge.fulfill({ json: {} });
  const again = await looked();
  await page.getByRole("button", { name: "Looking…" }).waitFor();
  await assertFocus("Fields and key");
  await again.fulfill({ json: { url, isStored: true, isComplete: true, variants: [variant("second")] } });
  await eventually(async () => (await details.count()) === 1, "the other result");
  await assertFocus("Fields and key");
  // What was open is open still.
  await page.getByText("content-type").waitFor();

  await shiftTabTo("URL");
  await press("Enter");
  const third = await looked();
  await tabTo("Fields and key");
  await third.fulfill({ json: { url, isStored: true, isComplete: true, variants: [variant("third")] } });
  await page.getByText("third", { exact: true }).waitFor({ state: "attached" });
  await assertFocus(/^https:\/\/a\.example\/ is stored, in 1 variant\./);

  await shiftTabTo("URL");
  await press("Enter");
  const last = await looked();
  await tabTo("Fields and key");
  await last.fulfill(FAILURE);
  await failed(page);
  await assertFocus("URL");
  await tabTo("Try again");
  await press("Enter");
  await answer("third");
  await assertFocus(/^https:\/\/a\.example\/ is stored, in 1 variant\./);
  assertClean([503, "/console/api/cache"]);
});

test("what a context gets may go because a call fails: its heading gets the focus", async () => {
  await USER_CONFIGURATION.put("flags", '{"flags": {"first": {"default": "on", "variants": {"on": true}}}}');
  const { page, assertClean } = await open("#/flags");
  const { assertFocus, tabTo } = keyboardOf(page);
  await page.getByRole("region", { name: "What this context gets" }).waitFor();
  const evaluated = await hold(page, "**/flags/evaluate");
  await type(page, '{"targetingKey": "bob"}', "Evaluation context, as JSON");
  const route = await evaluated();
  await tabTo("What this context gets");
  await route.fulfill(FAILURE);
  await failed(page);
  await assertFocus("Try a context");
  assertClean([503, "/flags/evaluate"]);
});

test("a split may go because a call fails: its heading gets the focus", async () => {
  const key = uniqueName("shop");
  const variants = ["a", "b"].map((name) => ({ name, origin: "https://plain.example", weight: 1 }));
  await ROUTING_CONFIG.put(key, JSON.stringify({ variants }));
  const { page, assertClean } = await open(`#/storefronts/${key}`);
  const { assertFocus, tabTo } = keyboardOf(page);
  await page.getByRole("figure", { name: `Visitors of ${key}` }).waitFor();
  const sampled = await hold(page, "**/storefronts/sample");
  await page.getByLabel("Country").fill("de");
  const route = await sampled();
  await tabTo(`Visitors of ${key}`);
  await route.fulfill(FAILURE);
  await failed(page);
  await assertFocus("Split of 1,000 visitors");
  assertClean([503, "/storefronts/sample"]);
});

test("a storefront of the list may go because another list has arrived: the prefix gets the focus", async () => {
  const [kept, gone] = [uniqueName("kept"), uniqueName("gone")];
  for (const key of [kept, gone]) await ROUTING_CONFIG.put(key, '{"origin": "https://plain.example"}');
  const { page, assertClean } = await open("#/storefronts");
  const { assertFocus, tabTo } = keyboardOf(page);
  const list = page.getByRole("navigation", { name: "Storefronts" });
  await list.getByRole("link", { name: gone }).waitFor();
  const listed = await hold(page, "**/keys?*");
  for (const [prefix, leaving, count] of [
    [kept, gone, "1 record"],
    ["nothing begins so", kept, "0 records"],
  ]) {
    await page.getByLabel("Prefix").fill(prefix);
    const route = await listed();
    await tabTo(leaving);
    await route.continue();
    await list.getByText(count, { exact: true }).waitFor();
    await assertFocus("Prefix");
  }
  // A record that both lists have keeps the focus.
  await page.getByLabel("Prefix").fill(kept);
  await (await listed()).continue();
  await list.getByRole("link", { name: kept }).waitFor();
  await page.getByLabel("Prefix").fill("");
  const route = await listed();
  await tabTo(kept);
  await route.continue();
  await list.getByRole("link", { name: gone }).waitFor();
  await assertFocus(kept);
  assertClean();
});

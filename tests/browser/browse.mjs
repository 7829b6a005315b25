// What tests of the console's panel "Browse" use: a Worker, a browser, and the parts of the page.
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { eventually } from "../harness/eventually.mjs";
import { uniqueName } from "../harness/names.mjs";
import { button, startConsole } from "./console.mjs";

/** The namespaces that the page may change. */
const WRITABLE = "WRITES,USER_CONFIGURATION,ROUTING_CONFIG";

/**
 * Starts a Worker, some of whose namespaces may be changed, and a browser.
 * Returns what `startConsole` returns, the namespace WRITES as `KV`, and `stored`, which returns
 * the text of a key.
 */
export async function startBrowse() {
  const started = await startConsole({ vars: { KV_API_WRITABLE: WRITABLE, KV_API_NAMESPACES: "KV_NAMESPACES", ROUTING_ORIGINS: "plain.example" } });
  const KV = started.worker.env.WRITES;
  return { ...started, KV, stored: (key, namespace = KV) => namespace.get(key) };
}

export const NARROW = { viewport: { width: 400, height: 760 } };

/** Returns a folder of WRITES that no other test uses. */
export const newFolder = () => `${uniqueName("f")}/`;

/** Returns the place of a folder, or of a key in it. */
export function place(prefix, key, namespace = "WRITES") {
  const path = [namespace, ...prefix.split("/")].map(encodeURIComponent).join("/");
  return `#/browse/${path}${key === undefined ? "" : `?${new URLSearchParams({ key })}`}`;
}

export const rows = (page) => page.locator(".key-row");
export const editor = (page, name = /^Value of/) => page.getByRole("textbox", { name });
export const lines = (page, name) => editor(page, name).locator(".cm-line").allTextContents();
export const save = (page) => button(page, "Save").click();
export const link = (page, name) => page.getByRole("link", { name, exact: true });
export const input = (page, name) => page.getByRole("textbox", { name, exact: true });
export const said = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor();

/** Waits until `look` returns `expected`. */
export async function settles(look, expected) {
  let last;
  const isSettled = async () => {
    last = await look();
    return isDeepStrictEqual(last, expected);
  };
  await eventually(isSettled, "").catch(() => assert.deepEqual(last, expected));
}

/** Replaces the text of an editor as somebody who types. */
export async function type(page, text, name) {
  await editor(page, name).focus();
  await page.keyboard.press("Control+a");
  await page.keyboard.press("Delete");
  await page.keyboard.insertText(text);
}

export async function choose(page, menu, action) {
  await page.locator("summary", { hasText: menu }).click();
  await button(page, action).click();
}

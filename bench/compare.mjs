// Sends each example to a candidate (a Worker that is compared) before it is timed, and checks the
// response. Those that can be the same for all candidates must be.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { Failure } from "../scripts/run.mjs";
import { acknowledged, sendRequest } from "./load.mjs";

/**
 * Fields that a client acts on. Fields that vary by themselves (`date`) or that only kv-edge sends
 * (`cache-status`, `x-content-type-options`) are not compared.
 */
const FIELDS = ["content-type", "content-language", "vary", "x-served-by", "x-storefront-id"];

/**
 * Sends the request of an example untimed, so that whatever it needs is stored, and returns the
 * response that the load then expects.
 */
export async function sendWarmUp(candidate, example) {
  // Two kinds of pages stay: those that could not be stored again, as their upstream no longer
  // responds, and those that are read from here when they expire in memory during the load.
  for (const key of candidate.store.values.keys()) if (!/outage|article%3Ffresh$/.test(key)) candidate.store.values.delete(key);
  const nextRequest = example.source(candidate.isKvEdge);
  const response = await sendAndCheck(candidate, example, nextRequest());
  // kv-edge need not store again what it has in memory.
  if (!example.stores || response.body.includes('"fromCache":true')) return response;
  for (let waited = 0; candidate.store.values.size === 0; waited += 1) {
    if (waited > 1000) throw new Failure(`${example.name}: ${candidate.name} stores nothing.`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return sendAndCheck(candidate, example, nextRequest());
}

async function sendAndCheck(candidate, example, request) {
  const response = await sendRequest(candidate.port, request).catch((error) => {
    throw new Failure(`${example.name}: ${candidate.name} gives no response (${error.message}). ${candidate.process.errors}`);
  });
  const expected = example.isNotModified && candidate.isKvEdge ? 304 : 200;
  if (response.status !== expected && !(example.acknowledges && response.status === 202)) {
    throw new Failure(`${example.name}: ${candidate.name} responds with ${response.status}: ${response.body.subarray(0, 200)}`);
  }
  if (example.ownResult && candidate.isKvEdge && !response.body.includes(example.ownResult)) {
    throw new Failure(`${example.name}: ${candidate.name} responds with ${response.body.subarray(0, 200)}`);
  }
  return response;
}

/**
 * Fails if the candidates' responses to an example differ in what `comparable` returns, or if one
 * of them acknowledges a write and does not make it.
 */
export async function requireEqualResponses(candidates, examples) {
  for (const example of examples) {
    const [first, ...others] = await Promise.all(
      candidates.map(async (candidate) => ({ candidate, response: comparable(await sendWarmUp(candidate, example), example) })),
    );
    if (example.writes) await Promise.all(candidates.map((candidate) => requireValueInKv(candidate, example)));
    for (const other of others) {
      for (const what of Object.keys(first.response)) {
        if (first.response[what] === other.response[what]) continue;
        const both = [first, other].map(({ candidate, response }) => `${candidate.name}: ${response[what]}`);
        throw new Failure([`${example.name}: the responses differ in ${what}.`, ...both].join("\n"));
      }
    }
  }
}

/** Fails unless an acknowledged write reaches KV. */
async function requireValueInKv(candidate, { name, writes: key }) {
  const path = join(candidate.kv.WRITES, key);
  for (let waited = 0; waited < 300; waited += 1) {
    try {
      if (/^Write attempt #\d+$/.test(readFileSync(path, "utf8"))) return;
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Failure(`${name}: ${candidate.name} acknowledges a write and does not make it.`);
}

/**
 * Returns what must be the same in the responses of all candidates: nothing if they may differ.
 */
function comparable({ status, headers, body }, { acknowledges, isNotModified, ownResult, ownFields = [] }) {
  // `sendAndCheck` has checked each response by itself.
  if (isNotModified || ownResult) return {};
  if (acknowledges) return { "the number of writes": acknowledged(body) };
  const names = FIELDS.filter((name) => !ownFields.includes(name));
  const fields = Object.fromEntries(names.map((name) => [name, headers[name]?.toLowerCase().replaceAll(" ", "")]));
  const isText = /text|json/.test(fields["content-type"] ?? "");
  return {
    status,
    ...fields,
    body: isText ? withoutTime(body.toString()) : createHash("sha256").update(body).digest("hex"),
  };
}

/** Replaces the time at which a page was read, which differs between the candidates. */
function withoutTime(text) {
  return text.replace(/"lastUpdated":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"/, '"lastUpdated":"(a time)"');
}

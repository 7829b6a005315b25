// Before anything is timed, both sides must give the same answers.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { Fault } from "./fault.mjs";
import { acknowledged, ask } from "./load.mjs";

/** Fields that a client acts on. What merely varies (`date`) or only kv-edge has (`cache-status`, `nosniff`) is not compared. */
const FIELDS = ["content-type", "content-language", "vary", "x-served-by", "x-storefront-id"];

/** Asks for an example once untimed, so that what it needs is stored, and gives the answer that the load then expects. */
export async function prime(side, example) {
  // A page whose upstream is gone could not be stored again.
  for (const key of side.store.values.keys()) if (!key.includes("outage")) side.store.values.delete(key);
  const next = example.source(side.isWorker);
  const answer = await answered(side, example, next());
  // What a Worker has in memory it need not store again.
  if (!example.stores || answer.body.includes('"fromCache":true')) return answer;
  for (let waited = 0; side.store.values.size === 0; waited += 1) {
    if (waited > 1000) throw new Fault(`${example.name}: ${side.name} stores nothing.`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return answered(side, example, next());
}

async function answered(side, example, request) {
  const answer = await ask(side.port, request).catch((error) => {
    throw new Fault(`${example.name}: ${side.name} gives no answer (${error.message}). ${side.process.errors}`);
  });
  const expected = example.isNotModified && side.isWorker ? 304 : 200;
  if (answer.status !== expected && !(example.acknowledges && answer.status === 202)) {
    throw new Fault(`${example.name}: ${side.name} answers ${answer.status}: ${answer.body.subarray(0, 200)}`);
  }
  if (example.otherwise && side.isWorker && !answer.body.includes(example.otherwise)) {
    throw new Fault(`${example.name}: ${side.name} answers ${answer.body.subarray(0, 200)}`);
  }
  return answer;
}

/** Fails where the sides' answers differ. */
export async function requireEqualAnswers(sides, examples) {
  for (const example of examples) {
    const [first, ...others] = await Promise.all(sides.map(async (side) => ({ side, answer: comparable(await prime(side, example), example) })));
    if (example.writes) await Promise.all(sides.map((side) => requireWritten(side, example)));
    for (const other of others) {
      for (const what of Object.keys(first.answer)) {
        if (first.answer[what] === other.answer[what]) continue;
        const both = [first, other].map(({ side, answer }) => `${side.name}: ${answer[what]}`);
        throw new Fault([`${example.name}: the answers differ in ${what}.`, ...both].join("\n"));
      }
    }
  }
}

/** What is acknowledged must reach KV. */
async function requireWritten(side, { name, writes: key }) {
  const path = join(side.kv.WRITES, key);
  for (let waited = 0; waited < 300; waited += 1) {
    try {
      if (/^Write attempt #\d+$/.test(readFileSync(path, "utf8"))) return;
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Fault(`${name}: ${side.name} acknowledges a write and does not make it.`);
}

function comparable({ status, headers, body }, { acknowledges, isNotModified, otherwise, ownFields = [] }) {
  // That each gives what it should was looked at before.
  if (isNotModified || otherwise) return {};
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

/** Of the time at which a page was read only the form can be the same. */
function withoutTime(text) {
  return text.replace(/"lastUpdated":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"/, '"lastUpdated":"(a time)"');
}

// `POST /writes/{key}` for a browser: the run as a timeline, with counts below it.
// tests/browser/writes.test.mjs tests what the timeline shows.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { uniqueName } from "./harness/names.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { bearer, startWorker } from "./harness/worker.mjs";
import { writesOf } from "./harness/writes.mjs";

const worker = await startWorker({ faulty: true });
const { write, setFaults } = writesOf(worker);

/** The Accept of a browser. */
const BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const html = { ...bearer, Accept: BROWSER };

/**
 * The script of the page. Its hash is in the policy of the page, and in that of the start page,
 * which shows the page in a frame.
 */
const SCRIPT = ["timeline.js", "page.js"].map((name) => readFileSync(new URL(`../src/jobs/writes/${name}`, import.meta.url), "utf8")).join("");
const HASH = `'sha256-${createHash("sha256").update(SCRIPT).digest("base64")}'`;

const assertPage = (response, status) => {
  assert.equal(response.status, status, response.text);
  assert.equal(response.headers["content-type"], "text/html; charset=utf-8");
  const policy = `default-src 'none'; script-src ${HASH}; style-src 'unsafe-inline'; frame-ancestors 'none'`;
  assert.equal(response.headers["content-security-policy"], policy);
  assert.match(response.headers.vary, /\bAccept\b/i);
  assert.equal(response.text.match(/<div id="picture" class="timeline" hidden>/g)?.length, 1, "one picture");
  const [, json, ...others] = response.text.split(/<script/i);
  assert.ok(JSON.parse(json.replace(/^ type="application\/json" id="report">|<\/script>\n$/g, "")).attempts.length);
  assert.deepEqual(others, [` type="module">${SCRIPT}</script>\n</body>\n</html>\n`], "one script");
  // The namespace of SVG is a name that nobody fetches.
  assert.doesNotMatch(response.text, /\son\w+=|https?:\/\/(?!www\.w3\.org\/2000\/svg")/i, "no other script, and nothing from elsewhere");
};

test("the start page, which shows the page in a frame, lets its script run", () => {
  assert.ok(readFileSync(new URL("../static/_headers", import.meta.url), "utf8").includes(`script-src 'self' ${HASH};`), HASH);
});

describe("a page of the run", { concurrency: true }, () => {
  for (const [parameters, puts, counts] of [
    [{ strategy: "direct", n: 5 }, ["ok", "429", "ok"], ["4 of 5", "5", "1"]],
    [{ strategy: "backoff", n: 3 }, ["429", "ok"], ["3 of 3", "4", "1"]],
    [{ strategy: "coalesce", n: 20 }, ["ok"], ["20 of 20", "1", "0"]],
  ]) {
    test(`${parameters.strategy}: the same status, and the counts of writes, puts and refusals`, async () => {
      const key = uniqueName("page");
      await setFaults(key, { put: puts });
      const response = await write(key, { ...parameters, headers: html });
      assertPage(response, 200);
      const shown = [...response.text.matchAll(/<dd>([^<]*)/g)].map(([, count]) => count);
      assert.deepEqual(shown.slice(0, 3), counts);
    });
  }

  test("coalesce, wait=durable: 202 with its version", async () => {
    const response = await write(uniqueName("page"), { strategy: "coalesce", n: 20, wait: "durable", headers: html });
    assertPage(response, 202);
    assert.equal(response.headers.etag, '"1"');
  });

  test("a key cannot become markup", async () => {
    const key = `<script>alert(1)</script>"'&<b>`;
    for (const strategy of ["direct", "backoff", "coalesce"]) {
      const response = await write(key, { strategy, n: 1, headers: html });
      assertPage(response, 200);
      assert.doesNotMatch(response.text, /<b>/);
    }
  });

  test("a refusal is problem details", async () => {
    const key = uniqueName("page");
    await setFaults(key, { put: ["quota"] });
    assertProblem(await write(key, { strategy: "coalesce", headers: html }), 503, "kv_refused");
    assertProblem(await write(key, { n: 0, headers: html }), 400, "invalid_n");
  });

  for (const accept of [undefined, "*/*", "application/json", "text/html, application/json", "text/html;q=0"]) {
    test(`Accept: ${accept ?? ""} gets JSON`, async () => {
      const headers = { ...bearer, ...(accept && { Accept: accept }) };
      const response = await write(uniqueName("page"), { strategy: "coalesce", n: 20, headers });
      assert.equal(response.headers["content-type"], "application/json");
      assert.equal(response.json().acknowledged, 20);
    });
  }
});

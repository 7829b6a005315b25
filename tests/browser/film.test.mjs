// A film that is stored in KV in several chunks: a browser plays it and seeks in it without
// fetching all of it.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { startAssets } from "../harness/assets.mjs";
import { eventually } from "../harness/eventually.mjs";
import { DEADLINE_MS, startBrowser, visitor } from "./browser.mjs";
import { FRAMES_PER_SECOND, makeFilm, numberShown } from "./film.mjs";

/**
 * The longest value that KV accepts, less what the REST API adds; longer files are stored in
 * chunks.
 */
const WHOLE_BYTES_MAX = 24 * 1024 * 1024;

const FRAMES = 420;

const assets = await startAssets({ faulty: false });
const browser = await startBrowser();
const { page, context, problems } = await visitor(browser, assets.worker.directUrl.origin);
const video = page.locator("video");

/** The responses for the film. */
const responses = [];
/** How many bytes of the film were received. */
let received = 0;
let film;

before(async () => {
  film = await makeFilm(page, FRAMES);
  const html = `<!doctype html><html lang="en"><title>A film</title><link rel="icon" href="data:,"><video src="/film.webm" preload="metadata" muted controls></video></html>`;
  await assets.push({ "index.html": html, "film.webm": film.bytes });
  const network = await context.newCDPSession(page);
  const ids = new Set();
  network.on("Network.responseReceived", ({ requestId, response: { url, status, headers } }) => {
    if (!url.endsWith("/film.webm")) return;
    ids.add(requestId);
    const fields = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
    responses.push({ status, range: fields["content-range"], type: fields["content-type"] });
  });
  network.on("Network.dataReceived", ({ requestId, dataLength }) => (received += ids.has(requestId) ? dataLength : 0));
  await network.send("Network.enable");
  await page.goto("/");
});

/** Seeks, and waits until the picture of that time is shown. */
function seek(seconds) {
  return video.evaluate(
    (element, to) =>
      new Promise((resolve, reject) => {
        element.addEventListener("seeked", resolve, { once: true });
        element.addEventListener("error", () => reject(new Error(element.error.message)), { once: true });
        element.currentTime = to;
      }),
    seconds,
  );
}

/** Seeks to this fraction of the film, and checks which picture is shown. */
async function assertSeeks(part) {
  const number = Math.round(part * FRAMES);
  await seek((number + 0.5) / FRAMES_PER_SECOND);
  assert.equal(await numberShown(video), number);
}

describe("a film in chunks", () => {
  test("is longer than the longest value of KV", () => assert.ok(film.bytes.length > WHOLE_BYTES_MAX + 8 * 1024 * 1024, `${film.bytes.length} bytes`));

  test("says how long it is", async () => {
    await eventually(() => video.evaluate((element) => element.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA), "the first picture", DEADLINE_MS);
    assert.equal(await video.evaluate((element) => element.duration), film.seconds);
    assert.equal(await numberShown(video), 0);
  });

  test("the film plays", async () => {
    await video.evaluate((element) => element.play());
    await eventually(() => video.evaluate((element) => element.currentTime > 0.5), "half a second of it", DEADLINE_MS);
    await video.evaluate((element) => element.pause());
    const time = await video.evaluate((element) => element.currentTime);
    const shown = await numberShown(video);
    // The picture may be less than three off, since time passes while it is drawn.
    assert.ok(Math.abs(shown - time * FRAMES_PER_SECOND) < 3, `picture ${shown} at ${time} s`);
  });

  test("shows the picture of the sought time, without fetching the whole film", async () => {
    await assertSeeks(0.8);
    assert.ok(received > 0 && received < film.bytes.length, `${received} of ${film.bytes.length} bytes`);
  });

  test("seeks in both directions", async () => {
    for (const part of [0.3, 0.95, 0.1, 0]) await assertSeeks(part);
  });

  test("is fetched by ranges", () => {
    assert.ok(responses.length >= 2, "one request at least for the beginning and one for elsewhere");
    for (const { status, range, type } of responses) {
      assert.equal(status, 206);
      assert.equal(type, "video/webm");
      assert.match(range ?? "", new RegExp(`^bytes \\d+-\\d+/${film.bytes.length}$`));
    }
  });

  test("causes no errors", () => {
    // A seek aborts requests in progress.
    assert.deepEqual(
      problems.filter((problem) => !/^request: .*\/film\.webm net::ERR_ABORTED$/.test(problem)),
      [],
    );
  });
});

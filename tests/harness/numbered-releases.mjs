// A site whose files, all but one, name their release, so that a test sees whether visitors get
// one release or a mix.
import assert from "node:assert/strict";
import { startAssets } from "./assets.mjs";
import { makeFolder } from "./tool.mjs";

/** Returns the files of the nth release. */
export const filesOfRelease = (n) => ({
  "index.html": `<!doctype html><p>release ${n}`,
  "style.css": `/* release ${n} */`,
  "deep/er/file.txt": `release ${n} `.repeat(500),
  "same.txt": "in every release",
  [`only-${n}.html`]: `<p>release ${n}`,
});

/** Returns the API calls that write or delete. */
export const writingCalls = (calls) => calls.filter(({ method, path }) => method !== "GET" && !/\/bulk\/get/.test(path));

/**
 * Starts a Worker for a test file, and returns how its tests push releases and what visitors see.
 */
export async function startNumberedReleases() {
  const assets = await startAssets();
  const { api } = assets;
  return {
    assets,
    api,
    /** Pushes the nth release and returns the tool's result, whether it succeeds or not. */
    pushRelease: (n, options) => assets.run("push", [makeFolder(filesOfRelease(n))], options),
    /** Runs `action` and returns its result with the API `calls` that it made. */
    async recordCalls(action) {
      const before = api.calls.length;
      const result = await action();
      return { ...result, calls: api.calls.slice(before) };
    },
    /**
     * Checks that visitors see one of these releases, complete and unmixed (404 for none), and
     * returns its number.
     */
    async assertServes(...possible) {
      const texts = await Promise.all(["/", "/style.css", "/deep/er/file.txt"].map((path) => assets.get(path)));
      const numbers = texts.map(({ status, text }) => (status === 200 ? Number(/release (\d+)/.exec(text)?.[1]) : status));
      assert.equal(new Set(numbers).size, 1, `a mix of releases: ${numbers}`);
      const [n] = numbers;
      assert.ok(possible.includes(n), `release ${n}, not ${possible.join(" or ")}`);
      if (n === 404) return n;
      for (const [path, content] of Object.entries(filesOfRelease(n))) {
        const url = `/${path.replace("index.html", "").replace(/\.html$/, "")}`;
        const { status, text } = await assets.get(url);
        assert.deepEqual([status, text], [200, content], `${url} of release ${n}`);
      }
      for (const other of possible) if (other !== n && other !== 404) assert.equal((await assets.get(`/only-${other}`)).status, 404);
      return n;
    },
  };
}

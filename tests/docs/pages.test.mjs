// What a reader of the pages relies on: links, names of files and figures that are right, a short
// README.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { describe, test } from "node:test";
import { ROOT } from "../../scripts/run.mjs";
import { readToml } from "../../scripts/toml.mjs";
import { anchorsOf, blocksOf, pages, proseOf, read } from "./markdown.mjs";

const README_WORDS = 700;

/** The targets of inline links, pictures, and reference definitions. */
const LINK = /\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)|^\s*\[[^\]]+\]:\s+<?([^\s>]+)>?/g;

/** Returns what is wrong with a link; undefined if it is absolute or its target exists. */
function fault(page, link) {
  if (/^[a-z][a-z0-9+.-]*:/i.test(link)) return undefined;
  const [path, anchor] = link.split("#");
  const target = path === "" ? page : posix.normalize(posix.join(posix.dirname(page), decodeURIComponent(path)));
  if (target.startsWith("..")) return "leads out of the project";
  if (!existsSync(join(ROOT, target))) return "there is no such file";
  if (anchor === undefined) return undefined;
  if (!target.endsWith(".md") || statSync(join(ROOT, target)).isDirectory()) return "only a page has anchors";
  return anchorsOf(target).has(anchor) ? undefined : `${target} has no heading with this anchor`;
}

describe("links between pages", () => {
  for (const page of pages()) {
    test(`${page}: each leads to a file and a heading that exist`, () => {
      const faults = proseOf(page).flatMap(({ number, text }) =>
        [...text.matchAll(LINK)]
          .map(([, inline, reference]) => inline ?? reference)
          .map((link) => ({ link, reason: fault(page, link) }))
          .filter(({ reason }) => reason !== undefined)
          .map(({ link, reason }) => `${page}:${number}: ${link}: ${reason}`),
      );
      assert.deepEqual(faults, []);
    });
  }

  test("every page of docs/ is linked from README.md or docs/README.md", () => {
    const linked = new Set(
      ["README.md", "docs/README.md"].flatMap((page) =>
        proseOf(page).flatMap(({ text }) => [...text.matchAll(LINK)].map(([, link]) => posix.join(posix.dirname(page), link?.split("#")[0] ?? ""))),
      ),
    );
    assert.deepEqual(
      pages().filter((page) => page.startsWith("docs/") && !linked.has(page)),
      [],
    );
  });
});

describe("files that pages name", () => {
  const FILE = /`([\w./-]+\.(?:rs|mjs|js|toml|md))`/g;
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { cwd: ROOT, encoding: "utf8" }).split("\n");

  // A name may leave out the folders that its table or section is about.
  for (const page of ["ARCHITECTURE.md", "CONTRIBUTING.md", "src/platform/README.md", "tests/README.md"]) {
    test(`${page}: each exists`, () => {
      const named = [...read(page).matchAll(FILE)].map(([, name]) => name);
      assert.deepEqual(
        named.filter((name) => !files.some((file) => file === name || file.endsWith(`/${name}`))),
        [],
      );
    });
  }

  test("ARCHITECTURE.md: a request is read in at most 15 files, with those that all requests share", () => {
    const [, life] = read("ARCHITECTURE.md").split("## The life of a request");
    const [shared, ...sections] = life.split("\n## ")[0].split("\n### ");
    const filesOf = (text) => [...text.matchAll(FILE)].length;
    for (const request of ["A file", "A cache hit", "A storefront", "A coalesced write"]) {
      const section = sections.find((text) => text.startsWith(`${request}:`));
      const rows = section.split("\n").filter((line) => line.startsWith("| `"));
      const files = filesOf(shared) + rows.reduce((sum, row) => sum + filesOf(row.split(" | ")[0]), 0);
      assert.ok(files <= 15, `${request}: ${files}`);
    }
  });

  test("ARCHITECTURE.md: the further files of a request are as many as it says", () => {
    const paragraphs = read("ARCHITECTURE.md")
      .split("\n\n")
      .flatMap((text) => [...text.matchAll(/^It also goes through (\d+) more files: /g)].map(([, number]) => [number, text]));
    assert.equal(paragraphs.length, 5);
    for (const [number, text] of paragraphs) assert.equal([...text.matchAll(FILE)].length, Number(number), text);
  });
});

test("ARCHITECTURE.md: the tables of dependencies have the packages of every Cargo.toml and of package.json", async () => {
  const manifests = execFileSync("git", ["ls-files", "Cargo.toml", "*/Cargo.toml"], { cwd: ROOT, encoding: "utf8" }).trim().split("\n");
  const crates = (await Promise.all(manifests.map(readToml)))
    .flatMap((manifest) => Object.entries({ ...manifest.dependencies, ...manifest["dev-dependencies"], ...manifest["build-dependencies"] }))
    .filter(([, { path }]) => path === undefined)
    .map(([name]) => name);
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const [, section] = read("ARCHITECTURE.md").split("\n## Dependencies\n");
  const rows = section.split("\n## ")[0].matchAll(/^\| (`.+?) \| /gm);
  const named = [...rows].flatMap(([, cell]) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name));
  const sorted = (names) => [...new Set(names)].sort();
  assert.deepEqual(sorted(named), sorted([...crates, ...Object.keys({ ...dependencies, ...devDependencies })]));
});

test("console/README.md names every file of the page but its panels", () => {
  const named = new Set([...read("console/README.md").matchAll(/`([\w./]+)`/g)].map(([, name]) => name.replace(/^src\//, "")));
  const files = execFileSync("git", ["ls-files", "console"], { cwd: ROOT, encoding: "utf8" }).trim().split("\n");
  const names = files.map((file) => file.replace(/^console\/(src\/(browse\/)?)?/, "")).filter((name) => name !== "README.md" && !name.startsWith("panels/"));
  assert.deepEqual(
    names.filter((name) => !named.has(name)),
    [],
  );
});

describe("README.md", () => {
  test(`it has at most ${README_WORDS} words`, () => {
    const words = read("README.md").split(/\s+/).filter(Boolean).length;
    assert.ok(words <= README_WORDS, `it has ${words}: move something into docs/`);
  });

  test("its test command is the one that continuous integration runs", () => {
    const command = readFileSync(join(ROOT, ".ci/run"), "utf8").trim().split("\n").at(-1);
    const commands = blocksOf("README.md").flatMap(({ lines }) => lines.map((line) => line.split(" #")[0].trim()));
    assert.ok(commands.includes(command), `no shell block has the line ${command}`);
  });
});

describe("figures", () => {
  test("each CPU time of README.md, with its ratio, is a row of docs/benchmarks.md", () => {
    const rows = read("docs/benchmarks.md")
      .split("\n")
      .map((line) => line.split("|").map((cell) => cell.trim()));
    const figures = [...read("README.md").matchAll(/(\d+) µs, (\d\.\d+) of/g)];
    assert.ok(figures.length > 0);
    for (const [figure, time, ratio] of figures) {
      assert.ok(
        rows.some((cells) => cells[2] === time && cells[4]?.startsWith(`${ratio} (`)),
        figure,
      );
    }
  });
});

// The parts of the project's Markdown pages that the tests of the documentation look at.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { ROOT } from "../../scripts/run.mjs";

/** Folders without pages of the project: what is installed or built. */
const SKIPPED = new Set([".git", ".tools", ".wrangler", "build", "node_modules", "target"]);

/** Returns the sorted paths of all pages of the project, relative to its root, with `/`. */
export function pages() {
  return below(ROOT)
    .filter((path) => path.endsWith(".md"))
    .map((path) => relative(ROOT, path).split(sep).join("/"))
    .sort();
}

function below(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (SKIPPED.has(entry.name)) return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? below(path) : [path];
  });
}

export const read = (page) => readFileSync(join(ROOT, page), "utf8");

/**
 * Returns the page's lines, each as `{ number, text, fence }`. `fence` is undefined for prose;
 * the lines of one code block share one object, `{ info, line, lines }`, with the words after
 * the opening backticks, the number of that line and the lines of code.
 */
export function linesOf(page) {
  let fence;
  return read(page)
    .split("\n")
    .map((text, index) => {
      const number = index + 1;
      const opening = text.match(/^\s*(`{3,})(.*)$/);
      if (fence === undefined && opening) {
        fence = { backticks: opening[1], info: opening[2].trim().split(/\s+/), line: number, lines: [] };
        return { number, text, fence };
      }
      const line = { number, text, fence };
      if (fence !== undefined) {
        if (text.trim() === fence.backticks) fence = undefined;
        else fence.lines.push(text);
      }
      return line;
    });
}

/**
 * Returns the page's code blocks in order. `next` is the block that follows, if only empty lines
 * are between.
 */
export function blocksOf(page) {
  const lines = linesOf(page);
  const blocks = [...new Set(lines.map(({ fence }) => fence).filter(Boolean))];
  return blocks.map((block, index) => {
    const last = block.line + block.lines.length + 1;
    const following = blocks[index + 1];
    const between = following && lines.slice(last, following.line - 1);
    return { ...block, text: block.lines.join("\n"), next: between?.every(({ text }) => text.trim() === "") ? following : undefined };
  });
}

/** Returns the page's lines outside of code blocks, without their inline code. */
export function proseOf(page) {
  return linesOf(page)
    .filter(({ fence }) => fence === undefined)
    .map(({ number, text }) => ({ number, text: text.replace(/(`+)(?!`).*?(?<!`)\1(?!`)/g, "") }));
}

/** Returns the anchors of the page's headings, as GitHub makes them. */
export function anchorsOf(page) {
  const seen = new Map();
  return new Set(
    linesOf(page)
      .filter(({ fence, text }) => fence === undefined && /^#{1,6} /.test(text))
      .map(({ text }) => {
        const title = text
          .replace(/^#+ /, "")
          .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
          .replace(/[^\p{L}\p{N}\p{M}\p{Pc} -]/gu, "");
        const anchor = title.trim().toLowerCase().replaceAll(" ", "-");
        const times = seen.get(anchor) ?? 0;
        seen.set(anchor, times + 1);
        return times === 0 ? anchor : `${anchor}-${times}`;
      }),
  );
}

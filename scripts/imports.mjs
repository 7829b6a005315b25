// Finds import cycles and imports of one job by another. Imports of a Rust file are its paths that
// begin with `crate` or `super`, those of a JavaScript file its relative imports. What a module
// uses of the modules inside it is no import, because it contains them.
import { posix } from "node:path";

/**
 * Returns a sentence with a shortest cycle for each file that is in a cycle and in no sentence
 * before. `sources` has the text of each file by its path.
 */
export function importCycles(sources) {
  const imports = importsOf(sources);
  const reported = new Set();
  const cycles = [];
  for (const file of sources.keys()) {
    const cycle = reported.has(file) ? [] : shortestCycle(file, imports);
    if (cycle.length > 0) cycles.push(`Import cycle: ${cycle.map(({ from, line }) => `${from}:${line}`).join(" -> ")} -> ${file}`);
    for (const { from } of cycle) reported.add(from);
  }
  return cycles;
}

/** Returns a sentence for each import of one job's file by another's. `sources` as above. */
export function importsBetweenJobs(sources) {
  const jobOf = (file) => /^src\/jobs\/(\w+)/.exec(file)?.[1];
  return [...importsOf(sources)].flatMap(([file, imports]) =>
    [...imports]
      .filter(([to]) => jobOf(file) && jobOf(to) && jobOf(to) !== jobOf(file))
      .map(([to, line]) => `${file}:${line}: the job ${jobOf(file)} imports ${to}, of another job.`),
  );
}

/** Returns the imports of each file: the line of one by the file that it names. */
function importsOf(sources) {
  return new Map([...sources].map(([file, text]) => [file, file.endsWith(".rs") ? rustImports(file, text, sources) : scriptImports(file, text)]));
}

/** Returns the fewest imports that lead from a file back to it; none if it is in no cycle. */
function shortestCycle(start, imports) {
  const paths = [{ end: start, path: [] }];
  const seen = new Set();
  for (const { end, path } of paths) {
    for (const [to, line] of imports.get(end) ?? []) {
      const longer = [...path, { from: end, line }];
      if (to === start) return longer;
      if (!seen.has(to)) paths.push({ end: to, path: longer });
      seen.add(to);
    }
  }
  return [];
}

const lineAt = (text, index) => text.slice(0, index).split("\n").length;

const blanked = (code) => code.replace(/[^\n]/g, " ");

/** Returns the files that a JavaScript file imports, each with the line of an import. */
function scriptImports(file, text) {
  const code = text.replace(/^\s*(\/\/|\/?\*).*$/gm, blanked);
  const found = code.matchAll(/(?:\bfrom |^import |\bimport\()"(\.{1,2}\/[^"]+)"/gm);
  return new Map([...found].map(({ 1: path, index }) => [posix.join(posix.dirname(file), path), lineAt(code, index)]));
}

/** Matches comments, strings and character literals. */
const NO_CODE = /\/\/.*|\/\*[\s\S]*?\*\/|\br(#*)"[\s\S]*?"\1|"(?:\\[\s\S]|[^"\\])*"|'(?:\\.[^']*|[^'\\])'/g;

/** Matches paths that begin with `crate` or `super`. In a `use` they may end with a group. */
const PATH = /\b(crate|(?:super::)*super)::((?:\w+::)*(?:\{[^;]*|\w+|\*))/g;

/** Returns the files of its crate that a Rust file imports, each with the line of an import. */
function rustImports(file, text, sources) {
  const [, folder, name] = /^(.*\bsrc\/)(.*)\.rs$/.exec(file);
  const module = ["lib", "main"].includes(name) ? [] : name.split("/");
  const root = sources.has(`${folder}lib.rs`) ? `${folder}lib.rs` : `${folder}main.rs`;
  const fileOf = (names) => (names.length === 0 ? root : `${folder}${names.join("/")}.rs`);
  const code = withoutTests(text.replace(NO_CODE, blanked));
  const inlineModules = [...code.matchAll(/\bmod (\w+)\s*\{/g)].map(({ 1: inline, index }) => ({ inline, start: index, end: endOfItem(code, index) }));
  const imports = new Map();
  for (const { 1: base, 2: tree, index } of code.matchAll(PATH)) {
    const inner = inlineModules.filter(({ start, end }) => start < index && index < end).map(({ inline }) => inline);
    const parents = base === "crate" ? [] : [...module, ...inner].slice(0, -base.split("::").length);
    for (const path of pathsOf(tree)) {
      const names = [...parents, ...path.split("::")];
      while (!sources.has(fileOf(names))) names.pop();
      const isWithin = module.every((part, at) => names[at] === part);
      if (!isWithin && !imports.has(fileOf(names))) imports.set(fileOf(names), lineAt(code, index));
    }
  }
  return imports;
}

/** Returns the single paths of a use tree, such as `a::b` and `a::c` of `a::{b, c}`. */
function pathsOf(tree) {
  const GROUP = /([\w:]*)\{([^{}]*)\}/;
  let paths = tree.replace(/\s+as\s+\w+|\s/g, "");
  while (GROUP.test(paths)) {
    paths = paths.replace(GROUP, (_, prefix, names) =>
      names
        .split(",")
        .map((name) => name && prefix + name)
        .join(","),
    );
  }
  return paths.split(",").filter((path) => path !== "");
}

/** Returns code with blanks in place of the items that are compiled for tests only. */
function withoutTests(code) {
  let rest = code;
  for (const { index, 0: attribute } of code.matchAll(/#\[cfg\((?:test|all\(test\b[^\]]*)\)\]/g)) {
    const end = endOfItem(code, index + attribute.length);
    rest = rest.slice(0, index) + blanked(rest.slice(index, end)) + rest.slice(end);
  }
  return rest;
}

/** Returns the index after the item that begins at `start`. */
function endOfItem(code, start) {
  let depth = 0;
  for (let at = start; at < code.length; at++) {
    if ("{[(".includes(code[at])) depth++;
    if ("}])".includes(code[at])) depth--;
    if (depth === 0 && ["}", ";"].includes(code[at])) return at + 1;
  }
  return code.length;
}

// Checks what no other linter here does:
//
// - Comments on lines of their own and the prose of pages end before column 100 if they can be
//   broken.
// - No two types have the same name, except in files of tests and examples.
// - There are no import cycles, and no job imports another.
// - A file of tests awaits nothing after its first test.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { linesOf as linesOfPage, pages } from "../tests/docs/markdown.mjs";
import { importCycles, importsBetweenJobs } from "./imports.mjs";
import { lateAwaits } from "./late-awaits.mjs";
import { Failure, ROOT } from "./run.mjs";

const COLUMNS = 99;

/** Match comments on lines of their own; in TOML, also behind a value. */
const SCRIPT_COMMENT = /^\s*(\/\/|\/?\*)/;
const COMMENT = { ".rs": /^\s*\/\//, ".toml": /(^|\s)#\s/, ".mjs": SCRIPT_COMMENT, ".js": SCRIPT_COMMENT, ".jsx": SCRIPT_COMMENT };

/** Matches a comment of one long word, and a line with a long URL. They may be longer. */
const UNBREAKABLE = /^\s*(\/\/[/!]?|\*)\s*\S+\s*$|https?:\/\/\S{40,}/;

/** Matches the definition of a type. Associated types are indented, and belong to their trait. */
const TYPE = /^\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum|union|trait) ([A-Z]\w*)|^(?:pub(?:\([^)]*\))? )?type ([A-Z]\w*)/;

/** Matches the definition of a type of JavaScript, in a block of the bindings to it. */
const EXTERN_TYPE = /^\s*(?:pub(?:\([^)]*\))? )?type ([A-Z]\w*);/;

/** Matches files of tests and examples: no other file sees their types. */
const IN_TESTS = /(^|\/)(tests|examples)(\/|\.rs$)/;

/** Throws a `Failure` that lists every place at fault. */
export function lintText() {
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { cwd: ROOT, encoding: "utf8" }).trim().split("\n");
  const sources = files.filter((file) => /\.(rs|mjs|jsx?)$/.test(file));
  const settings = files.filter((file) => file.endsWith(".toml"));
  const faults = [...[...sources, ...settings].flatMap(longComments), ...pages().flatMap(longProse)];
  const production = sources.filter((file) => file.endsWith(".rs") && !IN_TESTS.test(file));
  faults.push(...repeatedTypes(production));
  const modules = [...production, ...sources.filter((file) => !file.endsWith(".rs"))];
  const texts = new Map(modules.map((file) => [file, linesOf(file).join("\n")]));
  faults.push(...importCycles(texts), ...importsBetweenJobs(texts));
  for (const file of sources.filter((name) => name.endsWith(".test.mjs"))) {
    faults.push(...lateAwaits(linesOf(file)).map((line) => `${file}:${line}: a test comes before this await, so the file may end before it does.`));
  }
  if (faults.length > 0) throw new Failure(`${faults.join("\n")}\n${faults.length} faults in comments, pages, names, imports and tests.`);
}

const columnsOf = (line) => [...line].length;
const linesOf = (file) => readFileSync(join(ROOT, file), "utf8").split("\n");

function longComments(file) {
  return linesOf(file).flatMap((line, index) => {
    const isComment = COMMENT[extname(file)].test(line);
    if (!isComment || columnsOf(line) <= COLUMNS || UNBREAKABLE.test(line)) return [];
    return [`${file}:${index + 1}: the comment ends at column ${columnsOf(line)}; ${COLUMNS} at most.`];
  });
}

/** A table's row cannot be broken, nor can a line with a long link. */
function longProse(page) {
  const long = linesOfPage(page).filter(({ text }) => columnsOf(text) > COLUMNS && !text.startsWith("|") && !/\]\(\S{30,}\)/.test(text));
  return long.map(({ number, text }) => `${page}:${number}: the line ends at column ${columnsOf(text)}; ${COLUMNS} at most.`);
}

function repeatedTypes(files) {
  const places = new Map();
  for (const file of files) {
    let isInExtern = false;
    linesOf(file).forEach((line, index) => {
      if (/^\S.*\{$/.test(line)) isInExtern = line.includes('extern "C"');
      const [, name, alias] = TYPE.exec(line) ?? [];
      const type = name ?? alias ?? (isInExtern ? EXTERN_TYPE.exec(line)?.[1] : undefined);
      if (type) places.set(type, [...(places.get(type) ?? []), `${file}:${index + 1}`]);
    });
  }
  return [...places]
    .filter(([, where]) => where.length > 1)
    .map(([type, where]) => `The type ${type} is defined in ${where.join(" and ")}: a name means one thing.`);
}

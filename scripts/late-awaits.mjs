// Finds `await` at the top level of a file of tests after its first test.
//
// Node's test runner begins a test when it is defined. If all tests that are defined end while the
// file awaits something else, the runner ends the file: it calls the hooks that stop the Worker,
// and the tests that the file defines later find none.

/** Matches the definition of a test, also behind `await`, or the head of a loop or an `if`. */
const TEST = /^\s*(?:(?:for|if) \(.*\) )?(?:await )?(?:test|describe|it)(?:\.\w+)?\(/;

/**
 * Matches a line with an `await` that is not in a comment. Behind `async`, it belongs to a
 * function.
 */
const AWAIT = /^(?!\s*\/\/)(?:(?!\basync\b).)*\bawait\b/;

/** Matches the last line of the head of a function that has a block. */
const FUNCTION = /(?:=>|\bfunction\b.*\)|^\s*(?:async )?[\w#*]+\(.*\)) \{$/;

const LOOP = /^(?:for|while)\b/;

/**
 * Returns the numbers, from 1, of the lines at fault. In a loop that defines tests, an `await` is
 * late even before them, since the loop repeats. The lines are formatted as Biome formats them. A
 * test that a callback defines, such as that of `forEach`, is not seen, and the parameters of a
 * function must stand on one line.
 */
export function lateAwaits(lines) {
  const late = [];
  let hasTest = false;
  for (const statement of statements(lines)) {
    const own = outsideFunctions(statement);
    hasTest ||= LOOP.test(statement[0].text) && own.some(({ text }) => TEST.test(text));
    for (const { text, number } of own) {
      if (hasTest && AWAIT.test(text) && !TEST.test(text)) late.push(number);
      hasTest ||= TEST.test(text);
    }
  }
  return late;
}

/** Returns the statements of a file, each the list of its lines: `{ text, number }`. */
function statements(lines) {
  const found = [];
  lines.forEach((text, index) => {
    if (/^[^\s)\]}]/.test(text) || found.length === 0) found.push([]);
    found.at(-1).push({ text, number: index + 1 });
  });
  return found;
}

/** Returns the lines of a statement without the bodies of functions. */
function outsideFunctions(statement) {
  let end = null;
  return statement.filter(({ text }) => {
    if (end !== null) {
      if (text.startsWith(end)) end = null;
      return false;
    }
    if (FUNCTION.test(text)) end = `${/^\s*/.exec(text)[0]}}`;
    return true;
  });
}

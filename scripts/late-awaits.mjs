// Finds `await` at the top level of a file of tests after its first test.
//
// Node's test runner begins a test when it is defined. If all tests that are defined end while the
// file awaits something else, the runner ends the file: it calls the hooks that stop the Worker,
// and the tests that the file defines later find none.

const TEST = /^\s*(test|describe)\b.*\(/;
const AWAIT = /^\s*(?:(?:const|let) [^=]*= )?await /;
const BLOCK = /^(?:for|if|while) .*\{$/;

/**
 * Returns the numbers, from 1, of the lines at fault. Those of a block repeat, so there an `await`
 * is late even before the test. The lines are formatted as Biome formats them.
 */
export function lateAwaits(lines) {
  const late = [];
  let hasTest = false;
  lines.forEach((line, index) => {
    if (BLOCK.test(line)) {
      const end = lines.indexOf("}", index);
      const block = lines.slice(index, end);
      const hasOwn = block.some((inner) => TEST.test(inner));
      block.forEach((inner, at) => {
        if ((hasTest || hasOwn) && /^ {2}\S/.test(inner) && AWAIT.test(inner)) late.push(index + at + 1);
      });
    }
    if (hasTest && /^\S/.test(line) && AWAIT.test(line)) late.push(index + 1);
    hasTest ||= TEST.test(line);
  });
  return late;
}

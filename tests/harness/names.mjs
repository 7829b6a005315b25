// Names that keep the keys and records of one test apart from those of another.

let numbers = 0;

/** Returns a name that no other test of the file uses. */
export function uniqueName(name) {
  numbers += 1;
  return `${name}-${numbers}`;
}

// The rows of a list of keys: folders by the next slash, then keys.

/** How the keys that are loaded can be sorted. KV itself lists by name. */
export const ORDERS = {
  name: "Name",
  nameDescending: "Name, descending",
  expiration: "Expires soonest",
};

/**
 * Compares two keys by the bytes of their UTF-8, as KV lists them: negative, zero or positive, as
 * `sort` takes it. That is the order of code points. JavaScript's own is that of UTF-16 units, in
 * which an emoji comes before U+FB00.
 */
export function compareKeys(one, other) {
  let at = 0;
  while (at < one.length && one[at] === other[at]) at += 1;
  return (one.codePointAt(at) ?? -1) - (other.codePointAt(at) ?? -1);
}

/** Returns the part of a prefix up to its last slash: the folder that is in view. */
export const folderOf = (prefix) => prefix.slice(0, prefix.lastIndexOf("/") + 1);

/**
 * Returns rows `{ folder, label, count }` and `{ key, label }`. Each key begins with `prefix`, and
 * they are sorted by name. Without `hasFolders` every key is a row.
 */
export function rowsOf(keys, prefix, { hasFolders, order }) {
  const base = hasFolders ? folderOf(prefix) : "";
  const folders = new Map();
  const rows = [];
  for (const key of keys) {
    const slash = hasFolders ? key.name.indexOf("/", base.length) : -1;
    if (slash === -1) rows.push({ key, label: key.name.slice(base.length) || key.name });
    else {
      const folder = key.name.slice(0, slash + 1);
      const row = folders.get(folder);
      if (row) row.count += 1;
      else folders.set(folder, { folder, label: folder.slice(base.length), count: 1 });
    }
  }
  const sorted = [...folders.values()];
  if (order === "nameDescending") {
    rows.reverse();
    sorted.reverse();
  }
  if (order === "expiration") rows.sort((a, b) => (a.key.expiration ?? Number.POSITIVE_INFINITY) - (b.key.expiration ?? Number.POSITIVE_INFINITY));
  return [...sorted, ...rows];
}

// What the KV REST API does with the bindings in one call each.

/** Returns the names of the KV namespaces among the bindings, separated by line feeds. */
export function namespaceNames(env) {
  const isNamespace = ([, binding]) => Object.prototype.toString.call(binding) === "[object KvNamespace]";
  return Object.entries(env)
    .filter(isNamespace)
    .map(([name]) => name)
    .join("\n");
}

/**
 * Writes a point of Workers Analytics Engine: the index, and blobs separated by line feeds.
 */
export function writePoint(analytics, index, blobs, status, milliseconds) {
  analytics.writeDataPoint({ indexes: [index], blobs: blobs.split("\n"), doubles: [status, milliseconds] });
}

/**
 * Lists a page of keys. Resolves to `[json, count, cursor]`: the keys as the API shows them, how
 * many they are, and where the next page begins (`null` on the last one). The first `hidden`
 * characters of each name are left out.
 */
export async function listKeys(namespace, prefix, limit, cursor, hidden) {
  const page = await namespace.list({ prefix, limit, cursor });
  const keys = page.keys.map(({ name, expiration, metadata }) => ({
    name: hidden === 0 ? name : name.slice(hidden),
    expiration,
    metadata: metadata ?? undefined,
  }));
  return [JSON.stringify(keys), keys.length, page.list_complete ? null : page.cursor];
}

/**
 * Returns when a key expires, in seconds since the Unix epoch, or `null`. A key sorts before all
 * longer ones that begin with it.
 */
export async function expirationOf(namespace, key) {
  const { keys } = await namespace.list({ prefix: key, limit: 1 });
  return keys[0]?.name === key ? (keys[0].expiration ?? null) : null;
}

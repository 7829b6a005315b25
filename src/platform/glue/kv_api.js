// Glue of the KV REST API, and of the lists of keys that the console shows. Each function does in
// one call from WebAssembly what would take many.

/** Returns the names of the KV namespaces among the bindings, separated by line feeds. */
export function namespaceNames(env) {
  const isNamespace = ([, binding]) => Object.prototype.toString.call(binding) === "[object KvNamespace]";
  return Object.entries(env)
    .filter(isNamespace)
    .map(([name]) => name)
    .join("\n");
}

/** Writes a data point to Workers Analytics Engine. */
export function writePoint(analytics, index, blobs, status, milliseconds) {
  analytics.writeDataPoint({ indexes: [index], blobs, doubles: [status, milliseconds] });
}

/**
 * Lists a page of keys with a prefix. The cursor may come from a list with another prefix, so keys
 * without this prefix are left out: the caller may be allowed to see no others.
 */
async function pageOf(namespace, prefix, limit, cursor) {
  const page = await namespace.list({ prefix, limit, cursor });
  if (!page.list_complete && typeof page.cursor !== "string") throw new Error("KV LIST returned no cursor");
  return { keys: page.keys.filter(({ name }) => name.startsWith(prefix)), cursor: page.list_complete ? null : page.cursor };
}

/**
 * Resolves to a page of keys as `[json, count, cursor]`: the keys as the API shows them, how many
 * they are, and where the next page begins (`null` on the last one). The first `prefixLength`
 * UTF-16 code units of each name are left out.
 */
export async function listKeys(namespace, prefix, limit, cursor, prefixLength) {
  const page = await pageOf(namespace, prefix, limit, cursor);
  const keys = page.keys.map(({ name, expiration, metadata }) => ({ name: name.slice(prefixLength), expiration, metadata: metadata ?? undefined }));
  return [JSON.stringify(keys), keys.length, page.cursor];
}

/** Resolves to a page of keys as `[cursor, ...names]`, with the cursor of the next page. */
export async function keyNames(namespace, prefix, limit, cursor) {
  const page = await pageOf(namespace, prefix, limit, cursor);
  return [page.cursor, ...page.keys.map(({ name }) => name)];
}

/** Returns true if bytes are UTF-8. */
export function isText(bytes) {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/**
 * Resolves to when a key expires, in seconds since the Unix epoch; `null` if it never does, or the
 * list does not have it yet. A list with the whole key as its prefix begins with that key.
 */
export async function expirationOf(namespace, key) {
  const { keys } = await namespace.list({ prefix: key, limit: 1 });
  return keys[0]?.name === key ? (keys[0].expiration ?? null) : null;
}

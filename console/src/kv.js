// Keys and values: a client of the KV REST API at /client/v4 of this Worker, and of the call that
// reads values for the console, for which a key that does not exist is no error.
import { keyProblem } from "./key_name.js";
import { call, send } from "./session.js";

/** Any account id will do. */
const NAMESPACES = "/client/v4/accounts/console/storage/kv/namespaces";

/** The smallest and the largest `limit` that the API takes for a list of keys. */
const LIST_KEYS_MIN = 10;
const LIST_KEYS_MAX = 1000;

/** The most bytes of a value, and of metadata as JSON. */
export const VALUE_BYTES_MAX = 25 * 1024 * 1024;
export const METADATA_BYTES_MAX = 1024;

/** The smallest TTL that KV accepts, in seconds. */
export const TTL_SECONDS_MIN = 60;

/** Why a key whose expiration is unknown is not written. */
export const UNKNOWN_EXPIRATION = "KV does not list this key yet, so its expiration is unknown. Read the key again in a minute.";

/** Returns why no call can name the namespace with a title, as a sentence, or `null`. */
export const titleProblem = (title) => (title === "." || title === ".." ? `No URL can carry the title “${title}”.` : null);

/** Throws the problem of a name, if it has one. */
function refuse(problem) {
  if (problem !== null) throw new Error(problem);
}

function pathOf(namespace, ...rest) {
  refuse(titleProblem(namespace));
  return [NAMESPACES, encodeURIComponent(namespace), ...rest].join("/");
}

function valuePath(namespace, key) {
  refuse(keyProblem(key));
  return pathOf(namespace, "values", encodeURIComponent(key));
}

const READS = "/console/api/values";

function withQuery(path, given) {
  const query = new URLSearchParams(Object.entries(given).filter(([, value]) => value !== undefined && value !== null && value !== ""));
  return query.size > 0 ? `${path}?${query}` : path;
}

/** Returns all namespaces that the token sees, as `{ id, title }`, sorted by title. */
export async function namespaces({ signal } = {}) {
  const found = [];
  for (let page = 1; ; page += 1) {
    const { result } = await call(withQuery(NAMESPACES, { page, per_page: 1000, order: "title", direction: "asc" }), { signal });
    found.push(...result);
    if (result.length < 1000) return found;
  }
}

/** Creates a namespace, and returns it. */
export const createNamespace = async (title) => (await call(NAMESPACES, { method: "POST", json: { title } })).result;

export const renameNamespace = (namespace, title) => call(pathOf(namespace), { method: "PUT", json: { title } });

/** Deletes a namespace with all of its keys. */
export const deleteNamespace = (namespace) => call(pathOf(namespace), { method: "DELETE" });

/**
 * Returns `{ keys, cursor }`: keys in KV's order, as `{ name, expiration, metadata }`, and the
 * cursor of the next page, `null` after the last. `expiration` is in seconds since the Unix epoch.
 */
export async function keys(namespace, { prefix = "", cursor, limit = LIST_KEYS_MAX, signal } = {}) {
  const { result, result_info: info } = await call(withQuery(pathOf(namespace, "keys"), { prefix, cursor, limit }), { signal });
  return { keys: result, cursor: info?.cursor || null };
}

/**
 * Yields the keys with a prefix, a page at a time, each key once: the last key of a page may also
 * be the first of the next page of the service.
 */
export async function* keyPages(namespace, { prefix, signal } = {}) {
  let cursor;
  let last;
  do {
    const page = await keys(namespace, { prefix, cursor, signal });
    const isRepeated = last !== undefined && page.keys[0]?.name === last;
    yield isRepeated ? page.keys.slice(1) : page.keys;
    last = page.keys.at(-1)?.name ?? last;
    cursor = page.cursor;
  } while (cursor);
}

/**
 * Returns `{ bytes, metadata, expiration }` of a key, or `null` if it does not exist. `metadata`
 * is `null` if there is none. `expiration` is in seconds since the Unix epoch, `null` if the key
 * does not expire, and `undefined` if KV does not list it yet, so that this is unknown. KV may
 * serve what was there up to 60 seconds ago.
 */
export async function value(namespace, key, { signal } = {}) {
  // The list says when the key expires. The response with the value may have a field `expiration`,
  // but without it, either the key does not expire or the Worker could not list it.
  const [found, entry] = await Promise.all([content(namespace, key, { signal }), listed(namespace, key, { signal })]);
  return found && { ...found, expiration: entry && (entry.expiration ?? null) };
}

/** Returns `{ bytes, metadata }` of a key, or `null` if it does not exist. */
export async function content(namespace, key, { signal } = {}) {
  refuse(keyProblem(key));
  const response = await send(withQuery(READS, { namespace, key }), { signal });
  if (response.status === 204) return null;
  const metadata = response.headers.get("kv-metadata");
  return { bytes: new Uint8Array(await response.arrayBuffer()), metadata: metadata === null ? null : JSON.parse(decodeURIComponent(metadata)) };
}

/** Returns a key as `keys` does, or `undefined` if it is not listed. */
async function listed(namespace, key, { signal } = {}) {
  refuse(keyProblem(key));
  // Of all keys with this prefix, the key itself comes first.
  const { keys: found } = await keys(namespace, { prefix: key, limit: LIST_KEYS_MIN, signal });
  return found.find(({ name }) => name === key);
}

/** Returns true if KV lists a key. Its value may be long, so it is not read. */
export const exists = async (namespace, key, options) => (await listed(namespace, key, options)) !== undefined;

/**
 * Writes a value (bytes, a `Blob` or text) with its metadata. `expiration` is in seconds since the
 * Unix epoch, `expirationTtl` in seconds from now; without both the key does not expire.
 */
export async function put(namespace, key, value, { metadata = null, expiration, expirationTtl, signal } = {}) {
  const path = withQuery(valuePath(namespace, key), { expiration, expiration_ttl: expirationTtl });
  const body = new FormData();
  body.append("value", new Blob([value]));
  if (metadata !== null) body.append("metadata", JSON.stringify(metadata));
  await call(path, { method: "PUT", body, signal });
}

export async function remove(namespace, key, { signal } = {}) {
  await call(valuePath(namespace, key), { method: "DELETE", signal });
}

/**
 * Writes pairs in the form of the bulk call: `{ key, value, base64, metadata, expiration,
 * expiration_ttl }`. Returns the keys that were not written.
 */
export const putMany = (namespace, pairs, { signal } = {}) => bulk(pathOf(namespace, "bulk"), { method: "PUT", json: pairs, signal });

/** Deletes keys, and returns those that were not deleted. */
export const removeMany = (namespace, names, { signal } = {}) => bulk(pathOf(namespace, "bulk", "delete"), { method: "POST", json: names, signal });

/**
 * Returns the values of up to 100 keys as text, as an object; `null` for one that does not exist.
 * Values that are no text are left out, and so are all if they are too long together.
 */
export async function textValues(namespace, names, { signal } = {}) {
  const { values } = await call(withQuery(READS, { namespace }), { method: "POST", json: { keys: names }, signal });
  return values;
}

async function bulk(path, options) {
  try {
    const { result } = await call(path, options);
    return result?.unsuccessful_keys ?? [];
  } catch (error) {
    const rest = error.result?.unsuccessful_keys;
    if (rest?.length > 0) return rest;
    throw error;
  }
}

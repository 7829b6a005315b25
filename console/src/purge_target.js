// What a purge may name, by the rules of the Worker (`http_cache::purge`). The Worker checks more:
// whether the origin is on its list, and how long a URL or a prefix is in its canonical form.

/** The most bytes of a URL. */
const URL_BYTES_MAX = 8192;

/** The most bytes of a tag. */
const TAG_BYTES_MAX = 480;

const PORT_MAX = 65_535;

/** For each target that is a text: what it is called, and a function that says what is wrong. */
const RULES = { url: ["URL", urlFault], prefix: ["prefix", prefixFault], tag: ["tag", tagFault] };

/**
 * Returns why the Worker would refuse a purge of this target with this text, as a sentence, or
 * `null`. An empty text is one that nobody has typed yet.
 */
export function purgeProblem(target, text) {
  const [name, faultOf] = RULES[target] ?? [];
  if (name === undefined || text === "") return null;
  const fault = faultOf(text);
  return fault === null ? null : `The ${name} ${fault}.`;
}

function urlFault(text) {
  const [url] = text.split("#", 1);
  if (new TextEncoder().encode(url).length > URL_BYTES_MAX) return `has more than ${URL_BYTES_MAX} bytes`;
  const [authority, after] = split(url);
  return authorityFault(authority) ?? characterFault(after);
}

/** The last segment may be incomplete, so `/.` is the beginning of, say, `/.well-known`. */
function prefixFault(prefix) {
  const [authority, after] = split(prefix);
  const fault = authorityFault(authority);
  if (fault !== null) return fault;
  const [path] = after.split("?", 1);
  const segments = path.split("/");
  const whole = after.includes("?") ? segments : segments.slice(0, -1);
  if (after.includes("#") || path.includes("\\") || whole.some((segment) => /^(\.|%2e){1,2}$/i.test(segment))) {
    return "has a fragment, a backslash or a dot segment, so no URL in the cache begins with it";
  }
  return /%.?$/.test(after) ? "ends within a percent-escape" : characterFault(after);
}

function tagFault(text) {
  const tag = text.trim().replaceAll(/^,+|,+$/g, "");
  if (tag === "") return "is empty";
  if (tag !== tag.trim() || !/^[\t -~]*$/.test(tag)) return "has characters that are not printable ASCII";
  return tag.length > TAG_BYTES_MAX ? `has more than ${TAG_BYTES_MAX} bytes` : null;
}

/** Returns the authority of a URL, `null` if there is none, and what follows it. */
function split(url) {
  const [, authority = null, after = ""] = /^https?:\/\/([^/?#]*)(.*)$/is.exec(url) ?? [];
  return [authority, after];
}

function authorityFault(authority) {
  if (authority === null) return "does not start with http:// or https://";
  if (authority.includes("@")) return "has a user name or password";
  const [isAuthority, port = "1"] = /^(?:[\w.-]+|\[[\d.:a-f]+\])(?::([1-9]\d*))?$/i.exec(authority) ?? [];
  return isAuthority && Number(port) <= PORT_MAX ? null : "has no valid host or port";
}

const characterFault = (after) => (/^[!-~]*$/.test(after) ? null : "has characters that must be percent-encoded in a URL");

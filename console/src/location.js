// The place in the console, in the fragment of the URL: `#/PANEL/SEGMENT/…?NAME=VALUE`. A fragment
// never leaves the browser.
import { useEffect, useState } from "preact/hooks";

/** Returns `{ panel, path, query }` of a fragment. `path` has the decoded segments. */
export function parseFragment(fragment) {
  const [path, query = ""] = fragment.replace(/^#\/?/, "").split("?");
  const [panel, ...segments] = path.split("/").map(decode);
  return { panel, path: segments, query: new URLSearchParams(query) };
}

function decode(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** Returns the fragment of a place. Properties of `query` that are `undefined` are left out. */
export function fragmentOf(panel, path = [], query = {}) {
  const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined)).toString();
  return `#/${[panel, ...path].map(encodeURIComponent).join("/")}${text && `?${text}`}`;
}

/** Goes to a place. `replace` replaces the current entry of the history. */
export function go(fragment, { replace = false } = {}) {
  if (fragment === location.hash) return;
  history[replace ? "replaceState" : "pushState"](null, "", fragment);
  // A browser fires this event only later, and not for `pushState`. At once, one render shows the
  // place together with what the caller changes.
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/** Returns the current place; the component renders again when it changes. */
export function usePlace() {
  const [fragment, setFragment] = useState(location.hash);
  useEffect(() => {
    const update = () => setFragment(location.hash);
    addEventListener("hashchange", update);
    return () => removeEventListener("hashchange", update);
  }, []);
  return parseFragment(fragment);
}

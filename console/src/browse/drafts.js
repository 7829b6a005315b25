// Changes that are not saved yet, by namespace and key. They outlive a look at another key, and
// are gone with the tab.

const drafts = new Map();
const idOf = (namespace, name) => JSON.stringify([namespace, name]);

const warn = (event) => event.preventDefault();

/** The browser asks before it closes a tab with drafts. */
function update() {
  if (drafts.size > 0) addEventListener("beforeunload", warn);
  else removeEventListener("beforeunload", warn);
}

export const draftOf = (namespace, name) => drafts.get(idOf(namespace, name)) ?? null;

/** Keeps a draft, or forgets it if it is `null`. */
export function keepDraft(namespace, name, draft) {
  if (draft === null) drafts.delete(idOf(namespace, name));
  else drafts.set(idOf(namespace, name), draft);
  update();
}

export function forgetDrafts() {
  drafts.clear();
  update();
}

// Changes that are not saved yet. Each has an id, an array of strings: what it is, and where it
// will be stored. They outlive a look at something else, and a token that is no longer accepted if
// the next one has the same scope. They are gone with the tab, or after signing out.

const drafts = new Map();

const warn = (event) => event.preventDefault();

/** The browser asks before it closes a tab with drafts. */
function update() {
  if (drafts.size > 0) addEventListener("beforeunload", warn);
  else removeEventListener("beforeunload", warn);
}

/** Returns the draft with an id, or `null`. */
export const draftOf = (id) => drafts.get(JSON.stringify(id)) ?? null;

/** Keeps a draft, or forgets it if it is `null`. */
export function keepDraft(id, draft) {
  if (draft === null) drafts.delete(JSON.stringify(id));
  else drafts.set(JSON.stringify(id), draft);
  update();
}

export const hasDrafts = () => drafts.size > 0;

export function forgetDrafts() {
  drafts.clear();
  update();
}

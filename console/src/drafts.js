// Changes that are not saved yet. Each belongs to a place: what it is, and where it will be stored.
// They outlive a look at something else and a sign-in after the token has expired, and are gone
// with the tab.

const drafts = new Map();

const warn = (event) => event.preventDefault();

/** The browser asks before it closes a tab with drafts. */
function update() {
  if (drafts.size > 0) addEventListener("beforeunload", warn);
  else removeEventListener("beforeunload", warn);
}

/** Returns the draft of a place, an array of strings, or `null`. */
export const draftOf = (place) => drafts.get(JSON.stringify(place)) ?? null;

/** Keeps a draft, or forgets it if it is `null`. */
export function keepDraft(place, draft) {
  if (draft === null) drafts.delete(JSON.stringify(place));
  else drafts.set(JSON.stringify(place), draft);
  update();
}

export const hasDrafts = () => drafts.size > 0;

export function forgetDrafts() {
  drafts.clear();
  update();
}

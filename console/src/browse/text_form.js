// How a text is shown in an editor and stored again, so that what nobody touches stays as it is.
import { editableForm, jsonFault } from "./json_text.js";
import { lineEndingOf } from "./value_kind.js";

/** Why an editor shows a text without letting it be edited. */
export const UNEDITABLE =
  "An editor would change this text: its line endings are mixed or bare carriage returns, or it is not UTF-8. In Browse a file can replace it.";

/**
 * Returns how the text of a value is edited, as `{ isEditable, shown, retyped, stored }`. An edit
 * keeps the layout of JSON that nobody touches, and CRLF: an editor knows only line feeds.
 */
export function textForm({ text, isJson }) {
  const lineEnding = text === null ? null : lineEndingOf(text);
  let json;
  const ofJson = () => {
    json ??= isJson ? editableForm(text) : { shown: text, restore: (edited) => edited };
    return json;
  };
  const isTypedJson = (edit) => edit.view === "json" && jsonFault(edit.text) === null;
  const restored = (edit) => (isTypedJson(edit) ? ofJson().restore(edit.text) : edit.text);
  const inEditor = (content) => (lineEnding === "\r\n" ? content.replaceAll("\r\n", "\n") : content);
  return {
    isEditable: lineEnding !== null,
    /** Returns the stored text in the form that a view (`json` or `text`) shows. */
    shown: (view) => inEditor(view === "json" ? ofJson().shown : text),
    /**
     * Returns a typed text in the form of a view, which may differ from the one it was typed in.
     */
    retyped(edit, view) {
      if (edit.view === view || view === "hex") return edit.text;
      const typed = inEditor(restored(edit));
      return view === "json" && jsonFault(typed) === null ? editableForm(typed).shown : typed;
    },
    /** Returns the text to store for a typed one. */
    stored(edit) {
      const typed = inEditor(restored(edit));
      return lineEnding === "\r\n" ? typed.replaceAll("\n", "\r\n") : typed;
    },
  };
}

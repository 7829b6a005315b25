import { useState } from "preact/hooks";
import { Dialog, DialogFoot, Field } from "../controls.jsx";
import { exists, put, remove, value } from "../kv.js";
import { keepDraft } from "./drafts.js";
import { keyProblem } from "./pair_file.js";

/** Copies a key under another name or into another namespace, or renames it. */
export function CopyDialog({ namespace, name, targets, isRename, onClose, onDone }) {
  const [target, setTarget] = useState(targets.includes(namespace) ? namespace : targets[0]);
  const [newName, setNewName] = useState(name);
  const [mayReplace, setMayReplace] = useState(false);
  const [isTaken, setTaken] = useState(false);
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  const to = isRename ? namespace : target;

  async function submit(event) {
    event.preventDefault();
    const fault = to === namespace && newName === name ? "That is the key itself." : keyProblem(newName);
    if (fault) return setProblem(fault);
    setBusy(true);
    setProblem("");
    try {
      if (!mayReplace && (await exists(to, newName))) {
        setTaken(true);
        return setProblem("A key with this name exists there. Choose another name, or replace it.");
      }
      const source = await value(namespace, name);
      if (source === null) return setProblem("The key does not exist any more.");
      const { bytes, metadata, expiration } = source;
      await put(to, newName, bytes, { metadata, expiration });
      if (isRename) {
        await remove(namespace, name);
        keepDraft(namespace, name, null);
      }
      onDone({ namespace: to, name: newName, metadata, expiration: expiration ?? undefined, removed: isRename ? name : null });
      onClose();
    } catch (error) {
      setProblem(error.message);
    } finally {
      setBusy(false);
    }
  }

  return (
    <Dialog title={isRename ? "Rename the key" : "Copy the key"} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        {!isRename && (
          <Field
            label="Into namespace"
            control={(attributes) => (
              <select {...attributes} value={target} onChange={(event) => setTarget(event.currentTarget.value)}>
                {targets.map((title) => (
                  <option key={title}>{title}</option>
                ))}
              </select>
            )}
          />
        )}
        <Field
          label={isRename ? "New name" : "As key"}
          help={
            isRename
              ? "KV has no rename: the new key is written first, with metadata and expiration, and then the old one is deleted."
              : "Metadata and expiration are copied, too."
          }
          control={(attributes) => (
            <input
              {...attributes}
              class="mono"
              spellcheck={false}
              autocomplete="off"
              value={newName}
              onInput={(event) => setNewName(event.currentTarget.value)}
            />
          )}
        />
        {isTaken && (
          <label class="choice">
            <input type="checkbox" checked={mayReplace} onChange={(event) => setMayReplace(event.currentTarget.checked)} />
            Replace the key that exists
          </label>
        )}
        <DialogFoot problem={problem} onCancel={onClose}>
          <button type="submit" class="primary" disabled={isBusy}>
            {isRename ? "Rename" : "Copy"}
          </button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}

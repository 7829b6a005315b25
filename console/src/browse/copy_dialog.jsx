// The dialog that copies or renames a key.
import { useRef, useState } from "preact/hooks";
import { Button, Dialog, DialogFoot, Field } from "../controls.jsx";
import { useFocusFallback } from "../focus.js";
import { keyProblem, nameProblem } from "../key_name.js";
import { exists, put, remove, UNKNOWN_EXPIRATION } from "../kv.js";
import { useAction } from "../requests.js";
import { KeyNameField } from "./key_name_field.jsx";

/**
 * Copies a key under another name or into another namespace, one of `targets`, or renames it.
 * `stored` is what the page shows, and what is copied. A rename first calls `checkUnchanged()`,
 * which throws if somebody has changed it since.
 */
export function CopyDialog({ session, namespace, name, stored, targets, isRename, checkUnchanged, onClose, onDone }) {
  const [target, setTarget] = useState((targets.find(({ title }) => title === namespace) ?? targets[0]).title);
  const [newName, setNewName] = useState(name);
  const [mayReplace, setMayReplace] = useState(false);
  const [isTaken, setTaken] = useState(false);
  const nameInput = useRef(null);
  // Enter copies in every control, also in those that are disabled meanwhile.
  useFocusFallback(nameInput);
  const to = isRename ? namespace : target;
  const { keyBytesMax } = targets.find(({ title }) => title === to);
  const refusal = nameProblem(session, newName, keyBytesMax);
  /** Consent to replace a key is for that key alone. */
  const changed = (set) => (next) => {
    set(next);
    setTaken(false);
    setMayReplace(false);
  };

  const [submit, { isBusy, error }] = useAction(async () => {
    const { bytes, metadata, expiration } = stored;
    const fault = to === namespace && newName === name ? "That is the key itself." : keyProblem(newName, keyBytesMax);
    if (fault) throw new Error(fault);
    if (expiration === undefined) throw new Error(UNKNOWN_EXPIRATION);
    if (!mayReplace && (await exists(to, newName))) {
      setTaken(true);
      throw new Error("A key with this name exists there. Choose another name, or replace it.");
    }
    // Renaming deletes what is there, so it must be what was copied.
    if (isRename) await checkUnchanged();
    await put(to, newName, bytes, { metadata, expiration });
    if (isRename) await remove(namespace, name);
    onDone({ namespace: to, name: newName, metadata, expiration: expiration ?? undefined, removed: isRename ? name : null });
    onClose();
  });

  return (
    <Dialog title={isRename ? "Rename the key" : "Copy the key"} onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        {!isRename && (
          <Field
            label="Into namespace"
            control={(attributes) => (
              <select {...attributes} disabled={isBusy} value={target} onChange={(event) => changed(setTarget)(event.currentTarget.value)}>
                {targets.map(({ title }) => (
                  <option key={title}>{title}</option>
                ))}
              </select>
            )}
          />
        )}
        <KeyNameField
          label={isRename ? "New name" : "As key"}
          help={
            refusal ??
            (isRename
              ? "KV has no rename: the new key is written first, with metadata and expiration, and then the old one is deleted."
              : "Metadata and expiration are copied, too.")
          }
          inputRef={nameInput}
          readOnly={isBusy}
          value={newName}
          onChange={changed(setNewName)}
        />
        {isTaken && (
          <label class="choice">
            <input type="checkbox" disabled={isBusy} checked={mayReplace} onChange={(event) => setMayReplace(event.currentTarget.checked)} />
            Replace the key that exists
          </label>
        )}
        <DialogFoot problem={error?.message} onCancel={onClose}>
          <Button type="submit" class="primary" disabled={isBusy || refusal !== null}>
            {isRename ? "Rename" : "Copy"}
          </Button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}

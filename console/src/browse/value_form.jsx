// A key: its value, metadata and expiration, to look at, change, copy, rename and delete.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Button, Dialog, DialogFoot, Excerpt, Menu } from "../controls.jsx";
import { draftOf, keepDraft } from "../drafts.js";
import { useFocusFallback } from "../focus.js";
import { dateTime, fromNow, number, size } from "../format.js";
import { JsonEditor, TextEditor } from "../json_editor.jsx";
import { keyProblem, nameProblem } from "../key_name.js";
import { put, value as readValue, remove } from "../kv.js";
import { Failure, Notice } from "../outcome.jsx";
import { ChangedInBetween, OwnVersions } from "../own_versions.js";
import { useAction } from "../requests.js";
import { changeProblem } from "../session.js";
import { CopyDialog } from "./copy_dialog.jsx";
import { ExpirationField, expirationFields, expirationOptions } from "./expiration_field.jsx";
import { HexView } from "./hex_view.jsx";
import { inexactNumbers, jsonFault } from "./json_text.js";
import { KeyNameField } from "./key_name_field.jsx";
import { lengthProblem, metadataProblem } from "./pair_file.js";
import { textForm, UNEDITABLE } from "./text_form.js";
import { download } from "./transfer.js";
import { kindOf } from "./value_kind.js";

/**
 * What a draft changes; a part that is `null` stays as it is stored. `view` is the view in which
 * the text was typed.
 */
const UNCHANGED = { text: null, view: null, bytes: null, metadata: null, expiration: null };

/** What a new key has before it is saved. */
const NOTHING = { bytes: new Uint8Array(), metadata: null, expiration: null };

/** The media type of a download. For any other, a browser may add an extension to its name. */
const ANY_BYTES = "application/octet-stream";

const SAVED = { kind: "good", text: "Saved. Other places of KV see it within 60 seconds." };

const draftId = (namespace, name) => ["key", namespace, name];

/** A key of a namespace. `section` is a ref of the element around it. */
export function KeyDetails({ section, namespace, name, isWritable, onClose, ...rest }) {
  const [stored, setStored] = useState(undefined);
  const [error, setError] = useState(null);
  const [reads, setReads] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    readValue(namespace, name, { signal: stop.signal })
      .then((found) => setStored(found))
      .catch((failure) => stop.signal.aborted || setError(failure));
    return () => stop.abort();
  }, [namespace, name, reads]);
  useFocusFallback(section);
  const again = () => {
    keepDraft(draftId(namespace, name), null);
    setStored(undefined);
    setError(null);
    setReads(reads + 1);
  };
  const draft = draftOf(draftId(namespace, name));
  if (draft === null && (error || stored === null)) {
    return (
      <div class="stack">
        <h2 class="mono">{name}</h2>
        <Failure error={error} />
        {!error && <Notice>This key does not exist. It was deleted, has expired, or KV has not spread it yet: that may take 60 seconds.</Notice>}
        <div class="row">
          <button type="button" onClick={again}>
            Read again
          </button>
          <button type="button" onClick={onClose}>
            Close
          </button>
        </div>
      </div>
    );
  }
  if (draft === null && stored === undefined) return <p class="empty">Reading…</p>;
  return (
    <ValueForm
      key={reads}
      namespace={namespace}
      name={name}
      stored={stored}
      draft={draft}
      isWritable={isWritable}
      onStored={setStored}
      onReload={again}
      onClose={onClose}
      {...rest}
    />
  );
}

/**
 * A key that does not exist yet. Its name is `prefix` until somebody types another one, which is
 * part of the draft.
 */
export function NewKey({ namespace, prefix, ...rest }) {
  const [draft] = useState(() => draftOf(draftId(namespace, "")));
  return <ValueForm namespace={namespace} name={prefix} stored={NOTHING} draft={draft} isNew isWritable {...rest} />;
}

function ValueForm({
  session,
  namespace,
  name: givenName,
  stored: found,
  draft,
  isNew = false,
  isJustSaved = false,
  isWritable: isNamespaceWritable,
  keyBytesMax,
  targets,
  onStored,
  onSaved,
  onRemoved,
  onOpen,
  onReload,
  onClose,
}) {
  // The draft is a change of what was stored when it began.
  const [stored, setStored] = useState(draft?.stored ?? found);
  const [edit, setEditState] = useState(draft?.edit ?? UNCHANGED);
  /** What somebody has typed as the name of a new key, or `null`. */
  const [typedName, setTypedName] = useState(draft?.name ?? null);
  const name = typedName ?? givenName;
  const [message, setMessage] = useState(draft ? { kind: "", text: "Your unsaved changes are back." } : isJustSaved ? SAVED : { kind: "", text: "" });
  const nameRefusal = isNew ? nameProblem(session, name, keyBytesMax) : changeProblem(session, name);
  const refusal = isNamespaceWritable ? nameRefusal : null;
  // The name of a new key may be corrected.
  const isWritable = isNamespaceWritable && (isNew || refusal === null);
  const [isBusy, setBusy] = useState(false);
  const [open, setOpen] = useState(null);
  const [conflict, setConflict] = useState(null);
  const versions = useRef(null);
  versions.current ??= draft?.versions ?? new OwnVersions(isNew ? null : stored);
  const nameInput = useRef(null);
  const isShown = useRef(true);
  useEffect(() => {
    nameInput.current?.focus();
    return () => {
      isShown.current = false;
    };
  }, []);
  const id = draftId(namespace, isNew ? "" : name);
  // While a save runs, nothing changes what it writes.
  const isEditable = isWritable && !isBusy;

  /** Keeps what differs from what is stored; `newName` is what somebody has typed, if anything. */
  const keep = (newName, newEdit) =>
    keepDraft(id, isUnchanged(newEdit) && !newName ? null : { name: newName, stored, edit: newEdit, versions: versions.current });
  const setEdit = (change) => {
    const next = { ...edit, ...change };
    setEditState(next);
    setMessage({ kind: "", text: "" });
    keep(typedName, next);
  };
  const setNewName = (next) => {
    setTypedName(next);
    keep(next, edit);
  };

  const base = edit.bytes ?? stored.bytes;
  const kind = useMemo(() => kindOf(base), [base]);
  const [view, setView] = useState(draft?.edit.view ?? (isNew ? "json" : kind.image ? "image" : kind.isJson ? "json" : kind.text === null ? "hex" : "text"));
  const isText = kind.text !== null;
  const shown = isText || ["hex", "image"].includes(view) ? view : "hex";
  const form = useMemo(() => textForm(kind), [kind]);
  const original = isText ? form.shown(shown) : null;
  const text = useMemo(() => (edit.text === null ? original : form.retyped(edit, shown)), [edit.text, edit.view, form, shown, original]);
  /**
   * Returns what would be saved. That takes a while for a long text, so it is not done at each
   * key.
   */
  const bytesNow = () => (edit.text === null ? base : new TextEncoder().encode(form.stored(edit)));
  const metadataText = edit.metadata ?? (stored.metadata === null ? "" : JSON.stringify(stored.metadata, null, 2));
  const rounded = useMemo(() => (edit.metadata === null || jsonFault(edit.metadata) !== null ? [] : inexactNumbers(edit.metadata)), [edit.metadata]);
  const fields = edit.expiration ?? expirationFields(stored.expiration);
  const expirationProblem = edit.expiration === null ? undefined : expirationOptions(edit.expiration, stored.expiration).problem;
  const isChanged = isNew || !isUnchanged(edit);

  /** Returns what to write, or a `problem` that keeps it from being written. */
  function change() {
    const problem = isNew && keyProblem(name, keyBytesMax);
    if (problem) return { problem };
    if (edit.text !== null || isNew) {
      // Hex and image only show what was typed.
      const typed = edit.view !== null && !["json", "text"].includes(shown) ? edit : { view: shown, text };
      // A new key may be empty.
      const fault = typed.view === "json" && !(isNew && typed.text === "") && jsonFault(typed.text);
      if (fault) return { problem: `The value is not JSON: ${fault}. If it is meant as text, choose Text.` };
    }
    const metadataFault = metadataText.trim() !== "" && jsonFault(metadataText);
    if (metadataFault) return { problem: `The metadata is not JSON: ${metadataFault}.` };
    const metadata = metadataText.trim() === "" ? null : JSON.parse(metadataText);
    const bytes = bytesNow();
    const tooLong = metadataProblem(metadata) ?? lengthProblem(bytes.length);
    if (tooLong) return { problem: tooLong };
    const expiration = expirationOptions(edit.expiration, stored.expiration);
    return expiration.problem ? { problem: expiration.problem } : { bytes, metadata, ...expiration };
  }

  /** `consent` is the conflict whose version of somebody else may be replaced. */
  async function save({ consent } = {}) {
    const { problem, bytes, metadata, ...expiration } = change();
    if (problem) return setMessage({ kind: "danger", text: problem });
    setBusy(true);
    setMessage({ kind: "", text: "" });
    setConflict(null);
    try {
      await checkUnchanged(consent);
      await put(namespace, name, bytes, { metadata, ...expiration });
      const written = {
        bytes,
        metadata,
        expiration: expiration.expiration ?? (expiration.expirationTtl ? Math.floor(Date.now() / 1000) + expiration.expirationTtl : null),
      };
      if (consent) versions.current.add(consent.theirs);
      // The exact end is unknown here, because KV counts a lifetime from its own clock.
      versions.current.add(expiration.expirationTtl ? { ...written, expiration: undefined } : written);
      // Whoever came back to the key meanwhile may have changed it again.
      if (draftOf(id)?.edit === edit) keepDraft(id, null);
      if (!isShown.current) return;
      setStored(written);
      onStored?.(written);
      setEditState(UNCHANGED);
      setMessage(SAVED);
      onSaved({ name, metadata, expiration: written.expiration ?? undefined }, isNew);
    } catch (error) {
      if (error instanceof ChangedInBetween) setConflict({ theirs: error.theirs, mine: bytes });
      else setMessage({ kind: "danger", text: error.message });
    } finally {
      setBusy(false);
    }
  }

  /** Throws a `ChangedInBetween` if somebody else has changed the key since it was shown. */
  const checkUnchanged = async (consent) => versions.current.check(await readValue(namespace, name), consent);

  const takeTheirs = () => {
    versions.current.add(conflict.theirs);
    setStored(conflict.theirs);
    onStored?.(conflict.theirs);
    setEditState(UNCHANGED);
    keepDraft(id, null);
    setConflict(null);
    setMessage({ kind: "", text: "This is what is stored now." });
  };

  const discard = () => {
    setEditState(UNCHANGED);
    keepDraft(id, null);
    setMessage({ kind: "", text: "" });
  };

  const replace = async (event) => {
    const [file] = event.currentTarget.files;
    // Otherwise a browser does not report the same file after it was corrected.
    event.currentTarget.value = "";
    if (!file) return;
    const content = new Uint8Array(await file.arrayBuffer());
    setEdit({ bytes: content, text: null, view: null });
    const { image, isJson, text: contentText } = kindOf(content);
    setView(image ? "image" : isJson ? "json" : contentText === null ? "hex" : "text");
  };

  const copyName = async () => {
    try {
      await navigator.clipboard.writeText(name);
      setMessage({ kind: "good", text: "The key's name is in the clipboard." });
    } catch {
      setMessage({ kind: "danger", text: "The browser does not let this page write to the clipboard." });
    }
  };

  const fileInput = useRef(null);
  const onText = (next) => setEdit(next === original ? { text: null, view: null } : { text: next, view: shown });
  const editorLabel = `Value of ${name || "the new key"}`;
  return (
    <div class="details">
      <div class="row spread">
        {isNew ? <h2>New key</h2> : <h2 class="mono key-title">{name}</h2>}
        <div class="row">
          {!isNew && (
            <Menu label="Actions">
              <button type="button" class="quiet" onClick={() => download(new Blob([stored.bytes], { type: ANY_BYTES }), name.split("/").at(-1) || "value")}>
                Download
              </button>
              <button type="button" class="quiet" onClick={copyName}>
                Copy the key's name
              </button>
              <button type="button" class="quiet" disabled={isChanged || isBusy} onClick={onReload}>
                Read again
              </button>
              {isWritable && (
                <button type="button" class="quiet" disabled={isBusy} onClick={() => fileInput.current.click()}>
                  Replace with a file…
                </button>
              )}
              {targets.length > 0 && (
                <button type="button" class="quiet" disabled={isChanged || isBusy} onClick={() => setOpen("copy")}>
                  Copy…
                </button>
              )}
              {isWritable && (
                <>
                  <button type="button" class="quiet" disabled={isChanged || isBusy} onClick={() => setOpen("rename")}>
                    Rename…
                  </button>
                  <button type="button" class="quiet danger" disabled={isBusy} onClick={() => setOpen("remove")}>
                    Delete…
                  </button>
                </>
              )}
            </Menu>
          )}
          <button type="button" class="quiet" aria-label="Close" onClick={onClose}>
            ✕
          </button>
        </div>
      </div>
      {isNew && <KeyNameField label="Key" help={refusal} inputRef={nameInput} readOnly={isBusy} value={name} onChange={setNewName} />}
      {!isNew && (
        <div class="row">
          <span class="chip">{kind.name}</span>
          <span class="chip" title={`${number(base.length)} bytes`}>
            {size(base.length)}
          </span>
          <span class="chip" title={stored.expiration ? dateTime(stored.expiration) : undefined}>
            {stored.expiration === undefined ? "expiration unknown" : stored.expiration ? `expires ${fromNow(stored.expiration)}` : "does not expire"}
          </span>
          {!isWritable && <span class="chip warning">read-only</span>}
        </div>
      )}
      {!isNew && refusal && <p class="help">{refusal}</p>}
      <div class="row spread">
        <h3>Value</h3>
        <fieldset class="tabs" aria-label="View of the value">
          {[["json", "JSON"], ["text", "Text"], ["hex", "Hex"], ...(kind.image ? [["image", "Image"]] : [])]
            .filter(([id]) => isText || !["json", "text"].includes(id))
            .map(([id, label]) => (
              <button key={id} type="button" aria-pressed={shown === id} onClick={() => setView(id)}>
                {label}
              </button>
            ))}
        </fieldset>
      </div>
      <div class="value">
        {shown === "json" && <JsonEditor label={editorLabel} value={text} onChange={onText} readOnly={!isEditable || !form.isEditable} />}
        {shown === "text" && <TextEditor label={editorLabel} value={text} onChange={onText} readOnly={!isEditable || !form.isEditable} />}
        {shown === "hex" && <HexView bytes={bytesNow()} />}
        {shown === "image" && <ImageView bytes={base} type={kind.image} name={name} />}
      </div>
      {isWritable && isText && !form.isEditable && <p class="help">{UNEDITABLE}</p>}
      {(isWritable || stored.metadata !== null) && (
        <div class="field metadata">
          <h3>Metadata</h3>
          <JsonEditor label="Metadata" value={metadataText} onChange={(next) => setEdit({ metadata: next })} readOnly={!isEditable} />
          {rounded.length > 0 && (
            <p class="help" role="status">
              Metadata hold the numbers of JavaScript: {rounded.map((one) => `${one} is stored as ${JSON.stringify(Number(one))}`).join(", ")}.
            </p>
          )}
        </div>
      )}
      {isWritable && (
        <ExpirationField
          fields={fields}
          stored={stored.expiration}
          problem={expirationProblem}
          disabled={isBusy}
          onChange={(expiration) => setEdit({ expiration })}
        />
      )}
      <p class={message.kind ? `notice ${message.kind}` : "help"} role="status" hidden={message.text === ""}>
        {message.text}
      </p>
      {isWritable && (
        <div class="row">
          <Button class="primary" disabled={isBusy || !isChanged || refusal !== null} onClick={() => save()}>
            {isBusy ? "Saving…" : "Save"}
          </Button>
          <Button disabled={isBusy || isUnchanged(edit)} onClick={discard}>
            Discard changes
          </Button>
          {isNew && (
            <button type="button" disabled={isBusy} onClick={() => fileInput.current.click()}>
              Value from a file…
            </button>
          )}
        </div>
      )}
      <input type="file" hidden ref={fileInput} aria-label="File with the value" onChange={replace} />
      {conflict && (
        <ConflictDialog
          mine={conflict.mine}
          theirs={conflict.theirs}
          isNew={isNew}
          onTheirs={takeTheirs}
          onMine={() => save({ consent: conflict })}
          onClose={() => setConflict(null)}
        />
      )}
      {(open === "copy" || open === "rename") && (
        <CopyDialog
          session={session}
          namespace={namespace}
          name={name}
          stored={stored}
          targets={targets}
          isRename={open === "rename"}
          checkUnchanged={checkUnchanged}
          onClose={() => setOpen(null)}
          onDone={(done) => isShown.current && onOpen(done)}
        />
      )}
      {open === "remove" && (
        <RemoveDialog
          namespace={namespace}
          name={name}
          checkUnchanged={checkUnchanged}
          onClose={() => setOpen(null)}
          onRemoved={(removed) => isShown.current && onRemoved(removed)}
        />
      )}
    </div>
  );
}

const isUnchanged = (edit) => Object.values(edit).every((part) => part === null);

function ImageView({ bytes, type, name }) {
  const [url, setUrl] = useState(null);
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([bytes], { type }));
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [bytes, type]);
  // An image runs no scripts, not even one in SVG.
  return <div class="image">{url && <img src={url} alt={`The value of ${name}`} />}</div>;
}

const readable = (bytes) => kindOf(bytes).text ?? `${number(bytes.length)} bytes that are no text`;

function ConflictDialog({ mine, theirs, isNew, onTheirs, onMine, onClose }) {
  const title = theirs === null ? "Somebody deleted this key" : isNew ? "This key exists already" : "Somebody changed this key";
  return (
    <Dialog title={title} onClose={onClose}>
      <p>
        {theirs === null
          ? "It was there when you opened it. It was deleted since, or it has expired."
          : isNew
            ? "Your value would replace what is stored."
            : "The value or the metadata is not what it was when you opened it. Your change would replace them."}
      </p>
      {theirs !== null && (
        <div class="compare">
          <div class="field">
            <h3>Stored now</h3>
            <Excerpt text={readable(theirs.bytes)} />
            {theirs.metadata !== null && <code>{JSON.stringify(theirs.metadata)}</code>}
          </div>
          <div class="field">
            <h3>Yours</h3>
            <Excerpt text={readable(mine)} />
          </div>
        </div>
      )}
      <p class="help">
        KV has no compare-and-swap, and a read may be 60 seconds old: the console compares right before it writes, and cannot see every change.
      </p>
      <div class="actions">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        {theirs !== null && !isNew && (
          <button type="button" onClick={onTheirs}>
            Take what is stored
          </button>
        )}
        <button type="button" class="danger" onClick={onMine}>
          {theirs === null ? "Write it again" : "Replace with mine"}
        </button>
      </div>
    </Dialog>
  );
}

/** `checkUnchanged()` throws if somebody has changed the key since it was shown. */
function RemoveDialog({ namespace, name, checkUnchanged, onClose, onRemoved }) {
  const [confirm, { isBusy, error }] = useAction(async () => {
    await checkUnchanged();
    await remove(namespace, name);
    keepDraft(draftId(namespace, name), null);
    onRemoved(name);
  });
  return (
    <Dialog title="Delete this key?" onClose={onClose}>
      <p>
        <code>{name}</code> is deleted with its metadata. That cannot be undone.
      </p>
      <DialogFoot problem={error?.message} onCancel={onClose}>
        <Button class="danger" disabled={isBusy} onClick={confirm}>
          Delete
        </Button>
      </DialogFoot>
    </Dialog>
  );
}

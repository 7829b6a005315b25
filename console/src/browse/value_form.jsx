// A key: its value, metadata and expiration, to look at and to change.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Dialog, DialogFoot, Field, Menu } from "../controls.jsx";
import { dateTime, fromNow, number, size } from "../format.js";
import { JsonEditor, TextEditor } from "../json_editor.jsx";
import { exists, put, value as readValue, remove } from "../kv.js";
import { CopyDialog } from "./copy_dialog.jsx";
import { draftOf, keepDraft } from "./drafts.js";
import { ExpirationField, expirationFields, expirationOptions } from "./expiration_field.jsx";
import { HexView } from "./hex_view.jsx";
import { compact, layOut, problemOf } from "./json_text.js";
import { keyProblem, lengthProblem, metadataProblem } from "./pair_file.js";
import { download } from "./transfer.js";
import { areEqual, kindOf } from "./value_kind.js";

/** What a draft changes; `null` is what is stored. */
const UNCHANGED = { text: null, bytes: null, metadata: null, expiration: null };

/** What a new key has before it is saved. */
const NOTHING = { bytes: new Uint8Array(), metadata: null, expiration: null };

/** A key of a namespace. */
export function KeyDetails({ namespace, name, isWritable, ...rest }) {
  const [stored, setStored] = useState(undefined);
  const [problem, setProblem] = useState("");
  const [reads, setReads] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    readValue(namespace, name, { signal: stop.signal })
      .then((found) => setStored(found))
      .catch((error) => stop.signal.aborted || setProblem(error.message));
    return () => stop.abort();
  }, [namespace, name, reads]);
  if (problem) {
    return (
      <p class="notice danger" role="alert">
        {problem}
      </p>
    );
  }
  const draft = draftOf(namespace, name);
  if (stored === undefined && draft === null) return <p class="empty">Reading…</p>;
  if (stored === null && draft === null) {
    return (
      <div class="stack">
        <h2 class="mono">{name}</h2>
        <p class="notice">This key does not exist. It was deleted, has expired, or KV has not spread it yet: that may take 60 seconds.</p>
      </div>
    );
  }
  const again = () => {
    keepDraft(namespace, name, null);
    setStored(undefined);
    setReads(reads + 1);
  };
  return <ValueForm key={reads} namespace={namespace} name={name} stored={stored} draft={draft} isWritable={isWritable} onReload={again} {...rest} />;
}

/** A key that does not exist yet. */
export function NewKey({ namespace, prefix, ...rest }) {
  return <ValueForm namespace={namespace} name={prefix} stored={NOTHING} draft={null} isNew isWritable {...rest} />;
}

function ValueForm({ namespace, name: givenName, stored: found, draft, isNew = false, isWritable, targets, onSaved, onRemoved, onOpen, onReload, onClose }) {
  // The draft is a change of what was stored when it began.
  const [stored, setStored] = useState(draft?.stored ?? found);
  const [edit, setEditState] = useState(draft?.edit ?? UNCHANGED);
  const [name, setName] = useState(givenName);
  const [message, setMessage] = useState({ kind: "", text: draft ? "Your unsaved changes are back." : "" });
  const [isBusy, setBusy] = useState(false);
  const [open, setOpen] = useState(null);
  const [conflict, setConflict] = useState(null);
  /** What KV may still serve without anybody else having changed it: our own last writes. */
  const own = useRef([]);
  const nameInput = useRef(null);
  useEffect(() => nameInput.current?.focus(), []);

  const setEdit = (change) => {
    const next = { ...edit, ...change };
    setEditState(next);
    setMessage({ kind: "", text: "" });
    if (!isNew) keepDraft(namespace, name, isUnchanged(next) ? null : { stored, edit: next });
  };

  const base = edit.bytes ?? stored.bytes;
  const kind = useMemo(() => kindOf(base), [base]);
  const laidOut = useLaidOut(kind, base);
  const [view, setView] = useState(isNew ? "json" : kind.image ? "image" : kind.isJson ? "json" : kind.text === null ? "hex" : "text");
  const isText = kind.text !== null;
  const shown = isText || ["hex", "image"].includes(view) ? view : "hex";
  const original = shown === "json" ? laidOut() : kind.text;
  const text = edit.text ?? original;
  /**
   * Returns what would be saved. That takes a while for a long text, so it is not done at each
   * key.
   */
  const bytesNow = () => (edit.text === null ? base : new TextEncoder().encode(storedForm(edit.text, kind, shown)));
  const metadataText = edit.metadata ?? (stored.metadata === null ? "" : JSON.stringify(stored.metadata, null, 2));
  const fields = edit.expiration ?? expirationFields(stored.expiration);
  const isChanged = isNew || !isUnchanged(edit);

  /** Returns what to write, or a `problem` that keeps it from being written. */
  function change() {
    const problem = isNew && keyProblem(name);
    if (problem) return { problem };
    if (edit.text !== null || isNew) {
      const fault = shown === "json" && problemOf(text);
      if (fault) return { problem: `The value is not JSON: ${fault}. If it is meant as text, choose Text.` };
    }
    const metadataFault = metadataText.trim() !== "" && problemOf(metadataText);
    if (metadataFault) return { problem: `The metadata are not JSON: ${metadataFault}.` };
    const metadata = metadataText.trim() === "" ? null : JSON.parse(metadataText);
    const bytes = bytesNow();
    const tooLong = metadataProblem(metadata) ?? lengthProblem(bytes.length);
    if (tooLong) return { problem: tooLong };
    const expiration = edit.expiration === null && stored.expiration === null ? {} : expirationOptions(fields);
    return expiration.problem ? { problem: expiration.problem } : { bytes, metadata, ...expiration };
  }

  async function save({ isForced = false } = {}) {
    const { problem, bytes, metadata, ...expiration } = change();
    if (problem) return setMessage({ kind: "danger", text: problem });
    setBusy(true);
    setMessage({ kind: "", text: "" });
    setConflict(null);
    try {
      const theirs = isForced ? undefined : await changeBySomebodyElse();
      if (theirs !== undefined) return setConflict({ theirs, mine: bytes });
      await put(namespace, name, bytes, { metadata, ...expiration });
      const written = {
        bytes,
        metadata,
        expiration: expiration.expiration ?? (expiration.expirationTtl ? Math.floor(Date.now() / 1000) + expiration.expirationTtl : null),
      };
      own.current = [stored, written];
      setStored(written);
      setEditState(UNCHANGED);
      keepDraft(namespace, name, null);
      setMessage({ kind: "good", text: "Saved. Other places of KV see it within 60 seconds." });
      onSaved({ name, metadata, expiration: written.expiration ?? undefined }, isNew);
    } catch (error) {
      setMessage({ kind: "danger", text: error.message });
    } finally {
      setBusy(false);
    }
  }

  /**
   * Returns what somebody else stored since we read, `null` for a deletion, `undefined` if nobody
   * did.
   */
  async function changeBySomebodyElse() {
    if (isNew) return (await exists(namespace, name)) ? ((await readValue(namespace, name)) ?? undefined) : undefined;
    const now = await readValue(namespace, name);
    if (now === null) return null;
    const isSame = ({ bytes, metadata }) => areEqual(bytes, now.bytes) && JSON.stringify(metadata) === JSON.stringify(now.metadata);
    return [stored, ...own.current].some(isSame) ? undefined : now;
  }

  const takeTheirs = () => {
    setStored(conflict.theirs);
    setEditState(UNCHANGED);
    keepDraft(namespace, name, null);
    setConflict(null);
    setMessage({ kind: "", text: "This is what is stored now." });
  };

  const discard = () => {
    setEditState(UNCHANGED);
    keepDraft(namespace, name, null);
    setMessage({ kind: "", text: "" });
  };

  const replace = async (event) => {
    const [file] = event.currentTarget.files;
    if (!file) return;
    const content = new Uint8Array(await file.arrayBuffer());
    setEdit({ bytes: content, text: null });
    const { image, isJson, text: contentText } = kindOf(content);
    setView(image ? "image" : isJson ? "json" : contentText === null ? "hex" : "text");
  };

  const fileInput = useRef(null);
  const onText = (next) => setEdit({ text: next === original ? null : next });
  const editorLabel = `Value of ${name || "the new key"}`;
  return (
    <div class="details">
      <div class="row spread">
        {isNew ? <h2>New key</h2> : <h2 class="mono key-title">{name}</h2>}
        <div class="row">
          {!isNew && (
            <Menu label="Actions">
              <button type="button" class="quiet" onClick={() => download(new Blob([stored.bytes]), name.split("/").at(-1) || "value")}>
                Download
              </button>
              <button type="button" class="quiet" onClick={() => navigator.clipboard?.writeText(name)}>
                Copy the key's name
              </button>
              <button type="button" class="quiet" disabled={isChanged} onClick={onReload}>
                Read again
              </button>
              {isWritable && (
                <button type="button" class="quiet" onClick={() => fileInput.current.click()}>
                  Replace with a file…
                </button>
              )}
              {targets.length > 0 && (
                <button type="button" class="quiet" onClick={() => setOpen("copy")}>
                  Copy…
                </button>
              )}
              {isWritable && (
                <>
                  <button type="button" class="quiet" onClick={() => setOpen("rename")}>
                    Rename…
                  </button>
                  <button type="button" class="quiet danger" onClick={() => setOpen("remove")}>
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
      {isNew && (
        <Field
          label="Key"
          control={(attributes) => (
            <input
              {...attributes}
              ref={nameInput}
              class="mono"
              spellcheck={false}
              autocomplete="off"
              value={name}
              onInput={(event) => setName(event.currentTarget.value)}
            />
          )}
        />
      )}
      {!isNew && (
        <div class="row">
          <span class="chip">{kind.name}</span>
          <span class="chip" title={`${number(base.length)} bytes`}>
            {size(base.length)}
          </span>
          <span class="chip" title={stored.expiration ? dateTime(stored.expiration) : undefined}>
            {stored.expiration ? `expires ${fromNow(stored.expiration)}` : "does not expire"}
          </span>
          {!isWritable && <span class="chip warning">read-only</span>}
        </div>
      )}
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
        {shown === "json" && <JsonEditor label={editorLabel} value={text} onChange={onText} readOnly={!isWritable} />}
        {shown === "text" && <TextEditor label={editorLabel} value={text} onChange={onText} readOnly={!isWritable} />}
        {shown === "hex" && <HexView bytes={bytesNow()} />}
        {shown === "image" && <ImageView bytes={base} type={kind.image} name={name} />}
      </div>
      {(isWritable || stored.metadata !== null) && (
        <div class="field metadata">
          <h3>Metadata</h3>
          <JsonEditor label="Metadata" value={metadataText} onChange={(next) => setEdit({ metadata: next })} readOnly={!isWritable} />
        </div>
      )}
      {isWritable && <ExpirationField fields={fields} stored={stored.expiration} onChange={(expiration) => setEdit({ expiration })} />}
      <p class={message.kind ? `notice ${message.kind}` : "help"} role="status" hidden={message.text === ""}>
        {message.text}
      </p>
      {isWritable && (
        <div class="row">
          <button type="button" class="primary" disabled={isBusy || !isChanged} onClick={() => save()}>
            {isBusy ? "Saving…" : "Save"}
          </button>
          {!isNew && (
            <button type="button" disabled={isBusy || !isChanged} onClick={discard}>
              Discard changes
            </button>
          )}
          {isNew && (
            <button type="button" onClick={() => fileInput.current.click()}>
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
          onMine={() => save({ isForced: true })}
          onClose={() => setConflict(null)}
        />
      )}
      {(open === "copy" || open === "rename") && (
        <CopyDialog namespace={namespace} name={name} targets={targets} isRename={open === "rename"} onClose={() => setOpen(null)} onDone={onOpen} />
      )}
      {open === "remove" && <RemoveDialog namespace={namespace} name={name} onClose={() => setOpen(null)} onRemoved={onRemoved} />}
    </div>
  );
}

const isUnchanged = (edit) => Object.values(edit).every((part) => part === null);

/** Returns a function that lays out the text once, when it is first needed. */
function useLaidOut(kind, base) {
  const memory = useRef({});
  return () => {
    if (memory.current.base !== base) memory.current = { base, text: kind.isJson ? layOut(kind.text) : kind.text };
    return memory.current.text;
  };
}

/**
 * Returns the text to store for the text of an editor: as compact as it was, with its line ends.
 */
function storedForm(text, kind, view) {
  if (view !== "json" || !kind.isJson || problemOf(text)) return kind.text?.includes("\r\n") ? text.replaceAll("\n", "\r\n") : text;
  if (compact(kind.text) === kind.text) return compact(text);
  return kind.text.endsWith("\n") && !text.endsWith("\n") ? `${text}\n` : text;
}

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

/** The most characters of a value in a dialog. */
const EXCERPT = 2000;

function excerptOf(bytes) {
  const { text } = kindOf(bytes);
  if (text === null) return `${number(bytes.length)} bytes that are no text`;
  return text.length > EXCERPT ? `${text.slice(0, EXCERPT)}…` : text;
}

function ConflictDialog({ mine, theirs, isNew, onTheirs, onMine, onClose }) {
  const title = theirs === null ? "Somebody deleted this key" : isNew ? "This key exists already" : "Somebody changed this key";
  return (
    <Dialog title={title} onClose={onClose}>
      <p>
        {theirs === null
          ? "It was there when you opened it. It was deleted since, or it has expired."
          : isNew
            ? "Your value would replace what is stored."
            : "Value or metadata are not what they were when you opened it. Your change would replace them."}
      </p>
      {theirs !== null && (
        <div class="compare">
          <div class="field">
            <h3>Stored now</h3>
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard has to reach it */}
            <pre tabIndex={0}>{excerptOf(theirs.bytes)}</pre>
            {theirs.metadata !== null && <code>{JSON.stringify(theirs.metadata)}</code>}
          </div>
          <div class="field">
            <h3>Yours</h3>
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard has to reach it */}
            <pre tabIndex={0}>{excerptOf(mine)}</pre>
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

function RemoveDialog({ namespace, name, onClose, onRemoved }) {
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  const confirm = async () => {
    setBusy(true);
    try {
      await remove(namespace, name);
      keepDraft(namespace, name, null);
      onRemoved(name);
    } catch (error) {
      setProblem(error.message);
      setBusy(false);
    }
  };
  return (
    <Dialog title="Delete this key?" onClose={onClose}>
      <p>
        <code>{name}</code> is deleted with its metadata. That cannot be undone.
      </p>
      <DialogFoot problem={problem} onCancel={onClose}>
        <button type="button" class="danger" disabled={isBusy} onClick={confirm}>
          Delete
        </button>
      </DialogFoot>
    </Dialog>
  );
}

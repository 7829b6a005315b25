// A JSON record of kv-edge in KV: checked as it is typed, and saved unless somebody else changed
// it in between.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { draftOf, keepDraft } from "./drafts.js";
import { JsonEditor } from "./json_editor.jsx";
import { put, UNKNOWN_EXPIRATION, value } from "./kv.js";
import { Failure } from "./outcome.jsx";
import { ChangedInBetween, OwnVersions } from "./own_versions.js";
import { TYPING_PAUSE_MS, useAction, useLatest } from "./requests.js";

/**
 * Reads a record to edit. `template` is the text of one that does not exist. `check(text)` returns
 * its `{ faults, warnings }`.
 */
export function useRecord(namespace, key, { template, check }) {
  const [text, setText] = useState(null);
  const [stored, setStored] = useState(null);
  const versions = useRef(null);

  function show(record) {
    const base = record ? readable(record.text) : template;
    setStored({ record, base });
    setText(base);
  }
  const draftId = ["record", namespace, key];
  const reading = useLatest(async () => {
    const draft = draftOf(draftId);
    if (!draft) {
      const record = await read(namespace, key);
      versions.current = new OwnVersions(record);
      return show(record);
    }
    versions.current = draft.versions;
    setStored(draft.stored);
    setText(draft.text);
  }, draftId);
  const checking = useLatest(async () => (text === null ? undefined : { text, ...(await check(text)) }), [text], { pauseMs: TYPING_PAUSE_MS });
  const isChecked = checking.result?.text === text && !checking.error;

  const [save, saving, forget] = useAction(async ({ overwrite = false } = {}) => {
    const current = await read(namespace, key);
    if (!overwrite) versions.current.check(current);
    // KV lists a new record later than it serves it.
    const { metadata, expiration = stored.record?.expiration } = current ?? { metadata: null, expiration: null };
    if (expiration === undefined) throw new Error(UNKNOWN_EXPIRATION);
    await put(namespace, key, text, { metadata, expiration });
    const record = { text, bytes: new TextEncoder().encode(text), metadata, expiration };
    versions.current.add(record);
    setStored({ record, base: text });
    return { isSaved: true };
  });
  /** Drops what was typed, for `theirs` if somebody else has changed the record. */
  const discard = (theirs) => {
    forget();
    if (theirs === undefined) return setText(stored.base);
    versions.current.add(theirs);
    show(theirs);
  };

  const isChanged = text !== null && (text !== stored.base || stored.record === null);
  useEffect(() => {
    if (text !== null) keepDraft(draftId, text === stored.base ? null : { text, stored, versions: versions.current });
  }, [text, stored]);
  const canSave = isChanged && isChecked && checking.result.faults.length === 0 && !saving.isBusy;
  return { text, setText, isMissing: stored?.record === null, isChanged, canSave, save, saving, discard, reading, checking, isChecked };
}

async function read(namespace, key) {
  const found = await value(namespace, key);
  return found && { ...found, text: new TextDecoder().decode(found.bytes) };
}

/** Indents JSON on one line, if nothing but white space changes. */
function readable(text) {
  try {
    const parsed = JSON.parse(text);
    return JSON.stringify(parsed) === text.trim() ? JSON.stringify(parsed, null, 2) + "\n" : text;
  } catch {
    return text;
  }
}

/** The editor of a record, with its faults, and with the buttons if the token may write it. */
export function RecordEditor({ label, record, isWritable }) {
  const { text, setText, isChanged, isMissing, canSave, save, saving, discard, reading, checking } = record;
  const findings = useMemo(() => findingsOf(checking.result), [checking.result]);
  if (reading.error) return <Failure error={reading.error} />;
  if (text === null) return <p class="help">Loading…</p>;
  return (
    <div class="stack record">
      <div class="row spread">
        <p class="record-state" role="status">
          {stateOf(record, isWritable)}
        </p>
        {isWritable && (
          <div class="row">
            <button type="button" disabled={!isChanged || isMissing || saving.isBusy} onClick={() => discard()}>
              Discard changes
            </button>
            <button type="button" class="primary" disabled={!canSave} onClick={() => save()}>
              {saving.isBusy ? "Saving…" : "Save"}
            </button>
          </div>
        )}
      </div>
      {saving.error instanceof ChangedInBetween ? (
        <Failure error={saving.error} kind="warning">
          <button type="button" onClick={() => discard(saving.error.theirs)}>
            Load theirs, drop mine
          </button>
          <button type="button" class="danger" onClick={() => save({ overwrite: true })}>
            Overwrite theirs
          </button>
        </Failure>
      ) : (
        <Failure error={saving.error} />
      )}
      <JsonEditor label={label} value={text} onChange={setText} readOnly={!isWritable} findings={findings} />
      <Failure error={checking.error} />
      {findings.length > 0 && (
        <ul class="findings" aria-label="Faults and warnings">
          {findings.map((one) => (
            <li key={`${one.severity} ${one.path} ${one.problem}`} class={one.severity}>
              <strong>{one.severity === "error" ? "Fault" : "Warning"}</strong>{" "}
              {one.line ? <code>{`line ${one.line}`}</code> : one.path && <code>{one.path}</code>} {one.problem}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function findingsOf({ faults = [], warnings = [] } = {}) {
  return [...faults.map((one) => ({ ...one, severity: "error" })), ...warnings.map((one) => ({ ...one, severity: "warning" }))];
}

function stateOf({ isChanged, isMissing, isChecked, checking, saving }, isWritable) {
  const faults = checking.result?.faults.length ?? 0;
  const checked = isChecked ? (faults > 0 ? `${faults} ${faults === 1 ? "fault" : "faults"}, cannot be saved` : "no faults") : "checking…";
  const state = isMissing ? "Not stored yet" : isChanged ? "Changed" : saving.result?.isSaved ? "Saved" : "As stored";
  return `${isWritable ? "" : "Read-only · "}${state} · ${checked}`;
}

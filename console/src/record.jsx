// A JSON record of kv-edge in KV: checked as it is typed, and saved unless it has faults or
// somebody else changed it in between. A user who was shown the other version may overwrite it.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { jsonFault } from "./browse/json_text.js";
import { textForm, UNEDITABLE } from "./browse/text_form.js";
import { utf8Text } from "./browse/value_kind.js";
import { Button, Excerpt } from "./controls.jsx";
import { draftOf, keepDraft } from "./drafts.js";
import { useFocusFallback } from "./focus.js";
import { JsonEditor } from "./json_editor.jsx";
import { put, UNKNOWN_EXPIRATION, value } from "./kv.js";
import { FailedCall, Failure } from "./outcome.jsx";
import { ChangedInBetween, OwnVersions } from "./own_versions.js";
import { TYPING_PAUSE_MS, useAction, useLatest } from "./requests.js";

/**
 * Reads a record to edit. `template` is the text to begin with if there is none. `check(text)`
 * returns its `{ faults, warnings }`.
 */
export function useRecord(namespace, key, { template, check }) {
  const [text, setText] = useState(null);
  const [stored, setStored] = useState(null);
  const versions = useRef(null);

  function show(record) {
    const form = recordForm(record ? record.bytes : new TextEncoder().encode(template));
    setStored({ record, base: form.shown, form });
    setText(form.shown);
  }
  const draftId = ["record", namespace, key];
  const reading = useLatest(async () => {
    const draft = draftOf(draftId);
    if (!draft) {
      const record = await value(namespace, key);
      versions.current = new OwnVersions(record);
      return show(record);
    }
    versions.current = draft.versions;
    setStored(draft.stored);
    setText(draft.text);
  }, draftId);
  const checking = useLatest(async () => (text === null ? undefined : { text, ...(await check(text)) }), [text], { pauseMs: TYPING_PAUSE_MS });
  const isChecked = checking.result?.text === text && !checking.error;

  const [save, saving, forget] = useAction(async ({ consent } = {}) => {
    const current = await value(namespace, key);
    versions.current.check(current, consent);
    // KV's list, which has the expiration, lacks a new record for a while.
    const { metadata, expiration = stored.record?.expiration } = current ?? { metadata: null, expiration: null };
    if (expiration === undefined) throw new Error(UNKNOWN_EXPIRATION);
    const bytes = stored.form.bytes(text);
    await put(namespace, key, bytes, { metadata, expiration });
    const record = { bytes, metadata, expiration };
    if (consent) versions.current.add(consent.theirs);
    versions.current.add(record);
    // Whoever left the record meanwhile finds what was saved, unless they typed more.
    if (draftOf(draftId)?.text === text) keepDraft(draftId, null);
    setStored({ ...stored, record, base: text });
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
  const isEditable = stored?.form.isEditable;
  return { text, setText, isEditable, isMissing: stored?.record === null, isChanged, canSave, save, saving, discard, reading, checking, isChecked };
}

/**
 * Returns how a record is edited, as `{ isEditable, shown, bytes }`: `bytes(edited)` returns what
 * to store. A byte order mark stays, but no check reads it.
 */
function recordForm(stored) {
  const whole = utf8Text(stored);
  if (whole === null) return { isEditable: false, shown: new TextDecoder().decode(stored), bytes: () => stored };
  const text = whole.replace(/^\ufeff/, "");
  const mark = whole.slice(0, whole.length - text.length);
  const form = textForm({ text, isJson: jsonFault(text) === null });
  return {
    isEditable: form.isEditable,
    shown: form.shown("json"),
    bytes: (edited) => new TextEncoder().encode(mark + form.stored({ text: edited, view: "json" })),
  };
}

/** The editor of a record, with its findings, and with the buttons if the token may write it. */
export function RecordEditor({ label, record, isWritable }) {
  const { text, setText, isEditable, isChanged, isMissing, canSave, save, saving, discard, reading, checking } = record;
  const findings = useMemo(() => findingsOf(checking.result), [checking.result]);
  const state = useRef(null);
  // The focus may be on what goes: the question once a conflict is answered, and the failure once
  // a read succeeds.
  useFocusFallback(state);
  if (reading.error) return <FailedCall of={reading} place={state} />;
  if (text === null) return <p class="help">Loading…</p>;
  return (
    <div class="stack record">
      <div class="row spread">
        <p class="record-state" role="status" ref={state} tabIndex={-1}>
          {stateOf(record, isWritable)}
        </p>
        {isWritable && (
          <div class="row">
            <Button disabled={!isChanged || isMissing || saving.isBusy} onClick={() => discard()}>
              Discard changes
            </Button>
            <Button class="primary" disabled={!canSave} onClick={() => save()}>
              {saving.isBusy ? "Saving…" : "Save"}
            </Button>
          </div>
        )}
      </div>
      {saving.error instanceof ChangedInBetween ? (
        <Conflict error={saving.error} canSave={canSave} onTheirs={() => discard(saving.error.theirs)} onMine={() => save({ consent: saving.error })} />
      ) : (
        <Failure error={saving.error} />
      )}
      <JsonEditor label={label} value={text} onChange={setText} readOnly={!isWritable || !isEditable} findings={findings} />
      {isWritable && !isEditable && <p class="help">{UNEDITABLE}</p>}
      <FailedCall of={checking} place={state} />
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

/** What somebody else has stored, and the choice between that and what was typed. */
function Conflict({ error, canSave, onTheirs, onMine }) {
  const { theirs } = error;
  const shown = useMemo(() => theirs && recordForm(theirs.bytes).shown, [theirs]);
  return (
    <Failure error={error} kind="warning">
      {theirs === null ? (
        <p>Nothing is stored now.</p>
      ) : (
        <details>
          <summary>What is stored now</summary>
          <Excerpt text={shown} />
        </details>
      )}
      <div class="row">
        <button type="button" onClick={onTheirs}>
          Load theirs, drop mine
        </button>
        <Button class="danger" disabled={!canSave} onClick={onMine}>
          Overwrite theirs
        </Button>
      </div>
    </Failure>
  );
}

function findingsOf({ faults = [], warnings = [] } = {}) {
  return [...faults.map((one) => ({ ...one, severity: "error" })), ...warnings.map((one) => ({ ...one, severity: "warning" }))];
}

function stateOf({ isChanged, isMissing, isChecked, checking, saving }, isWritable) {
  const faults = checking.result?.faults.length ?? 0;
  const unchecked = checking.error && !checking.isLoading ? "not checked" : "checking…";
  const checked = isChecked ? (faults > 0 ? `${faults} ${faults === 1 ? "fault" : "faults"}, cannot be saved` : "no faults") : unchecked;
  const state = isMissing ? "Not stored yet" : isChanged ? "Changed" : saving.result?.isSaved ? "Saved" : "As stored";
  return `${isWritable ? "" : "Read-only · "}${state} · ${checked}`;
}

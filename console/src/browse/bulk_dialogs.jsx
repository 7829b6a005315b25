// Dialogs for many keys. Upload, import and deletion by prefix first look at what is there, and
// say what they would replace or delete, if anything. After a failure or a stop they show what was
// done, and can be run again. Export only reads, and makes a file once it has all pairs.
import { useEffect, useRef, useState } from "preact/hooks";
import { Button, Dialog, DialogFoot, Field, Progress } from "../controls.jsx";
import { useFocusFallback } from "../focus.js";
import { counted, number, size } from "../format.js";
import { nameProblem, prefixProblem } from "../key_name.js";
import { Notice } from "../outcome.jsx";
import { changeProblem } from "../session.js";
import { KeyNameField } from "./key_name_field.jsx";
import { FORMATS, lengthProblem } from "./pair_file.js";
import { checkFile, download, existingOf, exportPairs, importPairs, namesOf, removeKeys, uploadFiles } from "./transfer.js";

/** How many names a dialog lists; the others it counts. */
const NAMES_MAX = 5;

const named = (names) => `${names.slice(0, NAMES_MAX).join(", ")}${names.length > NAMES_MAX ? ` and ${number(names.length - NAMES_MAX)} more` : ""}`;

/**
 * Returns `{ count, problem, isRunning, run, stop, cancelButton }` for work that takes many calls.
 * `run` calls its argument, the work, with `{ signal, onCount }`. It returns the result of the
 * work, or `undefined` if the work throws. `problem` says what it threw, or what the `error` of
 * its result is. The work ends with the dialog. `cancelButton` is a ref for the button that ends
 * it.
 */
function useWork() {
  const [state, setState] = useState({ count: 0, problem: "", isRunning: false });
  const stop = useRef(null);
  const cancelButton = useRef(null);
  // The button that has begun the work may be gone after it. Here, since a browser may take the
  // focus from a file input as soon as the dialog disables it, before `Actions` renders.
  useFocusFallback(cancelButton);
  useEffect(() => () => stop.current?.abort(), []);
  const run = async (work) => {
    stop.current = new AbortController();
    const { signal } = stop.current;
    const messageOf = (error) => (signal.aborted ? "Stopped." : error.message);
    setState({ count: 0, problem: "", isRunning: true });
    try {
      const result = await work({ signal, onCount: (count) => setState({ count, problem: "", isRunning: true }) });
      setState(({ count }) => ({ count, problem: result?.error ? messageOf(result.error) : "", isRunning: false }));
      return result;
    } catch (error) {
      setState(({ count }) => ({ count, problem: messageOf(error), isRunning: false }));
      return undefined;
    }
  };
  return { ...state, run, stop: () => stop.current?.abort(), cancelButton };
}

function Actions({ work, onClose, children, isDone = false }) {
  const [cancel, onCancel] = work.isRunning ? ["Stop", work.stop] : [isDone ? "Close" : "Cancel", onClose];
  return (
    <DialogFoot problem={work.problem} cancel={cancel} cancelRef={work.cancelButton} onCancel={onCancel}>
      {children}
    </DialogFoot>
  );
}

/** Says what a `tallied` change has done, also if it ended early. */
const Tally = ({ result: { count, failed, error }, noun, done, note = "" }) => (
  <Notice kind={failed.length > 0 || error ? "danger" : "good"} role="status">
    {error && "At least "}
    {counted(count, noun)} {done}
    {failed.length > 0 && `; not ${done}: ${named(failed)}`}.{note}
  </Notice>
);

/** Returns true if a change came to its end. One that did not may be tried again. */
const isOver = (result) => result?.error === null;

/**
 * Empties an input and reports that, so that choosing the same file again, after it was corrected,
 * is a change.
 */
function clearFiles(event) {
  event.currentTarget.value = "";
  event.currentTarget.dispatchEvent(new Event("change"));
}

/** Deletes the keys with a prefix that were counted, and none that was added since. */
export function RemoveByPrefixDialog({ session, namespace, keyBytesMax, prefix: given, onClose, onChanged }) {
  const [prefix, setPrefix] = useState(given);
  const [names, setNames] = useState(null);
  const [kept, setKept] = useState([]);
  const [result, setResult] = useState(null);
  const work = useWork();
  const refusal = prefixProblem(session, prefix, keyBytesMax);
  const count = async () => {
    const found = await work.run((options) => namesOf(namespace, prefix, options));
    const mayChange = (name) => changeProblem(session, name) === null;
    setKept(found?.filter((name) => !mayChange(name)) ?? []);
    setNames(found?.filter(mayChange) ?? null);
  };
  const removeAll = async () => {
    setResult(null);
    setResult(await work.run((options) => removeKeys(namespace, names, options)));
    onChanged();
  };
  const scope = prefix === "" ? "in the whole namespace" : "with this prefix";
  return (
    <Dialog title="Delete keys by prefix" onClose={work.isRunning ? work.stop : onClose}>
      <KeyNameField
        label="Prefix"
        value={prefix}
        onChange={(next) => {
          setPrefix(next);
          setNames(null);
          setResult(null);
        }}
        help={refusal ?? (prefix === "" ? `Without a prefix, all keys of ${namespace} are deleted.` : undefined)}
        disabled={work.isRunning}
      />
      {work.isRunning && <Progress label={names === null ? "Counted" : "Deleted"} done={work.count} total={names?.length} />}
      {names !== null && !work.isRunning && result === null && (
        <Notice kind={names.length > 0 ? "warning" : ""} role="status">
          {names.length === 0
            ? `There is no ${kept.length > 0 ? "other " : ""}key ${scope}.`
            : `${counted(names.length, "key")} ${scope}. Deleting them cannot be undone.`}
          {kept.length > 0 && ` The token may not delete ${named(kept)}.`}
        </Notice>
      )}
      {result && <Tally result={result} noun="key" done="deleted" note=" Lists may still show them for up to 60 seconds." />}
      <Actions work={work} onClose={onClose} isDone={isOver(result)}>
        {!isOver(result) &&
          (names === null || names.length === 0 ? (
            <Button key="count" class="primary" disabled={work.isRunning || refusal !== null} onClick={count}>
              Count
            </Button>
          ) : (
            <Button key="delete" class="danger" disabled={work.isRunning} onClick={removeAll}>
              Delete {counted(names.length, "key")}
            </Button>
          ))}
      </Actions>
    </Dialog>
  );
}

/** Exports the keys with a prefix as a file. */
export function ExportDialog({ session, namespace, keyBytesMax, prefix: given, onClose }) {
  const [prefix, setPrefix] = useState(given);
  const [format, setFormat] = useState("ndjson");
  const [result, setResult] = useState(null);
  const work = useWork();
  const refusal = prefixProblem(session, prefix, keyBytesMax);
  const run = async () => {
    setResult(null);
    const done = await work.run((options) => exportPairs(namespace, prefix, format, options));
    if (!done) return;
    setResult(done);
    const name = `${namespace}${prefix && `-${prefix}`}`.replace(/[^\w.-]+/g, "-").replace(/-+$/, "");
    download(done.blob, `${name}.${FORMATS[format].extension}`);
  };
  return (
    <Dialog title="Export" onClose={work.isRunning ? work.stop : onClose}>
      <KeyNameField
        label="Prefix"
        value={prefix}
        onChange={setPrefix}
        help={refusal ?? (prefix === "" ? "Without a prefix, all keys." : undefined)}
        disabled={work.isRunning}
      />
      <Field
        label="Format"
        help={
          <>
            <code>kv-edge kv import</code> reads both.
          </>
        }
        control={(attributes) => (
          <select {...attributes} disabled={work.isRunning} value={format} onChange={(event) => setFormat(event.currentTarget.value)}>
            {Object.entries(FORMATS).map(([name, { label }]) => (
              <option key={name} value={name}>
                {label}
              </option>
            ))}
          </select>
        )}
      />
      {work.isRunning && <Progress label="Exported" done={work.count} />}
      {result && (
        <Notice kind="good" role="status">
          {counted(result.count, "pair")} exported, {size(result.blob.size)}.
        </Notice>
      )}
      <Actions work={work} onClose={onClose} isDone={result !== null}>
        <Button class="primary" disabled={work.isRunning || refusal !== null} onClick={run}>
          Export
        </Button>
      </Actions>
    </Dialog>
  );
}

/** Says what a check has found in a file with pairs. `added` are existing keys that are new. */
function Found({ checked: { count, expired, existing }, added }) {
  if (count === 0) return "The file has no pairs.";
  const since = added.length > 0 ? `, ${number(added.length)} of them since the last check` : "";
  return (
    <>
      {counted(count, "pair")}. {expired.size > 0 && `${number(expired.size)} ${expired.size === 1 ? "has expired and is" : "have expired and are"} left out. `}
      {existing.size > 0
        ? `${number(existing.size)} of the keys ${existing.size === 1 ? "exists" : "exist"} already${since}: ${named([...new Set([...added, ...existing])])}.`
        : "None of the keys exists yet."}
    </>
  );
}

/**
 * Imports a file, after all of it was checked. Before the first write, the keys are looked up
 * again: one that was added since the check is kept as the others are, and no value is replaced
 * that the dialog has not shown.
 */
export function ImportDialog({ session, namespace, keyBytesMax, onClose, onChanged }) {
  const [file, setFile] = useState(null);
  const [checked, setChecked] = useState(null);
  // Of the keys that exist, those that an earlier check had not found.
  const [added, setAdded] = useState([]);
  const [onExisting, setOnExisting] = useState("skip");
  const [result, setResult] = useState(null);
  const [isWriting, setIsWriting] = useState(false);
  const work = useWork();
  const check = (chosen) => work.run((options) => checkFile(namespace, chosen, { problemOf: (key) => nameProblem(session, key, keyBytesMax), ...options }));
  const choose = async (event) => {
    const [chosen] = event.currentTarget.files;
    setFile(chosen ?? null);
    setChecked(null);
    setAdded([]);
    setResult(null);
    setIsWriting(false);
    if (chosen) setChecked((await check(chosen)) ?? null);
  };
  const keptOf = (found) => (onExisting === "skip" ? found.existing : new Set());
  const totalOf = (found) => found.count - new Set([...found.expired, ...keptOf(found)]).size;
  const isValid = checked !== null && checked.fault === null;
  const [total, kept] = isValid ? [totalOf(checked), keptOf(checked).size] : [0, 0];
  const run = async () => {
    setIsWriting(false);
    const found = await check(file);
    if (found === undefined) return;
    const addedNow = found.fault ? [] : [...found.existing].filter((key) => !checked.existing.has(key));
    setChecked(found);
    setAdded(addedNow);
    setResult(null);
    if (found.fault || totalOf(found) === 0 || (onExisting === "replace" && addedNow.length > 0)) return;
    setIsWriting(true);
    setResult(await work.run((options) => importPairs(namespace, file, { skipped: keptOf(found), ...options })));
    onChanged();
  };
  return (
    <Dialog title="Import" onClose={work.isRunning ? work.stop : onClose}>
      <Field
        label="File"
        help={
          <>
            NDJSON with a pair per line, or the JSON array that <code>wrangler kv bulk put</code> takes. The whole file is checked before the first write.
          </>
        }
        control={(attributes) => (
          <input {...attributes} type="file" accept=".ndjson,.json,.jsonl,application/json" disabled={work.isRunning} onClick={clearFiles} onChange={choose} />
        )}
      />
      {work.isRunning && <Progress label={isWriting ? "Written" : "Checked"} done={work.count} total={isWriting ? total : undefined} />}
      {checked?.fault && (
        <Notice kind="danger" role="alert">
          {checked.fault.line !== null && `Line ${number(checked.fault.line)}: `}
          {checked.fault.message}
        </Notice>
      )}
      {isValid && result === null && (
        <Notice kind={added.length > 0 && !isWriting ? "warning" : ""} role="status">
          <Found checked={checked} added={added} />
          {added.length > 0 && onExisting === "replace" && total > 0 && !isWriting && " Write again to replace their values."}
        </Notice>
      )}
      {isValid && checked.existing.size > 0 && result === null && (
        <Field
          label="Keys that exist"
          control={(attributes) => (
            <select {...attributes} disabled={work.isRunning} value={onExisting} onChange={(event) => setOnExisting(event.currentTarget.value)}>
              <option value="skip">keep their values</option>
              <option value="replace">replace their values</option>
            </select>
          )}
        />
      )}
      {result && <Tally result={result} noun="pair" done="written" note={kept > 0 ? ` ${counted(kept, "value")} ${kept === 1 ? "was" : "were"} kept.` : ""} />}
      <Actions work={work} onClose={onClose} isDone={isOver(result)}>
        {!isOver(result) && (
          <Button class="primary" disabled={work.isRunning || total === 0} onClick={run}>
            {total > 0 ? `Write ${counted(total, "pair")}` : "Write"}
          </Button>
        )}
      </Actions>
    </Dialog>
  );
}

/** Returns a problem with the name of its file, or `null` if there is none. */
const ofFile = (file, problem) => problem && `${file.name}: ${problem}`;

/**
 * Uploads files: each becomes the value of a key with its name after the prefix. The keys are
 * looked up before each start, and no value is replaced that the dialog has not shown.
 */
export function UploadDialog({ session, namespace, keyBytesMax, prefix: given, onClose, onChanged }) {
  const [prefix, setPrefix] = useState(given);
  const [files, setFiles] = useState([]);
  const [existing, setExisting] = useState(null);
  const [result, setResult] = useState(null);
  const work = useWork();
  const keyOf = (file) => `${prefix}${file.name}`;
  const problems = files.length > 0 ? files.map((file) => nameProblem(session, keyOf(file), keyBytesMax)) : [prefixProblem(session, prefix, keyBytesMax)];
  const refusal = problems.find((problem) => problem !== null);
  const fault = files.map((file) => ofFile(file, lengthProblem(file.size))).find((problem) => problem !== null);
  const send = async () => {
    setResult(null);
    const uploads = files.map((file) => ({ key: keyOf(file), file }));
    setResult(await work.run((options) => uploadFiles(namespace, uploads, options)));
    onChanged();
  };
  const begin = async () => {
    setResult(null);
    const found = await work.run(({ signal }) => existingOf(namespace, files.map(keyOf), { signal }));
    if (found === undefined) return;
    const shown = new Set(existing);
    setExisting(found);
    if (found.every((key) => shown.has(key))) await send();
  };
  const changed = (set) => (next) => {
    set(next);
    setExisting(null);
    setResult(null);
  };
  return (
    <Dialog title="Upload files" onClose={work.isRunning ? work.stop : onClose}>
      <Field
        label="Files"
        control={(attributes) => (
          <input
            {...attributes}
            type="file"
            multiple
            disabled={work.isRunning}
            onClick={clearFiles}
            onChange={(event) => changed(setFiles)([...event.currentTarget.files])}
          />
        )}
      />
      <KeyNameField
        label="Prefix"
        value={prefix}
        onChange={changed(setPrefix)}
        help={refusal ?? "It stands before the name of each file."}
        disabled={work.isRunning}
      />
      {files.length > 0 && (
        <p class="help">
          {counted(files.length, "file")}, {size(files.reduce((sum, file) => sum + file.size, 0))}: {named(files.map(keyOf))}
        </p>
      )}
      {fault && <p class="problem">{fault}</p>}
      {work.isRunning && <Progress label="Uploaded" done={work.count} total={files.length} />}
      {existing?.length > 0 && result === null && (
        <Notice kind="warning" role="status">
          {counted(existing.length, "key")} would be replaced: {named(existing)}.
        </Notice>
      )}
      {result && <Tally result={result} noun="file" done="uploaded" />}
      <Actions work={work} onClose={onClose} isDone={isOver(result)}>
        {!isOver(result) && (
          <Button
            key={existing?.length > 0 ? "replace" : "upload"}
            class={existing?.length > 0 ? "danger" : "primary"}
            disabled={work.isRunning || files.length === 0 || fault !== undefined || refusal !== undefined}
            onClick={begin}
          >
            {existing?.length > 0 ? "Replace and upload" : "Upload"}
          </Button>
        )}
      </Actions>
    </Dialog>
  );
}

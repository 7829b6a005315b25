// Dialogs for many keys: upload, export, import, deletion by prefix.
import { useEffect, useRef, useState } from "preact/hooks";
import { Dialog, DialogFoot, Field, Progress } from "../controls.jsx";
import { counted, number, size } from "../format.js";
import { put } from "../kv.js";
import { FORMATS, keyProblem, lengthProblem } from "./pair_file.js";
import { checkFile, countKeys, download, existingOf, exportPairs, importPairs, removeByPrefix } from "./transfer.js";

/** Names that a dialog lists; of others it says how many there are. */
const NAMES = 5;

const named = (names) => `${names.slice(0, NAMES).join(", ")}${names.length > NAMES ? ` and ${number(names.length - NAMES)} more` : ""}`;

/**
 * Returns `{ count, problem, isRunning, run, stop }` for work that takes many calls. `run` calls
 * its argument with `{ signal, onCount }`, and returns what that returns, `undefined` after a
 * failure. The work ends with the dialog.
 */
function useWork() {
  const [state, setState] = useState({ count: 0, problem: "", isRunning: false });
  const stop = useRef(null);
  useEffect(() => () => stop.current?.abort(), []);
  const run = async (work) => {
    stop.current = new AbortController();
    const { signal } = stop.current;
    setState({ count: 0, problem: "", isRunning: true });
    try {
      const result = await work({ signal, onCount: (count) => setState({ count, problem: "", isRunning: true }) });
      setState(({ count }) => ({ count, problem: "", isRunning: false }));
      return result;
    } catch (error) {
      setState(({ count }) => ({ count, problem: signal.aborted ? "Stopped." : error.message, isRunning: false }));
      return undefined;
    }
  };
  return { ...state, run, stop: () => stop.current?.abort() };
}

function Actions({ work, onClose, children, isDone = false }) {
  const [cancel, onCancel] = work.isRunning ? ["Stop", work.stop] : [isDone ? "Close" : "Cancel", onClose];
  return (
    <DialogFoot problem={work.problem} cancel={cancel} onCancel={onCancel}>
      {children}
    </DialogFoot>
  );
}

const PrefixField = ({ value, onChange, help }) => (
  <Field
    label="Prefix"
    help={help}
    control={(attributes) => (
      <input {...attributes} class="mono" spellcheck={false} autocomplete="off" value={value} onInput={(event) => onChange(event.currentTarget.value)} />
    )}
  />
);

/** Deletes the keys with a prefix, after they were counted. */
export function RemoveByPrefixDialog({ namespace, prefix: given, onClose, onChanged }) {
  const [prefix, setPrefix] = useState(given);
  const [total, setTotal] = useState(null);
  const [result, setResult] = useState(null);
  const work = useWork();
  const count = async () => setTotal((await work.run((options) => countKeys(namespace, prefix, options))) ?? null);
  const removeAll = async () => {
    const done = await work.run((options) => removeByPrefix(namespace, prefix, options));
    onChanged();
    if (done) setResult(done);
  };
  const scope = prefix === "" ? "in the whole namespace" : "with this prefix";
  return (
    <Dialog title="Delete keys by prefix" onClose={onClose}>
      <PrefixField
        value={prefix}
        onChange={(next) => {
          setPrefix(next);
          setTotal(null);
          setResult(null);
        }}
        help={prefix === "" ? `Without a prefix, all keys of ${namespace} are deleted.` : undefined}
      />
      {work.isRunning && <Progress label={total === null ? "Counted" : "Deleted"} done={work.count} total={total ?? undefined} />}
      {total !== null && !work.isRunning && result === null && (
        <p class={`notice ${total > 0 ? "warning" : ""}`} role="status">
          {total === 0 ? `There is no key ${scope}.` : `${counted(total, "key")} ${scope}. Deleting them cannot be undone.`}
        </p>
      )}
      {result && (
        <p class={`notice ${result.failed.length > 0 ? "danger" : "good"}`} role="status">
          {counted(result.count, "key")} deleted{result.failed.length > 0 && `; not deleted: ${named(result.failed)}`}. Lists may show them for 60 seconds.
        </p>
      )}
      <Actions work={work} onClose={onClose} isDone={result !== null}>
        {result === null &&
          (total === null || total === 0 ? (
            <button type="button" class="primary" disabled={work.isRunning} onClick={count}>
              Count
            </button>
          ) : (
            <button type="button" class="danger" disabled={work.isRunning} onClick={removeAll}>
              Delete {counted(total, "key")}
            </button>
          ))}
      </Actions>
    </Dialog>
  );
}

/** Exports the keys with a prefix as a file. */
export function ExportDialog({ namespace, prefix: given, onClose }) {
  const [prefix, setPrefix] = useState(given);
  const [format, setFormat] = useState("ndjson");
  const [result, setResult] = useState(null);
  const work = useWork();
  const run = async () => {
    setResult(null);
    const done = await work.run((options) => exportPairs(namespace, prefix, format, options));
    if (!done) return;
    setResult(done);
    const name = `${namespace}${prefix && `-${prefix}`}`.replace(/[^\w.-]+/g, "-").replace(/-+$/, "");
    download(done.blob, `${name}.${FORMATS[format].extension}`);
  };
  return (
    <Dialog title="Export" onClose={onClose}>
      <PrefixField value={prefix} onChange={setPrefix} help={prefix === "" ? "Without a prefix, all keys." : undefined} />
      <Field
        label="Format"
        help={
          <>
            <code>kv-edge kv import</code> reads both.
          </>
        }
        control={(attributes) => (
          <select {...attributes} value={format} onChange={(event) => setFormat(event.currentTarget.value)}>
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
        <p class="notice good" role="status">
          {counted(result.count, "pair")} exported, {size(result.blob.size)}.
        </p>
      )}
      <Actions work={work} onClose={onClose} isDone={result !== null}>
        <button type="button" class="primary" disabled={work.isRunning} onClick={run}>
          Export
        </button>
      </Actions>
    </Dialog>
  );
}

/** Imports a file, after all of it was checked. */
export function ImportDialog({ namespace, onClose, onChanged }) {
  const [file, setFile] = useState(null);
  const [checked, setChecked] = useState(null);
  const [onExisting, setOnExisting] = useState("skip");
  const [result, setResult] = useState(null);
  const work = useWork();
  const choose = async (event) => {
    const [chosen] = event.currentTarget.files;
    setFile(chosen ?? null);
    setChecked(null);
    setResult(null);
    if (chosen) setChecked((await work.run((options) => checkFile(namespace, chosen, options))) ?? null);
  };
  const skipped = onExisting === "skip" ? checked?.existing : new Set();
  const total = checked && !checked.fault ? checked.count - checked.expired - [...skipped].length : 0;
  const run = async () => {
    const done = await work.run((options) => importPairs(namespace, file, { skipped, ...options }));
    onChanged();
    if (done) setResult(done);
  };
  return (
    <Dialog title="Import" onClose={onClose}>
      <Field
        label="File"
        help={
          <>
            NDJSON with a pair per line, or the JSON array that <code>wrangler kv bulk put</code> takes. The whole file is checked before the first write.
          </>
        }
        control={(attributes) => (
          <input {...attributes} type="file" accept=".ndjson,.json,.jsonl,application/json" disabled={work.isRunning} onChange={choose} />
        )}
      />
      {work.isRunning && <Progress label={checked === null ? "Checked" : "Written"} done={work.count} total={checked === null ? undefined : total} />}
      {checked?.fault && (
        <p class="notice danger" role="alert">
          Line {number(checked.fault.line)}: {checked.fault.message}
        </p>
      )}
      {checked && !checked.fault && result === null && (
        <p class="notice" role="status">
          {counted(checked.count, "pair")}. {checked.expired > 0 && `${number(checked.expired)} have expired and are left out. `}
          {checked.existing.size > 0
            ? `${number(checked.existing.size)} of the keys ${checked.existing.size === 1 ? "exists" : "exist"} already: ${named([...checked.existing])}.`
            : "None of the keys exists yet."}
        </p>
      )}
      {checked && !checked.fault && checked.existing.size > 0 && result === null && (
        <Field
          label="Keys that exist"
          control={(attributes) => (
            <select {...attributes} value={onExisting} onChange={(event) => setOnExisting(event.currentTarget.value)}>
              <option value="skip">keep their values</option>
              <option value="replace">replace their values</option>
            </select>
          )}
        />
      )}
      {result && (
        <p class={`notice ${result.failed.length > 0 ? "danger" : "good"}`} role="status">
          {counted(result.count, "pair")} written{result.failed.length > 0 && `; not written: ${named(result.failed)}`}.
        </p>
      )}
      <Actions work={work} onClose={onClose} isDone={result !== null}>
        {result === null && (
          <button type="button" class="primary" disabled={work.isRunning || total === 0} onClick={run}>
            {total > 0 ? `Write ${counted(total, "pair")}` : "Write"}
          </button>
        )}
      </Actions>
    </Dialog>
  );
}

/** Uploads files: each becomes the value of a key with its name behind the prefix. */
export function UploadDialog({ namespace, prefix: given, onClose, onChanged }) {
  const [prefix, setPrefix] = useState(given);
  const [files, setFiles] = useState([]);
  const [existing, setExisting] = useState(null);
  const [result, setResult] = useState(null);
  const work = useWork();
  const keyOf = (file) => `${prefix}${file.name}`;
  const fault = files.map((file) => keyProblem(keyOf(file)) ?? lengthProblem(file.size)).find((problem) => problem !== null);
  const send = async () => {
    const done = await work.run(async ({ signal, onCount }) => {
      let count = 0;
      for (const file of files) {
        await put(namespace, keyOf(file), file, { signal });
        count += 1;
        onCount(count);
      }
      return count;
    });
    onChanged();
    if (done !== undefined) setResult(done);
  };
  const begin = async () => {
    const found = await work.run(({ signal }) => existingOf(namespace, files.map(keyOf), { signal }));
    if (found === undefined) return;
    setExisting(found);
    if (found.length === 0) await send();
  };
  const changed = (set) => (next) => {
    set(next);
    setExisting(null);
    setResult(null);
  };
  return (
    <Dialog title="Upload files" onClose={onClose}>
      <Field
        label="Files"
        control={(attributes) => (
          <input {...attributes} type="file" multiple disabled={work.isRunning} onChange={(event) => changed(setFiles)([...event.currentTarget.files])} />
        )}
      />
      <PrefixField value={prefix} onChange={changed(setPrefix)} help="It stands before the name of each file." />
      {files.length > 0 && (
        <p class="help">
          {counted(files.length, "file")}, {size(files.reduce((sum, file) => sum + file.size, 0))}: {named(files.map(keyOf))}
        </p>
      )}
      {fault && <p class="problem">{fault}</p>}
      {work.isRunning && <Progress label="Uploaded" done={work.count} total={files.length} />}
      {existing?.length > 0 && result === null && (
        <p class="notice warning" role="status">
          {counted(existing.length, "key")} would be replaced: {named(existing)}.
        </p>
      )}
      {result !== null && (
        <p class="notice good" role="status">
          {counted(result, "file")} uploaded.
        </p>
      )}
      <Actions work={work} onClose={onClose} isDone={result !== null}>
        {result === null && (
          <button
            type="button"
            class={existing?.length > 0 ? "danger" : "primary"}
            disabled={work.isRunning || files.length === 0 || fault !== undefined}
            onClick={existing?.length > 0 ? send : begin}
          >
            {existing?.length > 0 ? "Replace and upload" : "Upload"}
          </button>
        )}
      </Actions>
    </Dialog>
  );
}

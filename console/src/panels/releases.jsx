// The panel "Releases": the releases of files, what changed from one to another, and the way back
// to a previous one.
import { useRef, useState } from "preact/hooks";
import { Field } from "../controls.jsx";
import { useFocusFallback, useFocusFallbackIn } from "../focus.js";
import { isoTime, number, size } from "../format.js";
import { ConfirmedButton, FailedCall, Failure, Notice } from "../outcome.jsx";
import { useAction, useLatest } from "../requests.js";
import { bindingOf, call } from "../session.js";
import { Table } from "../table.jsx";

/** The most paths that a list shows; the others are only counted. */
const PATHS_SHOWN = 200;

const changesPath = (from, to) => `/console/api/releases/changes?${new URLSearchParams({ from, to })}`;

export function ReleasesPanel({ session }) {
  const { title, writable } = bindingOf(session, "assets");
  const listing = useLatest(() => call("/console/api/releases"), []);
  const [rollBack, rolling, forget] = useAction(async (change) => {
    const outcome = await call("/console/api/releases/rollback", { method: "POST", json: change });
    listing.again();
    return outcome;
  });
  const readAgain = () => {
    forget();
    listing.again();
  };
  const heading = useRef(null);
  // After a rollback, the button that was pressed is gone: its release is served now.
  useFocusFallback(heading);
  return (
    <div class="stack">
      <h1 ref={heading} tabIndex={-1}>
        Releases
      </h1>
      <p class="help">
        The releases of files in <code>{title}</code>. One key names the release that is served; a rollback changes that key alone.
      </p>
      <FailedCall of={listing} place={heading} />
      <Failure error={rolling.error}>
        {rolling.error?.code === "release_switched" && (
          <button type="button" onClick={readAgain}>
            Read the releases again
          </button>
        )}
      </Failure>
      {rolling.result && (
        <Notice kind="good" role="status">
          <p>{`Rolled back from ${rolling.result.from} to ${rolling.result.to}. Visitors see it after at most a minute plus ASSETS_REFRESH.`}</p>
        </Notice>
      )}
      {listing.result && <Releases {...listing.result} isWritable={writable} isBusy={rolling.isBusy} onRollBack={rollBack} />}
    </div>
  );
}

function Releases({ current, previous, releases, isComplete, hasNewest, isWritable, isBusy, onRollBack }) {
  const [range, setRange] = useState(null);
  if (releases.length === 0) {
    return (
      <Notice>
        There is no release. <code>kv-edge assets push FOLDER</code> creates one.
      </Notice>
    );
  }
  const actionsOf = (id) => (
    <span class="row">
      {current && (
        <button type="button" aria-label={`Compare ${id} with the release that is served`} onClick={() => setRange({ from: id, to: current })}>
          Compare
        </button>
      )}
      {isWritable && previous.includes(id) && (
        <ConfirmedButton action="Roll back" label={`Roll back to ${id}`} disabled={isBusy} onConfirm={() => onRollBack({ from: current, to: id })}>
          <RollbackQuestion from={current} to={id} />
        </ConfirmedButton>
      )}
    </span>
  );
  return (
    <>
      <Table
        label="Releases"
        rows={releases}
        keyOf={({ id }) => id}
        columns={[
          { name: "Release", cell: (release) => <Release {...release} /> },
          { name: "Pushed", cell: ({ pushed }) => (pushed ? isoTime(pushed) : "–") },
          { name: "Files", isNumber: true, cell: ({ files }) => (files === null ? "–" : number(files)) },
          { name: "Size", isNumber: true, cell: ({ bytes }) => (bytes === null ? "–" : size(bytes)) },
          { name: "Actions", hasActions: true, cell: ({ id, isCurrent }) => !isCurrent && actionsOf(id) },
        ]}
      />
      {!isComplete && hasNewest && <p class="help">Older releases are not listed.</p>}
      {!hasNewest && (
        <p class="help">
          There are more than 10,000 releases. KV lists the oldest first, so newer ones are missing here, except the served and the previous ones.{" "}
          <code>kv-edge assets gc</code> deletes old ones.
        </p>
      )}
      {range && <Changes {...range} ids={releases.map(({ id }) => id)} onRange={setRange} />}
    </>
  );
}

const Release = ({ id, isCurrent }) => (
  <>
    <code>{id}</code> {isCurrent && <span class="chip good">served</span>}
  </>
);

function RollbackQuestion({ from, to }) {
  const counting = useLatest(() => call(changesPath(from, to)), [from, to]);
  const { result, error } = counting;
  const question = useRef(null);
  const counts = result && sentenceOf(result.counts);
  return (
    <>
      {/* It must not have the focus when the dialog opens: a dialog gives it to the first element that can. */}
      <p ref={question} tabIndex={result ? -1 : undefined}>
        Serve <code>{to}</code> instead of <code>{from}</code>?{" "}
        {error ? "What changes for visitors cannot be counted." : `For visitors: ${counts ?? "counting…"}.`}
      </p>
      <FailedCall of={counting} place={question} />
    </>
  );
}

function Changes({ from, to, ids, onRange }) {
  const comparing = useLatest(() => call(changesPath(from, to)), [from, to]);
  const { result, error, isLoading } = comparing;
  const [section, heading] = [useRef(null), useRef(null)];
  useFocusFallbackIn(section, heading);
  const choice = (label, value, name) => (
    <Field
      label={label}
      control={(attributes) => (
        <select {...attributes} value={value} onChange={(event) => onRange({ from, to, [name]: event.currentTarget.value })}>
          {ids.map((id) => (
            <option key={id}>{id}</option>
          ))}
        </select>
      )}
    />
  );
  return (
    <section class="panel" aria-label="What changed" aria-busy={isLoading} ref={section}>
      <h2 ref={heading} tabIndex={-1}>
        What changed
      </h2>
      <div class="row controls">
        {choice("From", from, "from")}
        {choice("To", to, "to")}
      </div>
      <FailedCall of={comparing} place={heading} />
      {result && !error && (
        <>
          <p role="status">
            {sentenceOf(result.counts)}, {number(result.unchanged)} unchanged.
            {result.rules.length > 0 && ` Rules or settings of the site differ, too: ${result.rules.join(", ")}.`}
          </p>
          <div class="columns narrow">
            <Paths title="Added" paths={result.added} count={result.counts.added} />
            <Paths title="Changed" paths={result.changed} count={result.counts.changed} />
            <Paths title="Removed" paths={result.removed} count={result.counts.removed} />
          </div>
        </>
      )}
    </section>
  );
}

const sentenceOf = ({ added, changed, removed }) => `${number(added)} added, ${number(changed)} changed, ${number(removed)} removed`;

const Paths = ({ title, paths, count }) =>
  count > 0 && (
    <div>
      <h3>
        {title} ({number(count)})
      </h3>
      <ul class="paths">
        {paths.slice(0, PATHS_SHOWN).map((path) => (
          <li key={path}>
            <code>{path}</code>
          </li>
        ))}
      </ul>
      {count > PATHS_SHOWN && <p class="help">and {number(count - PATHS_SHOWN)} more</p>}
    </div>
  );

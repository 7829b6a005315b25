// The panel "Writes": one request has the Worker make up to 100 writes of one key at once; shows
// the run.
import { useState } from "preact/hooks";
import { Button, Field } from "../controls.jsx";
import { Figures } from "../figures.jsx";
import { counted, milliseconds } from "../format.js";
import { keyProblem } from "../key_name.js";
import { Failure } from "../outcome.jsx";
import { useAction } from "../requests.js";
import { ApiError, send } from "../session.js";
import { Table } from "../table.jsx";
import { Timeline } from "../timeline.jsx";

const STRATEGIES = {
  direct: "each write is put once, as it comes",
  backoff: "a put that fails is tried again after a random wait",
  coalesce: "a Durable Object puts the latest value, once a second at most",
};
const WRITES_MAX = 100;

const typed = (set) => (event) => set(event.currentTarget.value);

export function WritesPanel() {
  const [key, setKey] = useState("console-demo");
  const [n, setN] = useState(20);
  const [strategy, setStrategy] = useState("coalesce");
  const [isDurable, setIsDurable] = useState(false);
  const problem = keyProblem(key);
  const [write, writing] = useAction(async () => {
    const query = new URLSearchParams({ n, strategy, ...(strategy === "coalesce" && isDurable && { wait: "durable" }) });
    const path = `/writes/${encodeURIComponent(key)}?${query}`;
    const response = await send(path, { method: "POST", headers: { accept: "text/html" } });
    return { key, strategy, report: reportOf(await response.text()) };
  });
  return (
    <div class="stack">
      <h1>Writes</h1>
      <p class="help">
        Makes many writes of one key of <code>WRITES</code> at the same time. Workers KV accepts one a second and key; the local KV accepts all.
      </p>
      <form
        class="row controls"
        onSubmit={(event) => {
          event.preventDefault();
          write();
        }}
      >
        <Field
          label="Key"
          help={problem}
          control={(attributes) => <input {...attributes} required value={key} onInput={typed(setKey)} spellcheck={false} autocomplete="off" />}
        />
        <Field
          label="Writes"
          control={(attributes) => <input {...attributes} type="number" required min={1} max={WRITES_MAX} value={n} onInput={typed(setN)} />}
        />
        <Field
          label="Strategy"
          control={(attributes) => (
            <select {...attributes} value={strategy} onChange={typed(setStrategy)}>
              {Object.keys(STRATEGIES).map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          )}
        />
        {strategy === "coalesce" && (
          <label class="choice">
            <input type="checkbox" checked={isDurable} onChange={(event) => setIsDurable(event.currentTarget.checked)} /> Respond once stored, before KV has it
          </label>
        )}
        <Button type="submit" class="primary" disabled={writing.isBusy || problem !== null}>
          {writing.isBusy ? "Writing…" : "Write"}
        </Button>
      </form>
      <p class="help">
        <strong>{strategy}</strong>: {STRATEGIES[strategy]}. This overwrites the key.
      </p>
      <Failure error={writing.error} />
      {writing.result && <Run {...writing.result} />}
    </div>
  );
}

/**
 * Returns the report in the page of a run: the JSON response has no times of the puts. The report
 * escapes each `<`, so the first `</script>` ends it. The page is not parsed as HTML, because its
 * inline styles would violate the policy of this one.
 */
function reportOf(html) {
  const report = /(?<= id="report">).*?(?=<\/script>)/s.exec(html);
  if (!report) throw new ApiError({ status: 200, code: null, message: "The response has no report of the run." });
  return JSON.parse(report[0]);
}

const COLUMNS = [
  { name: "Write", isNumber: true, cell: ({ attempt }) => attempt },
  { name: "Outcome", cell: ({ outcome }) => outcome },
  { name: "Began", isNumber: true, cell: ({ startedMs }) => milliseconds(startedMs) },
  { name: "Ended", isNumber: true, cell: ({ endedMs }) => milliseconds(endedMs) },
  { name: "Puts", isNumber: true, cell: ({ puts }) => puts.length },
  { name: "Error", cell: ({ error }) => error?.message },
];

function Run({ key, strategy, report }) {
  const { attempts, elapsedMs } = report;
  const puts = attempts.flatMap((one) => one.puts);
  const failed = attempts.filter(({ success }) => !success);
  const figures = [
    ["acknowledged", `${attempts.length - failed.length} of ${attempts.length}`],
    ["KV puts", puts.length],
    ["of them refused", puts.filter(({ taken }) => !taken).length],
    ["elapsed", milliseconds(elapsedMs)],
  ];
  return (
    <section class="panel" aria-label="The run">
      <h2>
        {counted(attempts.length, "write")} to {key}: {strategy}
      </h2>
      <Figures figures={figures} />
      <Timeline run={report} />
      <details>
        <summary>As a table</summary>
        <Table label="The writes as a table" columns={COLUMNS} rows={attempts} keyOf={({ attempt }) => attempt} />
      </details>
    </section>
  );
}

// The panel "Flags": the definitions, what a context gets, and how a rollout divides users.
import { useRef, useState } from "preact/hooks";
import { Field } from "../controls.jsx";
import { useFocusFallbackIn } from "../focus.js";
import { number } from "../format.js";
import { JsonEditor } from "../json_editor.jsx";
import { keyProblem } from "../key_name.js";
import { FailedCall } from "../outcome.jsx";
import { RecordEditor, useRecord } from "../record.jsx";
import { TYPING_PAUSE_MS, useLatest } from "../requests.js";
import { bindingOf, call } from "../session.js";
import { Shares } from "../shares.jsx";
import { Table } from "../table.jsx";

const KEY = "flags";
const TEMPLATE = '{\n  "flags": {}\n}\n';
const SAMPLE_USERS = 1000;

const check = (definitions) => call("/console/api/flags/check", { method: "POST", json: { definitions } });

export function FlagsPanel({ session }) {
  const { id, title, writable } = bindingOf(session, "configuration");
  const record = useRecord(id, KEY, { template: TEMPLATE, check });
  const [context, setContext] = useState('{\n  "targetingKey": "ann"\n}');
  const [userRecord, setUserRecord] = useState("");
  const parsedContext = parseContext(context);
  const parsedRecord = userRecord.trim() === "" ? {} : parseObject(userRecord);
  const readsRecords = !session.scope?.prefix;
  const flags = record.checking.result?.flags ?? [];
  const [contextSection, contextHeading] = [useRef(null), useRef(null)];
  // Definitions with faults are evaluated by nobody.
  const definitions = record.isChecked && record.checking.result.faults.length === 0 ? record.text : undefined;
  return (
    <div class="stack">
      <h1>Flags</h1>
      <p class="help">
        The definitions in the key <code>{KEY}</code> of <code>{title}</code>. An edit is seen everywhere after at most a minute plus the refresh of each
        isolate.
      </p>
      <div class="columns">
        <section aria-label="Definitions">
          <RecordEditor label="Definitions of the flags, as JSON" record={record} isWritable={writable} />
        </section>
        <section class="context" aria-label="Try a context" ref={contextSection}>
          <h2 ref={contextHeading} tabIndex={-1}>
            Try a context
          </h2>
          <JsonEditor label="Evaluation context, as JSON" value={context} onChange={setContext} findings={parsedContext.findings} />
          <details>
            <summary>With another record of this user</summary>
            <p class="help">
              {readsRecords
                ? "The record of the targeting key in KV counts, unless one stands here."
                : "The token does not read the records of users: they have none, unless one stands here."}
            </p>
            <JsonEditor label="Record of the user, as JSON" value={userRecord} onChange={setUserRecord} findings={parsedRecord.findings ?? []} />
          </details>
          <Evaluation
            definitions={definitions}
            context={parsedContext.object}
            record={parsedRecord.object ?? (readsRecords ? undefined : null)}
            isRecordValid={!parsedRecord.findings?.length}
            section={contextSection}
            heading={contextHeading}
          />
        </section>
      </div>
      {flags.length > 0 && <Rollout definitions={definitions} flags={flags} context={parsedContext.object} />}
    </div>
  );
}

/** Returns `{ object, findings }` of a text that has to be a JSON object. */
function parseObject(text) {
  let problem = "This is no JSON object.";
  try {
    const object = JSON.parse(text);
    if (typeof object === "object" && object !== null && !Array.isArray(object)) return { object, findings: [] };
  } catch (error) {
    problem = error.message;
  }
  return { findings: [{ path: "", problem, severity: "error" }] };
}

/** Returns what `parseObject` does for an evaluation context. */
function parseContext(text) {
  const { object, findings } = parseObject(text);
  if (object === undefined) return { findings };
  const problem = targetingKeyProblem(object.targetingKey);
  return problem === null ? { object, findings } : { findings: [{ path: "targetingKey", problem, severity: "error" }] };
}

/** Returns what is wrong with a targeting key, as the key of the user's record, or `null`. */
function targetingKeyProblem(key) {
  if (key === undefined || key === "") return null;
  return typeof key === "string" ? keyProblem(key) : "The targeting key has to be a string.";
}

/** What the context gets. `section` and `heading` are refs of the section, and of its heading. */
function Evaluation({ definitions, context, record, isRecordValid, section, heading }) {
  const isReady = definitions !== undefined && context !== undefined && isRecordValid;
  const evaluating = useLatest(
    async () => isReady && { definitions, ...(await call("/console/api/flags/evaluate", { method: "POST", json: { definitions, context, record } })) },
    [definitions, JSON.stringify(context), JSON.stringify(record), isReady],
    { pauseMs: TYPING_PAUSE_MS },
  );
  const { result, error } = evaluating;
  // What a context got goes with its definitions, or if a call fails.
  useFocusFallbackIn(section, heading);
  const missing = definitions === undefined ? "Definitions without faults are evaluated." : "A context without faults is evaluated.";
  return (
    <>
      <FailedCall of={evaluating} place={heading} />
      {!error && (result ? <Evaluated {...result} /> : <p class="help">{missing}</p>)}
    </>
  );
}

function Evaluated({ definitions, flags }) {
  const rules = JSON.parse(definitions).flags;
  return (
    <Table
      label="What this context gets"
      rows={Object.entries(flags).map(([name, details]) => ({ name, ...details }))}
      keyOf={({ name }) => name}
      columns={[
        { name: "Flag", cell: ({ name }) => name },
        { name: "Value", cell: ({ value }) => <code>{JSON.stringify(value)}</code> },
        { name: "Variant", cell: ({ variant }) => variant ?? "–" },
        { name: "Reason, and the rule that held", cell: ({ name, ...one }) => <Reason {...one} rules={rules?.[name]?.rules} /> },
      ]}
    />
  );
}

/** Rules are counted from 1, as people do. */
const Reason = ({ reason, error: code, rule, rules }) => (
  <>
    <span class={`chip ${code ? "danger" : ""}`}>{code ?? reason}</span>
    {rule !== null && (
      <span class="rule">
        Rule {rule + 1}: <code>{JSON.stringify(rules?.[rule])}</code>
      </span>
    )}
  </>
);

function Rollout({ definitions, flags, context }) {
  const [chosen, setChosen] = useState(flags[0]);
  const flag = flags.includes(chosen) ? chosen : flags[0];
  const isReady = definitions !== undefined && context !== undefined;
  const [section, heading] = [useRef(null), useRef(null)];
  useFocusFallbackIn(section, heading);
  const sampling = useLatest(
    async () =>
      isReady && { flag, ...(await call("/console/api/flags/sample", { method: "POST", json: { definitions, flag, context, users: SAMPLE_USERS } })) },
    [definitions, flag, JSON.stringify(context), isReady],
    { pauseMs: TYPING_PAUSE_MS },
  );
  const { result, error, isLoading } = sampling;
  return (
    <section class="panel" aria-label="Rollout" aria-busy={isLoading} ref={section}>
      <h2 ref={heading} tabIndex={-1}>
        Rollout over {number(SAMPLE_USERS)} users
      </h2>
      <p class="help">
        Targeting keys <code>sample-user-0</code> and on, each with the other attributes of the context above.
      </p>
      <Field
        class="fit"
        label="Flag"
        control={(attributes) => (
          <select {...attributes} value={flag} onChange={(event) => setChosen(event.currentTarget.value)}>
            {flags.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        )}
      />
      <FailedCall of={sampling} place={heading} />
      {result ? (
        <Shares
          label={`Variants of ${result.flag}`}
          unit="Users"
          shares={result.variants.map(({ variant, users }) => ({ name: variant, count: users }))}
          members={result.users}
        />
      ) : (
        !error && <p class="help">Definitions and a context without faults are sampled.</p>
      )}
    </section>
  );
}

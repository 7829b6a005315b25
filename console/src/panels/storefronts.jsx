// The panel "Storefronts": the records by prefix, one of them to edit, how it splits visitors, and
// where it sends a request.
import { useEffect, useRef, useState } from "preact/hooks";
import { compareKeys } from "../browse/key_rows.js";
import { Button, Field } from "../controls.jsx";
import { useFocusFallback, useFocusFallbackIn } from "../focus.js";
import { counted, number, span } from "../format.js";
import { listProblem, nameProblem, readProblem } from "../key_name.js";
import { keys } from "../kv.js";
import { fragmentOf, go, usePlace } from "../location.js";
import { FailedCall, Failure, Notice } from "../outcome.jsx";
import { RecordEditor, useRecord } from "../record.jsx";
import { TYPING_PAUSE_MS, useAction, useLatest } from "../requests.js";
import { bindingOf, call, reachProblem } from "../session.js";
import { Shares } from "../shares.jsx";

const PAGE_KEYS = 100;
const NO_KEYS = { keys: [], cursor: null };
const SAMPLE_VISITORS = 1000;
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/** What can be routed: a URL, or a path of the storefront. */
const isRoutable = (url) => url.startsWith("/") || (/^https?:/i.test(url) && URL.canParse(url));
/** A line of the form: a field name, a colon and a value (RFC 9110 §5.1 and §5.5), in ASCII. */
const FIELD = /^\s*[\w!#$%&'*+.^`|~-]+\s*:[\t\x20-\x7e]*$/;
/** No country, or one as `CF-IPCountry` names it: ISO 3166-1, or `T1` for Tor. */
const COUNTRY = /^(?:[a-z]{2}|T1)?$/i;
/** The id in the cookie of a visitor. */
const VISITOR = /^[0-9a-f]{16}$/i;

const TEMPLATE = '{\n  "origin": "https://"\n}\n';

export function StorefrontsPanel({ session }) {
  const { id, title, writable } = bindingOf(session, "storefronts");
  const [key] = usePlace().path;
  const problem = key ? readProblem(session, key) : null;
  /** The records that were saved here. KV's list may lack new ones for a while. */
  const [saved, setSaved] = useState([]);
  return (
    <div class="stack">
      <h1>Storefronts</h1>
      <p class="help">
        A record for each storefront in <code>{title}</code>.
      </p>
      <div class="with-list">
        <RecordList namespace={id} selected={key} saved={saved} isWritable={writable} session={session} />
        {problem !== null ? (
          <div class="stack storefront">
            <h2>{key}</h2>
            <Notice kind="danger">{problem}</Notice>
          </div>
        ) : key ? (
          <Storefront key={key} namespace={id} storefront={key} isWritable={writable} session={session} onSaved={() => setSaved((names) => [...names, key])} />
        ) : (
          <p class="help">Choose a storefront to see its record, its split, and where it sends a request.</p>
        )}
      </div>
    </div>
  );
}

/** Returns the names that are listed, and those of `saved` that belong between them. */
function withSaved({ prefix, names, cursor }, saved) {
  // What follows the loaded names comes with its own page.
  const isLoaded = (name) => cursor === null || compareKeys(name, names.at(-1) ?? "") < 0;
  const others = saved.filter((name) => name.startsWith(prefix) && isLoaded(name));
  return [...new Set([...names, ...others])].sort(compareKeys);
}

function RecordList({ namespace, selected, saved, isWritable, session }) {
  const [prefix, setPrefix] = useState(session.scope?.prefix ?? "");
  const [newName, setNewName] = useState("");
  const problem = nameProblem(session, newName);
  const refusal = listProblem(session, prefix);
  const [listed, setListed] = useState({ prefix, names: [], cursor: null });
  const readFirst = async () => ({ prefix, ...(refusal === null ? await keys(namespace, { prefix, limit: PAGE_KEYS }) : NO_KEYS) });
  const first = useLatest(readFirst, [namespace, prefix], { pauseMs: TYPING_PAUSE_MS });
  useEffect(() => {
    if (first.result) setListed({ prefix: first.result.prefix, names: first.result.keys.map(({ name }) => name), cursor: first.result.cursor });
  }, [first.result]);
  const [loadMore, loading] = useAction(async () => {
    const page = await keys(namespace, { prefix: listed.prefix, cursor: listed.cursor, limit: PAGE_KEYS });
    // Meanwhile there may be another list.
    setListed((list) => (list === listed ? { ...list, names: [...list.names, ...page.keys.map(({ name }) => name)], cursor: page.cursor } : list));
  });
  const names = withSaved(listed, saved);
  const [prefixInput, list, last] = [useRef(null), useRef(null), useRef(null)];
  // Another list has other records.
  useFocusFallbackIn(list, prefixInput);
  // The button that loads more goes with the last page.
  useFocusFallback(prefixInput, last);
  return (
    <nav class="record-list" aria-label="Storefronts">
      <Field
        label="Prefix"
        help={refusal}
        control={(attributes) => (
          <input
            {...attributes}
            ref={prefixInput}
            type="search"
            value={prefix}
            onInput={(event) => setPrefix(event.currentTarget.value)}
            autocomplete="off"
            spellcheck={false}
          />
        )}
      />
      <FailedCall of={first} place={prefixInput} />
      <Failure error={loading.error} />
      <ul ref={list}>
        {names.map((name) => (
          <li key={name}>
            <a ref={name === names.at(-1) ? last : null} href={fragmentOf("storefronts", [name])} aria-current={name === selected ? "page" : undefined}>
              {name}
            </a>
          </li>
        ))}
      </ul>
      <p class="help" role="status">
        {first.isLoading
          ? "Loading…"
          : !first.error && refusal === null && `${counted(names.length, "record")}${listed.cursor ? " loaded, there are more" : ""}`}
      </p>
      {listed.cursor && (
        <Button onClick={loadMore} disabled={loading.isBusy}>
          Load more
        </Button>
      )}
      {isWritable && (
        <form
          class="new-record"
          onSubmit={(event) => {
            event.preventDefault();
            go(fragmentOf("storefronts", [newName]));
            setNewName("");
          }}
        >
          <Field
            label="New storefront"
            help={problem}
            control={(attributes) => (
              <input
                {...attributes}
                required
                value={newName}
                onInput={(event) => setNewName(event.currentTarget.value)}
                autocomplete="off"
                spellcheck={false}
              />
            )}
          />
          <Button type="submit" disabled={problem !== null}>
            Begin its record
          </Button>
        </form>
      )}
    </nav>
  );
}

function Storefront({ namespace, storefront, isWritable, session, onSaved }) {
  const check = (record) => call("/console/api/storefronts/check", { method: "POST", json: { key: storefront, record } });
  const record = useRecord(namespace, storefront, { template: TEMPLATE, check });
  const isSaved = record.saving.result?.isSaved === true;
  useEffect(() => {
    if (isSaved) onSaved();
  }, [isSaved]);
  const text = record.isChecked && record.checking.result.faults.length === 0 ? record.text : undefined;
  return (
    <div class="stack storefront">
      <h2>{storefront}</h2>
      <RecordEditor label={`Record of ${storefront}, as JSON`} record={record} isWritable={isWritable} />
      <Routing storefront={storefront} record={text} session={session} />
    </div>
  );
}

/** Where a request goes, and how visitors are split between the variants. */
function Routing({ storefront, record, session }) {
  const [request, setRequest] = useState({
    url: "/",
    method: "GET",
    fields: "",
    country: "",
    visitor: "",
  });
  const set = (name) => (event) => setRequest({ ...request, [name]: event.currentTarget.value });
  const asked = {
    key: storefront,
    record,
    url: request.url,
    method: request.method,
    fields: parseFields(request.fields),
    country: request.country.trim().toUpperCase() || undefined,
  };
  const visitor = request.visitor.trim() || undefined;
  const isVisitor = visitor === undefined || VISITOR.test(visitor);
  const isUrl = isRoutable(request.url);
  const areFields = linesOf(request.fields).every((line) => FIELD.test(line));
  const isCountry = COUNTRY.test(request.country.trim());
  const isReady = record !== undefined && isVisitor && isUrl && areFields && isCountry;
  const inputs = [JSON.stringify(asked), visitor, isReady];
  const [routeHeading, splitSection, splitHeading] = [useRef(null), useRef(null), useRef(null)];
  useFocusFallbackIn(splitSection, splitHeading);
  const post = (path, json) => call(`/console/api/storefronts/${path}`, { method: "POST", json });
  const routed = useLatest(async () => (isReady ? post("route", { ...asked, visitor }) : undefined), inputs, { pauseMs: TYPING_PAUSE_MS });
  const split = useLatest(async () => (isReady ? post("sample", { ...asked, visitors: SAMPLE_VISITORS }) : undefined), inputs, { pauseMs: TYPING_PAUSE_MS });
  return (
    <div class="columns">
      <section aria-label="Where a request goes">
        <h3 ref={routeHeading} tabIndex={-1}>
          Where a request goes
        </h3>
        <div class="row controls labelled">
          <Field
            class="grow"
            label="URL, or path of the storefront"
            help={isUrl ? undefined : "A URL begins with https:// or http://, a path with a slash."}
            control={(attributes) => <input {...attributes} value={request.url} onInput={set("url")} spellcheck={false} />}
          />
          <Field
            label="Method"
            control={(attributes) => (
              <select {...attributes} value={request.method} onChange={set("method")}>
                {METHODS.map((method) => (
                  <option key={method}>{method}</option>
                ))}
              </select>
            )}
          />
          <Field
            class="short"
            label="Country"
            help={isCountry ? undefined : "A country is two letters, or T1 for Tor."}
            control={(attributes) => (
              <input {...attributes} value={request.country} onInput={set("country")} placeholder="DE" maxLength={2} autocomplete="off" />
            )}
          />
        </div>
        <Field
          label="Visitor"
          help={isVisitor ? undefined : "A visitor is 16 hexadecimal digits."}
          control={(attributes) => (
            <input
              {...attributes}
              value={request.visitor}
              onInput={set("visitor")}
              placeholder="16 hexadecimal digits; without, a new visitor"
              spellcheck={false}
              autocomplete="off"
            />
          )}
        />
        <Field
          label="Request fields"
          help={areFields ? undefined : "A header field is “name: value”, in ASCII."}
          control={(attributes) => (
            <textarea {...attributes} rows={2} value={request.fields} onInput={set("fields")} placeholder="X-Group: green" spellcheck={false} />
          )}
        />
        <FailedCall of={routed} place={routeHeading} />
        {!routed.error &&
          (routed.result ? <Destination {...routed.result} session={session} /> : <p class="help">Routed once the record and the request have no faults.</p>)}
      </section>
      <section aria-label="Split" ref={splitSection}>
        <h3 ref={splitHeading} tabIndex={-1}>
          Split of {number(SAMPLE_VISITORS)} visitors
        </h3>
        <FailedCall of={split} place={splitHeading} />
        {!split.error && <Split label={`Visitors of ${storefront}`} {...split.result} session={session} />}
      </section>
    </div>
  );
}

/** Says where a request leads that the token cannot follow. */
const outOfScopeSentence = (session, key) => `The request leads to the record “${key}”. ${reachProblem(session, key)}`;

/** A sample of a URL that is not split has one entry, without a variant. */
function Split({ label, variants, refused, outOfScope, session }) {
  if (outOfScope !== undefined) return <p class="help">{outOfScopeSentence(session, outOfScope)}</p>;
  if (refused) return <p class="help">No visitor with such a request gets to a variant.</p>;
  if (!variants) return <p class="help">Sampled once the record and the request have no faults.</p>;
  const shares = variants.filter(({ variant }) => variant !== null).map(({ variant, visitors }) => ({ name: variant, count: visitors }));
  if (shares.length === 0) return <p class="help">This URL is not split: all visitors go to the same upstream.</p>;
  return <Shares label={label} unit="Visitors" shares={shares} />;
}

const linesOf = (text) => text.split("\n").filter((line) => line.trim() !== "");

/** Returns the fields by name; the lines of one name are joined with commas (RFC 9110 §5.3). */
function parseFields(text) {
  const fields = {};
  for (const line of linesOf(text)) {
    const end = line.indexOf(":");
    const [name, value] = [line.slice(0, end).trim().toLowerCase(), line.slice(end + 1).trim()];
    fields[name] = Object.hasOwn(fields, name) ? `${fields[name]}, ${value}` : value;
  }
  return fields;
}

function Destination({ storefront, variant, target, fallbacks, page, openCircuits, refused, outOfScope, session }) {
  if (outOfScope !== undefined) return <Notice kind="warning">{outOfScopeSentence(session, outOfScope)}</Notice>;
  if (refused) {
    return (
      <Notice kind="warning">
        The visitor gets {refused.status} (<code>{refused.code}</code>): {refused.detail}
      </Notice>
    );
  }
  const upstream = (url) => <Upstream key={url} url={url} circuit={openCircuits.find((open) => open.url === url)} />;
  const afterFailure = [...fallbacks.map(upstream), ...(page ? [<code key={page}>{`the page ${page} in assets`}</code>] : [])];
  const pairs = [
    ["Storefront", storefront],
    ["Target", upstream(target)],
    ["Variant", variant ?? <span class="help">none: not split here</span>],
    ...(afterFailure.length > 0 ? [["If it fails", afterFailure]] : []),
  ];
  return (
    <dl class="pairs" aria-label="Destination">
      {pairs.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A URL at an upstream. `circuit` is that of the isolate that answered, if it is open. */
const Upstream = ({ url, circuit }) => (
  <>
    <code>{url}</code>
    {circuit && <span class="chip warning">circuit open, tried again in {span(circuit.retryAfterSeconds)}</span>}
  </>
);

// The panel "Cache": whether a URL is stored, for how long each variant is fresh, and purging.
import { Fragment } from "preact";
import { useRef, useState } from "preact/hooks";
import { Button, Field } from "../controls.jsx";
import { useFocusFallbackIn } from "../focus.js";
import { counted, isoTime, size, span } from "../format.js";
import { ConfirmedButton, FailedCall, Failure, Notice } from "../outcome.jsx";
import { TYPING_PAUSE_MS, useAction, useLatest } from "../requests.js";
import { call } from "../session.js";

/** What a stored response is for. */
const KINDS = { url: "under the URL's key", variant: "further variant", page: "page as JSON" };

const TARGETS = { url: "URL", prefix: "URLs with a prefix", tag: "Tag", all: "Everything" };

export function CachePanel({ session }) {
  const [url, setUrl] = useState("");
  /** The URL that was looked up. */
  const [asked, setAsked] = useState(null);
  const looking = useLatest(async () => (asked === null ? undefined : call(`/console/api/cache?${new URLSearchParams({ url: asked })}`)), [asked]);
  const isLooking = asked !== null && looking.isLoading;
  const [section, urlInput, found] = [useRef(null), useRef(null), useRef(null)];
  // Another result has other variants.
  useFocusFallbackIn(section, urlInput, found);
  return (
    <div class="stack">
      <h1>Cache</h1>
      <section class="panel" aria-label="A stored URL" aria-busy={isLooking} ref={section}>
        <form
          class="row controls"
          onSubmit={(event) => {
            event.preventDefault();
            if (url === asked) looking.again();
            else setAsked(url);
          }}
        >
          <Field
            class="grow"
            label="URL"
            control={(attributes) => (
              <input
                {...attributes}
                ref={urlInput}
                type="url"
                required
                value={url}
                onInput={(event) => setUrl(event.currentTarget.value)}
                placeholder="https://example.com/"
                spellcheck={false}
              />
            )}
          />
          <Button type="submit" class="primary" disabled={isLooking}>
            {isLooking ? "Looking…" : "Look it up"}
          </Button>
        </form>
        <FailedCall of={looking} place={found} />
        {!looking.error && looking.result && <StoredVariants {...looking.result} place={found} />}
        <p class="help">This reads KV, which may be a minute behind. An isolate may have another state in its memory for a few seconds.</p>
      </section>
      {session.everything && <Purge url={url} onPurged={() => asked !== null && looking.again()} />}
    </div>
  );
}

/** `place` is a ref for the element around all of it. */
function StoredVariants({ url, isStored, variants, isComplete, place }) {
  return (
    <div role="status" ref={place} tabIndex={-1}>
      <Notice kind={isStored ? "good" : ""}>
        <code>{url}</code> {howStored(variants)}
      </Notice>
      {variants.map((variant) => (
        <Variant key={variant.key} variant={variant} />
      ))}
      {!isComplete && <p class="help">KV has more variants of it.</p>}
    </div>
  );
}

function howStored(variants) {
  const pages = variants.filter(({ kind }) => kind === "page").length;
  const others = variants.length - pages;
  if (others > 0) return `is stored, in ${counted(others, "variant")}${pages > 0 ? " and as JSON" : ""}.`;
  return pages > 0 ? "is stored as JSON only." : "is not stored.";
}

function Freshness({ purged, isFresh, ttlSeconds }) {
  if (purged === "hard") return <span class="chip danger">purged hard: not used</span>;
  if (purged === "soft") return <span class="chip warning">purged soft: stale</span>;
  if (isFresh) return <span class="chip good">fresh for {span(ttlSeconds)}</span>;
  return <span class="chip warning">{ttlSeconds > 0 ? "revalidated at each request" : `stale for ${span(-ttlSeconds)}`}</span>;
}

function Variant({ variant }) {
  const { key, kind, status, storedAt, ttlSeconds, isFresh, purged, isReachable, selectedBy, bytes, fields } = variant;
  const selected = Object.entries(selectedBy ?? {});
  return (
    <article class="variant">
      <p class="variant-head">
        <strong>{status}</strong>
        <span class="chip">{KINDS[kind]}</span>
        <Freshness purged={purged} isFresh={isFresh} ttlSeconds={ttlSeconds} />
        {!isReachable && <span class="chip">no request finds it any more</span>}
        <span class="help">stored {isoTime(storedAt)}</span>
        <span class="help">{size(bytes)}</span>
      </p>
      {selected.length > 0 && (
        <p>
          Selected by these request fields:{" "}
          {selected.map(([name, hash], index) => (
            <Fragment key={name}>
              {index > 0 && ", "}
              <code>{name}</code> ({hash === null ? "absent" : `value with the hash ${hash}`})
            </Fragment>
          ))}
        </p>
      )}
      <details>
        <summary>Fields and key</summary>
        <dl class="pairs">
          <div>
            <dt>key in KV</dt>
            <dd>
              <code>{key}</code>
            </dd>
          </div>
          {Object.entries(fields).map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </details>
    </article>
  );
}

function Purge({ url, onPurged }) {
  const [target, setTarget] = useState("url");
  const [typed, setTyped] = useState(null);
  const [isSoft, setIsSoft] = useState(true);
  // A tag is no URL; the other targets start from the URL in the form above.
  const value = typed ?? (target === "tag" ? "" : url);
  const isNamed = target === "all" || value.trim() !== "";
  const json = { [target]: target === "all" ? true : value, ...(isSoft && { soft: true }) };
  const checking = useLatest(
    async () => {
      if (target === "all" || !isNamed) return undefined;
      const { faults } = await call("/console/api/cache/check-purge", { method: "POST", json });
      return { target, value, problem: faults[0]?.problem };
    },
    [target, value],
    { pauseMs: TYPING_PAUSE_MS },
  );
  // The problem stays in view until the next check has answered. Until then, and if the check
  // fails, the button stays enabled: the Worker checks the purge again.
  const checked = isNamed && !checking.error && checking.result?.target === target ? checking.result : undefined;
  const isRefused = checked?.value === value && checked.problem !== undefined;
  const choose = (chosen) => {
    setTarget(chosen);
    setTyped(null);
  };
  const [purge, purging] = useAction(async () => {
    const outcome = await call("/cache/purge", { method: "POST", json });
    onPurged();
    return outcome;
  });
  const named =
    target === "all" ? "all responses" : target === "prefix" ? `every URL that begins with ${value}` : target === "tag" ? `the tag ${value}` : value;
  const effect = isSoft ? "becomes stale, and is refreshed by the next request" : "is no longer used";
  return (
    <section class="panel" aria-label="Purge">
      <h2>Purge</h2>
      <div class="row controls labelled">
        <Field
          label="What"
          control={(attributes) => (
            <select {...attributes} value={target} onChange={(event) => choose(event.currentTarget.value)}>
              {Object.entries(TARGETS).map(([name, text]) => (
                <option key={name} value={name}>
                  {text}
                </option>
              ))}
            </select>
          )}
        />
        {target !== "all" && (
          <Field
            class="grow"
            label={TARGETS[target]}
            help={checked?.problem && `This cannot be purged: ${checked.problem}.`}
            control={(attributes) => (
              <input {...attributes} value={value} onInput={(event) => setTyped(event.currentTarget.value)} spellcheck={false} autocomplete="off" />
            )}
          />
        )}
        <fieldset class="choices">
          <legend>How</legend>
          <label class="choice">
            <input type="radio" name="how" checked={isSoft} onChange={() => setIsSoft(true)} /> Soft: stale, but served while it is refreshed
          </label>
          <label class="choice">
            <input type="radio" name="how" checked={!isSoft} onChange={() => setIsSoft(false)} /> Hard: not used any more
          </label>
        </fieldset>
      </div>
      <ConfirmedButton action={isSoft ? "Purge soft" : "Purge hard"} disabled={purging.isBusy || !isNamed || isRefused} onConfirm={purge}>
        <p>
          What is stored for <code>{named}</code> {effect}, everywhere within a few minutes.
        </p>
      </ConfirmedButton>
      <Failure error={purging.error} />
      {purging.result && (
        <Notice kind="good" role="status">
          Purged. This isolate knows it at once, others after a minute and twice CACHE_REFRESH at most.
        </Notice>
      )}
    </section>
  );
}

// When a key expires, as fields of a form, and as the options of a write.
import { useId } from "preact/hooks";
import { Field } from "../controls.jsx";
import { dateTime, fromNow } from "../format.js";
import { TTL_SECONDS_MIN, UNKNOWN_EXPIRATION } from "../kv.js";
import { expirationTooLate, ttlTooLong } from "./expiration.js";

const UNITS = [
  ["60", "minutes"],
  ["3600", "hours"],
  ["86400", "days"],
];

/**
 * Returns what the fields show for a stored expiration: seconds since the Unix epoch, `null` if
 * the key does not expire, `undefined` if that is unknown.
 */
export function expirationFields(seconds) {
  if (seconds === undefined) return { mode: "unknown", ...DEFAULTS };
  return seconds === null ? { mode: "never", ...DEFAULTS } : { mode: "at", ...DEFAULTS, at: localDateTime(seconds) };
}

const DEFAULTS = { amount: "1", unit: "86400", at: "" };

/** Returns a time as the value of a `datetime-local` control. */
function localDateTime(seconds) {
  const date = new Date(seconds * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/**
 * Returns `{ expiration }` or `{ expirationTtl }` for a write, neither for a key that does not
 * expire, or `{ problem }`. `fields` are `null` if nobody changed them: `stored` stays as it is
 * then, to the second, if it is far enough ahead.
 */
export function expirationOptions(fields, stored) {
  const { mode, amount, unit, at } = fields ?? { mode: stored === undefined ? "unknown" : stored === null ? "never" : "at" };
  if (mode === "unknown") return { problem: UNKNOWN_EXPIRATION };
  if (mode === "never") return {};
  const tooSoon = { problem: `The expiration must be at least ${TTL_SECONDS_MIN} seconds from now.` };
  if (mode === "in") {
    const expirationTtl = Math.round(Number(amount) * Number(unit));
    const tooLong = ttlTooLong(expirationTtl);
    if (tooLong) return { problem: tooLong };
    return expirationTtl >= TTL_SECONDS_MIN ? { expirationTtl } : tooSoon;
  }
  if (fields !== null && at === "") return { problem: "Choose a date and a time." };
  const expiration = fields === null ? stored : Math.floor(new Date(at).getTime() / 1000);
  const tooLate = expirationTooLate(expiration);
  if (tooLate) return { problem: tooLate };
  return expiration >= Date.now() / 1000 + TTL_SECONDS_MIN ? { expiration } : tooSoon;
}

/**
 * When a key expires: never, after a time, or at a time. `stored` is what KV has now, and
 * `problem` says what is wrong with the fields, if anything is.
 */
export function ExpirationField({ fields, stored, problem, disabled, onChange }) {
  const id = useId();
  const set = (name) => (event) => onChange({ ...fields, [name]: event.currentTarget.value });
  return (
    <div class="row">
      <Field
        label="Expires"
        control={(attributes) => (
          <select {...attributes} aria-describedby={typeof stored === "number" ? id : undefined} disabled={disabled} value={fields.mode} onChange={set("mode")}>
            {stored === undefined && <option value="unknown">unknown</option>}
            <option value="never">never</option>
            <option value="in">in</option>
            <option value="at">at</option>
          </select>
        )}
      />
      {fields.mode === "in" && (
        <>
          <Field
            label="Amount"
            help={problem}
            control={(attributes) => (
              <input {...attributes} type="number" min="1" step="any" disabled={disabled} value={fields.amount} onInput={set("amount")} />
            )}
          />
          <Field
            label="Unit"
            control={(attributes) => (
              <select {...attributes} disabled={disabled} value={fields.unit} onChange={set("unit")}>
                {UNITS.map(([seconds, name]) => (
                  <option key={seconds} value={seconds}>
                    {name}
                  </option>
                ))}
              </select>
            )}
          />
        </>
      )}
      {fields.mode === "at" && (
        <Field
          label="Date and time"
          help={problem}
          control={(attributes) => <input {...attributes} type="datetime-local" step="1" disabled={disabled} value={fields.at} onInput={set("at")} />}
        />
      )}
      {typeof stored === "number" && (
        <p class="help" id={id}>
          Stored: {fromNow(stored)} ({dateTime(stored)})
        </p>
      )}
    </div>
  );
}

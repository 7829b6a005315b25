// The timeline of a run of writes: a row for each write, a mark at the end of each put.
import { milliseconds } from "./format.js";

const ROW_PX = 16;
const AXIS_PX = 22;
const STEPS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000];
/** More figures would touch each other on a telephone. */
const INTERVALS_MAX = 6;

const LEGEND = {
  accepted: "put, accepted by KV",
  refused: "put, refused",
  failed: "failed: no more tries",
  superseded: "superseded by a later write",
  stored: "stored, will be put",
};

/**
 * Draws `attempts` as the page of `/writes` has them: `{ attempt, outcome, startedMs, endedMs,
 * puts, error }`.
 */
export function Timeline({ attempts, elapsedMs }) {
  const spanMs = Math.max(1, elapsedMs, ...attempts.flatMap(({ endedMs, puts }) => [endedMs, ...puts.map((put) => put.endedMs)]));
  const x = (ms) => `${((ms * 100) / spanMs).toFixed(2)}%`;
  const stepMs = STEPS_MS.find((step) => step * INTERVALS_MAX >= spanMs) ?? spanMs;
  const ticks = Array.from({ length: Math.floor(spanMs / stepMs) + 1 }, (_, index) => index * stepMs);
  const height = AXIS_PX + ROW_PX * attempts.length;
  const kinds = new Set(attempts.flatMap(({ outcome, puts }) => [...puts.map((put) => (put.taken ? "accepted" : "refused")), outcome]));
  const summary = ["accepted", "superseded", "stored", "failed"].map((outcome) => [outcome, attempts.filter((one) => one.outcome === outcome).length]);
  const label = `Timeline of ${attempts.length} writes, from 0 to ${milliseconds(spanMs)}: ${summary
    .filter(([, count]) => count)
    .map(([outcome, count]) => `${count} ${outcome}`)
    .join(", ")}`;
  return (
    <figure class="timeline">
      <ul class="legend">
        {Object.entries(LEGEND)
          .filter(([kind]) => kinds.has(kind))
          .map(([kind, text]) => (
            <li key={kind}>
              <svg class="mark" aria-hidden="true" viewBox="-7 -7 14 14">
                <Mark kind={kind} />
              </svg>
              {text}
            </li>
          ))}
      </ul>
      <svg class="timeline-run" role="img" aria-label={label} height={height}>
        {ticks.map((ms) => (
          <g key={ms} class="axis">
            <line x1={x(ms)} x2={x(ms)} y1={AXIS_PX - 4} y2={height} />
            <text x={x(ms)} y={12}>
              {milliseconds(ms)}
            </text>
          </g>
        ))}
        {attempts.map((one, index) => (
          <Row key={one.attempt} {...one} x={x} y={AXIS_PX + ROW_PX * (index + 0.5)} />
        ))}
      </svg>
    </figure>
  );
}

function Row({ attempt, outcome, startedMs, endedMs, puts, error, x, y }) {
  const isPut = outcome === "accepted" || outcome === "failed";
  return (
    <g class={outcome}>
      <title>{`Write ${attempt}: ${outcome} at ${milliseconds(endedMs)}${error ? `. ${error.message}` : ""}`}</title>
      <text class="row-number" x={-12} y={y + 4}>
        {attempt}
      </text>
      <line class={isPut ? "wait" : "without-put"} x1={x(startedMs)} x2={x(endedMs)} y1={y} y2={y} />
      {puts.map((put, number) => (
        <line key={number} class="under-way" x1={x(put.startedMs)} x2={x(put.endedMs)} y1={y} y2={y} />
      ))}
      {puts.map((put, number) => (
        <svg key={number} class="at" x={x(put.endedMs)} y={y}>
          <title>{`Put ${number + 1}: ${put.taken ? "accepted" : "refused"}, ${milliseconds(put.startedMs)} to ${milliseconds(put.endedMs)}`}</title>
          <Mark kind={put.taken ? "accepted" : "refused"} />
        </svg>
      ))}
      {outcome !== "accepted" && (
        <svg class="at" x={x(endedMs)} y={y}>
          <title>{outcome}</title>
          <Mark kind={outcome} />
        </svg>
      )}
    </g>
  );
}

function Mark({ kind }) {
  if (kind === "accepted") return <circle class="accepted" r="4.5" />;
  if (kind === "refused") return <path class="refused" d="M-4-4 4 4M4-4-4 4" />;
  if (kind === "failed") return <path class="refused" d="M0-6V6" />;
  return <circle class="not-put" r="3.5" />;
}

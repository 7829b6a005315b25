// A chart over time on uPlot. uPlot's stylesheet goes into that of the bundle, and uPlot itself
// sets properties of elements alone, so the page's policy need not allow inline styles.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { COLOR_COUNT } from "./shares.jsx";
import { Table } from "./table.jsx";

const HEIGHT_PX = 180;

/**
 * Draws `series`, `[{ label, values }]`, at `times` (seconds since the Unix epoch). `format` turns
 * a value into text. The legend has the values at the pointer, else the last ones; a table has
 * all.
 */
export function Chart({ label, times, series, format = roundedTo3Digits }) {
  const host = useRef();
  const plot = useRef();
  const [index, setIndex] = useState(null);
  const [isTableShown, setTableShown] = useState(false);
  const latest = useRef();
  latest.current = { times, series, format };

  const labels = JSON.stringify(series.map((one) => one.label));
  const hasPoints = times.length > 0;
  useEffect(() => {
    if (!hasPoints) return;
    const element = host.current;
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(element, latest.current, setIndex), dataOf(latest.current), element);
    };
    draw();
    const observer = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT_PX }));
    observer.observe(element);
    scheme.addEventListener("change", draw);
    return () => {
      observer.disconnect();
      scheme.removeEventListener("change", draw);
      plot.current.destroy();
      plot.current = undefined;
    };
  }, [labels, hasPoints]);

  useEffect(() => plot.current?.setData(dataOf(latest.current)), [times, series]);

  // The table of a day has 1,440 rows: a move of the pointer must not render them again.
  const table = useMemo(
    () =>
      isTableShown && (
        <Table
          label={`${label} as a table`}
          columns={columnsOf(series, format)}
          rows={times.map((time, row) => ({ time, row })).reverse()}
          keyOf={({ time }) => time}
        />
      ),
    [isTableShown, label, times, series, format],
  );

  const shown = index ?? times.length - 1;
  return (
    <figure class="chart">
      <figcaption>
        <strong>{label}</strong>
        {hasPoints && <time class="help">{localTime(times[shown] ?? times.at(-1))}</time>}
      </figcaption>
      {hasPoints ? (
        <>
          <div ref={host} class="chart-canvas" role="img" aria-label={`${label}, a line for each of: ${series.map((one) => one.label).join(", ")}`} />
          <ul class="legend">
            {series.map((one, number) => (
              <li key={one.label}>
                <span class={`swatch color-${number % COLOR_COUNT}`} aria-hidden="true" />
                {one.label} <output>{formatted(one.values[shown], format)}</output>
              </li>
            ))}
          </ul>
          <details onToggle={(event) => setTableShown(event.currentTarget.open)}>
            <summary>As a table</summary>
            {table}
          </details>
        </>
      ) : (
        <p class="help">No data yet.</p>
      )}
    </figure>
  );
}

const columnsOf = (series, format) => [
  { name: "Time", cell: ({ time }) => localTime(time) },
  ...series.map(({ label, values }) => ({ name: label, isNumber: true, cell: ({ row }) => formatted(values[row], format) })),
];

const dataOf = ({ times, series }) => [times, ...series.map((one) => one.values)];

const formatted = (value, format) => (value === null || value === undefined ? "–" : format(value));

/** The largest distance of two ticks that are told apart by their hour and minute, in seconds. */
const TIME_TICK_DISTANCE_MAX_SECONDS = 43_200;

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const DAY_AND_TIME = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

const localTime = (seconds) => DAY_AND_TIME.format(seconds * 1000);

/** Returns the indices of values without a neighbour, which no line shows. */
function isolatedPoints({ data }, number) {
  const values = data[number];
  const isAbsent = (index) => (values[index] ?? null) === null;
  return values.map((_, index) => index).filter((index) => !isAbsent(index) && isAbsent(index - 1) && isAbsent(index + 1));
}

function timeTicks(_plot, ticks, _axis, _space, distance) {
  const format = distance > TIME_TICK_DISTANCE_MAX_SECONDS ? DAY : TIME;
  return ticks.map((seconds) => format.format(seconds * 1000));
}

function roundedTo3Digits(value) {
  return Number(value.toPrecision(3)).toLocaleString("en");
}

function options(host, { series, format }, setIndex) {
  const color = (name) => getComputedStyle(host).getPropertyValue(name).trim();
  const axis = { stroke: color("--muted"), grid: { stroke: color("--chart-grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width: host.clientWidth,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.1 : 1] } },
    axes: [
      { ...axis, values: timeTicks, size: 26 },
      { ...axis, size: 64, values: (_plot, ticks) => ticks.map(format) },
    ],
    series: [
      {},
      ...series.map((one, number) => ({
        label: one.label,
        stroke: color(`--color-${number % COLOR_COUNT}`),
        width: 1.5,
        spanGaps: false,
        points: { size: 4, filter: isolatedPoints },
      })),
    ],
    hooks: { setCursor: [(plot) => setIndex(plot.cursor.idx ?? null)] },
  };
}

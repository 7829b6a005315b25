// The panel "Metrics": requests, the share of values that came from memory, errors, operations of
// KV and their cost, calls to Durable Objects and upstreams.
import { useEffect, useState } from "preact/hooks";
import { Chart } from "../chart.jsx";
import { Field } from "../controls.jsx";
import { Figures } from "../figures.jsx";
import { dollars, milliseconds, number, percent } from "../format.js";
import { Failure, Notice } from "../outcome.jsx";
import { useLatest } from "../requests.js";
import { call } from "../session.js";
import { Table } from "../table.jsx";

/** Isolates hand over their counts every ten seconds. */
const HAND_OVER_MS = 10_000;

/** The ranges that can be chosen: the resolution that has each, and its length in seconds. */
const RANGES = {
  hour: { label: "Last hour", resolution: "minute", period: 3600 },
  day: { label: "Last day", resolution: "minute", period: 86_400 },
  month: { label: "Last 31 days", resolution: "hour", period: 2_678_400 },
};

/** The most routes with a line in the chart of requests. More cannot be told apart. */
const ROUTES_CHARTED = 5;

export const MetricsPanel = ({ session }) => (
  <div class="stack">
    <h1>Metrics</h1>
    {session.metrics ? <CountedMetrics /> : <MetricsAreOff />}
  </div>
);

function CountedMetrics() {
  const [name, setName] = useState("hour");
  const range = RANGES[name];
  const load = async () => ({ range, report: await call(`/console/api/metrics?resolution=${range.resolution}&period=${range.period}`) });
  const { result, error, again } = useLatest(load, [name]);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || again(), HAND_OVER_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <>
      <div class="row controls">
        <Field
          label="Range"
          control={(attributes) => (
            <select {...attributes} value={name} onChange={(event) => setName(event.currentTarget.value)}>
              {Object.entries(RANGES).map(([id, { label }]) => (
                <option key={id} value={id}>
                  {label}
                </option>
              ))}
            </select>
          )}
        />
        <button type="button" onClick={again}>
          Refresh
        </button>
      </div>
      <Failure error={error} />
      {result?.range === range ? <Metrics report={result.report} range={range} /> : !error && <p class="help">Loading…</p>}
      <p class="help">
        Each isolate hands its counts over every ten seconds. If an isolate is evicted, its counts since the last successful hand-over are lost, so these
        figures may be too low, never too high. The charts end with the newest {range.resolution} that is over and handed over; the figures and the table count
        the present one, too.
      </p>
    </>
  );
}

const MetricsAreOff = () => (
  <Notice>
    <p>
      <strong>Metrics are off.</strong> With the var <code>METRICS = "on"</code>, each isolate counts requests and operations per route, and one Durable Object
      keeps minutes for a day and hours for 31 days.
    </p>
  </Notice>
);

/**
 * Returns the times of the minutes or hours of a period that are over and handed over, and for
 * each its counts by route. A part of one would look like a decline.
 */
function gridOf({ points, seconds }, period) {
  const known = new Map(points.map(({ time, routes }) => [Date.parse(time) / 1000, routes]));
  const end = Math.floor((Date.now() - HAND_OVER_MS) / 1000 / seconds) * seconds;
  // One fewer than the period has: if the end is a step back, the report must still have the
  // first.
  const count = period / seconds - 1;
  const times = Array.from({ length: count }, (_, index) => end - (count - index) * seconds);
  return { times, routes: times.map((time) => known.get(time) ?? {}) };
}

const sumOf = (counts, amount) => counts.reduce((sum, one) => sum + amount(one), 0);
const errorsOf = (counts, first) => sumOf(Object.entries(counts.statuses), ([status, count]) => (status[0] === first ? count : 0));
const operationsOf = (counts) => counts.reads + counts.writes + counts.deletes + counts.lists;
const shareOf = (part, rest) => (part + rest > 0 ? part / (part + rest) : null);

function Metrics({ report, range }) {
  const { times, routes } = gridOf(report, range.period);
  const { points, seconds, prices } = report;
  const series = (label, amount) => ({ label, values: routes.map((of) => sumOf(Object.values(of), amount)) });
  const all = points.flatMap((point) => Object.values(point.routes));
  const byRoute = countsByRoute(points);
  const busiest = byRoute.slice(0, ROUTES_CHARTED).map(({ route }) => route);
  const rate = (label, includes) => ({
    label,
    values: routes.map((of) => sumOf(Object.entries(of), ([route, { requests }]) => (includes(route) ? requests : 0)) / seconds),
  });
  const rates = busiest.map((route) => rate(route, (other) => other === route));
  if (byRoute.length > ROUTES_CHARTED) rates.push(rate("other routes", (route) => !busiest.includes(route)));

  const requests = sumOf(all, (one) => one.requests);
  const failed = sumOf(all, (one) => errorsOf(one, "5"));
  const figures = [
    ["requests", number(requests)],
    ["5xx", percent(shareOf(failed, requests - failed))],
    ["hit ratio", percent(hitRatioOf(all))],
    ["KV operations", number(sumOf(all, operationsOf))],
    ["cost of KV", dollars(sumOf(all, (one) => one.costDollars))],
    ["mean time", meanTimeOf(all, requests)],
  ];
  const per = seconds === 60 ? "a minute" : "an hour";
  return (
    <>
      <Figures figures={figures} />
      <div class="charts">
        <Chart label="Requests a second, by route" times={times} series={rates} />
        <Chart
          label="Hit ratio: values and lists from memory"
          times={times}
          series={[{ label: "of all that were needed", values: routes.map((of) => hitRatioOf(Object.values(of))) }]}
          format={percent}
        />
        <Chart label={`Errors ${per}`} times={times} series={[series("4xx", (one) => errorsOf(one, "4")), series("5xx", (one) => errorsOf(one, "5"))]} />
        <Chart
          label={`KV operations ${per}`}
          times={times}
          series={[
            series("reads", (one) => one.reads),
            series("writes", (one) => one.writes),
            series("deletes", (one) => one.deletes),
            series("lists", (one) => one.lists),
          ]}
        />
        <Chart label={`Cost of KV ${per}`} times={times} series={[series("by the price list", (one) => one.costDollars)]} format={dollars} />
        <Chart
          label={`Other calls ${per}`}
          times={times}
          series={[series("Durable Objects", (one) => one.objectCalls), series("upstreams", (one) => one.upstreamCalls)]}
        />
      </div>
      <RouteTable byRoute={byRoute} />
      <p class="help">
        Cost by the price list of {prices.asOf}, per million: keys read ${prices.keysRead}, writes ${prices.writes}, deletes ${prices.deletes}, lists $
        {prices.lists}. What a plan includes is not subtracted.
      </p>
    </>
  );
}

const meanTimeOf = (counts, requests) => (requests > 0 ? milliseconds(sumOf(counts, (one) => one.milliseconds) / requests) : "–");

/** Of all values and lists that were needed, the share that was in memory. */
const hitRatioOf = (counts) =>
  shareOf(
    sumOf(counts, (one) => one.memoryHits),
    sumOf(counts, (one) => one.keysRead + one.lists),
  );

/**
 * Returns each route with its `counts`, one of each point, and its `requests`, the busiest first.
 */
function countsByRoute(points) {
  const names = new Set(points.flatMap(({ routes }) => Object.keys(routes)));
  return [...names]
    .map((route) => ({ route, counts: points.flatMap(({ routes }) => routes[route] ?? []) }))
    .map(({ route, counts }) => ({ route, counts, requests: sumOf(counts, (one) => one.requests) }))
    .toSorted((a, b) => b.requests - a.requests);
}

const column = (name, cell) => ({ name, cell, isNumber: true });
const total =
  (amount) =>
  ({ counts }) =>
    number(sumOf(counts, amount));

const COLUMNS = [
  { name: "Route", cell: ({ route }) => <code>{route}</code> },
  column("Requests", ({ requests }) => number(requests)),
  column(
    "4xx",
    total((one) => errorsOf(one, "4")),
  ),
  column(
    "5xx",
    total((one) => errorsOf(one, "5")),
  ),
  column("Mean time", ({ requests, counts }) => meanTimeOf(counts, requests)),
  column("Hit ratio", ({ counts }) => percent(hitRatioOf(counts))),
  column(
    "KV reads",
    total((one) => one.reads),
  ),
  column(
    "Writes",
    total((one) => one.writes),
  ),
  column(
    "Deletes",
    total((one) => one.deletes),
  ),
  column(
    "Lists",
    total((one) => one.lists),
  ),
  column("Cost", ({ counts }) => dollars(sumOf(counts, (one) => one.costDollars))),
];

const RouteTable = ({ byRoute }) => (
  <section class="panel" aria-label="Routes">
    <h2>Routes</h2>
    {byRoute.length === 0 ? (
      <p class="empty">Nothing was counted in this time.</p>
    ) : (
      <Table label="Counts of each route" columns={COLUMNS} rows={byRoute} keyOf={({ route }) => route} />
    )}
  </section>
);

// The timeline of a run of writes: a row for each write, and a mark at the end of each put. Times
// are percentages of the width, everything else is in pixels, so text and marks have the same size
// on every screen. The page of a run and the console draw it. A change needs a new hash in
// `POLICY` of page.rs and in static/_headers; the tests print it.

const ROW = 18;
// The height of the time axis above the rows. If there are many rows, another is below them.
const AXIS = 28;
const ROWS_WITH_ONE_AXIS = 25;
// The shortest bar of a put or a wait that is drawn, in percent of the width. Its mark hides a
// shorter one.
const BAR_MIN = 0.5;
// More labels would overlap on a phone.
const INTERVALS_MAX = 6;
const STEPS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000];

const SHAPES = {
  accepted: ["circle", { r: 5 }],
  refused: ["path", { d: "M-4-4 4 4M4-4-4 4" }],
  "not-put": ["circle", { r: 4 }],
  "gave-up": ["path", { d: "M9-6v12" }],
};
/** The entries of the legend: the selector of what each explains, its line, mark and text. */
const LEGEND = [
  ["use.accepted", null, "accepted", "put, accepted by KV"],
  ["use.refused", null, "refused", "put, refused or without a response"],
  [".under-way", "under-way", null, "put under way"],
  [".wait", "wait", null, "waiting"],
  ["use.gave-up", "wait", "gave-up", "failed: no more tries"],
  [".superseded>.not-put", "without-put", "not-put", "superseded: a later write took its place"],
  [".stored>.not-put", "without-put", "not-put", "stored: will be put"],
];

const duration = (ms) => (ms < 1000 ? `${ms} ms` : `${(Math.floor(ms / 10) / 100).toFixed(2)} s`);

function element(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) node.setAttribute(attribute, value);
  node.append(...children);
  return node;
}

/** Returns the legend, with entries only for what the run shows. */
function legendOf(run) {
  const list = document.createElement("ul");
  list.className = "legend";
  for (const [selector, line, mark, text] of LEGEND) {
    if (!run.querySelector(selector)) continue;
    const sample = element("svg", { "aria-hidden": true });
    if (line) sample.append(element("line", { class: line, x1: 2, x2: 23 }));
    if (mark) sample.append(element("use", { class: mark, href: `#${mark}`, x: 13 }));
    const entry = document.createElement("li");
    entry.append(sample, text);
    list.append(entry);
  }
  return list;
}

/** Draws a run, given as the JSON in its page, into an element of the class `timeline`. */
export function drawTimeline(picture, { attempts, elapsedMs }) {
  const spanMs = Math.max(1, elapsedMs, ...attempts.flatMap(({ endedMs, puts }) => [endedMs, ...puts.map((put) => put.endedMs)]));
  const width = (ms) => Math.floor((ms * 10_000) / spanMs) / 100;
  const percent = (ms) => `${width(ms).toFixed(2)}%`;
  const bar = (kind, fromMs, toMs) => element("line", { class: kind, x1: percent(fromMs), x2: percent(toMs) });
  const mark = (kind, atMs, ...title) => element("use", { class: kind, href: `#${kind}`, x: percent(atMs) }, ...title);

  const row = ({ attempt, outcome, error, startedMs, endedMs, puts }, index) => {
    const message = error ? `. ${error.message}` : "";
    const group = element(
      "g",
      { class: outcome, transform: `translate(0 ${AXIS + ROW * (index + 0.5)})` },
      element("title", {}, `Write ${attempt}: ${outcome} at ${duration(endedMs)}${message}`),
      element("line", { class: "row", x1: -112, x2: "100%" }),
      element("text", { class: "number", x: -84, y: 4 }, attempt),
      element("text", { class: "word", x: -78, y: 4 }, outcome),
    );
    const widthOf = (put) => width(put.endedMs) - width(put.startedMs);
    const isPut = outcome === "accepted" || outcome === "failed";
    const underWay = puts.reduce((sum, put) => sum + widthOf(put), 0);
    if (!isPut) group.append(bar("without-put", startedMs, endedMs));
    else if (width(endedMs) - width(startedMs) - underWay >= BAR_MIN) group.append(bar("wait", startedMs, endedMs));
    group.append(...puts.filter((put) => widthOf(put) >= BAR_MIN).map((put) => bar("under-way", put.startedMs, put.endedMs)));
    for (const [number, put] of puts.entries()) {
      const kind = put.taken ? "accepted" : "refused";
      const title = `Put ${number + 1}: ${kind}, ${duration(put.startedMs)} to ${duration(put.endedMs)}`;
      group.append(mark(kind, put.endedMs, element("title", {}, title)));
    }
    if (outcome !== "accepted") group.append(mark(isPut ? "gave-up" : "not-put", endedMs));
    return group;
  };

  const axis = (rowsEnd, height) => {
    const stepMs = STEPS_MS.find((step) => step * INTERVALS_MAX >= spanMs) ?? spanMs;
    const [unit, unitMs] = spanMs < 1000 ? ["ms", 1] : ["s", 1000];
    const group = element("g", { class: "axis" });
    for (let ms = 0; ms <= spanMs; ms += stepMs) {
      const x = percent(ms);
      // The last one names the unit.
      const label = ms + stepMs > spanMs ? `${ms / unitMs} ${unit}` : `${ms / unitMs}`;
      group.append(element("line", { x1: x, x2: x, y1: 22, y2: rowsEnd }), element("text", { x, y: 16 }, label));
      if (height > rowsEnd) group.append(element("text", { x, y: height - 10 }, label));
    }
    return group;
  };

  const rowsEnd = AXIS + ROW * attempts.length;
  const height = attempts.length > ROWS_WITH_ONE_AXIS ? rowsEnd + AXIS : rowsEnd;
  const count = (outcome) => attempts.filter((write) => write.outcome === outcome).length;
  const counts = ["accepted", "superseded", "stored", "failed"].filter(count).map((outcome) => ` ${count(outcome)} ${outcome}.`);
  const run = element(
    "svg",
    { class: "run", role: "img", "aria-labelledby": "run-title run-desc", height },
    element("title", { id: "run-title" }, "Timeline of the run"),
    element("desc", { id: "run-desc" }, `A row for each write, from 0 to ${duration(spanMs)}.${counts.join("")}`),
    element("defs", {}, ...Object.entries(SHAPES).map(([id, [name, attributes]]) => element(name, { id, ...attributes }))),
    axis(rowsEnd, height),
    ...attempts.map(row),
  );
  picture.replaceChildren(legendOf(run), run);
}

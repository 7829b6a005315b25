// The panel of concurrent writes: the same writes with each strategy at once, side by side.
import { duration, responseArea, send, textOf } from "./exchange.js";

const STRATEGIES = ["direct", "backoff", "coalesce"];
/** The demo gives keys with this prefix KV's limit of one write a second; see demo/entry.mjs. */
const LIMITED = "limited-";
const TICK_MS = 100;

const panel = document.getElementById("writes");
const form = panel.querySelector("[data-compare]");
const button = form.querySelector("button");
const area = responseArea(panel);

const table = document.getElementById("comparison").content.firstElementChild.cloneNode(true);
table.hidden = true;
panel.querySelector(".outcome").after(table);

/** Returns the cells of a strategy: those of its counts by name, and its button. */
function columnOf(strategy) {
  const index = STRATEGIES.indexOf(strategy) + 1;
  const cells = [...table.querySelectorAll("[data-row]")].map((row) => [row.dataset.row, row.cells[index]]);
  const show = table.tBodies[0].lastElementChild.cells[index].firstElementChild;
  show.ariaLabel = `Show the exchange of ${strategy}`;
  return { ...Object.fromEntries(cells), show };
}

const columns = Object.fromEntries(STRATEGIES.map((strategy) => [strategy, columnOf(strategy)]));

/** Each strategy has a key of its own, so that none meets the limit for the puts of another. */
function requestOf(strategy) {
  const { key, n, limited } = form.elements;
  const name = `${limited.checked ? LIMITED : ""}${key.value}-${strategy}`;
  const authorization = `Bearer ${panel.querySelector("[name=token]").value}`;
  // With text/html the response is a page with the run as a timeline, and the report in it.
  const headers = { Authorization: authorization, Accept: "text/html" };
  return { method: "POST", path: `/writes/${encodeURIComponent(name)}?n=${n.value}&strategy=${strategy}`, headers };
}

/** Returns the counts of a run, out of the report in its page. Throws if there is no report. */
function countsOf(response) {
  const report = new DOMParser().parseFromString(textOf(response.bytes), "text/html").getElementById("report");
  if (report === null) throw new Error(`${response.status} ${textOf(response.bytes)}`);
  const { attempts, elapsedMs } = JSON.parse(report.textContent);
  const acknowledged = attempts.filter(({ success }) => success).length;
  return { acknowledged, lost: attempts.length - acknowledged, puts: attempts.reduce((sum, { tries }) => sum + tries, 0), elapsedMs };
}

/** Makes the run of a strategy and fills its column meanwhile. Returns its counts. */
async function run(strategy) {
  const { acknowledged, lost, puts, elapsed, show } = columns[strategy];
  const fill = (counts) => {
    acknowledged.textContent = counts.acknowledged;
    lost.textContent = counts.lost;
    lost.className = counts.lost > 0 ? "bad" : "good";
    puts.textContent = counts.puts;
    elapsed.textContent = duration(counts.elapsedMs);
  };
  const started = performance.now();
  const tick = () => fill({ acknowledged: "…", lost: "…", puts: "…", elapsedMs: performance.now() - started });
  const timer = setInterval(tick, TICK_MS);
  tick();
  show.disabled = true;
  try {
    const request = requestOf(strategy);
    const response = await send(request);
    show.disabled = false;
    show.onclick = () => select(strategy, request, response);
    const counts = countsOf(response);
    fill(counts);
    return counts;
  } catch (error) {
    fill({ acknowledged: "–", lost: "–", puts: "–", elapsedMs: performance.now() - started });
    throw error;
  } finally {
    clearInterval(timer);
  }
}

function select(strategy, request, response) {
  for (const [other, { show }] of Object.entries(columns)) show.ariaPressed = String(other === strategy);
  area.show(request, response);
}

/** Returns the outcome of all strategies in words. */
function sentence(outcomes) {
  const words = outcomes.map(({ lost, puts, elapsedMs }, index) => {
    const putCount = `${puts} ${puts === 1 ? "put" : "puts"}`;
    return `${STRATEGIES[index]} lost ${lost === 0 ? "none" : lost} in ${duration(elapsedMs)} with ${putCount}`;
  });
  return `Of ${form.elements.n.value} writes, ${words.join("; ")}.`;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  table.hidden = false;
  button.disabled = true;
  panel.ariaBusy = "true";
  area.say("Writing …");
  const isLimited = form.elements.limited.checked && form.elements.n.value > 1;
  try {
    const outcomes = await Promise.all(STRATEGIES.map(run));
    columns.coalesce.show.click();
    const withoutLimit = isLimited && outcomes[0].lost === 0 ? " This server has no such limit: `npm start` serves the one that has." : "";
    area.say(sentence(outcomes) + withoutLimit);
  } catch (error) {
    area.say(`Not all were written: ${error.message}`);
  }
  button.disabled = false;
  panel.ariaBusy = "false";
});

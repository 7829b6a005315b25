// The panels of the demo page: each button sends the request of its attributes, and the panel
// shows it with its response. writes.js has the panel of concurrent writes.
import { responseArea, send, summary } from "./exchange.js";

/** The `ETag` that a path had last. */
const etags = new Map();

/**
 * Returns the request of a button.
 *
 * - `data-send` is its method and path, `data-json` its body.
 * - `data-token` sends the token, `data-range` a `Range`.
 * - `data-revalidate` sends the `ETag` that the path had last.
 * - `data-visitors` sends it so many times, without cookies.
 */
async function requestOf({ dataset, form }) {
  const [method, path] = dataset.send.split(" ");
  const headers = {};
  const language = form?.elements.language?.value;
  if (language) headers["Accept-Language"] = language;
  if (dataset.json) headers["Content-Type"] = "application/json";
  if ("token" in dataset) headers.Authorization = `Bearer ${document.querySelector("[name=token]").value}`;
  if (dataset.range) headers.Range = dataset.range;
  if ("revalidate" in dataset) headers["If-None-Match"] = etags.get(path) ?? (await send({ method: "HEAD", path })).headers.get("etag");
  return { method, path, headers, body: dataset.json, credentials: dataset.visitors ? "omit" : undefined };
}

/** Returns the request that evaluates the flags of the form. */
function flagsRequest(form) {
  const { flag, ...context } = Object.fromEntries(new FormData(form));
  const path = `/ofrep/v1/evaluate/flags${flag && `/${flag}`}`;
  return { method: "POST", path, headers: { "Content-Type": "application/json" }, body: JSON.stringify({ context }) };
}

/** Sends a request so many times. Returns the last response, and a sentence about all of them. */
async function sendAll(request, visitors) {
  const responses = await Promise.all(Array.from({ length: visitors }, () => send(request)));
  if (visitors === 1) return { response: responses[0], sentence: "" };
  const variants = Map.groupBy(responses, ({ headers }) => headers.get("x-variant") ?? "none");
  const counts = [...variants].sort(([, a], [, b]) => b.length - a.length).map(([name, { length }]) => `${length} ${name}`);
  return { response: responses.at(-1), sentence: `${visitors} visitors: ${counts.join(", ")}. The last one: ` };
}

for (const panel of document.querySelectorAll(".panel:not(#writes)")) {
  const area = responseArea(panel);
  let latest;

  /** Sends a request and shows its response, unless another one was sent meanwhile. */
  const exchange = async (making, visitors = 1) => {
    const thisExchange = Symbol();
    latest = thisExchange;
    panel.ariaBusy = "true";
    try {
      const request = await making;
      const { response, sentence } = await sendAll(request, visitors);
      if (response.headers.has("etag")) etags.set(request.path, response.headers.get("etag"));
      if (latest !== thisExchange) return;
      area.say(sentence, ...summary(response));
      area.show(request, response);
    } catch (error) {
      if (latest !== thisExchange) return;
      area.say(`No response: ${error.message}`);
      area.show();
    }
    panel.ariaBusy = "false";
  };

  panel.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-send]");
    if (button) exchange(requestOf(button), Number(button.dataset.visitors ?? 1));
  });
  panel.addEventListener("submit", (event) => {
    event.preventDefault();
    if ("flags" in event.target.dataset) exchange(flagsRequest(event.target));
  });
}

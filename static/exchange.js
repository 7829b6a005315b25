// Requests of the demo page, and how a panel shows them with their responses.

/** Sends a request. Returns the response with its whole body and how many milliseconds it took. */
export async function send({ method = "GET", path, headers = {}, body, credentials }) {
  const started = performance.now();
  const response = await fetch(path, { method, headers, body, credentials });
  const bytes = new Uint8Array(await response.arrayBuffer());
  const { status, statusText, redirected, url } = response;
  const type = response.headers.get("content-type") ?? "";
  return {
    status,
    statusText,
    redirectedTo: redirected ? new URL(url).pathname + new URL(url).search : "",
    type,
    headers: response.headers,
    bytes,
    ms: performance.now() - started,
  };
}

/** Returns the bytes as text, or undefined if they are not UTF-8. */
export function textOf(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

export const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** Returns an element with these properties and children. */
export function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

/** Adds the place for the responses to a panel, and returns functions that fill it. */
export function responseArea(panel) {
  panel.append(document.getElementById("response").content.cloneNode(true));
  const outcome = panel.querySelector(".outcome");
  const exchange = panel.querySelector(".exchange");
  const telling = panel.dataset.fields.split(" ");
  return {
    /** Sets what a screen reader says, and scrolls to it if it is below the window. */
    say(...what) {
      outcome.replaceChildren(...what);
      if (outcome.getBoundingClientRect().bottom > innerHeight) outcome.scrollIntoView({ block: "center" });
    },
    /** Shows a request and its response; nothing without them. */
    show: (request, response) => exchange.replaceChildren(...(response ? [...shownRequest(request), ...shownResponse(request, response, telling)] : [])),
  };
}

/** Returns the status and the time of a response as a sentence, the status highlighted. */
export const summary = ({ status, statusText, redirectedTo, ms }) => [
  element("b", { className: status < 400 ? "good" : "bad" }, `${status} ${statusText}`.trim()),
  ` in ${duration(ms)}${redirectedTo && `, redirected to ${redirectedTo}`}`,
];

function shownRequest({ method = "GET", path, headers = {}, body }) {
  const fields = Object.entries(headers).map(([name, value]) => `\n${name}: ${value}`);
  return [element("pre", { className: "request" }, element("b", {}, method), ` ${path}`, ...fields, body ? `\n\n${body}` : "")];
}

function shownResponse(request, response, telling) {
  const present = telling.filter((name) => response.headers.has(name));
  const fields = element("dl", {}, ...present.flatMap((name) => [element("dt", {}, name), element("dd", {}, response.headers.get(name))]));
  const all = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  const details = element("details", {}, element("summary", {}, `All ${[...response.headers].length} header fields`), element("pre", {}, all));
  return [...(present.length > 0 ? [fields] : []), shownBody(request, response), details];
}

/**
 * Shows a page in a frame, JSON indented, a picture as such, and other bytes as text if they are
 * UTF-8, else the first 256 in hexadecimal.
 */
function shownBody({ path }, { status, type, bytes }) {
  if (bytes.length === 0) return element("p", { className: "hint" }, "No body");
  if (type.startsWith("image/") && status === 200) return element("img", { className: "body", src: path, alt: `The picture ${path}` });
  const text = textOf(bytes);
  if (text === undefined) return shownText([...bytes.subarray(0, 256)].map((byte) => byte.toString(16).padStart(2, "0")).join(" "));
  if (type.startsWith("text/html")) {
    const frame = element("iframe", { className: "body", title: `The page ${path}`, srcdoc: text });
    frame.setAttribute("sandbox", "allow-scripts");
    return frame;
  }
  return shownText(type.includes("json") ? indented(text) : text);
}

/** It scrolls, so the keyboard reaches it. */
function shownText(text) {
  const body = element("pre", { className: "body", tabIndex: 0 }, text);
  body.setAttribute("role", "region");
  body.setAttribute("aria-label", "Body");
  return body;
}

function indented(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

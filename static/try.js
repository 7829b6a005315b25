// Shows responses that a plain link cannot request: other languages, and a POST.
const dialog = document.querySelector("dialog");

async function show(path, init) {
  const output = dialog.querySelector("pre");
  // A new frame each time, because Chromium may leave one blank that was hidden.
  const before = dialog.querySelector("iframe");
  const page = before.cloneNode();
  page.hidden = true;
  page.removeAttribute("srcdoc");
  before.replaceWith(page);
  output.textContent = "…";
  dialog.showModal();
  try {
    const answer = await fetch(path, init);
    const headers = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    const body = await answer.text();
    page.hidden = !answer.headers.get("content-type")?.startsWith("text/html");
    if (!page.hidden) page.srcdoc = body;
    output.textContent = `${answer.status} ${answer.statusText}\n${headers}\n\n${page.hidden ? body : ""}`;
  } catch (error) {
    output.textContent = `No answer: ${error.message}`;
  }
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => show("/hello-world", { headers: { "accept-language": button.dataset.language } }));
}

document.querySelector("[data-writes]").addEventListener("submit", (event) => {
  event.preventDefault();
  const { key, n, strategy, token } = Object.fromEntries(new FormData(event.target));
  const path = `/writes/${encodeURIComponent(key)}?n=${n}&strategy=${strategy}`;
  // With text/html the response is a page with the timeline, without it JSON.
  show(path, { method: "POST", headers: { authorization: `Bearer ${token}`, accept: "text/html" } });
});

document.querySelector("[data-flags]").addEventListener("submit", (event) => {
  event.preventDefault();
  const { flag, ...context } = Object.fromEntries(new FormData(event.target));
  const path = `/ofrep/v1/evaluate/flags${flag && `/${encodeURIComponent(flag)}`}`;
  show(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ context }) });
});

// What the local demo stands in front of: an article page for /cache and two storefronts for /stores.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

export const ARTICLE_PORT = 8788;
export const STOREFRONTS = { storefrontA: 8789, storefrontB: 8790 };

/** Starts all of them on loopback; resolves when they listen, rejects when a port is taken. */
export async function startUpstreams() {
  await listen(ARTICLE_PORT, article);
  for (const [name, port] of Object.entries(STOREFRONTS)) await listen(port, (request, response) => echo(name, request, response));
}

function article(request, response) {
  const path = request.url.split("?")[0];
  if (path !== "/article") {
    response.writeHead(404, { "content-type": "text/html; charset=utf-8" });
    return response.end("<!DOCTYPE html><title>Not here</title><body>There is one page: /article</body>");
  }
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
  response.end(readFileSync(new URL("article.html", import.meta.url)));
}

/** Answers what arrived, as JSON. The body goes back piece by piece, as text where it is UTF-8, else as base64. */
async function echo(storefront, request, response) {
  const { method, url, headers } = request;
  response.writeHead(200, { "content-type": "application/json; charset=utf-8" });
  response.write(`${JSON.stringify({ storefront, method, url, headers }, null, 2).slice(0, -2)},\n  "body": [`);
  let bytes = 0;
  try {
    for await (const chunk of request) {
      response.write(`${bytes ? "," : ""}\n    ${JSON.stringify(piece(chunk))}`);
      bytes += chunk.length;
    }
    response.end(`${bytes ? "\n  " : ""}],\n  "bodyBytes": ${bytes}\n}\n`);
  } catch {
    response.destroy(); // the client went away
  }
}

function piece(chunk) {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(chunk) };
  } catch {
    return { base64: chunk.toString("base64") };
  }
}

function listen(port, handler) {
  return new Promise((resolve, reject) => {
    const server = createServer(handler).once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await startUpstreams();

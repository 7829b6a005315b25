// What the minimal Worker asks of JavaScript, each in one call.

export const head = (request) => `${request.headers.get("authorization") ?? ""}\n${request.url}`;

export const get = (namespace, key, kind) => namespace.get(key, kind);

export async function getStored(namespace, key) {
  const { value, metadata } = await namespace.getWithMetadata(key, "arrayBuffer");
  return value === null ? null : { value, fields: metadata.fields };
}

export function putInBackground(ctx, namespace, key, value, fields) {
  ctx.waitUntil(namespace.put(key, value, { expirationTtl: 60, metadata: { fields } }));
}

const fetchUrl = (url) => fetch(url);

export { fetchUrl as fetch };

/** Reads a page by the regular expressions of the documentation, as bench/baseline does. */
export async function readPage(response) {
  const html = await response.text();
  const [, title] = html.match(/<title>(.*?)<\/title>/i) ?? [];
  const text = html.replace(/<[^>]*>/g, " ").replace(/\s+/g, " ");
  return JSON.stringify({ title, content: text.trim(), lastUpdated: new Date().toISOString() });
}

export function fields(response) {
  let lines = "";
  for (const [name, value] of response.headers) lines += `${name}\n${value}\n`;
  return lines;
}

export function respond(body, lines) {
  const headers = new Headers();
  const parts = lines.split("\n");
  for (let at = 0; at < parts.length - 1; ) headers.append(parts[at++], parts[at++]);
  return new Response(body, { headers });
}

// What the minimal Worker asks of JavaScript, each in one call.

// js-sys then wakes futures by `Promise.then`, which costs less: see src/platform/executor.rs.
globalThis.queueMicrotask = undefined;

export const url = (request) => request.url;

export const authorization = (request) => request.headers.get("authorization") ?? "";

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

// Calls of the Worker to itself. The runtime makes a binding to the Worker's default export
// (`ctx.exports`), so none need be configured, and the first deploy has it.
import { exports } from "cloudflare:workers";

/**
 * Sends the same request with only these of its header fields, whose names are separated by
 * commas, and another body. Resolves to status and body of the response.
 */
export async function send({ method, url, headers: all }, names, body) {
  const headers = new Headers();
  for (const name of names.split(",")) if (all.has(name)) headers.set(name, all.get(name));
  const response = await exports.default.fetch(url, { method, headers, body });
  return [response.status, await response.text()];
}

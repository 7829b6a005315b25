// The Worker that `npm start` serves: the built one, with a limit of Workers KV that the local KV
// does not enforce. Workers KV accepts one write a second to a key and responds with 429 to the
// others. Here that holds for the keys of WRITES that begin with `limited-`, which the demo page
// uses if its switch is on. `/` is a page that waits, until the demo page is stored; nothing else
// changes. `npm run deploy` takes build/entry.js, so it never contains this file.
//
// https://developers.cloudflare.com/kv/platform/limits/
import { DurableObject } from "cloudflare:workers";
import worker, { KeyWriter as BuiltKeyWriter } from "../build/entry.js";

export { MetricsStore, NamespaceList } from "../build/entry.js";

const LIMITED = "limited-";
const INTERVAL_MS = 1000;

/** When each limited key was last put. The Worker and its objects run in one isolate. */
const lastPutMs = new Map();

/** Records a put, or throws the error of Workers KV if the key was put less than a second ago. */
function requireInterval(key) {
  const now = Date.now();
  for (const [other, ms] of lastPutMs) if (now - ms >= INTERVAL_MS) lastPutMs.delete(other);
  if (lastPutMs.has(key)) throw new Error("KV PUT failed: 429 Too Many Requests");
  lastPutMs.set(key, now);
}

/** Returns the bindings with the limit in WRITES. */
const withLimit = (env) => ({
  ...env,
  WRITES: new Proxy(env.WRITES, {
    get(kv, name) {
      const method = Reflect.get(kv, name);
      if (typeof method !== "function") return method;
      if (name !== "put") return method.bind(kv);
      return async (key, ...rest) => {
        if (key.startsWith(LIMITED)) requireInterval(key);
        return kv.put(key, ...rest);
      };
    },
  }),
});

/** The Durable Object of a key, whose puts have the limit too. */
export class KeyWriter extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.writer = new BuiltKeyWriter(ctx, withLimit(env));
  }

  fetch(request) {
    return this.writer.fetch(request);
  }

  alarm(info) {
    return this.writer.alarm(info);
  }
}

const WAITING = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="2">
<title>kv-edge</title>
</head>
<body>
<p>kv-edge is running. The demo page follows as soon as <code>npm start</code> has stored its files.</p>
</body>
</html>
`;

export default {
  async fetch(request, env, ctx) {
    const response = await worker.fetch(request, withLimit(env), ctx);
    if (response.status !== 404 || !request.headers.get("Accept")?.includes("text/html")) return response;
    const { hostname, pathname } = new URL(request.url);
    // Another host is that of a storefront.
    if (pathname !== "/" || !["localhost", "127.0.0.1"].includes(hostname)) return response;
    const headers = { "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Retry-After": "2" };
    return new Response(WAITING, { status: 503, headers });
  },
};

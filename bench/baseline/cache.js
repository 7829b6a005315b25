// The documented example "Cache data with Workers KV": a page as JSON, stored for a minute. The
// documentation converts HTML with two regular expressions, which take scripts for text, do not
// decode entities, and do not match a <body> with attributes. `cache` reads the same text as
// kv-edge from the benchmark's pages, with the platform's HTMLRewriter; `cacheByRegularExpression`
// is the documented conversion, for pages that it reads correctly. `cacheResponse` stores the
// upstream's body and fields unchanged, and always responds with 200. A put runs in the
// background.
const EXPIRATION_TTL = 60;

export const cache = (url, env, ctx) => respond(url, env, ctx, readPage);
export const cacheByRegularExpression = (url, env, ctx) => respond(url, env, ctx, matchPage);

async function respond(url, env, ctx, convert) {
  const pageUrl = url.searchParams.get("url");
  if (!pageUrl || !URL.canParse(pageUrl)) {
    return new Response("Please provide a url query parameter", { status: 400 });
  }
  const target = new URL(pageUrl);
  if (!isAllowed(target, env)) return notAllowed();
  const key = `page:${target.href}`;
  let data = await env.CACHE_KV.get(key, { type: "json" });
  const fromCache = data !== null;
  if (!fromCache) {
    const response = await fetch(target);
    data = { ...(await convert(response)), lastUpdated: new Date().toISOString() };
    if (response.ok) {
      ctx.waitUntil(env.CACHE_KV.put(key, JSON.stringify(data), { expirationTtl: EXPIRATION_TTL }));
    }
  }
  return new Response(JSON.stringify({ data, fromCache }), { headers: { "Content-Type": "application/json" } });
}

export async function cacheResponse(url, env, ctx) {
  const target = new URL(url.href.slice(`${url.origin}/cache/`.length));
  if (!isAllowed(target, env)) return notAllowed();
  const key = `response:${target.href}`;
  const stored = await env.CACHE_KV.getWithMetadata(key, { type: "arrayBuffer" });
  if (stored.value !== null) return new Response(stored.value, { headers: stored.metadata.headers });
  const response = await fetch(target);
  const body = await response.arrayBuffer();
  const headers = Object.fromEntries(response.headers);
  if (response.ok) {
    ctx.waitUntil(env.CACHE_KV.put(key, body, { expirationTtl: EXPIRATION_TTL, metadata: { headers } }));
  }
  return new Response(body, { headers });
}

const isAllowed = (target, env) => env.CACHE_UPSTREAMS.split(",").includes(target.origin);
const notAllowed = () => new Response("This origin is not on the list", { status: 403 });

const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", eacute: "é", mdash: "—" };

function decode(text) {
  return text.replace(/&(#x[0-9a-f]+|#\d+|\w+);/gi, (whole, name) => {
    if (name[0] !== "#") return ENTITIES[name] ?? whole;
    return String.fromCodePoint(name[1].toLowerCase() === "x" ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10));
  });
}

const collapse = (text) => text.replace(/\s+/g, " ").trim();

export async function readPage(response) {
  let title = null;
  let content = null;
  let unread = 0;
  const rewriter = new HTMLRewriter()
    .on("title", {
      element() {
        title ??= "";
      },
      text(chunk) {
        if (content === null) title += chunk.text;
      },
    })
    .on("body script, body style, body noscript, body template", {
      element(element) {
        unread += 1;
        element.onEndTag(() => {
          unread -= 1;
        });
      },
    })
    .on("body", {
      element() {
        content ??= "";
      },
      text(chunk) {
        if (unread > 0) return;
        content += chunk.text;
        if (chunk.lastInTextNode) content += " ";
      },
    });
  await rewriter.transform(response).arrayBuffer();
  return {
    title: title === null ? "No title found" : collapse(decode(title)),
    content: content === null ? "No content found" : collapse(decode(content)),
  };
}

async function matchPage(response) {
  const html = await response.text();
  const title = html.match(/<title>(.*?)<\/title>/i);
  const body = html.match(/<body>(.*?)<\/body>/is);
  return {
    title: title ? title[1] : "No title found",
    content: body ? collapse(body[1].replace(/<[^>]*>/g, " ")) : "No content found",
  };
}

// The documented example "Route requests across various web servers": forwards a request to the
// origin of the storefront that its path names.
export async function stores(request, url, env) {
  const [, storefrontId, ...rest] = url.pathname.split("/").filter((part) => part !== "");
  if (!storefrontId) {
    return new Response("Welcome to our multi-tenant platform. Please specify a storefront ID in the URL path.", {
      status: 400,
      headers: { "Content-Type": "text/plain; charset=utf-8" },
    });
  }
  const storefront = await env.ROUTING_CONFIG.get(storefrontId, { type: "json" });
  if (!storefront) {
    return new Response(`Storefront "${storefrontId}" not found.`, {
      status: 404,
      headers: { "Content-Type": "text/plain; charset=utf-8" },
    });
  }
  const originUrl = new URL("/" + rest.join("/"), storefront.origin);
  originUrl.search = url.search;
  const originRequest = new Request(originUrl, {
    method: request.method,
    headers: request.headers,
    body: request.body,
    redirect: "manual",
  });
  const response = await fetch(originRequest);
  const edited = new Response(response.body, response);
  edited.headers.set("X-Served-By", "Cloudflare Worker");
  edited.headers.set("X-Storefront-ID", storefrontId);
  return edited;
}

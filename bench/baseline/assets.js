// The documented example "Store and retrieve static assets": the file whose key is the path.
const TYPES = {
  html: "text/html",
  css: "text/css",
  js: "text/javascript",
  json: "application/json",
  svg: "image/svg+xml",
  png: "image/png",
  mp4: "video/mp4",
};

function contentType(key) {
  const type = TYPES[key.split(".").pop().toLowerCase()] ?? "text/plain";
  return type.startsWith("text/") ? `${type}; charset=utf-8` : type;
}

export async function asset(request, url, env) {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return new Response("Method Not Allowed", { status: 405, headers: { Allow: "GET, HEAD" } });
  }
  const key = decodeURIComponent(url.pathname.replace(/^\/+/, "")) || "index.html";
  const value = await env.assets.get(key, "arrayBuffer");
  if (!value) {
    return new Response("Not found", { status: 404 });
  }
  return new Response(value, { headers: { "Content-Type": contentType(key) } });
}

// "Limits to KV writes to the same key": parallel puts to one key.
export async function writes(request, url, env) {
  if (request.method !== "POST") {
    return new Response("Method Not Allowed", { status: 405, headers: { Allow: "POST" } });
  }
  if (request.headers.get("Authorization") !== `Bearer ${env.API_TOKEN}`) {
    return new Response("Unauthorized", { status: 401, headers: { "WWW-Authenticate": "Bearer" } });
  }
  const key = decodeURIComponent(url.pathname.slice("/writes/".length));
  const n = Number(url.searchParams.get("n") ?? 20);

  const attemptWrite = async (i) => {
    try {
      await env.WRITES.put(key, `Write attempt #${i}`);
      return { attempt: i, success: true };
    } catch (error) {
      return { attempt: i, success: false, error: { message: error.message } };
    }
  };
  const results = await Promise.all(Array.from({ length: n }, (_, i) => attemptWrite(i + 1)));
  return new Response(JSON.stringify(results), { headers: { "Content-Type": "application/json" } });
}

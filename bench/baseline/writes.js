// The documented example "Limits to KV writes to the same key": parallel puts to one key, each
// with the documented retry if `strategy=backoff`.
export async function writes(request, url, env) {
  if (request.method !== "POST") {
    return new Response("Method Not Allowed", { status: 405, headers: { Allow: "POST" } });
  }
  if (request.headers.get("Authorization") !== `Bearer ${env.API_TOKEN}`) {
    return new Response("Unauthorized", { status: 401, headers: { "WWW-Authenticate": "Bearer" } });
  }
  const key = decodeURIComponent(url.pathname.slice("/writes/".length));
  const n = Number(url.searchParams.get("n") ?? 20);
  const isRetried = url.searchParams.get("strategy") === "backoff";

  const attemptWrite = async (i) => {
    try {
      const put = () => env.WRITES.put(key, `Write attempt #${i}`);
      await (isRetried ? retryWithBackoff(put) : put());
      return { attempt: i, success: true };
    } catch (error) {
      return { attempt: i, success: false, error: { message: error.message } };
    }
  };
  const results = await Promise.all(Array.from({ length: n }, (_, i) => attemptWrite(i + 1)));
  return new Response(JSON.stringify(results), { headers: { "Content-Type": "application/json" } });
}

async function retryWithBackoff(write, maxAttempts = 5, initialDelay = 1000) {
  let attempts = 0;
  let delay = initialDelay;
  while (attempts < maxAttempts) {
    try {
      return await write();
    } catch (error) {
      if (!error.message.includes("KV PUT failed: 429 Too Many Requests")) throw error;
      attempts += 1;
      if (attempts >= maxAttempts) throw new Error("Max retry attempts reached");
      await new Promise((resolve) => setTimeout(resolve, delay));
      delay *= 2;
    }
  }
}

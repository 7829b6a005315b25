// The baseline of the benchmark: the documented Workers KV examples in plain JavaScript, under
// kv-edge's routes. Each file but kv-api.js is one example of the Workers KV documentation, in its
// style: `new URL`, `get(key, "json")`, `arrayBuffer` for files. They give the responses that the
// benchmark compares and do no more than that: no logging, no deadlines, no checks of keys.
import { asset } from "./assets.js";
import { cache, cacheByRegularExpression, cacheResponse } from "./cache.js";
import { config } from "./config.js";
import { getStarted } from "./get-started.js";
import { helloWorld } from "./hello-world.js";
import { kvApi } from "./kv-api.js";
import { stores } from "./stores.js";
import { writes } from "./writes.js";

export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    const path = url.pathname;
    if (path === "/get-started") return getStarted(env);
    if (path === "/cache") return cache(url, env, ctx);
    if (path.startsWith("/cache/")) return cacheResponse(url, env, ctx);
    if (path === "/cache-by-regular-expression") return cacheByRegularExpression(url, env, ctx);
    if (path === "/config") return config(url, env);
    if (path === "/hello-world") return helloWorld(request, env);
    if (path === "/stores" || path.startsWith("/stores/")) return stores(request, url, env);
    if (path.startsWith("/client/v4/")) return kvApi(request, path, env);
    if (path.startsWith("/writes/")) return writes(request, url, env);
    return asset(request, url, env);
  },
};

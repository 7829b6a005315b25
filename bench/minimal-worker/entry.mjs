// The module that workerd loads.
import { fetch } from "kv-edge-bindings";
import { readPage } from "../baseline/cache.js";

// For the Rust, which calls it by this name: the page as the baseline reads and stores it.
globalThis.readPage = async (response) => JSON.stringify({ ...(await readPage(response)), lastUpdated: new Date().toISOString() });

export default { fetch: (request, env, ctx) => fetch(request, env, ctx) };

// The module that workerd loads.
import { fetch } from "kv-edge-bindings";

export default { fetch: (request, env, ctx) => fetch(request, env, ctx) };

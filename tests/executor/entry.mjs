// The built Worker, with a look at how its futures are woken, and with a trap on request.
//
// `GET /.executor` answers how often queueMicrotask was called and the number of the WebAssembly instance. A request with `X-Trap` finds a binding whose
// use throws what a trap throws, in the midst of Rust code: a WebAssembly.RuntimeError.
import worker from "../../build/entry.js";

let calls = 0;
const queueMicrotask = globalThis.queueMicrotask;
globalThis.queueMicrotask = (callback) => {
	calls += 1;
	queueMicrotask(callback);
};

const trapped = {
	get USER_CONFIGURATION() {
		throw new WebAssembly.RuntimeError("unreachable");
	},
};

export default {
	fetch(request, env, ctx) {
		if (new URL(request.url).pathname === "/.executor") {
			return Response.json({ queueMicrotaskCalls: calls, instance: globalThis.__worker_init_state.instanceId });
		}
		return worker.fetch(request, request.headers.has("X-Trap") ? trapped : env, ctx);
	},
};

// How the Worker runs its futures, and how it comes back after WebAssembly trapped.
import assert from "node:assert/strict";
import { test } from "node:test";
import { send } from "./harness/http.mjs";
import { startWorker } from "./harness/worker.mjs";

const worker = await startWorker({ configPath: "tests/executor/wrangler.toml", mayCrash: true });
const config = (options) => send(worker, "/config?userId=somebody", options);
const executor = async () => (await send(worker, "/.executor")).json();

test("futures are woken by promises, not by queueMicrotask", async () => {
	assert.equal((await config()).status, 200);
	assert.equal((await executor()).queueMicrotaskCalls, 0);
});

test("a trap costs its own request, and the next ones get a new instance", async () => {
	const { instance } = await executor();
	assert.equal((await config({ headers: { "X-Trap": "1" } })).status, 500);
	for (let request = 0; request < 3; request += 1) {
		const response = await config();
		assert.equal(response.status, 200);
		assert.match(response.text, /Welcome to My App/);
	}
	const after = await executor();
	assert.ok(after.instance > instance, "the instance that trapped was replaced");
	assert.equal(after.queueMicrotaskCalls, 0);
});

// The JSON API of the console at `/console/api`, with a token of choice.
import assert from "node:assert/strict";
import { send } from "./http.mjs";
import { WORKER_TOKEN } from "./worker.mjs";

/**
 * Returns a function that calls the API of a Worker: `call(path, { token, json, body, method,
 * headers })`. With `json` or `body` it is a POST, unless `method` says otherwise. `token` is
 * `API_TOKEN` unless it is given; `null` sends none.
 */
export function consoleApi(worker) {
  return (
    path,
    { token = WORKER_TOKEN, json, body = json === undefined ? undefined : JSON.stringify(json), method = body === undefined ? "GET" : "POST", headers } = {},
  ) =>
    send({ url: worker.directUrl }, `/console/api/${path}`, {
      method,
      headers: {
        ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      body,
    });
}

/** Checks that a response is a success in JSON that no cache stores, and returns the JSON. */
export function assertOutcome(response) {
  assert.equal(response.status, 200, response.text);
  assert.equal(response.headers["content-type"], "application/json");
  assert.equal(response.headers["cache-control"], "no-store");
  return response.json();
}

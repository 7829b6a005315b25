// Which variant of a storefront a visitor gets. Rust tests check how exactly the split follows the
// weights; here a few hundred visitors show that it happens.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { send, sendForJson } from "./harness/http.mjs";
import { assertProblem } from "./harness/problem.mjs";
import { storefrontsOf } from "./harness/storefronts.mjs";
import { startUpstream } from "./harness/upstream.mjs";
import { startWorker, WORKER_TOKEN } from "./harness/worker.mjs";

const upstream = await startUpstream();
const vars = { ROUTING_ORIGINS: upstream.origin, ROUTING_REFRESH: "0", TENANT_DOMAIN: "shops.example.com" };
const COOKIE = "kv-edge-visitor";

/**
 * Returns the variants with these weights, such as `{ blue: 90, green: 10 }`. The base path of
 * each shows in the URL that the upstream receives.
 */
const variantsOf = (weights) => Object.entries(weights).map(([name, weight]) => ({ name, origin: `${upstream.origin}/on-${name}`, weight }));

/** Returns the variant that responded, on which the response and the upstream agree. */
function variantOf(response) {
  assert.equal(response.status, 200, response.text);
  const name = response.headers["x-variant"];
  const { url } = response.json();
  assert.equal(url, name === undefined ? "/on-none/x" : `/on-${name}/x`);
  return name;
}

/** Returns the visitor's cookie of a response, `{ pair, attributes }`, or undefined. */
function visitorCookie({ headers }) {
  const [cookie, ...more] = (headers["set-cookie"] ?? []).filter((cookie) => cookie.startsWith(`${COOKIE}=`));
  assert.deepEqual(more, []);
  if (cookie === undefined) return undefined;
  const [pair, ...attributes] = cookie.split(/; */);
  return { pair, attributes: attributes.sort() };
}

/** Sends `n` requests with `options(index)`, and returns how often each variant responded. */
async function counted(worker, id, n, options = () => ({})) {
  const counts = {};
  for (let from = 0; from < n; from += 20) {
    const indexes = Array.from({ length: Math.min(20, n - from) }, (_, index) => from + index);
    const responses = await Promise.all(indexes.map((index) => send(worker, `/stores/${id}/x`, options(index))));
    for (const response of responses) {
      const name = variantOf(response);
      counts[name] = (counts[name] ?? 0) + 1;
    }
  }
  return counts;
}

describe("with an API_TOKEN", async () => {
  const worker = await startWorker({ vars });
  const storefronts = storefrontsOf(worker);
  const add = (weights, more = {}) => storefronts.add({ variants: variantsOf(weights), ...more });
  const ask = (id, headers = {}) => send(worker, `/stores/${id}/x`, { headers });

  test("new visitors are split by weight; a variant of weight 0, or without a weight, gets none", async () => {
    const id = await add({ blue: 700, green: 300, off: 0, unsaid: undefined });
    const { blue, green, ...rest } = await counted(worker, id, 300);
    assert.deepEqual(rest, {});
    // Five standard deviations.
    assert.ok(blue > 170 && blue < 250, `blue responded ${blue} of 300, green ${green}`);
  });

  test("the visitor's cookie is set once, signed, and keeps the variant", async () => {
    const id = await add({ blue: 1, green: 1 });
    const seen = new Set();
    for (let visitor = 0; visitor < 10; visitor += 1) {
      const first = await ask(id);
      const { pair, attributes } = visitorCookie(first);
      assert.match(pair, /^kv-edge-visitor=[^\s;,."\\]+\.[^\s;,."\\]+$/);
      assert.deepEqual(attributes, ["HttpOnly", "Max-Age=31536000", `Path=/stores/${id}`, "SameSite=Lax", "Secure"]);
      seen.add(pair);
      for (let again = 0; again < 5; again += 1) {
        const next = await ask(id, { Cookie: `a=1; ${pair}; b=2` });
        assert.equal(variantOf(next), variantOf(first));
        assert.equal(visitorCookie(next), undefined);
      }
    }
    assert.equal(seen.size, 10, "each visitor has an id of its own");
  });

  test("a visitor by host gets a cookie for the whole host", async () => {
    const id = await add({ blue: 1, green: 1 });
    const response = await send(worker, "/x", { headers: { Host: `${id}.shops.example.com` } });
    assert.deepEqual(visitorCookie(response).attributes, ["HttpOnly", "Max-Age=31536000", "Path=/", "SameSite=Lax", "Secure"]);
  });

  test("the visitor's cookie does not replace the upstream's", async () => {
    const path = new URL(
      upstream.serve((_request, response) => response.writeHead(200, { "set-cookie": ["a=1", "b=2"] }).end(), "/on-blue/cookies"),
    ).pathname.slice("/on-blue".length);
    const id = await add({ blue: 1 });
    const { headers } = await send(worker, `/stores/${id}${path}`);
    assert.deepEqual(headers["set-cookie"].map((cookie) => cookie.split("=")[0]).sort(), ["a", "b", COOKIE]);
  });

  test("a forged cookie, and another storefront's, are ignored", async () => {
    const id = await add({ blue: 1, green: 1 });
    const { pair } = visitorCookie(await ask(id));
    const [name, visitor, mac] = pair.split(/[=.]/);
    const other = visitorCookie(await ask(await add({ blue: 1, green: 1 }))).pair;
    const changed = (text) => (text[0] === "A" ? "B" : "A") + text.slice(1);
    const forged = [
      other,
      `${name}=${changed(visitor)}.${mac}`,
      `${name}=${visitor}.${changed(mac)}`,
      `${name}=${visitor}.${mac.slice(0, -2)}`,
      `${name}=${visitor}.`,
      `${name}=${visitor}`,
      `${name}=.${mac}`,
      `${name}=`,
      `${name}=${"x".repeat(5000)}.y`,
      `${name}=%00.%ff`,
    ];
    for (const cookie of forged) {
      const response = await ask(id, { Cookie: cookie });
      variantOf(response);
      assert.notEqual(visitorCookie(response)?.pair, undefined, cookie);
      assert.notEqual(visitorCookie(response).pair, cookie);
    }
  });

  test("a header may name the variant; otherwise the cookie decides", async () => {
    const id = await add({ blue: 1, green: 1 }, { split: { by: "header", name: "X-Group" } });
    for (const name of ["blue", "green", "green", "blue"]) {
      const response = await ask(id, { "X-Group": name });
      assert.equal(variantOf(response), name);
      assert.equal(visitorCookie(response), undefined);
    }
    for (const headers of [{}, { "X-Group": "red" }, { "X-Group": "" }]) {
      const response = await ask(id, headers);
      const { pair } = visitorCookie(response);
      assert.equal(variantOf(await ask(id, { ...headers, Cookie: pair })), variantOf(response));
    }
  });

  for (const [what, split, fieldsOf] of [
    ["a header", { by: "user", header: "X-User-ID" }, (user) => ({ "X-User-ID": user })],
    ["a cookie", { by: "user", cookie: "uid" }, (user) => ({ Cookie: `a=1; uid=${user}; b=2` })],
  ]) {
    test(`the user id in ${what} decides, consistently and without a cookie; without an id the cookie does`, async () => {
      const id = await add({ blue: 1, green: 1 }, { split });
      const counts = await counted(worker, id, 60, (index) => ({ headers: fieldsOf(`user-${index}`) }));
      assert.deepEqual(Object.keys(counts).sort(), ["blue", "green"]);
      for (const user of ["user-1", "user-2", "user-3"]) {
        const first = await ask(id, fieldsOf(user));
        assert.equal(visitorCookie(first), undefined);
        assert.equal(variantOf(await ask(id, fieldsOf(user))), variantOf(first));
      }
      for (const fields of [{}, fieldsOf("")]) assert.notEqual(visitorCookie(await ask(id, fields)), undefined);
    });
  }

  test("a canary that grows from 10 to 30 and to 100 percent keeps its visitors", async () => {
    const weightsOf = (percent) => ({ stable: 100 - percent, canary: percent });
    const split = { by: "user", header: "X-User-ID" };
    const id = await add(weightsOf(0), { split });
    const users = Array.from({ length: 200 }, (_, index) => `user-${index}`);
    const inCanary = async () => {
      const found = new Set();
      const { canary = 0 } = await counted(worker, id, users.length, (index) => ({ headers: { "X-User-ID": users[index] } }));
      for (const user of users) if (variantOf(await ask(id, { "X-User-ID": user })) === "canary") found.add(user);
      assert.equal(found.size, canary, "who asks again stays");
      return found;
    };
    let before = new Set();
    for (const [percent, least, most] of [
      [0, 0, 0],
      [10, 4, 45],
      [30, 30, 95],
      [100, 200, 200],
    ]) {
      await storefronts.put(id, { variants: variantsOf(weightsOf(percent)), split });
      const now = await inCanary();
      assert.ok(now.size >= least && now.size <= most, `${now.size} of 200 users at ${percent} %`);
      assert.deepEqual(
        [...before].filter((user) => !now.has(user)),
        [],
        `users who left at ${percent} %`,
      );
      before = now;
    }
  });

  test("blue-green: one write moves every visitor whose request forces no variant, whatever weights and cookies say", async () => {
    const variants = variantsOf({ blue: 1, green: 0 });
    const id = await storefronts.add({ variants });
    const { pair } = visitorCookie(await ask(id));
    for (const active of ["green", "blue", "green"]) {
      await storefronts.put(id, { variants, active });
      for (const headers of [{}, { Cookie: pair }]) {
        const response = await ask(id, headers);
        assert.equal(variantOf(response), active);
        assert.equal(visitorCookie(response), undefined);
      }
    }
    await storefronts.put(id, { variants });
    assert.equal(variantOf(await ask(id)), "blue");
  });

  test("if all weights are 0 the record's own origin serves, and no variant is named", async () => {
    const id = await add({ blue: 0, green: 0 }, { origin: `${upstream.origin}/on-none` });
    const response = await ask(id);
    assert.equal(variantOf(response), undefined);
    assert.equal(visitorCookie(response), undefined);
  });

  test("the token forces a variant, even of weight 0, over the cookie and over active", async () => {
    const forced = (name) => ({ "X-Force-Variant": name, "X-Force-Variant-Token": WORKER_TOKEN });
    const id = await add({ blue: 1, green: 1, off: 0 });
    const activated = await add({ blue: 1, green: 1, off: 0 }, { active: "blue" });
    const { pair } = visitorCookie(await ask(id));
    for (const name of ["blue", "green", "off"]) {
      for (const [store, headers] of [
        [id, {}],
        [id, { Cookie: pair }],
        [activated, {}],
      ]) {
        const response = await ask(store, { ...headers, ...forced(name) });
        assert.equal(variantOf(response), name);
        assert.equal(visitorCookie(response), undefined);
        const seen = Object.keys(response.json().headers);
        assert.deepEqual(
          seen.filter((field) => field.startsWith("x-force")),
          [],
        );
      }
    }
  });

  for (const [what, fields] of [
    ["no token", {}],
    ["an empty token", { "X-Force-Variant-Token": "" }],
    ["a wrong token", { "X-Force-Variant-Token": `${WORKER_TOKEN}x` }],
    ["the token as a bearer", { Authorization: `Bearer ${WORKER_TOKEN}` }],
  ]) {
    test(`with ${what} no variant is forced: 401, and nothing is fetched`, async () => {
      const id = await add({ blue: 1, green: 1 });
      const before = upstream.requests.length;
      const headers = { "X-Force-Variant": "blue", ...fields };
      assertProblem(await sendForJson(worker, `/stores/${id}/x`, { headers }), 401, "unauthorized");
      assert.equal(upstream.requests.length, before);
    });
  }

  test("an unknown variant cannot be forced: 400", async () => {
    const headers = { "X-Force-Variant": "red", "X-Force-Variant-Token": WORKER_TOKEN };
    const id = await add({ blue: 1, green: 1 });
    assertProblem(await sendForJson(worker, `/stores/${id}/x`, { headers }), 400, "unknown_variant");
  });
});

describe("without secrets", async () => {
  const worker = await startWorker({ faulty: true, secrets: {}, vars });
  const storefronts = storefrontsOf(worker);
  const variants = variantsOf({ blue: 1, green: 1 });
  const headers = { "X-Group": "green" };

  test("a variant cannot be forced, whatever token is sent: 503", async () => {
    const id = await storefronts.add({ variants, active: "blue" });
    for (const token of [WORKER_TOKEN, "", "undefined", undefined]) {
      const fields = { "X-Force-Variant": "blue", ...(token !== undefined && { "X-Force-Variant-Token": token }) };
      assertProblem(await sendForJson(worker, `/stores/${id}/x`, { headers: fields }), 503, "not_configured");
    }
  });

  test("if the cookie would decide, it cannot be signed: 503", async () => {
    const id = await storefronts.add({ variants });
    assertProblem(await sendForJson(worker, `/stores/${id}/x`), 503, "not_configured");
  });

  test("if something else decides, no secret is needed", async () => {
    const active = await storefronts.add({ variants, active: "blue" });
    assert.equal(variantOf(await send(worker, `/stores/${active}/x`)), "blue");
    const byHeader = await storefronts.add({ variants, split: { by: "header", name: "X-Group" } });
    assert.equal(variantOf(await send(worker, `/stores/${byHeader}/x`, { headers })), "green");
  });
});

describe("with a VISITOR_SECRET and no API_TOKEN", async () => {
  const worker = await startWorker({ faulty: true, secrets: { VISITOR_SECRET: "a secret of the integration tests" }, vars });
  const storefronts = storefrontsOf(worker);

  test("the cookie is signed with it, and keeps the variant", async () => {
    const id = await storefronts.add({ variants: variantsOf({ blue: 1, green: 1 }) });
    const first = await send(worker, `/stores/${id}/x`);
    const { pair } = visitorCookie(first);
    const next = await send(worker, `/stores/${id}/x`, { headers: { Cookie: pair } });
    assert.equal(variantOf(next), variantOf(first));
    assert.equal(visitorCookie(next), undefined);
  });
});

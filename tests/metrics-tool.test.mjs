// `kv-edge metrics` against a stand-in for Cloudflare's GraphQL Analytics API.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { daysAgo, graphqlError, QUANTILES, startAnalyticsApi } from "./harness/analytics-api.mjs";
import { ACCOUNT_ID, apiError, CLOUDFLARE_TOKEN } from "./harness/rest-api.mjs";

const api = await startAnalyticsApi();
const [ASSETS, WRITES] = ["a".repeat(32), "b".repeat(32)];

beforeEach(() => {
  api.reset();
  api.namespaces = [
    { id: ASSETS, title: "kv-edge-assets" },
    { id: WRITES, title: "kv-edge-WRITES" },
  ];
  const operation = (namespaceId, days, actionType, requests) => ({ namespaceId, date: daysAgo(days), actionType, requests });
  api.operations = [
    operation(ASSETS, 0, "read", 3_000_000),
    operation(WRITES, 0, "read", 1_000_000),
    operation(WRITES, 0, "write", 200_000),
    operation(WRITES, 2, "delete", 7),
    operation(WRITES, 2, "list", 5),
    operation(ASSETS, 20, "read", 42),
  ];
  const stored = (namespaceId, days, keyCount, byteCount) => ({ namespaceId, date: daysAgo(days), keyCount, byteCount });
  api.storage = [stored(ASSETS, 0, 100, 4_000_000_000), stored(WRITES, 0, 10, 2_000_000_000), stored(WRITES, 2, 9, 1_500_000_000)];
});

/** Runs a command that has to fail with this code and this text. */
async function assertFails(args, code, text, options) {
  const result = await api.run(args, options);
  assert.equal(result.code, code, `${result.stdout}${result.stderr}`);
  assert.ok(result.stderr.includes(text), `${JSON.stringify(text)} is not in: ${result.stderr}`);
  return result;
}

describe("what is asked", () => {
  test("by default the last seven days of the account, today included, in one request", async () => {
    const { queries } = await api.run();
    assert.equal(queries.length, 1);
    assert.deepEqual(queries[0].variables, { accountTag: ACCOUNT_ID, start: daysAgo(6), end: daysAgo(0) });
    assert.equal(queries[0].headers.authorization, `Bearer ${CLOUDFLARE_TOKEN}`);
    assert.doesNotMatch(queries[0].query, /namespaceId:/);
    assert.equal(api.lists, 0);
  });

  test("--since, --from and --to set the days", async () => {
    for (const [args, start, end] of [
      [["--since", "1d"], daysAgo(0), daysAgo(0)],
      [["--since", "31d"], daysAgo(30), daysAgo(0)],
      [["--from", daysAgo(30)], daysAgo(30), daysAgo(0)],
      [["--from", daysAgo(5), "--to", daysAgo(3)], daysAgo(5), daysAgo(3)],
    ]) {
      const { code, stderr, queries } = await api.run(args);
      assert.equal(code, 0, stderr);
      assert.deepEqual([queries[0].variables.start, queries[0].variables.end], [start, end]);
    }
  });

  test("a namespace is named by its id, without another call, or by its title", async () => {
    for (const [name, lists] of [
      [WRITES, 0],
      ["kv-edge-WRITES", 1],
    ]) {
      const before = api.lists;
      const { json, queries } = await api.run(["--namespace", name, "--json"]);
      assert.equal(queries[0].variables.namespaceId, WRITES);
      assert.match(queries[0].query, /\$namespaceId: string/);
      assert.equal(queries[0].query.match(/namespaceId: \$namespaceId/g).length, 3);
      assert.equal(json.total.operations.read, 1_000_000);
      assert.equal(api.lists - before, lists);
    }
    await assertFails(
      ["--namespace", "none"],
      1,
      'there is no namespace "none" in the account; use --namespace with one of these: kv-edge-assets, kv-edge-WRITES',
    );
  });

  test("a mistake in the arguments is reported before anything is sent, and one in the environment with the way out", async () => {
    for (const [args, text] of [
      [["--since", "32d"], "whole days from 1d to 31d"],
      [["--since", "12h"], "whole days from 1d to 31d"],
      [["--from", "yesterday"], "write one such as 2026-11-01"],
      [["--from", daysAgo(31)], "Cloudflare keeps 31 days"],
      [["--from", daysAgo(1), "--to", daysAgo(2)], "exchange them"],
      [["--from", daysAgo(1), "--to", daysAgo(-1)], "is in the future"],
      [["--to", daysAgo(1)], "--from"],
      [["--since", "7d", "--from", daysAgo(1)], "cannot be used with"],
      [["--namespace", ""], "give the ID or the title of a namespace"],
    ]) {
      const { queries } = await assertFails(args, 2, text);
      assert.deepEqual(queries, []);
    }
    for (const [env, text] of [
      [{ CLOUDFLARE_API_TOKEN: "" }, 'CLOUDFLARE_API_TOKEN is not set; make a token with the permission "Account Analytics: Read"'],
      [{ CLOUDFLARE_ACCOUNT_ID: "" }, "no account is given; use --account ID or set CLOUDFLARE_ACCOUNT_ID"],
    ])
      await assertFails([], 1, text, { env });
    const base = "http://localhost:1/cdn-cgi/explorer/api";
    await assertFails([], 1, `\`wrangler dev\` at ${base} has no metrics; Cloudflare keeps them`, { base });
  });
});

describe("what is shown", () => {
  test("a table of 80 columns with each day, the total, the cost, the latency and the price list", async () => {
    const { code, stdout, stderr } = await api.run(["--since", "3d"]);
    assert.equal(code, 0, stderr);
    assert.equal(stderr, "");
    for (const line of stdout.split("\n")) assert.ok(line.length <= 80, line);
    assert.deepEqual(stdout.split("\n"), [
      `account ${ACCOUNT_ID}, all namespaces`,
      `${daysAgo(2)} to ${daysAgo(0)}, days in UTC`,
      "",
      "date            reads     writes    deletes      lists       keys     stored",
      `${daysAgo(2)}          0          0          7          5          9    1.50 GB`,
      `${daysAgo(1)}          0          0          0          0          -          -`,
      `${daysAgo(0)}  4,000,000    200,000          0          0        110    6.00 GB`,
      "total       4,000,000    200,000          7          5",
      "cost            $2.00      $1.00     <$0.01     <$0.01                 $0.13",
      "",
      "latency ms        p25        p50        p75        p90        p99      p99.9",
      ...["delete", "list", "read", "write"].map((action) => `${action.padEnd(10)}        0.5        1.2        3.0       12.0      150.0      900.5`),
      "",
      "$3.13 for these 3 days by the price list, $0.75 per 30 finished days",
      "$0.25 of that beyond what the Workers Paid plan includes",
      "Prices of 2025-05-20: https://developers.cloudflare.com/kv/platform/pricing/",
      "Cloudflare samples these metrics adaptively, so all figures are estimates.",
      "",
    ]);
  });

  test("--json has unabridged numbers, in one line", async () => {
    const { json, stdout } = await api.run(["--since", "1d", "--namespace", WRITES, "--json"]);
    assert.equal(stdout.trim().split("\n").length, 1);
    const { latencyMsP25: p25, latencyMsP50: p50, latencyMsP75: p75, latencyMsP90: p90, latencyMsP99: p99, latencyMsP999: p999 } = QUANTILES;
    const quantiles = { p25, p50, p75, p90, p99, p999 };
    assert.deepEqual(json, {
      account: ACCOUNT_ID,
      namespace: WRITES,
      from: daysAgo(0),
      to: daysAgo(0),
      days: [
        {
          date: daysAgo(0),
          operations: { read: 1_000_000, write: 200_000, delete: 0, list: 0, other: 0 },
          storage: { keys: 10, bytes: 2_000_000_000 },
        },
      ],
      total: { operations: { read: 1_000_000, write: 200_000, delete: 0, list: 0, other: 0 } },
      latency: { read: quantiles, write: quantiles },
      cost: {
        priceList: "2025-05-20",
        period: { read: 0.5, write: 1, delete: 0, list: 0, storage: 0.033333333, total: 1.533333333 },
        per30Days: null,
        per30DaysAfterIncluded: null,
      },
      isSampled: true,
      missing: [],
      problems: [],
    });
  });

  test("an account without any operation has zeros", async () => {
    api.operations = [];
    api.storage = [];
    const { code, json } = await api.run(["--json"]);
    assert.equal(code, 0);
    assert.equal(json.days.length, 7);
    assert.deepEqual(json.total.operations, { read: 0, write: 0, delete: 0, list: 0, other: 0 });
    assert.deepEqual(json.latency, {});
    assert.equal(json.cost.period.total, 0);
  });

  test("an operation of an unknown kind is counted, and said to have no price", async () => {
    api.operations.push({ namespaceId: ASSETS, date: daysAgo(0), actionType: "purge", requests: 12 });
    assert.equal((await api.run(["--json"])).json.total.operations.other, 12);
    assert.match((await api.run()).stdout, /^12 operations of another kind have no column and no price$/m);
  });
});

describe("what goes wrong", () => {
  test("an account that the API does not know is named", async () => {
    api.accounts = [];
    await assertFails([], 1, `the API knows no account "${ACCOUNT_ID}"; check --account`);
  });

  test("if the token may not read the metrics, the error names the permission that it needs", async () => {
    const permission = 'the token in CLOUDFLARE_API_TOKEN needs the permission "Account Analytics: Read" on the account of --account';
    for (const reply of [
      graphqlError(401, "Unauthorized"),
      graphqlError(403, "not authorized for that account", { extensions: { code: "authz" } }),
      graphqlError(200, "not authorized for that account", { extensions: { code: "authz" } }),
      apiError(400, 6003, "Invalid request headers"),
    ]) {
      api.intercept = () => reply;
      const { queries, stderr } = await assertFails([], 1, permission);
      assert.match(stderr, /^error: cannot query the metrics: the API (responds with 40\d, "|refuses the query: "not authorized)/);
      assert.equal(queries.length, 1);
    }
  });

  test("if the token may not look up a title, the error asks for the id, which is not looked up", async () => {
    api.namespaces = undefined;
    const { stderr } = await assertFails(["--namespace", "kv-edge-WRITES"], 1, "or give the ID of the namespace, which is not looked up");
    assert.match(stderr, /cannot list the namespaces: the API responds with 403, "Authentication error".* needs the permission "Workers KV Storage/);
    assert.equal((await api.run(["--namespace", WRITES])).code, 0);
  });

  test("if the plan of the account does not allow the time range, the error proposes another one", async () => {
    for (const status of [200, 400]) {
      api.intercept = () => graphqlError(status, "query time range is too large");
      await assertFails([], 1, "the plan of the account may allow less: try a shorter or later time, such as --since 1d");
    }
  });

  test("a dataset that the API leaves out is named, the others are shown, and the exit code is 1", async () => {
    api.datasetErrors = { kvStorageAdaptiveGroups: { message: `does not have access to the path; token ${CLOUDFLARE_TOKEN}` } };
    const { code, json, stderr } = await api.run(["--json"]);
    assert.equal(code, 1);
    assert.equal(stderr, "warning: the figures of storage are missing or incomplete: does not have access to the path; token …\n");
    assert.deepEqual([json.missing, json.cost, json.total.operations.write], [["storage"], null, 200_000]);
    const { stdout } = await api.run();
    assert.match(stdout, /^total +4,000,000/m);
    assert.doesNotMatch(stdout, /^cost|Prices of/m);

    api.datasetErrors.kvOperationsAdaptiveGroups = { message: "query consumed excessive resources" };
    await assertFails([], 1, 'the API refuses the query: "query consumed excessive resources; does not have');
  });

  test("a dataset with more rows than a response has is said to be incomplete", async () => {
    api.storage = Array.from({ length: 10_001 }, (_, n) => ({ namespaceId: n.toString(16).padStart(32, "0"), date: daysAgo(0), keyCount: 1, byteCount: 1 }));
    const { json } = await assertFails(["--json"], 1, "the API returns 10,000 rows at most; use --namespace or a shorter --since");
    assert.deepEqual([json.missing, json.cost], [["storage"], null]);
  });

  test("429, 503, an error that asks to try again, and a broken connection are retried, 429 after its Retry-After", async () => {
    const times = [];
    const faults = [
      graphqlError(429, "rate limiter budget depleted, try again after 5 minutes", { headers: { "Retry-After": "2" } }),
      graphqlError(503, "unable to execute query, please try again later"),
      graphqlError(200, "too many queries in progress, please try again later"),
      "a broken connection",
    ];
    api.intercept = (_call, pass) => {
      times.push(Date.now());
      const fault = faults.shift() ?? pass();
      return fault === "a broken connection" ? undefined : fault;
    };
    const { code, stderr, queries } = await api.run(["--since", "1d"]);
    assert.equal(code, 0, stderr);
    assert.equal(queries.length, 5);
    assert.ok(times[1] - times[0] >= 1900, `${times}`);
    assert.match(stderr, /to query the metrics again in \d s: the API responds with 429, "rate limiter budget depleted/);
  });

  test("a limit that lasts longer than --deadline ends the command", async () => {
    api.intercept = () => graphqlError(429, "rate limiter budget depleted", { headers: { "Retry-After": "300" } });
    const { json } = await assertFails(["--deadline", "2", "--json"], 1, "--deadline SECONDS gives the query more time");
    assert.match(json.error, /^cannot query the metrics: the API responds with 429, "rate limiter budget depleted"/);
  });

  test("if a response is not from this API, the error names the address", async () => {
    for (const body of ["<h1>Welcome</h1>", '{"data": {"viewer"', '{"data": null, "errors": null}', '{"success": true, "result": []}']) {
      api.intercept = () => ({ status: 200, headers: {}, body });
      await assertFails([], 1, `the response, status 200, does not come from the API; check the address of the API, which is ${api.base} (--api-base)`);
    }
    // A kv-edge serves Cloudflare's KV REST API, but not the GraphQL API.
    api.intercept = () => apiError(404, 7003, "Could not route to /client/v4/graphql");
    await assertFails([], 1, "only Cloudflare's API has these metrics; omit --api-base");
  });
});

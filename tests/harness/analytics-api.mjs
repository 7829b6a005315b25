// A stand-in for Cloudflare's GraphQL Analytics API with the two documented datasets of Workers
// KV, and for the list of namespaces beside it. The package `graphql` parses, validates and
// executes the queries by a schema that has the documented names, types and arguments and nothing
// else.
import assert from "node:assert/strict";
import { buildSchema, GraphQLError, graphql } from "graphql";
import { ACCOUNT_ID, apiError, CLOUDFLARE_TOKEN } from "./rest-api.mjs";
import { runTool } from "./tool.mjs";
import { startUpstream } from "./upstream.mjs";

/** The documented variables have the type `string`, in lower case. */
const SCHEMA = buildSchema(`
  scalar Date
  scalar string
  scalar uint64
  type Query { viewer: Viewer }
  type Viewer { accounts(filter: AccountFilter!): [Account!] }
  input AccountFilter { accountTag: string! }
  type Account {
    kvOperationsAdaptiveGroups(filter: OperationsFilter!, limit: Int!, orderBy: [OperationsOrder!]): [OperationsGroup!]
    kvStorageAdaptiveGroups(filter: StorageFilter!, limit: Int!, orderBy: [StorageOrder!]): [StorageGroup!]
  }
  input OperationsFilter { namespaceId: string, actionType: string, date_geq: Date, date_leq: Date }
  input StorageFilter { namespaceId: string, date_geq: Date, date_leq: Date }
  enum OperationsOrder { date_ASC date_DESC }
  enum StorageOrder { date_ASC date_DESC }
  type OperationsGroup { sum: OperationsSum! dimensions: OperationsDimensions! quantiles: OperationsQuantiles! }
  type OperationsSum { requests: uint64! }
  type OperationsDimensions { date: Date! actionType: string! namespaceId: string! }
  type OperationsQuantiles {
    latencyMsP25: Float! latencyMsP50: Float! latencyMsP75: Float! latencyMsP90: Float! latencyMsP99: Float! latencyMsP999: Float!
  }
  type StorageGroup { max: StorageMax! dimensions: StorageDimensions! }
  type StorageMax { keyCount: uint64! byteCount: uint64! }
  type StorageDimensions { date: Date! namespaceId: string! }
`);

const ROWS_MAX = 10_000;
const DAY_MS = 24 * 60 * 60 * 1000;
/** The quantiles that the stand-in knows of each kind of operation. */
export const QUANTILES = { latencyMsP25: 0.5, latencyMsP50: 1.25, latencyMsP75: 3, latencyMsP90: 12, latencyMsP99: 150, latencyMsP999: 900.5 };

/** Returns the day so many days ago, in UTC. */
export const daysAgo = (days) => new Date(Date.now() - days * DAY_MS).toISOString().slice(0, 10);

/** Starts the stand-in for a test file. */
export async function startAnalyticsApi() {
  const upstream = await startUpstream();
  return new AnalyticsApi(upstream);
}

class AnalyticsApi {
  constructor(upstream) {
    this.base = `${upstream.origin}/client/v4`;
    /** The GraphQL requests so far: `{ query, variables, headers }`. */
    this.queries = [];
    /** How many calls listed the namespaces. */
    this.lists = 0;
    this.reset();
    upstream.serve((request, response, record) => {
      request.on("end", () => this.#respond(request, Buffer.concat(record.chunks).toString(), response));
    }, "/client/v4/graphql");
    upstream.serve((_request, response) => {
      this.lists += 1;
      if (this.namespaces === undefined) {
        const { status, headers, body } = apiError(403, 10000, "Authentication error");
        return response.writeHead(status, headers).end(body);
      }
      const body = { success: true, errors: [], messages: [], result: this.namespaces, result_info: { page: 1, total_pages: 1 } };
      response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    }, `/client/v4/accounts/${ACCOUNT_ID}/storage/kv/namespaces`);
  }

  /** Forgets rows, namespaces and faults. */
  reset() {
    /** `{ namespaceId, date, actionType, requests }`. */
    this.operations = [];
    /** `{ namespaceId, date, keyCount, byteCount }`. */
    this.storage = [];
    /** `{ id, title }`; undefined if the token may not list them. */
    this.namespaces = [];
    this.accounts = [ACCOUNT_ID];
    /**
     * Responds to GraphQL requests in place of the API: `(call, pass) => ({ status, headers, body
     * })`, or undefined, which closes the connection.
     */
    this.intercept = undefined;
    /** The error of each dataset that the API does not answer. */
    this.datasetErrors = {};
  }

  /** Runs `kv-edge metrics`: `{ code, stdout, stderr, json, queries }`. */
  async run(args = [], { env = {}, base = this.base } = {}) {
    const before = this.queries.length;
    const result = await runTool(["metrics", "--api-base", base, ...args], {
      env: { CLOUDFLARE_ACCOUNT_ID: ACCOUNT_ID, CLOUDFLARE_API_TOKEN: CLOUDFLARE_TOKEN, ...env },
    });
    assert.ok(!`${result.stdout}${result.stderr}`.includes(CLOUDFLARE_TOKEN), "the token shows");
    const json = args.includes("--json") && result.stdout ? JSON.parse(result.stdout) : undefined;
    return { ...result, json, queries: this.queries.slice(before) };
  }

  async #respond(request, text, response) {
    const call = { method: request.method, headers: request.headers, ...JSON.parse(text) };
    this.queries.push(call);
    const pass = () => this.#answer(call);
    const reply = await (this.intercept ? this.intercept(call, pass) : pass());
    if (reply === undefined) return request.socket.destroy();
    const { status, headers, body } = reply;
    response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(body);
  }

  async #answer({ method, headers, query, variables }) {
    if (method !== "POST" || headers["content-type"] !== "application/json") return apiError(400, 1000, "send JSON with POST");
    if (headers.authorization !== `Bearer ${CLOUDFLARE_TOKEN}`) return graphqlError(401, "Unauthorized");
    const rootValue = { viewer: { accounts: ({ filter }) => this.accounts.filter((id) => id === filter.accountTag).map(() => this.#account()) } };
    const { data = null, errors } = await graphql({ schema: SCHEMA, source: query, rootValue, variableValues: variables });
    const list = errors?.map(({ message, path, extensions }) => ({ message, path, extensions: { timestamp: new Date().toISOString(), ...extensions } }));
    // Without `path`, the query itself is at fault.
    const status = errors?.some(({ path }) => path === undefined) ? 400 : 200;
    return { status, body: JSON.stringify({ data, errors: list ?? null }) };
  }

  #account() {
    return {
      kvOperationsAdaptiveGroups: (args, _context, info) =>
        this.#groups("kvOperationsAdaptiveGroups", this.operations, args, info, (rows) => ({
          sum: { requests: total(rows, "requests") },
          quantiles: QUANTILES,
        })),
      kvStorageAdaptiveGroups: (args, _context, info) =>
        this.#groups("kvStorageAdaptiveGroups", this.storage, args, info, (rows) => ({
          max: { keyCount: maximum(rows, "keyCount"), byteCount: maximum(rows, "byteCount") },
        })),
    };
  }

  /** Returns the rows of a dataset, grouped by the dimensions that the query selects. */
  #groups(dataset, rows, { filter, limit, orderBy = [] }, info, aggregate) {
    const error = this.datasetErrors[dataset];
    if (error) throw new GraphQLError(error.message, { extensions: error.extensions });
    const { date_geq: from, date_leq: to, ...equal } = filter;
    if (from === undefined || to === undefined) throw new GraphQLError("error parsing args for the filter: a time range is required");
    if (from < daysAgo(30)) throw new GraphQLError("cannot request data older than 2678400s");
    if (limit > ROWS_MAX) throw new GraphQLError(`limit must be positive number and not greater than ${ROWS_MAX}`);
    const names = dimensionsOf(info);
    const groups = Map.groupBy(
      rows.filter((row) => row.date >= from && row.date <= to && Object.entries(equal).every(([name, value]) => row[name] === value)),
      (row) => names.map((name) => row[name]).join(" "),
    );
    const all = [...groups.values()].map((group) => ({ dimensions: group[0], ...aggregate(group) }));
    if (orderBy.includes("date_DESC")) all.sort((a, b) => (a.dimensions.date < b.dimensions.date ? 1 : -1));
    return all.slice(0, limit);
  }
}

/** Returns the dimensions that a query selects. */
function dimensionsOf({ fieldNodes }) {
  const selections = fieldNodes.flatMap((node) => node.selectionSet.selections);
  const dimensions = selections.filter(({ name }) => name.value === "dimensions");
  return dimensions.flatMap(({ selectionSet }) => selectionSet.selections.map(({ name }) => name.value));
}

const total = (rows, name) => rows.reduce((sum, row) => sum + row[name], 0);
const maximum = (rows, name) => Math.max(...rows.map((row) => row[name]));

/** Returns an error in the words of the GraphQL API ("Error responses" in its documentation). */
export const graphqlError = (status, message, { headers = {}, extensions = {} } = {}) => ({
  status,
  headers,
  body: JSON.stringify({ data: null, errors: [{ message, path: null, extensions: { timestamp: "2026-11-29T00:00:00Z", ...extensions } }] }),
});

// What the OpenFeature clients are asked in Node and in a browser: the same flags, users,
// evaluations and expected details.

export const theme = { size: 2.5, list: [1, "é", null], nested: { dark: true } };

export const flags = {
  plain: { default: "on" },
  described: { default: "on", metadata: { owner: "shop", level: 3, draft: false } },
  disabled: { on: false, default: "on", off: "off" },
  greeting: {
    variants: { en: "Hello", fr: "Bonjour «é»", none: "" },
    default: "en",
    rules: [
      { match: [{ attribute: "language", eq: "fr" }], variant: "fr" },
      { match: [{ attribute: "language", eq: "" }], variant: "none" },
    ],
  },
  limit: {
    variants: { low: 10, high: 1.5e9, zero: 0 },
    default: "low",
    rules: [
      { match: [{ attribute: "plan", in: ["pro", "team"] }], variant: "high" },
      { deny: ["nobody"], variant: "zero" },
    ],
  },
  theme: { variants: { theme, empty: {} }, default: "theme", rules: [{ allow: ["plain-user"], variant: "empty" }] },
  rollout: { default: "off", rules: [{ percentage: 100, variant: "on" }] },
  stopped: { default: "off", rules: [{ percentage: 0, variant: "on" }] },
};

/** Users' records in KV. */
export const records = { "pro-user": { plan: "pro" }, "free-user": { plan: "free" } };

/** Evaluation context, flag, the caller's default value, and the details that the SDK returns. */
export const evaluations = [
  [{}, "plain", false, { value: true, variant: "on", reason: "STATIC" }],
  [{ targetingKey: "u" }, "described", false, { value: true, variant: "on", reason: "STATIC", metadata: { owner: "shop", level: 3, draft: false } }],
  [{}, "disabled", true, { value: false, variant: "off", reason: "DISABLED" }],
  [{}, "greeting", "", { value: "Hello", variant: "en", reason: "DEFAULT" }],
  [{ language: "fr" }, "greeting", "", { value: "Bonjour «é»", variant: "fr", reason: "TARGETING_MATCH" }],
  [{ language: "" }, "greeting", "x", { value: "", variant: "none", reason: "TARGETING_MATCH" }],
  [{}, "limit", 1, { value: 10, variant: "low", reason: "DEFAULT" }],
  [{ plan: "team" }, "limit", 1, { value: 1.5e9, variant: "high", reason: "TARGETING_MATCH" }],
  [{ targetingKey: "nobody" }, "limit", 1, { value: 0, variant: "zero", reason: "TARGETING_MATCH" }],
  [{ targetingKey: "pro-user" }, "limit", 1, { value: 1.5e9, variant: "high", reason: "TARGETING_MATCH" }],
  [{ targetingKey: "free-user", plan: "pro" }, "limit", 1, { value: 10, variant: "low", reason: "DEFAULT" }],
  [{}, "theme", { a: 1 }, { value: theme, variant: "theme", reason: "DEFAULT" }],
  [{ targetingKey: "plain-user" }, "theme", { a: 1 }, { value: {}, variant: "empty", reason: "TARGETING_MATCH" }],
  [{ targetingKey: "u" }, "rollout", false, { value: true, variant: "on", reason: "SPLIT" }],
  [{ targetingKey: "u" }, "stopped", true, { value: false, variant: "off", reason: "SPLIT" }],
  [{}, "rollout", false, { value: false, reason: "ERROR", errorCode: "TARGETING_KEY_MISSING" }],
  [{ targetingKey: "u" }, "none", false, { value: false, reason: "ERROR", errorCode: "FLAG_NOT_FOUND" }],
  [{}, "plain", "text", { value: "text", reason: "ERROR", errorCode: "TYPE_MISMATCH" }],
  [{}, "greeting", 7, { value: 7, reason: "ERROR", errorCode: "TYPE_MISMATCH" }],
  [{}, "limit", true, { value: true, reason: "ERROR", errorCode: "TYPE_MISMATCH" }],
];

/** Returns the client's method for a default value of this type. */
export const methodFor = (value) =>
  ({ boolean: "getBooleanDetails", string: "getStringDetails", number: "getNumberDetails", object: "getObjectDetails" })[typeof value];

/** Returns the members of the details that tests compare. */
export function comparableDetails({ value, variant, reason, errorCode, flagMetadata }) {
  const metadata = flagMetadata && Object.keys(flagMetadata).length > 0 ? flagMetadata : undefined;
  return Object.fromEntries(Object.entries({ value, variant, reason, errorCode, metadata }).filter(([, member]) => member !== undefined));
}

/** Returns a test title for an evaluation. */
export const titleOf = ([context, flag, fallback, { reason, errorCode }]) =>
  `${flag} as a ${typeof fallback} for ${JSON.stringify(context)}: ${errorCode ?? reason}`;

/** Puts the flags and records above into KV. */
export async function putFlagsAndRecords(config) {
  await config.putFlags(flags);
  for (const [id, record] of Object.entries(records)) await config.putRecord(id, record);
}

//! The definitions of feature flags and their evaluation: which variant of a flag a user gets,
//! and why. Reasons and errors are those of the OpenFeature specification ("Types").
//!
//! The definitions are JSON under the key [`KEY`], edited by people. [`Definitions::parse`]
//! reports faults with their places. The result is cheap to evaluate: lists are sorted,
//! versions and numbers are parsed, and the value of a variant is kept as the JSON of the
//! response.
//!
//! Rules are tried in their order, and the first that matches decides. If none does, the flag
//! gives its default variant. A flag that is switched off tries no rules.
//! `docs/config-and-flags.md` describes the format.

mod attribute;
mod bucket;
mod condition;
mod definitions_check;
mod id_set;
mod murmur3;
mod number;
mod parse;
mod semver;
#[cfg(test)]
mod tests;
mod warnings;

use std::cell::OnceCell;

use serde_json::{Map, Value};

use self::bucket::Bucket;
use self::condition::Condition;
pub use self::definitions_check::DefinitionsCheck;
use self::id_set::IdSet;
use kv_store::limits::Key;
use kv_store::schema::Fault;

/// The key of the definitions in `USER_CONFIGURATION`.
pub const KEY: Key<'static> = Key::literal("flags");

/// The longest definitions, in bytes of JSON: 2 MiB. Parsed they take several times as much,
/// and an isolate has 128 MB.
pub const DEFINITIONS_BYTES_MAX: usize = 2 * 1024 * 1024;

/// All flags, as the definitions in KV list them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Definitions {
    /// Sorted by name.
    flags: Vec<(Box<str>, Flag)>,
}

/// One flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    is_on: bool,
    /// True if the definition lists its own variants. Without them a flag is a switch with the
    /// variants `off` and `on`.
    has_own_variants: bool,
    variants: Box<[Variant]>,
    /// An index of `variants`, as `off` and the variant of a rule are.
    default: usize,
    /// The variant that the flag gives if it is switched off.
    off: Option<usize>,
    /// A JSON object: the flag's metadata.
    metadata: Option<Box<str>>,
    rules: Box<[TargetingRule]>,
}

/// One of the values that a flag may have.
#[derive(Debug, Clone, PartialEq)]
struct Variant {
    name: Box<str>,
    json: Box<str>,
}

/// A targeting rule: whom it gives a variant. All its conditions must hold.
#[derive(Debug, Clone, PartialEq)]
struct TargetingRule {
    /// True if the rule is written as `deny`. Without a variant it gives the default one;
    /// otherwise it works like `allow`.
    is_deny: bool,
    allow: Option<IdSet>,
    conditions: Box<[Condition]>,
    percentage: Option<Bucket>,
    variant: usize,
}

/// The evaluation context: the user that a flag is evaluated for.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The user's id. An empty one counts as none (OpenFeature specification, "Evaluation
    /// Context", targeting key).
    pub targeting_key: Option<&'a str>,
    /// The attributes that the client sent.
    pub context: &'a Map<String, Value>,
    /// The attributes from the user's record. They take precedence over what the client sent.
    pub record: UserAttributes<'a>,
}

/// The attributes that the server has of a user.
#[derive(Debug, Clone, Copy)]
pub enum UserAttributes<'a> {
    /// The user has no record, so the attributes of the client count.
    NoRecord,
    /// The members of the user's record.
    Record(&'a Map<String, Value>),
    /// The user has, or may have, a record that cannot be read. Then they have no attributes at
    /// all, because a client's claim must not override a record.
    Unreadable,
}

/// The result of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolutionDetails<'f> {
    /// The name of the variant.
    pub variant: &'f str,
    /// The value of the variant, as JSON.
    pub value_json: &'f str,
    /// Why the flag gives this variant.
    pub reason: Reason,
    /// The index of the rule that gives the variant; `None` if no rule does.
    pub rule: Option<usize>,
    /// The metadata of the flag, as a JSON object.
    pub metadata_json: Option<&'f str>,
}

/// Why a flag gives a variant (OpenFeature specification, "Types", resolution reason).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The flag has no rules.
    Static,
    /// The flag has rules, and none matched.
    Default,
    /// A rule without a percentage matched.
    TargetingMatch,
    /// A percentage decided: the user is within it, or is outside of it and got the default.
    Split,
    /// The flag is off.
    Disabled,
}

/// A percentage must be decided, and there is no targeting key (OpenFeature specification,
/// "Types", error code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the flag is rolled out to a percentage of users; send a targetingKey")]
pub struct TargetingKeyMissing;

impl Definitions {
    /// Parses the definitions.
    ///
    /// # Errors
    /// The faults, at most 100, each with its place in the JSON.
    ///
    /// # Examples
    ///
    /// ```
    /// use feature_flags::flags::Definitions;
    ///
    /// let definitions = Definitions::parse(r#"{"flags": {"new-checkout": {"default": "off"}}}"#);
    /// assert_eq!(definitions.map(|definitions| definitions.len()), Ok(1));
    /// let typo = r#"{"flags": {"new-checkout": {"defautl": "on"}}}"#;
    /// let faults = Definitions::parse(typo).unwrap_err();
    /// assert_eq!(faults[0].path, "flags[\"new-checkout\"].defautl");
    /// ```
    pub fn parse(json: &str) -> Result<Self, Vec<Fault>> {
        parse::definitions(json)
    }

    /// Parses the definitions, as [`parse`](Self::parse) does.
    ///
    /// [`parse`](Self::parse) has an example.
    ///
    /// # Errors
    /// The first fault alone.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "definitions with a fault must look neither valid nor absent"
    )]
    pub fn parse_until_fault(json: &str) -> Result<Self, Fault> {
        Self::parse(json).map_err(|faults| faults.into_iter().next().expect("there is at least one fault"))
    }

    /// Returns definitions without flags: those of a namespace that has none.
    #[must_use]
    pub const fn none() -> Self {
        Self { flags: Vec::new() }
    }

    /// Returns the number of flags.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flags.len()
    }

    /// Returns true if there is no flag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flags.is_empty()
    }

    /// Returns the flag of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Flag> {
        let index = self.flags.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.flags.get(index).map(|(_, flag)| flag)
    }

    /// Returns all flags with their names, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Flag)> {
        self.flags.iter().map(|(name, flag)| (&**name, flag))
    }

    /// Returns true if any flag [needs attributes](Flag::needs_attributes).
    #[must_use]
    pub fn needs_attributes(&self) -> bool {
        self.iter().any(|(_, flag)| flag.needs_attributes())
    }

    /// Returns what is valid but is probably a mistake: rules that match nobody or are never
    /// reached, a `deny` behind another rule, and variants that nobody gets.
    #[must_use]
    pub fn warnings(&self) -> Vec<Fault> {
        warnings::warnings(self)
    }
}

impl Flag {
    /// Returns true if the flag depends on more than the targeting key. Other flags need no
    /// record of the user, which saves a read of KV.
    ///
    /// [`evaluate`](Self::evaluate) has an example.
    #[must_use]
    pub fn needs_attributes(&self) -> bool {
        let mut conditions = self.rules.iter().flat_map(|rule| &rule.conditions);
        self.is_on && conditions.any(|condition| !condition.attribute.is_targeting_key())
    }

    /// Returns true if the flag depends on the targeting key. Other flags give all users with the
    /// same attributes the same variant.
    #[must_use]
    pub fn needs_targeting_key(&self) -> bool {
        let needs_key = |rule: &TargetingRule| {
            let mut conditions = rule.conditions.iter();
            rule.allow.is_some()
                || rule.percentage.is_some()
                || conditions.any(|condition| condition.attribute.is_targeting_key())
        };
        self.is_on && self.rules.iter().any(needs_key)
    }

    /// Returns the names of the variants, sorted.
    pub fn variants(&self) -> impl Iterator<Item = &str> {
        self.variants.iter().map(|variant| &*variant.name)
    }

    /// Returns the variants that so many made-up users get, whose targeting keys are
    /// `sample-user-0` and so on, and who have these attributes. A flag that does not depend on
    /// the key is evaluated once.
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "each of these users has a targeting key")]
    #[must_use]
    pub fn sample(&self, name: &str, context: &Map<String, Value>, users: usize) -> Vec<&str> {
        let variant = |user: usize| {
            let key = format!("sample-user-{user}");
            let subject = Subject { targeting_key: Some(&key), context, record: UserAttributes::NoRecord };
            self.evaluate(name, &subject).expect("a targeting key is all that can be missing").variant
        };
        if !self.needs_targeting_key() {
            return vec![variant(0); users];
        }
        (0..users).map(variant).collect()
    }

    /// Evaluates the flag. `name` is its name, which is part of the hash that decides
    /// percentages.
    ///
    /// # Errors
    /// [`TargetingKeyMissing`] if a percentage must be decided and there is no targeting key.
    ///
    /// # Examples
    ///
    /// ```
    /// use feature_flags::flags::{Definitions, Reason, Subject, TargetingKeyMissing};
    /// use feature_flags::flags::UserAttributes;
    /// use serde_json::Map;
    ///
    /// let json = r#"{"flags": {"new-checkout": {"default": "off",
    ///     "rules": [{"percentage": 100, "variant": "on"}]}}}"#;
    /// let definitions = Definitions::parse(json).unwrap();
    /// let flag = definitions.get("new-checkout").unwrap();
    /// assert!(!flag.needs_attributes(), "so the user's record is not read");
    /// let evaluate = |targeting_key| {
    ///     let (context, record) = (&Map::new(), UserAttributes::NoRecord);
    ///     flag.evaluate("new-checkout", &Subject { targeting_key, context, record })
    /// };
    /// let resolved = evaluate(Some("ann"))?;
    /// assert_eq!((resolved.value_json, resolved.reason), ("true", Reason::Split));
    /// assert_eq!(evaluate(None), Err(TargetingKeyMissing));
    /// # Ok::<(), TargetingKeyMissing>(())
    /// ```
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a value that the flag does not have must not be returned"
    )]
    pub fn evaluate<'f>(
        &'f self,
        name: &str,
        subject: &Subject<'_>,
    ) -> Result<ResolutionDetails<'f>, TargetingKeyMissing> {
        let (variant, reason, rule) = self.resolve(name, subject)?;
        let Variant { name, json } =
            self.variants.get(variant).expect("the definitions name variants of the list only");
        Ok(ResolutionDetails { variant: name, value_json: json, reason, rule, metadata_json: self.metadata.as_deref() })
    }

    /// Returns the variant, why the flag gives it, and the rule that does.
    fn resolve(
        &self,
        name: &str,
        subject: &Subject<'_>,
    ) -> Result<(usize, Reason, Option<usize>), TargetingKeyMissing> {
        if !self.is_on {
            return Ok((self.off.unwrap_or(self.default), Reason::Disabled, None));
        }
        if self.rules.is_empty() {
            return Ok((self.default, Reason::Static, None));
        }
        let key = subject.key();
        let bucket = OnceCell::new();
        let mut otherwise = Reason::Default;
        for (index, rule) in self.rules.iter().enumerate() {
            if !rule.matches(key, subject) {
                continue;
            }
            let Some(percentage) = rule.percentage else {
                return Ok((rule.variant, Reason::TargetingMatch, Some(index)));
            };
            let key = key.ok_or(TargetingKeyMissing)?;
            // All percentages of a flag share a bucket: `25` and then `50` give a quarter of
            // all users each.
            if *bucket.get_or_init(|| Bucket::of(name, key)) < percentage {
                return Ok((rule.variant, Reason::Split, Some(index)));
            }
            otherwise = Reason::Split;
        }
        Ok((self.default, otherwise, None))
    }
}

impl TargetingRule {
    /// Returns true if the list of ids and all conditions match; the percentage is not looked
    /// at.
    fn matches(&self, key: Option<&str>, subject: &Subject<'_>) -> bool {
        self.allow.as_ref().is_none_or(|ids| key.is_some_and(|key| ids.contains(key)))
            && self.conditions.iter().all(|condition| condition.holds(subject))
    }
}

impl<'a> Subject<'a> {
    /// Returns the targeting key, or `None` if it is missing or empty.
    fn key(&self) -> Option<&'a str> {
        self.targeting_key.filter(|key| !key.is_empty())
    }
}

impl Reason {
    /// Returns the reason as the specification writes it, such as `TARGETING_MATCH`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "STATIC",
            Self::Default => "DEFAULT",
            Self::TargetingMatch => "TARGETING_MATCH",
            Self::Split => "SPLIT",
            Self::Disabled => "DISABLED",
        }
    }
}

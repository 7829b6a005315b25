//! Feature flags: which variant somebody gets. The reasons and the error are those of the OpenFeature specification ("Types").
//!
//! The definitions are JSON under one key, edited by people. They are read once, with every fault named, into a form that is
//! cheap to evaluate: lists are sorted, versions and numbers are parsed, and a variant's value is the JSON that is answered.

mod attribute;
mod bucket;
mod condition;
mod ids;
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
use self::ids::Ids;
use kv_store::limits::Key;
use kv_store::schema::Fault;

/// The key of the definitions.
pub const KEY: Key<'static> = Key::literal("flags");

/// The longest definitions, in bytes of JSON: 2 MiB. An isolate has 128 MB, and parsed they take several times as much.
pub const DEFINITIONS_BYTES_MAX: usize = 2 * 1024 * 1024;

/// All flags that are defined.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Definitions {
    /// Sorted by name.
    flags: Vec<(Box<str>, Flag)>,
}

/// One flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    is_on: bool,
    /// True where the definition names no variants: then they are `on` and `off`.
    has_own_variants: bool,
    variants: Box<[Variant]>,
    /// An index of `variants`, as are all below.
    default: usize,
    /// What a flag gives that is switched off.
    off: Option<usize>,
    /// A JSON object.
    metadata: Option<Box<str>>,
    rules: Box<[Rule]>,
}

/// What a flag may give.
#[derive(Debug, Clone, PartialEq)]
struct Variant {
    name: Box<str>,
    json: Box<str>,
}

/// Who gets a variant. All that it asks must hold.
#[derive(Debug, Clone, PartialEq)]
struct Rule {
    /// True where the list was written as `deny`: it gives the default where it names no variant, and is a list of ids else.
    is_deny: bool,
    allow: Option<Ids>,
    conditions: Box<[Condition]>,
    percentage: Option<Bucket>,
    variant: usize,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The user's id; empty is as good as none (OpenFeature specification, "Evaluation Context", targeting key).
    pub targeting_key: Option<&'a str>,
    /// What the client says of the user.
    pub context: &'a Map<String, Value>,
    /// What is known of the user. It goes before what the client says.
    pub known: Known<'a>,
}

/// What is known of a user.
#[derive(Debug, Clone, Copy)]
pub enum Known<'a> {
    /// Nothing: what the client says counts.
    Nothing,
    /// His record.
    Record(&'a Map<String, Value>),
    /// He has a record, or may have one, that cannot be read. He has no attributes then: a client's claim must not beat it.
    Unreadable,
}

/// What a flag gives somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluated<'f> {
    /// The variant's name.
    pub variant: &'f str,
    /// Its value, as JSON.
    pub value_json: &'f str,
    /// Why this variant.
    pub reason: Reason,
    /// The flag's metadata, a JSON object.
    pub metadata_json: Option<&'f str>,
}

/// Why a variant was chosen (OpenFeature specification, "Types", resolution reason).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The flag has no rules.
    Static,
    /// It has rules, and none held.
    Default,
    /// A rule without a percentage held.
    TargetingMatch,
    /// A percentage held, or turned the user away before the default.
    Split,
    /// The flag is off.
    Disabled,
}

/// A percentage was reached, and there is no targeting key to decide it by (OpenFeature specification, "Types", error code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the flag is rolled out to a percentage of users; send a targetingKey")]
pub struct TargetingKeyMissing;

impl Definitions {
    /// Reads the definitions.
    ///
    /// # Errors
    /// Every fault, with its place.
    pub fn parse(json: &str) -> Result<Self, Vec<Fault>> {
        parse::definitions(json)
    }

    /// No flags: what a namespace has that nobody has put any into.
    #[must_use]
    pub const fn none() -> Self {
        Self { flags: Vec::new() }
    }

    /// How many flags there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flags.len()
    }

    /// True where there is no flag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flags.is_empty()
    }

    /// A flag by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Flag> {
        let index = self.flags.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.flags.get(index).map(|(_, flag)| flag)
    }

    /// All flags, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Flag)> {
        self.flags.iter().map(|(name, flag)| (&**name, flag))
    }

    /// True where a flag [needs attributes](Flag::needs_attributes).
    #[must_use]
    pub fn needs_attributes(&self) -> bool {
        self.iter().any(|(_, flag)| flag.needs_attributes())
    }

    /// What is no fault, but can hardly be meant: rules that take nobody, variants that nobody gets.
    #[must_use]
    pub fn warnings(&self) -> Vec<Fault> {
        warnings::of(self)
    }
}

impl Flag {
    /// True where more counts than the user's id: a flag without it needs no record, which saves a read of KV.
    #[must_use]
    pub fn needs_attributes(&self) -> bool {
        let mut conditions = self.rules.iter().flat_map(|rule| &rule.conditions);
        self.is_on && conditions.any(|condition| !condition.attribute.is_targeting_key())
    }

    /// What the flag of this name gives somebody.
    ///
    /// # Errors
    /// [`TargetingKeyMissing`] where a percentage is reached and there is no targeting key.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a value that the flag does not have must not be told"
    )]
    pub fn evaluate<'f>(&'f self, name: &str, subject: &Subject<'_>) -> Result<Evaluated<'f>, TargetingKeyMissing> {
        let (variant, reason) = self.choose(name, subject)?;
        let Variant { name, json } =
            self.variants.get(variant).expect("the definitions name variants of the list only");
        Ok(Evaluated { variant: name, value_json: json, reason, metadata_json: self.metadata.as_deref() })
    }

    fn choose(&self, name: &str, subject: &Subject<'_>) -> Result<(usize, Reason), TargetingKeyMissing> {
        if !self.is_on {
            return Ok((self.off.unwrap_or(self.default), Reason::Disabled));
        }
        if self.rules.is_empty() {
            return Ok((self.default, Reason::Static));
        }
        let key = subject.key();
        let bucket = OnceCell::new();
        let mut otherwise = Reason::Default;
        for rule in &self.rules {
            if !rule.is_for(key, subject) {
                continue;
            }
            let Some(percentage) = rule.percentage else { return Ok((rule.variant, Reason::TargetingMatch)) };
            let key = key.ok_or(TargetingKeyMissing)?;
            // All percentages of a flag look at the same bucket: `25` and then `50` give a quarter of all users each.
            if *bucket.get_or_init(|| Bucket::of(name, key)) < percentage {
                return Ok((rule.variant, Reason::Split));
            }
            otherwise = Reason::Split;
        }
        Ok((self.default, otherwise))
    }
}

impl Rule {
    /// True where all but the percentage holds.
    fn is_for(&self, key: Option<&str>, subject: &Subject<'_>) -> bool {
        self.allow.as_ref().is_none_or(|ids| key.is_some_and(|key| ids.contains(key)))
            && self.conditions.iter().all(|condition| condition.holds(subject))
    }
}

impl<'a> Subject<'a> {
    /// The targeting key, where it is one.
    fn key(&self) -> Option<&'a str> {
        self.targeting_key.filter(|key| !key.is_empty())
    }
}

impl Reason {
    /// The reason as the specification writes it.
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

//! Parses the definitions, member by member.

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::attribute::{Attribute, Scalar};
use super::bucket::Bucket;
use super::condition::{Comparison, Condition, Operator, ScalarSet};
use super::id_set::IdSet;
use super::number::Number;
use super::semver::Version;
use super::{DEFINITIONS_BYTES_MAX, Definitions, Flag, TargetingRule, Variant};
use kv_store::schema::{self, Fault, Node};

/// The most flags that the definitions may have.
const FLAGS_MAX: usize = 5000;
/// The longest name of a flag or a variant, in bytes.
const NAME_BYTES_MAX: usize = 128;
const VARIANTS_MAX: usize = 50;
const METADATA_MAX: usize = 50;
const RULES_MAX: usize = 100;
const CONDITIONS_MAX: usize = 100;
const IDS_MAX: usize = 10_000;
const VALUES_MAX: usize = 1000;

/// Parses the operand of a condition, or reports a fault.
pub(super) type ParseOperand = fn(&Node<'_>) -> Option<Operator>;

/// The members of a condition that name its operator, with the parsers of their operands.
pub(super) const OPERATORS: [(&str, ParseOperand); 12] = [
    ("eq", equal),
    ("in", one_of),
    ("startsWith", starts_with),
    ("lt", |node| number(Comparison::Less, node)),
    ("lte", |node| number(Comparison::LessOrEqual, node)),
    ("gt", |node| number(Comparison::Greater, node)),
    ("gte", |node| number(Comparison::GreaterOrEqual, node)),
    ("semverEq", |node| version(Comparison::Equal, node)),
    ("semverLt", |node| version(Comparison::Less, node)),
    ("semverLte", |node| version(Comparison::LessOrEqual, node)),
    ("semverGt", |node| version(Comparison::Greater, node)),
    ("semverGte", |node| version(Comparison::GreaterOrEqual, node)),
];

/// Parses the definitions, or returns the faults, at most 100.
pub(super) fn definitions(json: &str) -> Result<Definitions, Vec<Fault>> {
    if json.len() > DEFINITIONS_BYTES_MAX {
        let problem = format!("it has {} bytes; at most {DEFINITIONS_BYTES_MAX} are allowed", json.len());
        return Err(vec![Fault { path: String::new(), problem: problem.into() }]);
    }
    schema::read(json, |root| {
        let object = root.object(&["flags"])?;
        let mut flags = object.required("flags", |flags| {
            flags.map(FLAGS_MAX, |name, node| {
                let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
                if !is_name || name.is_empty() || name.len() > NAME_BYTES_MAX {
                    let _noted: Option<()> =
                        node.fault("a flag's name has 1 to 128 letters, digits, dots, underscores and hyphens");
                }
                Some((Box::from(name), flag(node)?))
            })
        })?;
        flags.sort_unstable_by(|(one, _): &(Box<str>, Flag), (other, _)| one.cmp(other));
        Some(Definitions { flags })
    })
}

fn flag(node: &Node<'_>) -> Option<Flag> {
    let object = node.object(&["description", "on", "variants", "default", "off", "metadata", "rules"])?;
    object.member("description", |text| text.text().map(drop));
    let is_on = object.member("on", boolean).unwrap_or(true);
    let has_own_variants = object.has("variants");
    let variants =
        if has_own_variants { object.member("variants", variants) } else { Some(ParsedVariants::of_switch()) };
    let names = VariantNames(variants.as_ref().map(|variants| variants.names.as_slice()));
    let default = object.required("default", |name| names.index(name));
    // A switch without the member `off` gives its first variant, which is named so, while `on` is
    // false.
    let is_plain_switch = !has_own_variants && !object.has("off");
    let off = if is_plain_switch { Some(0) } else { object.member("off", |name| names.index(name)) };
    let metadata = object.member("metadata", metadata);
    let rules = object.member("rules", |rules| rules.list(RULES_MAX, |node| rule(node, names, default)));
    Some(Flag {
        is_on,
        has_own_variants,
        default: default?,
        off,
        metadata,
        rules: rules.unwrap_or_default().into(),
        variants: variants?.valid.into(),
    })
}

/// The variants that a flag lists. A variant with a fault is not among the valid ones, but its
/// name is, so that its fault is not reported a second time as an unknown name.
struct ParsedVariants {
    names: Vec<Box<str>>,
    valid: Vec<Variant>,
}

impl ParsedVariants {
    /// Returns the variants of a flag that lists none.
    fn of_switch() -> Self {
        let variant = |name: &str, json: &str| Variant { name: name.into(), json: json.into() };
        Self { names: vec!["off".into(), "on".into()], valid: vec![variant("off", "false"), variant("on", "true")] }
    }
}

/// The names of a flag's variants, or `None` if they cannot be read. Then every name is
/// accepted.
#[derive(Clone, Copy)]
struct VariantNames<'a>(Option<&'a [Box<str>]>);

impl VariantNames<'_> {
    fn index(self, node: &Node<'_>) -> Option<usize> {
        let name = node.text()?;
        let Some(names) = self.0 else { return Some(0) };
        let index = names.iter().position(|known| **known == *name);
        index.or_else(|| node.fault(format!("it names no variant; there are: {}", names.join(", "))))
    }
}

fn variants(node: &Node<'_>) -> Option<ParsedVariants> {
    let (mut names, mut first) = (Vec::new(), None);
    let valid = node.map(VARIANTS_MAX, |name, node| {
        names.push(Box::from(name));
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return node.fault("a variant's name has 1 to 128 bytes");
        }
        let of_type = match node.value() {
            Value::Null => return node.fault("it must not be null"),
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) | Value::Object(_) => "an object or an array",
        };
        let first = *first.get_or_insert(of_type);
        if first != of_type {
            return node.fault(format!("it must be {first}: all variants of a flag have one type"));
        }
        Some(Variant { name: name.into(), json: node.value().to_string().into() })
    })?;
    if names.is_empty() {
        return node.fault("it has no variant; leave variants out to get on and off");
    }
    Some(ParsedVariants { names, valid })
}

/// Parses the protocol's `metadata`: names with strings, numbers and booleans.
fn metadata(node: &Node<'_>) -> Option<Box<str>> {
    node.map(METADATA_MAX, |_, value| match value.value() {
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
        _ => value.fault("it must be a string, a number or a boolean"),
    })?;
    Some(node.value().to_string().into())
}

fn rule(node: &Node<'_>, variants: VariantNames<'_>, default: Option<usize>) -> Option<TargetingRule> {
    let object = node.object(&["deny", "allow", "match", "percentage", "variant"])?;
    let is_deny = object.has("deny");
    if is_deny {
        for other in ["allow", "match", "percentage"] {
            let _noted: Option<()> =
                object.member_or_null(other, |member| member.fault("a rule with deny has nothing else but a variant"));
        }
    } else if !(object.has("allow") || object.has("match") || object.has("percentage")) {
        let _noted: Option<()> = node.fault("it needs allow, match or percentage (or deny)");
    }
    let allow = object.member(if is_deny { "deny" } else { "allow" }, ids);
    let conditions = object.member("match", |list| {
        let conditions = list.list(CONDITIONS_MAX, condition)?;
        if list.value().as_array().is_some_and(Vec::is_empty) {
            list.fault("it has no condition")
        } else {
            Some(conditions)
        }
    });
    let percentage = object.member("percentage", |percentage| {
        let threshold = percentage.value().as_f64().and_then(Bucket::threshold);
        threshold.or_else(|| percentage.fault("it must be a number from 0 to 100 with three decimals at most"))
    });
    let variant = if is_deny && !object.has("variant") {
        default
    } else {
        object.required("variant", |name| variants.index(name))
    };
    Some(TargetingRule {
        is_deny,
        allow,
        conditions: conditions.unwrap_or_default().into(),
        percentage,
        variant: variant?,
    })
}

fn boolean(node: &Node<'_>) -> Option<bool> {
    node.value().as_bool().or_else(|| node.fault("it must be true or false"))
}

fn ids(node: &Node<'_>) -> Option<IdSet> {
    Some(node.list(IDS_MAX, filled_text)?.into_iter().collect())
}

/// Returns a string that is not empty. An empty one, which a template may leave, is a mistake: as
/// a prefix it would match everybody.
fn filled_text(node: &Node<'_>) -> Option<Box<str>> {
    let text = node.text()?;
    if text.is_empty() { node.fault("it must not be empty") } else { Some(text.into()) }
}

fn condition(node: &Node<'_>) -> Option<Condition> {
    let names = OPERATORS.map(|(name, _)| name);
    let object = node.object(&[&["attribute", "not"][..], &names].concat())?;
    let attribute = object.required("attribute", filled_text);
    let is_negated = object.member("not", boolean).unwrap_or(false);
    let mut operators = OPERATORS.iter().filter(|(name, _)| object.has(name));
    let operator = match (operators.next(), operators.next()) {
        (Some((name, parse)), None) => object.member_or_null(name, parse),
        (None, _) => node.fault(format!("it needs one of {}", names.join(", "))),
        (Some((one, _)), Some((other, _))) => {
            node.fault(format!("it has both {one} and {other}; write a condition for each"))
        }
    };
    Some(Condition { attribute: Attribute::new(&attribute?), operator: operator?, is_negated })
}

fn equal(node: &Node<'_>) -> Option<Operator> {
    scalar(node, node.value()).map(|value| Operator::In(ScalarSet::from_iter([value])))
}

fn one_of(node: &Node<'_>) -> Option<Operator> {
    // The elements are read twice, because a fault needs the place of its element, which does not
    // outlive the list.
    node.list(VALUES_MAX, |element| scalar(element, element.value()).map(drop))?;
    Some(Operator::In(node.value().as_array()?.iter().filter_map(Scalar::of).collect()))
}

fn starts_with(node: &Node<'_>) -> Option<Operator> {
    if node.value().is_array() {
        Some(Operator::StartsWith(node.list(VALUES_MAX, filled_text)?.into()))
    } else if node.value().is_string() {
        Some(Operator::StartsWith([filled_text(node)?].into()))
    } else {
        node.fault("it must be a string or a list of strings")
    }
}

fn number(comparison: Comparison, node: &Node<'_>) -> Option<Operator> {
    let number = node.value().as_number().and_then(Number::of);
    Some(Operator::Number(comparison, number.or_else(|| node.fault("it must be a number"))?))
}

fn version(comparison: Comparison, node: &Node<'_>) -> Option<Operator> {
    let version = Version::parse(node.text()?).map(Version::into_static);
    let version = version.or_else(|| node.fault("it must be a version such as 2.1.0 (Semantic Versioning 2.0.0)"))?;
    Some(Operator::Version(comparison, version))
}

fn scalar<'a>(node: &Node<'_>, value: &'a Value) -> Option<Scalar<'a>> {
    Scalar::of(value).or_else(|| node.fault("it must be a string, a number, a boolean or null"))
}

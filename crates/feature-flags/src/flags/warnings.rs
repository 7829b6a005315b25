//! Warnings: what is valid in the definitions but is probably a mistake, such as a rule that can
//! match nobody, or a variant that nobody gets. Definitions with warnings are used.

#[cfg(test)]
mod tests;

use super::bucket::Bucket;
use super::{Definitions, Flag, TargetingRule};
use kv_store::schema::{self, Fault};

pub(super) fn warnings(definitions: &Definitions) -> Vec<Fault> {
    let mut warnings = Vec::new();
    for (name, flag) in definitions.iter() {
        flag_warnings(flag, &format!("flags{}", member(name)), &mut warnings);
    }
    warnings
}

/// Formats one member of a path as [`schema`] does.
fn member(name: &str) -> String {
    if schema::is_plain(name) { format!(".{name}") } else { format!("[{name:?}]") }
}

fn flag_warnings(flag: &Flag, place: &str, warnings: &mut Vec<Fault>) {
    // The variants that somebody gets: the default one, that of a flag that is off, and those of
    // the rules that can match.
    let mut given = vec![flag.default];
    given.extend(flag.off);
    for (index, rule) in flag.rules.iter().enumerate() {
        let mut warn = |path: &str, problem: String| {
            warnings.push(Fault { path: format!("{place}.rules[{index}]{path}"), problem: problem.into() });
        };
        let before = || flag.rules.iter().take(index).enumerate();
        if let Some((path, problem)) = matches_nobody(rule) {
            warn(&path, problem.to_owned());
        } else if let Some((earlier, other)) = before().find(|(_, other)| other.covers(rule)) {
            let is_smaller =
                rule.percentage.is_some() && other.percentage.is_some_and(|threshold| threshold < Bucket::ALL);
            if is_smaller {
                let problem = format!(
                    "nobody gets it: percentages are not added up, and rules[{earlier}] before it has at least this one"
                );
                warn(".percentage", problem);
            } else {
                warn("", format!("it never applies: rules[{earlier}] before it matches all users whom it matches"));
            }
        } else {
            given.push(rule.variant);
            if let Some((earlier, _)) = before().find(|(_, other)| rule.is_deny && !other.is_deny) {
                warn("", format!("it does not deny those whom rules[{earlier}] matches; write deny before it"));
            }
        }
    }
    for (index, variant) in flag.variants.iter().enumerate() {
        if flag.has_own_variants && !given.contains(&index) {
            let path = format!("{place}.variants{}", member(&variant.name));
            warnings.push(Fault { path, problem: "nobody gets it".into() });
        }
    }
}

/// Returns the place and the reason if a rule matches nobody.
fn matches_nobody(rule: &TargetingRule) -> Option<(String, &'static str)> {
    if rule.allow.as_ref().is_some_and(super::id_set::IdSet::is_empty) {
        let path = if rule.is_deny { ".deny" } else { ".allow" };
        return Some((path.to_owned(), "it is empty, so the rule matches nobody"));
    }
    if let Some(index) = rule.conditions.iter().position(|condition| condition.operator.is_empty()) {
        return Some((format!(".match[{index}]"), "its list is empty, so the rule matches nobody"));
    }
    (rule.percentage == Some(Bucket::NONE)).then(|| (".percentage".to_owned(), "it is 0, so the rule matches nobody"))
}

impl TargetingRule {
    /// Returns true if this rule, tried first, matches all users whom the other one would
    /// match: its list of ids, if any, has all ids of the other's, it has no condition that the
    /// other one lacks, and its percentage is at least as large.
    fn covers(&self, other: &Self) -> bool {
        let allows = match (&self.allow, &other.allow) {
            (None, _) => true,
            (Some(ids), Some(others)) => ids.is_superset(others),
            (Some(_), None) => false,
        };
        allows
            && self.conditions.iter().all(|condition| other.conditions.contains(condition))
            && self.percentage.is_none_or(|threshold| {
                threshold == Bucket::ALL || other.percentage.is_some_and(|smaller| smaller <= threshold)
            })
    }
}

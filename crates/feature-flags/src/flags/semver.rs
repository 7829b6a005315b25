//! Semantic Versioning 2.0.0: parsing and precedence (§11). Beyond the standard, a leading `v`
//! is accepted, and so are versions without a patch version, or without a minor and a patch
//! version, which count as 0.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Ordering;

/// A version without its build metadata, which does not count for precedence (§10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version<'a> {
    core: [u64; 3],
    /// The pre-release: identifiers separated by dots (§9). It is empty for a release.
    pre_release: Cow<'a, str>,
}

impl<'a> Version<'a> {
    /// Parses a version; returns `None` if the text is not one, or its major, minor or patch
    /// version is above `u64::MAX`.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (numbers, pre_release) = text.split_once('-').map_or((text, None), |(text, pre)| (text, Some(pre)));
        let is_known = build.is_none_or(|build| build.split('.').all(is_identifier))
            && pre_release.is_none_or(|pre| pre.split('.').all(|part| is_identifier(part) && !has_leading_zero(part)));
        let mut core = [0; 3];
        let mut places = core.iter_mut();
        for number in numbers.split('.') {
            let is_number = is_numeric(number) && !has_leading_zero(number);
            *places.next()? = number.parse().ok().filter(|_| is_number)?;
        }
        is_known.then(|| Self { core, pre_release: pre_release.unwrap_or_default().into() })
    }

    /// Copies the version, so that it outlives its text.
    pub(super) fn into_static(self) -> Version<'static> {
        Version { core: self.core, pre_release: self.pre_release.into_owned().into() }
    }

    /// Compares the precedence of two versions (§11).
    pub(super) fn precedence(&self, other: &Version<'_>) -> Ordering {
        let by_release = || match (self.pre_release.is_empty(), other.pre_release.is_empty()) {
            // §11.3: a pre-release comes before its release.
            (false, true) => Ordering::Less,
            (true, false) => Ordering::Greater,
            // §11.4.4: if one list of identifiers begins with the other, the longer one has
            // precedence.
            _ => self.pre_release.split('.').map(Identifier).cmp(other.pre_release.split('.').map(Identifier)),
        };
        self.core.cmp(&other.core).then_with(by_release)
    }
}

/// An identifier of a pre-release.
#[derive(PartialEq, Eq)]
struct Identifier<'a>(&'a str);

impl Ord for Identifier<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (is_numeric(self.0), is_numeric(other.0)) {
            // §11.4.1: numerically. Numbers have no leading zeros, so the longer one is larger.
            (true, true) => self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(other.0)),
            // §11.4.3: a number has lower precedence than other identifiers.
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            // §11.4.2: in ASCII order.
            (false, false) => self.0.cmp(other.0),
        }
    }
}

impl PartialOrd for Identifier<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn is_identifier(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_numeric(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns true for a number with leading zeros, which §2 and §9 forbid. Other identifiers may
/// have them.
fn has_leading_zero(part: &str) -> bool {
    part.len() > 1 && part.starts_with('0') && is_numeric(part)
}

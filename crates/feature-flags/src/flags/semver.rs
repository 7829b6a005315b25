//! Semantic Versioning 2.0.0, as far as precedence goes (§11). Taken besides: a `v` before it, and versions without a patch, or
//! without a minor version and a patch, which are 0 then.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Ordering;

/// A version. Build metadata (§10) does not count for precedence and is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version<'a> {
    core: [u64; 3],
    /// Dot-separated identifiers (§9); empty for a release.
    pre_release: Cow<'a, str>,
}

impl<'a> Version<'a> {
    /// `None` where the text is no version.
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

    /// The version, for longer than its text.
    pub(super) fn into_static(self) -> Version<'static> {
        Version { core: self.core, pre_release: self.pre_release.into_owned().into() }
    }

    /// Which one has precedence (§11).
    pub(super) fn precedence(&self, other: &Version<'_>) -> Ordering {
        let by_release = || match (self.pre_release.is_empty(), other.pre_release.is_empty()) {
            // §11.3: a pre-release comes before its release.
            (false, true) => Ordering::Less,
            (true, false) => Ordering::Greater,
            // §11.4.4: of two lists of which one begins with the other, the longer one comes later.
            _ => self.pre_release.split('.').map(Identifier).cmp(other.pre_release.split('.').map(Identifier)),
        };
        self.core.cmp(&other.core).then_with(by_release)
    }
}

/// One part of a pre-release.
#[derive(PartialEq, Eq)]
struct Identifier<'a>(&'a str);

impl Ord for Identifier<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (is_numeric(self.0), is_numeric(other.0)) {
            // §11.4.1: numbers, which have no leading zeros: the longer one is larger.
            (true, true) => self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(other.0)),
            // §11.4.3: a number comes before anything else.
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            // §11.4.2: in the order of ASCII.
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

/// §2, §9: a number has no leading zeros. (A part with a letter or a hyphen may.)
fn has_leading_zero(part: &str) -> bool {
    part.len() > 1 && part.starts_with('0') && is_numeric(part)
}

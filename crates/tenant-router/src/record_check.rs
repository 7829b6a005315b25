//! Checking a record that somebody writes: its faults, and what is probably a mistake.

use kv_store::limits::Key;
use kv_store::schema::Fault;

use crate::storefront_address::{DOMAIN_KEY, HostMatch, Hosts};
use crate::storefront_record::{OriginPolicy, RoutingEntry};

/// The result of checking a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordCheck {
    /// The record, if the Worker can read it.
    pub entry: Option<RoutingEntry>,
    /// What keeps it from being used as it is meant.
    pub faults: Vec<Fault>,
    /// What the Worker accepts, but is probably a mistake.
    pub warnings: Vec<Fault>,
}

impl RecordCheck {
    /// Checks a record with the parser of the Worker. Without a key, it is taken for that of a
    /// storefront. `repeated` has the paths of members that occur more than once
    /// ([`JsonTree::repeated`](kv_store::json_tree::JsonTree::repeated)).
    #[must_use]
    pub fn of(key: Option<&str>, json: &str, repeated: &[String], policy: Option<&OriginPolicy>) -> Self {
        let of_whole = |problem: String| Fault { path: String::new(), problem: problem.into() };
        let mut faults = Vec::new();
        faults.extend(key.and_then(|key| Key::new(key).err()).map(|error| of_whole(error.to_string())));
        faults.extend(repeated.iter().cloned().map(Fault::of_repeated));
        let entry = RoutingEntry::parse(key.unwrap_or("id"), json, policy);
        let entry = entry.map_err(|error| faults.extend(error.faults)).ok();
        let is_unreachable = entry.is_some().then(|| key.and_then(unreachable)).flatten();
        Self { entry, faults, warnings: is_unreachable.map(of_whole).into_iter().collect() }
    }
}

/// Returns why no request would find the record of a custom domain; `None` if one does, or for
/// another key.
fn unreachable(key: &str) -> Option<String> {
    let host = key.strip_prefix(DOMAIN_KEY)?;
    // Without a TENANT_DOMAIN, no host names a storefront. This one is below `.invalid`, which is
    // never registered (RFC 2606 §2), so no custom domain is below it.
    match Hosts::parse("tenants.invalid", "").match_host(host) {
        HostMatch::Storefront(canonical) if canonical.as_str() == key => None,
        HostMatch::Storefront(canonical) => {
            Some(format!("no request finds this key; write it {:?}", canonical.as_str()))
        }
        HostMatch::Platform | HostMatch::Unknown => {
            Some("no request finds this key: its host cannot belong to a storefront".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(key: Option<&str>, json: &str, repeated: &[String]) -> (Vec<String>, Vec<String>) {
        let RecordCheck { faults, warnings, .. } = RecordCheck::of(key, json, repeated, None);
        let shown = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect();
        (shown(faults), shown(warnings))
    }

    #[test]
    fn a_valid_record_has_neither_faults_nor_warnings() {
        let record = r#"{"origin": "https://a.example"}"#;
        assert_eq!(lines(Some("tea"), record, &[]), (Vec::new(), Vec::new()));
        let domain = r#"{"storefront": "tea"}"#;
        assert_eq!(lines(Some("domain:www.tea.example"), domain, &[]), (Vec::new(), Vec::new()));
        assert!(RecordCheck::of(None, record, &[], None).entry.is_some());
    }

    #[test]
    fn the_key_repeated_members_and_the_record_are_checked() {
        let (faults, warnings) = lines(Some("."), r#"{"orgin": "https://a.example"}"#, &["origin".to_owned()]);
        assert!(faults[0].starts_with("The key is \".\""), "{faults:?}");
        assert_eq!(faults[1], "origin: it occurs more than once; only the last one counts");
        assert!(faults[2].starts_with("orgin: unknown member"), "{faults:?}");
        assert!(warnings.is_empty(), "{warnings:?}");
        let (faults, _) = lines(None, r#"{"storefront": "tea"}"#, &[]);
        assert!(faults[0].starts_with("storefront: only a custom domain"), "{faults:?}");
    }

    #[test]
    fn a_custom_domain_that_no_request_finds_is_a_warning() {
        for (key, expected) in [
            ("domain:A.example:443", "no request finds this key; write it \"domain:a.example\""),
            ("domain:localhost", "no request finds this key: its host cannot belong to a storefront"),
        ] {
            let (faults, warnings) = lines(Some(key), r#"{"origin": "https://a.example"}"#, &[]);
            assert_eq!((faults.len(), &*warnings), (0, &[expected.to_owned()][..]), "{key}");
        }
    }
}

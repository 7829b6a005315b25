//! Which origin serves a storefront (KV documentation, "Route requests across various web servers").

use std::borrow::Cow;

use percent_encoding::{CONTROLS, utf8_percent_encode};
use serde::Deserialize;

use crate::limits::{Key, KeyError};
use crate::origin::{AllowList, Origin, OriginError};
use crate::record::{self, BrokenRecord};
use crate::request_target::{BadPercentEncoding, has_dot_segments, percent_decode};

/// Why a request reaches no storefront.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// The path names no storefront. The sentence is the documented one.
    #[error("Welcome to our multi-tenant platform. Please specify a storefront ID in the URL path.")]
    MissingId,
    /// The id's percent-encoding is broken.
    #[error(transparent)]
    Encoding(#[from] BadPercentEncoding),
    /// The id is no key of Workers KV.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is a control character or white space behind the id, which the platform's URL parser would drop.
    #[error("The path or query has a control character or a space; write it percent-encoded.")]
    Whitespace,
    /// No record has this id.
    #[error("Storefront \"{0}\" not found.")]
    NotFound(String),
    /// The record is no JSON of the documented form.
    #[error("the record does not parse: {0}")]
    BrokenRecord(#[from] BrokenRecord),
    /// The record's origin is no http(s) URL.
    #[error("the record's origin is not usable: {0}")]
    BrokenOrigin(#[from] OriginError),
    /// The path of the record's origin is not one to put paths behind.
    #[error("the path of the record's origin has a query, a fragment, a space or a dot segment")]
    BrokenBasePath,
    /// The record's origin is not on `ROUTING_ORIGINS`, or is http where `ROUTING_INSECURE` does not admit it.
    #[error("the record's origin {0} is not admitted by ROUTING_ORIGINS and ROUTING_INSECURE")]
    NotAllowed(String),
}

/// A path under `/stores/`, split: the storefront's id and what follows it, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorefrontPath<'a> {
    /// The decoded id; the key of its record in `ROUTING_CONFIG`.
    pub id: Key<'a>,
    /// Empty, or starts with `/`.
    rest: &'a str,
}

/// Where requests may be sent: the vars `ROUTING_ORIGINS` and `ROUTING_INSECURE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginPolicy {
    /// The origins that a record may name.
    pub allowed: AllowList,
    /// Admits http origins; for the local demo.
    pub insecure: bool,
}

/// A storefront's record: `{"origin": "https://storefront-a.example.com"}`.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    origin: Cow<'a, str>,
}

impl<'a> StorefrontPath<'a> {
    /// Splits what stands behind `/stores`: empty, or `/{id}` and the rest.
    ///
    /// # Errors
    /// [`TenantError`] where there is no id or it is no key of Workers KV.
    pub fn parse(path: &'a str) -> Result<Self, TenantError> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (id, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
        if id.is_empty() {
            return Err(TenantError::MissingId);
        }
        Ok(Self { id: Key::new(percent_decode(id)?)?, rest })
    }

    /// The id as a header field takes it: what is not visible ASCII is percent-encoded.
    #[must_use]
    pub fn id_field(&self) -> Cow<'_, str> {
        const NOT_VISIBLE: &percent_encoding::AsciiSet = &CONTROLS.add(b' ').add(b'%');
        utf8_percent_encode(self.id.as_str(), NOT_VISIBLE).into()
    }

    /// The URL to fetch: the record's origin and base path, then what followed the id, then the query. All of it stays byte
    /// for byte: empty segments, a trailing slash, percent escapes. Nothing in the request can change the host, because the
    /// origin ends before the first slash of the path, and dot segments are resolved before ([`crate::request_target`]).
    ///
    /// # Errors
    /// [`TenantError`] where the record is broken or its origin not allowed.
    pub fn target(&self, record: &str, query: Option<&str>, policy: &OriginPolicy) -> Result<String, TenantError> {
        let dropped_by_parser = |byte: u8| byte <= b' ' || byte == 0x7f;
        if self.rest.bytes().chain(query.unwrap_or_default().bytes()).any(dropped_by_parser) {
            return Err(TenantError::Whitespace);
        }
        let record: Record<'_> = record::parse(record)?;
        let (origin, base) = Origin::split(&record.origin)?;
        if !policy.allowed.admits(&origin) || !(policy.insecure || origin.is_secure()) {
            return Err(TenantError::NotAllowed(origin.as_str().to_owned()));
        }
        let base = base_path(base)?;
        let rest = if self.rest.is_empty() { "/" } else { self.rest };
        let (mark, query) = query.map_or(("", ""), |query| ("?", query));
        Ok([origin.as_str(), base, rest, mark, query].concat())
    }
}

/// The origin's own path without the slash at its end. Dot segments, `\`, a query or a fragment in a record are a mistake.
fn base_path(path: &str) -> Result<&str, TenantError> {
    let is_clean = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\'));
    if is_clean && !has_dot_segments(path) {
        Ok(path.strip_suffix('/').unwrap_or(path))
    } else {
        Err(TenantError::BrokenBasePath)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> OriginPolicy {
        OriginPolicy { allowed: AllowList::parse("https://a.example,http://b.example"), insecure: false }
    }

    fn target(path: &str, record: &str, query: Option<&str>) -> Result<String, TenantError> {
        StorefrontPath::parse(path)?.target(record, query, &policy())
    }

    const A: &str = r#"{"origin": "https://a.example"}"#;
    const BASE: &str = r#"{"origin": "https://a.example/shop/"}"#;

    #[test]
    fn the_first_segment_is_the_storefront_decoded_once() {
        for (path, id) in [("/a", "a"), ("/a/", "a"), ("/a%20b/c", "a b"), ("/a%252Fb", "a%2Fb"), ("/a%2Fb/c", "a/b")] {
            assert_eq!(StorefrontPath::parse(path).unwrap().id.as_str(), id, "{path}");
        }
        for path in ["", "/", "//a"] {
            assert_eq!(StorefrontPath::parse(path), Err(TenantError::MissingId), "{path}");
        }
        assert_eq!(StorefrontPath::parse("/%"), Err(TenantError::Encoding(BadPercentEncoding)));
        assert_eq!(StorefrontPath::parse("/%2e%2e/x"), Err(TenantError::Key(KeyError::Dots)));
    }

    #[test]
    fn what_follows_the_id_survives_byte_for_byte() {
        for (path, record, query, url) in [
            ("/a", A, None, "https://a.example/"),
            ("/a/", A, None, "https://a.example/"),
            ("/a/x/y", A, Some("q=1&r=%20"), "https://a.example/x/y?q=1&r=%20"),
            ("/a/x/", A, Some(""), "https://a.example/x/?"),
            ("/a//x//y/", A, None, "https://a.example//x//y/"),
            ("/a/%2Fx%20%2E%2E%2Fy;v=1", A, None, "https://a.example/%2Fx%20%2E%2E%2Fy;v=1"),
            ("/a//evil.example/x", A, None, "https://a.example//evil.example/x"),
            ("/a/@evil.example", A, None, "https://a.example/@evil.example"),
            ("/a/:80", A, None, "https://a.example/:80"),
            ("/a", BASE, None, "https://a.example/shop/"),
            ("/a//x", BASE, None, "https://a.example/shop//x"),
            ("/a/x", r#"{"origin": "https://a.example/x/http://y"}"#, None, "https://a.example/x/http://y/x"),
            ("/a/x", BASE, Some("http://evil.example/"), "https://a.example/shop/x?http://evil.example/"),
        ] {
            assert_eq!(target(path, record, query).as_deref(), Ok(url), "{path}");
        }
    }

    #[test]
    fn what_the_url_parser_would_drop_is_refused() {
        for (path, query) in [("/a/.\t./x", None), ("/a/\n", None), ("/a/x", Some("a b")), ("/a/\u{7f}", None)] {
            assert_eq!(target(path, A, query), Err(TenantError::Whitespace), "{path:?}");
        }
    }

    #[test]
    fn a_broken_record_is_an_error() {
        for record in ["", "{", "null", "{}", r#"["https://a.example"]"#, r#"{"origin": 1}"#] {
            assert!(matches!(target("/a", record, None), Err(TenantError::BrokenRecord(_))), "{record}");
        }
        for origin in ["a.example", "https://u:p@a.example", "https://a.example\\\\@evil"] {
            let record = format!(r#"{{"origin": "{origin}"}}"#);
            assert!(matches!(target("/a", &record, None), Err(TenantError::BrokenOrigin(_))), "{record}");
        }
        for path in ["/x?y", "#f", "/a/../x", "/%2e%2e/x", "/a b", "/a\\\\b"] {
            let record = format!(r#"{{"origin": "https://a.example{path}"}}"#);
            assert_eq!(target("/a", &record, None), Err(TenantError::BrokenBasePath), "{record}");
        }
    }

    #[test]
    fn only_listed_origins_are_reached_and_http_needs_routing_insecure() {
        let path = StorefrontPath::parse("/a").unwrap();
        let other = r#"{"origin": "https://other.example"}"#;
        let http = r#"{"origin": "http://b.example"}"#;
        assert_eq!(path.target(other, None, &policy()), Err(TenantError::NotAllowed("https://other.example".into())));
        assert_eq!(path.target(http, None, &policy()), Err(TenantError::NotAllowed("http://b.example".into())));
        assert_eq!(
            path.target(A, None, &OriginPolicy::default()),
            Err(TenantError::NotAllowed("https://a.example".into()))
        );
        let insecure = OriginPolicy { insecure: true, ..policy() };
        assert_eq!(path.target(http, None, &insecure).as_deref(), Ok("http://b.example/"));
    }

    #[test]
    fn the_id_is_safe_in_a_header_field() {
        for (path, field) in
            [("/storefrontA", "storefrontA"), ("/a%0Ab", "a%0Ab"), ("/%E2%82%AC", "%E2%82%AC"), ("/a%2525", "a%2525")]
        {
            assert_eq!(StorefrontPath::parse(path).unwrap().id_field(), field);
        }
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_origin_or_its_base(rest in "[ -~]{0,40}", query in proptest::option::of("[!-~]{0,20}")) {
            let url = format!("http://h/stores/a/{rest}");
            let path = request_path(&url);
            if let Some(behind) = path.strip_prefix("/stores")
                && let Ok(storefront) = StorefrontPath::parse(behind)
                && let Ok(target) = storefront.target(BASE, query.as_deref(), &policy())
            {
                prop_assert!(target.starts_with("https://a.example/shop/"), "{}", target);
                let (_, after) = Origin::split(&target).unwrap();
                let reparsed = request_path(&target);
                prop_assert!(reparsed.starts_with("/shop/"), "{}", reparsed);
                prop_assert!(after.starts_with("/shop/"));
            }
        }
    }

    fn request_path(url: &str) -> String {
        use crate::request_target::RequestTarget;
        RequestTarget::parse(url).path.into_owned()
    }
}

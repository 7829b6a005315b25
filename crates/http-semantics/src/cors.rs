//! Which pages of other sites may read a response (Fetch Standard, "CORS protocol").

use std::borrow::Cow;

use crate::origin::{Origin, OriginAllowList};

/// The origins whose pages may read responses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsOrigins {
    is_any: bool,
    listed: OriginAllowList,
}

impl CorsOrigins {
    /// Parses the var: origins such as `https://shop.example` or `https://*.shop.example`,
    /// separated by commas, or `*` for all. An entry without a scheme means https. An entry
    /// that is not an origin admits nothing.
    ///
    /// [`admits`](Self::admits) has an example.
    #[must_use]
    pub fn parse(var: &str) -> Self {
        let is_any = var.split(',').any(|entry| entry.trim() == "*");
        Self { is_any, listed: OriginAllowList::parse(var, &["https"]) }
    }

    /// Returns the value of `Access-Control-Allow-Origin` for a request with this `Origin`, or
    /// `None` if its page may not read the response. Unless the value is `*`, the response depends
    /// on the request and needs `Vary: Origin`.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_semantics::cors::CorsOrigins;
    ///
    /// let origins = CorsOrigins::parse("https://*.shop.example");
    /// let origin = "https://tea.shop.example";
    /// assert_eq!(origins.admits(origin).as_deref(), Some(origin));
    /// assert_eq!(origins.admits("https://shop.example.evil.example"), None);
    /// assert_eq!(origins.admits("null"), None, "what a sandboxed frame sends");
    /// ```
    #[must_use]
    pub fn admits<'a>(&self, origin: &'a str) -> Option<Cow<'a, str>> {
        if self.is_any {
            return Some(Cow::Borrowed("*"));
        }
        // A serialized origin has no path, not even `/`; an opaque origin is `null` (HTML
        // Standard, "Origin").
        let Ok((parsed, "")) = Origin::split(origin) else { return None };
        self.listed.admits(&parsed).then_some(Cow::Borrowed(origin))
    }

    /// Returns true if no other site is admitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.is_any && self.listed == OriginAllowList::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_admitted_if_the_var_names_it() {
        let listed = "https://shop.example, http://localhost:3000,https://*.apps.example,plain.example, nonsense://x,";
        for (var, origin, expected) in [
            (listed, "https://shop.example", Some("https://shop.example")),
            (listed, "http://localhost:3000", Some("http://localhost:3000")),
            (listed, "https://a.apps.example", Some("https://a.apps.example")),
            (listed, "https://plain.example", Some("https://plain.example")),
            (listed, "http://shop.example", None),
            (listed, "https://shop.example:8443", None),
            (listed, "https://shop.example/", None),
            (listed, "https://shop.example.evil.example", None),
            (listed, "https://evil-shop.example", None),
            (listed, "https://apps.example", None),
            (listed, "http://localhost", None),
            (listed, "http://plain.example", None),
            (listed, "nonsense://x", None),
            (listed, "null", None),
            (listed, "", None),
            (listed, "*", None),
            ("https://shop.example/", "https://shop.example", Some("https://shop.example")),
            ("https://shop.example/path", "https://shop.example", None),
            ("null", "null", None),
            ("", "https://shop.example", None),
            ("*", "https://shop.example", Some("*")),
            ("*", "null", Some("*")),
            ("https://shop.example, *", "https://other.example", Some("*")),
        ] {
            let admitted = CorsOrigins::parse(var).admits(origin).map(Cow::into_owned);
            assert_eq!(admitted.as_deref(), expected, "{origin} by {var}");
        }
    }

    #[test]
    fn without_the_var_no_other_site_is_admitted() {
        for (var, is_empty) in [
            ("", true),
            (" , ", true),
            ("nonsense", false),
            ("ftp://x", true),
            ("*", false),
            ("https://a.example", false),
        ] {
            assert_eq!(CorsOrigins::parse(var).is_empty(), is_empty, "{var}");
        }
        assert!(CorsOrigins::default().is_empty());
    }
}

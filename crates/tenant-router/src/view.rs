//! URLs in a response as the visitor sees them. `Location`, `Content-Location`, `Refresh` and
//! `Set-Cookie` name URLs and paths of the upstream, which the visitor knows below
//! `/stores/{id}` or at another host.

mod location;
mod refresh;
mod set_cookie;

use percent_encoding::percent_encode_byte;
pub use set_cookie::has_domain;

use super::upstream::Upstream;

/// The visitor's URL of a storefront, and the upstream URL that the response came from.
#[derive(Debug, Clone, Copy)]
pub struct VisitorView<'a> {
    /// The scheme of the visitor's request, `http` or `https`.
    pub scheme: &'a str,
    /// The host and port of the visitor's request.
    pub host: &'a str,
    /// `/stores/{id}` as the visitor sent it, or empty if the host names the storefront.
    pub prefix: &'a str,
    /// The upstream that sent the response.
    pub upstream: &'a Upstream,
    /// The path of the upstream request: it starts with the base path, and has no query.
    pub path: &'a str,
}

/// The upstreams of a storefront: those of its routes and variants, and its origin.
pub trait ReachableUpstreams {
    /// Returns all upstreams. The one that sent the response may be among them.
    fn all(&self) -> impl Iterator<Item = &Upstream>;

    /// Returns true if a request of this visitor for a path below the storefront (empty, or
    /// starting with `/`) reaches this upstream.
    fn reaches(&self, rest: &str, upstream: &Upstream) -> bool;
}

impl VisitorView<'_> {
    /// Returns true if an absolute path is already the visitor's, because the upstream applied
    /// `X-Forwarded-Prefix`. If the upstream has a base path, a path below it is the upstream's.
    fn is_visitors(&self, path: &str) -> bool {
        let base = self.upstream.base();
        let after = path.strip_prefix(self.prefix).filter(|_| !self.prefix.is_empty());
        after.is_some_and(|after| after.is_empty() || after.starts_with('/'))
            && (base.is_empty() || self.upstream.strip(path).is_none())
    }
}

/// Percent-encodes spaces, control characters and the ASCII characters in `more`.
fn escaped(text: &str, more: &[char]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) if byte <= b' ' || byte == 0x7f || more.contains(&character) => {
                escaped.push_str(percent_encode_byte(byte));
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use http_semantics::origin::Origin;
    use http_semantics::request_target::RequestTarget;

    /// The upstream that responds, and the routes beside it, the longest prefix first.
    pub(super) struct Storefront {
        server: Upstream,
        routes: Vec<(&'static str, Upstream)>,
    }

    impl Storefront {
        pub(super) fn of(server: &str, routes: &[(&'static str, &str)]) -> Self {
            let routes = routes.iter().map(|(path, url)| (*path, Upstream::parse(url).unwrap()));
            Self { server: Upstream::parse(server).unwrap(), routes: routes.collect() }
        }

        pub(super) fn shop() -> Self {
            Self::of("https://a.example/shop", &[])
        }

        pub(super) fn routed() -> Self {
            let routes = [
                ("/admin", "https://a.example"),
                ("/api", "https://api.example:8443"),
                ("/x/old", "https://old.example"),
            ];
            Self::of("https://a.example/shop", &routes)
        }

        fn route(&self, rest: &str) -> &Upstream {
            let is_below =
                |path: &str| rest.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            self.routes.iter().find(|(path, _)| is_below(path)).map_or(&self.server, |(_, upstream)| upstream)
        }
    }

    impl ReachableUpstreams for Storefront {
        fn all(&self) -> impl Iterator<Item = &Upstream> {
            self.routes.iter().map(|(_, upstream)| upstream)
        }

        fn reaches(&self, rest: &str, upstream: &Upstream) -> bool {
            self.route(rest) == upstream
        }
    }

    pub(super) fn view<'a>(storefront: &'a Storefront, prefix: &'a str) -> VisitorView<'a> {
        VisitorView { scheme: "https", host: "v.example", prefix, upstream: &storefront.server, path: "/shop/x/y" }
    }

    /// Returns the origin and path that a browser at `https://v.example` goes to, for both
    /// forms of a rewritten value.
    fn visited(value: &str) -> Option<(String, String)> {
        let end = value.find(['?', '#']).unwrap_or(value.len());
        let head = value[..end].replace(['\t', '\r', '\n'], "").replace('\\', "/");
        let url = if head.starts_with("//") {
            format!("https:{head}")
        } else if head.starts_with('/') {
            format!("https://v.example{head}")
        } else {
            head
        };
        let (origin, _) = Origin::split(&url).ok()?;
        Some((origin.as_str().to_owned(), RequestTarget::parse(&url).path.into_owned()))
    }

    fn pieces(base: &'static str) -> impl Strategy<Value = String> {
        let piece = "//?|\\\\|https?:|//a\\.example|/shop|/admin|/x/old|stores|/b|\\.\\.?|%2e|[a-z@:?#;\t ]|//api\\.example:8443|/api";
        (proptest::option::of(Just(base)), prop::collection::vec(piece, 0..7))
            .prop_map(|(base, pieces)| base.unwrap_or_default().to_owned() + &pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn a_rewritten_value_stays_in_the_storefront_or_at_its_server(
            value in prop_oneof![pieces("https://a.example/shop"), pieces("/shop"), any::<String>()],
            prefix in "(/stores/a)?",
            server in prop_oneof![Just("https://a.example/shop"), Just("https://a.example"), Just("http://a.example/shop/x")],
        ) {
            let storefront = Storefront { server: Upstream::parse(server).unwrap(), ..Storefront::routed() };
            let base = storefront.server.base();
            let path = format!("{base}/x/y");
            let view = VisitorView { path: &path, ..view(&storefront, &prefix) };
            if let Some(rewritten) = view.location(&value, &storefront) {
                prop_assert!(rewritten.bytes().all(|byte| byte > b' ' && byte != 0x7f), "{:?}", rewritten);
                let (origin, path) = visited(&rewritten).unwrap();
                if origin == "https://v.example" {
                    let rest = path.strip_prefix(&prefix).unwrap();
                    prop_assert!(rest.is_empty() || rest.starts_with('/'), "{}", rewritten);
                } else {
                    prop_assert_eq!(origin, storefront.server.origin().as_str());
                }
            }
        }

        #[test]
        fn a_request_for_a_rewritten_path_reaches_the_url_of_the_upstream(
            value in "(/shop|/admin|\\.\\.?)?(/(x|old|admin|\\.\\.?|%2E|%2F|;|shop)?){0,5}(\\?[a-z/?.]{0,4})?",
            prefix in "(/stores/a)?",
        ) {
            let routed = Storefront::routed();
            prop_assume!(!value.starts_with("//") && !value.is_empty() && !value.starts_with('?'));
            let merged = if value.starts_with('/') { value.clone() } else { format!("/shop/x/{value}") };
            let meant = RequestTarget::parse(&format!("https://a.example{merged}")).path.into_owned();
            let rewritten = view(&routed, &prefix).location(&value, &routed).unwrap_or(value);
            let (origin, path) = visited(&rewritten).unwrap();
            let requested = if origin == "https://v.example" {
                let rest = path.strip_prefix(&prefix).unwrap();
                routed.route(rest).join(rest, None)
            } else {
                origin + &path
            };
            // A request for the base path itself gets a trailing slash.
            let slash = if meant == "/shop" { "/" } else { "" };
            prop_assert_eq!(requested, format!("https://a.example{meant}{slash}"));
        }
    }
}

//! Parses a record, member by member.

#[cfg(test)]
mod tests;

use super::{Fallback, FieldEdits, OriginPolicy, PathRoute, RoutingEntry, Split, SplitVariant, StorefrontRecord};
use crate::access::{AccessRules, Country, IpRange, VisitorSet};
use crate::upstream::Upstream;
use http_semantics::fields::{self, is_name, is_value};
use http_semantics::request_target::{has_dot_segments, normalize_escapes};
use http_semantics::upstream_timeout::UpstreamTimeout;
use kv_store::limits::Key;
use kv_store::schema::Node;

/// The members that a record may have.
const MEMBERS: [&str; 10] =
    ["origin", "routes", "variants", "active", "split", "headers", "timeoutMs", "fallback", "access", "storefront"];

/// The fault of an origin that the policy does not admit.
pub(super) const NOT_ADMITTED: &str = "ROUTING_ORIGINS and ROUTING_INSECURE do not admit this origin";

/// Parses the value of a key.
pub(super) fn stored(key: &str, root: &Node<'_>, policy: Option<&OriginPolicy>) -> Option<RoutingEntry> {
    let object = root.object(&MEMBERS)?;
    if object.has("storefront") {
        return object.member("storefront", |id| {
            if !key.starts_with(crate::storefront_address::DOMAIN_KEY) {
                return id
                    .fault("only a custom domain, under a key that starts with \"domain:\", names another storefront");
            }
            let key = id.parsed(|id| Key::new(id.to_owned()))?;
            if key.as_str().starts_with(crate::storefront_address::DOMAIN_KEY) {
                return id.fault("it names a custom domain; name the storefront itself");
            }
            let others = MEMBERS.iter().filter(|member| **member != "storefront" && object.has(member));
            if others.count() > 0 {
                return root.fault("a record that names another storefront has no other member");
            }
            Some(RoutingEntry::CustomDomain(key))
        });
    }

    let upstream = |node: &Node<'_>| {
        let upstream = node.parsed(Upstream::parse)?;
        let is_admitted = policy.is_none_or(|policy| policy.admits(&upstream));
        if is_admitted { Some(upstream) } else { node.fault(NOT_ADMITTED) }
    };
    let ListedVariants { names, has_weight, good: variants } =
        object.member("variants", |list| read_variants(list, &upstream)).unwrap_or_default();
    let active = object.member("active", |name| {
        let text = name.text()?;
        let index = names.iter().position(|name| name == text);
        index.or_else(|| name.fault("it names no variant"))
    });
    let mut routes = object.member("routes", |list| read_routes(list, &upstream)).unwrap_or_default();
    // The sort is stable, and no two routes have the same path.
    routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
    let origin = object.member("origin", upstream);
    if !object.has("origin") && !object.has("active") && !has_weight {
        if object.has("variants") {
            let _missing: Option<()> =
                root.fault("it has neither an origin nor an active variant nor one with a weight");
        } else {
            let _missing: Option<Upstream> = object.required("origin", upstream);
        }
    }
    let headers = object.member("headers", read_headers).unwrap_or_default();
    Some(RoutingEntry::Record(Box::new(StorefrontRecord {
        origin,
        routes,
        variants,
        active,
        split: object.member("split", read_split).unwrap_or_default(),
        request_fields: headers.0,
        response_fields: headers.1,
        timeout: object.member("timeoutMs", |node| {
            let milliseconds = node.integer(1..=60_000)?;
            Some(UpstreamTimeout::from_milliseconds(milliseconds.into()))
        }),
        fallback: object.member("fallback", |node| read_fallback(node, &upstream)),
        access: object.member("access", read_access),
    })))
}

type ParseUpstream<'a> = dyn Fn(&Node<'_>) -> Option<Upstream> + 'a;

fn read_routes(list: &Node<'_>, upstream: &ParseUpstream<'_>) -> Option<Vec<PathRoute>> {
    let mut seen: Vec<String> = Vec::new();
    list.list(100, |node| {
        let object = node.object(&["path", "origin"])?;
        let path = object.required("path", |node| {
            let text = node.text()?;
            let is_clean = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\'));
            if !text.starts_with('/') {
                return node.fault("it must start with /");
            }
            if !is_clean || has_dot_segments(text) {
                return node.fault("it has a query, a fragment, a dot segment, a backslash, a space, or a character that is not printable ASCII");
            }
            let path = normalize_escapes(text.strip_suffix('/').unwrap_or(text)).into_owned();
            if seen.contains(&path) {
                return node.fault("another route has this path");
            }
            seen.push(path.clone());
            Some(path)
        });
        let upstream = object.required("origin", upstream);
        Some(PathRoute { path: path?, upstream: upstream? })
    })
}

/// The variants that a record lists. A variant with a fault is not among the valid ones, but
/// its name and weight count, so that its fault is not reported a second time as a missing
/// variant.
#[derive(Default)]
struct ListedVariants {
    names: Vec<String>,
    has_weight: bool,
    good: Vec<SplitVariant>,
}

fn read_variants(list: &Node<'_>, upstream: &ParseUpstream<'_>) -> Option<ListedVariants> {
    let mut names: Vec<String> = Vec::new();
    let mut has_weight = false;
    let good = list.list(16, |node| {
        let object = node.object(&["name", "origin", "weight"])?;
        let name = object.required("name", |node| {
            let text = node.text()?;
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            if !(1..=64).contains(&text.len()) || !text.bytes().all(is_plain) {
                return node.fault("a name has 1 to 64 characters: letters, digits, dots, hyphens and underscores");
            }
            if names.iter().any(|name| name == text) {
                return node.fault("another variant has this name");
            }
            names.push(text.to_owned());
            Some(text.to_owned())
        });
        let upstream = object.required("origin", upstream);
        let weight = object.member("weight", |node| node.integer(0..=1_000_000));
        has_weight |= object.has("weight") && weight != Some(0);
        Some(SplitVariant { name: name?, upstream: upstream?, weight: weight.unwrap_or(0) })
    })?;
    Some(ListedVariants { names, has_weight, good })
}

fn read_split(node: &Node<'_>) -> Option<Split> {
    let object = node.object(&["by", "name", "header", "cookie"])?;
    let field = |node: &Node<'_>| {
        let text = node.text()?;
        if is_name(text) { Some(text.to_ascii_lowercase()) } else { node.fault("it is no name of a header field") }
    };
    let unused = |names: &[&str]| {
        for name in names {
            object.member(name, |node| node.fault::<()>("it has no meaning with this \"by\""));
        }
    };
    object.required("by", |by| match by.text()? {
        "cookie" => {
            unused(&["name", "header", "cookie"]);
            Some(Split::Cookie)
        }
        "header" => {
            unused(&["header", "cookie"]);
            object.required("name", field).map(Split::Header)
        }
        "user" if object.has("cookie") => {
            unused(&["name", "header"]);
            // The name of a cookie is a token, too (RFC 6265 §4.1.1), but is case-sensitive.
            object.member("cookie", |node| {
                let text = node.text()?;
                if is_name(text) {
                    Some(Split::UserCookie(text.to_owned()))
                } else {
                    node.fault("it is no name of a cookie")
                }
            })
        }
        "user" => {
            unused(&["name"]);
            object.required("header", field).map(Split::UserHeader)
        }
        _ => by.fault("it must be \"cookie\", \"header\" or \"user\""),
    })
}

/// Returns true if a record may not change the request field: kv-edge, the runtime or Cloudflare
/// sets it, because it says where the request comes from or goes to, or describes the body.
fn is_own_request_field(name: &str) -> bool {
    matches!(name, "host" | "content-length" | "forwarded" | "via" | "cdn-loop")
        || ["x-forwarded-", "x-force-variant"].iter().any(|prefix| name.starts_with(prefix))
        || (name.starts_with("cf-") && !name.starts_with("cf-access-client-"))
}

/// Returns true if the response field describes the message itself, or if only kv-edge may set
/// it.
fn is_own_response_field(name: &str) -> bool {
    matches!(
        name,
        "content-length" | "content-encoding" | "x-served-by" | "x-storefront-id" | "x-variant" | "routing-source"
    )
}

fn read_headers(node: &Node<'_>) -> Option<(FieldEdits, FieldEdits)> {
    let object = node.object(&["request", "response"])?;
    let request = object.member("request", |node| read_edits(node, is_own_request_field, |_| false));
    // Setting it would remove all cookies of the upstream.
    let is_set_cookie = |name: &str| name == "set-cookie";
    let response = object.member("response", |node| read_edits(node, is_own_response_field, is_set_cookie));
    Some((request.unwrap_or_default(), response.unwrap_or_default()))
}

fn read_edits(node: &Node<'_>, is_own: fn(&str) -> bool, is_only_removed: fn(&str) -> bool) -> Option<FieldEdits> {
    let object = node.object(&["set", "remove"])?;
    let checked = |name: &str, node: &Node<'_>| {
        let lower = name.to_ascii_lowercase();
        if !is_name(name) {
            return node.fault("it is no name of a header field");
        }
        if fields::is_hop_by_hop(&lower) || is_own(&lower) {
            return node.fault("kv-edge sets or removes this field itself");
        }
        Some(lower)
    };
    let set = object.member("set", |set| {
        set.map(50, |name, node| {
            let name = checked(name, node)?;
            if is_only_removed(&name) {
                return node.fault("this field can be removed, not set");
            }
            let value = node.text()?;
            if value.len() > 8192 || !is_value(value) {
                return node
                    .fault("it is no value of a header field: ASCII without control characters, 8192 bytes at most");
            }
            Some((name, value.to_owned()))
        })
    });
    let remove = object.member("remove", |list| list.list(50, |node| checked(node.text()?, node)));
    Some(FieldEdits { set: set.unwrap_or_default(), remove: remove.unwrap_or_default() })
}

fn read_fallback(node: &Node<'_>, upstream: &ParseUpstream<'_>) -> Option<Fallback> {
    if node.as_text().is_some() {
        return upstream(node).map(Fallback::Upstream);
    }
    let object = node.object(&["asset"])?;
    object.required("asset", |node| node.parsed(|key| Key::new(key.to_owned()))).map(Fallback::Page)
}

fn read_access(node: &Node<'_>) -> Option<AccessRules> {
    let object = node.object(&["allow", "deny"])?;
    let who = |node: &Node<'_>| {
        let object = node.object(&["countries", "ips"])?;
        let countries =
            object.member("countries", |list| list.list(300, |node| node.parsed(Country::parse))).unwrap_or_default();
        let ranges =
            object.member("ips", |list| list.list(1000, |node| node.parsed(IpRange::parse))).unwrap_or_default();
        Some(VisitorSet { countries, ranges })
    };
    // A set that cannot be parsed must not admit everybody; its fault refuses the whole record.
    let allow = object.member("allow", |node| {
        let who_may = who(node)?;
        let is_empty = who_may.countries.is_empty() && who_may.ranges.is_empty();
        if is_empty { node.fault("it lists nobody") } else { Some(who_may) }
    });
    Some(AccessRules { allow, deny: object.member("deny", who).unwrap_or_default() })
}

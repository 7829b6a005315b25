//! Rewrites the header fields of a request for its upstream.

use std::net::IpAddr;

use super::TenantError;
use super::storefront_address::StorefrontAddress;
use super::storefront_record::FieldEdits;
use http_semantics::cdn_loop;
use http_semantics::fields::{Fields, HeaderEdits, remove_hop_by_hop, with_member};
use http_semantics::forwarding_fields::is_stripped;
use http_semantics::request_target::RequestTarget;

/// The member of `Via` (RFC 9110 §7.6.3). The version is that of the connection from
/// Cloudflare's proxy.
const VIA: &str = "1.1 kv-edge";
/// Fields that hold only the client's address. They get the true one. If it is unknown, they are
/// removed, as all other claims of a visitor are.
const NAMES_OF_THE_CLIENT: [&str; 2] = ["x-real-ip", "true-client-ip"];

/// Returns the edits of the request. Hop-by-hop fields are removed ([`remove_hop_by_hop`] has the
/// exceptions). Fields that only a proxy may set ([`is_stripped`]) are removed or replaced by true
/// ones (RFC 7239 and the older `X-Forwarded-*`). `Via` and `CDN-Loop` are continued. The record's
/// own edits come last. `may_upgrade` is true for a `GET`, the only method that may upgrade to a
/// WebSocket (RFC 6455 §4.1).
///
/// # Errors
/// [`TenantError::Loop`] if the request has passed through kv-edge before.
pub(super) fn edits<'a>(
    fields: &impl Fields,
    target: &RequestTarget<'a>,
    address: &StorefrontAddress<'a>,
    client: Option<IpAddr>,
    record_edits: &'a FieldEdits,
    may_upgrade: bool,
) -> Result<HeaderEdits<'a>, TenantError> {
    let mut edits = HeaderEdits::default();
    remove_hop_by_hop(fields, may_upgrade, &mut edits);
    for name in fields.names().split(',').filter(|name| is_stripped(name)) {
        match client {
            Some(ip) if NAMES_OF_THE_CLIENT.contains(&name) => edits.set(name.to_owned(), ip.to_string()),
            _ => edits.remove(name.to_owned()),
        }
    }
    if let Some(ip) = client {
        edits.set("x-forwarded-for", ip.to_string());
    }
    edits.set("x-forwarded-proto", target.scheme);
    edits.set("x-forwarded-host", target.authority);
    if !address.prefix.is_empty() {
        edits.set("x-forwarded-prefix", address.prefix);
    }
    edits.set("forwarded", forwarded(client, target));
    edits.set("via", with_member(fields.get("via"), VIA));
    edits.set("cdn-loop", cdn_loop::append_cdn_id(fields.get("cdn-loop")).ok_or(TenantError::Loop)?);

    for name in &record_edits.remove {
        edits.set.retain(|(set, _)| set != name);
        edits.remove(name.as_str());
    }
    for (name, value) in &record_edits.set {
        edits.set(name.as_str(), value.as_str());
    }
    Ok(edits)
}

/// Returns the `Forwarded` field (RFC 7239 §4). The host is quoted because of its port, and an
/// IPv6 address because of its brackets (§6.1).
fn forwarded(client: Option<IpAddr>, target: &RequestTarget<'_>) -> String {
    let client = match client {
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => format!("\"[{ip}]\""),
        None => "unknown".to_owned(),
    };
    format!("for={client};host=\"{}\";proto={}", target.authority, target.scheme)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_semantics::fields::HeaderSection;

    const URL: &str = "https://shops.example:8443/stores/a/x?q";

    fn edited(
        fields: &[(&'static str, &str)],
        record_edits: &FieldEdits,
    ) -> Result<(Vec<String>, Vec<String>), TenantError> {
        let target = RequestTarget::parse(URL);
        let address = StorefrontAddress::by_path("/stores/a/x").unwrap();
        let fields = HeaderSection::from(fields);
        let client = fields.get("cf-connecting-ip").and_then(|ip| ip.parse().ok());
        let edits = edits(&fields, &target, &address, client, record_edits, true)?;
        let removed = edits.remove.iter().map(|name| name.clone().into_owned()).collect();
        let set = edits.set.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        Ok((removed, set))
    }

    #[test]
    fn a_visitors_claims_about_proxies_are_removed_or_replaced_by_true_values() {
        let (removed, set) = edited(
            &[
                ("cf-connecting-ip", "192.0.2.1"),
                ("connection", "close"),
                ("forwarded", "for=evil"),
                ("x-forwarded-for", "6.6.6.6"),
                ("x-forwarded-zork", "1"),
                ("x-force-variant-token", "secret"),
                ("via", "1.0 before"),
                ("cdn-loop", "other"),
            ],
            &FieldEdits::default(),
        )
        .unwrap();
        assert_eq!(removed, ["forwarded", "x-forwarded-for", "x-forwarded-zork", "x-force-variant-token"]);
        assert_eq!(
            set,
            [
                "x-forwarded-for: 192.0.2.1",
                "x-forwarded-proto: https",
                "x-forwarded-host: shops.example:8443",
                "x-forwarded-prefix: /stores/a",
                "forwarded: for=192.0.2.1;host=\"shops.example:8443\";proto=https",
                "via: 1.0 before, 1.1 kv-edge",
                "cdn-loop: other, kv-edge",
            ]
        );
    }

    #[test]
    fn other_fields_that_name_the_client_or_its_url_are_true_or_go() {
        let fields = [
            ("x-real-ip", "6.6.6.6"),
            ("true-client-ip", "6.6.6.6"),
            ("x_real_ip", "6.6.6.6"),
            ("x_forwarded_for", "6.6.6.6"),
            ("x-client-ip", "6.6.6.6"),
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("x-http-method-override", "DELETE"),
            ("x-real-estate", "kept"),
        ];
        let (removed, set) = edited(&fields, &FieldEdits::default()).unwrap();
        let unknown: Vec<&str> = fields.iter().map(|(name, _)| *name).filter(|name| *name != "x-real-estate").collect();
        assert_eq!(removed, unknown);
        assert!(!set.iter().any(|field| field.contains("6.6.6.6")));
        let known: Vec<_> = [("cf-connecting-ip", "192.0.2.1")].into_iter().chain(fields).collect();
        let (removed, set) = edited(&known, &FieldEdits::default()).unwrap();
        assert_eq!(removed, unknown[2..]);
        assert_eq!(set[..3], ["x-real-ip: 192.0.2.1", "true-client-ip: 192.0.2.1", "x-forwarded-for: 192.0.2.1"]);
    }

    #[test]
    fn an_ipv6_client_is_quoted_and_a_missing_one_is_unknown() {
        let forwarded = |fields: &[(&'static str, &str)]| edited(fields, &FieldEdits::default()).unwrap().1;
        let set = forwarded(&[("cf-connecting-ip", "2001:DB8::1")]);
        assert!(set.contains(&"x-forwarded-for: 2001:db8::1".to_owned()), "{set:?}");
        assert!(set.iter().any(|field| field.starts_with("forwarded: for=\"[2001:db8::1]\";")), "{set:?}");
        for fields in [&[] as &[_], &[("cf-connecting-ip", "no address, evil=1")]] {
            let set = forwarded(fields);
            assert!(set.iter().any(|field| field.starts_with("forwarded: for=unknown;")), "{set:?}");
            assert!(!set.iter().any(|field| field.starts_with("x-forwarded-for")), "{set:?}");
        }
    }

    #[test]
    fn the_record_has_the_last_word_on_its_own_fields() {
        let record_edits =
            FieldEdits { set: vec![("x-a".into(), "1".into())], remove: vec!["cookie".into(), "authorization".into()] };
        let (removed, set) = edited(&[("cookie", "a=1")], &record_edits).unwrap();
        assert_eq!(removed, ["cookie", "authorization"]);
        assert_eq!(set.last().map(String::as_str), Some("x-a: 1"));
    }

    #[test]
    fn a_request_that_was_here_before_is_a_loop() {
        assert_eq!(edited(&[("cdn-loop", "a, KV-Edge;x=1")], &FieldEdits::default()), Err(TenantError::Loop));
    }
}

//! Rewrites the header fields of an upstream response for the visitor.

#[cfg(test)]
mod tests;

use super::request_plan::RouteTarget;
use super::storefront_address::{StorefrontAddress, id_field};
use super::storefront_record::{Serving, SplitVariant, StorefrontRecord};
use super::upstream::Upstream;
use super::view::{ReachableUpstreams, VisitorView, has_domain};
use http_semantics::fields::{Fields, HeaderEdits, list, remove_hop_by_hop};
use http_semantics::request_target::RequestTarget;
use http_semantics::workers_cache;
use kv_store::record_cache::RecordState;

/// The response fields on which the edits depend, separated by commas.
pub const RESPONSE_FIELDS: &str = "connection,proxy-authenticate,proxy-authorization,proxy-connection,te,trailer,upgrade,alt-svc,\
                              location,content-location,refresh,set-cookie,x-variant,routing-source,\
                              service-worker-allowed,clear-site-data,cache-control";

/// The character that the runtime shows in place of bytes that are not UTF-8. The bytes
/// themselves survive only if the field is not set again.
const INVALID_UTF_8: char = char::REPLACEMENT_CHARACTER;

/// The value of `X-Served-By`, as documented.
pub const SERVED_BY: &str = "Cloudflare Worker";

/// The field that says that the record's fallback sent a response, or that the record is the last
/// valid one or stale.
pub const ROUTING_SOURCE: &str = "routing-source";

/// An upstream response, and how it came about.
pub struct ProxiedResponse<'a, F> {
    /// The header fields of the response.
    pub fields: &'a F,
    /// The upstream that sent it.
    pub target: RouteTarget<'a>,
    /// True if that upstream is the record's fallback.
    pub is_fallback: bool,
    /// Whether the record is the one in KV, the last valid one, or stale.
    pub record_state: RecordState,
    /// The `Set-Cookie` for a new visitor.
    pub set_cookie: Option<&'a str>,
}

impl<F: Fields> ProxiedResponse<'_, F> {
    /// Returns the edits of the response, in this order:
    ///
    /// 1. Hop-by-hop fields ([`remove_hop_by_hop`] has the exceptions) and `Alt-Svc` are removed;
    ///    the latter would lead around kv-edge (RFC 7838 §3). At a host that storefronts share,
    ///    `Service-Worker-Allowed` and `Clear-Site-Data` are removed, too.
    /// 2. URLs and cookies become those of the visitor.
    /// 3. The record's own edits are applied.
    /// 4. Workers Cache is told to store nothing. For all other caches the record's own
    ///    `Cache-Control` counts, or else the upstream's. Without either, or if the record removes
    ///    it, the response becomes `private`. A variant's response becomes `private`, too, unless
    ///    the record sets the field or the upstream says what shared caches may do.
    /// 5. The fields that say who served it are set, and the cookie of a new visitor is added.
    ///
    /// # Examples
    ///
    /// ```
    /// # use http_semantics::request_target::RequestTarget;
    /// # use tenant_router::storefront_address::{Hosts, StorefrontAddress};
    /// # use tenant_router::storefront_record::RoutingEntry;
    /// #
    /// use http_semantics::fields::HeaderSection;
    /// use kv_store::record_cache::RecordState;
    /// use tenant_router::request_plan::RouteTarget;
    /// use tenant_router::response_edits::ProxiedResponse;
    ///
    /// let url = "https://shops.example/stores/tea/order";
    /// let json = r#"{"origin": "https://tea.example/shop"}"#;
    /// # let target = RequestTarget::parse(url);
    /// # let host = Hosts::parse("", "").match_host(target.authority);
    /// # let address = StorefrontAddress::of(&host, &target).unwrap();
    /// # let entry = RoutingEntry::parse("tea", json, None).unwrap();
    /// # let RoutingEntry::Record(record) = entry else { panic!("it is a storefront") };
    /// let upstream = record.upstreams().next().unwrap();
    /// let fields = HeaderSection::from(&[("location", "https://tea.example/shop/cart")]);
    /// let response = ProxiedResponse {
    ///     fields: &fields,
    ///     target: RouteTarget { variant: None, upstream },
    ///     is_fallback: false,
    ///     record_state: RecordState::Current,
    ///     set_cookie: None,
    /// };
    /// let edits = response.edits(&target, &address, &record);
    /// let location = ("location".into(), "https://shops.example/stores/tea/cart".into());
    /// assert!(edits.set.contains(&location));
    /// assert!(edits.set.contains(&("cache-control".into(), "private".into())));
    /// ```
    #[must_use]
    pub fn edits<'e>(
        &'e self,
        target: &'e RequestTarget<'_>,
        address: &'e StorefrontAddress<'_>,
        record: &'e StorefrontRecord,
    ) -> HeaderEdits<'e> {
        let mut edits = HeaderEdits::default();
        remove_hop_by_hop(self.fields, true, &mut edits);
        if self.fields.has("alt-svc") {
            edits.remove("alt-svc");
        }
        // Both would affect all storefronts at the same host, because they apply to paths
        // outside of this one's prefix.
        for name in ["service-worker-allowed", "clear-site-data"] {
            if !address.prefix.is_empty() && self.fields.has(name) {
                edits.remove(name);
            }
        }
        self.rewrite_urls(target, address, record, &mut edits);

        let record_edits = &record.response_fields;
        for name in &record_edits.remove {
            edits.set.retain(|(set, _)| set != name);
            edits.append.retain(|(appended, _)| appended != name);
            edits.remove(name.as_str());
        }
        for (name, value) in &record_edits.set {
            edits.set(name.as_str(), value.as_str());
        }
        let is_set = edits.set.iter().any(|(name, _)| name == "cache-control");
        if !is_set && let Some(cache_control) = self.cache_control(record) {
            edits.set("cache-control", cache_control);
        }
        // The key of Workers Cache has neither the host nor the visitor's cookie.
        let (name, no_store) = workers_cache::NO_STORE;
        edits.set(name, no_store);
        edits.set("x-served-by", SERVED_BY);
        edits.set("x-storefront-id", id_field(address.key.as_str()));
        match self.target.variant {
            Some(variant) => edits.set("x-variant", variant),
            None if self.fields.has("x-variant") => edits.remove("x-variant"),
            None => {}
        }
        match source(self.record_state, self.is_fallback) {
            Some(source) => edits.set(ROUTING_SOURCE, source),
            None if self.fields.has(ROUTING_SOURCE) => edits.remove(ROUTING_SOURCE),
            None => {}
        }
        if let Some(cookie) = self.set_cookie {
            edits.append("set-cookie", cookie);
        }
        edits
    }

    /// Returns the `Cache-Control` that replaces the upstream's; `None` if that stays. A cache in
    /// front could store a response without the field (RFC 9111 §4.2.2), and show one visitor the
    /// variant of another.
    fn cache_control(&self, record: &StorefrontRecord) -> Option<String> {
        let is_removed = record.response_fields.remove.iter().any(|name| name == "cache-control");
        if is_removed || !self.fields.has("cache-control") {
            return Some("private".to_owned());
        }
        self.target.variant?;
        let from_origin = self.fields.get("cache-control")?;
        (!addresses_shared_caches(&from_origin)).then(|| format!("{from_origin}, private"))
    }

    fn rewrite_urls<'e>(
        &'e self,
        target: &RequestTarget<'_>,
        address: &StorefrontAddress<'_>,
        record: &StorefrontRecord,
        edits: &mut HeaderEdits<'e>,
    ) {
        let upstream = self.target.upstream;
        let path = &*upstream.path(address.rest);
        let view =
            VisitorView { scheme: target.scheme, host: target.authority, prefix: address.prefix, upstream, path };
        let upstreams = StorefrontUpstreams { record, served_by: upstream, is_fallback: self.is_fallback };
        // Rewriting a URL that is not UTF-8 would make it another URL.
        let url_field = |name: &str| self.fields.get(name).filter(|value| !value.contains(INVALID_UTF_8));
        for name in ["location", "content-location"] {
            if let Some(field) = url_field(name).and_then(|value| view.location(&value, &upstreams)) {
                edits.set(name, field);
            }
        }
        if let Some(field) = url_field("refresh").and_then(|value| view.refresh(&value, &upstreams)) {
            edits.set("refresh", field);
        }
        if self.fields.has("set-cookie") {
            let lines = self.fields.set_cookies();
            let visible: Vec<String> = lines.iter().map(|line| view.set_cookie(line)).collect();
            // If one line changes, all are set again, which destroys those that are not UTF-8. So
            // a change of such a line is only worth it if the line has a `Domain`, and so reaches
            // other hosts. Otherwise the cookie keeps the upstream's `Path`, but paths are not a
            // security boundary (RFC 6265 §8.5).
            let has_important_change = lines
                .iter()
                .zip(&visible)
                .any(|(line, visible)| line != visible && (!line.contains(INVALID_UTF_8) || has_domain(line)));
            if has_important_change {
                edits.remove("set-cookie");
                for line in visible {
                    edits.append("set-cookie", line);
                }
            }
        }
    }
}

/// Returns true if a `Cache-Control` says itself whether shared caches may store the response (RFC
/// 9111 §5.2.2).
fn addresses_shared_caches(cache_control: &str) -> bool {
    list(cache_control).any(|directive| {
        let name = directive.split('=').next().unwrap_or_default().trim();
        ["public", "s-maxage", "private", "no-store"].iter().any(|listed| name.eq_ignore_ascii_case(listed))
    })
}

/// The value of [`ROUTING_SOURCE`] for a response of the record's fallback.
pub const FALLBACK: &str = "fallback";

fn source(record_state: RecordState, is_fallback: bool) -> Option<&'static str> {
    match (record_state, is_fallback) {
        (_, true) => Some(FALLBACK),
        (RecordState::LastKnownGood, false) => Some("last-good"),
        (RecordState::Stale, false) => Some("stale"),
        (RecordState::Current, false) => None,
    }
}

/// The upstreams of a storefront, and which paths reach them.
struct StorefrontUpstreams<'a> {
    record: &'a StorefrontRecord,
    served_by: &'a Upstream,
    is_fallback: bool,
}

impl StorefrontUpstreams<'_> {
    /// Returns true if the visitor's next request can reach this upstream as a variant. If a
    /// variant served this request, only that variant will serve the next: a redirect to another
    /// variant would lead the visitor back to their own. Otherwise it is the active variant, or
    /// any that has a share of the visitors.
    fn reaches_variant(&self, upstream: &Upstream) -> bool {
        let is = |variant: &SplitVariant, upstream: &Upstream| variant.upstream == *upstream;
        let variants = self.record.variants();
        if variants.iter().any(|variant| is(variant, self.served_by)) {
            return upstream == self.served_by;
        }
        match self.record.active() {
            Some(active) => is(active, upstream),
            None => variants.iter().any(|variant| variant.weight > 0 && is(variant, upstream)),
        }
    }
}

impl ReachableUpstreams for StorefrontUpstreams<'_> {
    fn all(&self) -> impl Iterator<Item = &Upstream> {
        self.record.upstreams()
    }

    fn reaches(&self, rest: &str, upstream: &Upstream) -> bool {
        // While the fallback serves, it may get the next request, whatever its path.
        (self.is_fallback && upstream == self.served_by)
            || match self.record.serving(rest) {
                Some(Serving::One(serving)) => serving == upstream,
                Some(Serving::Variants) => self.reaches_variant(upstream),
                None => false,
            }
    }
}

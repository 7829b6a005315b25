//! What is changed in an origin's answer on its way back to the visitor.

#[cfg(test)]
mod tests;

use super::address::{Address, id_field};
use super::backend::Backend;
use super::plan::Target;
use super::record::{Record, Serving, Variant};
use super::view::{Backends, View, has_domain};
use http_semantics::fields::{Fields, HeaderEdits, remove_hop_by_hop};
use http_semantics::request_target::RequestTarget;
use kv_store::memory::Standing;

/// The fields of an answer that matter here, separated by commas: those of one connection that the runtime passes on, those
/// that are rewritten, and those that only kv-edge may set.
pub const LOOKED_FOR: &str = "connection,proxy-authenticate,proxy-authorization,proxy-connection,te,trailer,upgrade,alt-svc,\
                              location,content-location,refresh,set-cookie,x-variant,routing-source,\
                              service-worker-allowed,clear-site-data,cache-control";

/// Stands where the platform found bytes that are no UTF-8: which ones, only the answer's own fields know, and only as long as nobody
/// sets them anew.
const LOST_BYTES: char = char::REPLACEMENT_CHARACTER;

/// The value of `X-Served-By`, as documented.
pub const SERVED_BY: &str = "Cloudflare Worker";

/// Says that an answer did not come about as usual.
pub const ROUTING_SOURCE: &str = "routing-source";

/// An answer, and how it came about.
pub struct Answered<'a, F> {
    /// Its header fields.
    pub fields: &'a F,
    /// The server that gave it.
    pub target: Target<'a>,
    /// True where that is the record's fallback.
    pub is_fallback: bool,
    /// How the record stood to what KV holds.
    pub standing: Standing,
    /// `Set-Cookie` for a visitor that is new here.
    pub set_cookie: Option<&'a str>,
}

impl<F: Fields> Answered<'_, F> {
    /// The edits: fields of the connection and `Alt-Svc` go (it would lead around kv-edge, RFC 7838 §3), URLs and cookies become
    /// the visitor's, an answer that says nothing of caches is `private`, then come the record's own edits, and last who served it.
    #[must_use]
    pub fn edits<'e>(
        &'e self,
        asked: &'e RequestTarget<'_>,
        address: &'e Address<'_>,
        record: &'e Record,
    ) -> HeaderEdits<'e> {
        let mut edits = HeaderEdits::default();
        remove_hop_by_hop(self.fields, true, &mut edits);
        if self.fields.has("alt-svc") {
            edits.remove("alt-svc");
        }
        // Both would reach past the storefront's own paths: to all others at the same host.
        for name in ["service-worker-allowed", "clear-site-data"] {
            if !address.prefix.is_empty() && self.fields.has(name) {
                edits.remove(name);
            }
        }
        self.make_visible(asked, address, record, &mut edits);

        let own = &record.response_fields;
        for name in &own.remove {
            edits.set.retain(|(set, _)| set != name);
            edits.append.retain(|(appended, _)| appended != name);
            edits.remove(name.as_str());
        }
        for (name, value) in &own.set {
            edits.set(name.as_str(), value.as_str());
        }
        // A cache in front of kv-edge might key without the host or the cookie, and store what says nothing.
        let is_removed = edits.remove.iter().any(|name| name == "cache-control");
        let is_set = edits.set.iter().any(|(name, _)| name == "cache-control");
        if !is_set && (is_removed || !self.fields.has("cache-control")) {
            edits.set("cache-control", "private");
        }
        edits.set("x-served-by", SERVED_BY);
        edits.set("x-storefront-id", id_field(address.key.as_str()));
        match self.target.variant {
            Some(variant) => edits.set("x-variant", variant),
            None if self.fields.has("x-variant") => edits.remove("x-variant"),
            None => {}
        }
        match source(self.standing, self.is_fallback) {
            Some(source) => edits.set(ROUTING_SOURCE, source),
            None if self.fields.has(ROUTING_SOURCE) => edits.remove(ROUTING_SOURCE),
            None => {}
        }
        if let Some(cookie) = self.set_cookie {
            edits.append("set-cookie", cookie);
        }
        edits
    }

    fn make_visible<'e>(
        &'e self,
        asked: &RequestTarget<'_>,
        address: &Address<'_>,
        record: &Record,
        edits: &mut HeaderEdits<'e>,
    ) {
        let backend = self.target.backend;
        let url = backend.join(address.rest, None);
        let path = url.strip_prefix(backend.origin().as_str()).unwrap_or_default();
        let view = View { scheme: asked.scheme, host: asked.authority, prefix: address.prefix, backend, path };
        let backends = Reachable { record, asked: backend, is_fallback: self.is_fallback };
        // A URL with lost bytes would be another one after a rewriting.
        let url_field = |name: &str| self.fields.get(name).filter(|value| !value.contains(LOST_BYTES));
        for name in ["location", "content-location"] {
            if let Some(field) = url_field(name).and_then(|value| view.location(&value, &backends)) {
                edits.set(name, field);
            }
        }
        if let Some(field) = url_field("refresh").and_then(|value| view.refresh(&value, &backends)) {
            edits.set("refresh", field);
        }
        if self.fields.has("set-cookie") {
            let lines = self.fields.set_cookies();
            let visible: Vec<String> = lines.iter().map(|line| view.set_cookie(line)).collect();
            // What need not change stays as it is, byte for byte: a line may be no UTF-8. All lines are set anew, or none. One with
            // lost bytes keeps them if it reaches no other host: its path is then the server's, no boundary anyway (RFC 6265 §8.5).
            // Beside a line that has to change, which may be a session, it does not.
            let mut changed = lines.iter().zip(&visible).filter(|(line, visible)| line != visible).peekable();
            let has_changed = changed.peek().is_some();
            if has_changed && !changed.all(|(line, _)| line.contains(LOST_BYTES) && !has_domain(line)) {
                edits.remove("set-cookie");
                for line in visible {
                    edits.append("set-cookie", line);
                }
            }
        }
    }
}

/// The value of [`ROUTING_SOURCE`] for an answer of the record's fallback.
pub const FALLBACK: &str = "fallback";

fn source(standing: Standing, is_fallback: bool) -> Option<&'static str> {
    match (standing, is_fallback) {
        (_, true) => Some(FALLBACK),
        (Standing::LastGood, false) => Some("last-good"),
        (Standing::Stale, false) => Some("stale"),
        (Standing::Current, false) => None,
    }
}

/// The servers of a storefront, and which paths reach them.
struct Reachable<'a> {
    record: &'a Record,
    asked: &'a Backend,
    is_fallback: bool,
}

impl Reachable<'_> {
    /// Of the variants, a visitor reaches the one that answered him, and no other: a redirect to that would lead him back to
    /// where he is. One who was answered by none of them may reach each that he can get.
    fn reaches_variant(&self, backend: &Backend) -> bool {
        let is = |variant: &Variant, backend: &Backend| variant.backend == *backend;
        let variants = self.record.variants();
        if variants.iter().any(|variant| is(variant, self.asked)) {
            return backend == self.asked;
        }
        match self.record.active() {
            Some(active) => is(active, backend),
            None => variants.iter().any(|variant| variant.weight > 0 && is(variant, backend)),
        }
    }
}

impl Backends for Reachable<'_> {
    fn all(&self) -> impl Iterator<Item = &Backend> {
        self.record.backends()
    }

    fn reaches(&self, rest: &str, backend: &Backend) -> bool {
        // The fallback stands in for all of the others.
        (self.is_fallback && backend == self.asked)
            || match self.record.serving(rest) {
                Some(Serving::One(serving)) => serving == backend,
                Some(Serving::Variants) => self.reaches_variant(backend),
                None => false,
            }
    }
}

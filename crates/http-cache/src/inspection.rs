//! What the cache holds for a URL, for somebody who looks. It comes from the records in KV and the
//! purges, with the rules by which a request would use them.

use std::collections::BTreeMap;

use http_semantics::timestamp::rfc_3339;
use kv_store::limits::Key;
use serde::Serialize;

use crate::cache_control::Qualified;
use crate::cached_url::CachedUrl;
use crate::purge::{PurgeList, PurgeMode};
use crate::stored_response::StoredResponse;
use crate::vary;

/// A stored response, as people look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedResponse {
    /// The key in KV.
    pub key: String,
    /// What it is for.
    pub kind: StoredKind,
    /// The status.
    pub status: u16,
    /// When the upstream sent it, or last validated it.
    pub stored_at: String,
    /// For how many seconds it stays fresh; below 0, for how long it has been stale.
    pub ttl_seconds: i64,
    /// True if its lifetime has not ended, no purge covers it, and it need not be validated each
    /// time.
    pub is_fresh: bool,
    /// How it was purged since.
    pub purged: Option<PurgeMode>,
    /// True if a request can find it: no hard purge covers it. A variant is found through the
    /// response under the URL's key, if no hard purge covers that, it names the same request
    /// fields, and it is of the same epoch.
    pub is_reachable: bool,
    /// The request fields that select it, each with a hash of its value, because values can be
    /// secrets, or `None` if the request has no such field. `None` if no field selects it.
    pub selected_by: Option<BTreeMap<String, Option<String>>>,
    /// The length of the body in bytes.
    pub bytes: u64,
    /// The header fields. Lines of one name are joined with a comma (RFC 9110 §5.3).
    pub fields: BTreeMap<String, String>,
}

/// What a stored response is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredKind {
    /// It is under the URL's own key: the only response, or one of several variants.
    Url,
    /// It is a further variant, under a key of its own.
    Variant,
    /// It is the JSON view of the page ([`page_view`](crate::page_view)).
    Page,
}

/// Describes the stored responses of a URL: the one under the URL's key, its variants, and the
/// JSON view of the page. `now_ms` is milliseconds since the Unix epoch.
#[must_use]
pub fn inspect(
    url: &CachedUrl,
    stored: &[(Key<'_>, StoredResponse)],
    purges: &PurgeList,
    now_ms: u64,
) -> Vec<InspectedResponse> {
    let covers = |stored: &StoredResponse| purges.covers(url.as_str(), &stored.metadata);
    let primary = stored.iter().find(|(key, _)| *key == url.key()).map(|(_, stored)| stored);
    let primary = primary.filter(|primary| covers(primary) != Some(PurgeMode::Hard));
    let inspect = |(key, stored): &(Key<'_>, StoredResponse)| {
        let (metadata, mode) = (&stored.metadata, covers(stored));
        let selecting_fields = &metadata.selecting_fields;
        let kind = match key {
            key if *key == url.key() => StoredKind::Url,
            key if *key == url.page_key() => StoredKind::Page,
            _ => StoredKind::Variant,
        };
        let is_found = kind != StoredKind::Variant
            || primary.is_some_and(|primary| {
                let of_primary = &primary.metadata;
                of_primary.epoch_ms == metadata.epoch_ms
                    && vary::have_same_names(&of_primary.selecting_fields, selecting_fields)
            });
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in metadata.fields.iter() {
            let joined = fields.entry(name.to_owned()).or_default();
            joined.push_str(if joined.is_empty() { "" } else { ", " });
            joined.push_str(value);
        }
        let ttl_ms = stored.freshness.ttl_ms(now_ms);
        InspectedResponse {
            key: key.as_str().to_owned(),
            kind,
            status: metadata.status,
            stored_at: rfc_3339(metadata.times.received_ms / 1000),
            ttl_seconds: stored.ttl_seconds(now_ms),
            is_fresh: ttl_ms > 0 && mode.is_none() && stored.directives.no_cache != Qualified::All,
            purged: mode,
            is_reachable: is_found && mode != Some(PurgeMode::Hard),
            selected_by: (!selecting_fields.is_empty()).then(|| vary::selectors(selecting_fields)),
            bytes: metadata.length,
            fields,
        }
    };
    stored.iter().map(inspect).collect()
}

#[cfg(test)]
mod tests {
    use http_semantics::fields::HeaderSection;
    use http_semantics::origin::OriginAllowList;

    use super::*;
    use crate::freshness::ExchangeTimes;
    use crate::purge::{Purge, PurgeTarget};
    use crate::stored_response::StoredMetadata;
    use crate::vary::SelectingFields;

    /// 2026-11-21T11:44:35Z
    const NOW_MS: u64 = 1_795_261_475_000;

    fn url() -> CachedUrl {
        CachedUrl::of_href("https://example.com/a", &OriginAllowList::parse("https://example.com", &[])).unwrap()
    }

    fn stored(fields: &[(&str, &str)], selecting_fields: &[(&str, &str)], epoch_ms: u64) -> StoredResponse {
        let fields: HeaderSection = fields.iter().copied().collect();
        let times = ExchangeTimes { requested_ms: NOW_MS, received_ms: NOW_MS };
        let metadata = StoredMetadata::of_plain_request(200, &fields, times);
        let selecting_fields: SelectingFields =
            selecting_fields.iter().map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned())).collect();
        StoredResponse::new(StoredMetadata { selecting_fields, epoch_ms, length: 5, ..metadata }, None)
    }

    #[test]
    fn a_stored_response_is_fresh_until_its_lifetime_ends() {
        let response = stored(&[("cache-control", "max-age=60"), ("x-a", "1"), ("x-a", "2")], &[], NOW_MS);
        let inspect = |now_ms| {
            let stored = [(url().key(), response.clone())];
            inspect(&url(), &stored, &PurgeList::default(), now_ms).remove(0)
        };
        let fresh = inspect(NOW_MS + 1_000);
        assert_eq!((fresh.key.as_str(), fresh.status, fresh.bytes), ("GET https://example.com/a", 200, 5));
        assert_eq!((fresh.stored_at.as_str(), fresh.ttl_seconds), ("2026-11-21T11:44:35Z", 59));
        assert_eq!(fresh.fields.get("x-a").map(String::as_str), Some("1, 2"));
        assert!(fresh.is_fresh && fresh.is_reachable && fresh.selected_by.is_none() && fresh.purged.is_none());
        let stale = inspect(NOW_MS + 65_000);
        assert_eq!((stale.ttl_seconds, stale.is_fresh, stale.is_reachable), (-5, false, true));
    }

    #[test]
    fn a_response_that_must_be_validated_each_time_is_not_fresh() {
        let response = stored(&[("cache-control", "max-age=60, no-cache")], &[], NOW_MS);
        let inspected = inspect(&url(), &[(url().key(), response)], &PurgeList::default(), NOW_MS);
        assert!(!inspected[0].is_fresh && inspected[0].ttl_seconds == 60);
    }

    #[test]
    fn a_purged_response_is_not_fresh_and_after_a_hard_purge_not_found() {
        let response = stored(&[("cache-control", "max-age=60"), ("cache-tag", "news")], &[], NOW_MS);
        for (mode, target, is_reachable) in [
            (PurgeMode::Soft, PurgeTarget::Tag("news".to_owned()), true),
            (PurgeMode::Hard, PurgeTarget::Prefix("https://example.com/".to_owned()), false),
        ] {
            let mut purges = PurgeList::default();
            purges.add(Purge { target, mode, at_ms: NOW_MS });
            let inspected = inspect(&url(), &[(url().key(), response.clone())], &purges, NOW_MS);
            let InspectedResponse { purged, is_fresh, is_reachable: is_found, .. } = &inspected[0];
            assert_eq!((*purged, *is_fresh, *is_found), (Some(mode), false, is_reachable));
        }
    }

    #[test]
    fn a_variant_is_found_through_the_response_under_the_urls_key() {
        let control = [("cache-control", "max-age=60"), ("vary", "accept-language")];
        let (de, none) = ([("accept-language", "hash")], [("accept-language", "-")]);
        let key = |fields: &[(&str, &str)]| url().variant_key(&stored(&control, fields, 0).metadata.selecting_fields);
        for (epoch_ms, names, is_reachable) in
            [(7, &none[..], true), (8, &none[..], false), (7, &[("accept", "-")][..], false)]
        {
            let variants = [(url().key(), stored(&control, names, epoch_ms)), (key(&de), stored(&control, &de, 7))];
            let inspected = inspect(&url(), &variants, &PurgeList::default(), NOW_MS);
            assert_eq!(
                (inspected[0].is_reachable, inspected[1].is_reachable),
                (true, is_reachable),
                "{epoch_ms} {names:?}"
            );
            assert_eq!((inspected[0].kind, inspected[1].kind), (StoredKind::Url, StoredKind::Variant));
            let selected_by = inspected[1].selected_by.as_ref().unwrap();
            assert_eq!(selected_by.get("accept-language"), Some(&Some("hash".to_owned())));
        }
        let alone = inspect(&url(), &[(key(&none), stored(&control, &none, 7))], &PurgeList::default(), NOW_MS);
        assert!(!alone[0].is_reachable, "the response under the URL's key is gone");
        assert_eq!(alone[0].selected_by.as_ref().unwrap().get("accept-language"), Some(&None));
        let page = inspect(&url(), &[(url().page_key(), stored(&control, &[], 7))], &PurgeList::default(), NOW_MS);
        assert!(page[0].is_reachable && page[0].kind == StoredKind::Page);
    }
}

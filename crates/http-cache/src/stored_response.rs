//! A stored response without its body (RFC 9111 §2): its metadata in KV, what that says about
//! its use, and the key it is stored under.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::cache_control::CacheControl;
use crate::credentials::CredentialFields;
use crate::freshness::{ExchangeTimes, Freshness};
use crate::storable::{stored_fields, stores_cookies};
use crate::vary::{self, SelectingFields, Vary};
use http_semantics::fields::{Fields, HeaderSection};
use kv_store::limits::{METADATA_BYTES_MAX, VALUE_BYTES_MAX};
use kv_store::record;

/// The metadata of a stored response: everything but the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMetadata {
    /// The status.
    pub status: u16,
    /// The header fields, without those that must not be stored (RFC 9111 §3.1).
    pub fields: HeaderSection,
    /// When the upstream was last asked for it, and when it responded; validations count. The
    /// response to a write counts as requested just after it was received: it is newer than the
    /// invalidation that the write causes.
    pub times: ExchangeTimes,
    /// The length of the body in bytes.
    pub length: u64,
    /// The request fields that select it (RFC 9111 §4.1); empty if its `Vary` names none.
    pub selecting_fields: SelectingFields,
    /// When a response with the same list of selecting fields was first stored for the URL, in
    /// milliseconds since the Unix epoch. A variant is used only if the response under the URL's
    /// key has the same epoch, so a change of `Vary` makes all older variants unreachable.
    pub epoch_ms: u64,
}

impl StoredMetadata {
    /// Returns the metadata of a response that has just been received. Length, selecting fields
    /// and epoch are left for the caller to set.
    #[must_use]
    pub fn from_response(
        request: &impl Fields,
        credentials: &CredentialFields,
        status: u16,
        fields: &HeaderSection,
        times: ExchangeTimes,
        default_lifetime_ms: Option<u64>,
    ) -> Self {
        let (directives, is_targeted) = CacheControl::of_response(fields);
        let freshness = Freshness::of(status, fields, &directives, is_targeted, times, default_lifetime_ms);
        // A cookie in response to a cookie may be the visitor's own session.
        let with_cookies = stores_cookies(&directives, is_targeted, &freshness) && !credentials.are_in(request);
        let fields = stored_fields(fields, with_cookies);
        Self { status, fields, times, length: 0, selecting_fields: SelectingFields::new(), epoch_ms: 0 }
    }

    /// Returns the metadata of a response to a request without fields.
    pub(crate) fn of_plain_request(status: u16, fields: &HeaderSection, times: ExchangeTimes) -> Self {
        Self::from_response(&HeaderSection::default(), &CredentialFields::default(), status, fields, times, None)
    }

    /// Returns the same response without cookies. A cookie in response to a POST may be the
    /// session that it began.
    #[must_use]
    pub fn without_cookies(self) -> Self {
        Self { fields: stored_fields(&self.fields, false), ..self }
    }

    /// Returns the same response with other fields, from a validation. If its `Vary` names other
    /// fields than before, it becomes the response to this request, and a new epoch begins (RFC
    /// 9111 §4.1).
    #[must_use]
    pub fn updated(&self, request: &impl Fields, fields: &HeaderSection, times: ExchangeTimes) -> Self {
        let (directives, is_targeted) = CacheControl::of_response(fields);
        let freshness = Freshness::of(self.status, fields, &directives, is_targeted, times, None);
        let with_cookies = stores_cookies(&directives, is_targeted, &freshness);
        let updated = Self { fields: stored_fields(fields, with_cookies), times, ..self.clone() };
        let names = match Vary::parse(fields.get("vary").as_deref()) {
            Vary::Names(names) => names,
            // `Vary: *` is not stored.
            Vary::Nothing | Vary::Star => Vec::new(),
        };
        if self.selecting_fields.iter().map(|(name, _)| name).eq(&names) {
            return updated;
        }
        Self { selecting_fields: vary::selecting_fields(&names, request), epoch_ms: times.received_ms, ..updated }
    }

    /// Returns the metadata of a value in KV that has none. Nothing is known but that KV still
    /// has it.
    #[must_use]
    pub fn unknown(now_ms: u64) -> Self {
        let times = ExchangeTimes { requested_ms: now_ms, received_ms: now_ms };
        Self::of_plain_request(200, &HeaderSection::default(), times)
    }
}

/// A stored response without its body, with its directives and freshness, which are parsed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// The metadata.
    pub metadata: StoredMetadata,
    /// The directives of `CDN-Cache-Control`, or else of `Cache-Control`.
    pub directives: CacheControl,
    /// Its age and lifetime.
    pub freshness: Freshness,
}

impl StoredResponse {
    /// Parses what the metadata says about its use. `default_lifetime_ms` is the lifetime if it
    /// states none, in milliseconds.
    ///
    /// [`decide`](crate::decision::decide) has an example.
    #[must_use]
    pub fn new(metadata: StoredMetadata, default_lifetime_ms: Option<u64>) -> Self {
        let (directives, is_targeted) = CacheControl::of_response(&metadata.fields);
        let StoredMetadata { status, times, .. } = metadata;
        let freshness = Freshness::of(status, &metadata.fields, &directives, is_targeted, times, default_lifetime_ms);
        Self { metadata, directives, freshness }
    }

    /// Reads a record of KV. `head` is its JSON; `default_lifetime_ms` is the lifetime of a
    /// response that states none, in milliseconds. If there is such a default, a record without a
    /// head is accepted.
    ///
    /// # Errors
    /// [`UnusableRecord`] says why the record is not used.
    pub fn from_head(
        head: Option<&str>,
        default_lifetime_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<Self, UnusableRecord> {
        let metadata = match head {
            Some(head) => StoredMetadata::from_json(head)?,
            None if default_lifetime_ms.is_some() => StoredMetadata::unknown(now_ms),
            None => return Err(UnusableRecord::Broken),
        };
        Ok(Self::new(metadata, default_lifetime_ms))
    }

    /// Returns for how many whole seconds it stays fresh, rounded up. Together with its `Age`,
    /// which is rounded down, that is its lifetime.
    #[must_use]
    pub fn ttl_seconds(&self, now_ms: u64) -> i64 {
        self.freshness.ttl_ms(now_ms).saturating_add(999).div_euclid(1000)
    }

    /// Returns for how many milliseconds it has been stale; 0 while it is fresh.
    #[must_use]
    pub fn stale_ms(&self, now_ms: u64) -> u64 {
        u64::try_from(self.freshness.ttl_ms(now_ms).saturating_neg()).unwrap_or(0)
    }
}

/// Under which of its URL's keys a response is stored.
///
/// The URL's own key holds either the only response or one of several variants. The other
/// variants have keys of their own, which a lookup finds through the names of the selecting
/// fields in the first.
///
/// ```text
///   GET https://a.example/          Vary: Accept-Language; the variant "de"; names the field
///   GET https://a.example/#<hash>   the variant "fr"
///   GET https://a.example/#<hash>   the variant "en"
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageKey {
    /// Under the URL's key, replacing what is there.
    Url {
        /// The epoch of the variants ([`StoredMetadata::epoch_ms`]).
        epoch_ms: u64,
    },
    /// Under the variant's own key.
    Variant {
        /// The epoch of the variants ([`StoredMetadata::epoch_ms`]).
        epoch_ms: u64,
    },
}

impl StorageKey {
    /// Returns where to store a response with these selecting fields.
    ///
    /// `hit` is the stored response that it replaces, with true if that is under the key of a
    /// variant. If both have the same names of selecting fields, the new one goes to the same
    /// place. Otherwise `primary` decides, the response under the URL's key. It keeps its place if
    /// it is fresh and has the same names with other values; any other is replaced, and other
    /// names begin a new epoch.
    #[must_use]
    pub fn choose(
        primary: Option<&StoredResponse>,
        hit: Option<(&StoredResponse, bool)>,
        selecting_fields: &SelectingFields,
        now_ms: u64,
    ) -> Self {
        let has_same_fields =
            |stored: &StoredResponse| vary::have_same_names(&stored.metadata.selecting_fields, selecting_fields);
        if let Some((hit, is_variant)) = hit.filter(|(hit, _)| has_same_fields(hit)) {
            let epoch_ms = hit.metadata.epoch_ms;
            return if is_variant { Self::Variant { epoch_ms } } else { Self::Url { epoch_ms } };
        }
        let Some(primary) = primary.filter(|primary| has_same_fields(primary)) else {
            return Self::Url { epoch_ms: now_ms };
        };
        let epoch_ms = primary.metadata.epoch_ms;
        if primary.metadata.selecting_fields == *selecting_fields || !primary.freshness.is_fresh(now_ms) {
            Self::Url { epoch_ms }
        } else {
            Self::Variant { epoch_ms }
        }
    }

    /// Returns the epoch of the variants ([`StoredMetadata::epoch_ms`]).
    #[must_use]
    pub fn epoch_ms(self) -> u64 {
        let (Self::Url { epoch_ms } | Self::Variant { epoch_ms }) = self;
        epoch_ms
    }
}

/// The metadata in Workers KV. Its names are short, so that it seldom takes more than the 1024
/// bytes of KV's own metadata; a longer one is put in front of the body.
#[derive(Serialize, Deserialize)]
struct MetadataRecord<'a> {
    /// The version of the format.
    v: u8,
    s: u16,
    #[serde(borrow)]
    f: Cow<'a, str>,
    q: u64,
    r: u64,
    l: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    y: Vec<(String, String)>,
    e: u64,
}

/// The metadata of a key whose head has room there (`src/platform/glue/envelope.js`).
#[derive(Serialize)]
struct EnvelopeMetadata<'a> {
    head: &'a str,
    length: u64,
}

/// Version 1 could hold responses that were made for one visitor's credentials, so they are not
/// used.
const VERSION: u8 = 2;

/// Why a record in Workers KV is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnusableRecord {
    /// It has another version of the format. It counts as absent.
    OtherVersion,
    /// It does not parse, or is no response that the runtime can send.
    Broken,
}

impl StoredMetadata {
    /// Returns the JSON that is stored in Workers KV.
    ///
    /// [`usable_record`](crate::exchange::usable_record) has an example.
    #[must_use]
    pub fn to_json(&self) -> String {
        record::to_json(&MetadataRecord {
            v: VERSION,
            s: self.status,
            f: Cow::Borrowed(self.fields.as_str()),
            q: self.times.requested_ms,
            r: self.times.received_ms,
            l: self.length,
            y: self.selecting_fields.clone(),
            e: self.epoch_ms,
        })
    }

    /// Returns the length of the value in KV in bytes, at most: that of the body, and of this JSON
    /// if the metadata of the key has no room for it.
    #[must_use]
    pub fn value_bytes(&self) -> u64 {
        // Only a long body asks: the head has 32 KiB, which escapes make some more.
        if self.length <= VALUE_BYTES_MAX / 2 {
            return self.length;
        }
        let head = self.to_json();
        let metadata = record::to_json(&EnvelopeMetadata { head: &head, length: self.length });
        if metadata.len() <= METADATA_BYTES_MAX { self.length } else { self.length + head.len() as u64 }
    }

    /// Parses that JSON.
    ///
    /// # Errors
    /// [`UnusableRecord`] says why the record is not used.
    pub fn from_json(json: &str) -> Result<Self, UnusableRecord> {
        let record: MetadataRecord<'_> = serde_json::from_str(json).map_err(|_| UnusableRecord::Broken)?;
        if record.v != VERSION {
            return Err(UnusableRecord::OtherVersion);
        }
        let fields = HeaderSection::parse(record.f.into_owned());
        // The runtime would refuse such a response, or a part of it, for each client.
        if !(200..=599).contains(&record.s) || !fields.is_valid() || record.l > VALUE_BYTES_MAX {
            return Err(UnusableRecord::Broken);
        }
        Ok(Self {
            status: record.s,
            fields,
            times: ExchangeTimes { requested_ms: record.q, received_ms: record.r },
            length: record.l,
            selecting_fields: record.y,
            epoch_ms: record.e,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_back_from_json_and_a_broken_record_is_an_error() {
        let metadata = StoredMetadata {
            status: 203,
            fields: [("etag", "\"a\\b\""), ("vary", "x"), ("set-cookie", "ü=1")].into_iter().collect(),
            times: ExchangeTimes { requested_ms: 1, received_ms: u64::MAX },
            length: 3,
            selecting_fields: vec![("x".to_owned(), "-".to_owned())],
            epoch_ms: 4,
        };
        let json = metadata.to_json();
        assert_eq!(StoredMetadata::from_json(&json).as_ref(), Ok(&metadata));
        for broken in ["", "{", "null", "[]", "{}", &json.replace("203", "99")] {
            assert_eq!(StoredMetadata::from_json(broken), Err(UnusableRecord::Broken), "{broken}");
        }
        for (good, bad) in [
            ("vary", "va ry"),
            ("vary", "Vary"),
            ("vary", ""),
            ("ü=1", "a\\rb"),
            ("ü=1", "\\u0000"),
            ("\"l\":3", "\"l\":26214401"),
            ("\"l\":3", "\"l\":9007199254740993"),
        ] {
            let broken = json.replace(good, bad);
            assert_ne!(broken, json);
            assert_eq!(StoredMetadata::from_json(&broken), Err(UnusableRecord::Broken), "{broken}");
        }
        for version in ["1", "3"] {
            let other = json.replace("\"v\":2", &format!("\"v\":{version}"));
            assert_eq!(StoredMetadata::from_json(&other), Err(UnusableRecord::OtherVersion), "{other}");
        }
    }

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW_MS: u64 = 784_111_777_000;
    const NOW: ExchangeTimes = ExchangeTimes { requested_ms: NOW_MS, received_ms: NOW_MS };

    /// A stored variant that is fresh for a minute.
    fn variant(selecting_fields: &SelectingFields, epoch_ms: u64) -> StoredResponse {
        let fields: HeaderSection = [("cache-control", "max-age=60")].into_iter().collect();
        let metadata = StoredMetadata::of_plain_request(200, &fields, NOW);
        StoredResponse::new(StoredMetadata { selecting_fields: selecting_fields.clone(), epoch_ms, ..metadata }, None)
    }

    fn selecting_fields(list: &[(&str, &str)]) -> SelectingFields {
        list.iter().map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned())).collect()
    }

    #[test]
    fn a_variant_is_stored_beside_a_fresh_one_and_replaces_a_stale_one() {
        // RFC 9111 §4.1: "If no stored response matches, the cache cannot satisfy the presented
        // request. Typically, the request is forwarded to the origin server".
        let (one, other) = (selecting_fields(&[("accept", "a")]), selecting_fields(&[("accept", "b")]));
        let (primary, fresh_ms, stale_ms) = (variant(&one, 7), NOW_MS + 59_999, NOW_MS + 60_000);
        for (rule, new, now_ms, storage_key) in [
            ("the same", &one, fresh_ms, StorageKey::Url { epoch_ms: 7 }),
            ("the same, stale", &one, stale_ms, StorageKey::Url { epoch_ms: 7 }),
            ("another", &other, fresh_ms, StorageKey::Variant { epoch_ms: 7 }),
            ("another, stale", &other, stale_ms, StorageKey::Url { epoch_ms: 7 }),
        ] {
            assert_eq!(StorageKey::choose(Some(&primary), None, new, now_ms), storage_key, "{rule}");
            assert_eq!(storage_key.epoch_ms(), 7);
        }
        // A response that was selected is replaced where it is stored, or an older copy could
        // come back.
        let hit = variant(&other, 7);
        for (is_variant, storage_key) in
            [(true, StorageKey::Variant { epoch_ms: 7 }), (false, StorageKey::Url { epoch_ms: 7 })]
        {
            for now_ms in [fresh_ms, stale_ms] {
                assert_eq!(StorageKey::choose(Some(&primary), Some((&hit, is_variant)), &other, now_ms), storage_key);
            }
        }
    }

    #[test]
    fn other_selecting_fields_begin_a_new_epoch() {
        let [accept, both, language, none] =
            [&[("accept", "a")][..], &[("accept", "a"), ("cookie", "b")], &[("accept-language", "a")], &[]]
                .map(selecting_fields);
        let anew = StorageKey::Url { epoch_ms: NOW_MS };
        assert_eq!(StorageKey::choose(None, None, &accept, NOW_MS), anew, "the first");
        for (primary, new) in
            [(&accept, &both), (&both, &accept), (&accept, &language), (&none, &accept), (&accept, &none)]
        {
            assert_eq!(StorageKey::choose(Some(&variant(primary, 7)), None, new, NOW_MS), anew, "{primary:?} {new:?}");
        }
        assert_eq!(StorageKey::choose(Some(&variant(&none, 7)), None, &none, NOW_MS), StorageKey::Url { epoch_ms: 7 });
    }

    #[test]
    fn a_validation_renews_fields_and_times_and_the_selection_only_if_vary_names_other_fields() {
        let selecting_fields = selecting_fields(&[("accept", "a")]);
        let primary = StoredMetadata { length: 3, ..variant(&selecting_fields, 7).metadata };
        let primary = StoredMetadata { status: 203, ..primary };
        let later = ExchangeTimes { requested_ms: NOW_MS + 70_000, received_ms: NOW_MS + 71_000 };
        let fields: HeaderSection = [
            ("cache-control", "max-age=5, private=\"x-a\""),
            ("x-a", "1"),
            ("connection", "x-b"),
            ("x-b", "2"),
            ("vary", "accept"),
        ]
        .into_iter()
        .collect();
        let request: HeaderSection = [("accept", "b")].into_iter().collect();
        let updated = primary.updated(&request, &fields, later);
        let stored: HeaderSection =
            [("cache-control", "max-age=5, private=\"x-a\""), ("vary", "accept")].into_iter().collect();
        assert_eq!(updated, StoredMetadata { fields: stored, times: later, ..primary });
        // RFC 9111 §4.1: with another list of selecting fields, it is the response to this
        // request.
        let other: HeaderSection = [("vary", "x-c")].into_iter().collect();
        let of_another = updated.updated(&request, &other, later);
        assert_eq!((of_another.selecting_fields.len(), of_another.epoch_ms), (1, later.received_ms));
        assert_eq!(of_another.selecting_fields[0], ("x-c".to_owned(), "-".to_owned()));
        // RFC 9111 §4.3.4: the stored response is fresh again; its age counts from the
        // validation.
        let stored = StoredResponse::new(updated, None);
        assert_eq!(stored.freshness.age_ms(NOW_MS + 71_000), 1000);
        assert_eq!(stored.freshness.ttl_ms(NOW_MS + 71_000), 4000);
    }

    #[test]
    fn ttl_is_in_whole_seconds_and_staleness_in_milliseconds() {
        // Together with `Age`, which is rounded down, it adds up to the lifetime.
        let stored = variant(&SelectingFields::new(), 0);
        for (after_ms, ttl, stale_ms) in [
            (0, 60, 0),
            (1, 60, 0),
            (999, 60, 0),
            (1000, 59, 0),
            (59_999, 1, 0),
            (60_000, 0, 0),
            (60_001, 0, 1),
            (60_999, 0, 999),
            (61_000, -1, 1000),
        ] {
            let now_ms = NOW_MS + after_ms;
            assert_eq!((stored.ttl_seconds(now_ms), stored.stale_ms(now_ms)), (ttl, stale_ms), "after {after_ms} ms");
        }
    }

    #[test]
    fn a_default_lifetime_is_for_responses_that_state_none() {
        let unknown = StoredMetadata::unknown(NOW_MS);
        assert_eq!(StoredResponse::new(unknown.clone(), Some(60_000)).ttl_seconds(NOW_MS), 60);
        assert_eq!(StoredResponse::new(unknown, None).ttl_seconds(NOW_MS), 0);
        let said = variant(&SelectingFields::new(), 0).metadata;
        assert_eq!(StoredResponse::new(said, Some(1000)).ttl_seconds(NOW_MS), 60);
    }
}

//! Purging: stored responses of a URL, of a prefix of URLs, with a tag, or all of them are no
//! longer used, or count as stale.
//!
//! A purge is one small record in KV with the time of the purge, and every hit is compared with
//! all purges. A purge covers a response that was requested no later. After a *hard* one it is not
//! used. After a *soft* one it is stale: a request that does not ask for a fresh one gets it while
//! one request refreshes it, but not for longer than without the purge. So purging a tag
//! costs one write, however many responses carry it. The records expire when the responses that
//! they cover have expired, too. (For a hard purge of a URL, the Worker also deletes the stored
//! values.)
//!
//! ```
//! use http_cache::purge::{self, PurgeMode, PurgeTarget};
//! use http_semantics::origin::OriginAllowList;
//!
//! let allowed = OriginAllowList::parse("https://example.com", &[]);
//! let request = br#"{"tag": "News", "prefix": "https://example.com/a/"}"#;
//! let request = purge::parse_request(request, &allowed)?;
//! let prefix = PurgeTarget::Prefix("https://example.com/a/".to_owned());
//! assert_eq!(request.targets, [prefix, PurgeTarget::Tag("news".to_owned())]);
//! assert_eq!(request.mode, PurgeMode::Hard);
//! # Ok::<(), purge::PurgeError>(())
//! ```

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cached_url::{CachedUrl, encoded};
use crate::error::{CacheError, URL_BYTES_MAX};
use crate::stale::EXPIRATION_TTL_MAX_SECONDS;
use crate::stored_response::StoredMetadata;
use http_semantics::content_hash;
use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::fields::{self, Fields, HeaderSection};
use http_semantics::one_of_each;
use http_semantics::origin::{Origin, OriginAllowList};
use http_semantics::request_target::{ends_within_escape, has_dot_segments};
use http_semantics::status::Status;
use kv_store::limits::Key;
use kv_store::record::{self, BrokenRecord};
use kv_store::schema::{self, Fault, Node};

/// The prefix of the keys of all purges in `CACHE_KV`.
pub const KEY_PREFIX: &str = "purge:";

/// How long KV keeps the record of a purge, in seconds: as long as it may keep any response.
const RECORD_SECONDS: u32 = EXPIRATION_TTL_MAX_SECONDS;

/// How long KV keeps the record of a hard purge of a URL, in seconds. The values of the URL are
/// deleted from KV as well. The record is for isolates that still see them, and for responses that
/// were requested before.
const URL_RECORD_SECONDS: u32 = 60 * 60;

/// The longest body of a purge request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// The most targets of one request.
const TARGETS_MAX: usize = 30;

/// The longest text in a record, in bytes. With each `\` doubled it still fits into the 1024
/// bytes of metadata, and with a prefix into a key. For a longer URL its SHA-256 hash stands in,
/// which does not look like a URL.
const TEXT_BYTES_MAX: usize = 480;

/// What is purged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PurgeTarget {
    /// All responses of this URL.
    Url(String),
    /// All responses of URLs that begin with this text.
    Prefix(String),
    /// All responses with this tag.
    Tag(String),
    /// All responses. The value is true. An older build ignores this purge.
    All(bool),
}

/// What a purge does with the responses that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PurgeMode {
    /// They are not used any more.
    #[default]
    Hard,
    /// They count as stale: they are served while one request refreshes them, and as long as that
    /// fails. A request that asks for a fresh response does not get them, and none gets them for
    /// longer than without the purge.
    Soft,
}

/// A target, and how and when it is purged.
///
/// # Examples
///
/// ```
/// use http_cache::purge::{Purge, PurgeMode, PurgeTarget};
///
/// let target = PurgeTarget::Prefix("https://example.com/tea/".to_owned());
/// let purge = Purge { target, mode: PurgeMode::Hard, at_ms: 1_764_424_800_000 };
/// assert_eq!(purge.key().as_str(), "purge:prefix:https://example.com/tea/");
/// let json = r#"{"prefix":"https://example.com/tea/","atMs":1764424800000}"#;
/// assert_eq!((purge.metadata().as_str(), Purge::parse(json)?), (json, purge));
/// # Ok::<(), kv_store::record::BrokenRecord>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// What is purged.
    pub target: PurgeTarget,
    /// Whether the stored responses are unusable or stale afterwards.
    pub mode: PurgeMode,
    /// When, in milliseconds since the Unix epoch. A response that was requested later is not
    /// covered.
    pub at_ms: u64,
}

/// A purge as the metadata of a value in Workers KV: `{"tag":"x","atMs":1700000000000}`.
#[derive(Serialize, Deserialize)]
struct PurgeRecord {
    #[serde(flatten)]
    target: PurgeTarget,
    /// A build that does not know this member takes the purge for a hard one.
    #[serde(default, skip_serializing_if = "is_false")]
    soft: bool,
    #[serde(rename = "atMs")]
    at_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Purge {
    /// Returns the number of seconds for which KV keeps the record.
    #[must_use]
    pub fn expiration_ttl_seconds(&self) -> u32 {
        match (&self.target, self.mode) {
            (PurgeTarget::Url(_), PurgeMode::Hard) => URL_RECORD_SECONDS,
            _ => RECORD_SECONDS,
        }
    }

    /// Returns the key of the record in `CACHE_KV`. Each target has one for each mode, so a later
    /// purge of it replaces the former, but a soft one never a hard one.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "two purges must never share a key: one would undo the other"
    )]
    #[must_use]
    pub fn key(&self) -> Key<'static> {
        let mode = match self.mode {
            PurgeMode::Hard => "",
            PurgeMode::Soft => "soft:",
        };
        let target = match &self.target {
            PurgeTarget::Url(url) => format!("url:{}", short(url)),
            PurgeTarget::Prefix(prefix) => format!("prefix:{}", short(prefix)),
            PurgeTarget::Tag(tag) => format!("tag:{}", short(tag)),
            PurgeTarget::All(_) => "all".to_owned(),
        };
        Key::new([KEY_PREFIX, mode, &target].concat()).expect("the text is short enough for a key")
    }

    /// Returns the record as JSON. It is the value's metadata, because a listing of keys returns
    /// that too.
    #[must_use]
    pub fn metadata(&self) -> String {
        let target = match &self.target {
            PurgeTarget::Url(url) => PurgeTarget::Url(short(url).into_owned()),
            other => other.clone(),
        };
        record::to_json(&PurgeRecord { target, soft: self.mode == PurgeMode::Soft, at_ms: self.at_ms })
    }

    /// Parses a record.
    ///
    /// # Errors
    /// [`BrokenRecord`] if the text is not the JSON of a purge, or says nothing of what is purged:
    /// which responses it covers is not known then.
    pub fn parse(metadata: &str) -> Result<Self, BrokenRecord> {
        let PurgeRecord { target, soft, at_ms } = record::parse(metadata)?;
        let is_meant = match &target {
            PurgeTarget::Url(text) | PurgeTarget::Prefix(text) | PurgeTarget::Tag(text) => !text.is_empty(),
            PurgeTarget::All(all) => *all,
        };
        let mode = if soft { PurgeMode::Soft } else { PurgeMode::Hard };
        if is_meant { Ok(Self { target, mode, at_ms }) } else { Err(BrokenRecord::of_kind("a purge of nothing")) }
    }
}

/// Returns a text in the form in which targets are compared.
fn short(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_BYTES_MAX {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("sha256:{}", content_hash::sha256([text])))
    }
}

/// All purges that are known.
///
/// Each takes a few hundred bytes. Their number is not bounded here, because to drop one would
/// bring back the responses that it covers; the records in KV expire by themselves.
///
/// # Examples
///
/// ```
/// use http_cache::purge::{Purge, PurgeList, PurgeMode, PurgeTarget};
/// use http_cache::stored_response::StoredMetadata;
/// use http_semantics::fields::HeaderSection;
///
/// let mut purges = PurgeList::default();
/// let target = PurgeTarget::Tag("news".to_owned());
/// purges.add(Purge { target, mode: PurgeMode::Soft, at_ms: 5000 });
///
/// let fields = HeaderSection::from(&[("cache-tag", "News, tea")]);
/// let (url, stored) = ("https://example.com/a", StoredMetadata::unknown(4000));
/// let tagged = StoredMetadata { fields, ..stored.clone() };
/// assert_eq!(purges.covers(url, &tagged), Some(PurgeMode::Soft));
/// assert_eq!(purges.covers(url, &stored), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PurgeList {
    hard: PurgeTimes,
    soft: PurgeTimes,
    newest_ms: u64,
}

/// The time of the last purge of each target, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct PurgeTimes {
    urls: BTreeMap<String, u64>,
    /// By length, so that a URL needs one look-up for each length.
    prefixes: BTreeMap<usize, BTreeMap<String, u64>>,
    tags: BTreeMap<String, u64>,
    all_ms: Option<u64>,
}

/// Returns a digest of a listing. Equal listings have equal digests.
#[must_use]
pub fn digest(metadata: &[String]) -> String {
    content_hash::sha256(metadata.iter().flat_map(|purge| [purge.as_bytes(), &[0]]))
}

impl PurgeList {
    /// Adds a purge. If a target is purged again, the newest time counts.
    pub fn add(&mut self, purge: Purge) {
        let Purge { target, mode, at_ms } = purge;
        self.newest_ms = at_ms.max(self.newest_ms);
        let times = match mode {
            PurgeMode::Hard => &mut self.hard,
            PurgeMode::Soft => &mut self.soft,
        };
        let (purges, text) = match target {
            PurgeTarget::Url(url) => (&mut times.urls, short(&url).into_owned()),
            PurgeTarget::Prefix(prefix) => (times.prefixes.entry(prefix.len()).or_default(), prefix),
            PurgeTarget::Tag(tag) => (&mut times.tags, tag.to_ascii_lowercase()),
            PurgeTarget::All(_) => {
                times.all_ms = times.all_ms.max(Some(at_ms));
                return;
            }
        };
        let newest = purges.entry(text).or_default();
        *newest = at_ms.max(*newest);
    }

    /// Returns how a stored response was purged since it was requested; `None` if it was not. For
    /// a response newer than all purges, which most hits are, this costs one comparison.
    #[must_use]
    pub fn covers(&self, url: &str, metadata: &StoredMetadata) -> Option<PurgeMode> {
        if metadata.times.requested_ms > self.newest_ms {
            return None;
        }
        let covers = |times: &PurgeTimes| times.last_ms(url, &metadata.fields) >= Some(metadata.times.requested_ms);
        let is_soft = || covers(&self.soft).then_some(PurgeMode::Soft);
        if covers(&self.hard) { Some(PurgeMode::Hard) } else { is_soft() }
    }

    /// Returns when the responses of this URL were last purged hard, whatever their tags, in
    /// milliseconds since the Unix epoch.
    #[must_use]
    pub fn last_hard_ms(&self, url: &str) -> Option<u64> {
        self.hard.last_ms(url, &HeaderSection::default())
    }
}

impl PurgeTimes {
    fn last_ms(&self, url: &str, fields: &HeaderSection) -> Option<u64> {
        let of_url = if self.urls.is_empty() { None } else { self.urls.get(&*short(url)).copied() };
        let of_prefixes = self.prefixes.iter().filter_map(|(length, purges)| purges.get(url.get(..*length)?).copied());
        let tags = if self.tags.is_empty() { Vec::new() } else { tags(fields) };
        let of_tags = tags.iter().filter_map(|tag| self.tags.get(tag).copied());
        self.all_ms.max(of_url).max(of_prefixes.max()).max(of_tags.max())
    }
}

/// Returns the tags of a response in lower case: those of `Cache-Tag`, separated by commas, and
/// of `Surrogate-Key`, separated by white space. Cloudflare ignores the case of a `Cache-Tag`;
/// other caches do not ignore that of a `Surrogate-Key`, but it is safer to purge too much.
#[must_use]
pub fn tags(fields: &impl Fields) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    if let Some(field) = fields.get("cache-tag") {
        tags.extend(fields::list(&field).filter_map(tag));
    }
    if let Some(field) = fields.get("surrogate-key") {
        tags.extend(field.split_ascii_whitespace().filter_map(tag));
    }
    tags
}

/// Returns a tag in the form in which tags are compared; `None` if it is empty. Joining the
/// lines of a field may leave a comma at its end.
fn tag(text: &str) -> Option<String> {
    let tag = text.trim().trim_matches(',');
    (!tag.is_empty()).then(|| tag.to_ascii_lowercase())
}

/// Why a purge request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PurgeError {
    /// It has no `Content-Length` (RFC 9110 §15.5.12).
    #[error("The purge needs a Content-Length.")]
    LengthRequired,
    /// Its body is longer than [`REQUEST_BYTES_MAX`].
    #[error("The purge has more than {} KiB.", REQUEST_BYTES_MAX / 1024)]
    TooLong,
    /// Its body is not valid. The sentence names the first three faults.
    #[error("The purge is not valid: {}.", sentence(.0))]
    Invalid(Vec<Fault>),
}

impl HttpError for PurgeError {
    fn response(&self) -> ErrorResponse {
        let (status, code) = match self {
            Self::LengthRequired => (Status::LengthRequired, "length_required"),
            Self::TooLong => (Status::ContentTooLarge, "purge_too_large"),
            Self::Invalid(_) => (Status::BadRequest, "invalid_purge"),
        };
        ErrorResponse::new(status, code, self.to_string())
    }

    fn examples() -> Vec<(Self, &'static str)> {
        let fault = Fault { path: String::new(), problem: "it is not UTF-8".into() };
        one_of_each! {
            Self::LengthRequired => Self::LengthRequired, "The purge has no `Content-Length`.";
            Self::TooLong => Self::TooLong, "The purge is too long.";
            Self::Invalid(_) => Self::Invalid(vec![fault]), "The purge is not of [this form](cache.md#purging).";
        }
    }
}

/// Returns the first three faults as text.
fn sentence(faults: &[Fault]) -> String {
    let first: Vec<String> = faults.iter().take(3).map(ToString::to_string).collect();
    first.join("; ")
}

/// A purge request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeRequest {
    /// What is purged, without duplicates.
    pub targets: Vec<PurgeTarget>,
    /// Whether the stored responses are unusable or stale afterwards.
    pub mode: PurgeMode,
}

/// Parses the body of a purge request: `url`, `prefix` and `tag` with one text each, `urls`,
/// `prefixes` and `tags` with lists, 1 to 30 targets in all, or `all` with true. `soft` with true
/// makes it a soft purge. URLs and prefixes are returned in the canonical form of [`CachedUrl`].
///
/// [The module](self) has an example.
///
/// # Errors
/// [`PurgeError::TooLong`], and [`PurgeError::Invalid`] with the place of each fault.
pub fn parse_request(body: &[u8], allowed: &OriginAllowList) -> Result<PurgeRequest, PurgeError> {
    if body.len() > REQUEST_BYTES_MAX {
        return Err(PurgeError::TooLong);
    }
    let fault = |problem: &'static str| Fault { path: String::new(), problem: problem.into() };
    let json = str::from_utf8(body).map_err(|_| PurgeError::Invalid(vec![fault("it is not UTF-8")]))?;
    let url = |node: &Node<'_>| node.parsed(|text| parse_url(text, allowed));
    let prefix = |node: &Node<'_>| node.parsed(|text| parse_prefix(text, allowed));
    let tag = |node: &Node<'_>| node.parsed(parse_tag);
    let boolean = |node: &Node<'_>| node.value().as_bool().or_else(|| node.fault("it is not true or false"));
    let read = schema::read(json, |root| {
        let request = root.object(&["url", "urls", "prefix", "prefixes", "tag", "tags", "all", "soft"])?;
        let soft = request.member("soft", boolean).unwrap_or_default();
        let mode = if soft { PurgeMode::Soft } else { PurgeMode::Hard };
        let mut targets: Vec<PurgeTarget> = Vec::new();
        targets.extend(request.member("url", url));
        targets.extend(request.member("urls", |list| list.list(TARGETS_MAX, url)).unwrap_or_default());
        targets.extend(request.member("prefix", prefix));
        targets.extend(request.member("prefixes", |list| list.list(TARGETS_MAX, prefix)).unwrap_or_default());
        targets.extend(request.member("tag", tag));
        targets.extend(request.member("tags", |list| list.list(TARGETS_MAX, tag)).unwrap_or_default());
        targets.extend(request.member("all", boolean).filter(|all| *all).map(PurgeTarget::All));
        if targets.len() > TARGETS_MAX {
            return root.fault(format!("it names {} targets; at most {TARGETS_MAX} are allowed", targets.len()));
        }
        Some(PurgeRequest { targets, mode })
    });
    let PurgeRequest { targets: named, mode } = read.map_err(PurgeError::Invalid)?;
    let mut targets: Vec<PurgeTarget> = Vec::new();
    for target in named {
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    if targets.is_empty() {
        return Err(PurgeError::Invalid(vec![fault("it names no url, prefix or tag, and not all")]));
    }
    Ok(PurgeRequest { targets, mode })
}

fn parse_url(url: &str, allowed: &OriginAllowList) -> Result<PurgeTarget, String> {
    CachedUrl::of_href(url, allowed).map(|url| PurgeTarget::Url(url.as_str().to_owned())).map_err(problem)
}

/// Parses a prefix of canonical URLs: a whole origin and the beginning of what follows it. The
/// last segment may be incomplete, so `/.` is not a dot segment here but the beginning of, say,
/// `/.well-known`.
fn parse_prefix(prefix: &str, allowed: &OriginAllowList) -> Result<PurgeTarget, String> {
    let (origin, after) = Origin::split(prefix).map_err(|error| problem(error.into()))?;
    if !allowed.admits(&origin) {
        return Err(problem(CacheError::NotAllowed(origin.as_str().to_owned())));
    }
    let (path, query) = after.split_once('?').map_or((after, None), |(path, query)| (path, Some(query)));
    let whole_segments = if query.is_some() { path } else { path.rsplit_once('/').map_or("", |(whole, _)| whole) };
    if after.contains('#') || path.contains('\\') || has_dot_segments(whole_segments) {
        return Err("it has a fragment, a backslash or a dot segment, so no URL in the cache begins with it".to_owned());
    }
    if ends_within_escape(after) {
        return Err("it ends within a percent-escape".to_owned());
    }
    let path = if path.is_empty() { "/" } else { path };
    let prefix = [origin.as_str(), &encoded(path, query).map_err(problem)?].concat();
    short_enough(&prefix)?;
    Ok(PurgeTarget::Prefix(prefix))
}

fn parse_tag(text: &str) -> Result<PurgeTarget, String> {
    let tag = tag(text).ok_or("it is empty")?;
    if !fields::is_value(&tag) {
        return Err("it has characters that are not printable ASCII".to_owned());
    }
    short_enough(&tag)?;
    Ok(PurgeTarget::Tag(tag))
}

fn short_enough(text: &str) -> Result<(), String> {
    if text.len() > TEXT_BYTES_MAX { Err(format!("it has more than {TEXT_BYTES_MAX} bytes")) } else { Ok(()) }
}

/// Returns what is wrong with a URL, worded to follow the place of the fault.
fn problem(error: CacheError) -> String {
    match error {
        CacheError::Unusable(error) => error.to_string(),
        CacheError::NotAUrl => "it has characters that must be percent-encoded in a URL".to_owned(),
        CacheError::UrlTooLong => format!("it has more than {URL_BYTES_MAX} bytes"),
        CacheError::NotAllowed(origin) => format!("the origin {origin} is not on the list CACHE_UPSTREAMS"),
        other => other.to_string(),
    }
}

//! What an exchange learns: what is stored, what the upstream responded.

use std::rc::Rc;

use super::{CacheHit, StoredBody};
use crate::error::CacheError;
use crate::freshness::ExchangeTimes;
use crate::purge::PurgeList;
use http_semantics::fields::{Fields, HeaderSection};

/// What happened since the last step.
#[derive(Debug)]
pub enum Event<B: StoredBody> {
    /// The request arrived.
    Begin,
    /// The result of [`Action::Read`](super::Action::Read).
    Read {
        /// What is stored under the key.
        found: Result<CacheHit<B>, MissReason>,
        /// What is stored under the variant's key; `None` if that was not asked for.
        variant: Option<Result<CacheHit<B>, MissReason>>,
        /// The purges; `None` if they cannot be read.
        purges: Option<Rc<PurgeList>>,
        /// How long KV took, in milliseconds; `None` if it was not read.
        kv_ms: Option<u64>,
    },
    /// The result of [`Action::Wait`](super::Action::Wait).
    Waited,
    /// The result of [`Action::Send`](super::Action::Send).
    Received(Result<UpstreamHead, CacheError>),
    /// The result of [`Action::ReadBody`](super::Action::ReadBody).
    Body(Result<B::Bytes, CacheError>),
}

/// Why no stored response can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissReason {
    /// There is none that may be used ([`usable_record`](super::usable_record)).
    Absent,
    /// KV failed.
    Unavailable,
    /// The record in KV does not parse.
    Broken,
}

impl MissReason {
    /// Returns the `detail` for `Cache-Status`.
    #[must_use]
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::Absent => None,
            Self::Unavailable => Some("kv-unavailable"),
            Self::Broken => Some("broken-record"),
        }
    }
}

/// A response of the upstream, without its body.
#[derive(Debug)]
pub struct UpstreamHead {
    /// The status.
    pub status: u16,
    /// The header fields, with a `Date` added if there was none.
    pub fields: HeaderSection,
    /// True if the upstream sent a `Date`.
    pub has_date: bool,
    /// True if there is a body, however short.
    pub has_body: bool,
    /// When the request was sent, and when the response began.
    pub times: ExchangeTimes,
    /// True if it is made from a stored page that was served in place of an error.
    pub is_in_place_of_error: bool,
}

impl UpstreamHead {
    /// Returns how long the upstream took to respond, in milliseconds.
    #[must_use]
    pub fn took_ms(&self) -> u64 {
        self.times.response_delay_ms()
    }

    /// Returns the declared length of the body, in bytes.
    pub(super) fn length(&self) -> Option<u64> {
        self.fields.get("content-length").and_then(|length| length.trim().parse().ok())
    }
}

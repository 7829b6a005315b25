//! What an exchange has the Worker do, and what it responds with.

use std::rc::Rc;

use super::{CacheHit, StoredBody, UpstreamHead};
use crate::cache_status::CacheStatus;
use crate::error::CacheError;
use crate::freshness::ExchangeTimes;
use crate::stored_response::{StoredMetadata, StoredResponse};
use http_semantics::fields::{HeaderEdits, HeaderSection};
use kv_store::limits::Key;

/// What the Worker does next.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would cost each hit an allocation")]
pub enum Action<B: StoredBody> {
    /// Reads what is stored under these keys, together, and the list of purges.
    Read {
        /// The key.
        key: Key<'static>,
        /// The key of the variant that the request is expected to select.
        variant: Option<Key<'static>>,
    },
    /// Waits: another request fetches the same URL.
    Wait {
        /// For how long.
        milliseconds: u64,
    },
    /// Sends the request to the upstream, or fetches the page of a view
    /// ([`Exchange::page`](super::Exchange::page)).
    Send {
        /// The changes to the client's header fields.
        edits: HeaderEdits<'static>,
        /// True if a stale response may be served instead, so that the upstream need not be asked
        /// while its circuit is open.
        has_stale: bool,
    },
    /// Reads the body of the upstream's response to its end.
    ReadBody {
        /// Its declared length in bytes.
        length: u64,
    },
    /// Responds. The exchange has ended.
    Respond(ExchangeResult<B>),
    /// Responds with an error. The exchange has ended.
    Fail {
        /// The error.
        error: CacheError,
        /// The `Cache-Status` if the upstream was involved.
        cache_status: Option<CacheStatus>,
    },
}

/// The response of an exchange, and how it came about.
#[derive(Debug)]
pub struct ExchangeResult<B: StoredBody> {
    /// The response.
    pub source: ResponseSource<B>,
    /// How it came about.
    pub cache_status: CacheStatus,
    /// How long KV took, in milliseconds; `None` if it was not read.
    pub kv_ms: Option<u64>,
    /// How long the upstream took, in milliseconds; `None` if it did not respond.
    pub upstream_ms: Option<u64>,
}

/// Where a response comes from.
#[derive(Debug)]
pub enum ResponseSource<B: StoredBody> {
    /// A stored response. Its metadata and body are known, so conditions and ranges can be
    /// evaluated.
    Stored {
        /// The stored response.
        hit: CacheHit<B>,
        /// All fields of the response if it was received or validated just now.
        received: Option<HeaderSection>,
        /// The key and the metadata of the body, if it is a stream to store again while it is
        /// sent.
        store_as: Option<StreamToStore>,
    },
    /// The upstream's response, passed on.
    Upstream {
        /// Its status, fields and times.
        head: UpstreamHead,
        /// The body if it was read to its end; otherwise it is a stream.
        body: Option<B::Bytes>,
        /// The key and the metadata of the stream, if it is to be stored while it is sent.
        store_as: Option<StreamToStore>,
    },
}

/// What to store once the stream of a body has ended.
#[derive(Debug)]
pub struct StreamToStore {
    /// The key.
    pub key: Key<'static>,
    /// The metadata. Its `length` is set when the stream has ended.
    pub metadata: StoredMetadata,
    /// The length of the body in bytes if it is declared.
    pub length: Option<u64>,
}

/// What the Worker does beside the next action, without telling the exchange how it ended.
#[derive(Debug)]
pub enum Effect<B: StoredBody> {
    /// Puts a response into KV.
    Put {
        /// The key.
        key: Key<'static>,
        /// The response without its body.
        stored: Rc<StoredResponse>,
        /// Its body.
        bytes: B::Bytes,
    },
    /// Stores a stream that nobody else reads.
    PutStream(StreamToStore, B),
    /// Deletes these keys from KV.
    Delete(Vec<Key<'static>>),
    /// Begins [`Exchange::refresh`](super::Exchange::refresh) in the background.
    Refresh(Key<'static>),
    /// Cancels a body that is not used.
    Discard(B),
    /// Cancels the body of the upstream's response.
    DiscardUpstream,
    /// Writes a warning to the log.
    Warn(&'static str, CacheError),
}

impl<B: StoredBody> ResponseSource<B> {
    /// Returns status, header fields and times.
    #[must_use]
    pub fn head(&self) -> (u16, &HeaderSection, ExchangeTimes) {
        match self {
            Self::Stored { hit: CacheHit { stored, .. }, received, .. } => {
                let StoredMetadata { status, times, .. } = stored.metadata;
                (status, received.as_ref().unwrap_or(&stored.metadata.fields), times)
            }
            Self::Upstream { head: UpstreamHead { status, fields, times, .. }, .. } => (*status, fields, *times),
        }
    }
}

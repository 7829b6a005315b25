//! The limits of bulk calls, and the result of those that change keys.

use serde::{Deserialize, Serialize};

/// The most keys of a bulk write or delete ("Write multiple key-value pairs").
pub const KEYS_MAX: usize = 10_000;

/// The longest body of a bulk call, in bytes. The service takes 100 MB, but an isolate has 128 MB
/// for everything.
pub const BODY_BYTES_MAX: u32 = 32 * 1024 * 1024;

/// The most keys that one invocation changes. It may make 1000 calls of Workers KV ("Limits"),
/// each key may need two, and checking the token one.
pub const INVOCATION_KEYS_MAX: usize = 450;

/// The result of a bulk write or delete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkOutcome {
    /// How many keys were changed.
    pub successful_key_count: usize,
    /// The keys that were not changed.
    pub unsuccessful_keys: Vec<String>,
    /// True if some failed because they take one write a second.
    #[serde(skip)]
    pub is_rate_limited: bool,
}

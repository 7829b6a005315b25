//! How long and how large a response may be. Errors name these limits.

use std::time::Duration;

/// How long a connection may be silent while reading or writing. The local API was seen to take
/// 77 seconds to respond.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(120);

/// The longest response body that is read, in bytes: a value has 25 MiB at most.
pub(super) const RESPONSE_BYTES_MAX: u64 = 64 << 20;

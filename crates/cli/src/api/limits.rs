//! The longest silence of a connection, and the longest response. Errors name these limits.

use std::time::Duration;

/// How long a connection may be silent while reading or writing. The local API was seen to take
/// 77 seconds to respond.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(120);

/// The longest response body that is read, in bytes. A value has 25 MiB at most, and a bulk read
/// whose response is longer is divided.
pub(super) const RESPONSE_BYTES_MAX: u64 = 64 << 20;

//! Time and random numbers of the runtime.

use std::time::Duration;

use kv_store::retry::Time;

/// The runtime's clock, timers and random numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock;

impl Clock {
    /// Returns 52 random bits, for values that need not be secret.
    pub(crate) fn random_bits(self) -> u64 {
        // `random` is at least 0 and below 1, so the product fits into 52 bits.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bits = (self.random() * 4_503_599_627_370_496.0) as u64;
        bits
    }
}

impl Time for Clock {
    fn now_ms(&self) -> u64 {
        // A positive number of milliseconds since 1970.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let now_ms = js_sys::Date::now() as u64;
        now_ms
    }

    fn random(&self) -> f64 {
        js_sys::Math::random()
    }

    async fn sleep(&self, milliseconds: u64) {
        worker::Delay::from(Duration::from_millis(milliseconds)).await;
    }
}

/// Returns the time in seconds since the Unix epoch.
#[cfg(feature = "kv-api")]
pub(crate) fn now_seconds() -> u64 {
    Clock.now_ms() / 1000
}

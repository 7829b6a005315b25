//! What happens when an origin fails: which answers are failures, who is asked instead, and when nobody is.

use super::TenantError;
use super::plan::Target;
use crate::circuit::{Admission, Circuits};

/// The second tries of an isolate, for all its origins: a tenth of its requests, and ten more. So an outage is not doubled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondTries {
    /// Tenths of a try.
    tenths: u32,
}

impl SecondTries {
    const TENTHS_MAX: u32 = 100;
    const TRY: u32 = 10;

    /// Ten tries.
    #[must_use]
    pub const fn new() -> Self {
        Self { tenths: Self::TENTHS_MAX }
    }

    /// Notes a request, whatever becomes of it.
    pub fn requested(&mut self) {
        self.tenths = self.tenths.saturating_add(1).min(Self::TENTHS_MAX);
    }

    /// Takes one; false where none is left.
    pub fn take(&mut self) -> bool {
        let left = self.tenths.checked_sub(Self::TRY);
        self.tenths = left.unwrap_or(self.tenths);
        left.is_some()
    }
}

impl Default for SecondTries {
    fn default() -> Self {
        Self::new()
    }
}

/// True for an answer that says that the server behind the origin failed (RFC 9110 §15.6.3 to §15.6.5).
#[must_use]
pub fn is_failure(status: u16) -> bool {
    matches!(status, 502..=504)
}

/// The server to ask: the first whose circuit lets the request through.
///
/// # Errors
/// [`TenantError::CircuitOpen`] where none does, with the shortest time until one may.
pub fn first<'r>(
    target: Target<'r>,
    others: &[Target<'r>],
    circuits: &mut Circuits,
    now_ms: u64,
) -> Result<Target<'r>, TenantError> {
    let mut shortest_ms = u64::MAX;
    for target in std::iter::once(target).chain(others.iter().copied()) {
        match circuits.admit(target.backend.origin().as_str(), now_ms) {
            Admission::Closed | Admission::Probe => return Ok(target),
            Admission::Open { retry_after_ms } => shortest_ms = shortest_ms.min(retry_after_ms),
        }
    }
    Err(TenantError::CircuitOpen { retry_after_seconds: shortest_ms.div_ceil(1000).max(1) })
}

/// The server to ask after one has failed: another variant at another origin, or else the same one again, unless its circuit
/// has opened.
pub fn second<'r>(
    failed: Target<'r>,
    target: Target<'r>,
    others: &[Target<'r>],
    circuits: &mut Circuits,
    now_ms: u64,
) -> Option<Target<'r>> {
    let is_elsewhere = |other: &Target<'r>| other.backend.origin() != failed.backend.origin();
    let elsewhere = std::iter::once(target).chain(others.iter().copied()).filter(is_elsewhere);
    let may = |target: &Target<'r>| {
        matches!(circuits.admit(target.backend.origin().as_str(), now_ms), Admission::Closed | Admission::Probe)
    };
    elsewhere.chain(std::iter::once(failed)).find(may)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Outcome;
    use crate::tenants::backend::Backend;

    fn open(circuits: &mut Circuits, backend: &Backend) {
        for _ in 0..5 {
            circuits.ended(backend.origin().as_str(), Outcome::Failed, 0);
        }
    }

    #[test]
    fn second_tries_are_a_tenth_of_the_requests_and_ten_more() {
        let mut tries = SecondTries::new();
        let mut taken = 0;
        for _ in 0..1000 {
            tries.requested();
            taken += u32::from(tries.take());
        }
        assert!((109..=110).contains(&taken), "{taken}");
        (0..5000).for_each(|_| tries.requested());
        assert_eq!((0..99).filter(|_| tries.take()).count(), 10);
    }

    #[test]
    fn gateway_errors_are_failures_and_the_applications_own_are_not() {
        for (status, failed) in [
            (200, false),
            (404, false),
            (500, false),
            (501, false),
            (502, true),
            (503, true),
            (504, true),
            (505, false),
        ] {
            assert_eq!(is_failure(status), failed, "{status}");
        }
    }

    #[test]
    fn the_first_server_whose_circuit_is_closed_is_asked_and_another_one_after_it() {
        let backends =
            ["https://a.example", "https://b.example", "https://a.example/x"].map(|url| Backend::parse(url).unwrap());
        let [a, b, same_origin] = backends.each_ref().map(|backend| Target { variant: None, backend });
        let mut circuits = Circuits::new();
        assert_eq!(first(a, &[b], &mut circuits, 1), Ok(a));
        assert_eq!(second(a, a, &[b], &mut circuits, 1), Some(b));
        assert_eq!(second(a, a, &[same_origin], &mut circuits, 1), Some(a), "the same origin is no other server");
        assert_eq!(second(a, a, &[], &mut circuits, 1), Some(a));
        open(&mut circuits, a.backend);
        assert_eq!(first(a, &[b], &mut circuits, 1), Ok(b));
        assert_eq!(second(b, a, &[b], &mut circuits, 1), Some(b), "the other one's circuit is open");
        open(&mut circuits, b.backend);
        assert_eq!(second(a, a, &[b], &mut circuits, 1), None);
        assert_eq!(first(a, &[b], &mut circuits, 1), Err(TenantError::CircuitOpen { retry_after_seconds: 10 }));
    }
}

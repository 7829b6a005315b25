//! Circuit breakers and outlier detection: an upstream that keeps failing gets no requests for a
//! while. Both are passive: they learn from the requests of visitors and send none of their
//! own.
//!
//! # The states of a circuit
//!
//! ```text
//!            enough failures             the time is over
//!   closed ───────────────────> open ───────────────────> half-open
//!     ^                          ^                            │
//!     │                          └──── all probes failed ─────┤
//!     └─────────────────────────────── a request succeeded ───┘
//! ```
//!
//! A *closed* circuit admits every request, and an *open* one none. A *half-open* circuit
//! admits a few requests as *probes*, each of another visitor, which find out whether the
//! upstream works again. If they all fail, the circuit is open for twice the time, from 10 s up
//! to 60 s.
//!
//! # Four circuits
//!
//! A circuit protects an upstream, but no stranger may use it to keep others from an upstream. A
//! visitor chooses the path, the fields and the body, and so can make requests fail as often as
//! they like. So there are four circuits. The words are Envoy's (outlier detection, minimum
//! request volume, panic threshold):
//!
//! | circuit of | failures | of one visitor at most | at one path at most | condition |
//! |---|---|---|---|---|
//! | a path, for one visitor | 5 in 10 s | 5 | 5 | none |
//! | a path, for everybody | 5 in 10 s | 2 | 5 | it has failed for 5 s |
//! | an upstream that is an outlier | 5 in 10 s | 5 | 5 | there is an alternative to it |
//! | an upstream that does not respond | 20 in 30 s | 4 | 4 | it has failed for 10 s |
//!
//! No circuit opens if at least as many requests have succeeded since the oldest of these
//! failures. The two with a minimum time also do not open if that many have succeeded during it.
//! For the last circuit every response is a success, even a 503. Further failures of one visitor
//! or at one path replace their older ones: twenty failures come from at least five visitors and
//! five paths.
//!
//! A visitor is an IPv4 address or an IPv6 /48. A path is a method and a URL. The
//! circuits of a path tell queries apart; the limit of failures at one path does not.
//!
//! # Time
//!
//! Times are milliseconds since the Unix epoch. The clocks of concurrent requests in an isolate
//! differ by seconds, because each stands still while its request computes, and a clock can be
//! set back. So only the distance of two times counts, whichever is later: no circuit stays
//! open for longer because a clock went back by hours.
//!
//! # Example
//!
//! ```
//! use circuit_breaker::{Admission, Circuits, Outcome, RequestKey};
//!
//! let upstream = "https://shop.example";
//! let request = || RequestKey::new("GET", "https://shop.example/tea", None);
//! let mut circuits = Circuits::new(1024 * 1024);
//! for now_ms in 0..5 {
//!     assert_eq!(circuits.admit(upstream, request, false, now_ms), Admission::Closed);
//!     circuits.record_outcome(upstream, request, Outcome::NoResponse, now_ms);
//! }
//! assert!(matches!(circuits.admit(upstream, request, false, 5), Admission::Open { .. }));
//! // Ten seconds later, the next request is a probe.
//! assert_eq!(circuits.admit(upstream, request, false, 10_004), Admission::Probe);
//! circuits.record_outcome(upstream, request, Outcome::Success, 10_200);
//! assert_eq!(circuits.admit(upstream, request, false, 10_201), Admission::Closed);
//! ```

#![forbid(unsafe_code)]

mod circuit;
mod request_key;
#[cfg(test)]
mod tests;

use std::fmt;

use circuit::{Circuit, Threshold};
pub use request_key::{RequestKey, client_address};

use kv_store::lru::Lru;

/// The circuit of a path that fails for one visitor is open for that visitor alone.
const PATH_OF_CLIENT: Threshold =
    Threshold { failures: 5, client_max: 5, path_max: 5, window_ms: 10_000, sustained_ms: 0, probes: 1 };
/// The circuit of a path that fails for three visitors is open for everybody.
const PATH: Threshold =
    Threshold { failures: 5, client_max: 2, path_max: 5, window_ms: 10_000, sustained_ms: 5_000, probes: 3 };
/// An upstream that fails, even at one path only, is an outlier: alternatives are preferred.
const OUTLIER: Threshold =
    Threshold { failures: 5, client_max: 5, path_max: 5, window_ms: 10_000, sustained_ms: 0, probes: 1 };
/// An upstream that does not respond to several visitors at several paths is unresponsive.
const UNRESPONSIVE: Threshold =
    Threshold { failures: 20, client_max: 4, path_max: 4, window_ms: 30_000, sustained_ms: 10_000, probes: 5 };

/// The most circuits of paths per upstream. A failing path has one for everybody, and one for each
/// visitor it fails for. Requests that fail at ever new paths evict the older ones.
const PATHS_MAX: usize = 32;

/// The circuits of all upstreams, as one isolate sees them. It has entries only for upstreams that
/// failed and are not forgotten yet, and for at most 32 circuits of paths in each. The path whose
/// last failure is the oldest is evicted, which closes its circuit.
///
/// [The crate](crate) has an example.
#[derive(Debug, Clone)]
pub struct Circuits {
    /// The upstream whose last failure is the oldest is evicted first. That order does not depend
    /// on any clock.
    upstreams: Lru<UpstreamCircuits>,
}

/// Whether a request may be sent to an upstream, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// The circuits are closed: it may.
    Closed,
    /// A circuit is half-open: it may, as a probe. Its result must be passed to
    /// [`Circuits::record_outcome`]; otherwise the visitor's next probe has to wait 60 s.
    Probe,
    /// A circuit is open, or half-open without a place for this visitor's probe: it may not.
    Open {
        /// The time after which to try again, in milliseconds; at least 1.
        retry_after_ms: u64,
    },
}

/// How a request to an upstream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With a response that is not a failure.
    Success,
    /// With a response that says that the upstream, or one behind it, does not work: 502, 503 or
    /// 504.
    GatewayError,
    /// Without a response, or with one that came too late.
    NoResponse,
}

/// The circuit that a failure opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpenedCircuit {
    /// The circuit of a path.
    Path,
    /// The one for outliers: alternatives are preferred from now on.
    Outlier,
    /// The one for upstreams that do not respond.
    Unresponsive,
}

impl fmt::Display for OpenedCircuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "a path of it failed too often",
            Self::Outlier => "it failed too often, others are used in its place if there are any",
            Self::Unresponsive => "it does not respond to most requests",
        })
    }
}

/// The circuits of one upstream.
#[derive(Debug, Clone, Default)]
struct UpstreamCircuits {
    unresponsive: Circuit,
    outlier: Circuit,
    /// Sorted by the last failure, the oldest first.
    paths: Vec<(PathScope, Circuit)>,
}

/// Whose requests the circuit of a path applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathScope {
    Everybody { method_and_url: u64 },
    Client(RequestKey),
}

impl Circuits {
    /// Returns circuits that are all closed.
    ///
    /// Records of tenants can name any number of upstreams, so the memory for those that failed
    /// lately is bounded by `bytes_max`. One upstream takes 18 KiB at most.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { upstreams: Lru::new(bytes_max) }
    }

    /// Returns the bound of the memory in bytes.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.upstreams.bytes_max()
    }

    /// Returns true if the upstream has failed, until a success finds that none of its failures
    /// counts any more. Only then the client and the URL of a request matter.
    #[must_use]
    pub fn has_failed_lately(&self, upstream: &str) -> bool {
        self.upstreams.get(upstream).is_some()
    }

    /// Returns whether a request may be sent to the upstream, as [`admit`](Self::admit) does, but
    /// records nothing.
    #[must_use]
    pub fn admission(
        &self,
        upstream: &str,
        request: impl FnOnce() -> RequestKey,
        has_alternative: bool,
        now_ms: u64,
    ) -> Admission {
        let circuits = self.upstreams.get(upstream);
        circuits.map_or(Admission::Closed, |circuits| circuits.clone().admission(request(), has_alternative, now_ms))
    }

    /// Decides whether a request may be sent to the upstream, and records it if it is a probe. To
    /// be called just before the request is sent.
    ///
    /// `request` is only called for an upstream that has failed lately. `has_alternative` is true
    /// if something else can serve the request in its place: another server, or a stale
    /// response.
    pub fn admit(
        &mut self,
        upstream: &str,
        request: impl FnOnce() -> RequestKey,
        has_alternative: bool,
        now_ms: u64,
    ) -> Admission {
        let Some(circuits) = self.upstreams.get_mut(upstream) else { return Admission::Closed };
        let request = request();
        let admission = circuits.admission(request, has_alternative, now_ms);
        if admission == Admission::Probe {
            circuits.applying(request, has_alternative).for_each(|(threshold, circuit)| {
                if circuit.admission(threshold, request, now_ms) == Admission::Probe {
                    circuit.record_probe(request, now_ms);
                }
            });
        }
        admission
    }

    /// Records how a request ended, and returns the circuit that opened because of that.
    ///
    /// While a circuit is open and no probe was sent, nothing changes in it. Such a request
    /// began before the circuit opened, so its success says little about the present, and its
    /// failure must not prolong the wait. Once a probe was sent, any success closes the
    /// circuit, and only failures of visitors who sent a probe count.
    pub fn record_outcome(
        &mut self,
        upstream: &str,
        request: impl FnOnce() -> RequestKey,
        outcome: Outcome,
        now_ms: u64,
    ) -> Option<OpenedCircuit> {
        if outcome == Outcome::Success {
            let circuits = self.upstreams.get_mut(upstream)?;
            if circuits.record_success(request(), now_ms) {
                self.upstreams.remove(upstream);
            }
            return None;
        }
        let mut circuits = self.upstreams.remove(upstream).unwrap_or_default();
        let opened = circuits.record_failure(request(), outcome, now_ms);
        let bytes = circuits.bytes();
        self.upstreams.insert(upstream, circuits, bytes);
        opened
    }
}

impl UpstreamCircuits {
    /// Returns the circuits that apply to a request, with their thresholds.
    fn applying(
        &mut self,
        request: RequestKey,
        has_alternative: bool,
    ) -> impl Iterator<Item = (&'static Threshold, &mut Circuit)> {
        let paths = self.paths.iter_mut().filter(move |(scope, _)| scope.applies_to(request));
        let paths = paths.map(|(scope, circuit)| (scope.threshold(), circuit));
        let outlier = has_alternative.then_some((&OUTLIER, &mut self.outlier));
        std::iter::once((&UNRESPONSIVE, &mut self.unresponsive)).chain(outlier).chain(paths)
    }

    /// Returns the worst admission of the circuits that apply.
    fn admission(&mut self, request: RequestKey, has_alternative: bool, now_ms: u64) -> Admission {
        let circuits = self.applying(request, has_alternative);
        let worst = circuits.map(|(threshold, circuit)| circuit.admission(threshold, request, now_ms)).max();
        worst.unwrap_or(Admission::Closed)
    }

    /// Records a success. Returns true if nothing about the upstream needs to be remembered any
    /// more.
    fn record_success(&mut self, request: RequestKey, now_ms: u64) -> bool {
        for (scope, circuit) in &mut self.paths {
            if scope.applies_to(request) {
                circuit.record_success();
            }
        }
        self.paths.retain(|(scope, circuit)| !circuit.is_idle(scope.threshold(), now_ms));
        self.outlier.record_success();
        self.unresponsive.record_success();
        self.paths.is_empty()
            && self.outlier.is_idle(&OUTLIER, now_ms)
            && self.unresponsive.is_idle(&UNRESPONSIVE, now_ms)
    }

    fn bytes(&self) -> usize {
        let paths = self.paths.iter().map(|(_, circuit)| size_of::<PathScope>() + circuit.bytes());
        size_of::<u64>() + self.unresponsive.bytes() + self.outlier.bytes() + paths.sum::<usize>()
    }

    fn record_failure(&mut self, request: RequestKey, outcome: Outcome, now_ms: u64) -> Option<OpenedCircuit> {
        let mut has_path_opened = false;
        for scope in [PathScope::Everybody { method_and_url: request.method_and_url }, PathScope::Client(request)] {
            let at = self.paths.iter().position(|(other, _)| *other == scope);
            let (_, mut circuit) = at.map_or_else(|| (scope, Circuit::default()), |at| self.paths.remove(at));
            has_path_opened |= circuit.record_failure(scope.threshold(), request, now_ms);
            if self.paths.len() >= PATHS_MAX {
                self.paths.remove(0);
            }
            self.paths.push((scope, circuit));
        }
        let is_outlier = self.outlier.record_failure(&OUTLIER, request, now_ms);
        let is_unresponsive = match outcome {
            Outcome::NoResponse => self.unresponsive.record_failure(&UNRESPONSIVE, request, now_ms),
            Outcome::Success | Outcome::GatewayError => {
                self.unresponsive.record_success();
                false
            }
        };
        let opened = [
            (has_path_opened, OpenedCircuit::Path),
            (is_outlier, OpenedCircuit::Outlier),
            (is_unresponsive, OpenedCircuit::Unresponsive),
        ];
        opened.into_iter().filter(|(has_opened, _)| *has_opened).map(|(_, opened)| opened).max()
    }
}

impl PathScope {
    fn applies_to(self, request: RequestKey) -> bool {
        match self {
            Self::Everybody { method_and_url } => method_and_url == request.method_and_url,
            Self::Client(client) => client == request,
        }
    }

    const fn threshold(self) -> &'static Threshold {
        match self {
            Self::Everybody { .. } => &PATH,
            Self::Client(_) => &PATH_OF_CLIENT,
        }
    }
}

// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

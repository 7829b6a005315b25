//! Circuit breakers and outlier detection: what keeps failing is not asked for a while. They are
//! passive, that is, they learn from the requests of visitors and make none of their own.
//!
//! A circuit protects an origin; no stranger may close an origin to others with it. A visitor
//! chooses the path that fails, and with fields and body whether a path fails, and can do so as
//! often as they like. So there are four circuits, in the words of Envoy (outlier detection,
//! minimum request volume, panic threshold):
//!
//! | what is not asked | after so many failures | of which one visitor | one path | when |
//! |---|---|---|---|---|
//! | a path, for one visitor | 5 in 10 s | 5 | 5 | always |
//! | a path, for everybody | 5 in 10 s | 2 | 5 | always |
//! | an origin that is an outlier | 5 in 10 s | 5 | 5 | if there is an alternative: without one it is asked all the same |
//! | an origin that gives no answer | 20 in 30 s | 4 | 4 | always |
//!
//! None opens if as many requests succeeded since the oldest of these failures. The path for
//! everybody has to fail for 5 s, and the origin for 10 s, with fewer successes all the while. For
//! the last one every answer is a success, a 503 too. More failures of one visitor or at one path
//! than the table says take the place of their older ones: twenty failures are those of five
//! visitors and five paths at least.
//!
//! A time is milliseconds since the Unix epoch. Clocks of requests that run side by side in one
//! isolate differ by seconds (each stands still while its request computes), and a clock can be
//! set back. So only the distance of two times counts, whichever is the later one: no circuit
//! stays open for longer because a clock went backwards by hours.
//!
//! ```
//! use circuit_breaker::{Admission, Circuits, Outcome, RequestKey};
//!
//! let origin = "https://shop.example";
//! let request = || RequestKey::new("GET", "https://shop.example/tea", None);
//! let mut circuits = Circuits::new(1024 * 1024);
//! for now_ms in 0..5 {
//!     assert_eq!(circuits.admit(origin, request, false, now_ms), Admission::Closed);
//!     circuits.ended(origin, request, Outcome::NoAnswer, now_ms);
//! }
//! assert!(matches!(circuits.admit(origin, request, false, 5), Admission::Open { .. }));
//! ```

#![forbid(unsafe_code)]

mod breaker;
mod request_key;
#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // Small numbers.
mod tests;

use std::fmt;

use breaker::{Circuit, Threshold};
pub use request_key::{RequestKey, client_address};

use kv_store::lru::Lru;

/// A path that fails for one visitor is closed to them, whatever others do.
const PATH_OF_CLIENT: Threshold =
    Threshold { failures: 5, of_client: 5, of_path: 5, window_ms: 10_000, sustained_ms: 0, probes: 1 };
/// A path that fails for three visitors is closed.
const PATH: Threshold =
    Threshold { failures: 5, of_client: 2, of_path: 5, window_ms: 10_000, sustained_ms: 5_000, probes: 3 };
/// Outlier detection: an origin that fails, be it at one path, is not the first choice.
const OUTLIER: Threshold =
    Threshold { failures: 5, of_client: 5, of_path: 5, window_ms: 10_000, sustained_ms: 0, probes: 1 };
/// An origin that gives no answer to several visitors at several paths is down.
const DOWN: Threshold =
    Threshold { failures: 20, of_client: 4, of_path: 4, window_ms: 30_000, sustained_ms: 10_000, probes: 5 };

/// A visitor who makes ever new paths fail pushes out their own older ones.
const PATHS_MAX: usize = 32;

/// The circuits of all origins, as one isolate sees them. There are entries only for origins that
/// failed lately, and for 32 paths of each: then the one whose last failure is the oldest is
/// forgotten, which closes it.
#[derive(Debug, Clone)]
pub struct Circuits {
    /// The one whose last failure is the oldest goes first: an order of events that no clock can
    /// upset.
    origins: Lru<OriginCircuits>,
}

/// Whether a request may be sent to an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// Yes.
    Closed,
    /// Yes, as one of the requests that find out whether the origin works again. How it ends must
    /// be told to
    /// [`Circuits::ended`]; otherwise its visitor's next probe has to wait 60 s.
    Probe,
    /// No.
    Open {
        /// When to ask again; at least 1.
        retry_after_ms: u64,
    },
}

/// How a request to an origin ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer that is no failure.
    Answered,
    /// With an answer that says that the origin, or the one behind it, does not work.
    GatewayError,
    /// Without an answer, or too late.
    NoAnswer,
}

/// What a failure has opened just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opened {
    /// The circuit of a path.
    Path,
    /// The origin is an outlier: others are asked in its place, if there are any.
    Outlier,
    /// The circuit of the origin.
    Origin,
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "a path of it failed too often",
            Self::Outlier => "it failed too often, others are asked in its place, if there are any",
            Self::Origin => "it gives no answer to most requests",
        })
    }
}

/// What happened lately at one origin.
#[derive(Debug, Clone, Default)]
struct OriginCircuits {
    down: Circuit,
    outlier: Circuit,
    /// The one whose last failure is the oldest first.
    paths: Vec<(PathScope, Circuit)>,
}

/// For whom the circuit of a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathScope {
    Everybody { path: u64 },
    Client(RequestKey),
}

impl Circuits {
    /// All circuits closed. Records can name any number of origins: those that failed lately are
    /// remembered in so many bytes, of which an origin takes 18 KiB at the very most.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { origins: Lru::new(bytes_max) }
    }

    /// Returns the most bytes that this remembers.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.origins.bytes_max()
    }

    /// True if the origin has failed lately: only then the circuits are asked who requests what.
    #[must_use]
    pub fn has_failed_lately(&self, origin: &str) -> bool {
        self.origins.get(origin).is_some()
    }

    /// Asks for a request to the origin, just before it is sent. Takes a probe if there is one to
    /// take. `has_alternative` is true if something else can answer well in its place: another
    /// server, or a stale answer.
    pub fn admit(
        &mut self,
        origin: &str,
        request: impl FnOnce() -> RequestKey,
        has_alternative: bool,
        now_ms: u64,
    ) -> Admission {
        let Some(circuits) = self.origins.get_mut(origin) else { return Admission::Closed };
        let request = request();
        let admission = circuits.admission(request, has_alternative, now_ms);
        if admission == Admission::Probe {
            circuits.applying(request, has_alternative).for_each(|(threshold, circuit)| {
                if circuit.admission(threshold, request, now_ms) == Admission::Probe {
                    circuit.probe(request, now_ms);
                }
            });
        }
        admission
    }

    /// Notes how a request ended, and says what has opened because of that.
    ///
    /// While a circuit is open and no probe was taken, this changes nothing in it: such a request
    /// began before the circuit opened, so its success says little about now, and its failure must
    /// not make the wait longer. Once a probe was taken, any success closes it; the failure of
    /// each probe counts, and of nobody else.
    pub fn ended(
        &mut self,
        origin: &str,
        request: impl FnOnce() -> RequestKey,
        outcome: Outcome,
        now_ms: u64,
    ) -> Option<Opened> {
        if outcome == Outcome::Answered {
            let circuits = self.origins.get_mut(origin)?;
            if circuits.answered(request(), now_ms) {
                self.origins.remove(origin);
            }
            return None;
        }
        let mut circuits = self.origins.remove(origin).unwrap_or_default();
        let opened = circuits.failed(request(), outcome, now_ms);
        let bytes = circuits.bytes();
        self.origins.insert(origin, circuits, bytes);
        opened
    }
}

impl OriginCircuits {
    /// The circuits that a request has to pass.
    fn applying(
        &mut self,
        request: RequestKey,
        has_alternative: bool,
    ) -> impl Iterator<Item = (&'static Threshold, &mut Circuit)> {
        let paths = self.paths.iter_mut().filter(move |(scope, _)| scope.holds_for(request));
        let paths = paths.map(|(scope, circuit)| (scope.threshold(), circuit));
        let outlier = has_alternative.then_some((&OUTLIER, &mut self.outlier));
        std::iter::once((&DOWN, &mut self.down)).chain(outlier).chain(paths)
    }

    /// The worst that one of them says.
    fn admission(&mut self, request: RequestKey, has_alternative: bool, now_ms: u64) -> Admission {
        let circuits = self.applying(request, has_alternative);
        let worst = circuits.map(|(threshold, circuit)| circuit.admission(threshold, request, now_ms)).max();
        worst.unwrap_or(Admission::Closed)
    }

    /// True if the origin works, as far as can be told, and nothing more has to be remembered.
    fn answered(&mut self, request: RequestKey, now_ms: u64) -> bool {
        for (scope, circuit) in &mut self.paths {
            if scope.holds_for(request) {
                circuit.answered();
            }
        }
        self.paths.retain(|(scope, circuit)| !circuit.is_spent(scope.threshold(), now_ms));
        self.outlier.answered();
        self.down.answered();
        self.paths.is_empty() && self.outlier.is_spent(&OUTLIER, now_ms) && self.down.is_spent(&DOWN, now_ms)
    }

    fn bytes(&self) -> usize {
        let paths = self.paths.iter().map(|(_, circuit)| size_of::<PathScope>() + circuit.bytes());
        size_of::<u64>() + self.down.bytes() + self.outlier.bytes() + paths.sum::<usize>()
    }

    fn failed(&mut self, request: RequestKey, outcome: Outcome, now_ms: u64) -> Option<Opened> {
        let mut has_path_opened = false;
        for scope in [PathScope::Everybody { path: request.path }, PathScope::Client(request)] {
            let at = self.paths.iter().position(|(other, _)| *other == scope);
            let (_, mut circuit) = at.map_or_else(|| (scope, Circuit::default()), |at| self.paths.remove(at));
            has_path_opened |= circuit.failed(scope.threshold(), request, now_ms);
            if self.paths.len() >= PATHS_MAX {
                self.paths.remove(0);
            }
            self.paths.push((scope, circuit));
        }
        let is_outlier = self.outlier.failed(&OUTLIER, request, now_ms);
        let is_down = match outcome {
            Outcome::NoAnswer => self.down.failed(&DOWN, request, now_ms),
            Outcome::Answered | Outcome::GatewayError => {
                self.down.answered();
                false
            }
        };
        let opened = [(has_path_opened, Opened::Path), (is_outlier, Opened::Outlier), (is_down, Opened::Origin)];
        opened.into_iter().filter(|(has_opened, _)| *has_opened).map(|(_, opened)| opened).max()
    }
}

impl PathScope {
    fn holds_for(self, request: RequestKey) -> bool {
        match self {
            Self::Everybody { path } => path == request.path,
            Self::Client(of_client) => of_client == request,
        }
    }

    const fn threshold(self) -> &'static Threshold {
        match self {
            Self::Everybody { .. } => &PATH,
            Self::Client(_) => &PATH_OF_CLIENT,
        }
    }
}

//! Circuit breakers: an origin that keeps failing is left alone for a while. They are passive, that is, they learn from the
//! requests of visitors and make none of their own.
//!
//! A time is milliseconds since the Unix epoch. Clocks of requests that run side by side in one isolate differ by seconds
//! (each stands still while its request computes), and a clock can be set back. So only the distance of two times counts,
//! whichever is the later one: no circuit stays open for longer because a clock went backwards by hours.

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // Small numbers.
mod tests;

use std::collections::VecDeque;
use std::rc::Rc;

use crate::by_name::ByName;

/// So many failures open a circuit, unless more requests than that succeeded since the oldest of them.
const FAILURES: usize = 5;
/// Failures further back than this do not count.
const WINDOW_MS: u64 = 10_000;
/// How long a circuit is open for the first time; each failed probe doubles it.
const OPEN_MS: u64 = 10_000;
const OPEN_MAX_MS: u64 = 60_000;
/// A probe that has not reported by then never will: its visitor went away, or its request was ended.
const PROBE_LOST_MS: u64 = 60_000;
/// How long others are told to wait while a probe is under way.
const PROBE_WAIT_MS: u64 = 1000;
/// An isolate has little memory, and records can name any number of origins.
const ORIGINS_MAX: usize = 256;

/// The circuits of all origins, as one isolate sees them. There are entries only for origins that failed lately, at most 256:
/// then the one whose last failure is the oldest is forgotten, which closes it.
#[derive(Debug, Default)]
pub struct Circuits {
    circuits: ByName<Circuit>,
    /// How many failures were noted: an order of events that no clock can upset.
    failures: u64,
}

/// Whether a request may be sent to an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Closed,
    /// Yes, as the one request that finds out whether the origin works again. How it ends must be told to
    /// [`Circuits::ended`]; otherwise the next probe has to wait 60 s.
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
    /// Without an answer, too late, or with one that says that the origin does not work.
    Failed,
}

/// What happened lately at one origin.
#[derive(Debug, Default)]
struct Circuit {
    /// The last ones, at most [`FAILURES`], the oldest first. None are added while the circuit is open.
    failures: VecDeque<Failure>,
    successes: u64,
    open: Option<Open>,
    /// [`Circuits::failures`] at the last failure.
    failed_last: u64,
}

#[derive(Debug)]
struct Failure {
    at_ms: u64,
    /// [`Circuit::successes`] when it happened.
    successes: u64,
}

#[derive(Debug)]
struct Open {
    since_ms: u64,
    lasts_ms: u64,
    /// When the probe was taken.
    probe: Option<u64>,
}

impl Circuits {
    /// All circuits closed.
    #[must_use]
    pub const fn new() -> Self {
        Self { circuits: ByName::new(), failures: 0 }
    }

    /// True where [`Circuits::admit`] would answer [`Admission::Open`]. Takes no probe: for choosing among origins.
    #[must_use]
    pub fn is_open(&self, origin: &str, now_ms: u64) -> bool {
        self.circuits.get(origin).is_some_and(|circuit| matches!(circuit.admission(now_ms), Admission::Open { .. }))
    }

    /// True where the origin has failed lately.
    #[must_use]
    pub fn has_failed_lately(&self, origin: &str) -> bool {
        self.circuits.get(origin).is_some()
    }

    /// Asks for a request to the origin, just before it is sent. Takes the probe where there is one to take.
    pub fn admit(&mut self, origin: &str, now_ms: u64) -> Admission {
        let Some(circuit) = self.circuits.get_mut(origin) else { return Admission::Closed };
        let admission = circuit.admission(now_ms);
        if let (Admission::Probe, Some(open)) = (admission, &mut circuit.open) {
            open.probe = Some(now_ms);
        }
        admission
    }

    /// Notes how a request ended.
    ///
    /// While the circuit is open and no probe was taken, this changes nothing: such a request began before the circuit opened,
    /// so its success says little about now, and its failure must not make the wait longer. Once a probe was taken, whichever
    /// request ends first decides, a late probe too: requests carry no mark, and few from before are still under way then.
    pub fn ended(&mut self, origin: &str, outcome: Outcome, now_ms: u64) {
        match outcome {
            Outcome::Answered => {
                if self.circuits.get_mut(origin).is_some_and(|circuit| circuit.answered(now_ms)) {
                    self.circuits.remove(origin);
                }
            }
            Outcome::Failed => {
                self.failures = self.failures.saturating_add(1);
                self.make_room(origin);
                if let Some(circuit) = self.circuits.get_mut(origin) {
                    circuit.failed_last = self.failures;
                    circuit.failed(now_ms);
                }
            }
        }
    }

    /// Makes a circuit of an origin that failed, where there is none yet.
    fn make_room(&mut self, origin: &str) {
        if self.circuits.get(origin).is_some() {
            return;
        }
        if self.circuits.len() >= ORIGINS_MAX {
            let oldest = self.circuits.iter().min_by_key(|(_, circuit)| circuit.failed_last);
            if let Some(origin) = oldest.map(|(origin, _)| Rc::clone(origin)) {
                self.circuits.remove(&origin);
            }
        }
        self.circuits.insert(origin.into(), Circuit::default());
    }
}

impl Circuit {
    fn admission(&self, now_ms: u64) -> Admission {
        match &self.open {
            None => Admission::Closed,
            Some(open) if open.probe.is_some_and(|since_ms| since_ms.abs_diff(now_ms) < PROBE_LOST_MS) => {
                Admission::Open { retry_after_ms: PROBE_WAIT_MS }
            }
            Some(open) if open.since_ms.abs_diff(now_ms) >= open.lasts_ms => Admission::Probe,
            Some(open) => {
                let left_ms = open.since_ms.saturating_add(open.lasts_ms).saturating_sub(now_ms);
                Admission::Open { retry_after_ms: left_ms.clamp(1, open.lasts_ms) }
            }
        }
    }

    /// True where the origin works, as far as can be told, and nothing more has to be remembered.
    fn answered(&mut self, now_ms: u64) -> bool {
        if let Some(open) = &self.open {
            return open.probe.is_some();
        }
        self.successes = self.successes.saturating_add(1);
        self.failures.back().is_none_or(|last| last.at_ms.abs_diff(now_ms) > WINDOW_MS)
    }

    fn failed(&mut self, now_ms: u64) {
        if let Some(open) = &mut self.open {
            if open.probe.is_some() {
                let lasts_ms = open.lasts_ms.saturating_mul(2).min(OPEN_MAX_MS);
                *open = Open { since_ms: now_ms, lasts_ms, probe: None };
            }
            return;
        }
        if self.failures.len() == FAILURES {
            self.failures.pop_front();
        }
        self.failures.push_back(Failure { at_ms: now_ms, successes: self.successes });
        if self.is_broken(now_ms) {
            self.open = Some(Open { since_ms: now_ms, lasts_ms: OPEN_MS, probe: None });
        }
    }

    fn is_broken(&self, now_ms: u64) -> bool {
        let before = self.failures.front().map_or(0, |oldest| oldest.successes);
        let successes = usize::try_from(self.successes.saturating_sub(before)).unwrap_or(usize::MAX);
        self.failures.len() == FAILURES
            && successes <= FAILURES
            && self.failures.iter().all(|failure| failure.at_ms.abs_diff(now_ms) <= WINDOW_MS)
    }
}

//! One circuit: which failures open it, and how probes close it.

use std::collections::VecDeque;

use super::Admission;
use super::request_key::RequestKey;

/// The time that a circuit is open at first, in milliseconds. Each time that all of its probes
/// fail, the time doubles, up to [`OPEN_MAX_MS`].
pub(super) const OPEN_MS: u64 = 10_000;
pub(super) const OPEN_MAX_MS: u64 = 60_000;
/// The time after which a probe without a result is lost, in milliseconds: its visitor went
/// away, or its request was ended. A failed one gives up its place after [`OPEN_MS`] already,
/// because its visitor may be the only one.
pub(super) const PROBE_LOST_MS: u64 = 60_000;
/// The time that other visitors are told to wait while probes are under way, in milliseconds.
pub(super) const PROBE_WAIT_MS: u64 = 1000;

/// The conditions under which a circuit opens.
#[derive(Debug)]
pub(super) struct Threshold {
    /// The number of failures that opens the circuit, if fewer requests than that succeeded
    /// since the oldest of them.
    pub(super) failures: usize,
    /// The most of these failures that may be of one visitor.
    pub(super) client_max: usize,
    /// The most of these failures that may be at one path, whatever the query.
    pub(super) path_max: usize,
    /// The time in which the failures count, in milliseconds.
    pub(super) window_ms: u64,
    /// The time that the failures must go on, in milliseconds, with fewer successes than
    /// `failures`. Requests that hang end in the same moment, and responses that others got in
    /// the meantime are only seen afterwards.
    pub(super) sustained_ms: u64,
    /// The number of probes, each of another visitor, that test whether the upstream works again.
    /// So one visitor whose probes fail or never end does not keep the circuit open for others.
    pub(super) probes: usize,
}

/// The recent failures and successes of one circuit.
#[derive(Debug, Clone, Default)]
pub(super) struct Circuit {
    /// The failures that count, the oldest first. None are added while the circuit is open.
    failures: VecDeque<FailedRequest>,
    successes: u64,
    /// The last two counts of successes, [`Threshold::sustained_ms`] apart or more.
    success_counts: [Option<SuccessCount>; 2],
    open: Option<OpenState>,
}

#[derive(Debug, Clone, Copy)]
struct SuccessCount {
    at_ms: u64,
    /// [`Circuit::successes`] at that time.
    successes: u64,
}

#[derive(Debug, Clone)]
struct FailedRequest {
    at_ms: u64,
    request: RequestKey,
    /// [`Circuit::successes`] when it happened.
    successes: u64,
}

#[derive(Debug, Clone)]
struct OpenState {
    since_ms: u64,
    lasts_ms: u64,
    probes: Vec<Probe>,
}

#[derive(Debug, Clone)]
struct Probe {
    client: u64,
    since_ms: u64,
    has_failed: bool,
}

impl Circuit {
    /// Returns the memory that the circuit takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let probes = self.open.as_ref().map_or(0, |open| open.probes.capacity());
        size_of::<Self>() + self.failures.capacity() * size_of::<FailedRequest>() + probes * size_of::<Probe>()
    }

    pub(super) fn admission(&self, threshold: &Threshold, request: RequestKey, now_ms: u64) -> Admission {
        let Some(open) = &self.open else { return Admission::Closed };
        let mut probes = open.probes.iter().filter(|probe| probe.holds(now_ms)).peekable();
        if probes.peek().is_none() && open.since_ms.abs_diff(now_ms) < open.lasts_ms {
            let left_ms = (open.since_ms + open.lasts_ms).saturating_sub(now_ms);
            return Admission::Open { retry_after_ms: left_ms.clamp(1, open.lasts_ms) };
        }
        let (mut under_way, mut own_probe) = (0_usize, None);
        for probe in probes {
            under_way += 1;
            own_probe = own_probe.or((probe.client == request.client).then_some(probe));
        }
        match own_probe {
            Some(probe) => Admission::Open { retry_after_ms: probe.wait_ms(now_ms) },
            None if under_way >= threshold.probes => Admission::Open { retry_after_ms: PROBE_WAIT_MS },
            None => Admission::Probe,
        }
    }

    /// Records that a request is admitted as a probe.
    pub(super) fn record_probe(&mut self, request: RequestKey, now_ms: u64) {
        if let Some(open) = &mut self.open {
            open.probes.retain(|probe| probe.holds(now_ms));
            open.probes.push(Probe { client: request.client, since_ms: now_ms, has_failed: false });
        }
    }

    pub(super) fn record_success(&mut self) {
        match &self.open {
            Some(open) if open.probes.is_empty() => {}
            Some(_) => *self = Self::default(),
            None => self.successes += 1,
        }
    }

    /// Returns true if the circuit can be forgotten.
    pub(super) fn is_idle(&self, threshold: &Threshold, now_ms: u64) -> bool {
        match &self.open {
            None => self.failures.back().is_none_or(|last| last.at_ms.abs_diff(now_ms) > threshold.window_ms),
            // The wait is long over, and no probe is under way.
            Some(open) => {
                open.since_ms.abs_diff(now_ms) > open.lasts_ms + PROBE_LOST_MS
                    && !open.probes.iter().any(|probe| probe.holds(now_ms))
            }
        }
    }

    /// Records a failure; returns true if it opened the circuit.
    pub(super) fn record_failure(&mut self, threshold: &Threshold, request: RequestKey, now_ms: u64) -> bool {
        if let Some(open) = &mut self.open {
            open.record_failure(threshold, request, now_ms);
            return false;
        }
        self.failures.retain(|failure| failure.at_ms.abs_diff(now_ms) <= threshold.window_ms);
        self.count_successes(threshold, now_ms);
        self.make_room(threshold.client_max, |failed| failed.client == request.client);
        self.make_room(threshold.path_max, |failed| {
            failed.method_and_url_without_query == request.method_and_url_without_query
        });
        self.make_room(threshold.failures, |_| true);
        self.failures.push_back(FailedRequest { at_ms: now_ms, request, successes: self.successes });
        let has_failed_since = |before: u64| self.successes - before < threshold.failures as u64;
        let is_sustained = match self.success_counts {
            _ if threshold.sustained_ms == 0 => true,
            [Some(earlier), _] => has_failed_since(earlier.successes),
            [None, _] => false,
        };
        let is_open = is_sustained
            && self.failures.len() >= threshold.failures
            && self.failures.front().is_some_and(|oldest| has_failed_since(oldest.successes));
        if is_open {
            self.open = Some(OpenState { since_ms: now_ms, lasts_ms: OPEN_MS, probes: Vec::new() });
        }
        is_open
    }

    /// Counts the successes again if the last count is long enough ago.
    fn count_successes(&mut self, threshold: &Threshold, now_ms: u64) {
        let count = Some(SuccessCount { at_ms: now_ms, successes: self.successes });
        if self.failures.is_empty() {
            self.success_counts = [None, count];
        } else if let [_, Some(last)] = self.success_counts
            && last.at_ms.abs_diff(now_ms) >= threshold.sustained_ms
        {
            self.success_counts = [Some(last), count];
        }
    }

    /// Drops the oldest failure of a kind if there are `most` of them.
    fn make_room(&mut self, most: usize, is_of_kind: impl Fn(RequestKey) -> bool) {
        if self.failures.iter().filter(|failure| is_of_kind(failure.request)).count() >= most
            && let Some(oldest) = self.failures.iter().position(|failure| is_of_kind(failure.request))
        {
            self.failures.remove(oldest);
        }
    }
}

impl OpenState {
    /// Records the failure of a probe. Once all probes have failed, the circuit stays open for
    /// longer.
    fn record_failure(&mut self, threshold: &Threshold, request: RequestKey, now_ms: u64) {
        let own_probe = self.probes.iter_mut().find(|probe| probe.client == request.client);
        let Some(probe) = own_probe else { return };
        probe.has_failed = true;
        if self.probes.iter().filter(|probe| probe.has_failed).count() >= threshold.probes {
            let lasts_ms = (self.lasts_ms * 2).min(OPEN_MAX_MS);
            *self = Self { since_ms: now_ms, lasts_ms, probes: Vec::new() };
        }
    }
}

impl Probe {
    /// Returns true while the probe occupies its place.
    fn holds(&self, now_ms: u64) -> bool {
        self.since_ms.abs_diff(now_ms) < if self.has_failed { OPEN_MS } else { PROBE_LOST_MS }
    }

    /// Returns how long its visitor should wait before trying again, in milliseconds.
    fn wait_ms(&self, now_ms: u64) -> u64 {
        let left_ms = OPEN_MS.saturating_sub(self.since_ms.abs_diff(now_ms));
        if self.has_failed { left_ms.max(1) } else { PROBE_WAIT_MS }
    }
}

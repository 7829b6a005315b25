//! What an isolate has counted and not handed over.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::counts::{Counts, RouteCounts, add_all};

/// How long an isolate counts before it hands its counts over, in milliseconds.
pub const INTERVAL_MS: u64 = 10_000;

/// The most minutes that wait to be handed over. If the Durable Object fails for longer, the
/// oldest two become one: no count is lost, and the time of some is less exact.
const WAITING_MINUTES_MAX: usize = 60;

/// How many statuses a route may respond with in one minute, as [`Collector::bytes_max`] counts.
/// Servers that send many more to the cache or to storefronts are hardly found.
const STATUSES_MAX: usize = 16;

const MINUTE_MS: u64 = 60_000;

/// The counts of one minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinuteCounts {
    /// The beginning of the minute, in seconds since the Unix epoch.
    pub unix_seconds: u64,
    /// The counts.
    pub routes: RouteCounts,
}

/// Counts on their way from an isolate to the Durable Object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// The id of the isolate.
    pub isolate: String,
    /// The number of this hand-over of the isolate, from 1. One that is repeated keeps its number.
    pub sequence: u64,
    /// The counts, by minute.
    pub minutes: Vec<MinuteCounts>,
}

/// When the counts are to be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOverTime {
    /// Now: the response is ready, and the time has come.
    Now,
    /// After [`INTERVAL_MS`], if [`Collector::begin_hand_over`] allows it then.
    Later {
        /// That time, in milliseconds since the Unix epoch.
        due_ms: u64,
    },
    /// An earlier request waits for that time already.
    Scheduled,
}

/// Counts what an isolate does, and keeps the counts until the Durable Object has them.
///
/// # Examples
///
/// ```
/// use metrics::collector::{Collector, HandOverTime};
///
/// let mut collector = Collector::default();
/// let now_ms = 1_764_424_800_000;
/// collector.begin(now_ms);
/// collector.count("/cache", |counts| counts.writes += 1);
/// let due_ms = now_ms + 10_000;
/// assert_eq!(collector.hand_over_time(now_ms), HandOverTime::Later { due_ms });
///
/// let new_id = || "a random id".to_owned();
/// let sent = collector.next_hand_over(new_id).unwrap();
/// // No reply came, so the same counts follow with the same number, and newer ones wait.
/// collector.count("/cache", |counts| counts.writes += 1);
/// assert_eq!(collector.next_hand_over(new_id).as_ref(), Some(&sent));
/// collector.arrived(sent.sequence);
/// assert_eq!(collector.next_hand_over(new_id).map(|next| next.sequence), Some(2));
/// ```
#[derive(Debug, Default)]
pub struct Collector {
    /// Random; empty until the first hand-over.
    isolate: String,
    /// The number of the last hand-over; 0 before the first.
    sequence: u64,
    /// The beginning of the current minute, in seconds since the Unix epoch.
    minute: u64,
    /// The counts of this minute. A request counts several times in a row, so the route of the
    /// last count is the last element, and looked at first.
    current: Vec<(&'static str, Counts)>,
    /// Earlier minutes, the oldest first.
    waiting: Vec<MinuteCounts>,
    /// The hand-over that is not known to have arrived. It is repeated as it is, because it may
    /// have.
    unacknowledged: Option<HandOver>,
    /// When the next hand-over is due, in milliseconds since the Unix epoch; `None` if nobody
    /// waits for it.
    due_ms: Option<u64>,
}

impl Collector {
    /// Returns the most bytes that it takes for this many routes: the minutes that wait, as many
    /// that are on their way, and the current one. Nodes of the maps may be half empty.
    #[must_use]
    pub const fn bytes_max(routes: usize) -> usize {
        let statuses = STATUSES_MAX * size_of::<(u16, u64)>();
        (2 * WAITING_MINUTES_MAX + 1) * routes * 2 * (size_of::<(Cow<'static, str>, Counts)>() + statuses)
    }

    /// Notes that work begins at this time, in milliseconds since the Unix epoch: what is counted
    /// from now on belongs to its minute.
    pub fn begin(&mut self, now_ms: u64) {
        let minute = now_ms / MINUTE_MS * 60;
        if minute != self.minute {
            self.end_minute();
            self.minute = minute;
        }
    }

    /// Counts something of a route.
    pub fn count(&mut self, route: &'static str, add: impl FnOnce(&mut Counts)) {
        let index = self.current.iter().rposition(|(name, _)| *name == route);
        let mut counts = index.map_or_else(Counts::default, |index| self.current.swap_remove(index).1);
        add(&mut counts);
        self.current.push((route, counts));
    }

    /// Returns when the counts are to be handed over, now that a response is ready.
    pub fn hand_over_time(&mut self, now_ms: u64) -> HandOverTime {
        match self.due_ms {
            Some(due_ms) if due_ms <= now_ms => {
                self.due_ms = None;
                HandOverTime::Now
            }
            // A time further ahead is from before the clock was set back.
            Some(due_ms) if due_ms - now_ms <= INTERVAL_MS => HandOverTime::Scheduled,
            _ => {
                let due_ms = now_ms + INTERVAL_MS;
                self.due_ms = Some(due_ms);
                HandOverTime::Later { due_ms }
            }
        }
    }

    /// Returns true if the hand-over that was due at this time has not begun yet. It begins now.
    pub fn begin_hand_over(&mut self, due_ms: u64) -> bool {
        let is_due = self.due_ms == Some(due_ms);
        if is_due {
            self.due_ms = None;
        }
        is_due
    }

    /// Returns true if a hand-over must be repeated, which comes before a new one.
    #[must_use]
    pub fn has_unacknowledged(&self) -> bool {
        self.unacknowledged.is_some()
    }

    /// Returns what is to be handed over: the last hand-over again if it is not known to have
    /// arrived, else all that was counted since; `None` if that is nothing. `new_id` returns a
    /// random id for the isolate.
    pub fn next_hand_over(&mut self, new_id: impl FnOnce() -> String) -> Option<HandOver> {
        if self.unacknowledged.is_none() {
            self.end_minute();
            if self.waiting.is_empty() {
                return None;
            }
            if self.isolate.is_empty() {
                self.isolate = new_id();
            }
            self.sequence += 1;
            let minutes = std::mem::take(&mut self.waiting);
            self.unacknowledged = Some(HandOver { isolate: self.isolate.clone(), sequence: self.sequence, minutes });
        }
        self.unacknowledged.clone()
    }

    /// Notes that a hand-over has arrived.
    pub fn arrived(&mut self, sequence: u64) {
        self.unacknowledged.take_if(|sent| sent.sequence == sequence);
    }

    fn end_minute(&mut self) {
        if self.current.is_empty() {
            return;
        }
        let routes = self.current.drain(..).map(|(route, counts)| (Cow::Borrowed(route), counts)).collect();
        self.waiting.push(MinuteCounts { unix_seconds: self.minute, routes });
        if self.waiting.len() > WAITING_MINUTES_MAX {
            let oldest = self.waiting.remove(0);
            #[expect(clippy::expect_used, reason = "`WAITING_MINUTES_MAX` is not 0")]
            let next = self.waiting.first_mut().expect("more than one minute waits");
            add_all(&mut next.routes, &oldest.routes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> String {
        "i".to_owned()
    }

    fn read(collector: &mut Collector) {
        collector.count("/a", |counts| counts.reads += 1);
    }

    fn reads(hand_over: &HandOver) -> Vec<(u64, u64)> {
        let of = |minute: &MinuteCounts| (minute.unix_seconds, minute.routes.values().map(|counts| counts.reads).sum());
        hand_over.minutes.iter().map(of).collect()
    }

    #[test]
    fn a_hand_over_that_did_not_arrive_is_repeated_as_it_is_before_a_new_one() {
        let mut collector = Collector::default();
        collector.begin(0);
        read(&mut collector);
        let first = collector.next_hand_over(id).expect("there are counts");
        read(&mut collector);
        assert_eq!(collector.next_hand_over(id).as_ref(), Some(&first));
        collector.arrived(first.sequence);
        let second = collector.next_hand_over(id).expect("there are counts");
        assert_eq!((second.sequence, reads(&second)), (2, vec![(0, 1)]));
        // A late acknowledgement of the first one does not end the second.
        collector.arrived(first.sequence);
        assert!(collector.has_unacknowledged());
        collector.arrived(second.sequence);
        assert_eq!(collector.next_hand_over(id), None);
    }

    #[test]
    fn routes_that_take_turns_count_for_themselves() {
        let mut collector = Collector::default();
        for route in ["/a", "/b", "/c", "/a", "/c", "/a"] {
            collector.count(route, |counts| counts.reads += 1);
        }
        let hand_over = collector.next_hand_over(id).expect("there are counts");
        let routes = hand_over.minutes.iter().flat_map(|minute| &minute.routes);
        let reads: Vec<(&str, u64)> = routes.map(|(route, counts)| (route.as_ref(), counts.reads)).collect();
        assert_eq!(reads, [("/a", 3), ("/b", 1), ("/c", 2)]);
    }

    #[test]
    fn counts_belong_to_the_minute_in_which_work_began_last() {
        let mut collector = Collector::default();
        for (now_ms, count) in [(59_999, 1), (60_000, 2), (61_000, 1)] {
            collector.begin(now_ms);
            (0..count).for_each(|_| read(&mut collector));
        }
        assert_eq!(reads(&collector.next_hand_over(id).expect("there are counts")), [(0, 1), (60, 3)]);
    }

    #[test]
    fn an_outage_of_hours_loses_no_count_and_takes_bounded_memory() {
        let mut collector = Collector::default();
        for minute in 0..1000 {
            collector.begin(minute * MINUTE_MS);
            read(&mut collector);
        }
        let hand_over = collector.next_hand_over(id).expect("there are counts");
        assert_eq!(hand_over.minutes.len(), WAITING_MINUTES_MAX);
        assert_eq!(reads(&hand_over).iter().map(|(_, reads)| reads).sum::<u64>(), 1000);
    }

    #[test]
    fn one_response_at_a_time_waits_for_the_hand_over_and_a_later_one_takes_over_if_it_is_cancelled() {
        let mut collector = Collector::default();
        assert_eq!(collector.hand_over_time(0), HandOverTime::Later { due_ms: 10_000 });
        assert_eq!(collector.hand_over_time(9_999), HandOverTime::Scheduled);
        // The runtime may have cancelled the timer of the first response.
        assert_eq!(collector.hand_over_time(10_000), HandOverTime::Now);
        assert!(!collector.begin_hand_over(10_000), "it has begun already");
        assert_eq!(collector.hand_over_time(10_001), HandOverTime::Later { due_ms: 20_001 });
        assert!(collector.begin_hand_over(20_001));
        // The clock is set back.
        assert_eq!(collector.hand_over_time(100_000), HandOverTime::Later { due_ms: 110_000 });
        assert_eq!(collector.hand_over_time(50_000), HandOverTime::Later { due_ms: 60_000 });
    }
}

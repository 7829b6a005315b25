//! `--watch`: follows changes with LISTEN and NOTIFY.
//!
//! It listens before it compares, so that no change falls between. What is heard is gathered for a second, since Workers KV takes one
//! write a second to a key, and then only those rows are read. Whatever could have been missed, a lost connection or a pass that
//! failed, is made good by a full comparison.

mod schedule;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use self::schedule::{Schedule, Todo, wait_ms};
use super::source::{Changed, Source};
use super::summary::{Stopped, Summary};
use super::sync::{self, Target};
use crate::Outcome;
use crate::clock::now_ms;

/// More keys than this are not looked at one by one.
const KEYS_MAX: usize = 1000;
/// How long a signal may go unseen, in milliseconds.
const SLICE_MS: u64 = 200;

/// What `--watch` takes.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) channel: String,
    /// None: never.
    pub(super) full_every: Option<Duration>,
    pub(super) json: bool,
}

/// Follows changes until a signal ends it: good where all that was heard of is in KV then.
pub(super) fn watch(
    source: &mut Source,
    target: &Target,
    options: &Options,
    out: &mut impl Write,
) -> io::Result<Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order the second signal ends it at once.
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    source.stop_on(Arc::clone(&stop));
    // A channel that cannot be listened to now never can.
    if let Err(error) = source.listen(&options.channel) {
        eprintln!("error: {error}");
        return Ok(Outcome::Faulty);
    }
    let full_every_ms = options.full_every.map(|every| u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
    let schedule = Schedule::new(now_ms(), full_every_ms, target.snapshot.is_some());
    let mut watch = Watch { source, target, options, stop, schedule, own: 0, sum: Sum::default() };
    watch.follow(out)?;
    watch.end(out)
}

struct Watch<'a> {
    source: &'a mut Source,
    target: &'a Target,
    options: &'a Options,
    stop: Arc<AtomicBool>,
    schedule: Schedule,
    /// How many keys in KV are the sync's own.
    own: u64,
    sum: Sum,
}

/// What all passes came to.
#[derive(Debug, Default)]
struct Sum {
    passes: u64,
    written: u64,
    deleted: u64,
    calls: u64,
}

impl Watch<'_> {
    fn follow(&mut self, out: &mut impl Write) -> io::Result<()> {
        while !self.is_stopped() {
            let summary = match self.schedule.next(now_ms()) {
                Todo::Wait(milliseconds) => {
                    self.wait(milliseconds);
                    continue;
                }
                Todo::Compare => sync::run(self.source, self.target),
                Todo::Apply(keys) => sync::apply(self.source, self.target, &keys, self.own),
                Todo::Snapshot => {
                    let summary = sync::snapshot(self.source, self.target);
                    Summary { own: self.own, ..summary }
                }
            };
            self.note(&summary, out)?;
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits a while for notices.
    fn wait(&mut self, milliseconds: u64) {
        let limit = Duration::from_millis(milliseconds.min(SLICE_MS));
        let mut changed = Changed::nothing();
        let waited = self.source.wait(limit, &mut changed, KEYS_MAX);
        self.schedule.heard(changed, now_ms(), KEYS_MAX);
        if let Err(error) = waited {
            eprintln!("error: {error}");
            self.connect_again();
        }
    }

    /// Tells what a pass came to, and draws the consequences.
    fn note(&mut self, summary: &Summary, out: &mut impl Write) -> io::Result<()> {
        summary.write(self.options.json, out)?;
        self.sum.add(summary);
        let failed = summary.outcome() != Outcome::Good;
        if summary.stopped.is_none() {
            self.own = summary.own;
        }
        self.schedule.ended(now_ms(), failed, fastrand::f64());
        if let Some(Stopped::Source(error)) = &summary.stopped
            && error.is_lost()
        {
            self.connect_again();
        }
        Ok(())
    }

    /// Tries until there is a connection that listens, or a signal came. Nobody knows what was missed meanwhile.
    fn connect_again(&mut self) {
        let mut tries = 0_u32;
        while !self.is_stopped() {
            let connected = self.source.reconnect().and_then(|()| self.source.listen(&self.options.channel));
            let Err(error) = connected else {
                self.target.progress.note("connected to PostgreSQL again");
                self.schedule.compare_now(now_ms());
                return;
            };
            tries = tries.saturating_add(1);
            let wait_ms = wait_ms(tries, fastrand::f64());
            eprintln!("error: {error}; the next try in {} s", wait_ms.div_ceil(1000));
            self.sleep(wait_ms);
        }
    }

    fn sleep(&self, milliseconds: u64) {
        let end_ms = now_ms().saturating_add(milliseconds);
        while !self.is_stopped() && now_ms() < end_ms {
            std::thread::sleep(Duration::from_millis(end_ms.saturating_sub(now_ms()).min(SLICE_MS)));
        }
    }

    fn end(&self, out: &mut impl Write) -> io::Result<Outcome> {
        if !self.options.json {
            writeln!(out, "{}", self.sum)?;
        }
        Ok(if self.schedule.is_behind() { Outcome::Faulty } else { Outcome::Good })
    }
}

impl Sum {
    fn add(&mut self, summary: &Summary) {
        for (sum, more) in [
            (&mut self.passes, 1),
            (&mut self.written, summary.written),
            (&mut self.deleted, summary.deleted),
            (&mut self.calls, summary.calls),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { passes, written, deleted, calls } = self;
        write!(formatter, "stopped after {passes} passes: {written} written, {deleted} deleted, {calls} calls")
    }
}

//! `--watch`: follows changes with LISTEN and NOTIFY.
//!
//! It listens before it compares, so that no change is missed in between. Notifications are
//! gathered for a second, since Workers KV takes one write per second to a key, and then only
//! those rows are read. After a lost connection or a failed pass, something may have been missed,
//! so everything is compared.

mod schedule;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::schedule::{Ended, Schedule, Todo, wait_ms};
use super::recent::Recent;
use super::source::Source;
use super::summary::{Stopped, Summary};
use super::sync;
use super::target::Target;
use crate::ExitStatus;
use crate::clock::{self, now_ms};
use crate::progress::tell;

/// The options of `--watch`.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) channel: String,
    /// How often everything is compared; None for never.
    pub(super) full_every: Option<Duration>,
    pub(super) json: bool,
}

/// Follows changes until a signal cancels `stop`. Returns success if everything that it was
/// notified of is in KV then.
pub(super) fn watch(
    source: &mut Source,
    target: &Target,
    options: &Options,
    stop: CancellationToken,
    out: &mut impl Write,
) -> io::Result<ExitStatus> {
    heed_signals(stop.clone())?;
    // If listening fails now, it always will.
    if let Err(error) = source.listen(&options.channel) {
        tell(&format!("error: {error}"));
        if options.json {
            writeln!(out, "{}", json!({ "error": error.to_string() }))?;
        }
        return Ok(ExitStatus::Failure);
    }
    let full_every_ms = options.full_every.map(clock::milliseconds);
    let schedule = Schedule::new(now_ms(), full_every_ms, target.snapshot.is_some());
    let mut watch = Watch { source, target, options, stop, schedule, recent: Recent::new(), sum: Sum::default() };
    watch.follow(out)?;
    watch.end(out)
}

/// The first signal stops `--watch` after the current work, the second at once.
fn heed_signals(stop: CancellationToken) -> io::Result<()> {
    const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];
    let is_second = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS {
        // The order matters: the first signal only sets the flag that the second one finds.
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&is_second))?;
        flag::register(signal, Arc::clone(&is_second))?;
    }
    let mut signals = Signals::new(SIGNALS)?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            // Written first: if nothing is running, the program ends at once.
            tell("stopping after the current work; press Ctrl-C again to stop at once");
            stop.cancel();
        }
    });
    Ok(())
}

struct Watch<'a> {
    source: &'a mut Source,
    target: &'a Target,
    options: &'a Options,
    stop: CancellationToken,
    schedule: Schedule,
    recent: Recent,
    sum: Sum,
}

/// The sums of all passes.
#[derive(Debug, Default, Serialize)]
struct Sum {
    passes: u64,
    read: u64,
    written: u64,
    unchanged: u64,
    deleted: u64,
    failed: u64,
    refused: u64,
    calls: u64,
    seconds: f64,
    /// True if something that it was notified of is not in KV.
    behind: bool,
}

impl Watch<'_> {
    fn follow(&mut self, out: &mut impl Write) -> io::Result<()> {
        while !self.is_stopped() {
            let summary = match self.schedule.next(now_ms()) {
                Todo::Wait(milliseconds) => {
                    self.wait(milliseconds);
                    continue;
                }
                Todo::Compare => sync::run(self.source, self.target, &self.recent),
                Todo::Apply(keys) => sync::apply(self.source, self.target, &self.recent, &keys),
                Todo::Snapshot => sync::snapshot(self.source, self.target, &self.recent),
            };
            self.note(summary, out)?;
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits for notifications, at most so long.
    fn wait(&mut self, milliseconds: u64) {
        match self.source.wait(Duration::from_millis(milliseconds)) {
            Ok(changed) => self.schedule.heard(changed, now_ms()),
            Err(_) if self.is_stopped() => {}
            Err(error) => {
                tell(&format!("error: {error}"));
                self.connect_again();
            }
        }
    }

    /// Writes the summary of a pass and schedules what follows from it.
    fn note(&mut self, mut summary: Summary, out: &mut impl Write) -> io::Result<()> {
        summary.write(self.options.json, out)?;
        self.sum.add(&summary);
        let now = now_ms();
        self.schedule.ended(now, how_it_ended(&summary), fastrand::f64());
        self.schedule.look_again(std::mem::take(&mut summary.unlisted.0), now);
        if let Some(until) = self.recent.unsure_until(now) {
            self.schedule.unsure_until(until);
        }
        if self.source.has_new_columns() {
            self.schedule.compare_now(now);
        }
        if let Some(Stopped::Source(error)) = &summary.stopped
            && error.is_lost()
        {
            self.connect_again();
        }
        Ok(())
    }

    /// Reconnects and listens again, until it succeeds or a signal comes. Notifications in
    /// between are lost, so everything is compared after that.
    fn connect_again(&mut self) {
        let mut tries = 0_u32;
        while !self.is_stopped() {
            let connected = self.source.reconnect().and_then(|()| self.source.listen(&self.options.channel));
            let Err(error) = connected else {
                self.target.progress.note("connected to PostgreSQL again");
                self.schedule.compare_now(now_ms());
                return;
            };
            tries += 1;
            if self.is_stopped() {
                return;
            }
            let wait_ms = wait_ms(tries, fastrand::f64());
            tell(&format!("error: {error}; the next try in {} s", wait_ms.div_ceil(1000)));
            clock::sleep(wait_ms, || self.is_stopped());
        }
    }

    fn end(mut self, out: &mut impl Write) -> io::Result<ExitStatus> {
        self.sum.behind = self.schedule.is_behind();
        if self.options.json {
            serde_json::to_writer(&mut *out, &self.sum)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", self.sum)?;
        }
        Ok(if self.sum.behind { ExitStatus::Failure } else { ExitStatus::Success })
    }
}

/// Returns what a pass means for the next one. Waiting helps only if the database or the API
/// failed.
fn how_it_ended(summary: &Summary) -> Ended {
    if summary.stopped.is_some() || summary.call_failed {
        Ended::Failed
    } else if summary.exit_status() == ExitStatus::Success {
        Ended::Good
    } else {
        Ended::Behind
    }
}

impl Sum {
    fn add(&mut self, summary: &Summary) {
        for (sum, more) in [
            (&mut self.passes, 1),
            (&mut self.read, summary.read),
            (&mut self.written, summary.written),
            (&mut self.unchanged, summary.unchanged),
            (&mut self.deleted, summary.deleted),
            (&mut self.failed, summary.failed),
            (&mut self.refused, summary.refused),
            (&mut self.calls, summary.calls),
        ] {
            *sum += more;
        }
        self.seconds += summary.seconds;
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { passes, read, written, unchanged, deleted, failed, refused, calls, seconds, behind } = self;
        write!(
            formatter,
            "stopped after {passes} passes: {read} read, {written} written, {unchanged} unchanged, {deleted} deleted, "
        )?;
        if *refused > 0 {
            write!(formatter, "{refused} refused, ")?;
        }
        write!(formatter, "{failed} failed, {calls} calls, {seconds:.1} s; ")?;
        formatter.write_str(if *behind { "not all of it is in KV" } else { "all of it is in KV" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_database_or_an_api_that_fails_makes_a_pass_that_is_tried_again_soon() {
        let told = |sentence: &str| vec![sentence.to_owned()];
        for (summary, expected) in [
            (Summary::default(), Ended::Good),
            (Summary { failed: 1, problems: told("its key is NULL"), ..Summary::default() }, Ended::Behind),
            (Summary { refused: 5, problems: told("5 of 9 keys"), ..Summary::default() }, Ended::Behind),
            (Summary { problems: told("the snapshot would have"), ..Summary::default() }, Ended::Behind),
            (Summary { failed: 1, call_failed: true, ..Summary::default() }, Ended::Failed),
            (Summary { stopped: Some(Stopped::CallFailed), ..Summary::default() }, Ended::Failed),
        ] {
            assert_eq!(how_it_ended(&summary), expected, "{summary:?}");
        }
    }

    #[test]
    fn the_last_line_has_every_figure() {
        let pass = |written| Summary {
            read: 9,
            written,
            unchanged: 8,
            deleted: 2,
            calls: 5,
            seconds: 1.25,
            ..Summary::default()
        };
        let mut sum = Sum::default();
        sum.add(&pass(1));
        sum.add(&Summary { failed: 1, ..pass(3) });
        assert_eq!(
            sum.to_string(),
            "stopped after 2 passes: 18 read, 4 written, 16 unchanged, 4 deleted, 1 failed, 10 calls, 2.5 s; all of it is in KV"
        );
        sum.add(&Summary { refused: 7, ..pass(0) });
        sum.behind = true;
        let json = serde_json::to_string(&sum).unwrap();
        let expected = r#"{"passes":3,"read":27,"written":4,"unchanged":24,"deleted":6,"failed":1,"refused":7,"calls":15,"seconds":3.75,"behind":true}"#;
        assert_eq!(json, expected);
        assert!(
            sum.to_string().ends_with("6 deleted, 7 refused, 1 failed, 15 calls, 3.8 s; not all of it is in KV"),
            "{sum}"
        );
    }
}

//! `--watch`: follows changes with LISTEN and NOTIFY.
//!
//! It listens before it compares, so that no change is missed in between. Notifications are
//! gathered for a second, since Workers KV accepts one write per second to a key, and then only
//! those rows are read, or everything is compared if they name no row or too many. After a lost
//! connection or a failed pass, something may have been missed, so everything is compared; that is
//! repeated every ten minutes (`--full-every`).

mod pass_schedule;

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

use self::pass_schedule::{PassResult, PassSchedule, ScheduledAction, reconnect_wait_ms};
use super::pass_summary::{PassError, PassSummary};
use super::recent_changes::RecentChanges;
use super::source::PostgresSource;
use super::sync;
use super::sync_target::SyncTarget;
use crate::ExitStatus;
use crate::clock::{self, now_ms};
use crate::progress::print_line;

/// The options of `--watch`.
#[derive(Debug, Clone)]
pub(super) struct WatchOptions {
    pub(super) channel: String,
    /// How often everything is compared; `None` for never.
    pub(super) full_every: Option<Duration>,
    pub(super) json: bool,
}

/// Follows changes until a signal cancels `stop`. Returns success if everything that it was
/// notified of is in KV then, and it cannot have missed a change.
pub(super) fn watch(
    source: &mut PostgresSource,
    target: &SyncTarget,
    options: &WatchOptions,
    stop: CancellationToken,
    out: &mut impl Write,
) -> io::Result<ExitStatus> {
    stop_on_signals(stop.clone())?;
    // A failure at the start is most likely a mistake in the options, so it ends the command.
    if let Err(error) = source.listen(&options.channel) {
        print_line(&format!("error: {error}"));
        if options.json {
            writeln!(out, "{}", json!({ "error": error.to_string() }))?;
        }
        return Ok(ExitStatus::Failure);
    }
    let full_every_ms = options.full_every.map(clock::milliseconds);
    let schedule = PassSchedule::new(now_ms(), full_every_ms, target.snapshot.is_some());
    let mut watch = WatchLoop {
        source,
        target,
        options,
        stop,
        schedule,
        recent: RecentChanges::new(),
        totals: WatchTotals::default(),
    };
    watch.follow(out)?;
    watch.end(out)
}

/// The first signal stops `--watch` after the current work, the second at once.
fn stop_on_signals(stop: CancellationToken) -> io::Result<()> {
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
            print_line("stopping after the current work; press Ctrl-C again to stop at once");
            stop.cancel();
        }
    });
    Ok(())
}

struct WatchLoop<'a> {
    source: &'a mut PostgresSource,
    target: &'a SyncTarget,
    options: &'a WatchOptions,
    stop: CancellationToken,
    schedule: PassSchedule,
    recent: RecentChanges,
    totals: WatchTotals,
}

/// The sums of all passes.
#[derive(Debug, Default, Serialize)]
struct WatchTotals {
    passes: u64,
    read: u64,
    written: u64,
    unchanged: u64,
    deleted: u64,
    failed: u64,
    refused: u64,
    calls: u64,
    seconds: f64,
    /// True if something is not in KV, or may not be.
    behind: bool,
}

impl WatchLoop<'_> {
    fn follow(&mut self, out: &mut impl Write) -> io::Result<()> {
        while !self.is_stopped() {
            let summary = match self.schedule.next(now_ms()) {
                ScheduledAction::Wait(milliseconds) => {
                    self.wait(Some(Duration::from_millis(milliseconds)));
                    continue;
                }
                ScheduledAction::WaitForChanges => {
                    self.wait(None);
                    continue;
                }
                ScheduledAction::Compare => sync::run(self.source, self.target, &self.recent),
                ScheduledAction::Apply(keys) => sync::apply(self.source, self.target, &self.recent, &keys),
                ScheduledAction::Snapshot => sync::snapshot(self.source, self.target, &self.recent),
            };
            self.note(summary, out)?;
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits for notifications, for at most `limit`.
    fn wait(&mut self, limit: Option<Duration>) {
        match self.source.wait(limit) {
            Ok(changed) => self.schedule.add_changes(changed, now_ms()),
            Err(_) if self.is_stopped() => {}
            Err(error) => {
                print_line(&format!("error: {error}"));
                self.connect_again();
            }
        }
    }

    /// Writes the summary of a pass and schedules what follows from it.
    fn note(&mut self, mut summary: PassSummary, out: &mut impl Write) -> io::Result<()> {
        summary.write(self.options.json, out)?;
        self.totals.add(&summary);
        let now = now_ms();
        self.schedule.pass_ended(now, pass_result(&summary), fastrand::f64());
        self.schedule.recheck_later(std::mem::take(&mut summary.unlisted.0), now);
        if let Some(until) = self.recent.list_unreliable_until(now) {
            self.schedule.compare_when_list_is_reliable(until);
        }
        if self.source.has_new_columns() {
            self.schedule.compare_now(now);
        }
        if let Some(PassError::Source(error)) = &summary.stopped
            && error.is_lost()
        {
            self.connect_again();
        }
        Ok(())
    }

    /// Reconnects and listens again, until it succeeds or a signal comes. Notifications in
    /// between are lost, so everything is compared after that.
    fn connect_again(&mut self) {
        self.schedule.compare_now(now_ms());
        let mut tries = 0_u32;
        while !self.is_stopped() {
            let connected = self.source.reconnect().and_then(|()| self.source.listen(&self.options.channel));
            let Err(error) = connected else {
                self.target.progress.note("connected to PostgreSQL again");
                return;
            };
            tries += 1;
            if self.is_stopped() {
                return;
            }
            let wait_ms = reconnect_wait_ms(tries, fastrand::f64());
            print_line(&format!("error: {error}; the next try in {} s", wait_ms.div_ceil(1000)));
            clock::sleep(wait_ms, || self.is_stopped());
        }
    }

    fn end(mut self, out: &mut impl Write) -> io::Result<ExitStatus> {
        if !self.schedule.is_behind() {
            match self.source.last_changes() {
                Ok(changed) => self.schedule.add_changes(changed, now_ms()),
                Err(_) => self.schedule.compare_now(now_ms()),
            }
        }
        self.totals.behind = self.schedule.is_behind();
        if self.options.json {
            serde_json::to_writer(&mut *out, &self.totals)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", self.totals)?;
        }
        Ok(if self.totals.behind { ExitStatus::Failure } else { ExitStatus::Success })
    }
}

/// Returns what a pass means for the next one. Waiting helps only if the database or the API
/// failed.
fn pass_result(summary: &PassSummary) -> PassResult {
    if summary.stopped.is_some() || summary.call_failed {
        PassResult::Failed
    } else if summary.exit_status() == ExitStatus::Success {
        PassResult::Complete
    } else {
        PassResult::Incomplete
    }
}

impl WatchTotals {
    fn add(&mut self, summary: &PassSummary) {
        // Names every field, so that none can be forgotten. `behind` is no sum.
        let Self { passes, read, written, unchanged, deleted, failed, refused, calls, seconds, behind: _ } = self;
        for (sum, more) in [
            (passes, 1),
            (read, summary.read),
            (written, summary.written),
            (unchanged, summary.unchanged),
            (deleted, summary.deleted),
            (failed, summary.failed),
            (refused, summary.refused),
            (calls, summary.calls),
        ] {
            *sum += more;
        }
        *seconds += summary.seconds;
    }
}

impl std::fmt::Display for WatchTotals {
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
    fn only_a_failed_database_or_api_makes_a_pass_fail() {
        let problems_of = |sentence: &str| vec![sentence.to_owned()];
        for (summary, expected) in [
            (PassSummary::default(), PassResult::Complete),
            (
                PassSummary { failed: 1, problems: problems_of("its key is NULL"), ..PassSummary::default() },
                PassResult::Incomplete,
            ),
            (
                PassSummary { refused: 5, problems: problems_of("5 of 9 keys"), ..PassSummary::default() },
                PassResult::Incomplete,
            ),
            (
                PassSummary { problems: problems_of("the snapshot would have"), ..PassSummary::default() },
                PassResult::Incomplete,
            ),
            (PassSummary { failed: 1, call_failed: true, ..PassSummary::default() }, PassResult::Failed),
            (PassSummary { stopped: Some(PassError::CallFailed), ..PassSummary::default() }, PassResult::Failed),
        ] {
            assert_eq!(pass_result(&summary), expected, "{summary:?}");
        }
    }

    #[test]
    fn the_last_line_has_the_figures_and_omits_refusals_if_there_are_none() {
        let pass = |written| PassSummary {
            read: 9,
            written,
            unchanged: 8,
            deleted: 2,
            calls: 5,
            seconds: 1.25,
            ..PassSummary::default()
        };
        let mut sum = WatchTotals::default();
        sum.add(&pass(1));
        sum.add(&PassSummary { failed: 1, ..pass(3) });
        assert_eq!(
            sum.to_string(),
            "stopped after 2 passes: 18 read, 4 written, 16 unchanged, 4 deleted, 1 failed, 10 calls, 2.5 s; all of it is in KV"
        );
        sum.add(&PassSummary { refused: 7, ..pass(0) });
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

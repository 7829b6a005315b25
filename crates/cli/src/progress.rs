//! Progress on stderr: a bar on a terminal, plain lines otherwise, nothing with `--json`. Errors
//! and warnings ([`print_line`]) are written in any case.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{DecimalBytes, MultiProgress, ProgressBar, ProgressFinish, ProgressStyle};

use crate::clock;

/// How often a plain line reports progress, in milliseconds.
const LINE_INTERVAL_MS: u64 = 10_000;

/// Reports the progress of a command. Clones share the output.
#[derive(Debug, Clone)]
pub(crate) struct Progress(ProgressOutput);

#[derive(Debug, Clone)]
enum ProgressOutput {
    Terminal(MultiProgress),
    Lines,
    Silent,
}

/// What a [`Phase`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Keys,
}

/// A running phase of a command, which threads share by reference. If it is dropped before it is
/// done, its bar disappears.
#[derive(Debug)]
pub(crate) struct Phase {
    output: ProgressOutput,
    bar: ProgressBar,
    what: String,
    unit: Unit,
    total: u64,
    done: AtomicU64,
    /// When the last line was written, or the phase began, in milliseconds since the Unix epoch.
    reported_ms: AtomicU64,
}

impl Progress {
    /// Returns the progress of a command. With `json` it shows nothing, because a program reads
    /// the output.
    pub(crate) fn new(json: bool) -> Self {
        Self(match json {
            true => ProgressOutput::Silent,
            false if io::stderr().is_terminal() => ProgressOutput::Terminal(MultiProgress::new()),
            false => ProgressOutput::Lines,
        })
    }

    /// Starts a phase of `total` units; 0 if the number is unknown.
    pub(crate) fn phase(&self, what: &str, total: u64, unit: Unit) -> Phase {
        let bar = match &self.0 {
            ProgressOutput::Terminal(bars) => {
                let bar = ProgressBar::new(total).with_finish(ProgressFinish::AndClear).with_message(what.to_owned());
                let bar = bars.add(bar.with_style(style(unit, total)));
                bar.enable_steady_tick(std::time::Duration::from_millis(100));
                bar
            }
            ProgressOutput::Lines | ProgressOutput::Silent => ProgressBar::hidden(),
        };
        let (done, reported_ms) = (AtomicU64::new(0), AtomicU64::new(clock::now_ms()));
        Phase { output: self.0.clone(), bar, what: what.to_owned(), unit, total, done, reported_ms }
    }

    /// Writes a message, for example that a call will be retried.
    pub(crate) fn note(&self, line: &str) {
        self.0.print(line);
    }
}

/// Writes a line to stderr. If stderr is closed, the line is lost, and the command goes on.
pub(crate) fn print_line(line: &str) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

impl ProgressOutput {
    fn print(&self, line: &str) {
        match self {
            // If the terminal is gone, the line is lost.
            Self::Terminal(bars) => drop(bars.println(line)),
            Self::Lines => print_line(line),
            Self::Silent => {}
        }
    }
}

impl Phase {
    /// Adds units that are done.
    pub(crate) fn add(&self, units: u64) {
        self.bar.inc(units);
        let done = self.done.fetch_add(units, Ordering::Relaxed) + units;
        let (now_ms, reported_ms) = (clock::now_ms(), self.reported_ms.load(Ordering::Relaxed));
        if matches!(self.output, ProgressOutput::Lines)
            && now_ms.saturating_sub(reported_ms) >= LINE_INTERVAL_MS
            // Only one of several threads writes the line.
            && self.reported_ms.compare_exchange(reported_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.output.print(&format!("{}: {}", self.what, so_far(done, self.total, self.unit)));
        }
    }

    /// Ends the phase with a summary.
    pub(crate) fn done(self, summary: &str) {
        self.bar.finish_and_clear();
        self.output.print(&format!("{}: {summary}", self.what));
    }
}

/// Formats the progress: `3 of 12 keys`, `1.20 MB of 4.80 MB`.
fn so_far(done: u64, total: u64, unit: Unit) -> String {
    let of = if total > 0 { " of " } else { "" };
    let count = |count: u64| match unit {
        Unit::Bytes => DecimalBytes(count).to_string(),
        Unit::Keys => count.to_string(),
    };
    let total = if total > 0 { count(total) } else { String::new() };
    let name = match unit {
        Unit::Bytes => "",
        Unit::Keys => " keys",
    };
    format!("{}{of}{total}{name}", count(done))
}

fn style(unit: Unit, total: u64) -> ProgressStyle {
    #[expect(clippy::expect_used, reason = "the templates stand below, and a test takes each")]
    ProgressStyle::with_template(template(unit, total)).expect("a template of indicatif")
}

fn template(unit: Unit, total: u64) -> &'static str {
    match (unit, total) {
        (Unit::Bytes, 0) => "{spinner} {msg}  {decimal_bytes}",
        (Unit::Bytes, _) => {
            "{msg:24} {bar:30} {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta}"
        }
        (_, 0) => "{spinner} {msg}  {pos}",
        _ => "{msg:24} {bar:30} {pos} of {len}  {eta}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indicatif_takes_each_template() {
        for unit in [Unit::Bytes, Unit::Keys] {
            for total in [0, 1] {
                assert!(ProgressStyle::with_template(template(unit, total)).is_ok(), "{unit:?} {total}");
            }
        }
    }

    #[test]
    fn progress_has_a_unit() {
        for (done, total, unit, expected) in [
            (3, 12, Unit::Keys, "3 of 12 keys"),
            (3, 0, Unit::Keys, "3 keys"),
            (1_200_000, 4_800_000, Unit::Bytes, "1.20 MB of 4.80 MB"),
            (500, 0, Unit::Bytes, "500 B"),
        ] {
            assert_eq!(so_far(done, total, unit), expected);
        }
    }
}

//! The page that shows a run: each write a row, each put a mark at its time.

mod axis;

use std::fmt::{self, Display, Formatter};

use html_escape::encode_text;

use axis::{INTERVALS_MAX, step_ms, tick};

use super::{Attempt, AttemptError, Report, RetriedAttempt, Try};

/// The height of a row, in pixels.
const ROW_PX: usize = 18;

/// What stands above the rows for the time axis, and below them where there are many, in pixels.
const AXIS_PX: usize = 28;

/// With more rows than this the time stands below them too.
const ROWS_WITH_ONE_AXIS: usize = 25;

/// A put that takes less of the width is no wider than its mark; in hundredths of a percent.
const BAR_MIN: u64 = 50;

/// Allows no more than `default-src 'none'; style-src 'unsafe-inline'` does. Times are percentages of the width, all else is in
/// pixels: so text and marks have the same size on every screen, which scaling by a `viewBox` would not give.
const STYLE: &str = "\
:root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--dim:#57606a;--line:#d8dee4;--stripe:#8c959f1a;--wait:#8c959f;--good:#0550ae;--bad:#bc4c00}
@media(prefers-color-scheme:dark){:root{--back:#0d1117;--text:#e6edf3;--dim:#9198a1;--line:#30363d;--stripe:#9198a11a;--wait:#8b949e;--good:#79c0ff;--bad:#ff9d5c}}
body{margin:0 auto;max-width:72rem;padding:1rem;background:var(--back);color:var(--text);font:1rem/1.5 system-ui,sans-serif}h1{font-size:1.25rem;margin:0}
h2{font-size:1rem;margin:1.5rem 0 .25rem}h1,p{overflow-wrap:anywhere}p{margin:.25rem 0 1rem}dl{display:flex;flex-wrap:wrap;gap:.5rem 2.5rem;margin:1rem 0}
dl div{display:flex;flex-direction:column-reverse}dt,.legend,th{color:var(--dim);font-size:.875rem}dd{margin:0;font-size:1.5rem;line-height:1.2}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:0;padding:0;list-style:none}svg{display:block;overflow:visible;box-sizing:border-box}
.run{width:100%;padding:0 22px 0 112px;margin:.75rem 0}.legend li{display:flex;align-items:center;gap:.25rem}.legend svg{width:26px;height:1px}
text{font:12px/1 system-ui,sans-serif;fill:var(--text);font-variant-numeric:tabular-nums}.axis text{fill:var(--dim);text-anchor:middle}
.number{text-anchor:end;fill:var(--dim)}.failed .word{fill:var(--bad);font-weight:700}.superseded .word,.stored .word{fill:var(--dim)}.axis line{stroke:var(--line)}
.row{stroke:transparent;stroke-width:18}g:nth-of-type(even)>.row{stroke:var(--stripe)}.wait{stroke:var(--wait)}
.under-way{stroke:var(--wait);stroke-width:7;opacity:.6}.without-put{stroke:var(--wait);stroke-width:3;opacity:.5}
.kept{fill:var(--back);stroke:var(--dim);stroke-width:1.5}.taken{fill:var(--good)}.refused,.gave-up{fill:none;stroke:var(--bad);stroke-width:2.25}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.5rem 0}th,td{padding:0 1rem 0 0;text-align:left}summary{cursor:pointer}
";

/// What the page says beside the report.
#[derive(Debug, Clone, Copy)]
pub(super) struct Title<'a> {
    /// The key in `WRITES`.
    pub(super) key: &'a str,
    /// The strategy in words, such as `coalesce, wait=kv`.
    pub(super) strategy: &'a str,
    /// How many writes were asked for.
    pub(super) n: u32,
    /// What became of the run, in a sentence.
    pub(super) status: &'a str,
    /// The answer did not wait for KV: the last write, where no put is made for it yet, is stored and not superseded.
    pub(super) is_durable: bool,
}

/// Shows a run as an HTML page that needs no script and nothing from elsewhere.
#[must_use]
pub(super) fn page(title: &Title<'_>, report: &Report) -> String {
    let ends =
        report.attempts.iter().flat_map(|write| write.tries.iter().map(|put| put.ended_ms).chain([write.ended_ms]));
    let span_ms = ends.fold(report.elapsed_ms.max(1), u64::max);
    Page { title, report, span_ms }.to_string()
}

struct Page<'a> {
    title: &'a Title<'a>,
    report: &'a Report,
    /// What the width stands for, in milliseconds, at least 1.
    span_ms: u64,
}

impl Display for Page<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Title { key, strategy, n, status, .. } = *self.title;
        let (key, strategy, status) = (encode_text(key), encode_text(strategy), encode_text(status));
        let writes = if n == 1 { "write" } else { "writes" };
        write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{n} {writes} to {key}: {strategy}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>{n} {writes} to <bdi>{key}</bdi>: {strategy}</h1>\n<p>{status}</p>\n"
        )?;
        self.legend(out)?;
        self.timeline(out)?;
        self.counts(out)?;
        self.errors(out)?;
        self.table(out)?;
        out.write_str("</main>\n</body>\n</html>\n")
    }
}

impl Page<'_> {
    /// What became of a write, in a word.
    fn outcome(&self, write: &RetriedAttempt) -> &'static str {
        let is_last = || self.report.attempts.last().is_some_and(|last| last.attempt.attempt == write.attempt.attempt);
        match &write.attempt {
            Attempt { success: false, .. } => "failed",
            _ if write.tries.iter().any(|put| put.taken) => "taken",
            _ if self.title.is_durable && is_last() => "stored",
            _ => "superseded",
        }
    }

    /// Where a time stands on the width, in hundredths of a percent.
    fn x(&self, at_ms: u64) -> u64 {
        at_ms.min(self.span_ms).saturating_mul(10_000).checked_div(self.span_ms).unwrap_or(0)
    }

    /// How much of the width a put took, in hundredths of a percent.
    fn width(&self, put: &Try) -> u64 {
        self.x(put.ended_ms).saturating_sub(self.x(put.started_ms))
    }

    /// True where a row shows that it was not put all the time.
    fn shows_wait(&self, write: &RetriedAttempt) -> bool {
        let puts = write.tries.iter().map(|put| self.width(put)).fold(self.x(write.started_ms), u64::saturating_add);
        matches!(self.outcome(write), "taken" | "failed") && self.x(write.ended_ms) >= puts.saturating_add(BAR_MIN)
    }

    /// Explains what there is to see, and nothing else.
    fn legend(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let writes = &self.report.attempts;
        let is = |outcome| writes.iter().any(|write| self.outcome(write) == outcome);
        let put = |which: &dyn Fn(&Try) -> bool| writes.iter().flat_map(|write| &write.tries).any(which);
        out.write_str("<ul class=\"legend\">\n")?;
        for (is_there, line, mark, text) in [
            (put(&|put| put.taken), "", "taken", "put, taken by KV"),
            (put(&|put| !put.taken), "", "refused", "put, refused or not answered"),
            (put(&|put| self.width(put) >= BAR_MIN), "under-way", "", "put under way"),
            (writes.iter().any(|write| self.shows_wait(write)), "wait", "", "waiting"),
            (is("failed"), "wait", "gave-up", "failed: no more tries"),
            (is("superseded"), "without-put", "kept", "superseded: a later write took its place"),
            (is("stored"), "without-put", "kept", "stored: will be put"),
        ] {
            if is_there {
                out.write_str("<li><svg aria-hidden=\"true\">")?;
                if !line.is_empty() {
                    write!(out, "<line class=\"{line}\" x1=\"2\" x2=\"23\"/>")?;
                }
                if !mark.is_empty() {
                    write!(out, "<use class=\"{mark}\" href=\"#{mark}\" x=\"13\"/>")?;
                }
                writeln!(out, "</svg>{text}</li>")?;
            }
        }
        out.write_str("</ul>\n")
    }

    fn timeline(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let rows = self.report.attempts.len();
        let rows_end = rows.saturating_mul(ROW_PX).saturating_add(AXIS_PX);
        let height = if rows > ROWS_WITH_ONE_AXIS { rows_end.saturating_add(AXIS_PX) } else { rows_end };
        write!(
            out,
            "<svg class=\"run\" role=\"img\" aria-labelledby=\"run-title run-desc\" height=\"{height}\">\n\
             <title id=\"run-title\">Timeline of the run</title>\n<desc id=\"run-desc\">A row for each write, from 0 to {}.",
            duration(self.span_ms),
        )?;
        for outcome in ["taken", "superseded", "stored", "failed"] {
            let writes = self.report.attempts.iter().filter(|write| self.outcome(write) == outcome).count();
            if writes > 0 {
                write!(out, " {writes} {outcome}.")?;
            }
        }
        out.write_str("</desc>\n<defs><circle id=\"taken\" r=\"5\"/><path id=\"refused\" d=\"M-4-4 4 4M4-4-4 4\"/>")?;
        out.write_str(
            "<circle id=\"kept\" r=\"4\"/><path id=\"gave-up\" d=\"M9-6v12\"/></defs>\n<g class=\"axis\">\n",
        )?;
        let step_ms = step_ms(self.span_ms);
        let ticks = (0..=INTERVALS_MAX).map(|tick| step_ms.saturating_mul(tick));
        for tick_ms in ticks.take_while(|tick_ms| *tick_ms <= self.span_ms) {
            let (x, label) = (percent(self.x(tick_ms)), tick(tick_ms, step_ms, self.span_ms));
            write!(out, "<line x1=\"{x}\" x2=\"{x}\" y1=\"22\" y2=\"{rows_end}\"/>")?;
            writeln!(out, "<text x=\"{x}\" y=\"16\">{label}</text>")?;
            if height > rows_end {
                writeln!(out, "<text x=\"{x}\" y=\"{}\">{label}</text>", height.saturating_sub(10))?;
            }
        }
        out.write_str("</g>\n")?;
        for (row, write) in self.report.attempts.iter().enumerate() {
            self.row(out, row.saturating_mul(ROW_PX).saturating_add(AXIS_PX + ROW_PX / 2), write)?;
        }
        out.write_str("</svg>\n")
    }

    fn row(&self, out: &mut Formatter<'_>, y: usize, write: &RetriedAttempt) -> fmt::Result {
        let (number, word, ended) = (write.attempt.attempt, self.outcome(write), duration(write.ended_ms));
        write!(out, "<g class=\"{word}\" transform=\"translate(0 {y})\"><title>Write {number}: {word} at {ended}")?;
        if let Some(error) = &write.attempt.error {
            write!(out, ". {}", encode_text(&error.message))?;
        }
        let (from, to) = (percent(self.x(write.started_ms)), percent(self.x(write.ended_ms)));
        let (line, end) = match word {
            "taken" => ("wait", ""),
            "failed" => ("wait", "gave-up"),
            _ => ("without-put", "kept"),
        };
        write!(
            out,
            "</title><line class=\"row\" x1=\"-112\" x2=\"100%\"/><text class=\"number\" x=\"-84\" y=\"4\">{number}</text>\
             <text class=\"word\" x=\"-78\" y=\"4\">{word}</text><line class=\"{line}\" x1=\"{from}\" x2=\"{to}\"/>"
        )?;
        for put in write.tries.iter().filter(|put| self.width(put) >= BAR_MIN) {
            let (from, to) = (percent(self.x(put.started_ms)), percent(self.x(put.ended_ms)));
            write!(out, "<line class=\"under-way\" x1=\"{from}\" x2=\"{to}\"/>")?;
        }
        for (put, number) in write.tries.iter().zip(1_u32..) {
            let mark = if put.taken { "taken" } else { "refused" };
            let (x, from, to) = (percent(self.x(put.ended_ms)), duration(put.started_ms), duration(put.ended_ms));
            write!(out, "<use class=\"{mark}\" href=\"#{mark}\" x=\"{x}\">")?;
            write!(out, "<title>Put {number}: {mark}, {from} to {to}</title></use>")?;
        }
        if !end.is_empty() {
            write!(out, "<use class=\"{end}\" href=\"#{end}\" x=\"{to}\"/>")?;
        }
        out.write_str("</g>\n")
    }

    fn counts(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Report { attempts, acknowledged, puts, elapsed_ms } = self.report;
        let refused = attempts.iter().flat_map(|write| &write.tries).filter(|put| !put.taken).count();
        let (n, elapsed) = (self.title.n, duration(*elapsed_ms));
        writeln!(
            out,
            "<dl>\n<div><dt>writes acknowledged</dt><dd>{acknowledged} of {n}</dd></div>\n<div><dt>KV puts</dt><dd>{puts}</dd></div>\n\
             <div><dt>of them not taken</dt><dd>{refused}</dd></div>\n<div><dt>elapsed</dt><dd>{elapsed}</dd></div>\n</dl>"
        )
    }

    /// Each message once, with the writes that it ended.
    fn errors(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let mut errors: Vec<(&AttemptError, Vec<u32>)> = Vec::new();
        for write in &self.report.attempts {
            let Some(error) = &write.attempt.error else { continue };
            match errors.iter_mut().find(|(other, _)| *other == error) {
                Some((_, writes)) => writes.push(write.attempt.attempt),
                None => errors.push((error, vec![write.attempt.attempt])),
            }
        }
        out.write_str(if errors.is_empty() { "" } else { "<h2>Failed writes</h2>\n" })?;
        for (error, writes) in errors {
            let why = match error.reason {
                Some("permanent") => " Another try would have failed, too.",
                Some("tries") => " All tries are used up.",
                Some("deadline") => " No time was left for another try.",
                Some("budget") => " The retries of this isolate are used up for now.",
                _ => "",
            };
            writeln!(out, "<p>{}: {}.{why}</p>", ranges(&writes), encode_text(error.message.trim_end_matches('.')))?;
        }
        Ok(())
    }

    /// The timeline for those who cannot see it.
    fn table(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str("<details><summary>The writes as a table</summary>\n<table>\n<tr><th>Write<th>Outcome<th>Puts<th>Began<th>Ended\n")?;
        for write in &self.report.attempts {
            let (number, word, puts) = (write.attempt.attempt, self.outcome(write), write.tries.len());
            write!(out, "<tr><td>{number}<td>{word}<td>{puts}<td>{}", duration(write.started_ms))?;
            writeln!(out, "<td>{}", duration(write.ended_ms))?;
        }
        out.write_str("</table>\n</details>\n")
    }
}

/// Milliseconds for people: `340 ms`, `8.53 s`.
fn duration(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{}.{:02} s", ms / 1000, ms % 1000 / 10) }
}

/// Hundredths of a percent, as a percentage.
fn percent(hundredths: u64) -> String {
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

/// Rising numbers: `1, 3–7`.
fn ranges(numbers: &[u32]) -> String {
    let range = |range: &[u32]| match range {
        [first, .., last] => format!("{first}–{last}"),
        numbers => numbers.first().map(u32::to_string).unwrap_or_default(),
    };
    let is_next = |number: &u32, next: &u32| number.checked_add(1) == Some(*next);
    numbers.chunk_by(is_next).map(range).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLE: Title<'static> =
        Title { key: "hot", strategy: "backoff", n: 3, status: "One write is lost.", is_durable: false };
    const BUSY: Option<&str> = Some("KV PUT failed: 429 Too Many Requests");

    fn tried(ended_ms: u64, taken: bool) -> Try {
        Try { started_ms: ended_ms.saturating_sub(20), ended_ms, taken }
    }

    fn write(attempt: u32, error: Option<&str>, tries: Vec<Try>, ended_ms: u64) -> RetriedAttempt {
        let error = error.map(|message| AttemptError { message: message.to_owned(), reason: None });
        let attempt = Attempt { attempt, success: error.is_none(), error };
        RetriedAttempt { attempt, tries, started_ms: 0, ended_ms }
    }

    /// A write that KV took at once, one at the second try, one never.
    fn mixed() -> String {
        let attempts = vec![
            write(1, None, vec![tried(20, true)], 20),
            write(2, None, vec![tried(20, false), tried(1000, true)], 1000),
            write(3, BUSY, vec![tried(20, false), tried(500, false)], 2000),
        ];
        page(&TITLE, &Report::new(attempts, 2000))
    }

    fn assert_counts(html: &str, parts: &[(&str, usize)]) {
        for (part, times) in parts {
            assert_eq!(html.matches(part).count(), *times, "{part}");
        }
    }

    #[test]
    fn what_a_user_sends_is_escaped() {
        let bad = "</title><script>\"&'";
        let report = Report::new(vec![write(1, Some(bad), vec![], 0)], 0);
        let html = page(&Title { key: bad, strategy: bad, status: bad, ..TITLE }, &report);
        assert_counts(&html, &[("<script", 0), ("&lt;/title&gt;&lt;script&gt;\"&amp;'", 7)]);
    }

    #[test]
    fn each_write_is_a_row_with_its_number_and_outcome() {
        let html = mixed();
        assert_counts(&html, &[("<g class=\"taken\"", 2), ("<g class=\"failed\"", 1), ("class=\"number\"", 3)]);
        assert!(html.contains(">3</text><text class=\"word\" x=\"-78\" y=\"4\">failed</text>"));
        assert!(html.contains("<title>Write 3: failed at 2.00 s. KV PUT failed: 429 Too Many Requests</title>"));
    }

    #[test]
    fn each_try_is_a_mark_where_it_ended_and_its_shape_says_whether_kv_took_it() {
        let html = mixed();
        assert_counts(&html, &[("href=\"#taken\" x=\"1.00%\"", 1), ("href=\"#taken\" x=\"50.00%\"", 1)]);
        assert_counts(&html, &[("href=\"#refused\" x=\"1.00%\"", 2), ("href=\"#refused\" x=\"25.00%\"", 1)]);
        assert!(html.contains("<title>Put 2: taken, 980 ms to 1.00 s</title>"));
    }

    #[test]
    fn a_write_without_a_put_is_a_bar_to_its_end_and_superseded_or_stored() {
        let report = Report::new(vec![write(1, None, vec![], 500), write(2, None, vec![], 1000)], 1000);
        let html = page(&TITLE, &report);
        assert!(html.contains("<line class=\"without-put\" x1=\"0.00%\" x2=\"50.00%\"/><use class=\"kept\""));
        assert_counts(&html, &[(">superseded</text>", 2), (">stored</text>", 0)]);
        let html = page(&Title { is_durable: true, ..TITLE }, &report);
        assert_counts(&html, &[(">superseded</text>", 1), (">stored</text>", 1)]);
    }

    #[test]
    fn the_counts_and_the_errors_stand_under_it() {
        let html = mixed();
        assert_counts(&html, &[("<dd>2 of 3</dd>", 1), ("<dt>KV puts</dt><dd>5</dd>", 1), ("taken</dt><dd>3</dd>", 1)]);
        assert!(html.contains("<p>3: KV PUT failed: 429 Too Many Requests.</p>"));
        assert_eq!(ranges(&[1, 3, 4, 5, 9, 10]), "1, 3–5, 9–10");
    }

    #[test]
    fn a_run_that_took_no_time_stands_at_the_start() {
        let html = page(&TITLE, &Report::new(vec![write(1, None, vec![tried(0, true)], 0)], 0));
        assert_counts(&html, &[("href=\"#taken\" x=\"0.00%\"", 1), (">1 ms</text>", 1), ("<dd>0 ms</dd>", 1)]);
    }

    #[test]
    fn a_page_is_bounded() {
        let tries = || (1..=20).map(|number| tried(number * 3000, false)).collect();
        let attempts = (1..=100).map(|number| write(number, BUSY, tries(), 60_000)).collect();
        let html = page(&TITLE, &Report::new(attempts, 60_000));
        assert!(html.len() < 350_000, "{}", html.len());
        let beyond = page(&TITLE, &Report::new(vec![write(1, None, vec![tried(u64::MAX, true)], 5)], 3));
        assert!(beyond.len() < 10_000, "{}", beyond.len());
    }
}

//! The HTML page of a run, which is the writes of one request: its counts, its writes as a table,
//! and the JSON from which `timeline.js` draws a timeline.

use html_escape::encode_text;
use kv_store::writes::{AttemptError, RetriedAttempt, RunReport, Try, Wait, WriteRun, WriteStrategy};
use serde::Serialize;

use super::json;
use crate::http::error::RequestError;

/// The Content-Security-Policy of the page. It allows inline styles and one script, by the
/// SHA-256 of `timeline.js` and `page.js`.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'sha256-FPt/Bq0y/UNsPCgJpEsbBnSDBUE8jZLaR+wzIBGmHCg='; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// The JSON that `timeline.js` reads.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Timeline<'a> {
    elapsed_ms: u64,
    attempts: Vec<AttemptRow<'a>>,
}

/// One write with its puts: an element of the JSON, and a row of the table.
#[derive(Debug, Serialize)]
struct AttemptRow<'a> {
    #[serde(flatten)]
    write: &'a RetriedAttempt,
    outcome: &'static str,
    puts: &'a [Try],
}

impl<'a> AttemptRow<'a> {
    /// Returns the row of a write. `is_stored` is true if the response did not wait for KV and
    /// no later write of the run supersedes this one.
    fn new(write: &'a RetriedAttempt, is_stored: bool) -> Self {
        let outcome = match write {
            _ if !write.attempt.success => "failed",
            _ if write.tries.iter().any(|put| put.is_accepted) => "accepted",
            _ if is_stored => "stored",
            _ => "superseded",
        };
        Self { write, outcome, puts: &write.tries }
    }

    fn html(&self) -> String {
        let Self { write, outcome, puts } = self;
        let put = |put: &Try| {
            let outcome = if put.is_accepted { "accepted" } else { "refused" };
            format!("{outcome} {} to {}", duration(put.started_ms), duration(put.ended_ms))
        };
        let (number, began, ended) = (write.attempt.attempt, duration(write.started_ms), duration(write.ended_ms));
        let puts = puts.iter().map(put).collect::<Vec<_>>().join("<br>");
        format!("<tr><td>{number}<td>{outcome}<td>{began}<td>{ended}<td>{puts}\n")
    }
}

/// Returns the page of a run. The error is an internal one: the JSON could not be written.
pub(super) fn render(run: &WriteRun<'_>, report: &RunReport) -> Result<String, RequestError> {
    let (strategy, status) = match run.strategy {
        WriteStrategy::Direct => ("direct", "Each write was put once."),
        WriteStrategy::Backoff => ("backoff", "A write that failed was put again after a random wait."),
        WriteStrategy::Coalesce(Wait::Kv) => ("coalesce, wait=kv", "KV has the last write or a later one."),
        WriteStrategy::Coalesce(Wait::Durable) => {
            ("coalesce, wait=durable", "The last write is stored and will reach KV.")
        }
    };
    let is_durable = run.strategy == WriteStrategy::Coalesce(Wait::Durable);
    let is_last = |write: &RetriedAttempt| write.attempt.attempt == run.n;
    let row = |write| AttemptRow::new(write, is_durable && is_last(write));
    let attempts: Vec<_> = report.attempts.iter().map(row).collect();
    Ok(format!(
        include_str!("page.html"),
        style = concat!(include_str!("page.css"), include_str!("timeline.css")),
        n = run.n,
        writes = if run.n == 1 { "write" } else { "writes" },
        key = encode_text(run.key.as_str()),
        strategy = strategy,
        status = status,
        acknowledged = report.acknowledged,
        puts = report.puts,
        refused = attempts.iter().flat_map(|row| row.puts).filter(|put| !put.is_accepted).count(),
        elapsed = duration(report.elapsed_ms),
        errors = errors(report),
        rows = attempts.iter().map(AttemptRow::html).collect::<String>(),
        // An unescaped `<` in a message could end the script element that holds the JSON.
        json = json(&Timeline { elapsed_ms: report.elapsed_ms, attempts })?.replace('<', "\\u003c"),
        script = concat!(include_str!("timeline.js"), include_str!("page.js")),
    ))
}

/// Returns each error message once, with the numbers of the writes that failed with it.
fn errors(report: &RunReport) -> String {
    let mut errors: Vec<(&AttemptError, Vec<u32>)> = Vec::new();
    for write in &report.attempts {
        let Some(error) = &write.attempt.error else { continue };
        match errors.iter_mut().find(|(other, _)| *other == error) {
            Some((_, writes)) => writes.push(write.attempt.attempt),
            None => errors.push((error, vec![write.attempt.attempt])),
        }
    }
    let paragraph = |(error, writes): &(&AttemptError, Vec<u32>)| {
        let why = match error.reason {
            Some("permanent") => " Another try would have failed, too.",
            Some("tries") => " All tries are used up.",
            Some("deadline") => " No time was left for another try.",
            Some("budget") => " The retries of this isolate are used up for now.",
            _ => "",
        };
        format!("<p>{}: {}.{why}</p>\n", ranges(writes), encode_text(error.message.trim_end_matches('.')))
    };
    let heading = if errors.is_empty() { "" } else { "<h2>Failed writes</h2>\n" };
    heading.to_owned() + &errors.iter().map(paragraph).collect::<String>()
}

/// Formats milliseconds: `340 ms`, `8.53 s`.
fn duration(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{}.{:02} s", ms / 1000, ms % 1000 / 10) }
}

/// Formats ascending numbers: `1, 3–7`.
fn ranges(numbers: &[u32]) -> String {
    let range = |range: &[u32]| match range {
        [first, .., last] => format!("{first}–{last}"),
        numbers => numbers.iter().map(u32::to_string).collect(),
    };
    let is_next = |number: &u32, next: &u32| number.checked_add(1) == Some(*next);
    numbers.chunk_by(is_next).map(range).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use http_semantics::conditional::Preconditions;
    use kv_store::limits::Key;
    use kv_store::writes::Attempt;

    use super::*;

    const BUSY: Option<&str> = Some("KV PUT failed: 429 Too Many Requests");

    fn put_until(ended_ms: u64, is_accepted: bool) -> Try {
        Try { started_ms: ended_ms.saturating_sub(20), ended_ms, is_accepted }
    }

    fn write(attempt: u32, error: Option<&str>, tries: Vec<Try>, ended_ms: u64) -> RetriedAttempt {
        let error = error.map(|message| AttemptError { message: message.to_owned(), reason: None });
        let attempt = Attempt { attempt, success: error.is_none(), error };
        RetriedAttempt { attempt, tries, started_ms: 0, ended_ms }
    }

    fn render_run(key: &str, strategy: WriteStrategy, attempts: Vec<RetriedAttempt>) -> String {
        let n = u32::try_from(attempts.len()).unwrap();
        let (key, preconditions) = (Key::new(key).unwrap(), Preconditions::parse(None, None));
        let run = WriteRun { key, n, strategy, timeout_ms: 60_000, value_bytes: None, preconditions };
        render(&run, &RunReport::new(attempts, 2000)).ok().unwrap()
    }

    /// Renders three writes: one succeeds at once, one at its second try, one never.
    fn render_mixed_run() -> String {
        let attempts = vec![
            write(1, None, vec![put_until(20, true)], 20),
            write(2, None, vec![put_until(20, false), put_until(1000, true)], 1000),
            write(3, BUSY, vec![put_until(20, false), put_until(500, false)], 2000),
        ];
        render_run("hot", WriteStrategy::Backoff, attempts)
    }

    fn assert_counts(html: &str, parts: &[(&str, usize)]) {
        for (part, times) in parts {
            assert_eq!(html.matches(part).count(), *times, "{part}");
        }
    }

    #[test]
    fn keys_and_error_messages_are_escaped() {
        let markup = "</title></script><script>\"&'";
        let html = render_run(markup, WriteStrategy::Direct, vec![write(1, Some(markup), vec![], 0)]);
        let escaped = "&lt;/title&gt;&lt;/script&gt;&lt;script&gt;\"&amp;'";
        // In the title, the heading and the list of errors; then in the JSON.
        assert_counts(&html, &[(escaped, 3), (r#""message":"\u003c/title>\u003c/script>\u003cscript>\"&'""#, 1)]);
        assert_counts(&html, &[("<script", 2), ("</script", 2), ("</title", 1)]);
    }

    #[test]
    fn each_write_is_a_row_with_its_puts() {
        let html = render_mixed_run();
        assert_counts(&html, &[("<tr><td>1<td>accepted<td>0 ms<td>20 ms<td>accepted 0 ms to 20 ms\n", 1)]);
        assert_counts(
            &html,
            &[("<td>2<td>accepted<td>0 ms<td>1.00 s<td>refused 0 ms to 20 ms<br>accepted 980 ms to 1.00 s\n", 1)],
        );
        assert_counts(
            &html,
            &[("<td>3<td>failed<td>0 ms<td>2.00 s<td>refused 0 ms to 20 ms<br>refused 480 ms to 500 ms\n", 1)],
        );
    }

    #[test]
    fn the_json_contains_every_write_and_every_put() {
        let html = render_mixed_run();
        let second = r#"{"attempt":2,"success":true,"tries":2,"startedMs":0,"endedMs":1000,"outcome":"accepted","puts":[{"startedMs":0,"endedMs":20,"taken":false},{"startedMs":980,"endedMs":1000,"taken":true}]}"#;
        assert_counts(&html, &[(second, 1), (r#" id="report">{"elapsedMs":2000,"attempts":[{"attempt":1,"#, 1)]);
        assert_counts(&html, &[(r#"{"attempt":"#, 3), (r#""taken":"#, 5)]);
    }

    #[test]
    fn a_write_without_a_put_is_superseded_or_stored() {
        let attempts = vec![write(1, None, vec![], 500), write(2, None, vec![], 1000)];
        let html = render_run("hot", WriteStrategy::Coalesce(Wait::Kv), attempts.clone());
        assert_counts(&html, &[("<td>superseded", 2), ("<td>stored", 0)]);
        let html = render_run("hot", WriteStrategy::Coalesce(Wait::Durable), attempts);
        assert_counts(&html, &[("<td>superseded", 1), ("<td>stored", 1)]);
    }

    #[test]
    fn the_page_contains_the_counts_and_the_errors() {
        let html = render_mixed_run();
        assert_counts(
            &html,
            &[("<dd>2 of 3</dd>", 1), ("<dt>KV puts</dt><dd>5</dd>", 1), ("accepted</dt><dd>3</dd>", 1)],
        );
        assert!(html.contains("<p>3: KV PUT failed: 429 Too Many Requests.</p>"));
        assert_eq!(ranges(&[1, 3, 4, 5, 9, 10]), "1, 3–5, 9–10");
    }

    #[test]
    fn a_page_of_100_writes_with_20_puts_each_is_shorter_than_350_000_bytes() {
        let tries = || (1..=20).map(|number| put_until(number * 3000, false)).collect();
        let attempts = (1..=100).map(|number| write(number, BUSY, tries(), 60_000)).collect();
        let html = render_run("hot", WriteStrategy::Backoff, attempts);
        assert!(html.len() < 350_000, "{}", html.len());
    }
}

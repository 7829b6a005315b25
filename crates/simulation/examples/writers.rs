//! Prints a table of the strategies, simulated with many writers of one key: see
//! [`simulation::writers`].

use std::process::ExitCode;

use kv_store::retry::Backoff;
use serde_json::{Value, json};
use simulation::writers::{SimulatedStrategy, SimulationResult, simulate};

const HELP: &str = "Simulates many writers of one key against a Workers KV that accepts one put a second to it.

  cargo run --release -p simulation --example writers -- [options]

  --constants   the backoff with other figures, for 20, 50 and 100 writers, in place of the strategies
  --json        the same as one line of JSON
  --help        this text

direct      each write is put once, all in the same moment
documented  the retry of the Workers KV documentation: 5 tries, waits of 1, 2, 4 and 8 s
backoff     kv-edge's retry: full jitter, and one budget for all
coalesce    the writes of a request become one, which the Durable Object of the key puts";

/// The number of runs per row, each with its own seed.
const SEEDS: u64 = 300;

/// The runs of one strategy with one number of writers.
struct Row {
    name: String,
    writers: u32,
    results: Vec<SimulationResult>,
}

impl Row {
    fn new(name: impl Into<String>, strategy: SimulatedStrategy, writers: u32) -> Self {
        let results = (0..SEEDS).map(|seed| simulate(strategy, writers, seed)).collect();
        Self { name: name.into(), writers, results }
    }

    /// Returns the percentage of the runs that meet a condition, rounded down to a tenth, so
    /// that 100 means all of them.
    fn percent(&self, condition: impl Fn(&SimulationResult) -> bool) -> f64 {
        let count = self.results.iter().filter(|result| condition(result)).count();
        // Exact: there are a few hundred runs.
        #[allow(clippy::cast_precision_loss)]
        let percent = (count as f64 / self.results.len() as f64 * 1000.0).floor() / 10.0;
        percent
    }

    fn spread(&self, value: impl Fn(&SimulationResult) -> u64) -> Spread {
        let mut values: Vec<u64> = self.results.iter().map(value).collect();
        values.sort_unstable();
        let at = |index: usize| values.get(index).copied().unwrap_or(0);
        Spread { least: at(0), median: at(values.len() / 2), most: at(values.len() - 1) }
    }

    fn acknowledged(&self) -> Spread {
        self.spread(|result| result.acknowledged.into())
    }

    fn puts(&self) -> Spread {
        self.spread(|result| result.puts.into())
    }

    fn elapsed_ms(&self) -> Spread {
        self.spread(|result| result.elapsed_ms)
    }

    /// Returns the percentage of the runs that acknowledge at least 19 of 20 writers.
    fn nearly_all_percent(&self) -> f64 {
        self.percent(|result| u64::from(result.acknowledged) * 20 >= u64::from(self.writers) * 19)
    }

    fn last_write_won_percent(&self) -> f64 {
        self.percent(|result| result.last_write_won)
    }

    fn cells(&self) -> [String; 7] {
        [
            self.name.clone(),
            self.writers.to_string(),
            self.acknowledged().text(u64::to_string),
            format!("{} %", self.nearly_all_percent()),
            format!("{} %", self.last_write_won_percent()),
            self.puts().text(u64::to_string),
            self.elapsed_ms().text(|ms| format!("{}.{}", ms / 1000, ms / 100 % 10)),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "strategy": self.name,
            "writers": self.writers,
            "acknowledged": self.acknowledged().json(),
            "nearlyAllPercent": self.nearly_all_percent(),
            "lastKeptPercent": self.last_write_won_percent(),
            "puts": self.puts().json(),
            "elapsedMs": self.elapsed_ms().json(),
        })
    }
}

/// The median of the runs, with the least and the greatest value.
struct Spread {
    least: u64,
    median: u64,
    most: u64,
}

impl Spread {
    fn text(&self, format: impl Fn(&u64) -> String) -> String {
        let median = format(&self.median);
        if self.least == self.most {
            return median;
        }
        format!("{median} ({}–{})", format(&self.least), format(&self.most))
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "least": self.least, "most": self.most })
    }
}

/// Returns a row for each strategy and number of writers.
fn strategy_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for writers in [5, 20, 50, 100] {
        rows.push(Row::new("direct", SimulatedStrategy::Direct, writers));
        rows.push(Row::new("documented", SimulatedStrategy::Documented, writers));
        rows.push(Row::new("backoff", SimulatedStrategy::Backoff(Backoff::PUT), writers));
        rows.push(Row::new("coalesce, 1 request", SimulatedStrategy::Coalesce { requests_max: 1 }, writers));
        rows.push(Row::new("coalesce, a request each", SimulatedStrategy::Coalesce { requests_max: writers }, writers));
    }
    rows.push(Row::new("coalesce, 10 requests", SimulatedStrategy::Coalesce { requests_max: 10 }, 200));
    rows
}

/// Returns a row for each backoff cap, number of tries and number of writers.
fn backoff_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for writers in [20, 50, 100] {
        for cap_ms in [2000, 4000, 8000, 16_000] {
            for tries_max in [10, 15, 20, 30, 40] {
                let name = format!("cap {} s, {tries_max} tries", cap_ms / 1000);
                rows.push(Row::new(
                    name,
                    SimulatedStrategy::Backoff(Backoff { cap_ms, tries_max, ..Backoff::PUT }),
                    writers,
                ));
            }
        }
    }
    rows
}

/// Prints a table, with a rule between the numbers of writers.
fn print_table(rows: &[Row]) {
    let head =
        ["strategy", "writers", "acknowledged", "19 of 20", "last kept", "puts", "elapsed, s"].map(str::to_owned);
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    let lines = || std::iter::once(&head).chain(&cells);
    let mut widths = [0; 7];
    for line in lines() {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let rule = widths.map(|width| "-".repeat(width)).join("  ");
    let mut writers = None;
    for (line, row) in lines().zip(std::iter::once(None).chain(rows.iter().map(Some))) {
        if row.is_some_and(|row| writers.replace(row.writers) != Some(row.writers)) {
            println!("{rule}");
        }
        let padded = line.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("{}", padded.collect::<Vec<_>>().join("  "));
    }
}

/// Returns the explanation of the columns.
fn heading() -> String {
    [
        "Writers of one key that begin together (several coalesced requests: within a second).".into(),
        format!("Simulated, {SEEDS} seeds: median (least–most). 19 of 20: the runs in"),
        "which at least that share of the writers is acknowledged. Last kept: the runs after which KV holds the value that".into(),
        "was written last.".into(),
    ]
    .join("\n")
}

fn main() -> ExitCode {
    let (mut as_json, mut with_constants) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => as_json = true,
            "--constants" => with_constants = true,
            "--help" => {
                println!("{HELP}");
                return ExitCode::SUCCESS;
            }
            _ => {
                eprintln!("There is no option {argument}. See --help.");
                return ExitCode::FAILURE;
            }
        }
    }
    let rows = if with_constants { backoff_rows() } else { strategy_rows() };
    if as_json {
        println!("{}", json!({ "seeds": SEEDS, "rows": rows.iter().map(Row::json).collect::<Vec<_>>() }));
        return ExitCode::SUCCESS;
    }
    println!("{}", heading());
    print_table(&rows);
    ExitCode::SUCCESS
}

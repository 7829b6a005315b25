//! `kv-edge`: the native command line tool beside the Worker. It fills, checks and empties the KV
//! namespaces that the Worker reads. The crates of the subjects (`static-assets`,
//! `feature-flags`, `tenant-router`) decide what is valid, so a tool and a Worker of the same
//! version cannot disagree.
//!
//! ```text
//! command line ──> a group's module ──> the crate of its subject: is it valid, what is written
//!                        │
//!                        └────────────> api: the calls of KV, with retries, within the rate limit
//! ```
//!
//! There is one module per group of commands:
//!
//! - [`assets`]: releases of static files (`push`, `list`, `rollback`, `gc`).
//! - [`config`]: users' records from PostgreSQL (`sync`), and checking flag definitions
//!   (`validate`).
//! - [`kv`]: whole namespaces (`export`, `import`, `copy`, `delete`) and single keys (`ls`, `get`,
//!   `put`).
//! - [`metrics`]: what Cloudflare counted of the namespaces of an account, and what it costs.
//! - [`routes`]: checking records of storefronts (`validate`).
//! - [`token`]: tokens for one namespace or prefix of the KV REST API that a Worker serves
//!   (`create`, `revoke`).
//!
//! The other modules are what the groups share: [`api`] is the client of the KV REST API,
//! [`progress`] writes to stderr, [`validation_report`] prints what `validate` found,
//! [`input_file`] reads files and standard input, [`temporary_file`] makes temporary files,
//! [`clock`] reads the time, and [`duration`] and [`number`] parse arguments.
//!
//! The exit code of a command that checks is 0 if everything is valid, 1 if it found faults, and 2
//! if it could not check: a mistake in the command line, a file that cannot be read. The exit code
//! of every other command is 0 if it succeeded, 1 if it failed, and 2 if it could not begin,
//! because of a mistake in the command line, a file or folder that cannot be read, or no secret to
//! sign a token with. A command that runs ends with 2 if its output cannot be written, and with
//! 141 if its reader has closed the pipe; help and messages about the command line do not.

#![forbid(unsafe_code)]
// `eprintln!` and `println!` panic if the pipe is closed. Messages go through
// `progress::print_line`, results through the writer that `main` passes on.
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

mod api;
mod assets;
mod clock;
mod config;
mod duration;
mod input_file;
mod kv;
mod metrics;
mod number;
mod progress;
mod routes;
mod temporary_file;
mod token;
mod validation_report;

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;

use crate::progress::print_line;

const EXAMPLES: &str = "\
Examples:
  kv-edge assets push static --local                upload a folder of files into the KV of `wrangler dev`
  kv-edge config sync --local                       make KV hold what a table of PostgreSQL holds
  kv-edge config validate flags.json                check the definitions of flags
  kv-edge kv export --namespace assets              write a whole namespace to stdout
  kv-edge metrics --since 7d                        show what KV did, and what it costs
  kv-edge routes validate demo/storefronts.json     check the records of storefronts
  kv-edge token create --namespace assets --read    a token of the KV REST API for one namespace
  kv-edge routes validate --help                    all options of a command";

/// The columns of help. If they were the terminal's, `clap` would break up the examples, which
/// people copy.
const HELP_COLUMNS: usize = 140;

/// Fills, checks, copies and empties the KV namespaces of kv-edge
#[derive(Debug, Parser)]
#[command(name = "kv-edge", version, after_help = EXAMPLES, arg_required_else_help = true, term_width = HELP_COLUMNS)]
struct CommandLine {
    #[command(subcommand)]
    group: CommandGroup,
}

#[derive(Debug, Subcommand)]
enum CommandGroup {
    Assets(assets::AssetsArguments),
    Config(config::ConfigArguments),
    Kv(kv::KvArguments),
    Metrics(metrics::MetricsArguments),
    Routes(routes::RoutesArguments),
    Token(token::TokenArguments),
}

/// The exit code that a shell reports for a program that SIGPIPE ended: 128 plus the number of
/// the signal.
const CLOSED_PIPE: u8 = 128 + 13;

/// The exit status of a command, the worst one last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ExitStatus {
    /// The command succeeded, and found no fault: exit code 0.
    Success,
    /// The command found faults, or failed: exit code 1.
    Failure,
    /// The command could not run: exit code 2.
    CannotRun,
}

fn main() -> ExitCode {
    // npm runs scripts in the folder of package.json and sets INIT_CWD to the folder it was
    // called in, which paths in the arguments are relative to.
    if std::env::var_os("npm_lifecycle_event").is_some_and(|script| script == "kv-edge")
        && let Some(folder) = std::env::var_os("INIT_CWD")
        && let Err(error) = std::env::set_current_dir(&folder)
    {
        let folder = Path::new(&folder).display();
        return refuse(&format!("{folder} cannot be opened: {error}; check INIT_CWD, which npm sets"));
    }
    if let Some(sentence) = api::misplaced_address(std::env::args_os().skip(1)) {
        return refuse(&sentence);
    }
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(mistake) if mistake.use_stderr() && wants_json() => return refuse(&sentence_of(&mistake)),
        // Help is no mistake. Without `--json`, the usage follows the mistake.
        Err(other) => other.exit(),
    };
    let mut stdout = io::stdout().lock();
    let exit_status = match command_line.group {
        CommandGroup::Assets(assets) => assets.run(&mut stdout),
        CommandGroup::Config(config) => config.run(&mut stdout),
        CommandGroup::Kv(kv) => kv.run(&mut stdout),
        CommandGroup::Metrics(metrics) => metrics.run(&mut stdout),
        CommandGroup::Routes(routes) => routes.run(&mut stdout),
        CommandGroup::Token(token) => token.run(&mut stdout),
    };
    match exit_status {
        Ok(ExitStatus::Success) => ExitCode::SUCCESS,
        Ok(ExitStatus::Failure) => ExitCode::from(1),
        Ok(ExitStatus::CannotRun) => ExitCode::from(2),
        // The reader has seen enough, as in `kv-edge … | head`. No change is left half done:
        // commands that change something write their result last, and `--watch` writes between
        // two passes.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(CLOSED_PIPE),
        Err(error) => {
            print_line(&format!("error: the output cannot be written: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Reports that the command line cannot be executed: on stderr and, with `--json`, on stdout too.
fn refuse(sentence: &str) -> ExitCode {
    print_line(&format!("error: {sentence}"));
    if wants_json() {
        // Whoever cannot read this has the exit code.
        writeln!(io::stdout(), "{}", json!({ "error": sentence })).ok();
    }
    ExitCode::from(2)
}

/// Returns true if the command line asks for JSON, whatever else it says.
fn wants_json() -> bool {
    std::env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// Returns what `clap` says of a mistake, in one line and without the usage.
fn sentence_of(mistake: &clap::Error) -> String {
    let message = mistake.render().to_string();
    let paragraphs = message.trim_start_matches("error: ").split("\n\n").take_while(|text| !text.starts_with("Usage:"));
    let lines = paragraphs.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("; ")
}

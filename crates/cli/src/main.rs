//! `kv-edge`: the native tool beside the Worker. It works on what goes into the KV namespaces; what is right there is decided
//! by the crates of its subjects, the very code that the Worker runs.
//!
//! One module for each group of commands. A command that checks ends with 0 where all is well, 1 where it found something wrong, and 2
//! where it could not do its work: a mistake in the command line, a file that cannot be read. One that changes KV ends with 0 where
//! it did, 1 where it failed, and 2 for a mistake in the command line.

#![forbid(unsafe_code)]
// `eprintln!` and `println!` panic if nobody reads any more. What people are told goes through `progress::tell`, what was asked for
// through the writer that `main` hands on.
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

mod api;
mod assets;
mod clock;
mod config;
mod input;
mod json;
mod number;
mod progress;
mod report;
mod routes;

use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::progress::tell;

const EXAMPLES: &str = "\
Examples:
  kv-edge assets push static --local                upload a folder of files into the KV of `wrangler dev`
  kv-edge config sync --local                       make KV hold what a table of PostgreSQL holds
  kv-edge config validate flags.json                check the definitions of flags
  kv-edge routes validate demo/storefronts.json     check the records of storefronts
  kv-edge routes validate --help                    what else that can do";

/// Checks and uploads what goes into the KV namespaces of kv-edge
#[derive(Debug, Parser)]
#[command(name = "kv-edge", version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    group: Group,
}

#[derive(Debug, Subcommand)]
enum Group {
    Assets(assets::Arguments),
    Config(config::Arguments),
    Routes(routes::Arguments),
}

/// What a shell reports of a program that wrote into a pipe which nobody reads: 128 and the number of SIGPIPE.
const CLOSED_PIPE: u8 = 128 + 13;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// All is well.
    Good,
    /// The command did its work and found something wrong; or it was to change KV and failed.
    Faulty,
    /// The command could not do its work.
    Failed,
}

fn main() -> ExitCode {
    // npm runs its scripts in the folder of package.json, and says where it was called: there a path on the command line counts from.
    if std::env::var_os("npm_lifecycle_event").is_some_and(|script| script == "kv-edge")
        && let Some(folder) = std::env::var_os("INIT_CWD")
        && let Err(error) = std::env::set_current_dir(&folder)
    {
        tell(&format!("error: {} cannot be entered: {error}", Path::new(&folder).display()));
        return ExitCode::from(2);
    }
    if let Some(sentence) = api::misplaced_address(std::env::args_os().skip(1)) {
        tell(&format!("error: {sentence}"));
        return ExitCode::from(2);
    }
    let arguments = Arguments::parse();
    let mut stdout = io::stdout().lock();
    let outcome = match arguments.group {
        Group::Assets(assets) => assets.run(&mut stdout),
        Group::Config(config) => config.run(&mut stdout),
        Group::Routes(routes) => routes.run(&mut stdout),
    };
    match outcome {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Faulty) => ExitCode::from(1),
        Ok(Outcome::Failed) => ExitCode::from(2),
        // Whoever read the output has seen enough, as in `kv-edge … | head`. What the command was to do is done: it writes at its end,
        // and `--watch` between two passes.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(CLOSED_PIPE),
        Err(error) => {
            tell(&format!("error: the output cannot be written: {error}"));
            ExitCode::from(2)
        }
    }
}

//! `kv-edge routes`: records of storefronts, which the namespace `ROUTING_CONFIG` holds.

mod entries;
mod validate;

use std::io::{self, Write};

use clap::Subcommand;

use crate::Outcome;

const EXAMPLES: &str = "\
Examples:
  kv-edge routes validate demo/storefronts.json
  kv-edge routes validate --help";

/// Checks records of storefronts (namespace `ROUTING_CONFIG`)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Validate(validate::Arguments),
}

impl Arguments {
    pub(crate) fn run(self, out: &mut impl Write) -> io::Result<Outcome> {
        match self.command {
            Command::Validate(validate) => validate.run(out),
        }
    }
}

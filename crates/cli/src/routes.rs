//! `kv-edge routes`: records of storefronts, which the namespace `ROUTING_CONFIG` holds.

mod record_file;
mod validate;

use std::io::{self, Write};

use clap::Subcommand;

use crate::ExitStatus;

const EXAMPLES: &str = "\
Examples:
  kv-edge routes validate demo/storefronts.json
  kv-edge routes validate --help";

/// Checks records of storefronts (namespace `ROUTING_CONFIG`)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct RoutesArguments {
    #[command(subcommand)]
    command: RoutesCommand,
}

#[derive(Debug, Subcommand)]
enum RoutesCommand {
    Validate(validate::RoutesValidateArguments),
}

impl RoutesArguments {
    pub(crate) fn run(self, out: &mut impl Write) -> io::Result<ExitStatus> {
        match self.command {
            RoutesCommand::Validate(validate) => validate.run(out),
        }
    }
}

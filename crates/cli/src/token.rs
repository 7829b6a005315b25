//! `kv-edge token`: tokens for one namespace or prefix of the KV REST API that a Worker serves.
//! Cloudflare's API does not accept them.

mod create;
mod revoke;

use std::io::{self, Write};

use clap::Subcommand;
use kv_api::token::AccessToken;
use serde_json::json;

use crate::ExitStatus;
use crate::api::{ApiError, OpenError};
use crate::progress::print_line;

const EXAMPLES: &str = "\
Examples:
  API_TOKEN=local-demo-token kv-edge token create --namespace WRITES --read --write
  kv-edge token create --namespace assets --prefix site/ --read --expires 30d --name ci
  kv-edge token revoke ci --local";

/// Makes and revokes tokens of the KV REST API that a Worker serves at /client/v4
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct TokenArguments {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    Create(create::CreateArguments),
    Revoke(revoke::RevokeArguments),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error(
        "the secret of the Worker is needed to sign a token: set TOKEN_SECRET, or API_TOKEN if the Worker has no \
         TOKEN_SECRET (`npm start` uses local-demo-token)"
    )]
    NoSecret,
    #[error("the token would be too long for a header field; use the ID of the namespace, or a shorter prefix")]
    TooLong,
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(
        "the list of revoked tokens is broken ({0}); write a JSON array of names to the key kv-edge:revoked-tokens"
    )]
    BrokenList(kv_store::record::BrokenRecord),
    #[error(
        "the list was written {} times, and KV still shows one without all of its names: other revocations replace it, \
         or KV shows it late; run this again in a minute",
        revoke::WRITES_MAX
    )]
    NotShown,
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl TokenArguments {
    pub(crate) fn run(self, out: &mut impl Write) -> io::Result<ExitStatus> {
        let is_json = match &self.command {
            TokenCommand::Create(create) => create.json,
            TokenCommand::Revoke(revoke) => revoke.namespace.json,
        };
        let outcome = match self.command {
            TokenCommand::Create(create) => create.run(out),
            TokenCommand::Revoke(revoke) => revoke.run(out),
        };
        match outcome {
            Ok(()) => Ok(ExitStatus::Success),
            Err(TokenError::Output(error)) => Err(error),
            Err(error) => {
                let sentence = error.to_string();
                print_line(&format!("error: {sentence}"));
                if is_json {
                    writeln!(out, "{}", json!({ "error": sentence }))?;
                }
                Ok(if matches!(error, TokenError::NoSecret | TokenError::TooLong) {
                    ExitStatus::CannotRun
                } else {
                    ExitStatus::Failure
                })
            }
        }
    }
}

/// Parses the name of a token.
fn name(name: &str) -> Result<String, String> {
    if AccessToken::is_name(name) {
        Ok(name.to_owned())
    } else {
        Err("a name has 1 to 64 characters: letters, digits, dots, underscores and hyphens".to_owned())
    }
}

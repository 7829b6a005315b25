//! `kv-edge token create`: signs a token. Nothing is stored, and no server is asked.

use std::env;
use std::io::Write;

use kv_api::token::{AccessToken, TokenKey};
use serde_json::json;

use super::TokenError;
use crate::clock::now_ms;
use crate::duration;
use crate::progress::print_line;

/// The variables that may hold the secret of the Worker. The first one that is not empty counts.
const SECRETS: [&str; 2] = ["TOKEN_SECRET", "API_TOKEN"];

/// The longest lifetime: ten years.
const LIFETIME_MAX_SECONDS: u64 = 3650 * 24 * 60 * 60;

const EXAMPLES: &str = "\
The token is signed with the secret that the Worker has: TOKEN_SECRET in the environment, or else API_TOKEN. It carries its scope, so
the Worker needs no list of tokens. It goes to stdout, and what it allows to stderr; with --json both are in the JSON.

Examples:
  API_TOKEN=local-demo-token kv-edge token create --namespace WRITES --read --write
  kv-edge token create --namespace assets --prefix site/ --read --expires 30d --name ci
  CLOUDFLARE_API_TOKEN=$(kv-edge token create --namespace assets --read) npx wrangler kv key list …

With --json:
  {\"token\", \"name\", \"namespace\", \"prefix\", \"read\", \"write\", \"expires\"}; \"expires\" is in seconds since 1970";

/// Makes a token for one namespace, or for its keys with one prefix
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CreateArguments {
    /// The namespace that it reaches, by ID or title
    #[arg(long, value_name = "ID|TITLE", value_parser = namespace)]
    namespace: String,

    /// What the keys that it reaches begin with [default: all keys]
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,

    /// Allow reading and listing keys
    #[arg(long, required = true)]
    read: bool,

    /// Allow writing and deleting keys, too
    #[arg(long)]
    write: bool,

    /// How long it is valid
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = lifetime)]
    expires: u64,

    /// The name by which it is revoked [default: a random one]
    #[arg(long, value_name = "NAME", value_parser = super::name)]
    name: Option<String>,

    /// Write one line of JSON, for programs
    #[arg(long)]
    pub(super) json: bool,
}

fn namespace(name: &str) -> Result<String, String> {
    if name.trim().is_empty() {
        Err("it is empty; give the ID or the title of a namespace".to_owned())
    } else {
        Ok(name.to_owned())
    }
}

/// Parses a lifetime. Returns seconds.
fn lifetime(text: &str) -> Result<u64, String> {
    match duration::parse(text)? / 1000 {
        0 => Err("a token must be valid for at least a second".to_owned()),
        seconds if seconds > LIFETIME_MAX_SECONDS => Err("a token is valid for ten years at most: 3650d".to_owned()),
        seconds => Ok(seconds),
    }
}

impl CreateArguments {
    pub(super) fn run(self, out: &mut impl Write) -> Result<(), TokenError> {
        let secret = SECRETS.iter().filter_map(|name| env::var(name).ok()).find(|secret| !secret.is_empty());
        let key = TokenKey::derive(&secret.ok_or(TokenError::NoSecret)?);
        let token = self.token(now_ms() / 1000);
        let text = token.sign(&key);
        // As the Worker will do. A token that was signed here fails only if it is too long.
        if AccessToken::verify(&text, &key).is_none() {
            return Err(TokenError::TooLong);
        }
        let AccessToken { name, namespace, prefix, write, expires } = &token;
        if self.json {
            let line = json!({
                "token": text, "name": name, "namespace": namespace, "prefix": prefix,
                "read": true, "write": write, "expires": expires,
            });
            writeln!(out, "{line}")?;
        } else {
            let rights = if *write { "reads and writes" } else { "reads" };
            let keys =
                if prefix.is_empty() { "all keys".to_owned() } else { format!("the keys with the prefix {prefix:?}") };
            let days = duration::words(self.expires.saturating_mul(1000));
            print_line(&format!(
                "{name}: {rights} {keys} of {namespace} for {days}; `kv-edge token revoke {name}` ends it"
            ));
            writeln!(out, "{text}")?;
        }
        Ok(())
    }

    fn token(&self, now: u64) -> AccessToken {
        AccessToken {
            name: self.name.clone().unwrap_or_else(|| format!("token-{:08x}", fastrand::u32(..))),
            namespace: self.namespace.clone(),
            prefix: self.prefix.clone(),
            write: self.write,
            expires: now.saturating_add(self.expires),
        }
    }
}

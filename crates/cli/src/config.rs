//! `kv-edge config`: users' records and definitions of flags in the namespace
//! `USER_CONFIGURATION`.
//!
//! `sync` makes KV hold what a table of PostgreSQL holds. A pass that compares everything goes
//! like this:
//!
//! ```text
//! source       rows of the query, ordered by key ───┐
//!                                                   ├─> row_plan ─┬─> batch_writer
//! stored_keys  keys of KV with the prefix, ordered ─┘             └─> sync::deletions, snapshot
//! ```
//!
//! Each key that `sync` writes carries [`metadata`] with the hash of its value. So a pass writes
//! only what differs, and deletes only keys that it owns. `--watch` makes further passes when
//! PostgreSQL notifies of changes, and every ten minutes ([`watch`]); [`recent_changes`] remembers
//! what KV's list cannot show yet.
//!
//! `validate` checks definitions of flags with the parser of the Worker.

mod batch_writer;
mod merge;
mod metadata;
mod pass_summary;
mod recent_changes;
mod row_plan;
mod snapshot;
mod source;
mod source_row;
mod stored_keys;
mod sync;
mod sync_target;
mod validate;
mod watch;

use std::cell::Cell;
use std::io::{self, Write};
use std::time::Duration;

use clap::Subcommand;
use feature_flags::config;
use http_semantics::content_hash::hash;
use kv_store::limits::{KEY_BYTES_MAX, Key, METADATA_BYTES_MAX};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::recent_changes::RecentChanges;
use self::source::{CHANNEL_MAX, PostgresSource};
use self::sync_target::SyncTarget;
use crate::ExitStatus;
use crate::api::{DefaultNamespace, NamespaceArguments};
use crate::number::whole;
use crate::progress::{Progress, print_line};

const EXAMPLES: &str = "\
Examples:
  kv-edge config sync --local                      a table of PostgreSQL into the KV of `wrangler dev`
  kv-edge config sync --dry-run                    show what would change on Cloudflare
  kv-edge config validate flags.json               check definitions of flags
  kv-edge config sync --help                       all options, and how to follow changes";

const SYNC_EXAMPLES: &str = r#"DATABASE_URL is the address of the database: postgres://user@host/database?sslmode=verify-full, or host=… dbname=…

Each key gets a hash of its value as metadata, so that only what differs is written. Keys without this metadata, or with that of another
--prefix, are never deleted. A row never replaces the key `flags`, the key of --snapshot, or a snapshot of another run (known by its
metadata); --watch protects the snapshots that existed when it last compared everything.

Examples:
  kv-edge config sync --local --query 'SELECT id, plan, preview_features_enabled FROM users'
  kv-edge config sync --prefix user: --snapshot users --dry-run
  kv-edge config sync --watch --json               follow changes; a line of JSON for each pass

--watch reacts to the notifications of a trigger: the key of a row, or an empty text if everything may have changed. For the table users
(a notification has less than 8000 bytes, so the trigger sends an empty text for longer ids; otherwise the write of the row would fail):

  CREATE FUNCTION kv_edge_config() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    id text;
  BEGIN
    IF TG_OP = 'TRUNCATE' THEN PERFORM pg_notify('kv_edge_config', ''); END IF;
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
      id := OLD.id;
      PERFORM pg_notify('kv_edge_config', CASE WHEN octet_length(id) < 8000 THEN id ELSE '' END);
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
      id := NEW.id;
      PERFORM pg_notify('kv_edge_config', CASE WHEN octet_length(id) < 8000 THEN id ELSE '' END);
    END IF;
    RETURN NULL;
  END $$;
  CREATE TRIGGER kv_edge_config_rows AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION kv_edge_config();
  CREATE TRIGGER kv_edge_config_all AFTER TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION kv_edge_config();

With --watch, rows that Workers KV cannot store are reported, and the others are written. Ctrl-C or SIGTERM stops it after the current
work; the exit code is 0 if everything that it was notified of is in KV.

With --json:
  {"dryRun", "read", "written", "new"?, "unchanged", "deleted", "failed", "refused", "snapshot"?, "calls", "seconds", "problems": […],
   "moreProblems", "error"?}
  --watch ends with {"passes", "read", "written", "unchanged", "deleted", "failed", "refused", "calls", "seconds", "behind"}, the sums of
  all passes; "behind" is true if something that it was notified of is not in KV.
  "refused" counts deletions that need --allow-mass-delete; "new" is present with --dry-run; "snapshot" is written, unchanged, refused
  (like deletions) or failed.

Exit code: 0 if everything is in KV, 1 if something is not, 2 for a mistake in the command line. After any interruption, a second run
completes the work."#;

/// Writes users' records to KV and checks flags (namespace `USER_CONFIGURATION`)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct ConfigArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // Only one is ever made.
enum ConfigCommand {
    Sync(SyncArguments),
    Validate(validate::ConfigValidateArguments),
}

/// Makes KV hold what a table of PostgreSQL holds
#[derive(Debug, clap::Args)]
#[command(after_help = SYNC_EXAMPLES)]
#[allow(clippy::struct_excessive_bools)] // Flags of a command line.
struct SyncArguments {
    /// The query for the rows: the first column is the key, the others become the JSON value
    #[arg(long, value_name = "SQL", default_value = "SELECT id, preview_features_enabled FROM users", value_parser = query)]
    query: String,

    /// Text before the id in each key; set the Worker's `CONFIG_PREFIX` to the same
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true, value_parser = prefix)]
    prefix: String,

    /// Also write all rows as one value under this key; set the Worker's `CONFIG_SNAPSHOT` to the
    /// same
    #[arg(long, value_name = "KEY", value_parser = snapshot_key)]
    snapshot: Option<String>,

    /// Keep keys in KV whose row is gone
    #[arg(long)]
    no_delete: bool,

    /// Allow deleting more than 20 % of the keys (with --watch: within an hour) if their rows are
    /// gone
    #[arg(long)]
    allow_mass_delete: bool,

    /// Stop at the first row that KV cannot store
    #[arg(long)]
    strict: bool,

    /// Keep running and follow changes until stopped with Ctrl-C
    #[arg(long, conflicts_with_all = ["dry_run", "strict"])]
    watch: bool,

    /// The channel that the trigger notifies
    #[arg(long, value_name = "NAME", default_value = "kv_edge_config", requires = "watch", value_parser = channel)]
    channel: String,

    /// Compare everything every so many minutes; 0 for never
    #[arg(long, value_name = "MINUTES", default_value_t = 10, allow_negative_numbers = true, requires = "watch", value_parser = whole(0_u64..=525_600))]
    full_every: u64,

    #[command(flatten)]
    common: UserConfigurationArguments,
}

/// The arguments of a command on the namespace of users' records and flags.
pub(crate) type UserConfigurationArguments = NamespaceArguments<UserConfigurationNamespace>;

/// The namespace of users' records and flags.
#[derive(Debug)]
pub(crate) struct UserConfigurationNamespace;

impl DefaultNamespace for UserConfigurationNamespace {
    const TITLE: Option<&str> = Some("kv-edge-user-configuration");
    const LOCAL_TITLE: Option<&str> = Some("USER_CONFIGURATION");
    const HELP: &str =
        "The namespace, by ID or title [default: kv-edge-user-configuration; USER_CONFIGURATION with --local]";
}

fn query(query: &str) -> Result<String, String> {
    if query.trim().is_empty() {
        return Err("it is empty; write a SELECT that returns the key and the values".to_owned());
    }
    Ok(query.to_owned())
}

fn prefix(prefix: &str) -> Result<String, String> {
    // A key needs at least one more byte, for the id.
    if prefix.len() >= KEY_BYTES_MAX {
        return Err(format!(
            "it has {} bytes; Workers KV accepts keys of at most {KEY_BYTES_MAX}, and the id needs some of them",
            prefix.len()
        ));
    }
    let length = metadata::of_row(prefix, &hash(b"")).as_str().len();
    if length > METADATA_BYTES_MAX {
        return Err(format!(
            "with it the metadata of keys would have {length} bytes; Workers KV accepts at most {METADATA_BYTES_MAX}"
        ));
    }
    Ok(prefix.to_owned())
}

fn snapshot_key(key: &str) -> Result<String, String> {
    let key = Key::new(key).map_err(|error| error.to_string())?.as_str().to_owned();
    if config::is_reserved(&key, None) {
        Err("the definitions of flags are stored under this key; choose another one".to_owned())
    } else {
        Ok(key)
    }
}

fn channel(name: &str) -> Result<String, String> {
    if (1..=CHANNEL_MAX).contains(&name.len()) {
        Ok(name.to_owned())
    } else {
        Err(format!("it has {} bytes; PostgreSQL accepts names of 1 to {CHANNEL_MAX} bytes", name.len()))
    }
}

impl ConfigArguments {
    pub(crate) fn run(self, out: &mut impl Write) -> io::Result<ExitStatus> {
        match self.command {
            ConfigCommand::Sync(sync) => sync.run(out),
            ConfigCommand::Validate(validate) => validate.run(out),
        }
    }
}

impl SyncArguments {
    fn run(self, out: &mut impl Write) -> io::Result<ExitStatus> {
        let progress = Progress::new(self.common.json);
        let stop = CancellationToken::new();
        let (mut source, target) = match self.opened(progress, &stop) {
            Ok(opened) => opened,
            Err(sentence) => {
                print_line(&format!("error: {sentence}"));
                if self.common.json {
                    writeln!(out, "{}", json!({ "error": sentence }))?;
                }
                return Ok(ExitStatus::Failure);
            }
        };
        if self.watch {
            let full_every = (self.full_every > 0).then(|| Duration::from_secs(self.full_every.saturating_mul(60)));
            let options = watch::WatchOptions { channel: self.channel, full_every, json: self.common.json };
            return watch::watch(&mut source, &target, &options, stop, out);
        }
        let summary = sync::run(&mut source, &target, &RecentChanges::disabled());
        summary.write(self.common.json, out)?;
        Ok(summary.exit_status())
    }

    fn opened(&self, progress: Progress, stop: &CancellationToken) -> Result<(PostgresSource, SyncTarget), String> {
        let source = PostgresSource::open(&self.query, stop.clone()).map_err(|error| error.to_string())?;
        let namespace = self.common.open(&progress);
        let target = SyncTarget {
            namespace: namespace.map_err(|error| error.to_string())?.redacted().without_retries_after(stop),
            prefix: self.prefix.clone(),
            snapshot: self.snapshot.clone(),
            delete: !self.no_delete,
            allow_mass_delete: self.allow_mass_delete,
            strict: self.strict,
            dry_run: self.common.dry_run,
            progress,
            summed_calls: Cell::new(0),
        };
        Ok((source, target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_leaves_room_for_an_id_and_for_the_metadata() {
        for (text, expected) in [
            (String::new(), true),
            ("user:".to_owned(), true),
            ("p".repeat(511), true),
            ("p".repeat(512), false),
            // In JSON each of these characters has six bytes.
            ("\u{1}".repeat(150), true),
            ("\u{1}".repeat(200), false),
        ] {
            assert_eq!(prefix(&text).is_ok(), expected, "{} bytes", text.len());
        }
    }

    #[test]
    fn a_channel_has_a_name_that_postgresql_accepts() {
        for (length, expected) in [(0, false), (1, true), (63, true), (64, false)] {
            assert_eq!(channel(&"c".repeat(length)).is_ok(), expected, "{length}");
        }
    }

    #[test]
    fn a_snapshot_has_no_reserved_key() {
        for (key, expected) in [("users", true), ("", false), (".", false), ("flags", false)] {
            assert_eq!(snapshot_key(key).is_ok(), expected, "{key}");
        }
    }
}

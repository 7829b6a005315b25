//! LISTEN: the database says which rows changed (PostgreSQL manual, "LISTEN", "NOTIFY").

use std::time::Duration;

use super::Source;
use super::changed::Changed;
use super::error::{SourceError, told};
use super::session::Session;
use super::sql::quoted;

/// The longest name of a channel, in bytes, as PostgreSQL is built (NAMEDATALEN − 1).
pub(in crate::config) const CHANNEL_MAX: usize = 63;
/// How long nothing may be heard before the connection is tried.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it may take to answer then.
const ANSWER: Duration = Duration::from_secs(10);

impl Source {
    /// From now on hears what is notified on the channel.
    pub(in crate::config) fn listen(&mut self, channel: &str) -> Result<(), SourceError> {
        let Session { client, link } = &self.session;
        link.run_as(client.batch_execute(&format!("LISTEN {}", quoted(channel))), |error| match error.as_db_error() {
            Some(refused) => SourceError::new(format!(
                "PostgreSQL does not listen to {channel:?}: {}; --watch needs the server that is written to: no replica, and no pool \
                 that shares connections",
                told(refused, None)
            )),
            None => SourceError::of_statement(error, None),
        })
    }

    /// Waits for a notice, at most so long, and takes all that are there. An error: the connection is lost, or it is to stop.
    pub(in crate::config) fn wait(&mut self, limit: Duration) -> Result<Changed, SourceError> {
        let limit = limit.min(SILENCE);
        let changed = self.session.link.heard(limit)?;
        if !changed.is_nothing() {
            // Whatever comes of the connection: this was heard.
            self.silent_for = Duration::ZERO;
            return Ok(changed);
        }
        if self.session.client.is_closed() {
            return Err(SourceError::lost("the connection to PostgreSQL is lost; see the server's log"));
        }
        self.silent_for = self.silent_for.saturating_add(limit);
        if self.silent_for >= SILENCE {
            self.silent_for = Duration::ZERO;
            if !self.session.answers(ANSWER) {
                return Err(SourceError::lost(
                    "the connection to PostgreSQL is lost: no answer; see the network and the server's log",
                ));
            }
        }
        Ok(changed)
    }
}

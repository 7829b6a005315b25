//! LISTEN: the database notifies which rows changed (PostgreSQL manual, "LISTEN", "NOTIFY").

use std::time::Duration;

use super::PostgresSource;
use super::changed_rows::ChangedRows;
use super::error::{SourceError, describe};
use super::session::{DatabaseSession, GOODBYE};
use super::sql::quoted;

/// The longest name of a channel in bytes, as PostgreSQL is usually built (NAMEDATALEN − 1).
pub(in crate::config) const CHANNEL_MAX: usize = 63;
/// How long nothing may be received before the connection is checked.
const SILENCE: Duration = Duration::from_secs(30);
/// How long the check may take.
const RESPONSE_MAX: Duration = Duration::from_secs(10);

impl PostgresSource {
    /// Starts listening to a channel.
    pub(in crate::config) fn listen(&mut self, channel: &str) -> Result<(), SourceError> {
        let DatabaseSession { client, driver } = &self.session;
        driver.run_as(client.batch_execute(&format!("LISTEN {}", quoted(channel))), |error| match error.as_db_error() {
            Some(refused) => SourceError::new(format!(
                "PostgreSQL refuses to listen to {channel:?}: {}; --watch needs a connection to the primary server: \
                 not to a replica, and not through a pool that shares connections",
                describe(refused, None)
            )),
            None => SourceError::of_statement(error, None),
        })
    }

    /// Waits for notifications, for at most `limit` or 30 seconds, and returns the changes that
    /// were notified, or none. An error means that the connection is lost, or that the program is
    /// to stop.
    pub(in crate::config) fn wait(&mut self, limit: Option<Duration>) -> Result<ChangedRows, SourceError> {
        let limit = limit.map_or(SILENCE, |limit| limit.min(SILENCE));
        let changed = self.session.driver.wait_for_changes(limit)?;
        if !changed.is_nothing() {
            // Returned even if the connection is lost by now.
            self.silent_for = Duration::ZERO;
            return Ok(changed);
        }
        if self.session.client.is_closed() {
            return Err(SourceError::lost("the connection to PostgreSQL is lost; check the server's log"));
        }
        self.silent_for += limit;
        if self.silent_for >= SILENCE {
            self.silent_for = Duration::ZERO;
            if !self.session.responds(RESPONSE_MAX) {
                return Err(SourceError::lost(
                    "the connection to PostgreSQL is lost: it does not respond; check the network and the \
                     server's log",
                ));
            }
        }
        Ok(changed)
    }

    /// Returns the changes that were notified and not taken yet, even if the program is to stop.
    /// An error means that the connection is lost; it returns no changes then.
    pub(in crate::config) fn last_changes(&self) -> Result<ChangedRows, SourceError> {
        // Between two statements, PostgreSQL sends the notifications that wait before it responds
        // (manual, "NOTIFY").
        if !self.session.responds(GOODBYE) {
            return Err(SourceError::lost("the connection to PostgreSQL is lost"));
        }
        Ok(self.session.driver.take_changes())
    }
}

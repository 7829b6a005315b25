//! LISTEN: the database says which rows changed (PostgreSQL manual, "LISTEN", "NOTIFY").

use std::collections::BTreeSet;
use std::time::Duration;

use super::Source;
use super::error::{SourceError, told};
use super::session::Session;
use super::sql::quoted;

/// The longest name of a channel, in bytes, as PostgreSQL is built (NAMEDATALEN − 1).
pub(in crate::config) const CHANNEL_MAX: usize = 63;
/// More keys than this are not looked at one by one.
pub(in crate::config) const KEYS_MAX: usize = 1000;
/// How long nothing may be heard before the connection is tried.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it may take to answer then.
const ANSWER: Duration = Duration::from_secs(10);

/// What changed.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::config) enum Changed {
    /// The rows of these keys, each named once; may be none.
    Keys(BTreeSet<String>),
    /// Everything, or more keys than are worth being looked at one by one.
    Everything,
}

/// Shows no ids.
impl std::fmt::Debug for Changed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keys(keys) => write!(formatter, "{} keys", keys.len()),
            Self::Everything => formatter.write_str("everything"),
        }
    }
}

impl Changed {
    pub(in crate::config) fn nothing() -> Self {
        Self::Keys(BTreeSet::new())
    }

    pub(in crate::config) fn is_nothing(&self) -> bool {
        matches!(self, Self::Keys(keys) if keys.is_empty())
    }

    /// Adds what a notice says: a key, or nothing, which stands for everything.
    pub(in crate::config) fn add(&mut self, payload: &str) {
        if let Self::Keys(keys) = self {
            if !payload.is_empty() {
                keys.insert(payload.to_owned());
            }
            if payload.is_empty() || keys.len() > KEYS_MAX {
                *self = Self::Everything;
            }
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_add_up() {
        let keys = |keys: &[&str]| Changed::Keys(keys.iter().map(|key| (*key).to_owned()).collect());
        for (payloads, expected) in [
            (&[][..], Changed::nothing()),
            (&["b", "a", "b"], keys(&["a", "b"])),
            (&["a", ""], Changed::Everything),
            (&["", "a"], Changed::Everything),
        ] {
            let mut changed = Changed::nothing();
            for payload in payloads {
                changed.add(payload);
            }
            assert_eq!(changed, expected, "{payloads:?}");
        }
    }

    #[test]
    fn more_keys_than_are_looked_at_one_by_one_are_everything() {
        let mut changed = Changed::nothing();
        (0..KEYS_MAX).chain(0..KEYS_MAX).for_each(|key| changed.add(&key.to_string()));
        assert!(matches!(&changed, Changed::Keys(keys) if keys.len() == KEYS_MAX));
        changed.add("one more");
        assert_eq!(changed, Changed::Everything);
    }
}

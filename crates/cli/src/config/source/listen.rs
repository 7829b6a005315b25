//! LISTEN: the database says which rows changed (PostgreSQL manual, "LISTEN", "NOTIFY").

use std::collections::BTreeSet;
use std::time::Duration;

use postgres::fallible_iterator::FallibleIterator;

use super::Source;
use super::error::{SourceError, told};
use super::sql::quoted;

/// The longest name, as PostgreSQL is built (NAMEDATALEN − 1).
const CHANNEL_MAX: usize = 63;
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
    pub(in crate::config) fn add(&mut self, payload: &str, keys_max: usize) {
        if let Self::Keys(keys) = self {
            if !payload.is_empty() {
                keys.insert(payload.to_owned());
            }
            if payload.is_empty() || keys.len() > keys_max {
                *self = Self::Everything;
            }
        }
    }
}

impl Source {
    /// From now on hears what is notified on the channel.
    pub(in crate::config) fn listen(&mut self, channel: &str) -> Result<(), SourceError> {
        if channel.is_empty() || channel.len() > CHANNEL_MAX || channel.contains('\0') {
            return Err(SourceError::new(format!(
                "the name of a channel has 1 to {CHANNEL_MAX} bytes; give another with --channel"
            )));
        }
        self.client.batch_execute(&format!("LISTEN {}", quoted(channel))).map_err(|error| match error.as_db_error() {
            Some(refused) => SourceError::new(format!(
                "PostgreSQL does not listen to {channel:?}: {}; --watch needs the server that is written to: no replica, and no pool \
                 that shares connections",
                told(refused, None)
            )),
            None => SourceError::of_statement(&error, None),
        })
    }

    /// Waits for a notice, at most so long, and takes all that are there into `changed`.
    pub(in crate::config) fn wait(
        &mut self,
        limit: Duration,
        changed: &mut Changed,
        keys_max: usize,
    ) -> Result<(), SourceError> {
        let failed = |error| SourceError::of_statement(&error, None);
        let mut next = self.client.notifications().timeout_iter(limit).next().map_err(failed)?;
        let heard = next.is_some();
        while let Some(notice) = next {
            changed.add(notice.payload(), keys_max);
            next = self.client.notifications().iter().next().map_err(failed)?;
        }
        if self.client.is_closed() {
            return Err(SourceError::lost("the connection to PostgreSQL is lost; see the server's log"));
        }
        self.silent_for = if heard { Duration::ZERO } else { self.silent_for.saturating_add(limit) };
        if self.silent_for >= SILENCE {
            self.silent_for = Duration::ZERO;
            self.client.is_valid(ANSWER).map_err(|_| {
                SourceError::lost(
                    "the connection to PostgreSQL is lost: no answer; see the network and the server's log",
                )
            })?;
        }
        Ok(())
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
            (&["a", "b", "c"], keys(&["a", "b", "c"])),
            (&["a", "b", "c", "d"], Changed::Everything),
        ] {
            let mut changed = Changed::nothing();
            for payload in payloads {
                changed.add(payload, 3);
            }
            assert_eq!(changed, expected, "{payloads:?}");
        }
    }
}

//! Rows out of PostgreSQL: a query's first column is the key, the others make a JSON object.
//!
//! PostgreSQL itself turns the values into JSON (`row_to_json`), by their SQL types, so that no digit and no type is lost on the way.
//! Rows are streamed: the server sends on as they are taken.

mod address;
mod connect;
mod error;
mod listen;
mod sql;
mod tls;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::Type;
use postgres::{Client, IsolationLevel, SimpleQueryMessage, Transaction};
use serde_json::Value;

use self::connect::Connector;
pub(super) use self::error::SourceError;
pub(super) use self::listen::Changed;
use self::sql::Shape;
use super::row::Row;

/// For each transaction, whatever the role, the database or a connection pool has set: no limit of time for many rows, and one way to
/// write a value, since a value that is written in another way is a change. `transaction_timeout` is PostgreSQL 17's.
const SETTINGS: &str = "\
    SELECT count(set_config(name, value, true)), current_setting('server_encoding') FROM (VALUES \
    ('statement_timeout', '0'), ('transaction_timeout', '0'), ('idle_in_transaction_session_timeout', '0'), \
    ('TimeZone', 'UTC'), ('DateStyle', 'ISO, MDY'), ('IntervalStyle', 'postgres'), ('extra_float_digits', '1'), \
    ('bytea_output', 'hex'), ('xmlbinary', 'base64')) AS wanted(name, value) \
    WHERE current_setting(name, true) IS NOT NULL";

/// What a pass says that a signal ended.
const STOPPED: &str = "it was stopped before all rows were read";

/// A connection and a query.
pub(super) struct Source {
    connector: Connector,
    client: Client,
    query: String,
    shape: Shape,
    /// Set by whoever wants this to stop.
    stop: Arc<AtomicBool>,
    /// How long no notice came.
    silent_for: Duration,
}

/// Shows neither the address nor the password in it.
impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Source").field("columns", &self.columns()).finish_non_exhaustive()
    }
}

impl Source {
    /// Connects to the database of `DATABASE_URL` and sees what the query gives.
    pub(super) fn open(query: &str) -> Result<Self, SourceError> {
        Self::open_at(Connector::from_environment()?, query)
    }

    fn open_at(connector: Connector, query: &str) -> Result<Self, SourceError> {
        let mut client = connector.connect()?;
        let shape = shape(&mut client, query)?;
        let (query, stop) = (query.to_owned(), Arc::new(AtomicBool::new(false)));
        Ok(Self { connector, client, query, shape, stop, silent_for: Duration::ZERO })
    }

    /// Connects anew. It listens to nothing then.
    pub(super) fn reconnect(&mut self) -> Result<(), SourceError> {
        let mut client = self.connector.connect()?;
        self.shape = shape(&mut client, &self.query)?;
        (self.client, self.silent_for) = (client, Duration::ZERO);
        Ok(())
    }

    /// Ends [`rows`](Self::rows) with an error as soon as this is true.
    pub(super) fn stop_on(&mut self, stop: Arc<AtomicBool>) {
        self.stop = stop;
    }

    /// The names of the columns, the key's first.
    pub(super) fn columns(&self) -> &[String] {
        self.shape.names()
    }

    /// About how many rows there are, as the planner thinks.
    pub(super) fn estimate(&mut self) -> Option<u64> {
        let mut transaction = begin(&mut self.client).ok()?.0;
        let lines = transaction.simple_query(&explain(&self.shape)).ok()?;
        let text = lines.iter().find_map(|line| match line {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })?;
        serde_json::from_str::<Value>(text).ok()?.pointer("/0/Plan/Plan Rows")?.as_u64()
    }

    /// All rows, in the order of the bytes of their keys; such without a key come last. They are of one moment, and as few of them are
    /// in memory as the network holds. An error, [`stop_on`](Self::stop_on) too, means that not all were given.
    pub(super) fn rows(&mut self, each: &mut dyn FnMut(Row) -> ControlFlow<()>) -> Result<(), SourceError> {
        // Of the text that is sent, no line is one that somebody wrote.
        let failed = |error| SourceError::of_statement(&error, None);
        let token = self.client.cancel_token();
        let (mut transaction, _) = begin(&mut self.client)?;
        let mut rows =
            transaction.query_typed_raw(&self.shape.all(), std::iter::empty::<(&str, Type)>()).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let stopped = self.stop.load(Ordering::Relaxed);
            let next = if stopped { Err(SourceError::new(STOPPED)) } else { read(&row).map(&mut *each) };
            if !matches!(next, Ok(ControlFlow::Continue(()))) {
                // Else the server would send all the others first.
                self.connector.cancel(&token);
                return next.map(drop);
            }
        }
        drop(rows);
        transaction.commit().map_err(failed)
    }

    /// The rows of these keys, in any order.
    pub(super) fn rows_of(&mut self, keys: &[String]) -> Result<Vec<Row>, SourceError> {
        let keys = self.shape.possible(keys);
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |error| SourceError::of_statement(&error, None);
        let (mut transaction, _) = begin(&mut self.client)?;
        let rows = transaction.query_typed(&self.shape.some(), &[(&keys, Type::TEXT_ARRAY)]).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        rows.iter().map(read).collect()
    }
}

/// Sees what the query gives. PostgreSQL reads it as it is first, so that what it says of it has the right places.
fn shape(client: &mut Client, query: &str) -> Result<Shape, SourceError> {
    let (mut transaction, encoding) = begin(client)?;
    let statement = transaction.prepare(query).map_err(|error| SourceError::of_statement(&error, Some(query)))?;
    if !statement.params().is_empty() {
        return Err(SourceError::new("the query has a parameter such as $1; write the value in its place"));
    }
    let columns: Vec<_> =
        statement.columns().iter().map(|column| (column.name().to_owned(), column.type_().clone())).collect();
    let shape = Shape::new(query, &columns, encoding == "UTF8")?;
    // This is where PostgreSQL looks at permissions.
    transaction.batch_execute(&explain(&shape)).map_err(|error| match error.code() {
        // Alone it was right: it is no SELECT, or it writes.
        Some(&(SqlState::SYNTAX_ERROR | SqlState::FEATURE_NOT_SUPPORTED)) => SourceError::new(
            "the query must be a SELECT, VALUES or TABLE that only reads, without INSERT, UPDATE, DELETE, SHOW or EXPLAIN",
        ),
        _ => SourceError::of_statement(&error, None),
    })?;
    Ok(shape)
}

fn explain(shape: &Shape) -> String {
    format!("EXPLAIN (FORMAT JSON) {}", shape.all())
}

/// A transaction that only reads, and all of one moment; and the database's encoding.
fn begin(client: &mut Client) -> Result<(Transaction<'_>, String), SourceError> {
    let failed = |error| SourceError::of_statement(&error, None);
    let builder = client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
    let mut transaction = builder.start().map_err(failed)?;
    let settings = transaction.query_typed(SETTINGS, &[]).map_err(failed)?;
    let encoding = settings.first().and_then(|row| row.try_get(1).ok()).unwrap_or_default();
    Ok((transaction, encoding))
}

fn read(row: &postgres::Row) -> Result<Row, SourceError> {
    let failed = |error| SourceError::of_statement(&error, None);
    Ok(Row { key: row.try_get(0).map_err(failed)?, value: row.try_get(1).map_err(failed)? })
}

#[cfg(test)]
mod tests;

//! Rows out of PostgreSQL: a query's first column is the key, the others make a JSON object.
//!
//! PostgreSQL itself turns the values into JSON (`row_to_json`), by their SQL types, so that no digit and no type is lost on the way.
//! Rows are streamed: the server sends on as they are taken.

mod address;
mod changed;
mod connect;
mod error;
mod listen;
mod session;
mod sql;
mod tls;

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::poll_fn;
use serde_json::Value;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, IsolationLevel, RowStream, SimpleQueryMessage, Transaction};
use tokio_util::sync::CancellationToken;

pub(super) use self::changed::Changed;
use self::connect::Connector;
pub(super) use self::error::SourceError;
pub(super) use self::listen::CHANNEL_MAX;
use self::session::{Link, Session};
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

/// A connection and a query.
pub(super) struct Source {
    connector: Connector,
    session: Session,
    query: String,
    shape: Shape,
    /// True where the columns are others than when all rows were read.
    has_new_columns: bool,
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
    /// Connects to the database of `DATABASE_URL` and sees what the query gives. Once `stop` is cancelled, whatever waits for the
    /// database ends with an error.
    pub(super) fn open(query: &str, stop: CancellationToken) -> Result<Self, SourceError> {
        Self::open_at(Connector::from_environment(stop)?, query)
    }

    fn open_at(connector: Connector, query: &str) -> Result<Self, SourceError> {
        let mut session = connector.connect()?;
        let Session { client, link } = &mut session;
        let (transaction, encoding) = begin(client, link)?;
        let shape = shape(&transaction, link, query, &encoding)?;
        link.end(transaction);
        let query = query.to_owned();
        Ok(Self { connector, session, query, shape, has_new_columns: false, silent_for: Duration::ZERO })
    }

    /// Connects anew. It listens to nothing then.
    pub(super) fn reconnect(&mut self) -> Result<(), SourceError> {
        self.session = self.connector.connect()?;
        self.silent_for = Duration::ZERO;
        Ok(())
    }

    /// The names of the columns, the key's first.
    fn columns(&self) -> &[String] {
        self.shape.names()
    }

    /// True where [`rows_of`](Self::rows_of) found other columns than there were when all rows were read: then rows that it was not asked
    /// for have changed too, and nobody notifies of those.
    pub(super) fn has_new_columns(&self) -> bool {
        self.has_new_columns
    }

    /// Says how whoever runs this finds a row by its number among all [`rows`](Self::rows), counted from 1.
    pub(super) fn how_to_find(&self) -> impl Fn(u64) -> String + use<> {
        let shape = self.shape.clone();
        move |row| shape.how_to_find(row)
    }

    /// About how many rows there are, as the planner thinks.
    pub(super) fn estimate(&mut self) -> Option<u64> {
        let Session { client, link } = &mut self.session;
        let transaction = begin(client, link).ok()?.0;
        let lines = link.run(transaction.simple_query(&explain(&self.shape)));
        link.end(transaction);
        let lines = lines.ok()?;
        let text = lines.iter().find_map(|line| match line {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })?;
        serde_json::from_str::<Value>(text).ok()?.pointer("/0/Plan/Plan Rows")?.as_u64()
    }

    /// All rows, in the order of the bytes of their keys; such without a key come last. They are of one moment, with the columns that the
    /// query has then, and as few of them are in memory as the network holds. An error, which a cancelled token makes too, means that not all were
    /// given.
    pub(super) fn rows(&mut self, each: &mut dyn FnMut(Row) -> ControlFlow<()>) -> Result<(), SourceError> {
        self.has_new_columns = false;
        let (session, query, known) = (&mut self.session, &self.query, &mut self.shape);
        read_only(session, |transaction, link, encoding| {
            *known = shape(transaction, link, query, encoding)?;
            // Of the text that is sent, no line is one that somebody wrote.
            let all = known.all();
            stream(link, transaction.query_typed_raw(&all, std::iter::empty::<(&str, Type)>()), each)
        })
    }

    /// The rows of these keys, in the same way.
    pub(super) fn rows_of(
        &mut self,
        keys: &[String],
        each: &mut dyn FnMut(Row) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        let (session, query, known) = (&mut self.session, &self.query, &mut self.shape);
        let has_new_columns = &mut self.has_new_columns;
        read_only(session, |transaction, link, encoding| {
            let now = shape(transaction, link, query, encoding)?;
            if now != *known {
                (*known, *has_new_columns) = (now, true);
            }
            let keys = known.possible(keys);
            if keys.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            let some = known.some();
            stream(link, transaction.query_typed_raw(&some, [(&keys, Type::TEXT_ARRAY)]), each)
        })
    }
}

/// Does something in a transaction that only reads, all of one moment; it is told the database's encoding.
fn read_only(
    session: &mut Session,
    read: impl FnOnce(&Transaction<'_>, &Link, &str) -> Result<ControlFlow<()>, SourceError>,
) -> Result<(), SourceError> {
    let Session { client, link } = session;
    let (transaction, encoding) = begin(client, link)?;
    let outcome = read(&transaction, link, &encoding);
    if let Ok(ControlFlow::Continue(())) = outcome {
        link.run(transaction.commit())
    } else {
        link.end(transaction);
        outcome.map(drop)
    }
}

/// Gives rows on as they come.
fn stream(
    link: &Link,
    rows: impl Future<Output = Result<RowStream, Error>>,
    each: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, SourceError> {
    let mut rows = pin!(link.run(rows)?);
    let mut next = || {
        let row = link.run(async { poll_fn(|context| rows.as_mut().poll_next(context)).await.transpose() })?;
        row.map(|row| if link.is_stopped() { Err(SourceError::Stopped) } else { read(&row) }).transpose()
    };
    loop {
        match next().map(|row| row.map(&mut *each)) {
            Ok(None) => return Ok(ControlFlow::Continue(())),
            Ok(Some(ControlFlow::Continue(()))) => {}
            ended => {
                // Else the server would send all the others first.
                link.cancel();
                return ended.map(|_| ControlFlow::Break(()));
            }
        }
    }
}

/// Sees what the query gives. PostgreSQL reads it as it is first, so that what it says of it has the right places.
fn shape(transaction: &Transaction<'_>, link: &Link, query: &str, encoding: &str) -> Result<Shape, SourceError> {
    let of_query = |error: &Error| SourceError::of_statement(error, Some(query));
    let statement = link.run_as(transaction.prepare(query), of_query)?;
    if !statement.params().is_empty() {
        return Err(SourceError::new("the query has a parameter such as $1; write the value in its place"));
    }
    let columns: Vec<_> =
        statement.columns().iter().map(|column| (column.name().to_owned(), column.type_().clone())).collect();
    let shape = Shape::new(query, &columns, encoding == "UTF8")?;
    // This is where PostgreSQL looks at permissions.
    link.run_as(transaction.batch_execute(&explain(&shape)), |error| match error.code() {
        // Alone it was right: it is no SELECT, or it writes.
        Some(&(SqlState::SYNTAX_ERROR | SqlState::FEATURE_NOT_SUPPORTED)) => SourceError::new(
            "the query must be a SELECT, VALUES or TABLE that only reads, without INSERT, UPDATE, DELETE, SHOW or EXPLAIN",
        ),
        _ => SourceError::of_statement(error, None),
    })?;
    Ok(shape)
}

fn explain(shape: &Shape) -> String {
    format!("EXPLAIN (FORMAT JSON) {}", shape.all())
}

/// A transaction that only reads, and all of one moment; and the database's encoding.
fn begin<'c>(client: &'c mut Client, link: &Link) -> Result<(Transaction<'c>, String), SourceError> {
    let builder = client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
    let transaction = link.run(builder.start())?;
    let settings = link.run(transaction.query_typed_one(SETTINGS, &[]))?;
    let encoding = settings.try_get(1).map_err(|error| SourceError::of_statement(&error, None))?;
    Ok((transaction, encoding))
}

fn read(row: &tokio_postgres::Row) -> Result<Row, SourceError> {
    let failed = |error| SourceError::of_statement(&error, None);
    Ok(Row { key: row.try_get(0).map_err(failed)?, value: row.try_get(1).map_err(failed)? })
}

#[cfg(test)]
mod tests;

//! Reads rows from PostgreSQL: the first column of a query is the key, the others become a JSON
//! object.
//!
//! PostgreSQL itself converts the values to JSON (`row_to_json`), by their SQL types, so no digit
//! is lost; what JSON has no type for becomes text. Rows are streamed: the server sends more as
//! they are consumed.
//!
//! - [`database_address`] parses `DATABASE_URL`; [`tls`] sets up TLS as libpq's `sslmode` asks
//!   for it.
//! - [`connect`] and [`session`] make connections whose every wait can be cancelled.
//! - [`sql`] wraps the query into the statements that are sent.
//! - [`listen`] and [`changed_rows`] collect the notifications for `--watch`.

mod changed_rows;
mod connect;
mod database_address;
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

pub(super) use self::changed_rows::ChangedRows;
use self::connect::DatabaseConnector;
pub(super) use self::error::SourceError;
pub(super) use self::listen::CHANNEL_MAX;
use self::session::{DatabaseSession, SessionDriver};
use self::sql::QueryShape;
use super::source_row::SourceRow;

/// Settings for each transaction, whatever the role, the database or a connection pool has set:
/// no time limits, and one way to write each value, since a value that is written differently
/// counts as changed. `transaction_timeout` exists since PostgreSQL 17.
const SETTINGS: &str = "\
    SELECT count(set_config(name, value, true)), current_setting('server_encoding') FROM (VALUES \
    ('statement_timeout', '0'), ('transaction_timeout', '0'), ('idle_in_transaction_session_timeout', '0'), \
    ('TimeZone', 'UTC'), ('DateStyle', 'ISO, MDY'), ('IntervalStyle', 'postgres'), ('extra_float_digits', '1'), \
    ('bytea_output', 'hex'), ('xmlbinary', 'base64')) AS wanted(name, value) \
    WHERE current_setting(name, true) IS NOT NULL";

/// A query and the connection that it runs on.
pub(super) struct PostgresSource {
    connector: DatabaseConnector,
    session: DatabaseSession,
    query: String,
    shape: QueryShape,
    /// True if [`rows_of`](Self::rows_of) has found other columns than before since
    /// [`rows`](Self::rows) was last called, whether or not that succeeded.
    has_new_columns: bool,
    /// How long no notification has come.
    silent_for: Duration,
}

/// Shows neither the address nor the password in it.
impl std::fmt::Debug for PostgresSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PostgresSource").field("columns", &self.columns()).finish_non_exhaustive()
    }
}

impl PostgresSource {
    /// Connects to the database of `DATABASE_URL` and checks the query. Once `stop` is cancelled,
    /// every wait for the database ends with an error.
    pub(super) fn open(query: &str, stop: CancellationToken) -> Result<Self, SourceError> {
        Self::open_at(DatabaseConnector::from_environment(stop)?, query)
    }

    fn open_at(connector: DatabaseConnector, query: &str) -> Result<Self, SourceError> {
        let mut session = connector.connect()?;
        let DatabaseSession { client, driver } = &mut session;
        let (transaction, encoding) = begin(client, driver)?;
        let shape = shape(&transaction, driver, query, &encoding)?;
        driver.roll_back(transaction);
        let query = query.to_owned();
        Ok(Self { connector, session, query, shape, has_new_columns: false, silent_for: Duration::ZERO })
    }

    /// Connects again. The new connection does not listen yet.
    pub(super) fn reconnect(&mut self) -> Result<(), SourceError> {
        self.session = self.connector.connect()?;
        self.silent_for = Duration::ZERO;
        Ok(())
    }

    /// Returns the names of the columns, the key first.
    fn columns(&self) -> &[String] {
        self.shape.names()
    }

    /// Returns true if [`rows_of`](Self::rows_of) has found other columns, and
    /// [`rows`](Self::rows) was not called since. Then rows that it did not read have changed too,
    /// without a notification, and a comparison is due. One that fails is repeated anyway, after a
    /// wait.
    pub(super) fn has_new_columns(&self) -> bool {
        self.has_new_columns
    }

    /// Returns a function that explains how to find a row by its number among all
    /// [`rows`](Self::rows), counted from 1.
    pub(super) fn how_to_find(&self) -> impl Fn(u64) -> String + use<> {
        let shape = self.shape.clone();
        move |row| shape.how_to_find(row)
    }

    /// Returns about how many rows there are, by the estimate of the planner.
    pub(super) fn estimate(&mut self) -> Option<u64> {
        let DatabaseSession { client, driver } = &mut self.session;
        let transaction = begin(client, driver).ok()?.0;
        let lines = driver.run(transaction.simple_query(&explain(&self.shape)));
        driver.roll_back(transaction);
        let lines = lines.ok()?;
        let text = lines.iter().find_map(|line| match line {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })?;
        serde_json::from_str::<Value>(text).ok()?.pointer("/0/Plan/Plan Rows")?.as_u64()
    }

    /// Calls `each` with all rows until it breaks, in the order of the bytes of their keys; rows
    /// without a key come last. They are of one moment, with the columns that the query has then,
    /// and only as many are in memory as the network buffers. An error, which cancelling the token
    /// causes too, means that some rows are missing.
    pub(super) fn rows(&mut self, each: &mut dyn FnMut(SourceRow) -> ControlFlow<()>) -> Result<(), SourceError> {
        self.has_new_columns = false;
        let (session, query, known) = (&mut self.session, &self.query, &mut self.shape);
        read_only(session, |transaction, driver, encoding| {
            *known = shape(transaction, driver, query, encoding)?;
            // Unlike [`shape`], this sends a generated statement: positions in errors mean
            // nothing to the user.
            let all = known.all();
            stream(driver, transaction.query_typed_raw(&all, std::iter::empty::<(&str, Type)>()), each)
        })
    }

    /// Calls `each` with the rows of these keys, in the same way.
    pub(super) fn rows_of(
        &mut self,
        keys: &[String],
        each: &mut dyn FnMut(SourceRow) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        let (session, query, known) = (&mut self.session, &self.query, &mut self.shape);
        let has_new_columns = &mut self.has_new_columns;
        read_only(session, |transaction, driver, encoding| {
            let now = shape(transaction, driver, query, encoding)?;
            if now != *known {
                (*known, *has_new_columns) = (now, true);
            }
            let keys = known.possible(keys);
            if keys.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            let some = known.some();
            stream(driver, transaction.query_typed_raw(&some, [(&keys, Type::TEXT_ARRAY)]), each)
        })
    }
}

/// Runs `read` in a read-only transaction, which sees one moment. `read` gets the encoding of the
/// database.
fn read_only(
    session: &mut DatabaseSession,
    read: impl FnOnce(&Transaction<'_>, &SessionDriver, &str) -> Result<ControlFlow<()>, SourceError>,
) -> Result<(), SourceError> {
    let DatabaseSession { client, driver } = session;
    let (transaction, encoding) = begin(client, driver)?;
    let outcome = read(&transaction, driver, &encoding);
    if let Ok(ControlFlow::Continue(())) = outcome {
        driver.run(transaction.commit())
    } else {
        driver.roll_back(transaction);
        outcome.map(drop)
    }
}

/// Passes rows on as they come.
fn stream(
    driver: &SessionDriver,
    rows: impl Future<Output = Result<RowStream, Error>>,
    each: &mut dyn FnMut(SourceRow) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, SourceError> {
    let mut rows = pin!(driver.run(rows)?);
    let mut next = || {
        let row = driver.run(async { poll_fn(|context| rows.as_mut().poll_next(context)).await.transpose() })?;
        row.map(|row| if driver.is_stopped() { Err(SourceError::Stopped) } else { read(&row) }).transpose()
    };
    loop {
        match next().map(|row| row.map(&mut *each)) {
            Ok(None) => return Ok(ControlFlow::Continue(())),
            Ok(Some(ControlFlow::Continue(()))) => {}
            ended => {
                // Otherwise the server would send all the other rows first.
                driver.cancel();
                return ended.map(|_| ControlFlow::Break(()));
            }
        }
    }
}

/// Checks what the query returns. PostgreSQL first parses it unchanged, so that the positions in
/// its errors are right.
fn shape(
    transaction: &Transaction<'_>,
    driver: &SessionDriver,
    query: &str,
    encoding: &str,
) -> Result<QueryShape, SourceError> {
    let of_query = |error: &Error| SourceError::of_statement(error, Some(query));
    let statement = driver.run_as(transaction.prepare(query), of_query)?;
    if !statement.params().is_empty() {
        return Err(SourceError::new("the query has a parameter such as $1; write the value instead"));
    }
    let columns: Vec<_> =
        statement.columns().iter().map(|column| (column.name().to_owned(), column.type_().clone())).collect();
    let shape = QueryShape::new(query, &columns, encoding == "UTF8")?;
    // PostgreSQL checks permissions here.
    driver.run_as(transaction.batch_execute(&explain(&shape)), |error| match error.code() {
        // The query alone was valid, so it is not a SELECT, or it writes.
        Some(&(SqlState::SYNTAX_ERROR | SqlState::FEATURE_NOT_SUPPORTED)) => SourceError::new(
            "the query must be a SELECT, VALUES or TABLE that only reads, without INSERT, UPDATE, DELETE, SHOW or EXPLAIN",
        ),
        _ => SourceError::of_statement(error, None),
    })?;
    Ok(shape)
}

fn explain(shape: &QueryShape) -> String {
    format!("EXPLAIN (FORMAT JSON) {}", shape.all())
}

/// Starts a read-only transaction, which sees one moment. Returns it with the encoding of the
/// database.
fn begin<'c>(client: &'c mut Client, driver: &SessionDriver) -> Result<(Transaction<'c>, String), SourceError> {
    let builder = client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
    let transaction = driver.run(builder.start())?;
    let settings = driver.run(transaction.query_typed_one(SETTINGS, &[]))?;
    let encoding = settings.try_get(1).map_err(|error| SourceError::of_statement(&error, None))?;
    Ok((transaction, encoding))
}

fn read(row: &tokio_postgres::Row) -> Result<SourceRow, SourceError> {
    let failed = |error| SourceError::of_statement(&error, None);
    Ok(SourceRow { key: row.try_get(0).map_err(failed)?, value: row.try_get(1).map_err(failed)? })
}

#[cfg(test)]
mod tests;

//! A connection to PostgreSQL for a synchronous program. Every wait can be stopped, whatever the
//! server does; a statement or a connection then has two seconds to end.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, poll_fn, select};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Connection, Error, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use super::changed_rows::ChangedRows;
use super::error::SourceError;

/// How long a server may take to end a statement or a connection.
pub(super) const GOODBYE: Duration = Duration::from_secs(2);

/// The runtime that drives connections, on the thread that waits for them.
#[derive(Debug, Clone)]
pub(super) struct CancellableRuntime {
    /// Never dropped, because dropping it would wait for host names that are being looked up.
    runtime: &'static Runtime,
    pub(super) stop: CancellationToken,
}

impl CancellableRuntime {
    /// Creates the runtime. Once `stop` is cancelled, every [`wait`](Self::wait) ends.
    pub(super) fn new(stop: CancellationToken) -> Result<Self, SourceError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| {
            SourceError::new(format!(
                "cannot start the network runtime: {error}; check the limits of this machine (ulimit -n)"
            ))
        })?;
        Ok(Self { runtime: Box::leak(Box::new(runtime)), stop })
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits for a future. Returns [`SourceError::Stopped`] if `stop` is cancelled before the
    /// result is there; a result that is there at once is returned in any case.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, SourceError> {
        match self.runtime.block_on(select(pin!(future), pin!(self.stop.cancelled()))) {
            Either::Left((outcome, _)) => Ok(outcome),
            Either::Right(_) => Err(SourceError::Stopped),
        }
    }

    /// Waits for at most `limit`, even after `stop` is cancelled.
    fn wait_at_most<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        // A timer has to be created within the runtime.
        self.runtime.block_on(async { timeout(limit, future).await.ok() })
    }
}

/// Why no connection was established.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the connection takes too long")]
    Slow,
    /// An error of the client library or of PostgreSQL.
    #[error(transparent)]
    Refused(#[from] Error),
    #[error(transparent)]
    Stopped(#[from] SourceError),
}

pub(super) struct DatabaseSession {
    /// Must be the first field: dropping the client queues the message Terminate, and `driver`,
    /// dropped next, waits until it is sent.
    pub(super) client: Client,
    pub(super) driver: SessionDriver,
}

/// The part of a connection that runs in the background.
pub(super) struct SessionDriver {
    pub(super) runtime: CancellableRuntime,
    task: JoinHandle<()>,
    notifications: Arc<NotificationQueue>,
    token: CancelToken,
    tls: MakeRustlsConnect,
}

/// Notifications that were not taken yet.
#[derive(Debug)]
struct NotificationQueue {
    changed: Mutex<ChangedRows>,
    arrived: Notify,
}

impl NotificationQueue {
    fn changed(&self) -> MutexGuard<'_, ChangedRows> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DatabaseSession {
    pub(super) fn connect(
        config: &Config,
        tls: &MakeRustlsConnect,
        runtime: &CancellableRuntime,
        connect_limit: Duration,
    ) -> Result<Self, ConnectError> {
        // A timer has to be created within the runtime.
        let connecting = async { timeout(connect_limit, config.connect(tls.clone())).await };
        let (client, connection) = runtime.wait(connecting)?.map_err(|_| ConnectError::Slow)??;
        let notifications =
            Arc::new(NotificationQueue { changed: Mutex::new(ChangedRows::nothing()), arrived: Notify::new() });
        let task = runtime.runtime.spawn(serve(connection, Arc::clone(&notifications)));
        let (runtime, token, tls) = (runtime.clone(), client.cancel_token(), tls.clone());
        Ok(Self { client, driver: SessionDriver { runtime, task, notifications, token, tls } })
    }

    /// Returns true if the connection still responds within the limit.
    pub(super) fn responds(&self, limit: Duration) -> bool {
        self.driver.runtime.wait_at_most(limit, self.client.simple_query("")).is_some_and(|response| response.is_ok())
    }
}

impl SessionDriver {
    /// Runs one statement and returns its result.
    pub(super) fn run<T>(&self, statement: impl Future<Output = Result<T, Error>>) -> Result<T, SourceError> {
        self.run_as(statement, |error| SourceError::of_statement(error, None))
    }

    /// Runs one statement; `failed` converts the error.
    pub(super) fn run_as<T>(
        &self,
        statement: impl Future<Output = Result<T, Error>>,
        failed: impl FnOnce(&Error) -> SourceError,
    ) -> Result<T, SourceError> {
        match self.runtime.wait(statement) {
            Ok(outcome) => outcome.map_err(|error| failed(&error)),
            Err(stopped) => {
                // The statement may be waiting for a lock. It would keep waiting, although nothing
                // reads its result any more.
                self.cancel();
                Err(stopped)
            }
        }
    }

    /// Cancels the running statement. If that fails, closing the connection does it.
    pub(super) fn cancel(&self) {
        self.runtime.wait_at_most(GOODBYE, self.token.cancel_query(self.tls.clone()));
    }

    /// Ends a transaction that has changed nothing. If it were only dropped, it would stay open,
    /// with its locks, until the next statement.
    pub(super) fn roll_back(&self, transaction: Transaction<'_>) {
        self.runtime.wait_at_most(GOODBYE, transaction.rollback());
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.runtime.is_stopped()
    }

    /// Waits for notifications, for at most `limit`, and returns all changes that were notified.
    pub(super) fn wait_for_changes(&self, limit: Duration) -> Result<ChangedRows, SourceError> {
        self.runtime.wait(async {
            // A notification that came during other work has left a permit.
            timeout(limit, self.notifications.arrived.notified()).await.ok();
        })?;
        Ok(self.take_changes())
    }

    /// Returns all changes that were notified, and forgets them.
    pub(super) fn take_changes(&self) -> ChangedRows {
        std::mem::replace(&mut *self.notifications.changed(), ChangedRows::nothing())
    }
}

impl Drop for SessionDriver {
    fn drop(&mut self) {
        self.runtime.wait_at_most(GOODBYE, &mut self.task);
        self.task.abort();
    }
}

/// Drives the connection until it ends, and collects notifications.
async fn serve<S, T>(mut connection: Connection<S, T>, notifications: Arc<NotificationQueue>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    // An error also ends the running statement, which reports it.
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(notice) = message {
            notifications.changed().add(notice.payload());
            notifications.arrived.notify_one();
        }
    }
    drop(connection);
    // Wakes up the waiting task, if there is one: no more notifications will come.
    notifications.arrived.notify_one();
}

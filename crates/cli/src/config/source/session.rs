//! A connection to PostgreSQL, for a program that waits. Every wait has its end: a signal is seen
//! at once, whatever the server does, and nothing is left behind of a connection that is given up,
//! neither a thread nor a socket.

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

use super::changed::Changed;
use super::error::SourceError;

/// How long a server may take to hear that a statement is to end, or a connection.
const BYE: Duration = Duration::from_secs(2);

/// What drives connections, on the thread that waits for them.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    /// Never dropped: that would wait for a name that is being looked up.
    runtime: &'static Runtime,
    pub(super) stop: CancellationToken,
}

impl Waiter {
    /// Once `stop` is cancelled, all waits end with an error.
    pub(super) fn new(stop: CancellationToken) -> Result<Self, SourceError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| {
            SourceError::new(format!("nothing can be waited for on this machine: {error}; see its limits (ulimit -n)"))
        })?;
        Ok(Self { runtime: Box::leak(Box::new(runtime)), stop })
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits for something; an error where it is to stop before that is there. What is there at once is given in any case.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, SourceError> {
        match self.runtime.block_on(select(pin!(future), pin!(self.stop.cancelled()))) {
            Either::Left((outcome, _)) => Ok(outcome),
            Either::Right(_) => Err(SourceError::Stopped),
        }
    }

    /// Waits so long at most, whatever is to stop.
    fn wait_at_most<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        // A timer is made within the runtime.
        self.runtime.block_on(async { timeout(limit, future).await.ok() })
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the connection takes too long")]
    Slow,
    /// What the client library says, or PostgreSQL.
    #[error(transparent)]
    Refused(#[from] Error),
    /// It is to stop.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// A connection.
pub(super) struct Session {
    /// Stands first: when it is dropped it tells the server, and `link` then sends that.
    pub(super) client: Client,
    pub(super) link: Link,
}

/// What of a connection goes on by itself.
pub(super) struct Link {
    pub(super) waiter: Waiter,
    task: JoinHandle<()>,
    heard: Arc<Heard>,
    token: CancelToken,
    tls: MakeRustlsConnect,
}

/// What was notified and nobody has taken yet.
#[derive(Debug)]
struct Heard {
    changed: Mutex<Changed>,
    is_more: Notify,
}

impl Heard {
    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// [`ConnectError`]
    pub(super) fn connect(
        config: &Config,
        tls: &MakeRustlsConnect,
        waiter: &Waiter,
        patience: Duration,
    ) -> Result<Self, ConnectError> {
        // A timer is made within the runtime.
        let connecting = async { timeout(patience, config.connect(tls.clone())).await };
        let (client, connection) = waiter.wait(connecting)?.map_err(|_| ConnectError::Slow)??;
        let heard = Arc::new(Heard { changed: Mutex::new(Changed::nothing()), is_more: Notify::new() });
        let task = waiter.runtime.spawn(serve(connection, Arc::clone(&heard)));
        let (waiter, token, tls) = (waiter.clone(), client.cancel_token(), tls.clone());
        Ok(Self { client, link: Link { waiter, task, heard, token, tls } })
    }

    /// True where the connection still answers, within a time.
    pub(super) fn answers(&self, limit: Duration) -> bool {
        self.link.waiter.wait_at_most(limit, self.client.simple_query("")).is_some_and(|answer| answer.is_ok())
    }
}

impl Link {
    /// What one statement gives.
    pub(super) fn run<T>(&self, statement: impl Future<Output = Result<T, Error>>) -> Result<T, SourceError> {
        self.run_as(statement, |error| SourceError::of_statement(error, None))
    }

    /// The same, where what PostgreSQL says is to be worded in another way.
    pub(super) fn run_as<T>(
        &self,
        statement: impl Future<Output = Result<T, Error>>,
        failed: impl FnOnce(&Error) -> SourceError,
    ) -> Result<T, SourceError> {
        match self.waiter.wait(statement) {
            Ok(outcome) => outcome.map_err(|error| failed(&error)),
            Err(stopped) => {
                // It may be waiting for a lock, and would wait on when nobody reads its answer any more.
                self.cancel();
                Err(stopped)
            }
        }
    }

    /// Ends the statement that the connection is busy with. Where that fails, the end of the connection does it.
    pub(super) fn cancel(&self) {
        self.waiter.wait_at_most(BYE, self.token.cancel_query(self.tls.clone()));
    }

    /// Ends a transaction that has changed nothing. One that is only dropped would stand open, with its locks, until the next statement.
    pub(super) fn end(&self, transaction: Transaction<'_>) {
        self.waiter.wait_at_most(BYE, transaction.rollback());
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.waiter.is_stopped()
    }

    /// Waits for notices, so long at most, and takes all that there are.
    pub(super) fn heard(&self, limit: Duration) -> Result<Changed, SourceError> {
        self.waiter.wait(async {
            // What was heard before, while something else was waited for, has left a permit.
            timeout(limit, self.heard.is_more.notified()).await.ok();
        })?;
        Ok(std::mem::replace(&mut *self.heard.changed(), Changed::nothing()))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.waiter.wait_at_most(BYE, &mut self.task);
        self.task.abort();
    }
}

/// Carries what goes to and fro until the connection ends, and takes down what is notified meanwhile.
async fn serve<S, T>(mut connection: Connection<S, T>, heard: Arc<Heard>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    // An error ends the statement that is under way, which tells it.
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(notice) = message {
            heard.changed().add(notice.payload());
            heard.is_more.notify_one();
        }
    }
    // Whoever waits for notices is to see that none will come.
    drop(connection);
    heard.is_more.notify_one();
}

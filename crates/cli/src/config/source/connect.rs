//! Connects to PostgreSQL, and explains failures.

use std::error::Error;
use std::io::{self, ErrorKind};

use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use super::database_address::DatabaseAddress;
use super::error::{SourceError, cause, describe};
use super::session::{CancellableRuntime, ConnectError, DatabaseSession};
use super::tls;

/// The message for a response in another protocol.
const NOT_POSTGRESQL: &str = "the server there is not PostgreSQL; correct host and port in DATABASE_URL";
/// What to do if there is no response.
const SLOW_ADVICE: &str = "correct host and port in DATABASE_URL, check that PostgreSQL listens there and no firewall is \
 in between, or allow more time with connect_timeout=SECONDS";

/// The address of the database and how to connect to it, any number of times.
pub(super) struct DatabaseConnector {
    address: DatabaseAddress,
    tls: MakeRustlsConnect,
    pub(super) runtime: CancellableRuntime,
}

impl DatabaseConnector {
    /// Reads `DATABASE_URL`. It is not an argument, because all users of a machine can see those.
    pub(super) fn from_environment(stop: CancellationToken) -> Result<Self, SourceError> {
        match std::env::var("DATABASE_URL") {
            Ok(url) if !url.trim().is_empty() => Self::new(url.trim(), stop),
            Ok(_) | Err(std::env::VarError::NotPresent) => Err(SourceError::new(
                "DATABASE_URL is not set; set it in the environment: DATABASE_URL='postgres://user:password@host/database'",
            )),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(SourceError::new("DATABASE_URL is not UTF-8; write %XX for such bytes"))
            }
        }
    }

    pub(super) fn new(url: &str, stop: CancellationToken) -> Result<Self, SourceError> {
        let address = DatabaseAddress::parse(url)?;
        let tls = tls::connector(&address.tls)?;
        Ok(Self { address, tls, runtime: CancellableRuntime::new(stop)? })
    }

    /// Connects within [`DatabaseAddress::connect_limit`]. The `connect_timeout` of the client
    /// library limits only the time until there is a socket.
    pub(super) fn connect(&self) -> Result<DatabaseSession, SourceError> {
        let Self { address, tls, runtime } = self;
        DatabaseSession::connect(&address.config, tls, runtime, address.connect_limit()).map_err(|error| match error {
            slow @ ConnectError::Slow => {
                SourceError::lost(format!("PostgreSQL at {}: {slow}; {SLOW_ADVICE}", address.place()))
            }
            ConnectError::Refused(error) => self.refusal(&error),
            ConnectError::Stopped(error) => error,
        })
    }

    fn refusal(&self, error: &tokio_postgres::Error) -> SourceError {
        let place = self.address.place();
        let user = self.address.config.get_user().unwrap_or_default();
        if let Some(error) = error.as_db_error() {
            let (what, advice) = match error.code().code() {
                "28P01" => (
                    format!("does not accept the password of the user {user:?}"),
                    "correct user and password in DATABASE_URL",
                ),
                // A line of pg_hba.conf rejects the connection, or none admits it.
                "28000" => (
                    format!("does not admit the user {user:?}"),
                    "use another user, or sslmode=require in DATABASE_URL if the server admits only encrypted connections",
                ),
                "3D000" => {
                    ("has no database of that name".to_owned(), "correct the name of the database in DATABASE_URL")
                }
                "42501" => (
                    format!("does not let the user {user:?} connect to this database"),
                    "let this user connect (GRANT CONNECT ON DATABASE … TO …), or use another user",
                ),
                "53300" => {
                    ("has too many connections".to_owned(), "end other connections, or allow more (max_connections)")
                }
                _ => ("refuses the connection".to_owned(), "see the server's log"),
            };
            return SourceError::lost(format!("PostgreSQL at {place} {what}: {}; {advice}", describe(error, None)));
        }
        let mut source: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(inner) = source {
            if let Some(error) = inner.downcast_ref::<io::Error>() {
                return SourceError::lost(format!("PostgreSQL at {place}: {}", describe_io(error)));
            }
            source = inner.source();
        }
        let sentence = match (error.to_string().as_str(), cause(error).as_str()) {
            (_, "server does not support TLS") => {
                "the server does not support TLS; enable it there (ssl = on), write sslmode=disable in \
                 DATABASE_URL, or correct host and port if the server there is not PostgreSQL"
                    .to_owned()
            }
            (_, "password missing") => {
                format!("the server asks {user:?} for a password; add one to DATABASE_URL (postgres://user:password@…)")
            }
            ("connection closed", _) => {
                "the server closed the connection; check that PostgreSQL listens there, and its log".to_owned()
            }
            (what, _) if what.starts_with("unexpected message from server") => NOT_POSTGRESQL.to_owned(),
            (what, cause) if what == cause => format!("{what}; see the server's log"),
            (what, cause) => format!("{what} ({cause}); correct DATABASE_URL, or see the server's log"),
        };
        SourceError::lost(format!("PostgreSQL at {place}: {sentence}"))
    }
}

/// Returns true for an error by which the client library says that it received something else
/// than messages of PostgreSQL.
fn is_of_another_protocol(error: &io::Error) -> bool {
    const MESSAGES: [&str; 4] =
        ["bytes remaining on stream", "unknown message tag", "unknown authentication tag", "invalid message length"];
    let said = error.to_string();
    MESSAGES.iter().any(|message| said.starts_with(message))
}

fn describe_io(error: &io::Error) -> String {
    if let Some(refused) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls::refusal(refused);
    }
    if is_of_another_protocol(error) {
        return NOT_POSTGRESQL.to_owned();
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            format!("{error}; check that the server runs, and correct host and port in DATABASE_URL")
        }
        ErrorKind::TimedOut => format!("{error}; {SLOW_ADVICE}"),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
            format!("the server closed the connection ({error}); check that PostgreSQL listens there, and its log")
        }
        ErrorKind::InvalidInput => format!("{error}; sslmode needs a host name or an address in DATABASE_URL"),
        // An unknown host name has no kind of its own.
        _ => format!("{error}; correct host and port in DATABASE_URL"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_silent_server_is_given_up_and_its_connection_closed() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let (url, stop) =
            (format!("postgres://u:hunter2@127.0.0.1:{port}/d?connect_timeout=1"), CancellationToken::new());
        let connector = DatabaseConnector::new(&url, stop.clone()).unwrap();
        let sentence = connector.connect().err().unwrap().to_string();
        assert!(sentence.contains("the connection takes too long") && !sentence.contains("hunter2"), "{sentence}");
        let (mut socket, _) = server.accept().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let mut sent = Vec::new();
        // The client asked for TLS, and closed the connection.
        assert_eq!(socket.read_to_end(&mut sent).unwrap(), 8);
        // A signal ends the wait sooner.
        stop.cancel();
        assert!(connector.connect().err().unwrap().to_string().contains("it was stopped"));
    }
}

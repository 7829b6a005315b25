//! `DATABASE_URL`, as libpq reads it: `postgres://user:password@host:port/database?sslmode=…`, or `host=… dbname=… sslmode=…`
//! (PostgreSQL manual, "Connection Strings").
//!
//! The client library reads most of it. The settings of TLS are taken out before: it knows but some of them.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};

use super::error::SourceError;

/// How long the server may take to accept, where `connect_timeout` does not say it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long without a packet the other side is asked whether it is there: a cut cable must not stop `--watch` unseen.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// And how often then.
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);

/// Where the database is, and who asks.
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) tls: TlsSettings,
}

/// What libpq calls `sslmode`, `sslrootcert`, `sslcert` and `sslkey` ("SSL Support").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsSettings {
    pub(super) trust: Trust,
    /// Certificate and key of the client, both as PEM files.
    pub(super) client: Option<(PathBuf, PathBuf)>,
    /// TLS without asking PostgreSQL for it first.
    pub(super) direct: bool,
}

/// What the server's certificate must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nothing (`prefer`, `require`).
    Anything,
    /// That one of these signed it (`verify-ca`).
    Signed(Roots),
    /// And that it belongs to the host (`verify-full`).
    SignedForHost(Roots),
}

/// Who may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Roots {
    /// Whom this machine trusts.
    System,
    /// A PEM file.
    File(PathBuf),
}

/// The settings that are taken out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    mode: Option<String>,
    root: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    /// True where a password stands among the settings, which stays there.
    has_password: bool,
}

impl Taken {
    /// Takes a setting, unless it is another's.
    fn take(&mut self, name: &str, value: &str) -> bool {
        self.has_password |= name == "password";
        let place = match name {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.root,
            "sslcert" => &mut self.cert,
            "sslkey" => &mut self.key,
            // What this client never does, or knows by itself: compression, GSSAPI, the name in the TLS handshake.
            "sslcompression"
            | "gssencmode"
            | "sslsni"
            | "krbsrvname"
            | "client_encoding"
            | "fallback_application_name" => {
                return true;
            }
            _ => return false,
        };
        *place = Some(value.to_owned());
        true
    }
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, SourceError> {
        let mut taken = Taken::default();
        let rest = match text.split_once("://") {
            Some(("postgres" | "postgresql", _)) => without_tls_of_url(text, &mut taken)?,
            Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {
                return Err(SourceError::new("DATABASE_URL is no address of PostgreSQL; it begins with postgres://"));
            }
            _ => without_tls_of_words(text, &mut taken)?,
        };
        let mut config: Config =
            rest.parse().map_err(|error: tokio_postgres::Error| malformed(&error, taken.has_password))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(SourceError::new("DATABASE_URL names no host; write postgres://user@host/database"));
        }
        let (mode, trust) = taken.mode_and_trust()?;
        // A socket of this machine is never encrypted, whatever sslmode says.
        let is_local = |host: &Host| !matches!(host, Host::Tcp(_));
        let all_local = !config.get_hosts().is_empty() && config.get_hosts().iter().all(is_local);
        config.ssl_mode(if all_local { SslMode::Disable } else { mode });
        // libpq: zero is no limit, and so is its absence, which no program that somebody waits for should have.
        if config.get_connect_timeout().is_none_or(Duration::is_zero) {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_keepalives_idle() > KEEPALIVE * 2 {
            config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE_AGAIN).keepalives_retries(3);
        }
        if config.get_application_name().is_none() {
            config.application_name("kv-edge config sync");
        }
        let client = match (taken.cert, taken.key) {
            (Some(cert), Some(key)) => Some((cert.into(), key.into())),
            (None, None) => None,
            _ => {
                return Err(SourceError::new(
                    "DATABASE_URL has one of sslcert and sslkey; a client shows itself with both",
                ));
            }
        };
        let direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
        Ok(Self { config, tls: TlsSettings { trust, client, direct } })
    }

    /// How long all of a connection may take: a socket to each host, and then TLS and the password.
    pub(super) fn patience(&self) -> Duration {
        let each = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len());
        each.saturating_mul(u32::try_from(hosts).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// `db.example:5432`, for sentences.
    pub(super) fn place(&self) -> String {
        let (hosts, ports) = (self.config.get_hosts(), self.config.get_ports());
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let of_host = |(index, host): (usize, &Host)| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{}", port(index)),
            Host::Tcp(name) => format!("{name}:{}", port(index)),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        };
        let mut places: Vec<String> = hosts.iter().enumerate().map(of_host).collect();
        if places.is_empty() {
            places.extend(self.config.get_hostaddrs().iter().map(ToString::to_string));
        }
        places.join(", ")
    }
}

impl Taken {
    /// libpq: `prefer` is the default; a root of one's own makes `require` check it; `sslrootcert=system` allows `verify-full` only, and
    /// `verify-ca` needs a root of one's own.
    fn mode_and_trust(&self) -> Result<(SslMode, Trust), SourceError> {
        let root = self.root.as_deref().filter(|root| !root.is_empty());
        let is_system = root == Some("system");
        let roots = match root {
            Some(file) if !is_system => Roots::File(file.into()),
            _ => Roots::System,
        };
        let mode = self.mode.as_deref().unwrap_or(if is_system { "verify-full" } else { "prefer" });
        let wrong = |sentence: &str| Err(SourceError::new(format!("DATABASE_URL has {sentence}")));
        match mode {
            "disable" => Ok((SslMode::Disable, Trust::Anything)),
            "prefer" | "require" | "verify-ca" if is_system => {
                wrong("sslrootcert=system with a weaker sslmode; write sslmode=verify-full")
            }
            // The client library cannot begin without TLS and go on with it.
            "allow" => wrong(
                "sslmode=allow, which is not known here; write sslmode=prefer, which encrypts where the server can",
            ),
            "prefer" => Ok((SslMode::Prefer, Trust::Anything)),
            "require" if root.is_some() => Ok((SslMode::Require, Trust::Signed(roots))),
            "require" => Ok((SslMode::Require, Trust::Anything)),
            // Without a look at the host's name, everybody who has a certificate of a public authority would be the server.
            "verify-ca" if root.is_none() => wrong(
                "sslmode=verify-ca without an authority to trust; name its PEM file with sslrootcert=FILE, or write sslmode=verify-full",
            ),
            "verify-ca" => Ok((SslMode::Require, Trust::Signed(roots))),
            "verify-full" => Ok((SslMode::Require, Trust::SignedForHost(roots))),
            _ => {
                wrong("an sslmode that there is not; it is one of disable, prefer, require, verify-ca and verify-full")
            }
        }
    }
}

/// libpq's parameters ("Parameter Key Words") that the client library does not know.
const NOT_KNOWN: [&str; 23] = [
    "gssdelegation",
    "gsslib",
    "keepalives_count",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcrl",
    "sslpassword",
];

/// What is wrong, without a word of what stands there: a bad escape may move a part of the password anywhere. A parameter that is not
/// known is named where it is one of libpq's, or where no password stands among the parameters, of which it could be a piece.
fn malformed(error: &tokio_postgres::Error, has_password: bool) -> SourceError {
    let cause = super::error::cause(error);
    let quoted = cause.split('`').nth(1).unwrap_or_default();
    let is_word = !quoted.is_empty() && quoted.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    // The client library quotes a value nowhere, and of a name only one that it does not know.
    let what = if cause.starts_with("invalid value for option") {
        format!("its {quoted} is none")
    } else if NOT_KNOWN.contains(&quoted) || (cause.starts_with("unknown option") && is_word && !has_password) {
        format!("the parameter {quoted} is not known here, leave it out")
    } else {
        "it has a part that nobody knows".to_owned()
    };
    SourceError::new(format!(
        "DATABASE_URL cannot be read: {what}; it is like postgres://user:password@host:5432/database?sslmode=require, \
         with %40 for @, %2F for /, %3A for :, %3F for ? and %23 for # in user and password"
    ))
}

/// The URL without the settings of TLS.
fn without_tls_of_url(url: &str, taken: &mut Taken) -> Result<String, SourceError> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (_, behind_scheme) = base.split_once("://").unwrap_or_default();
    let (authority, path) = behind_scheme.split_once('/').unwrap_or((behind_scheme, ""));
    // Else a part of the password would be taken for a host, and be told.
    if authority.matches('@').count() > 1 || path.contains('@') || query.contains('@') {
        return Err(SourceError::new(
            "DATABASE_URL has an @ in a wrong place; in user and password write %40 for @, %2F for / and %3F for ?",
        ));
    }
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) =
            (percent_decode_str(name).decode_utf8_lossy(), percent_decode_str(value).decode_utf8_lossy());
        if name == "ssl" && value == "true" {
            taken.take("sslmode", "require");
        } else if !taken.take(&name, &value) {
            kept.push(pair);
        }
    }
    Ok(if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) })
}

/// The keywords and values without the settings of TLS: spaces between, quotes around and a backslash before what is not plain.
fn without_tls_of_words(text: &str, taken: &mut Taken) -> Result<String, SourceError> {
    let unfinished = || {
        SourceError::new(
            "DATABASE_URL cannot be read; it is like postgres://user:password@host:5432/database, or host=… user=… dbname=…",
        )
    };
    let mut kept = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=').ok_or_else(unfinished)?;
        let (name, behind) = (name.trim(), behind.trim_start());
        if name.contains(char::is_whitespace) {
            return Err(unfinished());
        }
        let (value, length) = word(behind).ok_or_else(unfinished)?;
        rest = behind[length..].trim_start();
        if !taken.take(name, &value) {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            kept.push(format!("{name}='{value}'"));
        }
    }
    Ok(kept.join(" "))
}

/// A value, and how many bytes it takes.
fn word(text: &str) -> Option<(String, usize)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?.1),
            '\'' if quoted => return Some((value, index + 1)),
            character if !quoted && character.is_whitespace() => return Some((value, index)),
            character => value.push(character),
        }
    }
    (!quoted).then_some((value, text.len()))
}

#[cfg(test)]
mod tests;

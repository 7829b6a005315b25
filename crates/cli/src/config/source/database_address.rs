//! Parses `DATABASE_URL` in either form of libpq:
//! `postgres://user:password@host:port/database?sslmode=…`, or `host=… dbname=… sslmode=…`
//! (PostgreSQL manual, "Connection Strings"). Parameters that are not supported are errors, unless
//! nothing depends on them.
//!
//! The client library parses most of it. The parameters of TLS are taken out first, because it
//! supports only some of them.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};

use super::error::SourceError;

/// How long the server may take to accept a connection, unless `connect_timeout` says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The idle time before TCP probes the other side, unless the address sets a minute or less:
/// `--watch` must notice a broken network.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How often TCP repeats the probe.
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);

/// The address of the database, with user and password.
pub(super) struct DatabaseAddress {
    pub(super) config: Config,
    pub(super) tls: TlsSettings,
}

/// The settings that libpq calls `sslmode`, `sslrootcert`, `sslcert` and `sslkey` ("SSL
/// Support").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsSettings {
    pub(super) trust: TlsTrust,
    /// The certificate and the key of the client, both PEM files.
    pub(super) client: Option<(PathBuf, PathBuf)>,
    /// True if TLS starts without asking PostgreSQL for it first (`sslnegotiation=direct`).
    pub(super) direct: bool,
}

/// What is checked of the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TlsTrust {
    /// Nothing (`disable`, `prefer`, or `require` without `sslrootcert`).
    Anything,
    /// One of these authorities signed it (`verify-ca`, or `require` with `sslrootcert`).
    Signed(TrustRoots),
    /// One of these authorities signed it, for this host (`verify-full`).
    SignedForHost(TrustRoots),
}

/// The trusted authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TrustRoots {
    /// Those that this machine trusts.
    System,
    /// Those in a PEM file.
    File(PathBuf),
}

/// The TLS parameters that were taken out of the address.
#[derive(Debug, Default, PartialEq, Eq)]
struct TlsParameters {
    mode: Option<String>,
    root: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    /// True if there is a `password` parameter, which is not taken out.
    has_password: bool,
}

impl TlsParameters {
    /// Takes a parameter. Returns false if it is neither one of TLS nor one that is ignored.
    fn take(&mut self, name: &str, value: &str) -> bool {
        self.has_password |= name == "password";
        let place = match name {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.root,
            "sslcert" => &mut self.cert,
            "sslkey" => &mut self.key,
            // Ignored, because this client never does it (compression, GSSAPI) or needs no setting
            // for it (SNI, UTF-8, its own name).
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

impl DatabaseAddress {
    pub(super) fn parse(text: &str) -> Result<Self, SourceError> {
        let mut parameters = TlsParameters::default();
        let rest = match text.split_once("://") {
            Some(("postgres" | "postgresql", _)) => without_tls_of_url(text, &mut parameters)?,
            Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {
                return Err(SourceError::new(
                    "DATABASE_URL is not an address of PostgreSQL; it must begin with postgres://",
                ));
            }
            _ => without_tls_of_keyword_values(text, &mut parameters)?,
        };
        let mut config: Config =
            rest.parse().map_err(|error: tokio_postgres::Error| malformed(&error, parameters.has_password))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(SourceError::new("DATABASE_URL has no host; write postgres://user@host/database"));
        }
        let (mode, trust) = parameters.mode_and_trust()?;
        // A Unix socket is never encrypted, whatever sslmode says.
        let is_local = |host: &Host| !matches!(host, Host::Tcp(_));
        let all_local = !config.get_hosts().is_empty() && config.get_hosts().iter().all(is_local);
        config.ssl_mode(if all_local { SslMode::Disable } else { mode });
        // Without a limit, as zero or no value means for libpq, someone could wait for ever.
        if config.get_connect_timeout().is_none_or(Duration::is_zero) {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_keepalives_idle() > KEEPALIVE * 2 {
            config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE_AGAIN).keepalives_retries(3);
        }
        if config.get_application_name().is_none() {
            config.application_name("kv-edge config sync");
        }
        let client = match (parameters.cert, parameters.key) {
            (Some(cert), Some(key)) => Some((cert.into(), key.into())),
            (None, None) => None,
            _ => {
                return Err(SourceError::new(
                    "DATABASE_URL has only one of sslcert and sslkey; a client certificate needs both",
                ));
            }
        };
        let direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
        Ok(Self { config, tls: TlsSettings { trust, client, direct } })
    }

    /// Returns how long connecting may take in total: a socket to each host, and then TLS and the
    /// password.
    pub(super) fn connect_limit(&self) -> Duration {
        let each = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len());
        each.saturating_mul(u32::try_from(hosts).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// Returns the hosts for messages: `db.example:5432`.
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

impl TlsParameters {
    /// Follows libpq: `prefer` is the default, `require` with `sslrootcert` checks the
    /// certificate, and `sslrootcert=system` allows only `verify-full`. Without `sslrootcert`,
    /// `verify-full` trusts the CAs of the system, and `verify-ca` is an error.
    fn mode_and_trust(&self) -> Result<(SslMode, TlsTrust), SourceError> {
        let root = self.root.as_deref().filter(|root| !root.is_empty());
        let is_system = root == Some("system");
        let roots = match root {
            Some(file) if !is_system => TrustRoots::File(file.into()),
            _ => TrustRoots::System,
        };
        let mode = self.mode.as_deref().unwrap_or(if is_system { "verify-full" } else { "prefer" });
        let wrong = |sentence: &str| Err(SourceError::new(format!("DATABASE_URL has {sentence}")));
        match mode {
            "disable" | "prefer" | "require" | "verify-ca" if is_system => {
                wrong("sslrootcert=system with a weaker sslmode; write sslmode=verify-full")
            }
            "disable" => Ok((SslMode::Disable, TlsTrust::Anything)),
            // The client library cannot start without TLS and then switch to it.
            "allow" => {
                wrong("sslmode=allow, which is not supported; write sslmode=prefer, which encrypts if the server can")
            }
            "prefer" => Ok((SslMode::Prefer, TlsTrust::Anything)),
            "require" if root.is_some() => Ok((SslMode::Require, TlsTrust::Signed(roots))),
            "require" => Ok((SslMode::Require, TlsTrust::Anything)),
            // Without a check of the host name, everyone with a certificate of a public authority
            // could pose as the server.
            "verify-ca" if root.is_none() => wrong(
                "sslmode=verify-ca without a CA to trust; name its PEM file with sslrootcert=FILE, or write sslmode=verify-full",
            ),
            "verify-ca" => Ok((SslMode::Require, TlsTrust::Signed(roots))),
            "verify-full" => Ok((SslMode::Require, TlsTrust::SignedForHost(roots))),
            _ => wrong("an unknown sslmode; use disable, prefer, require, verify-ca or verify-full"),
        }
    }
}

/// The parameters of libpq ("Parameter Key Words") that the client library does not support.
const UNSUPPORTED: [&str; 23] = [
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

/// Returns what is wrong with an address, without quoting it: a wrong escape may move a part of
/// the password anywhere. An unknown parameter is named if it is one of libpq's, or if there is
/// no password among the parameters that it could be a piece of.
fn malformed(error: &tokio_postgres::Error, has_password: bool) -> SourceError {
    let cause = super::error::cause(error);
    let quoted = cause.split('`').nth(1).unwrap_or_default();
    let is_word = !quoted.is_empty() && quoted.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    // The client library never quotes a value, and quotes a name only if it is unknown.
    let what = if cause.starts_with("invalid value for option") {
        format!("its {quoted} is not valid")
    } else if UNSUPPORTED.contains(&quoted) || (cause.starts_with("unknown option") && is_word && !has_password) {
        format!("the parameter {quoted} is not supported, leave it out")
    } else {
        "it has a part that cannot be recognized".to_owned()
    };
    SourceError::new(format!(
        "DATABASE_URL cannot be read: {what}; it is like postgres://user:password@host:5432/database?sslmode=require, \
         with %40 for @, %2F for /, %3A for :, %3F for ? and %23 for # in user and password"
    ))
}

/// Returns the URL without the parameters of TLS.
fn without_tls_of_url(url: &str, parameters: &mut TlsParameters) -> Result<String, SourceError> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (_, after_scheme) = base.split_once("://").unwrap_or_default();
    let (authority, path) = after_scheme.split_once('/').unwrap_or((after_scheme, ""));
    // Otherwise a part of the password would be taken for a host, and shown.
    if authority.matches('@').count() > 1 || path.contains('@') || query.contains('@') {
        return Err(SourceError::new(
            "DATABASE_URL has an @ in a wrong place; in user and password write %40 for @, %2F for / and %3F for ?",
        ));
    }
    let mut other_parameters = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) =
            (percent_decode_str(name).decode_utf8_lossy(), percent_decode_str(value).decode_utf8_lossy());
        if name == "ssl" && value == "true" {
            parameters.take("sslmode", "require");
        } else if !parameters.take(&name, &value) {
            other_parameters.push(pair);
        }
    }
    Ok(if other_parameters.is_empty() { base.to_owned() } else { format!("{base}?{}", other_parameters.join("&")) })
}

/// Returns the keywords and values without the parameters of TLS. Values with special characters
/// are quoted, with a backslash before quotes and backslashes.
fn without_tls_of_keyword_values(text: &str, parameters: &mut TlsParameters) -> Result<String, SourceError> {
    let unfinished = || {
        SourceError::new(
            "DATABASE_URL cannot be read; it is like postgres://user:password@host:5432/database, or host=… user=… dbname=…",
        )
    };
    let mut other_parameters = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(unfinished)?;
        let (name, after) = (name.trim(), after.trim_start());
        if name.contains(char::is_whitespace) {
            return Err(unfinished());
        }
        let (value, length) = parse_value(after).ok_or_else(unfinished)?;
        rest = after[length..].trim_start();
        if !parameters.take(name, &value) {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            other_parameters.push(format!("{name}='{value}'"));
        }
    }
    Ok(other_parameters.join(" "))
}

/// Returns the value that a text begins with, and how many bytes of the text it takes.
fn parse_value(text: &str) -> Option<(String, usize)> {
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

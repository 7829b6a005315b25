//! Why a call failed, and what that means for another try.

use std::fmt;
use std::io::ErrorKind;

use kv_store::retry::{Classify, FailureClass, GaveUp};
use ureq::Timeout;

/// The code of the free plan's "your account has reached the free usage limit for this operation for today".
const DAILY_LIMIT: u64 = 10_048;
/// The code of "key not found", as against a namespace that is not there.
pub(super) const KEY_NOT_FOUND: u64 = 10_009;
/// A token that is none: "Invalid request headers", "Invalid format for Authorization header".
const NO_TOKEN: [u64; 2] = [6003, 6111];
/// What ends a connection that was there.
const CUT: [ErrorKind; 7] = [
    ErrorKind::ConnectionReset,
    ErrorKind::ConnectionAborted,
    ErrorKind::BrokenPipe,
    ErrorKind::UnexpectedEof,
    ErrorKind::TimedOut,
    ErrorKind::WouldBlock,
    ErrorKind::Interrupted,
];
/// No message of the API is shown longer than this, in characters.
const MESSAGE_MAX: usize = 300;

/// Why one try failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) kind: Kind,
    pub(super) class: FailureClass,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// The API answers with an error. The message is none where it says nothing, or is not shown.
    Status { status: u16, code: Option<u64>, message: Option<String> },
    /// What answers is not the API.
    Strange(u16),
    /// A bulk call left keys out: how many, and one of them; none where it is not shown.
    LeftOut(usize, Option<String>),
    /// Nobody was reached.
    Unreached(String),
    /// TLS failed.
    Untrusted(String),
    /// Somebody was reached, but the answer did not come, or not all of it.
    Cut(String),
    /// No time was left for a try.
    Late,
    /// Nobody waits for another try any more, or for the call.
    Cancelled,
}

/// Why a call failed, as a sentence that names the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct ApiError {
    /// What the call was to do: "list the namespaces".
    pub(super) what: String,
    pub(super) kind: Kind,
    /// Of a bulk call: how many keys are not known to be done. 0 for every other call.
    pub(super) left_out: usize,
    pub(super) tries: u32,
    pub(super) gave_up: GaveUp,
    pub(super) base: String,
    pub(super) is_local: bool,
}

impl Classify for Failed {
    fn class(&self) -> FailureClass {
        self.class
    }
}

impl Failed {
    /// An answer that is an error, by its status and what its body says.
    pub(super) fn of_status(
        status: u16,
        code: Option<u64>,
        message: Option<&str>,
        retry_after_ms: Option<u64>,
    ) -> Self {
        let class = match code {
            Some(DAILY_LIMIT) => FailureClass::Permanent,
            _ => FailureClass::of_status(Some(status), retry_after_ms),
        };
        let kind = message.map_or(Kind::Strange(status), |message| {
            let message = (!message.is_empty()).then(|| message.to_owned());
            Kind::Status { status, code, message }
        });
        Self { kind, class }
    }

    /// No answer. As long as nobody has answered at all, a host that is not there is a mistake rather than an outage.
    pub(super) fn of_transport(error: &ureq::Error, has_answered: bool) -> Self {
        use ureq::Error;
        let kind = match error {
            Error::Tls(_) | Error::Pem(_) | Error::Rustls(_) => Kind::Untrusted(error.to_string()),
            // What rustls says of a certificate.
            Error::Io(error) if error.kind() == ErrorKind::InvalidData => Kind::Untrusted(error.to_string()),
            Error::HostNotFound
            | Error::ConnectionFailed
            | Error::ConnectProxyFailed(_)
            | Error::Timeout(Timeout::Connect | Timeout::Resolve) => Kind::Unreached(error.to_string()),
            // Refused, no route, a name that nobody knows, which has no kind of its own; anything but a connection that was there.
            Error::Io(io) if !CUT.contains(&io.kind()) => Kind::Unreached(io.to_string()),
            _ => Kind::Cut(error.to_string()),
        };
        let class = match kind {
            Kind::Untrusted(_) => FailureClass::Permanent,
            Kind::Unreached(_) if !has_answered => FailureClass::Permanent,
            _ => FailureClass::Unavailable { retry_after_ms: None },
        };
        Self { kind, class }
    }

    /// What answers is not the API.
    pub(super) fn strange(status: u16) -> Self {
        Self { kind: Kind::Strange(status), class: FailureClass::Permanent }
    }

    /// A bulk call left these keys out; the documentation says to send them again.
    pub(super) fn left_out(keys: &[String]) -> Self {
        let kind = Kind::LeftOut(keys.len(), keys.first().cloned());
        Self { kind, class: FailureClass::Unavailable { retry_after_ms: None } }
    }

    /// The same, which names no key: neither one that was left out, nor what the API says, who may repeat keys and values.
    pub(super) fn discreet(self) -> Self {
        let kind = match self.kind {
            Kind::Status { status, code, .. } => Kind::Status { status, code, message: None },
            Kind::LeftOut(count, _) => Kind::LeftOut(count, None),
            kind => kind,
        };
        Self { kind, ..self }
    }

    /// No try is to be made any more.
    pub(super) fn cancelled() -> Self {
        Self { kind: Kind::Cancelled, class: FailureClass::Permanent }
    }

    /// No time was left.
    pub(super) fn late() -> Self {
        Self { kind: Kind::Late, class: FailureClass::Permanent }
    }
}

impl Kind {
    /// The same as it may be shown: without the token, which an answer may repeat, bounded and in one line. The token goes first, for
    /// what is left of one that was cut would not be found any more.
    pub(super) fn shown(self, token: Option<&str>) -> Self {
        let shown = |text: String| -> String {
            let text = token.map_or_else(|| text.clone(), |token| text.replace(token, "…"));
            let text = text.chars().map(|character| if character.is_control() { ' ' } else { character });
            text.take(MESSAGE_MAX).collect()
        };
        match self {
            Self::Status { status, code, message } => Self::Status { status, code, message: message.map(shown) },
            Self::Unreached(why) => Self::Unreached(shown(why)),
            Self::Untrusted(why) => Self::Untrusted(shown(why)),
            Self::Cut(why) => Self::Cut(shown(why)),
            // The command's own words.
            Self::Strange(_) | Self::LeftOut(..) | Self::Late | Self::Cancelled => self,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, code, message } => {
                write!(formatter, "the API answers {status}")?;
                message.as_ref().map_or(Ok(()), |message| write!(formatter, ", {message:?}"))?;
                code.map_or(Ok(()), |code| write!(formatter, " (code {code})"))
            }
            Self::Strange(status) => write!(formatter, "the answer is a {status} that is not the API's"),
            Self::LeftOut(1, None) => formatter.write_str("the API did not take one key"),
            Self::LeftOut(count, None) => write!(formatter, "the API did not take {count} keys"),
            Self::LeftOut(1, Some(key)) => write!(formatter, "the API did not take {key:?}"),
            Self::LeftOut(count, Some(key)) => write!(formatter, "the API did not take {count} keys, such as {key:?}"),
            Self::Unreached(why) => write!(formatter, "nobody is reached ({why})"),
            Self::Untrusted(why) => write!(formatter, "no safe connection is made ({why})"),
            Self::Cut(why) => write!(formatter, "no answer comes ({why})"),
            Self::Late | Self::Cancelled => formatter.write_str("no time is left"),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cannot {}: {}", self.what, self.kind)?;
        if self.tries > 1 {
            write!(formatter, ", tried {} times", self.tries)?;
        }
        write!(formatter, "; {}", self.way_out())
    }
}

impl ApiError {
    /// Of a bulk call that failed: how many keys are not known to be done.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out
    }

    /// True where it is not about what was sent, so that no other call would succeed either.
    pub(crate) fn is_of_all_calls(&self) -> bool {
        match self.kind {
            Kind::Status { code: Some(code), .. } if code == DAILY_LIMIT || NO_TOKEN.contains(&code) => true,
            Kind::Status { status, .. } => matches!(status, 300..=399 | 401 | 403 | 404),
            Kind::Strange(status) => !matches!(status, 408 | 413 | 429 | 500..),
            Kind::Unreached(_) | Kind::Untrusted(_) => true,
            Kind::LeftOut(..) | Kind::Cut(_) | Kind::Late | Kind::Cancelled => false,
        }
    }

    /// What whoever reads it can do.
    fn way_out(&self) -> String {
        let Self { base, is_local, .. } = self;
        let status = match self.kind {
            Kind::Status { code: Some(DAILY_LIMIT), .. } => {
                return "go on after 00:00 UTC, or with the paid plan".to_owned();
            }
            Kind::Status { code: Some(code), .. } if NO_TOKEN.contains(&code) => 401,
            Kind::Strange(status) if status < 500 && *is_local => {
                return format!(
                    "see that it is `wrangler dev` that listens there, or name its address: --local=URL ({base})"
                );
            }
            Kind::Strange(status) if status < 500 => {
                return format!("check the address of the API, which is {base} (--api-base)");
            }
            Kind::Status { status, .. } | Kind::Strange(status) => status,
            Kind::LeftOut(..) | Kind::Cut(_) => 500,
            Kind::Unreached(_) if *is_local => {
                return format!("start `npm start` or `npx wrangler dev`, or name its address: --local=URL ({base})");
            }
            Kind::Unreached(_) => return format!("check the network, the proxy and --api-base ({base})"),
            Kind::Untrusted(_) => return format!("check the clock of this machine, the proxy and --api-base ({base})"),
            Kind::Cancelled => return "a signal ended it; run it again, what is written stays".to_owned(),
            Kind::Late => return "--deadline SECONDS gives each call more".to_owned(),
        };
        match status {
            _ if self.gave_up == GaveUp::Deadline => {
                "run it again, what is written stays; --deadline SECONDS gives each call more time".to_owned()
            }
            401 | 403 => "the token in CLOUDFLARE_API_TOKEN needs the permission \"Workers KV Storage: Edit\" on the \
                          account of --account"
                .to_owned(),
            404 => "check --namespace and --account; `npx wrangler kv namespace list` says what is there".to_owned(),
            413 => "Workers KV takes values up to 25 MiB and metadata up to 1024 bytes".to_owned(),
            429 => "run it again in five minutes, what is written stays: an account may make 1,200 calls in that time"
                .to_owned(),
            500.. if *is_local => "see what `wrangler dev` says, and run it again: what is written stays".to_owned(),
            500.. => "run it again later, what is written stays; https://www.cloudflarestatus.com tells of outages"
                .to_owned(),
            300..=399 => format!("check the address of the API, which is {base} (--api-base)"),
            _ if matches!(&self.kind, Kind::Status { message: None, .. }) => {
                "its message is not shown, as it may name keys; it would not be taken the next time either".to_owned()
            }
            _ => "the message says why it would not be taken the next time either".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;

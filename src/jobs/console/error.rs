//! The errors that only the console has.

use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::one_of_each;
use http_semantics::status::Status;
use kv_api::error::KvApiError;

/// Why a request for the console is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConsoleError {
    /// The deploy has no page.
    NotBuilt,
    /// The page has no such file.
    FileNotFound,
    /// The API has no such call.
    UnknownCall,
    /// The body is not what the call takes; the text says why.
    InvalidBody(String),
    /// The definitions of flags, given or stored, have this fault.
    InvalidDefinitions(String),
    /// The definitions have no such flag.
    FlagNotFound,
    /// A parameter of the query is missing or unknown; the text says which.
    InvalidParameter(String),
    /// The manifests of two releases have more bytes together than the Worker compares: so many.
    ReleasesTooLong(usize),
    /// No namespace has this id or title.
    NamespaceNotFound,
    /// The token does not allow the call.
    OutOfScope,
    /// The namespace with this title is read-only.
    ReadOnly(String),
}

impl ConsoleError {
    /// Returns the error for a check of the caller's access that failed.
    pub(super) fn of_access(error: KvApiError) -> Self {
        match error {
            KvApiError::ReadOnlyNamespace(title) => Self::ReadOnly(title),
            KvApiError::NamespaceNotFound(_) => Self::NamespaceNotFound,
            _ => Self::OutOfScope,
        }
    }
}

impl HttpError for ConsoleError {
    fn response(&self) -> ErrorResponse {
        match self {
            Self::NotBuilt => ErrorResponse::new(
                Status::ServiceUnavailable,
                "console_not_built",
                "This deploy has no console. Build it with `npm run build`, and deploy again.",
            )
            .because("the binding CONSOLE has no console/index.html")
            .retry_after(60),
            Self::FileNotFound => ErrorResponse::new(Status::NotFound, "not_found", "The console has no such file."),
            Self::UnknownCall => {
                ErrorResponse::new(Status::NotFound, "not_found", "The console's API has no such call.")
            }
            Self::InvalidBody(why) => {
                ErrorResponse::new(Status::BadRequest, "invalid_body", format!("The body is not valid: {why}."))
            }
            Self::InvalidParameter(why) => {
                ErrorResponse::new(Status::BadRequest, "invalid_parameter", format!("The query is not valid: {why}."))
            }
            Self::InvalidDefinitions(fault) => ErrorResponse::new(
                Status::BadRequest,
                "invalid_definitions",
                format!("The definitions of the flags are not valid: {fault}."),
            ),
            Self::FlagNotFound => {
                ErrorResponse::new(Status::NotFound, "flag_not_found", "The definitions have no flag of this name.")
            }
            Self::ReleasesTooLong(bytes_max) => ErrorResponse::new(
                Status::Conflict,
                "releases_too_long",
                format!(
                    "The manifests of the two releases have more than {bytes_max} bytes together, too many to compare."
                ),
            ),
            Self::NamespaceNotFound => {
                ErrorResponse::new(Status::NotFound, "namespace_not_found", "No namespace has this id or title.")
            }
            Self::OutOfScope => {
                ErrorResponse::new(Status::Forbidden, "out_of_scope", "The token does not allow this call.")
            }
            Self::ReadOnly(title) => ErrorResponse::new(
                Status::Forbidden,
                "read_only",
                format!("The namespace {title} is read-only. List it in the var KV_API_WRITABLE to change it."),
            ),
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! {
            Self::NotBuilt => Self::NotBuilt, "The Worker was deployed without the files of the console.";
            Self::FileNotFound => Self::FileNotFound, "No file of the console has this path.";
            Self::UnknownCall => Self::UnknownCall, "No call of the console's API has this path.";
            Self::InvalidBody(_) => Self::InvalidBody("missing field `definitions` at line 1 column 2".to_owned()), "The body is not the JSON that the call of the console takes.";
            Self::InvalidDefinitions(_) => Self::InvalidDefinitions("flags.new-checkout.default: it is missing".to_owned()), "The definitions that the console tries out have a fault.";
            Self::FlagNotFound => Self::FlagNotFound, "The definitions that the console tries out have no such flag.";
            Self::InvalidParameter(_) => Self::InvalidParameter("\"url\" is missing".to_owned()), "The query of a call of the console lacks a parameter, or has an unknown one.";
            Self::ReleasesTooLong(_) => Self::ReleasesTooLong(16_777_216), "The releases that the console compares have too many files.";
            Self::NamespaceNotFound => Self::NamespaceNotFound, "The namespace that the console reads does not exist, or no longer exists.";
            Self::OutOfScope => Self::OutOfScope, "The token's scope does not contain what the call reads or changes.";
            Self::ReadOnly(_) => Self::ReadOnly("assets".to_owned()), "`KV_API_WRITABLE` does not list the namespace.";
        }
    }
}

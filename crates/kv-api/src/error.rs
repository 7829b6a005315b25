//! The errors of the API, with the codes and words of Cloudflare's own if those are known.
//! Scripts look for the codes: `[code: 10009]` in what wrangler prints, for example.

use std::fmt;

use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::one_of_each;
use http_semantics::range::unsatisfied_range;
use http_semantics::request_target::BadPercentEncoding;
use http_semantics::status::Status;

use crate::bulk_call::{BODY_BYTES_MAX, BulkOutcome};

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvApiError {
    /// The request has neither a token nor a key.
    NoCredentials,
    /// `Authorization` is not `Bearer <token>`.
    MalformedCredentials,
    /// The token is not one of this Worker, it has expired, or it is revoked.
    InvalidToken,
    /// The token does not allow this call. What lies outside its scope gets the same response
    /// whether it exists or not.
    OutOfScope,
    /// No endpoint has this path.
    NoRoute,
    /// The path has other methods, which are named as in `Allow`.
    MethodNotAllowed(&'static str),
    /// The namespace is a binding, which cannot be renamed or deleted, or none can be created,
    /// because the var `KV_API_NAMESPACES` names no home for them.
    FixedNamespaces,
    /// The namespace is a binding of the Worker that is read-only through the API.
    ReadOnlyNamespace(String),
    /// The Worker has no namespace with this id or title.
    NamespaceNotFound(Operation),
    /// A namespace has this title already.
    TitleTaken,
    /// Clients have created as many namespaces as an account may have.
    TooManyNamespaces,
    /// The title is missing, empty, too long, or has control characters.
    InvalidTitle,
    /// The namespace is to be in a jurisdiction.
    NoJurisdictions,
    /// The write is conditional, which Workers KV cannot be.
    ConditionalWrite,
    /// The namespace has no such key.
    KeyNotFound,
    /// The URL has a broken percent-encoding.
    BadUrl,
    /// Workers KV does not accept the key; the sentence says why.
    InvalidKey(Operation, String),
    /// A parameter of the query or a member of the body is out of its range.
    InvalidArgument(Operation, String),
    /// `expiration` is not in the future, or not by 60 seconds, or after 2147483647.
    InvalidExpiration(Operation, String),
    /// `expiration_ttl` is not a number of seconds from 60 to 2147483647.
    InvalidExpirationTtl(Operation, String),
    /// The metadata is not JSON, or exceeds a limit of the parser.
    InvalidMetadata,
    /// The metadata has this many bytes, and 1024 are allowed.
    MetadataTooLong(Operation, usize),
    /// The value has more bytes than 25 MiB.
    ValueTooLong(Operation),
    /// A form has no field `value`, or is not a form.
    InvalidForm(&'static str),
    /// The body of a bulk call cannot be read.
    InvalidBody(Operation, String),
    /// The body of a bulk call is longer than the API takes.
    BodyTooLong(Operation),
    /// A value of a bulk read is not text.
    NotText,
    /// The values of a bulk read are longer than 25 MB together.
    ValuesTooLong,
    /// The value is not the one that `If-Match` names.
    PreconditionFailed,
    /// The value has this many bytes, and none of them is in the range.
    RangeNotSatisfiable(u64),
    /// The pair with this index in a bulk write, from 0, has an error.
    InPair(usize, Box<Self>),
    /// Some keys of a bulk call could not be changed.
    Incomplete(Operation, BulkOutcome),
}

/// The operation that an error names, as Cloudflare's messages do: `get: 'key not found'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Calls on the namespace itself.
    Namespace,
    /// Reading a value or its metadata.
    Get,
    /// Writing a value.
    Put,
    /// Deleting a key.
    Delete,
    /// Listing keys.
    List,
    /// Writing many values.
    BulkPut,
    /// Reading many values.
    BulkGet,
    /// Deleting many keys.
    BulkDelete,
}

impl Operation {
    /// Returns a message as the service writes it.
    fn says(self, message: impl fmt::Display) -> String {
        match self.name() {
            Some(name) => format!("{name}: '{message}'"),
            None => message.to_string(),
        }
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Self::Namespace => None,
            Self::Get => Some("get"),
            Self::Put => Some("put"),
            Self::Delete => Some("remove key"),
            Self::List => Some("list keys"),
            Self::BulkPut => Some("bulk put keys"),
            Self::BulkGet => Some("bulk get keys"),
            Self::BulkDelete => Some("bulk remove keys"),
        }
    }
}

impl From<BadPercentEncoding> for KvApiError {
    fn from(_: BadPercentEncoding) -> Self {
        Self::BadUrl
    }
}

impl KvApiError {
    /// Names the pair of a bulk write that has the error.
    pub(crate) fn of_pair(self, index: usize) -> Self {
        Self::InPair(index, Box::new(self))
    }

    /// Returns status and error code.
    fn face(&self) -> (Status, &'static str) {
        match self {
            Self::NoCredentials => (Status::BadRequest, "9106"),
            Self::MalformedCredentials => (Status::BadRequest, "6003"),
            Self::InvalidToken => (Status::Unauthorized, "10000"),
            Self::OutOfScope => (Status::Forbidden, "10000"),
            Self::NoRoute => (Status::NotFound, "7003"),
            Self::BadUrl => (Status::BadRequest, "7003"),
            Self::MethodNotAllowed(_) | Self::FixedNamespaces => (Status::MethodNotAllowed, "10405"),
            // Not 10000: wrangler takes that for a wrong token, and asks who it is.
            Self::ReadOnlyNamespace(_) => (Status::Forbidden, "10405"),
            Self::NamespaceNotFound(_) => (Status::NotFound, "10013"),
            Self::TitleTaken => (Status::BadRequest, "10014"),
            Self::InvalidTitle => (Status::BadRequest, "10019"),
            Self::KeyNotFound => (Status::NotFound, "10009"),
            Self::InvalidKey(..) => (Status::BadRequest, "10030"),
            Self::InvalidArgument(..)
            | Self::NotText
            | Self::TooManyNamespaces
            | Self::NoJurisdictions
            | Self::ConditionalWrite => (Status::BadRequest, "10029"),
            Self::InvalidExpiration(..) => (Status::BadRequest, "10033"),
            Self::InvalidExpirationTtl(..) => (Status::BadRequest, "10034"),
            Self::InvalidMetadata => (Status::BadRequest, "10147"),
            Self::MetadataTooLong(..) => (Status::ContentTooLarge, "10024"),
            Self::ValueTooLong(_) | Self::BodyTooLong(_) | Self::ValuesTooLong => (Status::ContentTooLarge, "10022"),
            Self::InvalidForm(_) => (Status::BadRequest, "10047"),
            Self::InvalidBody(..) => (Status::BadRequest, "10012"),
            // The service has no conditions and ranges, so the codes are not its own.
            Self::PreconditionFailed => (Status::PreconditionFailed, "10412"),
            Self::RangeNotSatisfiable(_) => (Status::RangeNotSatisfiable, "10416"),
            Self::InPair(_, error) => error.face(),
            Self::Incomplete(_, result) if result.is_rate_limited => (Status::TooManyRequests, "10429"),
            Self::Incomplete(..) => (Status::ServiceUnavailable, "10001"),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::NoCredentials => "Missing X-Auth-Key, X-Auth-Email or Authorization headers".to_owned(),
            Self::MalformedCredentials => "Invalid request headers".to_owned(),
            Self::InvalidToken | Self::OutOfScope => "Authentication error".to_owned(),
            Self::NoRoute => "Could not route to this path, perhaps your object identifier is invalid?".to_owned(),
            Self::BadUrl => "The URL has a percent-encoding that is broken or is not UTF-8".to_owned(),
            Self::MethodNotAllowed(allow) => format!("Method not allowed; use {allow}"),
            Self::FixedNamespaces => "The namespaces of this API are bindings of a Worker, which cannot be created, \
                 renamed or deleted at run time. Set the var KV_API_NAMESPACES to KV_NAMESPACES to have others beside them"
                .to_owned(),
            Self::ReadOnlyNamespace(title) => format!(
                "The namespace {title} is read-only through this API. List it in the var KV_API_WRITABLE to change it"
            ),
            Self::NamespaceNotFound(operation) => operation.says("namespace not found"),
            Self::TitleTaken => "a namespace with this account ID and title already exists".to_owned(),
            Self::TooManyNamespaces => "there are 1000 namespaces, and no more can be created".to_owned(),
            Self::InvalidTitle => "a namespace needs a title of 1 to 512 bytes, without control characters".to_owned(),
            Self::NoJurisdictions => "namespaces of this API have no jurisdiction".to_owned(),
            Self::ConditionalWrite => {
                "Workers KV cannot write on a condition; send the write without If-Match and If-None-Match".to_owned()
            }
            Self::KeyNotFound => Operation::Get.says("key not found"),
            Self::InvalidKey(operation, why)
            | Self::InvalidArgument(operation, why)
            | Self::InvalidExpiration(operation, why)
            | Self::InvalidExpirationTtl(operation, why)
            | Self::InvalidBody(operation, why) => operation.says(why),
            Self::InvalidMetadata => "metadata must be valid json".to_owned(),
            Self::MetadataTooLong(operation, bytes) => {
                operation.says(format_args!("Metadata length of {bytes} exceeds limit of 1024."))
            }
            Self::ValueTooLong(operation) => operation.says("Value length exceeds limit of 26214400."),
            Self::InvalidForm(why) => (*why).to_owned(),
            Self::BodyTooLong(operation) => operation.says(format_args!(
                "The body is longer than {} MiB; send fewer keys at once",
                BODY_BYTES_MAX / 1024 / 1024
            )),
            Self::NotText => {
                Operation::BulkGet.says("At least one of the requested keys corresponds to a non-text value")
            }
            Self::ValuesTooLong => {
                Operation::BulkGet.says("The values are longer than 25 MB together; ask for fewer keys at once")
            }
            Self::PreconditionFailed => Operation::Get.says("the value has changed"),
            Self::RangeNotSatisfiable(length) => {
                Operation::Get.says(format_args!("the value has {length} bytes, and none of them is in the range"))
            }
            Self::InPair(index, error) => format!("pair {index}: {}", error.message()),
            Self::Incomplete(operation, result) => operation.says(format_args!(
                "{} of {} keys were not changed; send them again",
                result.unsuccessful_keys.len(),
                result.unsuccessful_keys.len() + result.successful_key_count,
            )),
        }
    }
}

impl HttpError for KvApiError {
    fn response(&self) -> ErrorResponse {
        let (status, code) = self.face();
        let error = ErrorResponse::new(status, code, self.message());
        match self {
            Self::InvalidToken => error.with_field("WWW-Authenticate", "Bearer"),
            Self::MethodNotAllowed(allow) => error.with_field("Allow", *allow),
            Self::FixedNamespaces => error.with_field("Allow", "GET, HEAD"),
            Self::RangeNotSatisfiable(length) => error.with_field("Content-Range", unsatisfied_range(*length)),
            Self::Incomplete(_, result) if result.is_rate_limited => error.retry_after(1),
            Self::Incomplete(..) => error.retry_after(5),
            _ => error,
        }
    }

    fn examples() -> Vec<(Self, &'static str)> {
        let result = |is_rate_limited| BulkOutcome {
            successful_key_count: 99,
            unsuccessful_keys: vec!["a".to_owned()],
            is_rate_limited,
        };
        let mut examples = one_of_each! {
            Self::NoCredentials => Self::NoCredentials, "The request has neither `Authorization` nor `X-Auth-Key`.";
            Self::MalformedCredentials => Self::MalformedCredentials, "`Authorization` is not `Bearer <token>`.";
            Self::InvalidToken => Self::InvalidToken, "The token is unknown, expired or revoked.";
            Self::OutOfScope => Self::OutOfScope, "The token does not allow this call.";
            Self::NoRoute => Self::NoRoute, "The API has no such path.";
            Self::BadUrl => Self::BadUrl, "The path or the query cannot be decoded.";
            Self::MethodNotAllowed(_) => Self::MethodNotAllowed("GET"), "The path allows other methods, which `Allow` lists.";
            Self::FixedNamespaces => Self::FixedNamespaces, "The namespace is a binding of the Worker, or `KV_API_NAMESPACES` is not set.";
            Self::ReadOnlyNamespace(_) => Self::ReadOnlyNamespace("assets".to_owned()), "`KV_API_WRITABLE` does not list the namespace.";
            Self::NamespaceNotFound(_) => Self::NamespaceNotFound(Operation::Get), "No namespace has this id or title.";
            Self::TitleTaken => Self::TitleTaken, "Another namespace has this title.";
            Self::TooManyNamespaces => Self::TooManyNamespaces, "Clients have created 1000 namespaces.";
            Self::InvalidTitle => Self::InvalidTitle, "The title is missing, too long, or has control characters.";
            Self::NoJurisdictions => Self::NoJurisdictions, "The body names a jurisdiction.";
            Self::ConditionalWrite => Self::ConditionalWrite, "A write has `If-Match` or `If-None-Match`.";
            Self::KeyNotFound => Self::KeyNotFound, "The namespace has no such key.";
            Self::InvalidKey(..) => Self::InvalidKey(Operation::Put, "key cannot be empty".to_owned()), "Workers KV does not accept the key.";
            Self::InvalidArgument(..) => Self::InvalidArgument(Operation::List, "limit 5 is not within 10 and 1000".to_owned()), "A parameter or the number of keys is out of its range.";
            Self::InvalidExpiration(..) => Self::InvalidExpiration(Operation::Put, "Invalid expiration of 1.".to_owned()), "`expiration` is not 60 seconds ahead.";
            Self::InvalidExpirationTtl(..) => Self::InvalidExpirationTtl(Operation::Put, "Invalid expiration_ttl of 1. Expiration TTL must be at least 60.".to_owned()), "`expiration_ttl` is less than 60 seconds.";
            Self::InvalidMetadata => Self::InvalidMetadata,
                "The metadata is not JSON, or has a number beyond 1.8e308 or more than 127 levels.";
            Self::MetadataTooLong(..) => Self::MetadataTooLong(Operation::Put, 1025), "The metadata has more than 1024 bytes.";
            Self::ValueTooLong(_) => Self::ValueTooLong(Operation::Put), "The value has more than 25 MiB.";
            Self::BodyTooLong(_) => Self::BodyTooLong(Operation::BulkPut), "The body of a bulk call is too long.";
            Self::NotText => Self::NotText, "A value of a bulk read is not text.";
            Self::ValuesTooLong => Self::ValuesTooLong, "The values of a bulk read are too long together.";
            Self::InvalidForm(_) => Self::InvalidForm("multipart put request does not contain required form field 'value'"), "The form of a write has no value, or breaks off.";
            Self::InvalidBody(..) => Self::InvalidBody(Operation::BulkPut, "expected value at line 1 column 1".to_owned()), "The JSON of the body is not what the call takes.";
            Self::PreconditionFailed => Self::PreconditionFailed, "The value is not the one that `If-Match` names.";
            Self::RangeNotSatisfiable(_) => Self::RangeNotSatisfiable(3), "The value has no byte in the range.";
            Self::InPair(..) => Self::InvalidKey(Operation::BulkPut, "key cannot be empty".to_owned()).of_pair(17), "A pair of a bulk write has an error; nothing was written.";
            Self::Incomplete(..) => Self::Incomplete(Operation::BulkPut, result(false)), "Some keys were not changed, because Workers KV failed; `result` lists them.";
        };
        examples.push((
            Self::Incomplete(Operation::BulkPut, result(true)),
            "Some keys were not changed, because they were written a moment ago; `result` lists them.",
        ));
        examples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_are_those_of_the_service() {
        for (error, status, code, message) in [
            (KvApiError::KeyNotFound, 404, "10009", "get: 'key not found'"),
            (KvApiError::NamespaceNotFound(Operation::List), 404, "10013", "list keys: 'namespace not found'"),
            (KvApiError::NamespaceNotFound(Operation::Namespace), 404, "10013", "namespace not found"),
            (KvApiError::TitleTaken, 400, "10014", "a namespace with this account ID and title already exists"),
            (KvApiError::InvalidToken, 401, "10000", "Authentication error"),
            (KvApiError::OutOfScope, 403, "10000", "Authentication error"),
            (
                KvApiError::NotText,
                400,
                "10029",
                "bulk get keys: 'At least one of the requested keys corresponds to a non-text value'",
            ),
        ] {
            let response = error.response();
            assert_eq!((response.status().code(), response.code(), response.sentence()), (status, code, message));
        }
    }

    #[test]
    fn an_incomplete_batch_says_when_to_try_again() {
        let result =
            BulkOutcome { successful_key_count: 2, unsuccessful_keys: vec!["a".into()], is_rate_limited: true };
        let response = KvApiError::Incomplete(Operation::BulkPut, result).response();
        assert_eq!((response.status().code(), response.field("Retry-After")), (429, Some("1")));
        assert_eq!(response.sentence(), "bulk put keys: '1 of 3 keys were not changed; send them again'");
    }
}

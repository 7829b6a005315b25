//! HTTP at the edge of the Worker: the request as a job sees it, responses, errors, and messages that are passed on.

pub(crate) mod asked_fields;
pub(crate) mod error;
pub(crate) mod incoming;
pub(crate) mod message;
pub(crate) mod request_body;
pub(crate) mod response;
pub(crate) mod stream;

//! HTTP in the Worker: the request as a job sees it, responses, the rendering of errors, and
//! requests to other servers.

#[cfg(any(feature = "assets", feature = "flags"))]
pub(crate) mod asked_fields;
pub(crate) mod error;
pub(crate) mod incoming;
#[cfg(any(feature = "cache", feature = "storefronts"))]
pub(crate) mod message;
#[cfg(any(feature = "cache", feature = "flags", feature = "storefronts", feature = "writes"))]
pub(crate) mod request_body;
pub(crate) mod response;
pub(crate) mod stream;

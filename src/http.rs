//! HTTP in the Worker: the request as a job sees it and who sent it, responses, the rendering of
//! errors, and requests to other servers.

#[cfg(feature = "kv-api")]
pub(crate) mod access;
pub(crate) mod error;
#[cfg(feature = "forwarding")]
pub(crate) mod forwarding;
#[cfg(feature = "request-bodies")]
pub(crate) mod request_body;
pub(crate) mod request_context;
#[cfg(any(feature = "assets", feature = "flags", feature = "kv-api"))]
pub(crate) mod request_headers;
pub(crate) mod response;
pub(crate) mod stream;
#[cfg(any(feature = "cache", all(feature = "console", feature = "storefronts")))]
pub(crate) mod url;

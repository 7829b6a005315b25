//! Which job answers a request: a pure match over host, path and method.

use kv_edge_core::request_target::RequestTarget;
use kv_edge_core::tenants::address::{Hosts, Named};

/// The job that answers, with the part of the path it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route<'p> {
    /// `GET /healthz`
    Healthz,
    /// `GET /get-started`
    GetStarted,
    /// `GET /cache?url={URL}`
    CachedPage,
    /// `GET /config?userId={id}`
    Config,
    /// `* /stores/{storefrontId}/{path}`, or any path of a host that names a storefront
    Storefront {
        /// Whom the host names; where that is the platform, the path names the storefront.
        named: Named<'static>,
    },
    /// `GET /hello-world`
    HelloWorld,
    /// `POST /writes/{key}`, and `GET /writes/{key}`
    Writes {
        /// Still percent-encoded.
        key: &'p str,
    },
    /// `GET /{key}`
    Asset {
        /// The whole path.
        path: &'p str,
    },
}

/// The path takes other methods: 405 with `Allow` (RFC 9110 §15.5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodNotAllowed {
    /// The value of `Allow`.
    pub(crate) allow: &'static str,
}

impl<'p> Route<'p> {
    /// The route of a request: by its host, or else by its path.
    pub(crate) fn of(hosts: &Hosts, target: &'p RequestTarget<'_>) -> Self {
        match hosts.named(target.authority) {
            Named::Platform => Self::of_path(&target.path),
            named => Self::Storefront { named },
        }
    }

    /// Checks that the route takes a method.
    pub(crate) fn check(&self, method: &str) -> Result<(), MethodNotAllowed> {
        let allow = match self {
            Self::Storefront { .. } => return Ok(()),
            Self::Writes { .. } => "GET, HEAD, POST",
            _ => "GET, HEAD",
        };
        if allow.split(", ").any(|allowed| allowed == method) { Ok(()) } else { Err(MethodNotAllowed { allow }) }
    }

    /// The route as the log names it: without anything a visitor wrote.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Healthz => "/healthz",
            Self::GetStarted => "/get-started",
            Self::CachedPage => "/cache",
            Self::Config => "/config",
            Self::Storefront { .. } => "/stores/{storefrontId}",
            Self::HelloWorld => "/hello-world",
            Self::Writes { .. } => "/writes/{key}",
            Self::Asset { .. } => "/{key}",
        }
    }

    /// True for the routes that programs use, whose errors are always problem details.
    pub(crate) fn is_api(&self) -> bool {
        matches!(self, Self::Writes { .. })
    }

    fn of_path(path: &'p str) -> Self {
        match path {
            "/healthz" => Self::Healthz,
            "/get-started" => Self::GetStarted,
            "/cache" => Self::CachedPage,
            "/config" => Self::Config,
            "/hello-world" => Self::HelloWorld,
            _ => {
                if behind("/stores", path).is_some() {
                    Self::Storefront { named: Named::Platform }
                } else if let Some(key) = behind("/writes", path) {
                    Self::Writes { key: key.strip_prefix('/').unwrap_or(key) }
                } else {
                    Self::Asset { path }
                }
            }
        }
    }
}

/// What stands behind the first segment, if it is this one.
fn behind<'p>(segment: &str, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(segment).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_one_route() {
        for (method, path, route) in [
            ("GET", "/healthz", Route::Healthz),
            ("HEAD", "/healthz", Route::Healthz),
            ("GET", "/get-started", Route::GetStarted),
            ("GET", "/cache", Route::CachedPage),
            ("GET", "/config", Route::Config),
            ("GET", "/hello-world", Route::HelloWorld),
            ("GET", "/stores", Route::Storefront { path: "" }),
            ("PUT", "/stores/a//b/", Route::Storefront { path: "/a//b/" }),
            ("PROPFIND", "/stores/a", Route::Storefront { path: "/a" }),
            ("POST", "/writes/a%2Fb", Route::Writes { key: "a%2Fb" }),
            ("POST", "/writes/a/b", Route::Writes { key: "a/b" }),
            ("POST", "/writes", Route::Writes { key: "" }),
            ("GET", "/writes/a", Route::Writes { key: "a" }),
            ("GET", "/", Route::Asset { path: "/" }),
            ("GET", "/storesx", Route::Asset { path: "/storesx" }),
            ("GET", "/config/", Route::Asset { path: "/config/" }),
            ("HEAD", "/a/b.png", Route::Asset { path: "/a/b.png" }),
        ] {
            assert_eq!(Route::find(method, path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn other_methods_are_refused_with_the_allowed_ones() {
        for (method, path, allow) in [
            ("POST", "/", "GET, HEAD"),
            ("DELETE", "/index.html", "GET, HEAD"),
            ("get", "/index.html", "GET, HEAD"),
            ("PUT", "/config", "GET, HEAD"),
            ("OPTIONS", "/hello-world", "GET, HEAD"),
            ("PUT", "/writes/a", "GET, HEAD, POST"),
            ("DELETE", "/writes/a", "GET, HEAD, POST"),
        ] {
            assert_eq!(Route::find(method, path), Err(MethodNotAllowed { allow }), "{method} {path}");
        }
    }
}

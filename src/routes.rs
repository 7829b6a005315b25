//! Which job answers a request: a pure match over method and path.

/// The job that answers, with the part of the path it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'p> {
    /// `GET /healthz`
    Healthz,
    /// `GET /get-started`
    GetStarted,
    /// `GET /cache?url={URL}`
    CachedPage,
    /// `GET /config?userId={id}`
    Config,
    /// `* /stores/{storefrontId}/{path}`; `path` is what stands behind `/stores`.
    Storefront {
        /// Empty, or starts with `/`.
        path: &'p str,
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
    /// Finds the route of a request.
    pub(crate) fn find(method: &str, path: &'p str) -> Result<Self, MethodNotAllowed> {
        let route = Self::of_path(path);
        let allow = match route {
            Self::Storefront { .. } => return Ok(route),
            Self::Writes { .. } => "GET, HEAD, POST",
            _ => "GET, HEAD",
        };
        if allow.split(", ").any(|allowed| allowed == method) { Ok(route) } else { Err(MethodNotAllowed { allow }) }
    }

    /// The route as the log names it: without anything a visitor wrote.
    pub(crate) fn name(path: &'p str) -> &'static str {
        match Self::of_path(path) {
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
    pub(crate) fn is_api(path: &'p str) -> bool {
        matches!(Self::of_path(path), Self::Writes { .. })
    }

    fn of_path(path: &'p str) -> Self {
        match path {
            "/healthz" => Self::Healthz,
            "/get-started" => Self::GetStarted,
            "/cache" => Self::CachedPage,
            "/config" => Self::Config,
            "/hello-world" => Self::HelloWorld,
            _ => {
                if let Some(path) = behind("/stores", path) {
                    Self::Storefront { path }
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

//! Which job answers a request: a pure match over host, path and method.

use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::one_of_each;
use http_semantics::request_target::RequestTarget;
use http_semantics::status::Status;
use tenant_router::address::{Hosts, Named};

/// The job that answers, with the part of the path it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route<'p> {
    /// `GET /healthz`
    Healthz,
    /// `GET /get-started`
    GetStarted,
    /// `* /cache/{absolute URL}`
    Cache,
    /// `GET /cache?url={URL}`
    CachedPage,
    /// `POST /cache/purge`
    Purge,
    /// `GET /config?userId={id}`, and `POST /config`
    Config,
    /// `POST /ofrep/v1/evaluate/flags`, and `…/{key}`
    Evaluate {
        /// Still percent-encoded; `None` for all flags.
        flag: Option<&'p str>,
    },
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
    Asset,
}

/// The path takes other methods: 405 with `Allow` (RFC 9110 §15.5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodNotAllowed {
    /// The value of `Allow`.
    pub(crate) allow: &'static str,
}

impl HttpError for MethodNotAllowed {
    fn response(&self) -> ErrorResponse {
        let sentence = format!("Method not allowed; use {}.", self.allow);
        ErrorResponse::new(Status::MethodNotAllowed, "method_not_allowed", sentence).with_field("Allow", self.allow)
    }

    fn examples() -> Vec<(Self, &'static str)> {
        one_of_each! { Self { .. } => Self { allow: "GET, HEAD" }, "The path takes other methods, which `Allow` lists."; }
    }
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
            Self::Cache if method != "TRACE" => return Ok(()),
            Self::Cache => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            Self::Purge => "POST",
            Self::Evaluate { .. } => "POST, OPTIONS",
            Self::Writes { .. } | Self::Config => "GET, HEAD, POST",
            _ => "GET, HEAD",
        };
        if allow.split(", ").any(|allowed| allowed == method) { Ok(()) } else { Err(MethodNotAllowed { allow }) }
    }

    /// The route as the log names it: without anything a visitor wrote.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Healthz => "/healthz",
            Self::GetStarted => "/get-started",
            Self::Cache => "/cache/{URL}",
            Self::CachedPage => "/cache",
            Self::Purge => "/cache/purge",
            Self::Config => "/config",
            Self::Evaluate { flag: None } => "/ofrep/v1/evaluate/flags",
            Self::Evaluate { flag: Some(_) } => "/ofrep/v1/evaluate/flags/{key}",
            Self::Storefront { .. } => "/stores/{storefrontId}",
            Self::HelloWorld => "/hello-world",
            Self::Writes { .. } => "/writes/{key}",
            Self::Asset => "/{key}",
        }
    }

    /// True for the routes that programs use, whose errors are always problem details.
    pub(crate) fn is_api(&self, method: &str) -> bool {
        matches!(self, Self::Writes { .. } | Self::Purge | Self::Evaluate { .. })
            || matches!(self, Self::Config if method == "POST")
    }

    fn of_path(path: &'p str) -> Self {
        match path {
            "/healthz" => Self::Healthz,
            "/get-started" => Self::GetStarted,
            "/cache" => Self::CachedPage,
            "/cache/purge" => Self::Purge,
            "/config" => Self::Config,
            "/hello-world" => Self::HelloWorld,
            _ => {
                if behind("/cache", path).is_some() {
                    Self::Cache
                } else if behind("/stores", path).is_some() {
                    Self::Storefront { named: Named::Platform }
                } else if let Some(flag) = behind("/ofrep/v1/evaluate/flags", path) {
                    Self::Evaluate { flag: flag.strip_prefix('/') }
                } else if let Some(key) = behind("/writes", path) {
                    Self::Writes { key: key.strip_prefix('/').unwrap_or(key) }
                } else {
                    Self::Asset
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

    /// The route of a URL, and whether it takes the method.
    fn at(hosts: &Hosts, method: &str, url: &str) -> (&'static str, Result<(), MethodNotAllowed>) {
        let target = RequestTarget::parse(url);
        let route = Route::of(hosts, &target);
        (route.name(), route.check(method))
    }

    #[test]
    fn every_path_has_one_route() {
        for (path, name) in [
            ("/", "/{key}"),
            ("/index.html", "/{key}"),
            ("/healthz", "/healthz"),
            ("/healthz/", "/{key}"),
            ("/get-started", "/get-started"),
            ("/cache?url=x", "/cache"),
            ("/cache/", "/cache/{URL}"),
            ("/cache/https://a.example/b?c", "/cache/{URL}"),
            ("/cache/purge", "/cache/purge"),
            ("/cached", "/{key}"),
            ("/config", "/config"),
            ("/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags"),
            ("/ofrep/v1/evaluate/flags/a", "/ofrep/v1/evaluate/flags/{key}"),
            ("/ofrep/v1/evaluate/flags/a%2Fb/c", "/ofrep/v1/evaluate/flags/{key}"),
            ("/ofrep/v1/evaluate/flagship", "/{key}"),
            ("/ofrep/v1/configuration", "/{key}"),
            ("/hello-world", "/hello-world"),
            ("/hello-world.json", "/{key}"),
            ("/stores", "/stores/{storefrontId}"),
            ("/stores/", "/stores/{storefrontId}"),
            ("/stores/a/b", "/stores/{storefrontId}"),
            ("/storesfront", "/{key}"),
            ("/writes", "/writes/{key}"),
            ("/writes/a%2Fb", "/writes/{key}"),
            ("/writesome", "/{key}"),
        ] {
            let url = format!("https://edge.example{path}");
            assert_eq!(at(&Hosts::default(), "GET", &url).0, name, "{path}");
        }
        let target = RequestTarget::parse("https://edge.example/writes/a%2Fb");
        assert_eq!(Route::of(&Hosts::default(), &target), Route::Writes { key: "a%2Fb" });
    }

    #[test]
    fn a_host_that_names_a_storefront_comes_before_the_path_and_takes_all_methods() {
        let hosts = Hosts::parse("shops.example", "www.example");
        for url in [
            "https://tea.shops.example/healthz",
            "https://tea.shops.example/stores/coffee/x",
            "https://www.tea.example/writes/x",
            "https://a.b.shops.example/",
        ] {
            assert_eq!(at(&hosts, "PATCH", url), ("/stores/{storefrontId}", Ok(())), "{url}");
        }
        for host in ["shops.example", "www.example", "kv-edge.me.workers.dev", "127.0.0.1:8787"] {
            assert_eq!(at(&hosts, "GET", &format!("https://{host}/healthz")).0, "/healthz", "{host}");
        }
    }

    #[test]
    fn another_method_is_answered_with_the_allowed_ones() {
        for (method, path, allow) in [
            ("POST", "/", "GET, HEAD"),
            ("DELETE", "/index.html", "GET, HEAD"),
            ("get", "/index.html", "GET, HEAD"),
            ("PUT", "/config", "GET, HEAD, POST"),
            ("GET", "/ofrep/v1/evaluate/flags", "POST, OPTIONS"),
            ("PUT", "/ofrep/v1/evaluate/flags/a", "POST, OPTIONS"),
            ("OPTIONS", "/hello-world", "GET, HEAD"),
            ("PUT", "/writes/a", "GET, HEAD, POST"),
            ("GET", "/cache/purge", "POST"),
            ("POST", "/cache?url=x", "GET, HEAD"),
            ("TRACE", "/cache/https://a.example/", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            ("DELETE", "/writes/a", "GET, HEAD, POST"),
        ] {
            let url = format!("https://edge.example{path}");
            assert_eq!(at(&Hosts::default(), method, &url).1, Err(MethodNotAllowed { allow }), "{method} {path}");
        }
        for (method, path) in [("HEAD", "/"), ("POST", "/writes/a"), ("PROPFIND", "/stores/a"), ("PURGE", "/cache/x")] {
            assert_eq!(
                at(&Hosts::default(), method, &format!("https://edge.example{path}")).1,
                Ok(()),
                "{method} {path}"
            );
        }
    }
}

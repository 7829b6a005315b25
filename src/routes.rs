//! The route table: (host, path) -> job, and the methods that each route allows. Storefronts, the
//! KV REST API and the console's API get all methods, and check them themselves if they need to.

use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::one_of_each;
use http_semantics::request_target::RequestTarget;
use http_semantics::status::Status;
#[cfg(feature = "storefronts")]
use tenant_router::storefront_address::{HostMatch, Hosts};

/// The job that responds to a request, with the part of the path that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route<'p> {
    /// `GET /healthz`
    Healthz,
    /// `GET /metrics`
    #[cfg(feature = "metrics")]
    Metrics,
    /// `GET /get-started`
    #[cfg(feature = "writes")]
    GetStarted,
    /// `* /cache/{absolute URL}`
    #[cfg(feature = "cache")]
    Cache,
    /// `GET /cache?url={URL}`
    #[cfg(feature = "cache")]
    CachedPage,
    /// `POST /cache/purge`
    #[cfg(feature = "cache")]
    Purge,
    /// `GET /config?userId={id}`, and `POST /config`
    #[cfg(feature = "flags")]
    Config,
    /// `GET /console`, and `GET /console/{file}`
    #[cfg(feature = "console")]
    Console {
        /// Still percent-encoded.
        path: &'p str,
    },
    /// `* /console/api/{call}`
    #[cfg(feature = "console")]
    ConsoleApi {
        /// Still percent-encoded.
        call: &'p str,
    },
    /// `POST /ofrep/v1/evaluate/flags`, and `…/{key}`
    #[cfg(feature = "flags")]
    Evaluate {
        /// The key of the flag, still percent-encoded; `None` for all flags.
        flag: Option<&'p str>,
    },
    /// `* /client/v4/…`
    #[cfg(feature = "kv-api")]
    KvApi,
    /// `* /stores/{storefrontId}/{path}`, or any path of a host that names a storefront
    #[cfg(feature = "storefronts")]
    Storefront {
        /// The storefront that the host names; if the host is the platform's, the path names it.
        host: HostMatch<'static>,
    },
    /// `GET /hello-world`
    #[cfg(feature = "assets")]
    HelloWorld,
    /// `POST /writes/{key}`, and `GET /writes/{key}`
    #[cfg(feature = "writes")]
    Writes {
        /// Still percent-encoded.
        key: &'p str,
    },
    /// `GET /{key}`: a file. A build without `assets` responds 404.
    Asset {
        /// Still percent-encoded.
        path: &'p str,
    },
}

/// The path has other methods: 405 with `Allow` (RFC 9110 §15.5.6).
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
        one_of_each! { Self { .. } => Self { allow: "GET, HEAD" }, "The path allows other methods, which `Allow` lists."; }
    }
}

/// No job of this build has the path. The response is the one that `static-assets` has for a path
/// without a file.
#[cfg(not(feature = "assets"))]
pub(crate) struct RouteNotFound;

#[cfg(not(feature = "assets"))]
impl HttpError for RouteNotFound {
    fn response(&self) -> ErrorResponse {
        ErrorResponse::new(Status::NotFound, "not_found", "Not found").because("this build has no files")
    }

    fn examples() -> Vec<(Self, &'static str)> {
        vec![(Self, "No job of this build serves the path.")]
    }
}

impl<'p> Route<'p> {
    /// Returns the route of a request: by its host if that names a storefront, else by its path.
    pub(crate) fn of(#[cfg(feature = "storefronts")] hosts: &Hosts, target: &'p RequestTarget<'_>) -> Self {
        #[cfg(feature = "storefronts")]
        match hosts.match_host(target.authority) {
            HostMatch::Platform => {}
            host => return Self::Storefront { host },
        }
        Self::of_path(&target.path)
    }

    /// Checks that the route allows a method.
    pub(crate) fn check(&self, method: &str) -> Result<(), MethodNotAllowed> {
        let allow = match self {
            #[cfg(feature = "storefronts")]
            Self::Storefront { .. } => return Ok(()),
            // The API has an error of its own for a method.
            #[cfg(feature = "kv-api")]
            Self::KvApi => return Ok(()),
            // Each call has its own method.
            #[cfg(feature = "console")]
            Self::ConsoleApi { .. } => return Ok(()),
            // Any other method than TRACE; `Allow` names the usual ones.
            #[cfg(feature = "cache")]
            Self::Cache if method != "TRACE" => return Ok(()),
            #[cfg(feature = "cache")]
            Self::Cache => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            #[cfg(feature = "cache")]
            Self::Purge => "POST",
            #[cfg(feature = "flags")]
            Self::Evaluate { .. } => "POST, OPTIONS",
            #[cfg(feature = "flags")]
            Self::Config => "GET, HEAD, POST",
            #[cfg(feature = "writes")]
            Self::Writes { .. } => "GET, HEAD, POST",
            #[cfg(not(feature = "assets"))]
            Self::Asset { .. } => return Ok(()),
            #[cfg(feature = "assets")]
            Self::Asset { .. } | Self::HelloWorld => "GET, HEAD",
            #[cfg(feature = "cache")]
            Self::CachedPage => "GET, HEAD",
            #[cfg(feature = "console")]
            Self::Console { .. } => "GET, HEAD",
            #[cfg(feature = "metrics")]
            Self::Metrics => "GET, HEAD",
            #[cfg(feature = "writes")]
            Self::GetStarted => "GET, HEAD",
            Self::Healthz => "GET, HEAD",
        };
        if allow.split(", ").any(|allowed| allowed == method) { Ok(()) } else { Err(MethodNotAllowed { allow }) }
    }

    /// Returns the name of the route for the log and the metrics, without anything that a visitor
    /// wrote.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Healthz => "/healthz",
            #[cfg(feature = "metrics")]
            Self::Metrics => "/metrics",
            #[cfg(feature = "writes")]
            Self::GetStarted => "/get-started",
            #[cfg(feature = "cache")]
            Self::Cache => "/cache/{URL}",
            #[cfg(feature = "cache")]
            Self::CachedPage => "/cache",
            #[cfg(feature = "cache")]
            Self::Purge => "/cache/purge",
            #[cfg(feature = "flags")]
            Self::Config => "/config",
            #[cfg(feature = "console")]
            Self::Console { .. } => "/console",
            #[cfg(feature = "console")]
            Self::ConsoleApi { .. } => "/console/api/{call}",
            #[cfg(feature = "flags")]
            Self::Evaluate { flag: None } => "/ofrep/v1/evaluate/flags",
            #[cfg(feature = "flags")]
            Self::Evaluate { flag: Some(_) } => "/ofrep/v1/evaluate/flags/{key}",
            #[cfg(feature = "kv-api")]
            Self::KvApi => "/client/v4",
            #[cfg(feature = "storefronts")]
            Self::Storefront { .. } => "/stores/{storefrontId}",
            #[cfg(feature = "assets")]
            Self::HelloWorld => "/hello-world",
            #[cfg(feature = "writes")]
            Self::Writes { .. } => "/writes/{key}",
            Self::Asset { .. } => "/{key}",
        }
    }

    /// Returns true if programs use the route with this method: its errors are always JSON,
    /// problem details or the form of its protocol.
    #[cfg_attr(not(feature = "flags"), expect(unused_variables))]
    pub(crate) fn is_api(&self, method: &str) -> bool {
        match self {
            #[cfg(feature = "cache")]
            Self::Purge => true,
            #[cfg(feature = "flags")]
            Self::Evaluate { .. } => true,
            #[cfg(feature = "flags")]
            Self::Config => method == "POST",
            #[cfg(feature = "kv-api")]
            Self::KvApi => true,
            #[cfg(feature = "console")]
            Self::ConsoleApi { .. } => true,
            #[cfg(feature = "metrics")]
            Self::Metrics => true,
            #[cfg(feature = "writes")]
            Self::Writes { .. } => true,
            #[cfg(feature = "cache")]
            Self::Cache | Self::CachedPage => false,
            #[cfg(feature = "console")]
            Self::Console { .. } => false,
            #[cfg(feature = "writes")]
            Self::GetStarted => false,
            #[cfg(feature = "assets")]
            Self::HelloWorld => false,
            #[cfg(feature = "storefronts")]
            Self::Storefront { .. } => false,
            Self::Healthz | Self::Asset { .. } => false,
        }
    }

    fn of_path(path: &'p str) -> Self {
        match path {
            "/healthz" => return Self::Healthz,
            #[cfg(feature = "metrics")]
            "/metrics" => return Self::Metrics,
            #[cfg(feature = "writes")]
            "/get-started" => return Self::GetStarted,
            #[cfg(feature = "cache")]
            "/cache" => return Self::CachedPage,
            #[cfg(feature = "cache")]
            "/cache/purge" => return Self::Purge,
            #[cfg(feature = "flags")]
            "/config" => return Self::Config,
            #[cfg(feature = "assets")]
            "/hello-world" => return Self::HelloWorld,
            _ => {}
        }
        #[cfg(feature = "cache")]
        if strip_segments("/cache", path).is_some() {
            return Self::Cache;
        }
        #[cfg(feature = "console")]
        if let Some(call) = path.strip_prefix("/console/api/") {
            return Self::ConsoleApi { call };
        }
        #[cfg(feature = "console")]
        if strip_segments("/console", path).is_some() {
            return Self::Console { path };
        }
        #[cfg(feature = "kv-api")]
        if strip_segments(kv_api::call::ROOT, path).is_some() {
            return Self::KvApi;
        }
        #[cfg(feature = "storefronts")]
        if strip_segments("/stores", path).is_some() {
            return Self::Storefront { host: HostMatch::Platform };
        }
        #[cfg(feature = "flags")]
        if let Some(flag) = strip_segments("/ofrep/v1/evaluate/flags", path) {
            return Self::Evaluate { flag: flag.strip_prefix('/') };
        }
        #[cfg(feature = "writes")]
        if let Some(key) = strip_segments("/writes", path) {
            return Self::Writes { key: key.strip_prefix('/').unwrap_or(key) };
        }
        Self::Asset { path }
    }
}

/// Returns what follows a prefix of the path, if the prefix ends at a segment. (Each job with such
/// a route also reads bodies of requests.)
#[cfg(feature = "request-bodies")]
fn strip_segments<'p>(prefix: &str, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
#[cfg(feature = "default")]
mod tests {
    use super::*;

    /// Returns the route of a URL, and whether it allows the method.
    fn at(hosts: &Hosts, method: &str, url: &str) -> (&'static str, Result<(), MethodNotAllowed>) {
        let target = RequestTarget::parse(url);
        let route = Route::of(hosts, &target);
        (route.name(), route.check(method))
    }

    #[test]
    fn a_path_of_no_other_route_is_a_file_and_a_prefix_ends_at_a_segment() {
        for (path, name) in [
            ("/", "/{key}"),
            ("/index.html", "/{key}"),
            ("/healthz", "/healthz"),
            ("/healthz/", "/{key}"),
            ("/metrics", "/metrics"),
            ("/metrics.html", "/{key}"),
            ("/get-started", "/get-started"),
            ("/cache?url=x", "/cache"),
            ("/cache/", "/cache/{URL}"),
            ("/cache/https://a.example/b?c", "/cache/{URL}"),
            ("/cache/purge", "/cache/purge"),
            ("/cached", "/{key}"),
            ("/client/v4/accounts", "/client/v4"),
            ("/client/v4", "/client/v4"),
            ("/client/v4x", "/{key}"),
            ("/client", "/{key}"),
            ("/config", "/config"),
            ("/console", "/console"),
            ("/console/", "/console"),
            ("/console/app.js", "/console"),
            ("/console/api", "/console"),
            ("/console/api/session", "/console/api/{call}"),
            ("/consoles", "/{key}"),
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
            for method in ["GET", "PATCH", "TRACE", "PURGE"] {
                assert_eq!(at(&hosts, method, url), ("/stores/{storefrontId}", Ok(())), "{method} {url}");
            }
        }
        for host in ["shops.example", "www.example", "kv-edge.me.workers.dev", "127.0.0.1:8787"] {
            assert_eq!(at(&hosts, "GET", &format!("https://{host}/healthz")).0, "/healthz", "{host}");
        }
    }

    #[test]
    fn a_method_that_is_not_allowed_gets_allowed_ones() {
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

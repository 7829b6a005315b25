//! Request fields by which a proxy tells the server behind it what the client asked for and who
//! the client is. A client must not be able to send these itself.
//!
//! Servers and frameworks read host, scheme, path, method and client from such fields instead of
//! from the request. No cache key includes these fields. So a response that a visitor
//! distorted with one would be stored for all visitors ("web cache poisoning by unkeyed headers";
//! RFC 7239 §8.1; RFC 9440 §2.4 for `Client-Cert`). kv-edge is directly behind the proxy of
//! Cloudflare, which says who the visitor is in fields that begin with `CF-`.
//!
//! Fields that browsers and their scripts send stay (`Origin`, `Referer`, `X-Requested-With`,
//! `X-Nextjs-Data`, …): a server whose response depends on them has to say so in `Vary`.
//!
//! ```
//! use http_semantics::forwarding_fields::{is_set_by_cloudflare, is_stripped};
//!
//! assert!(is_stripped("X-Forwarded-Host") && is_stripped("x_forwarded_host"));
//! assert!(!is_stripped("X-Requested-With"));
//! assert!(is_set_by_cloudflare("CF-IPCountry") && !is_stripped("CF-IPCountry"));
//! assert!(is_stripped("CF_IPCountry"), "normalized so by a visitor, never by Cloudflare");
//! ```

use std::borrow::Cow;

/// How the names of fields begin that a proxy, a platform or kv-edge itself sends; sorted.
const PREFIXES: [&str; 33] = [
    "cloudfront-",
    "fly-",
    "forwarded-",
    "ssl-client-",
    "x-accel-",
    "x-akamai-",
    "x-amzn-oidc-",
    "x-amzn-remapped-",
    "x-appengine-",
    "x-arr-",
    "x-astro-",
    "x-auth-request-",
    "x-azure-",
    "x-envoy-",
    "x-force-variant",
    "x-forward-",
    "x-forwarded-",
    "x-geoip-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-http-",
    "x-invoke-",
    "x-middleware-",
    "x-ms-client-principal",
    "x-nf-",
    "x-original-",
    "x-originally-",
    "x-proxy-",
    "x-react-router-",
    "x-remote-",
    "x-rewrite-",
    "x-ssl-",
    "x-vercel-",
];

/// Whole names; sorted. CGI turns `Proxy` into the variable `HTTP_PROXY` ("httpoxy"), and
/// `Surrogate-Capability` makes a server respond with markup that only a surrogate understands.
const NAMES: [&str; 133] = [
    "akamai-origin-hop",
    "ali-cdn-real-ip",
    "base-url",
    "cdn-client-ip",
    "cdn-src-ip",
    "client-address",
    "client-cert",
    "client-cert-chain",
    "client-ip",
    "clientip",
    "context-path",
    "disguised-host",
    "fastly-client-ip",
    "fastly-orig-host",
    "fastly-ssl",
    "forwarded",
    "front-end-https",
    "host-name",
    "http-host",
    "http-method-override",
    "http-url",
    "https",
    "https-from-lb",
    "incap-client-ip",
    "iv-groups",
    "iv-user",
    "method",
    "method-override",
    "orig-path-info",
    "path",
    "path-base",
    "path-info",
    "path-translated",
    "protocol",
    "proxy",
    "proxy-client-ip",
    "proxy-host",
    "proxy-request-fulluri",
    "proxy-url",
    "query-string",
    "querystring",
    "real-ip",
    "real-method",
    "remote-addr",
    "remote-host",
    "remote-user",
    "request-method",
    "request-uri",
    "scheme",
    "script-name",
    "server-name",
    "server-port",
    "ssl-https",
    "ssl-offloaded",
    "surrogate-capability",
    "translate",
    "true-client-ip",
    "unencoded-url",
    "uri",
    "url",
    "was-default-hostname",
    "wl-proxy-client-ip",
    "x-ajax-real-method",
    "x-amz-website-redirect-location",
    "x-apigateway-event",
    "x-authenticated-user",
    "x-azc-remote-addr",
    "x-backend-host",
    "x-base-path",
    "x-base-url",
    "x-bluecoat-via",
    "x-cf-url",
    "x-client-cert",
    "x-client-dn",
    "x-client-host",
    "x-client-ip",
    "x-client-port",
    "x-client-verify",
    "x-clientip",
    "x-cluster-client-ip",
    "x-context-path",
    "x-custom-ip-authorization",
    "x-external-host",
    "x-fastly-orig-host",
    "x-fb-user-remote-addr",
    "x-forwarded",
    "x-forwarder-for",
    "x-gateway-host",
    "x-host",
    "x-host-override",
    "x-hostname",
    "x-https",
    "x-ingress-path",
    "x-ip",
    "x-ip-trail",
    "x-kaltura-remote-addr",
    "x-matched-path",
    "x-method",
    "x-method-override",
    "x-ms-original-url",
    "x-nfsn-https",
    "x-ning-request-uri",
    "x-now-route-matches",
    "x-orchestra-scheme",
    "x-orig-client",
    "x-orig-host",
    "x-originating-ip",
    "x-originating-url",
    "x-override-host",
    "x-override-method",
    "x-override-url",
    "x-prerender-revalidate",
    "x-proxyuser-ip",
    "x-real-host",
    "x-real-ip",
    "x-request-uri",
    "x-requested-host",
    "x-sakura-forwarded-for",
    "x-scheme",
    "x-script-name",
    "x-sendfile-type",
    "x-server-name",
    "x-server-port",
    "x-ssl",
    "x-subdomain",
    "x-teamsite-preremap",
    "x-true-client-ip",
    "x-url-scheme",
    "x-wap-network-client-ip",
    "x-wap-profile",
    "x-waws-unencoded-url",
    "x-webauth-user",
    "xxx-real-ip",
];

/// Returns true for a field of a visitor that no upstream gets. `X-Force-Variant-Token` is one,
/// because it carries `API_TOKEN`. Case does not matter, and `_` counts as `-`: servers that turn
/// fields into variables (CGI, WSGI, PHP) do not tell the two apart.
#[must_use]
pub fn is_stripped(name: &str) -> bool {
    let normalized = normalized(name);
    let is_disguised = name.contains('_') && (normalized.starts_with("cf-") || normalized == "cdn-loop");
    is_disguised
        || NAMES.binary_search(&&*normalized).is_ok()
        || PREFIXES.iter().any(|prefix| normalized.starts_with(prefix))
}

/// Returns true for a field by which Cloudflare says who the visitor is (`CF-Connecting-IP`,
/// `CF-IPCountry`, `CF-Ray`, `CF-Visitor`, `CF-Access-*`, …). On Cloudflare the value is
/// true, so a server whose responses are not shared may get it. But it describes one visitor, and
/// no cache key includes it, so a request whose response is stored for all visitors is sent
/// without.
#[must_use]
pub fn is_set_by_cloudflare(name: &str) -> bool {
    normalized(name).starts_with("cf-")
}

/// Returns the name in lower case, with `-` for `_`.
fn normalized(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte == b'_' || byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase().replace('_', "-"))
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_without_duplicates() {
        let is_before = |one: &&str, other: &&str| one < other;
        assert!(NAMES.is_sorted_by(is_before) && PREFIXES.is_sorted_by(is_before));
        for name in NAMES {
            assert!(!PREFIXES.iter().any(|prefix| name.starts_with(prefix)), "{name}");
        }
    }

    #[test]
    fn fields_about_host_url_scheme_method_and_client_are_stripped() {
        for name in [
            "Forwarded",
            "X-Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Path",
            "X-Forwarded-Port",
            "X-Forwarded-Prefix",
            "X-Forwarded-Proto",
            "X-Forwarded-Scheme",
            "X-Forwarded-Server",
            "X-Forwarded-Ssl",
            "X-Forward-For",
            "X-Host",
            "X-HTTP-Host-Override",
            "X-HTTP-Method",
            "X-HTTP-Method-Override",
            "X-HTTP-DestinationURL",
            "X-Method-Override",
            "X-Original-Host",
            "X-Original-URL",
            "X-Originating-URL",
            "X-Rewrite-URL",
            "X-Proxy-URL",
            "X-Envoy-Original-Path",
            "X-Middleware-Subrequest",
            "X-Invoke-Status",
            "X-Now-Route-Matches",
            "X-Url-Scheme",
            "X-Wap-Profile",
            "Front-End-Https",
            "True-Client-IP",
            "X-Client-IP",
            "X-Cluster-Client-IP",
            "X-Real-IP",
            "Fastly-Client-IP",
            "Client-Cert",
            "Proxy",
            "Surrogate-Capability",
            "X-Accel-Mapping",
            "X-Force-Variant",
            "X-Force-Variant-Token",
            "X_Forwarded_Host",
            "x_original-url",
            "CF_Connecting_IP",
            "cf-connecting_ip",
            "CDN_Loop",
        ] {
            assert!(
                is_stripped(name) && is_stripped(&name.to_lowercase()) && is_stripped(&name.to_uppercase()),
                "{name}"
            );
        }
    }

    #[test]
    fn fields_of_browsers_scripts_and_cloudflare_stay() {
        for name in [
            "Accept",
            "Accept-Language",
            "Authorization",
            "CDN-Loop",
            "CF-Connecting-IP",
            "CF-IPCountry",
            "Client-Version",
            "Cookie",
            "Host",
            "If-None-Match",
            "Origin",
            "Range",
            "Referer",
            "Sec-Fetch-Mode",
            "Traceparent",
            "User-Agent",
            "Via",
            "X-Amz-Date",
            "X-Api-Key",
            "X-Client-Id",
            "X-CSRF-Token",
            "X-Nextjs-Data",
            "X-Real-Estate",
            "X-Request-Id",
            "X-Requested-With",
            "X-Storefront",
        ] {
            assert!(!is_stripped(name), "{name}");
        }
    }

    #[test]
    fn fields_with_the_prefix_cf_are_set_by_cloudflare() {
        for (name, expected) in [
            ("CF-Connecting-IP", true),
            ("cf-ipcountry", true),
            ("CF-Ray", true),
            ("CF-Access-Client-Secret", true),
            ("CDN-Loop", false),
            ("Cookie", false),
        ] {
            assert_eq!(is_set_by_cloudflare(name), expected, "{name}");
        }
    }
}

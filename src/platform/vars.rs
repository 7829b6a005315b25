//! The table of all vars and secrets. `docs/configuration.md` explains each of them, and
//! `wrangler.toml` each var.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::platform::env::RuntimeEnv;

#[cfg(feature = "token")]
use http_semantics::authorization;
#[cfg(feature = "forwarding")]
use http_semantics::upstream_timeout::UpstreamTimeout;
#[cfg(feature = "kv-api")]
use kv_api::{namespace::WritableBindings, token::TokenKey};
#[cfg(feature = "memory")]
use kv_store::record_cache::refresh_ms;
#[cfg(feature = "storefronts")]
use tenant_router::{storefront_address::Hosts, storefront_record::OriginPolicy, visitor::VisitorKey};
#[cfg(feature = "flags")]
use {
    feature_flags::config::snapshot,
    feature_flags::config::user_id::{InvalidUserIdFrom, UserIdFrom},
    http_semantics::cors::CorsOrigins,
    kv_store::limits::Key,
};
#[cfg(feature = "cache")]
use {http_cache::credentials::CredentialFields, http_semantics::origin::OriginAllowList};

/// Declares what the Worker knows of its vars and secrets: the features that need it, the names of
/// the vars, and a field with its type and the parser that gets their texts. The text of a var
/// that is not set is empty. A number after `or` replaces a text that is no number.
macro_rules! vars {
    ($($($feature:literal),+: $($name:ident),+ $(or $default:literal)? => $field:ident: $type:ty = $parser:path;)+) => {
        /// The parsed vars and secrets. They are constant for the lifetime of an isolate.
        pub(crate) struct Vars {
            $(
                #[doc = concat!($("`", stringify!($name), "` "),+)]
                #[cfg(any($(feature = $feature),+))]
                pub(crate) $field: $type,
            )+
        }

        impl Vars {
            $(
                #[cfg(any($(feature = $feature),+))]
                pub(super) fn $field(env: &RuntimeEnv) -> $type {
                    $parser($(&*env.text(stringify!($name))),+ $(, $default)?)
                }
            )+

            fn read(env: &RuntimeEnv) -> Self {
                Self {
                    $(
                        #[cfg(any($(feature = $feature),+))]
                        $field: Self::$field(env),
                    )+
                }
            }
        }

        /// Returns the names of each line, with the number after `or`.
        #[cfg(test)]
        fn lines() -> Vec<(Vec<&'static str>, Option<u64>)> {
            vec![$((vec![$(stringify!($name)),+], None::<u64>$(.or(Some($default)))?)),+]
        }
    };
}

vars! {
    "cache": CACHE_UPSTREAMS => cache_upstreams: OriginAllowList = OriginAllowList::of_origins;
    "cache": CACHE_CREDENTIALS => cache_credentials: CredentialFields = CredentialFields::parse;
    "cache": CACHE_REFRESH or 10 => cache_refresh_ms: u64 = refresh_ms;
    "storefronts": ROUTING_ORIGINS, ROUTING_INSECURE => routing_origins: OriginPolicy = OriginPolicy::of_vars;
    "storefronts": ROUTING_REFRESH or 10 => routing_refresh_ms: u64 = refresh_ms;
    "assets": ASSETS_REFRESH or 30 => assets_refresh_ms: u64 = refresh_ms;
    "flags": USER_ID_FROM => user_id_from: Result<UserIdFrom, InvalidUserIdFrom> = UserIdFrom::parse;
    "flags", "kv-api": CONFIG_REFRESH or 30 => config_refresh_ms: u64 = refresh_ms;
    "flags": CONFIG_PREFIX => config_prefix: String = String::from;
    "flags": CONFIG_SNAPSHOT => config_snapshot: Option<Key<'static>> = snapshot::parse_key;
    "flags": OFREP_ORIGINS => ofrep_origins: CorsOrigins = CorsOrigins::parse;
    "kv-api": KV_API_WRITABLE => kv_api_writable: WritableBindings = WritableBindings::parse;
    "kv-api": KV_API_NAMESPACES => kv_api_namespaces: String = String::from;
    "metrics": METRICS => metrics_are_on: bool = metrics::is_on;
    "storefronts": TENANT_DOMAIN, PLATFORM_HOSTS => hosts: Hosts = Hosts::parse;
    "forwarding": UPSTREAM_TIMEOUT_MS or 10_000 => upstream_timeout: UpstreamTimeout = UpstreamTimeout::parse;
    "token": API_TOKEN => token: Option<String> = authorization::secret;
    "kv-api": TOKEN_SECRET, API_TOKEN => token_key: Option<TokenKey> = TokenKey::of_secrets;
    "storefronts": VISITOR_SECRET, API_TOKEN => visitor_key: Option<VisitorKey> = VisitorKey::of_secrets;
}

thread_local!(static VARS: OnceCell<Rc<Vars>> = const { OnceCell::new() });

impl Vars {
    /// Returns the vars of this isolate, which the first call parses.
    pub(crate) fn of(env: &RuntimeEnv) -> Rc<Self> {
        VARS.with(|vars| Rc::clone(vars.get_or_init(|| Rc::new(Self::read(env)))))
    }

    /// Returns true if hosts name storefronts (`TENANT_DOMAIN`). The route of a request depends on
    /// it, so it is known before there is a response; before the first call of `of` it is false.
    pub(crate) fn hosts_name_storefronts() -> bool {
        #[cfg(feature = "storefronts")]
        return VARS.with(|vars| vars.get().is_some_and(|vars| vars.hosts.name_storefronts()));
        #[cfg(not(feature = "storefronts"))]
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const WRANGLER_TOML: &str = include_str!("../../wrangler.toml");
    const PAGE: &str = include_str!("../../docs/configuration.md");

    /// Returns the vars of a table of `wrangler.toml` with their values.
    fn vars(table: &str) -> Vec<(&'static str, String)> {
        let lines = WRANGLER_TOML.lines().skip_while(|line| *line != table).skip(1);
        let pairs = lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
        pairs.filter_map(|line| line.split_once(" = ")).map(|(name, value)| (name, value.replace('"', ""))).collect()
    }

    /// Returns the names of a table of the page, each with its last column.
    fn rows(heading: &str) -> Vec<(&'static str, &'static str)> {
        let table = PAGE.lines().skip_while(|line| *line != heading).skip(1);
        let rows = table.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
        rows.map_while(|row| {
            let (name, rest) = row.strip_prefix("| `")?.split_once("` |")?;
            Some((name, rest.strip_suffix(" |")?.rsplit_once("| ")?.1))
        })
        .collect()
    }

    #[test]
    fn the_page_of_the_configuration_lists_each_var_and_each_secret() {
        let listed: BTreeSet<&str> = [rows("## Vars"), rows("## Secrets")].concat().iter().map(|row| row.0).collect();
        let names: BTreeSet<&str> = lines().into_iter().flat_map(|(names, _)| names).collect();
        assert_eq!(listed, names);
    }

    #[test]
    fn wrangler_toml_sets_each_var_to_its_default_in_each_environment() {
        let default = |text: &str| if text.starts_with("none") { String::new() } else { text.replace('`', "") };
        let defaults: Vec<_> = rows("## Vars").into_iter().map(|(name, text)| (name, default(text))).collect();
        for table in ["[vars]", "[env.staging.vars]", "[env.production.vars]"] {
            assert_eq!(vars(table), defaults, "{table}");
        }
    }

    #[test]
    fn the_default_of_a_number_is_that_of_wrangler_toml() {
        for (names, default) in lines() {
            let Some(number) = default else { continue };
            assert!(vars("[vars]").contains(&(names[0], number.to_string())), "{names:?}");
        }
    }
}

//! The table of all vars: their names, types and defaults. `wrangler.toml` explains each of them.

#![allow(dead_code, reason = "a Worker of fewer jobs reads fewer vars")]

use super::RuntimeEnv;

/// Declares each var with its type and the value that it has in `wrangler.toml`. A number falls
/// back to that value if the var is not set or not valid; a text that is not set is empty.
macro_rules! vars {
    ($($name:ident: $kind:ident = $default:expr;)+) => {
        $(pub(super) const $name: $kind = $kind::new(stringify!($name), $default);)+

        /// Returns all vars with their defaults, in the order of `wrangler.toml`.
        #[cfg(test)]
        fn all() -> Vec<(&'static str, String)> {
            vec![$((stringify!($name), $default.to_string())),+]
        }
    };
}

vars! {
    CACHE_UPSTREAMS: TextVar = "https://example.com";
    CACHE_CREDENTIALS: TextVar = "";
    CACHE_REFRESH: SecondsVar = 10;
    ROUTING_ORIGINS: TextVar = "";
    ROUTING_INSECURE: BooleanVar = false;
    ROUTING_REFRESH: SecondsVar = 10;
    ASSETS_REFRESH: SecondsVar = 30;
    USER_ID_FROM: TextVar = "query";
    CONFIG_REFRESH: SecondsVar = 30;
    CONFIG_PREFIX: TextVar = "";
    CONFIG_SNAPSHOT: TextVar = "";
    OFREP_ORIGINS: TextVar = "";
    KV_API_WRITABLE: TextVar = "";
    KV_API_NAMESPACES: TextVar = "";
    METRICS: TextVar = "";
    TENANT_DOMAIN: TextVar = "";
    PLATFORM_HOSTS: TextVar = "";
    UPSTREAM_TIMEOUT_MS: MillisecondsVar = 10_000;
}

/// A text, which a crate parses.
pub(super) struct TextVar(&'static str);

impl TextVar {
    const fn new(name: &'static str, _in_wrangler_toml: &'static str) -> Self {
        Self(name)
    }

    pub(super) fn read(&self, env: &RuntimeEnv) -> String {
        env.text(self.0)
    }
}

/// A switch: on for `true` in any case of letters, off for anything else.
pub(super) struct BooleanVar(&'static str);

impl BooleanVar {
    const fn new(name: &'static str, _in_wrangler_toml: bool) -> Self {
        Self(name)
    }

    pub(super) fn read(&self, env: &RuntimeEnv) -> bool {
        is_true(&env.text(self.0))
    }
}

/// A lifetime in memory: whole seconds, an hour at most.
pub(super) struct SecondsVar {
    name: &'static str,
    default: u64,
}

impl SecondsVar {
    const MAX: u64 = 3600;

    const fn new(name: &'static str, default: u64) -> Self {
        Self { name, default }
    }

    /// Returns the value in milliseconds.
    pub(super) fn read_ms(&self, env: &RuntimeEnv) -> u64 {
        self.parse_ms(&env.text(self.name))
    }

    fn parse_ms(&self, text: &str) -> u64 {
        number(text, self.default).min(Self::MAX) * 1000
    }
}

/// Whole milliseconds, unbounded: the user of the value bounds it.
pub(super) struct MillisecondsVar {
    name: &'static str,
    default: u64,
}

impl MillisecondsVar {
    const fn new(name: &'static str, default: u64) -> Self {
        Self { name, default }
    }

    pub(super) fn read(&self, env: &RuntimeEnv) -> u64 {
        number(&env.text(self.name), self.default)
    }
}

fn number(text: &str, default: u64) -> u64 {
    text.trim().parse().unwrap_or(default)
}

fn is_true(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("true")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRANGLER_TOML: &str = include_str!("../../../wrangler.toml");
    const PAGE: &str = include_str!("../../../docs/configuration.md");

    /// Returns the vars of a table of `wrangler.toml` with their values.
    fn vars(table: &str) -> Vec<(&'static str, String)> {
        let lines = WRANGLER_TOML.lines().skip_while(|line| *line != table).skip(1);
        let pairs = lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
        pairs.filter_map(|line| line.split_once(" = ")).map(|(name, value)| (name, value.replace('"', ""))).collect()
    }

    #[test]
    fn wrangler_toml_sets_each_var_in_each_environment() {
        for table in ["[vars]", "[env.staging.vars]", "[env.production.vars]"] {
            assert_eq!(vars(table), all(), "{table}");
        }
    }

    #[test]
    fn the_page_of_the_configuration_lists_each_var_with_its_default() {
        let table =
            PAGE.lines().skip_while(|line| *line != "## Vars").skip(1).take_while(|line| !line.starts_with("## "));
        let rows = table.filter(|line| line.starts_with("| `"));
        let rows = rows.map_while(|row| {
            let (name, rest) = row.strip_prefix("| `")?.split_once("` |")?;
            let (_, default) = rest.strip_suffix(" |")?.rsplit_once("| ")?;
            Some((name, if default.starts_with("none") { String::new() } else { default.replace('`', "") }))
        });
        assert_eq!(rows.collect::<Vec<_>>(), all());
    }

    #[test]
    fn an_invalid_number_is_the_default() {
        for (text, seconds) in [("5", 5), (" 0 ", 0), ("3601", 3600), ("", 10), ("soon", 10), ("-1", 10)] {
            assert_eq!(CACHE_REFRESH.parse_ms(text), seconds * 1000, "{text}");
        }
        for (text, milliseconds) in [("500", 500), (" 500 ", 500), ("0", 0), ("", 10_000), ("-1", 10_000)] {
            assert_eq!(number(text, UPSTREAM_TIMEOUT_MS.default), milliseconds, "{text}");
        }
    }

    #[test]
    fn only_true_switches_on() {
        assert!(is_true("true") && is_true("True"));
        assert!(!is_true("") && !is_true("false") && !is_true("1") && !is_true("yes"));
    }
}

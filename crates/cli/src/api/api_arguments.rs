//! Which API to use, with which credentials, and which namespace a name means.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::Arg;

use super::argument_names::ArgumentNames;
use super::client::ApiClient;
use super::endpoint::{ApiBase, ApiEndpoint, ApiService, ApiToken, segment};
use super::{ApiError, Namespace};
use crate::number::whole;
use crate::progress::Progress;

const CLOUDFLARE: &str = "https://api.cloudflare.com/client/v4";
/// The most names that a message lists.
const NAMED_MAX: usize = 10;

/// The arguments that select an account, and the API through which it is reached.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AccountArguments {
    /// The ID of the Cloudflare account
    #[arg(long, value_name = "ID", env = "CLOUDFLARE_ACCOUNT_ID", hide_env_values = true, value_parser = account)]
    pub(super) account: Option<String>,

    #[arg(
        long,
        value_name = "URL",
        value_parser = ApiBase::parse,
        help = "The API to use, with the token in CLOUDFLARE_API_TOKEN [default: https://api.cloudflare.com/client/v4]"
    )]
    pub(super) api_base: Option<ApiBase>,

    /// Give up a call to the API that has not succeeded after this time, retries included
    #[arg(long, value_name = "SECONDS", default_value_t = 900, allow_negative_numbers = true, value_parser = whole(1_u64..=86_400))]
    pub(super) deadline: u64,
}

/// The arguments that select an API and an account.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("local", local_address))]
pub(super) struct ApiArguments {
    #[command(flatten)]
    pub(super) account: AccountArguments,

    #[arg(
        long,
        help = "Use the local KV of a running `wrangler dev` instead, without a token; write another address as --local=localhost:8800 or --local=8800 [default URL: http://localhost:8787]",
        conflicts_with = "api_base",
        value_parser = ApiBase::parse_local
    )]
    pub(super) local: Option<ApiBase>,
}

/// Makes an argument take the address of `wrangler dev`, or none for the usual one.
pub(super) fn local_address(argument: Arg) -> Arg {
    argument
        .value_name("URL")
        .num_args(0..=1)
        // Otherwise `push --local static` would read the folder as the URL.
        .require_equals(true)
        .default_missing_value("http://localhost:8787")
}

/// The variable with the token for an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenVariable {
    /// `CLOUDFLARE_API_TOKEN`.
    Source,
    /// `TO_CLOUDFLARE_API_TOKEN`.
    Destination,
    /// `TO_CLOUDFLARE_API_TOKEN`, or else `CLOUDFLARE_API_TOKEN`.
    DestinationOrSource,
}

/// A token from the environment, and the names of the arguments that it belongs to.
pub(super) struct EnvironmentToken {
    names: &'static ArgumentNames,
    token: String,
}

impl TokenVariable {
    pub(super) fn read(self) -> EnvironmentToken {
        // A token that is not UTF-8 gets replacement characters here and is then refused as
        // broken.
        let read = |names: &'static ArgumentNames| {
            let token = std::env::var_os(names.token).unwrap_or_default();
            EnvironmentToken { names, token: token.to_string_lossy().trim().to_owned() }
        };
        match self {
            Self::Source => read(&ArgumentNames::SOURCE),
            Self::Destination => read(&ArgumentNames::DESTINATION),
            Self::DestinationOrSource => Some(read(&ArgumentNames::DESTINATION))
                .filter(|given| !given.token.is_empty())
                .unwrap_or_else(|| read(&ArgumentNames::DESTINATION_WITH_SOURCE_TOKEN)),
        }
    }
}

/// Why the namespace, or the metrics, cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(
        "no account is given; use {} ID or set CLOUDFLARE_ACCOUNT_ID (`npx wrangler whoami` lists yours){}",
        .names.account, or_local(*.service, .names)
    )]
    NoAccount { service: ApiService, names: &'static ArgumentNames },
    #[error("no namespace is given; use --namespace with the ID or the title of one")]
    NotNamed,
    #[error(
        "{} is not set; make a token with the permission \"{}\" at \
         https://dash.cloudflare.com/profile/api-tokens and set it{}",
        .names.token, .service.permission(), or_local(*.service, .names)
    )]
    NoToken { service: ApiService, names: &'static ArgumentNames },
    #[error("{0} is not a valid token: it contains white space or other characters that no token has; copy it again")]
    BrokenToken(&'static str),
    #[error("{0} is not encrypted, so the token is not sent there; use https")]
    Unencrypted(String),
    #[error(
        "`wrangler dev` at {0} has no metrics; Cloudflare keeps them for the namespaces of an account, so omit \
         --api-base"
    )]
    NoAnalytics(String),
    #[error("there is no namespace {name:?} {at}; {}", there(.known, .names))]
    NoNamespace { name: String, at: &'static str, known: Vec<String>, names: &'static ArgumentNames },
    #[error(
        "several namespaces have the title {name:?}; use {} with the ID of one of them: {}",
        .names.namespace, listed(.ids)
    )]
    Ambiguous { name: String, ids: Vec<String>, names: &'static ArgumentNames },
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// Returns the hint to use `--local`, if the API has a local form.
fn or_local(service: ApiService, names: &ArgumentNames) -> String {
    match service {
        ApiService::Kv | ApiService::LocalKv => format!(", or use {} for the KV of `wrangler dev`", names.local),
        ApiService::Analytics => String::new(),
    }
}

/// Parses an account id, which becomes part of paths. An empty one counts as not given:
/// scripts may set the variable to an empty value.
pub(super) fn account(id: &str) -> Result<String, String> {
    let id = id.trim();
    if id.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return Err("this is not an account ID (32 hex digits); `npx wrangler whoami` lists yours".to_owned());
    }
    Ok(id.to_owned())
}

/// Returns the error message if an address follows `--local` or `--to-local` as an argument of its
/// own, which would be read as a folder, for example. What names a file is no address.
pub(crate) fn misplaced_address(arguments: impl Iterator<Item = OsString>) -> Option<String> {
    let arguments: Vec<OsString> = arguments.take_while(|argument| argument != "--").collect();
    let misplaced = |pair: &[OsString]| {
        let [option, next] = pair else { return None };
        let option = option.to_str().filter(|option| ["--local", "--to-local"].contains(option))?;
        let address = next.to_str().filter(|text| is_address(text) && !Path::new(text).exists())?;
        Some(format!("{option} needs its address after an equals sign: {option}={address}"))
    };
    arguments.windows(2).find_map(misplaced)
}

/// Returns true for `http://localhost:8800`, `localhost`, `localhost:8800` and `8800`.
fn is_address(text: &str) -> bool {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    let has_port = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && is_port(port));
    text.contains("://") || text == "localhost" || is_port(text) || has_port
}

fn there(known: &[String], names: &ArgumentNames) -> String {
    if known.is_empty() {
        return format!("it has no namespaces at all; check {} and wrangler.toml", names.account);
    }
    format!("use {} with one of these: {}", names.namespace, listed(known))
}

/// Joins names with commas: the first ten, and how many more there are.
pub(crate) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let first: Vec<&str> = names.iter().take(NAMED_MAX).map(AsRef::as_ref).collect();
    let more = names.len() - first.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", first.join(", "))
}

impl ApiArguments {
    /// Returns true for the API of `wrangler dev`: with `--local`, or if `--api-base` has the path
    /// of that API.
    pub(super) fn is_local(&self) -> bool {
        self.base().is_local()
    }

    /// Returns the namespace with this id or title. Lists the namespaces of the account, unless
    /// the name is an id and the API is not local.
    pub(super) fn open(
        &self,
        namespace: &str,
        token: TokenVariable,
        progress: &Progress,
    ) -> Result<Namespace, OpenError> {
        let token = token.read();
        let endpoint = self.endpoint(&token)?;
        // The local API accepts any id and serves an empty namespace for it, so a typing mistake
        // would go unnoticed.
        let is_known = is_id(namespace) && !endpoint.is_local();
        let client = self.account.client(endpoint, progress);
        let opened = Namespace::new(client, namespace);
        if is_known {
            return Ok(opened);
        }
        let all = opened.namespaces()?;
        let id = find(namespace, &all, opened.is_local(), token.names)?;
        Ok(opened.with_id(id))
    }

    /// Returns the address of the API.
    pub(super) fn base(&self) -> ApiBase {
        self.local.clone().unwrap_or_else(|| self.account.base())
    }

    fn endpoint(&self, given: &EnvironmentToken) -> Result<ApiEndpoint, OpenError> {
        let base = self.base();
        if base.is_local() {
            let (service, account_path) = (ApiService::LocalKv, String::new());
            return Ok(ApiEndpoint { base, service, names: given.names, account_path, token: None });
        }
        self.account.endpoint(given, ApiService::Kv)
    }
}

impl AccountArguments {
    /// Returns the address of the API.
    pub(super) fn base(&self) -> ApiBase {
        self.api_base.clone().unwrap_or_else(|| ApiBase { url: CLOUDFLARE.to_owned(), is_loopback: false })
    }

    /// Returns the id of the account.
    pub(super) fn id(&self, service: ApiService, names: &'static ArgumentNames) -> Result<&str, OpenError> {
        let id = self.account.as_deref().map(str::trim).filter(|account| !account.is_empty());
        id.ok_or(OpenError::NoAccount { service, names })
    }

    pub(super) fn client(&self, endpoint: ApiEndpoint, progress: &Progress) -> ApiClient {
        ApiClient::new(endpoint, Duration::from_secs(self.deadline), progress.clone())
    }

    /// Returns the endpoint of an API of the account.
    pub(super) fn endpoint(&self, given: &EnvironmentToken, service: ApiService) -> Result<ApiEndpoint, OpenError> {
        let &EnvironmentToken { names, ref token } = given;
        let base = self.base();
        let account = self.id(service, names)?;
        if token.is_empty() {
            return Err(OpenError::NoToken { service, names });
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(OpenError::BrokenToken(names.token));
        }
        if !base.url.starts_with("https:") && !base.is_loopback {
            return Err(OpenError::Unencrypted(base.url));
        }
        let account_path = format!("/accounts/{}", segment(account));
        let token = ApiToken { token: token.clone(), authorization: format!("Bearer {token}") };
        Ok(ApiEndpoint { base, service, names, account_path, token: Some(token) })
    }
}

/// Returns true for a namespace id of Cloudflare: 32 hex digits.
fn is_id(namespace: &str) -> bool {
    namespace.len() == 32 && namespace.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the id of the namespace that a name means: an id, or else a title.
fn find(
    name: &str,
    all: &[ListedNamespace],
    is_local: bool,
    names: &'static ArgumentNames,
) -> Result<String, OpenError> {
    if let Some(known) = all.iter().find(|known| known.id == name) {
        return Ok(known.id.clone());
    }
    let mut titled = all.iter().filter(|known| known.title == name);
    match (titled.next(), titled.next()) {
        (Some(known), None) => Ok(known.id.clone()),
        (Some(_), Some(_)) => {
            let ids = all.iter().filter(|known| known.title == name).map(|known| known.id.clone()).collect();
            Err(OpenError::Ambiguous { name: name.to_owned(), ids, names })
        }
        (None, _) => {
            let at = if is_local { "in `wrangler dev`" } else { "in the account" };
            let known = all.iter().map(|known| known.title.clone()).collect();
            Err(OpenError::NoNamespace { name: name.to_owned(), at, known, names })
        }
    }
}

/// A namespace as "List namespaces" returns it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub(super) struct ListedNamespace {
    pub(super) id: String,
    #[serde(default)]
    pub(super) title: String,
}

#[cfg(test)]
mod tests;

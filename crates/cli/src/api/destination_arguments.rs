//! The arguments that select the destination of a copy.

use super::Namespace;
use super::api_arguments::{AccountArguments, ApiArguments, OpenError, TokenVariable, account, local_address};
use super::endpoint::ApiBase;
use super::namespace_arguments::{DefaultNamespace, NamespaceArguments, namespace};
use crate::progress::Progress;

/// The namespace that a copy writes to. Arguments that are not given have the source's value.
#[derive(Debug, clap::Args)]
#[command(mut_arg("to_local", local_address))]
pub(crate) struct DestinationArguments {
    /// The namespace to write to, by ID or title
    #[arg(id = "to_namespace", long = "to-namespace", value_name = "ID|TITLE", value_parser = namespace)]
    namespace: String,

    /// The ID of the account that it belongs to [default: that of the source]
    #[arg(id = "to_account", long = "to-account", value_name = "ID", value_parser = account)]
    account: Option<String>,

    #[arg(
        id = "to_api_base", long = "to-api-base",
        value_name = "URL",
        value_parser = ApiBase::parse,
        help = "The API that it is reached through, with the token in TO_CLOUDFLARE_API_TOKEN [default: that of the source]"
    )]
    api_base: Option<ApiBase>,

    /// Write to the local KV of a running `wrangler dev`; write another address as --to-local=8800
    #[arg(
        id = "to_local", long = "to-local",
        conflicts_with = "to_api_base",
        value_parser = ApiBase::parse_local
    )]
    local: Option<ApiBase>,
}

impl DestinationArguments {
    /// Returns the namespace, looked up by id or title.
    ///
    /// The token is in `TO_CLOUDFLARE_API_TOKEN`, or else, if the API is the source's, in
    /// `CLOUDFLARE_API_TOKEN`, which is sent to no other API. The local KV needs none.
    pub(crate) fn open<D: DefaultNamespace>(
        &self,
        source: &NamespaceArguments<D>,
        progress: &Progress,
    ) -> Result<Namespace, OpenError> {
        let source = &source.api;
        let is_other_api = self.api_base.is_some() || self.local.is_some();
        let account = AccountArguments {
            account: self.account.clone().or_else(|| source.account.account.clone()),
            api_base: if is_other_api { self.api_base.clone() } else { source.account.api_base.clone() },
            deadline: source.account.deadline,
        };
        let local = if is_other_api { self.local.clone() } else { source.local.clone() };
        let api = ApiArguments { account, local };
        let is_same_api = api.base() == source.base();
        let token = if is_same_api { TokenVariable::DestinationOrSource } else { TokenVariable::Destination };
        api.open(&self.namespace, token, progress)
    }
}

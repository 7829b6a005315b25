//! The arguments of the commands that read or change the keys of a namespace.

use std::marker::PhantomData;

use super::Namespace;
use super::api_arguments::{ApiArguments, OpenError, TokenVariable};
use crate::progress::Progress;

/// The namespace that a command works on if `--namespace` is not given.
pub(crate) trait DefaultNamespace {
    /// Its title in a Cloudflare account; `None` if `--namespace` is required.
    const TITLE: Option<&str>;
    /// Its title in the local KV of `wrangler dev`, which is the name of the binding; `None` if
    /// `--namespace` is required there, too.
    const LOCAL_TITLE: Option<&str>;
    /// The help text of `--namespace`.
    const HELP: &str;
}

/// The account, the namespace, and how the command runs and reports.
#[derive(Debug, clap::Args)]
pub(crate) struct NamespaceArguments<D: DefaultNamespace> {
    #[command(flatten)]
    pub(super) api: ApiArguments,

    #[arg(long, value_name = "ID|TITLE", value_parser = namespace, help = D::HELP, required = D::TITLE.is_none())]
    namespace: Option<String>,

    /// Show what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Write one line of JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,

    #[arg(skip)]
    default: PhantomData<D>,
}

impl<D: DefaultNamespace> NamespaceArguments<D> {
    /// Returns the namespace, looked up by id or title.
    pub(crate) fn open(&self, progress: &Progress) -> Result<Namespace, OpenError> {
        let default = if self.api.is_local() { D::LOCAL_TITLE } else { D::TITLE };
        let namespace = self.namespace.as_deref().or(default).ok_or(OpenError::NotNamed)?;
        self.api.open(namespace, TokenVariable::Source, progress)
    }
}

/// Refuses an empty id or title.
pub(crate) fn namespace(name: &str) -> Result<String, String> {
    if name.trim().is_empty() {
        return Err("it is empty; give the ID or the title of a namespace".to_owned());
    }
    Ok(name.to_owned())
}

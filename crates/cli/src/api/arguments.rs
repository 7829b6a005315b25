//! What every command takes that works on a namespace.

use std::marker::PhantomData;

use super::Namespace;
use super::connection::{Connection, NotOpened};
use crate::progress::Progress;

/// The namespace that a command works on where nobody names one.
pub(crate) trait DefaultNamespace {
    /// Its title on Cloudflare.
    const TITLE: &str;
    /// Its title in the KV of `wrangler dev`, which is the name of its binding.
    const LOCAL_TITLE: &str;
    /// What `--help` says of `--namespace`.
    const HELP: &str;
}

/// The account, the namespace, and how the command is carried out and told. Part of the arguments of every command that speaks with KV.
#[derive(Debug, clap::Args)]
pub(crate) struct NamespaceArguments<D: DefaultNamespace> {
    #[command(flatten)]
    connection: Connection,

    #[arg(long, value_name = "ID|TITLE", value_parser = namespace, help = D::HELP)]
    namespace: Option<String>,

    /// Say what would be done and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Write one line of JSON for programs
    #[arg(long)]
    pub(crate) json: bool,

    #[arg(skip)]
    default: PhantomData<D>,
}

impl<D: DefaultNamespace> NamespaceArguments<D> {
    /// Finds the namespace.
    pub(crate) fn open(&self, progress: &Progress) -> Result<Namespace, NotOpened> {
        let default = if self.connection.is_local() { D::LOCAL_TITLE } else { D::TITLE };
        self.connection.open(self.namespace.as_deref().unwrap_or(default), progress)
    }
}

/// The id or the title of a namespace.
fn namespace(name: &str) -> Result<String, String> {
    if name.trim().is_empty() {
        return Err("it is empty; name a namespace by its id or its title, or leave --namespace out".to_owned());
    }
    Ok(name.to_owned())
}

//! The names of the arguments that select an API, as messages give them, and of the variable that
//! its token is read from. Those of a copy's destination have other names.

/// The names of the arguments that select an API and a namespace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ArgumentNames {
    pub(super) namespace: &'static str,
    pub(super) account: &'static str,
    pub(super) api_base: &'static str,
    pub(super) local: &'static str,
    /// The variable that holds the token. It is not an argument, because all users of a machine
    /// can see arguments.
    pub(super) token: &'static str,
}

impl ArgumentNames {
    /// The names for the only namespace of a command, or for the source of a copy.
    pub(super) const SOURCE: Self = Self {
        namespace: "--namespace",
        account: "--account",
        api_base: "--api-base",
        local: "--local",
        token: "CLOUDFLARE_API_TOKEN",
    };

    /// The names for the destination of a copy.
    pub(super) const DESTINATION: Self = Self {
        namespace: "--to-namespace",
        account: "--to-account",
        api_base: "--to-api-base",
        local: "--to-local",
        token: "TO_CLOUDFLARE_API_TOKEN",
    };

    /// The names for the destination of a copy that is reached with the token of the source.
    pub(super) const DESTINATION_WITH_SOURCE_TOKEN: Self = Self { token: Self::SOURCE.token, ..Self::DESTINATION };
}

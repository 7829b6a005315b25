//! Who sends a request: the secret `API_TOKEN`, or a signed token and what it allows.

use http_semantics::authorization::{NotAuthorized, is_token};
use http_semantics::fields::Fields;
use kv_api::access::{Access, presented_token};
use kv_api::error::KvApiError;
use kv_api::token::{self, AccessToken};
use kv_store::record_cache::ReadFailure;
use kv_store::retry::Time;
use kv_store::store_error::StoreError;

use crate::http::error::RequestError;
use crate::http::request_context::RequestContext;
use crate::kv::keyspace::Keyspace;
use crate::kv::keyspaces::Revocations;
use crate::platform::clock::{self, Clock};

/// Why the sender gets no access.
pub(crate) enum AccessError {
    /// The Worker has no secret to check a token with.
    NotConfigured,
    /// The request has no valid token.
    Refused(KvApiError),
    /// The list of revoked tokens cannot be read, or is broken.
    Store(StoreError),
}

impl From<AccessError> for RequestError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NotConfigured => NotAuthorized::NotConfigured.into(),
            AccessError::Refused(error) => error.into(),
            AccessError::Store(error) => error.into(),
        }
    }
}

/// Returns what the sender of these fields may do. A signed token costs no read of KV while the
/// list of revoked tokens is in memory.
pub(crate) async fn access(context: &RequestContext, fields: &impl Fields) -> Result<Access, AccessError> {
    let vars = context.vars();
    let (secret, key) = (vars.token.as_deref(), vars.token_key.as_ref());
    let key = key.ok_or(AccessError::NotConfigured)?;
    let field = |name| fields.get(name);
    let presented = presented_token(
        field("authorization").as_deref(),
        field("x-auth-key").as_deref(),
        field("x-auth-user-service-key").as_deref(),
    )
    .map_err(AccessError::Refused)?;
    if secret.is_some_and(|secret| is_token(Some(&presented), secret)) {
        return Ok(Access::Everything);
    }
    let token = AccessToken::verify(&presented, key)
        .filter(|token| !token.is_expired(clock::now_seconds()))
        .ok_or(AccessError::Refused(KvApiError::InvalidToken))?;
    let revoked = Revocations.get(context, &token::REVOKED_KEY, Clock.now_ms()).await.map_err(|failure| {
        AccessError::Store(match failure {
            ReadFailure::Store(error) => error,
            ReadFailure::Broken(error) => {
                StoreError::permanent(format!("the list of revoked tokens is broken: {error}"))
            }
        })
    })?;
    let is_revoked = revoked.is_some_and(|revoked| revoked.value.contains(&token.name));
    if is_revoked { Err(AccessError::Refused(KvApiError::InvalidToken)) } else { Ok(Access::Scoped(token)) }
}

//! The record of the storefront that a request addresses.

use std::rc::Rc;

use kv_store::limits::Key;
use kv_store::record_cache::CachedRecord;
use tenant_router::TenantError;
use tenant_router::storefront_address::StorefrontAddress;
use tenant_router::storefront_record::RoutingEntry;

/// Returns the value of the key that a request addresses. If that is a custom domain, it returns
/// the value of the storefront that the domain belongs to, which becomes the address.
pub(crate) async fn find<E: From<TenantError>>(
    address: &mut StorefrontAddress<'_>,
    read: impl AsyncFn(&Key<'_>) -> Result<Option<CachedRecord<Rc<RoutingEntry>>>, E>,
) -> Result<CachedRecord<Rc<RoutingEntry>>, E> {
    let found = read(&address.key).await?.ok_or_else(|| address.not_found())?;
    let RoutingEntry::CustomDomain(id) = &*found.value else { return Ok(found) };
    let dangling = || TenantError::DanglingDomain(id.as_str().to_owned());
    let owner = read(id).await?.ok_or_else(dangling)?;
    address.key = id.clone();
    Ok(owner)
}

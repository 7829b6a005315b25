//! The keys of a namespace, page by page ("List a namespace's keys").

use super::client::ApiRequest;
use super::endpoint::segment;
use super::error::ApiAttemptError;
use super::{ApiError, Namespace, NamespaceKey};

/// The most keys that a page may have.
pub(super) const KEYS_MAX: u32 = 1000;
/// The smallest page that can be requested.
pub(super) const KEYS_MIN: u32 = 10;

/// A page of keys.
#[derive(Debug)]
pub(crate) struct NamespaceKeyPage {
    /// The cursor with which the page was requested; empty for the first page. The same list
    /// continues from here in another run.
    pub(crate) cursor: String,
    pub(crate) keys: Vec<NamespaceKey>,
}

/// The pages of keys, in order, each key once: the last key of a page may also be the first of the
/// next page of the service. Ends after an error.
#[derive(Debug)]
pub(super) struct KeyPages {
    namespace: Namespace,
    prefix: String,
    /// The most keys that a page may have.
    limit: u32,
    /// `None` after the last page.
    cursor: Option<String>,
    last_key: Option<String>,
}

impl KeyPages {
    pub(super) fn new(namespace: Namespace, prefix: &str, limit: u32) -> Self {
        Self { namespace, prefix: prefix.to_owned(), limit, cursor: Some(String::new()), last_key: None }
    }

    /// Continues a list from the cursor of one of its pages.
    pub(super) fn from(self, cursor: &str) -> Self {
        Self { cursor: Some(cursor.to_owned()), ..self }
    }

    fn page(&self, cursor: &str) -> Result<(Vec<NamespaceKey>, String), ApiError> {
        let query = format!("keys?limit={}&prefix={}&cursor={}", self.limit, segment(&self.prefix), segment(cursor));
        let path = self.namespace.path(query.strip_suffix("&cursor=").unwrap_or(&query));
        let what = format!("list the keys that begin with {:?}", self.prefix);
        self.namespace.call(&what, "list the keys", |client, time_left| {
            let response = client.send(ApiRequest::Get(&path), time_left)?;
            let envelope = response.success::<Vec<NamespaceKey>>()?;
            // A page without a cursor is the last one, as one with an empty cursor is.
            // Without `result_info` it is unknown whether there are more keys.
            let next = envelope.result_info.map(|info| info.cursor.unwrap_or_default());
            match (envelope.result, next) {
                // The same cursor again would loop forever.
                (Some(page), Some(next)) if next.is_empty() || next != cursor => Ok((page, next)),
                _ => Err(ApiAttemptError::not_the_api(response.status())),
            }
        })
    }
}

impl Iterator for KeyPages {
    type Item = Result<NamespaceKeyPage, ApiError>;

    fn next(&mut self) -> Option<Self::Item> {
        let cursor = self.cursor.take()?;
        Some(self.page(&cursor).map(|(mut keys, next)| {
            if keys.first().is_some_and(|first| Some(&first.name) == self.last_key.as_ref()) {
                keys.remove(0);
            }
            if let Some(last) = keys.last() {
                self.last_key = Some(last.name.clone());
            }
            // Only an empty cursor ends a list: a page in the middle may be empty.
            self.cursor = (!next.is_empty()).then_some(next);
            NamespaceKeyPage { cursor, keys }
        }))
    }
}

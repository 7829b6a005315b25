//! The keys of a namespace, a page at a time ("List a namespace's keys").

use super::client::Request;
use super::endpoint::segment;
use super::error::Failed;
use super::{ApiError, Listed, Namespace};

/// The most keys on a page.
pub(super) const KEYS_MAX: u32 = 1000;
/// The fewest that a page can be asked to have.
pub(super) const KEYS_MIN: u32 = 10;

/// Pages of keys, in their order. After an error there are no more.
#[derive(Debug)]
pub(super) struct Pages {
    namespace: Namespace,
    prefix: String,
    /// The most keys on a page.
    limit: u32,
    /// None at the end.
    cursor: Option<String>,
}

impl Pages {
    pub(super) fn new(namespace: Namespace, prefix: &str, limit: u32) -> Self {
        Self { namespace, prefix: prefix.to_owned(), limit, cursor: Some(String::new()) }
    }

    fn page(&self, cursor: &str) -> Result<(Vec<Listed>, String), ApiError> {
        let query = format!("keys?limit={}&prefix={}&cursor={}", self.limit, segment(&self.prefix), segment(cursor));
        let path = self.namespace.path(query.strip_suffix("&cursor=").unwrap_or(&query));
        let what = format!("list the keys that begin with {:?}", self.prefix);
        self.namespace.call(&what, "list the keys", |client, left| {
            let answer = client.send(Request::Get(&path), left)?;
            let envelope = answer.success::<Vec<Listed>>()?;
            let next = envelope.result_info.unwrap_or_default().cursor.unwrap_or_default();
            match envelope.result {
                // A cursor that does not move would never end.
                Some(page) if next.is_empty() || next != cursor => Ok((page, next)),
                _ => Err(Failed::strange(answer.status())),
            }
        })
    }
}

impl Iterator for Pages {
    type Item = Result<Vec<Listed>, ApiError>;

    fn next(&mut self) -> Option<Self::Item> {
        let cursor = self.cursor.take()?;
        Some(self.page(&cursor).map(|(page, next)| {
            // Only an empty cursor ends a list: a page may be empty before.
            self.cursor = (!next.is_empty()).then_some(next);
            page
        }))
    }
}

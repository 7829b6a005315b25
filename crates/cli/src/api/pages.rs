//! The keys of a namespace, a page at a time ("List a namespace's keys").

use super::client::Request;
use super::connection::segment;
use super::error::Failed;
use super::{ApiError, Listed, Namespace};

/// The most keys on a page.
const KEYS_MAX: u32 = 1000;

/// Pages of keys, in their order. After an error there are no more.
#[derive(Debug)]
pub(crate) struct Pages<'n> {
    namespace: &'n Namespace,
    prefix: String,
    /// None at the end.
    cursor: Option<String>,
}

impl<'n> Pages<'n> {
    pub(super) fn new(namespace: &'n Namespace, prefix: &str) -> Self {
        Self { namespace, prefix: prefix.to_owned(), cursor: Some(String::new()) }
    }

    fn page(&self, cursor: &str) -> Result<(Vec<Listed>, String), ApiError> {
        let query = format!("keys?limit={KEYS_MAX}&prefix={}&cursor={}", segment(&self.prefix), segment(cursor));
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

impl Iterator for Pages<'_> {
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

//! `CDN-Loop` (RFC 8586): a request that has passed kv-edge already is not forwarded again.

use std::borrow::Cow;

use crate::fields::{list, with_member};

/// The name of kv-edge in the field (`cdn-id`, RFC 8586 §2).
pub const CDN_ID: &str = "kv-edge";

/// Returns the field with [`CDN_ID`] at its end, or `None` if the field has it already: the
/// request is in a loop, and the response is a 508 (RFC 5842 §7.2).
///
/// # Examples
///
/// ```
/// use http_semantics::cdn_loop::append_cdn_id;
///
/// assert_eq!(append_cdn_id(Some("other-cdn".to_owned())).as_deref(), Some("other-cdn, kv-edge"));
/// assert_eq!(append_cdn_id(Some("kv-edge, other-cdn".to_owned())), None);
/// ```
#[must_use]
pub fn append_cdn_id(field: Option<String>) -> Option<Cow<'static, str>> {
    let is_own = |member: &str| {
        let (id, _parameters) = member.split_once(';').unwrap_or((member, ""));
        id.trim().eq_ignore_ascii_case(CDN_ID)
    };
    let is_loop = list(field.as_deref().unwrap_or_default()).any(is_own);
    (!is_loop).then(|| with_member(field, CDN_ID))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_added_once_and_found_again_it_is_a_loop() {
        for (field, expected) in [
            (None, Some("kv-edge")),
            (Some(" "), Some("kv-edge")),
            (Some("cloudflare; loops=1"), Some("cloudflare; loops=1, kv-edge")),
            (Some("kv-edge-staging, x.kv-edge"), Some("kv-edge-staging, x.kv-edge, kv-edge")),
            (Some("kv-edge"), None),
            (Some("a,KV-Edge ;x=\"1\", b"), None),
        ] {
            assert_eq!(append_cdn_id(field.map(str::to_owned)).as_deref(), expected, "{field:?}");
        }
    }
}

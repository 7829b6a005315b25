//! What a status code says to caches (RFC 9110 §15).

/// Returns true for a status whose caching rules kv-edge knows and follows (RFC 9111 §5.2.2.3): those of
/// RFC 9110 §15 without 206 and 304, which are not stored by themselves.
#[must_use]
pub fn is_understood(status: u16) -> bool {
    matches!(status, 200..=205 | 300..=303 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 451 | 500..=505)
}

/// Returns true for a status that may be stored without a word about its freshness (RFC 9110 §15.1;
/// 451 by RFC 7725 §3).
#[must_use]
pub fn is_heuristically_cacheable(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 451 | 501)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_as_rfc_9110_lists_them() {
        // RFC 9110 §15.1: "200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, and 501"; RFC 7725 §3: "A 451 response is
        // cacheable by default".
        let heuristic: Vec<u16> = (100..600).filter(|status| is_heuristically_cacheable(*status)).collect();
        assert_eq!(heuristic, [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 451, 501]);
        let understood = [200, 205, 300, 303, 307, 308, 400, 404, 417, 421, 422, 426, 451, 500, 505];
        assert!(understood.into_iter().all(is_understood));
        assert!(![199, 206, 299, 304, 306, 309, 399, 418, 425, 499, 506, 599].into_iter().any(is_understood));
    }
}

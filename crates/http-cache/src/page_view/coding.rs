//! The content codings of a page (RFC 9110 §8.4).

use crate::error::CacheError;

/// The most codings that are decoded for one page: each costs another pass over the page.
const CODINGS_MAX: usize = 3;

/// A content coding that is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageCoding {
    /// `gzip`, also by its old name `x-gzip` (RFC 1952).
    Gzip,
    /// `deflate`: the zlib format (RFC 1950).
    Deflate,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstandard,
}

impl PageCoding {
    /// Returns the codings of a page in the order in which they are decoded: the last applied
    /// first. The list is empty if the page has none.
    ///
    /// # Errors
    /// [`CacheError::ContentCoding`] for a coding that is not supported, and for more than
    /// three.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_cache::page_view::PageCoding;
    ///
    /// // The server compressed the page with Brotli, and a proxy the result with gzip.
    /// let codings = PageCoding::of_page(Some("br, gzip"))?;
    /// assert_eq!(codings, [PageCoding::Gzip, PageCoding::Brotli]);
    /// # Ok::<(), http_cache::error::CacheError>(())
    /// ```
    pub fn of_page(content_encoding: Option<&str>) -> Result<Vec<Self>, CacheError> {
        let mut codings = Vec::new();
        for name in content_encoding.unwrap_or_default().split(',').map(str::trim).rev() {
            let coding = match name.to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Self::Gzip,
                "deflate" => Self::Deflate,
                "br" => Self::Brotli,
                "zstd" => Self::Zstandard,
                _ => return Err(CacheError::ContentCoding),
            };
            if codings.len() == CODINGS_MAX {
                return Err(CacheError::ContentCoding);
            }
            codings.push(coding);
        }
        Ok(codings)
    }

    /// Returns the registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstandard => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_three_supported_codings_are_listed_the_last_applied_first() {
        use PageCoding::{Brotli, Deflate, Gzip, Zstandard};
        for (field, codings) in [
            (None, Ok(vec![])),
            (Some(""), Ok(vec![])),
            (Some("identity"), Ok(vec![])),
            (Some(" GZIP "), Ok(vec![Gzip])),
            (Some("x-gzip"), Ok(vec![Gzip])),
            (Some("deflate"), Ok(vec![Deflate])),
            (Some("br"), Ok(vec![Brotli])),
            (Some("zstd"), Ok(vec![Zstandard])),
            (Some("gzip, identity,, br"), Ok(vec![Brotli, Gzip])),
            (Some("gzip, br, zstd"), Ok(vec![Zstandard, Brotli, Gzip])),
            (Some("gzip, gzip, gzip, gzip"), Err(CacheError::ContentCoding)),
            (Some("compress"), Err(CacheError::ContentCoding)),
            (Some("gzip, x-own"), Err(CacheError::ContentCoding)),
            (Some("gzip;q=1"), Err(CacheError::ContentCoding)),
        ] {
            assert_eq!(PageCoding::of_page(field), codings, "{field:?}");
        }
    }
}

//! The content coding of a response: `Accept-Encoding` (RFC 9110 §12.5.3).
//!
//! ```
//! use http_semantics::accept_encoding::{AcceptEncoding, ContentCoding, NegotiatedCoding};
//!
//! let accepted = AcceptEncoding::parse(Some("gzip, br;q=0.5"));
//! let lengths = [(ContentCoding::Br, 300), (ContentCoding::Gzip, 350)];
//! assert_eq!(accepted.choose(1000, &lengths), NegotiatedCoding::Encoded(ContentCoding::Gzip));
//! assert_eq!(accepted.choose(1000, &[]), NegotiatedCoding::Identity);
//! ```

use serde::{Deserialize, Serialize};

use crate::weight;

/// A content coding that files are stored in (RFC 9110 §8.4.1; RFC 7932; RFC 8878).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentCoding {
    /// Brotli.
    Br,
    /// Zstandard.
    Zstd,
    /// gzip.
    Gzip,
}

impl ContentCoding {
    /// Returns the name in `Content-Encoding` (IANA, "HTTP Content Coding Registry").
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

/// The codings that a client accepts, as weights in thousandths. `None` means that the field does
/// not list the coding, and 0 that it refuses it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AcceptEncoding {
    br: Option<u16>,
    zstd: Option<u16>,
    gzip: Option<u16>,
    identity: Option<u16>,
    /// `*`: the weight of each coding that the field does not list.
    any: Option<u16>,
}

/// The content coding that negotiation selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegotiatedCoding {
    /// The body without a coding.
    Identity,
    /// The body in this coding.
    Encoded(ContentCoding),
    /// The client accepts neither a coding that is available nor the body without one: 406 (RFC
    /// 9110 §15.5.7).
    NotAcceptable,
}

/// The most members that are read; the rest are ignored. IANA registers fewer codings.
const CODINGS_MAX: usize = 32;

impl AcceptEncoding {
    /// Parses the field. A member that is not a coding, or has an invalid weight, is ignored. If a
    /// coding is listed twice, the smaller weight counts, so that a refused coding is never sent.
    ///
    /// Without the field every coding is acceptable (RFC 9110 §12.5.3, rule 1), but a missing
    /// field is treated like an empty one, which accepts no coding: browsers send the field, and
    /// tools that do not send it often store the bytes as they come.
    ///
    /// [The module](self) has an example.
    #[must_use]
    pub fn parse(field: Option<&str>) -> Self {
        let mut parsed = Self::default();
        for member in field.unwrap_or_default().split(',').take(CODINGS_MAX) {
            let (coding, weight) = match member.split_once(';') {
                Some((coding, parameter)) => (coding.trim(), weight::parse(parameter)),
                None => (member.trim(), Some(1000)),
            };
            let listed = match coding {
                "*" => &mut parsed.any,
                _ if coding.eq_ignore_ascii_case("br") => &mut parsed.br,
                _ if coding.eq_ignore_ascii_case("zstd") => &mut parsed.zstd,
                // RFC 9110 §8.4.1.3: one coding with two names.
                _ if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") => &mut parsed.gzip,
                _ if coding.eq_ignore_ascii_case("identity") => &mut parsed.identity,
                _ => continue,
            };
            if let Some(weight) = weight {
                *listed = Some(listed.map_or(weight, |before| before.min(weight)));
            }
        }
        parsed
    }

    /// Selects the coding of a body. `identity_length` is its length without a coding, and
    /// `encoded` has its length in each coding that is available, in bytes. The highest weight
    /// comes first, then the smallest length, then the body without a coding, then the order of
    /// `encoded`.
    ///
    /// If the field lists neither `identity` nor `*`, a body without a coding is acceptable, but
    /// it comes after every accepted coding.
    ///
    /// [The module](self) has an example.
    #[must_use]
    pub fn choose(&self, identity_length: u64, encoded: &[(ContentCoding, u64)]) -> NegotiatedCoding {
        let identity = self.accepts_identity().then(|| {
            let weight = self.identity.or(self.any).unwrap_or(0);
            (NegotiatedCoding::Identity, weight, identity_length)
        });
        let encoded = encoded.iter().filter_map(|&(coding, length)| {
            let weight = self.weight(coding).filter(|weight| *weight > 0)?;
            Some((NegotiatedCoding::Encoded(coding), weight, length))
        });
        identity
            .into_iter()
            .chain(encoded)
            .min_by_key(|(_, weight, length)| (std::cmp::Reverse(*weight), *length))
            .map_or(NegotiatedCoding::NotAcceptable, |(chosen, ..)| chosen)
    }

    /// Returns true if a body may be sent without a coding. It may, unless the field refuses
    /// `identity`, either by name or by `*` without naming it.
    #[must_use]
    pub fn accepts_identity(&self) -> bool {
        self.identity.or(self.any) != Some(0)
    }

    fn weight(&self, coding: ContentCoding) -> Option<u16> {
        let listed = match coding {
            ContentCoding::Br => self.br,
            ContentCoding::Zstd => self.zstd,
            ContentCoding::Gzip => self.gzip,
        };
        listed.or(self.any)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ContentCoding::{Br, Gzip, Zstd};
    use super::NegotiatedCoding::{Encoded, Identity, NotAcceptable};
    use super::*;

    const LENGTH: u64 = 1000;

    /// A file in all its codings, smallest first.
    const ALL: [(ContentCoding, u64); 3] = [(Br, 300), (Zstd, 330), (Gzip, 350)];

    fn choose(field: &str, encoded: &[(ContentCoding, u64)]) -> NegotiatedCoding {
        AcceptEncoding::parse(Some(field)).choose(LENGTH, encoded)
    }

    #[test]
    fn fields_of_browsers_and_tools_select_the_smallest_accepted_coding() {
        for (field, expected) in [
            ("gzip, deflate, br, zstd", Encoded(Br)),
            ("gzip, deflate, br", Encoded(Br)),
            ("gzip, deflate", Encoded(Gzip)),
            ("br, gzip", Encoded(Br)),
            ("zstd, gzip", Encoded(Zstd)),
            // A video element of Chromium, which asks for ranges.
            ("identity;q=1, *;q=0", Identity),
            ("identity", Identity),
            ("deflate", Identity),
        ] {
            assert_eq!(choose(field, &ALL), expected, "{field}");
            assert_eq!(choose(field, &[]), Identity, "{field}");
        }
    }

    #[test]
    fn a_coding_is_acceptable_by_the_rules_of_rfc_9110_12_5_3() {
        for (field, expected) in [
            // Rule 2: a body without a coding is acceptable unless it is refused by name or by
            // `*`.
            ("compress", Identity),
            ("gzip;q=0", Identity),
            ("identity;q=0", NotAcceptable),
            ("*;q=0", NotAcceptable),
            ("*;q=0, identity", Identity),
            ("*;q=0, identity;q=0.001", Identity),
            ("*, identity;q=0", Encoded(Br)),
            ("identity;q=0, gzip", Encoded(Gzip)),
            ("gzip;q=0, identity;q=0, *;q=0.1", Encoded(Br)),
            ("identity;q=0, compress", NotAcceptable),
            // Rule 3: a listed coding is acceptable unless its weight is 0.
            ("br;q=0, gzip", Encoded(Gzip)),
            ("br;q=0.000, zstd;q=0.0, gzip;q=0.001", Encoded(Gzip)),
            ("gzip;q=0, *", Encoded(Br)),
            ("br;q=0, *", Encoded(Zstd)),
            // Of the acceptable ones, the highest weight.
            ("br;q=0.5, gzip", Encoded(Gzip)),
            ("br;q=0.8, zstd;q=0.9, gzip;q=0.7", Encoded(Zstd)),
            ("gzip;q=0.501, br;q=0.5", Encoded(Gzip)),
            ("gzip;q=0.5, identity", Identity),
            ("gzip;q=1.0, identity; q=0.5, *;q=0", Encoded(Gzip)),
            ("br;q=0.1", Encoded(Br)),
            // An empty field accepts no coding; `*` accepts all of them.
            ("", Identity),
            (" , ", Identity),
            ("*", Encoded(Br)),
            ("*;q=0.5, gzip", Encoded(Gzip)),
        ] {
            assert_eq!(choose(field, &ALL), expected, "{field}");
        }
        assert_eq!(choose("compress;q=0.5, gzip;q=1.0", &[(Br, 1)]), Identity);
        assert_eq!(choose("br, identity;q=0", &[]), NotAcceptable);
    }

    #[test]
    fn without_the_field_the_body_has_no_coding() {
        assert_eq!(AcceptEncoding::parse(None).choose(LENGTH, &ALL), Identity);
        assert!(AcceptEncoding::parse(None).accepts_identity());
    }

    #[test]
    fn of_equal_weights_the_smallest_body_is_selected() {
        assert_eq!(choose("gzip, br, zstd", &[(Gzip, 3), (Br, 2), (Zstd, 1)]), Encoded(Zstd));
        assert_eq!(choose("gzip, identity", &[(Gzip, LENGTH + 1)]), Identity);
        assert_eq!(choose("gzip, identity", &[(Gzip, LENGTH)]), Identity);
        assert_eq!(choose("gzip", &[(Gzip, LENGTH + 1)]), Encoded(Gzip));
        assert_eq!(choose("gzip, br", &[(Gzip, 5), (Br, 5)]), Encoded(Gzip));
    }

    #[test]
    fn names_are_case_insensitive_and_x_gzip_is_gzip() {
        for field in ["GZIP", "x-gzip", "X-GZip;Q=0.5", " gzip ; q=0.5 ", "x-gzip, gzip;q=0.2"] {
            assert_eq!(choose(field, &ALL), Encoded(Gzip), "{field}");
        }
        assert_eq!(choose("BR", &ALL), Encoded(Br));
        assert_eq!(choose("IDENTITY;q=0, ZStd", &ALL), Encoded(Zstd));
    }

    #[test]
    fn invalid_members_are_left_out() {
        for member in ["br;q=2", "br;q=-1", "br;q=NaN", "br;q=0.1234", "br;q=", "br;x=1", "br;q=1;q=1", "b r", "brotli"]
        {
            assert_eq!(choose(member, &ALL), Identity, "{member}");
            assert_eq!(choose(&format!("{member}, gzip;q=0.1"), &ALL), Encoded(Gzip), "{member}");
        }
        assert_eq!(choose("identity;q=zero", &ALL), Identity);
    }

    #[test]
    fn of_a_coding_listed_twice_the_smaller_weight_counts() {
        assert_eq!(choose("br, br;q=0, gzip;q=0.5", &ALL), Encoded(Gzip));
        assert_eq!(choose("br;q=0, br", &ALL), Identity);
    }

    #[test]
    fn members_beyond_the_limit_are_ignored() {
        let field = format!("{}br", "deflate,".repeat(CODINGS_MAX));
        assert_eq!(choose(&field, &ALL), Identity);
    }

    #[test]
    fn codings_have_their_registered_names() {
        for (coding, name) in [(Br, "br"), (Zstd, "zstd"), (Gzip, "gzip")] {
            assert_eq!(coding.as_str(), name);
            assert_eq!(serde_json::to_string(&coding).unwrap(), format!("\"{name}\""));
        }
    }

    fn codings() -> impl Strategy<Value = Vec<(ContentCoding, u64)>> {
        let lengths = (prop::option::of(0..5_u64), prop::option::of(0..5_u64), prop::option::of(0..5_u64));
        lengths.prop_map(|(br, zstd, gzip)| {
            [(Br, br), (Zstd, zstd), (Gzip, gzip)].into_iter().filter_map(|(coding, n)| Some((coding, n?))).collect()
        })
    }

    proptest! {
        #[test]
        fn the_selected_coding_is_available_and_acceptable(
            field in "((br|zstd|gzip|x-gzip|identity|\\*|[a-z;=q]{0,3})(;q=(0|1|0\\.[0-9]{0,4}))?[, ]{0,2}){0,6}",
            length in 0..5_u64,
            encoded in codings(),
        ) {
            let accepted = AcceptEncoding::parse(Some(&field));
            match accepted.choose(length, &encoded) {
                Identity => prop_assert!(accepted.accepts_identity()),
                Encoded(coding) => {
                    prop_assert!(encoded.iter().any(|(one, _)| *one == coding));
                    prop_assert!(accepted.weight(coding) > Some(0));
                }
                NotAcceptable => {
                    prop_assert!(!accepted.accepts_identity());
                    prop_assert!(encoded.iter().all(|(one, _)| accepted.weight(*one).unwrap_or(0) == 0));
                }
            }
        }
    }
}

//! Cookies of a request (RFC 6265 §4.2.1).

/// Iterates over the values of the cookies with this name in a `Cookie` field, in the order in
/// which they were sent: a client should put the longest path first (RFC 6265 §5.4). Names are
/// case-sensitive. Quotes around a value are removed: servers may add them (RFC 6265 §4.1.1).
/// Percent-encoding is left as it is, because only the server that set the cookie knows its
/// meaning.
///
/// # Examples
///
/// ```
/// let field = "theme=dark; lang=\"de\"; lang=en";
/// assert!(http_semantics::cookie::values(field, "lang").eq(["de", "en"]));
/// ```
pub fn values<'a>(field: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    field
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .filter(move |(given, _)| given.trim_matches(WHITE_SPACE) == name)
        .map(|(_, value)| unquoted(value.trim_matches(WHITE_SPACE)))
}

/// `WSP` (RFC 6265 §5.2).
const WHITE_SPACE: [char; 2] = [' ', '\t'];

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `*cookie-octet` (RFC 6265 §4.1.1).
    const COOKIE_OCTETS: &str = r"[\x21\x23-\x2B\x2D-\x3A\x3C-\x5B\x5D-\x7E]*";

    #[test]
    fn every_cookie_of_the_name_is_found_in_order() {
        for (field, expected) in [
            ("", vec![]),
            ("uid", vec![]),
            ("uid=", vec![""]),
            ("uid=7", vec!["7"]),
            ("uid=7; uid=8", vec!["7", "8"]),
            ("a=1;uid=7;b=2", vec!["7"]),
            (" uid\t=\t7 ;", vec!["7"]),
            ("uid=\"7 8\"", vec!["7 8"]),
            ("uid=\"\"", vec![""]),
            ("uid=\"", vec!["\""]),
            ("uid=\"7", vec!["\"7"]),
            ("uid=a=b==", vec!["a=b=="]),
            ("uid=%37", vec!["%37"]),
            ("UID=7; uid2=8; xuid=9; $uid=1", vec![]),
            ("=uid; ;;; uid=7", vec!["7"]),
        ] {
            assert_eq!(values(field, "uid").collect::<Vec<_>>(), expected, "{field:?}");
        }
    }

    proptest! {
        #[test]
        fn any_field_can_be_parsed(field in ".*", name in ".*") {
            prop_assert!(values(&field, &name).count() <= field.split(';').count());
        }

        #[test]
        fn cookies_are_read_as_the_client_sent_them(cookies in proptest::collection::vec(("[a-c]", COOKIE_OCTETS), 0..9)) {
            let field = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
            for name in ["a", "b", "c"] {
                let sent = cookies.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
                prop_assert!(values(&field, name).eq(sent));
            }
        }
    }
}

//! Access control of a storefront, by the country and the IP address of the visitor.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A country as `CF-IPCountry` names it: ISO 3166-1 alpha-2, or Cloudflare's `T1` (Tor) and
/// `XX` (unknown). It is in upper case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country([u8; 2]);

/// The error for a string that is not a country code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a country code of two characters, such as CH")]
pub struct CountryError;

/// A range of IP addresses in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3). A single address is
/// a range of its own.
///
/// An IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) is treated as the IPv4 address, in a range
/// and in a request. So a range of IPv6 addresses never contains an IPv4 address, and it takes
/// ranges of both families to contain all, such as `0.0.0.0/0` and `::/0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpRange {
    /// The address with all bits after the prefix set to 0.
    network: IpAddr,
    /// The length of the prefix in bits.
    length: u32,
}

/// Why a string is not a range of IP addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IpRangeError {
    /// The part before `/` is not an IP address.
    #[error("it is not an IP address or a range such as 192.0.2.0/24")]
    Address,
    /// The part after `/` is not a number, or is greater than the length of the address.
    #[error("its prefix length is not a number from 0 to {max}")]
    Length {
        /// The length of the address in bits: 32 or 128.
        max: u32,
    },
    /// The address has bits set after the prefix, so either the address or the length is a
    /// mistake.
    #[error("its address has bits set after the prefix; the range is {network}")]
    HostBits {
        /// The range that has these bits set to 0.
        network: IpRange,
    },
}

/// A set of visitors: those from any of these countries, or with an address in any of these
/// ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VisitorSet {
    /// The countries.
    pub countries: Vec<Country>,
    /// The ranges of addresses.
    pub ranges: Vec<IpRange>,
}

/// The access rules of a storefront. The default admits all visitors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessRules {
    /// If set, only these visitors are admitted; an empty set admits nobody.
    pub allow: Option<VisitorSet>,
    /// These visitors are refused, whatever `allow` says.
    pub deny: VisitorSet,
}

impl Country {
    /// Parses a country code in upper or lower case: a letter, and a letter or digit.
    ///
    /// # Errors
    /// [`CountryError`] if the string has another form.
    pub fn parse(code: &str) -> Result<Self, CountryError> {
        match code.as_bytes() {
            [first, second] if first.is_ascii_alphabetic() && second.is_ascii_alphanumeric() => {
                Ok(Self([first.to_ascii_uppercase(), second.to_ascii_uppercase()]))
            }
            _ => Err(CountryError),
        }
    }
}

impl IpRange {
    /// Parses `10.0.0.0/8`, `2001:db8::/32` or a single address.
    ///
    /// # Errors
    /// [`IpRangeError`] if the string is not a range.
    pub fn parse(text: &str) -> Result<Self, IpRangeError> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let written: IpAddr = address.parse().map_err(|_| IpRangeError::Address)?;
        let max = bits(written);
        let length =
            length.map_or(Some(max), |length| prefix_length(length, max)).ok_or(IpRangeError::Length { max })?;
        let (address, length) = match (written.to_canonical(), length.checked_sub(MAPPED_BITS)) {
            (v4 @ IpAddr::V4(_), Some(length)) if written.is_ipv6() => (v4, length),
            _ => (written, length),
        };
        let range = Self { network: masked(address, length), length };
        if range.network == address { Ok(range) } else { Err(IpRangeError::HostBits { network: range }) }
    }

    /// Returns true if the address is in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.network.is_ipv4() && masked(address, self.length) == self.network
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

impl VisitorSet {
    fn includes(&self, ip: Option<IpAddr>, country: Option<Country>) -> bool {
        country.is_some_and(|country| self.countries.contains(&country))
            || ip.is_some_and(|ip| self.ranges.iter().any(|range| range.contains(ip)))
    }
}

impl AccessRules {
    /// Returns true if the rules admit a visitor with this `CF-Connecting-IP` and
    /// `CF-IPCountry`. A value that is missing or invalid is in no set: `deny` does not refuse
    /// it, and `allow` does not admit it.
    ///
    /// # Examples
    ///
    /// ```
    /// use tenant_router::access::{AccessRules, Country, IpRange, VisitorSet};
    ///
    /// let allow = VisitorSet { countries: vec![Country::parse("CH")?], ranges: Vec::new() };
    /// let ranges = vec![IpRange::parse("192.0.2.0/24")?];
    /// let deny = VisitorSet { countries: Vec::new(), ranges };
    /// let rules = AccessRules { allow: Some(allow), deny };
    /// assert!(rules.admits(Some("198.51.100.7"), Some("CH")));
    /// assert!(!rules.admits(Some("192.0.2.7"), Some("CH")));
    /// assert!(!rules.admits(Some("198.51.100.7"), None), "nobody knows where the visitor is");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn admits(&self, ip: Option<&str>, country: Option<&str>) -> bool {
        let ip = ip.and_then(|ip| ip.trim().parse().ok());
        let country = country.and_then(|country| Country::parse(country.trim()).ok());
        !self.deny.includes(ip, country) && self.allow.as_ref().is_none_or(|allow| allow.includes(ip, country))
    }

    /// Returns true if the rules depend on the visitor's address.
    #[must_use]
    pub fn needs_ip(&self) -> bool {
        self.lists().any(|who| !who.ranges.is_empty())
    }

    /// Returns true if the rules depend on the visitor's country.
    #[must_use]
    pub fn needs_country(&self) -> bool {
        self.lists().any(|who| !who.countries.is_empty())
    }

    fn lists(&self) -> impl Iterator<Item = &VisitorSet> {
        self.allow.iter().chain([&self.deny])
    }
}

/// The length of the prefix of IPv4-mapped addresses, in bits.
const MAPPED_BITS: u32 = 96;

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS }
}

/// Parses the length of a prefix. It has only digits and no leading zero, so that each length
/// is written in one way.
fn prefix_length(digits: &str, max: u32) -> Option<u32> {
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|length| is_plain && *length <= max)
}

/// Returns the address with its first `length` bits, and 0 for the others.
fn masked(address: IpAddr, length: u32) -> IpAddr {
    let host_bits = bits(address) - length;
    // Rust refuses to shift by the full width; the result is then 0.
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(host_bits).unwrap_or(0)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(host_bits).unwrap_or(0)).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn who(countries: &[&str], ranges: &[&str]) -> VisitorSet {
        VisitorSet {
            countries: countries.iter().map(|code| Country::parse(code).unwrap()).collect(),
            ranges: ranges.iter().map(|range| IpRange::parse(range).unwrap()).collect(),
        }
    }

    #[test]
    fn a_country_is_a_letter_and_a_letter_or_digit() {
        for code in ["CH", "ch", "cH", "T1", "t1", "XX"] {
            assert_eq!(Country::parse(code), Country::parse(&code.to_ascii_uppercase()));
            assert!(Country::parse(code).is_ok(), "{code}");
        }
        for code in ["", "C", "CHE", " CH", "C-", "12", "é", "ÖÖ"] {
            assert_eq!(Country::parse(code), Err(CountryError), "{code}");
        }
    }

    #[test]
    fn a_range_contains_the_addresses_with_its_prefix() {
        for (range, inside, outside) in [
            (
                "10.0.0.0/8",
                vec!["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
                vec!["11.0.0.0", "9.255.255.255", "::a00:0"],
            ),
            ("192.0.2.1", vec!["192.0.2.1", "::ffff:c000:201"], vec!["192.0.2.0", "192.0.2.2"]),
            ("192.0.2.128/25", vec!["192.0.2.128", "192.0.2.255"], vec!["192.0.2.127"]),
            ("0.0.0.0/0", vec!["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], vec!["::", "2001:db8::1"]),
            ("2001:db8::/32", vec!["2001:db8::", "2001:DB8:ffff::1"], vec!["2001:db9::", "2001:db7:ffff::"]),
            ("2001:db8::1/128", vec!["2001:db8::1"], vec!["2001:db8::"]),
            ("::1", vec!["::1"], vec!["::", "0.0.0.1"]),
            ("::/0", vec!["::", "ffff::"], vec!["10.0.0.1", "::ffff:10.0.0.1"]),
            ("::ffff:10.0.0.0/104", vec!["10.0.0.1", "::ffff:10.0.0.1"], vec!["11.0.0.1"]),
            ("::ffff:192.0.2.1", vec!["192.0.2.1"], vec!["192.0.2.2"]),
        ] {
            let parsed = IpRange::parse(range).unwrap();
            assert!(inside.iter().all(|ip| parsed.contains(ip.parse().unwrap())), "{range}");
            assert!(!outside.iter().any(|ip| parsed.contains(ip.parse().unwrap())), "{range}");
        }
    }

    #[test]
    fn an_invalid_range_says_why() {
        let address = "it is not an IP address or a range such as 192.0.2.0/24";
        let v4_length = "its prefix length is not a number from 0 to 32";
        let v6_length = "its prefix length is not a number from 0 to 128";
        for (text, error) in [
            ("", address),
            ("/8", address),
            ("10.0.0/8", address),
            ("010.0.0.1", address),
            ("10.0.0.256", address),
            (" 10.0.0.1", address),
            ("[::1]", address),
            ("fe80::1%eth0", address),
            ("example.com", address),
            ("10.0.0.0/", v4_length),
            ("10.0.0.0/33", v4_length),
            ("10.0.0.0/-1", v4_length),
            ("10.0.0.0/+8", v4_length),
            ("10.0.0.0/08", v4_length),
            ("10.0.0.0/8/8", v4_length),
            ("10.0.0.0/255.0.0.0", v4_length),
            ("10.0.0.0/99999999999", v4_length),
            ("::/129", v6_length),
            ("10.0.0.1/8", "its address has bits set after the prefix; the range is 10.0.0.0/8"),
            ("10.0.0.1/0", "its address has bits set after the prefix; the range is 0.0.0.0/0"),
            ("2001:db8::1/32", "its address has bits set after the prefix; the range is 2001:db8::/32"),
            ("::ffff:10.0.0.1/104", "its address has bits set after the prefix; the range is 10.0.0.0/8"),
        ] {
            assert_eq!(IpRange::parse(text).map_err(|error| error.to_string()), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn deny_comes_first_and_with_allow_one_entry_must_match() {
        let open = AccessRules::default();
        let nobody = AccessRules { allow: Some(VisitorSet::default()), ..AccessRules::default() };
        let deny = AccessRules { deny: who(&["KP", "t1"], &["203.0.113.0/24"]), ..AccessRules::default() };
        let allow =
            AccessRules { allow: Some(who(&["CH"], &["10.0.0.0/8", "2001:db8::/32"])), ..AccessRules::default() };
        let both = AccessRules { deny: deny.deny.clone(), allow: Some(who(&["KP", "CH"], &["203.0.113.7"])) };
        for (access, ip, country, admitted) in [
            (&open, None, None, true),
            (&open, Some("10.0.0.1"), Some("CH"), true),
            (&nobody, Some("10.0.0.1"), Some("CH"), false),
            (&deny, Some("192.0.2.1"), Some("CH"), true),
            (&deny, Some("203.0.113.7"), Some("CH"), false),
            (&deny, Some("::ffff:203.0.113.7"), None, false),
            (&deny, Some("192.0.2.1"), Some("kp"), false),
            (&deny, None, Some("T1"), false),
            (&deny, None, None, true),
            (&deny, Some("unknown"), Some("?"), true),
            (&allow, Some("10.9.9.9"), Some("DE"), true),
            (&allow, Some(" 2001:db8::7 "), None, true),
            (&allow, Some("192.0.2.1"), Some("CH"), true),
            (&allow, None, Some("ch"), true),
            (&allow, Some("192.0.2.1"), Some("DE"), false),
            (&allow, Some("10.9.9.9, 192.0.2.1"), Some("CH, DE"), false),
            (&allow, Some(""), Some(""), false),
            (&allow, None, None, false),
            (&both, Some("192.0.2.1"), Some("CH"), true),
            (&both, Some("192.0.2.1"), Some("KP"), false),
            (&both, Some("203.0.113.7"), Some("CH"), false),
        ] {
            assert_eq!(access.admits(ip, country), admitted, "{access:?} {ip:?} {country:?}");
        }
    }

    #[test]
    fn only_fields_that_a_rule_names_are_needed() {
        for (allow, deny, ip, country) in [
            (None, who(&[], &[]), false, false),
            (Some(who(&[], &[])), who(&[], &[]), false, false),
            (Some(who(&["CH"], &[])), who(&[], &[]), false, true),
            (Some(who(&[], &["::1"])), who(&["CH"], &[]), true, true),
            (None, who(&[], &["10.0.0.0/8"]), true, false),
        ] {
            let access = AccessRules { allow, deny };
            assert_eq!((access.needs_ip(), access.needs_country()), (ip, country), "{access:?}");
        }
    }

    /// Any address with the length of a prefix.
    fn range() -> impl Strategy<Value = (IpAddr, u32)> {
        let v4 = (any::<Ipv4Addr>(), 0..=32_u32).prop_map(|(v4, length)| (v4.into(), length));
        // Setting bit 125 avoids `::ffff:0:0/96`, the IPv4-mapped addresses.
        let v6 = (any::<Ipv6Addr>(), 3..=128_u32);
        let v6 = v6.prop_map(|(v6, length)| (Ipv6Addr::from_bits(v6.to_bits() | 1 << 125).into(), length));
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn a_range_contains_an_address_exactly_if_the_first_bits_agree((ip, length) in range(), flip in 0..128_u32) {
            let range = IpRange { network: masked(ip, length), length };
            prop_assert_eq!(IpRange::parse(&range.to_string()), Ok(range));
            prop_assert!(range.contains(ip));
            // Flips bit number `flip`, counted from the most significant one.
            let (other, flip): (IpAddr, u32) = match ip {
                IpAddr::V4(v4) => (Ipv4Addr::from_bits(v4.to_bits() ^ (1 << 31 >> (flip / 4))).into(), flip / 4),
                IpAddr::V6(v6) => (Ipv6Addr::from_bits(v6.to_bits() ^ (1 << 127 >> flip)).into(), flip),
            };
            prop_assert_eq!(range.contains(other), flip >= length);
        }

        #[test]
        fn an_error_names_the_range_that_is_right((ip, length) in range()) {
            match IpRange::parse(&format!("{ip}/{length}")) {
                Ok(range) => prop_assert!(range.contains(ip)),
                Err(IpRangeError::HostBits { network }) => {
                    prop_assert!(network.contains(ip));
                    prop_assert_eq!(IpRange::parse(&network.to_string()), Ok(network));
                }
                Err(error) => prop_assert!(false, "{}", error),
            }
        }

        #[test]
        fn any_text_is_checked_without_a_panic(ip in ".*", country in ".*") {
            let access = AccessRules { allow: Some(who(&["CH"], &["10.0.0.0/8"])), ..AccessRules::default() };
            let _ = IpRange::parse(&ip);
            prop_assert!(!access.admits(Some(&ip), None));
            prop_assert_eq!(access.admits(None, Some(&country)), country.trim().eq_ignore_ascii_case("CH"));
        }
    }
}

//! The cookie that gives a returning visitor the same variant. It is signed, so that nobody
//! chooses a variant by inventing an id, and it is bound to its tenant, because storefronts can
//! share a host.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use http_semantics::cookie;
use http_semantics::signing_key::SigningKey;

/// The name of the cookie.
pub const COOKIE: &str = "kv-edge-visitor";

/// The lifetime of the cookie in seconds: a year.
const MAX_AGE: u32 = 31_536_000;
/// The most cookies of one request that are verified. There is a limit because each costs a hash.
const TRIED_MAX: usize = 8;
/// Separates the derived key from other uses of the secret: no cookie holds a MAC under the
/// secret itself.
const LABEL: &[u8] = b"kv-edge visitor cookie 1";
/// The characters that a `path-value` cannot have (RFC 6265 §4.1.1).
const NOT_IN_PATH: &AsciiSet = &CONTROLS.add(b';');

/// The key that signs the cookies.
#[derive(Debug, Clone)]
pub struct VisitorKey(SigningKey);

impl VisitorKey {
    /// Derives the key from a secret of any length.
    #[must_use]
    pub fn derive(secret: &str) -> Self {
        Self(SigningKey::derive(secret, LABEL))
    }

    /// Derives the key from the secret `VISITOR_SECRET`, or from `API_TOKEN` if that is empty;
    /// `None` if both are.
    #[must_use]
    pub fn of_secrets(own_secret: &str, api_token: &str) -> Option<Self> {
        SigningKey::of_secrets(own_secret, api_token, LABEL).map(Self)
    }

    /// Returns the MAC of an id: 128 bits.
    fn sign(&self, tenant: &str, id: &str) -> u128 {
        let mac = self.0.sign(&[&length(tenant), tenant.as_bytes(), id.as_bytes()]);
        mac.iter().take(16).fold(0, |mac, byte| (mac << 8) | u128::from(*byte))
    }

    fn verify(&self, tenant: &str, id: &str, mac: u128) -> bool {
        self.0.verify(&[&length(tenant), tenant.as_bytes(), id.as_bytes()], &mac.to_be_bytes())
    }
}

/// Returns the length of a tenant's name. It precedes the name in what is signed, so that no part
/// of the name can pass for a part of an id.
fn length(tenant: &str) -> [u8; 8] {
    (tenant.len() as u64).to_be_bytes()
}

/// A visitor, as their cookie identifies them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    id: String,
}

impl Visitor {
    /// Returns a new visitor. At least 48 of the bits must be random.
    #[must_use]
    pub fn new(random: u64) -> Self {
        Self { id: format!("{random:016x}") }
    }

    /// Returns the id: 16 lower-case hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the visitor of the first cookie that is signed for this tenant with this key, or
    /// `None`.
    ///
    /// A `Cookie` field can have several cookies of the name, for other paths or forged; the
    /// first 8 are tried. The comparison takes constant time, so that it does not show how much
    /// of a guess was right.
    #[must_use]
    pub fn read(cookie_field: &str, tenant: &str, key: &VisitorKey) -> Option<Self> {
        cookie::values(cookie_field, COOKIE).take(TRIED_MAX).find_map(|value| {
            let (id, mac) = value.split_once('.')?;
            let mac = hex128(mac)?;
            let is_id = id.len() == 16 && is_hex(id);
            (is_id && key.verify(tenant, id, mac)).then(|| Self { id: id.to_owned() })
        })
    }

    /// Returns the `Set-Cookie` field (RFC 6265 §4.1) that identifies the visitor for a year.
    /// `path` starts with `/`; characters that the field cannot contain are percent-encoded.
    #[must_use]
    pub fn set_cookie(&self, tenant: &str, path: &str, key: &VisitorKey) -> String {
        let id = &self.id;
        let mac = key.sign(tenant, id);
        let path = utf8_percent_encode(path, NOT_IN_PATH);
        format!("{COOKIE}={id}.{mac:032x}; Path={path}; Max-Age={MAX_AGE}; Secure; HttpOnly; SameSite=Lax")
    }
}

/// Parses 32 lower-case hexadecimal digits. Only one spelling of a MAC is valid, so that no
/// changed cookie is accepted.
fn hex128(digits: &str) -> Option<u128> {
    if digits.len() == 32 && is_hex(digits) { u128::from_str_radix(digits, 16).ok() } else { None }
}

fn is_hex(digits: &str) -> bool {
    digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(visitor: &Visitor, tenant: &str, key: &VisitorKey) -> String {
        visitor.set_cookie(tenant, "/", key).split_once(';').unwrap().0.to_owned()
    }

    #[test]
    fn the_cookie_is_for_https_and_out_of_reach_of_scripts() {
        let cookie = Visitor::new(0xfe).set_cookie("shop", "/stores/shop", &VisitorKey::derive("secret"));
        assert_eq!(
            cookie,
            "kv-edge-visitor=00000000000000fe.9d57ab793b81bd713d42d18f2eb22392; \
             Path=/stores/shop; Max-Age=31536000; Secure; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn the_path_cannot_add_attributes() {
        let key = VisitorKey::derive("secret");
        for (path, written) in [
            ("/stores/a; Domain=x", "; Path=/stores/a%3B Domain=x; Max"),
            ("/a\r\nX: y\u{7f}", "; Path=/a%0D%0AX: y%7F; Max"),
            ("/stores/%3B/é", "; Path=/stores/%3B/%C3%A9; Max"),
        ] {
            assert!(Visitor::new(1).set_cookie("shop", path, &key).contains(written), "{path:?}");
        }
    }

    #[test]
    fn a_cookie_for_another_tenant_or_key_or_a_changed_one_is_ignored() {
        let key = VisitorKey::derive("secret");
        let visitor = Visitor::new(0xab_cdef);
        let valid = pair(&visitor, "shop", &key);
        let (id, mac) = valid.strip_prefix("kv-edge-visitor=").unwrap().split_once('.').unwrap();
        let other_mac = format!("{:032x}", u128::from_str_radix(mac, 16).unwrap() ^ 1);
        assert_eq!(Visitor::read(&valid, "shop", &key), Some(visitor.clone()));
        for cookie in [
            String::new(),
            "kv-edge-visitor=".to_owned(),
            "kv-edge-visitor=.".to_owned(),
            pair(&visitor, "shop2", &key),
            pair(&visitor, "", &key),
            pair(&visitor, "shop", &VisitorKey::derive("Secret")),
            format!("kv-edge-visitor=1000000000abcdef.{mac}"),
            format!("kv-edge-visitor={id}.{other_mac}"),
            format!("kv-edge-visitor={id}.{}", mac.to_ascii_uppercase()),
            format!("kv-edge-visitor={}.{mac}", id.to_ascii_uppercase()),
            format!("kv-edge-visitor={id}.{}", &mac[..30]),
            format!("kv-edge-visitor={id}.+{}", &mac[1..]),
            format!("kv-edge-visitor={id}.{mac}00"),
            format!("kv-edge-visitor={id}."),
            format!("kv-edge-visitor={id}"),
            format!("kv-edge-visitor={id}{mac}"),
            format!("kv-edge-visitors={id}.{mac}"),
        ] {
            assert_eq!(Visitor::read(&cookie, "shop", &key), None, "{cookie}");
        }
    }

    #[test]
    fn the_first_valid_one_of_eight_cookies_counts() {
        let key = VisitorKey::derive("secret");
        let (one, two) = (pair(&Visitor::new(1), "shop", &key), pair(&Visitor::new(2), "shop", &key));
        let forged = |times| "kv-edge-visitor=x; uid=7; ".repeat(times);
        assert_eq!(Visitor::read(&format!("{}{one}; {two}", forged(7)), "shop", &key), Some(Visitor::new(1)));
        assert_eq!(Visitor::read(&format!("{}{one}; {two}", forged(8)), "shop", &key), None);
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", VisitorKey::derive("secret")), "VisitorKey(SigningKey(..))");
    }

    proptest! {
        #[test]
        fn a_cookie_is_read_back_by_its_tenant_only(random in any::<u64>(), tenant in ".*", other in ".*", secret in ".*") {
            let (key, visitor) = (VisitorKey::derive(&secret), Visitor::new(random));
            let cookie = pair(&visitor, &tenant, &key);
            prop_assert_eq!(Visitor::read(&cookie, &other, &key).is_some(), tenant == other);
            prop_assert_eq!(Visitor::read(&cookie, &tenant, &key), Some(visitor));
        }

        #[test]
        fn no_other_cookie_is_valid(value in "[0-9a-f]{16}\\.[0-9a-f]{32}|.*") {
            let key = VisitorKey::derive("secret");
            prop_assert_eq!(Visitor::read(&format!("{COOKIE}={value}"), "shop", &key), None);
            prop_assert_eq!(Visitor::read(&value, "shop", &key), None);
        }
    }
}

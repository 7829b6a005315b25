//! Tokens that carry their scope: JSON Web Tokens (RFC 7519) with HMAC-SHA-256. A Worker needs
//! only its secret to check one; KV has nothing but the list of revoked ones. [`crate::access`]
//! says what a token allows.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_semantics::signing_key::SigningKey;
use kv_store::limits::Key;
use kv_store::record::{self, BrokenRecord, to_json};
use serde::{Deserialize, Serialize};

/// The header of every token, `{"alg":"HS256","typ":"JWT"}`. Only this one is accepted, so nobody
/// chooses another algorithm (RFC 8725 §3.1).
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// Separates the key of tokens from other uses of the secret.
const LABEL: &[u8] = b"kv-edge kv api token 1";

/// The longest text that is verified, in bytes; its prefix alone may have 512.
const TOKEN_BYTES_MAX: usize = 4096;

/// The latest time at which a token may expire, in seconds since the Unix epoch: the end of the
/// year 9999, the last year of four digits.
const EXPIRES_MAX: u64 = 253_402_300_799;

/// The longest name, in characters.
const NAME_MAX: usize = 64;

/// The key in `USER_CONFIGURATION` that lists the names of revoked tokens.
pub const REVOKED_KEY: Key<'static> = Key::literal("kv-edge:revoked-tokens");

/// The key that signs tokens.
#[derive(Debug, Clone)]
pub struct TokenKey(SigningKey);

impl TokenKey {
    /// Derives the key from a secret of any length.
    #[must_use]
    pub fn derive(secret: &str) -> Self {
        Self(SigningKey::derive(secret, LABEL))
    }

    /// Derives the key from the secret `TOKEN_SECRET`, or from `API_TOKEN` if that is empty;
    /// `None` if both are.
    #[must_use]
    pub fn of_secrets(own_secret: &str, api_token: &str) -> Option<Self> {
        SigningKey::of_secrets(own_secret, api_token, LABEL).map(Self)
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// The name by which it is revoked.
    #[serde(rename = "sub")]
    pub name: String,
    /// The id or title of the namespace that it reaches.
    pub namespace: String,
    /// The prefix of the keys that it reaches; empty for all keys.
    #[serde(default)]
    pub prefix: String,
    /// True if it may change keys.
    #[serde(default)]
    pub write: bool,
    /// When it expires, in seconds since the Unix epoch.
    #[serde(rename = "exp")]
    pub expires: u64,
}

impl AccessToken {
    /// Returns true if this may be the name of a token: 1 to 64 letters, digits, `.`, `_` and `-`.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        (1..=NAME_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    }

    /// Returns the token as text.
    ///
    /// [`verify`](Self::verify) has an example.
    #[must_use]
    pub fn sign(&self, key: &TokenKey) -> String {
        let claims = URL_SAFE_NO_PAD.encode(to_json(self));
        let signed = format!("{HEADER}.{claims}");
        let mac = key.0.sign(&[signed.as_bytes()]);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// Returns what a text says if it is a token that this key has signed, whether or not it is
    /// expired or revoked. One that expires after the year 9999 is refused. The comparison takes
    /// constant time.
    ///
    /// # Examples
    ///
    /// ```
    /// use kv_api::token::{AccessToken, TokenKey};
    ///
    /// let (name, namespace, prefix) = ("ci".into(), "assets".into(), "site/".into());
    /// let token = AccessToken { name, namespace, prefix, write: true, expires: 1_900_000_000 };
    /// let key = TokenKey::derive("a secret");
    /// let text = token.sign(&key);
    /// assert_eq!(AccessToken::verify(&text, &key), Some(token));
    /// assert_eq!(AccessToken::verify(&text, &TokenKey::derive("another")), None);
    /// // `{"alg":"none","typ":"JWT"}`: no token says itself that it needs no signature.
    /// let (_, claims_and_mac) = text.split_once('.').unwrap();
    /// let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims_and_mac}");
    /// assert_eq!(AccessToken::verify(&unsigned, &key), None);
    /// ```
    #[must_use]
    pub fn verify(text: &str, key: &TokenKey) -> Option<Self> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, mac) = text.rsplit_once('.')?;
        let claims = signed.strip_prefix(HEADER)?.strip_prefix('.')?;
        let mac: [u8; 32] = URL_SAFE_NO_PAD.decode(mac).ok()?.try_into().ok()?;
        if !key.0.verify(&[signed.as_bytes()], &mac) {
            return None;
        }
        let token: Self = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        (token.expires <= EXPIRES_MAX).then_some(token)
    }

    /// Returns true if it has expired. `now` is in seconds since the Unix epoch.
    #[must_use]
    pub fn is_expired(&self, now: u64) -> bool {
        now >= self.expires
    }
}

/// The names of revoked tokens, as [`REVOKED_KEY`] lists them: a JSON array.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevokedTokens(HashSet<String>);

impl RevokedTokens {
    /// Reads the list; a missing one is empty.
    ///
    /// # Errors
    /// The value is not an array of names.
    ///
    /// # Examples
    ///
    /// ```
    /// use kv_api::token::RevokedTokens;
    ///
    /// let revoked = RevokedTokens::parse(Some(r#"["ci", "laptop"]"#))?;
    /// assert!(revoked.contains("ci") && !revoked.contains("phone"));
    /// assert!(!RevokedTokens::parse(None)?.contains("ci"), "KV has no list yet");
    /// # Ok::<(), kv_store::record::BrokenRecord>(())
    /// ```
    pub fn parse(json: Option<&str>) -> Result<Self, BrokenRecord> {
        let names: Vec<String> = json.map_or_else(|| Ok(Vec::new()), record::parse_list)?;
        Ok(Self(names.into_iter().collect()))
    }

    /// Adds a name. Returns false if it was there already.
    pub fn add(&mut self, name: &str) -> bool {
        self.0.insert(name.to_owned())
    }

    /// Adds the names of another list. Returns false if that list has all names of this one.
    pub fn merge(&mut self, other: Self) -> bool {
        let lacks_some = !self.0.is_subset(&other.0);
        self.0.extend(other.0);
        lacks_some
    }

    /// Returns true if the token of this name is revoked.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Returns the list as JSON, in the order of names.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        names.sort_unstable();
        serde_json::Value::from(names).to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> AccessToken {
        AccessToken {
            name: "ci".into(),
            namespace: "assets".into(),
            prefix: "site/".into(),
            write: true,
            expires: 2000,
        }
    }

    #[test]
    fn a_token_says_what_was_signed() {
        let key = TokenKey::derive("secret");
        let text = token().sign(&key);
        assert_eq!(AccessToken::verify(&text, &key), Some(token()));
        assert_eq!(AccessToken::verify(&text, &TokenKey::derive("another")), None);
        assert!(token().is_expired(2000) && !token().is_expired(1999));
    }

    #[test]
    fn a_token_that_expires_after_the_year_9999_is_refused() {
        let key = TokenKey::derive("secret");
        let verified = |expires| AccessToken::verify(&AccessToken { expires, ..token() }.sign(&key), &key).is_some();
        assert!(verified(EXPIRES_MAX) && !verified(EXPIRES_MAX + 1) && !verified(u64::MAX));
    }

    #[test]
    fn no_other_header_or_signature_is_accepted() {
        let key = TokenKey::derive("secret");
        let text = token().sign(&key);
        let [_, claims, mac] = text.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        for forged in [
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{mac}"),
            format!("{HEADER}.{claims}."),
            format!("{HEADER}.{claims}"),
            format!("{HEADER}.{claims}.{}", &mac[..22]),
            format!("{HEADER}.{claims}.{mac}="),
            String::new(),
            "..".to_owned(),
            "x".repeat(10_000),
        ] {
            assert_eq!(AccessToken::verify(&forged, &key), None, "{forged}");
        }
    }

    #[test]
    fn the_list_of_revoked_tokens_is_an_array_of_names() {
        let mut revoked = RevokedTokens::parse(Some(r#"["b"]"#)).unwrap();
        assert!(revoked.add("a") && !revoked.add("b"));
        assert!(revoked.contains("a") && !revoked.contains("c"));
        assert_eq!(revoked.to_json(), r#"["a","b"]"#);
        let list = |json| RevokedTokens::parse(Some(json)).unwrap();
        for (other, is_lacking, merged) in
            [(r#"["c"]"#, true, r#"["a","b","c"]"#), (r#"["a","d","c","b"]"#, false, r#"["a","b","c","d"]"#)]
        {
            assert_eq!((revoked.merge(list(other)), revoked.to_json().as_str()), (is_lacking, merged));
        }
        assert_eq!(RevokedTokens::parse(None).unwrap(), RevokedTokens::default());
        assert!(RevokedTokens::parse(Some("{}")).is_err());
    }

    proptest! {
        #[test]
        fn a_token_with_a_changed_character_is_refused(position in 0_usize..300, replacement in "[A-Za-z0-9_.-]") {
            let key = TokenKey::derive("secret");
            let text = token().sign(&key);
            let position = position % text.len();
            let changed = format!("{}{replacement}{}", &text[..position], &text[position + 1..]);
            prop_assume!(changed != text);
            prop_assert_eq!(AccessToken::verify(&changed, &key), None);
        }
    }
}

//! Keys that sign what a client stores and sends back, such as a cookie or a token: HMAC-SHA-256
//! (RFC 2104).

use std::fmt;

use hmac::digest::Key;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// A key derived from a secret for one purpose.
///
/// # Examples
///
/// ```
/// use http_semantics::signing_key::SigningKey;
///
/// let key = SigningKey::derive("a secret", b"cookie 1");
/// let mac = key.sign(&[b"id"]);
/// assert!(key.verify(&[b"id"], &mac));
/// assert!(!key.verify(&[b"another id"], &mac));
/// assert!(!SigningKey::derive("a secret", b"token 1").verify(&[b"id"], &mac));
/// ```
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Derives the key from a secret of any length. The label names the purpose: nothing that is
    /// signed for one purpose is valid for another.
    #[must_use]
    pub fn derive(secret: &str, label: &[u8]) -> Self {
        let key = keyed(secret.as_bytes()).chain_update(label).finalize().into_bytes();
        Self(keyed(&key))
    }

    /// Derives the key from its own secret, or from `API_TOKEN` if that is empty; `None` if both
    /// are.
    #[must_use]
    pub fn of_secrets(own_secret: &str, api_token: &str, label: &[u8]) -> Option<Self> {
        let secret = if own_secret.is_empty() { api_token } else { own_secret };
        (!secret.is_empty()).then(|| Self::derive(secret, label))
    }

    /// Returns the MAC of a message, 32 bytes. The message is the parts joined, so the MAC does
    /// not show at which byte a part ends.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.mac(parts).finalize().into_bytes().into()
    }

    /// Returns true if this is the MAC of a message, or its first 16 bytes or more (RFC 2104 §5).
    /// The comparison takes constant time, so that it does not show how much of a guess was right.
    #[must_use]
    pub fn verify<const BYTES: usize>(&self, parts: &[&[u8]], mac: &[u8; BYTES]) -> bool {
        const { assert!(BYTES >= 16, "a shorter MAC can be guessed") };
        self.mac(parts).verify_truncated_left(mac).is_ok()
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        parts.iter().fold(self.0.clone(), Hmac::chain_update)
    }
}

impl fmt::Debug for SigningKey {
    /// Hides the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// Returns HMAC with this key (RFC 2104 §2): a key longer than a block is hashed, and a shorter
/// one is padded with zeros. Unlike `Hmac::new_from_slice`, it cannot fail.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = Key::<Hmac<Sha256>>::default();
    let hash: [u8; 32] = Sha256::digest(key).into();
    let key = if key.len() > block.len() { &hash } else { key };
    block.iter_mut().zip(key).for_each(|(byte, given)| *byte = *given);
    Hmac::new(&block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_from_its_own_secret_else_from_the_token_else_there_is_none() {
        let mac = |own_secret, token| SigningKey::of_secrets(own_secret, token, b"a").map(|key| key.sign(&[b"id"]));
        let derived = |secret| Some(SigningKey::derive(secret, b"a").sign(&[b"id"]));
        assert_eq!(mac("own", "token"), derived("own"));
        assert_eq!(mac("", "token"), derived("token"));
        assert_eq!(mac("", ""), None);
    }

    #[test]
    fn the_first_half_of_a_mac_is_as_in_rfc_4231() {
        for (key, data, mac) in [
            (&[0x0b; 20][..], "Hi There", 0xb034_4c61_d8db_3853_5ca8_afce_af0b_f12b_u128),
            (b"Jefe", "what do ya want for nothing?", 0x5bdc_c146_bf60_754e_6a04_2426_0895_75c7),
            (
                &[0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                0x60e4_3159_1ee0_b67f_0d8a_26aa_cbf5_b77f,
            ),
        ] {
            assert!(SigningKey(keyed(key)).verify(&[data.as_bytes()], &mac.to_be_bytes()), "{data}");
        }
    }
}

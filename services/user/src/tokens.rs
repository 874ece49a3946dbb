//! Opaque tokens (refresh, password reset) and what is kept of them: only hashes.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The key that successors of refresh tokens and fingerprints of secrets are derived with. Cheap to clone.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

impl TokenKey {
    /// The key of those bytes.
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    /// The one successor of a refresh token.
    ///
    /// Whoever shows the same token twice within the grace gets the same successor, although it is stored nowhere.
    pub fn successor(&self, token: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.derive("refresh", token.as_bytes()))
    }

    /// What stands for a secret in the fingerprint of a request: a plain hash could be guessed.
    pub fn fingerprint(&self, secret: &[u8]) -> String {
        hex::encode(self.derive("fingerprint", secret))
    }

    /// The hash by which a client is recognized. It is keyed, because addresses could be guessed from a plain hash.
    pub fn client(&self, kind: &str, value: &[u8]) -> Vec<u8> {
        self.derive(kind, value).to_vec()
    }

    fn derive(&self, purpose: &str, input: &[u8]) -> [u8; 32] {
        let mac = self.0.clone().chain_update(purpose).chain_update([0]).chain_update(input);
        mac.finalize().into_bytes().into()
    }
}

/// A new token: 32 random bytes.
pub fn random_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What is stored of a token. It has 256 random bits, so a fast hash is enough.
pub fn token_hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_successor_under_one_key() {
        let (key, other) = (TokenKey::new(&[1; 32]), TokenKey::new(&[2; 32]));

        assert_eq!(key.successor("a"), key.clone().successor("a"));
        assert_ne!(key.successor("a"), key.successor("b"));
        assert_ne!(key.successor("a"), other.successor("a"));
        assert_ne!(random_token(), random_token());
    }
}

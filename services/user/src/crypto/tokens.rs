//! Opaque tokens (refresh, password reset). Only their hashes are stored.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Derives the successors of refresh tokens, and keyed hashes. Cheap to clone.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

impl TokenKey {
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC accepts keys of any length"))
    }

    /// The successor of a refresh token: always the same one, so that a repeated refresh within the grace gets it again
    /// although it is not stored.
    pub fn successor(&self, token: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.derive("refresh", token.as_bytes()))
    }

    /// Stands for a secret in the fingerprint of a request. Keyed, because a plain hash could be guessed.
    pub fn fingerprint(&self, secret: &[u8]) -> String {
        hex::encode(self.derive("fingerprint", secret))
    }

    /// The hash by which a client is recognized. Keyed, because addresses could be guessed from a plain hash.
    pub fn client_hash(&self, kind: &str, value: &[u8]) -> Vec<u8> {
        self.derive(kind, value).to_vec()
    }

    fn derive(&self, purpose: &str, input: &[u8]) -> [u8; 32] {
        let mac = self.0.clone().chain_update(purpose).chain_update([0]).chain_update(input);
        mac.finalize().into_bytes().into()
    }
}

/// 32 random bytes in base64url.
pub fn random_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// The stored hash of a token. A token has 256 random bits, so a fast hash is enough.
pub fn token_hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_depends_on_token_and_key_alone() {
        let (key, other) = (TokenKey::new(&[1; 32]), TokenKey::new(&[2; 32]));

        assert_eq!(key.successor("a"), key.clone().successor("a"));
        assert_ne!(key.successor("a"), key.successor("b"));
        assert_ne!(key.successor("a"), other.successor("a"));
        assert_ne!(random_token(), random_token());
    }
}

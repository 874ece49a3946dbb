//! The tokens of door links. Only their hashes are stored.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// Begins every token, which tells it from an access token.
const PREFIX: &str = "door_";

/// A new token with 256 random bits.
pub fn random() -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

/// Whether a bearer token is one of a door link.
pub fn is_door_token(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// The stored hash of a token. A token cannot be guessed, so a fast hash is enough.
pub fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

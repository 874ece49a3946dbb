//! Cryptography of passwords and tokens.
//!
//! - [`hashing`]: argon2id in a bounded pool; [`signing`]: access tokens and the keys that sign them
//! - [`tokens`]: refresh and reset tokens, of which only hashes are stored

pub mod hashing;
pub mod signing;
pub mod tokens;

//! Who is asking: access tokens of users, and the keys that sign and verify them.

use std::{collections::HashMap, fs, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use contracts::identity::{ACCESS_TOKEN_AUDIENCE, ACCESS_TOKEN_ISSUER, ACCESS_TOKEN_TYPE, AccessClaims, Role};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use platform::auth::AccessKeys;
use serde_json::{Value, json};

const KEY_ID: &str = "test";
/// How long an access token is valid, in seconds.
const LIFETIME: i64 = 600;

fn access_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// The claims of a user, valid for ten minutes from `now`.
pub fn claims(now: DateTime<Utc>, user_id: i32, role: Role) -> AccessClaims {
    AccessClaims {
        iss: ACCESS_TOKEN_ISSUER.to_owned(),
        aud: ACCESS_TOKEN_AUDIENCE.to_owned(),
        sub: user_id.to_string(),
        iat: now.timestamp(),
        exp: now.timestamp() + LIFETIME,
        sid: "session".to_owned(),
        role,
        email: format!("user{user_id}@example.org"),
        name: format!("User {user_id}"),
        language: None,
    }
}

/// The access token of those claims.
pub fn sign(claims: &AccessClaims) -> String {
    let header = Header {
        typ: Some(ACCESS_TOKEN_TYPE.to_owned()),
        kid: Some(KEY_ID.to_owned()),
        ..Header::new(Algorithm::EdDSA)
    };
    let pem = access_key().to_pkcs8_pem(LineEnding::LF).unwrap();
    encode(&header, claims, &EncodingKey::from_ed_pem(pem.as_bytes()).unwrap()).unwrap()
}

/// The access token of a user, valid for ten minutes from `now`.
pub fn access_token(now: DateTime<Utc>, user_id: i32, role: Role) -> String {
    sign(&claims(now, user_id, role))
}

/// The keys that verify these tokens.
pub fn access_keys() -> AccessKeys {
    let pem = access_key().verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    AccessKeys::fixed(HashMap::from([(KEY_ID.to_owned(), DecodingKey::from_ed_pem(pem.as_bytes()).unwrap())]))
}

/// The same keys, as user-service publishes them.
pub fn jwks() -> Value {
    let x = URL_SAFE_NO_PAD.encode(access_key().verifying_key().as_bytes());
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": KEY_ID, "x": x }] })
}

/// Writes `<name>.pem`, a new Ed25519 key, into a folder.
pub fn write_private_key(folder: &Path, name: &str) {
    let pem = SigningKey::from_bytes(&rand::random()).to_pkcs8_pem(LineEnding::LF).unwrap();
    fs::write(folder.join(format!("{name}.pem")), pem.as_bytes()).unwrap();
}

/// Writes `<name>.pem`, a new P-256 key for the codes of tickets, into a folder.
pub fn write_ticket_key(folder: &Path, name: &str) {
    let key = p256::SecretKey::from_slice(&rand::random::<[u8; 32]>()).unwrap();
    fs::write(folder.join(format!("{name}.pem")), key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()).unwrap();
}

/// Writes `booking-service.pem`, which signs, and `trusted/booking-service.pem`, which verifies.
pub fn write_service_keys(folder: &Path) {
    let key = SigningKey::from_bytes(&[9; 32]);
    fs::write(folder.join("booking-service.pem"), key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()).unwrap();
    fs::create_dir_all(folder.join("trusted")).unwrap();
    let public = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    fs::write(folder.join("trusted/booking-service.pem"), public).unwrap();
}

//! Access tokens, and the keys that sign them: read from a folder, and rotated without a restart.
//!
//! Remove an old key's file when the last token that it signed has expired: two minutes and `ACCESS_TOKEN_SECONDS` after
//! adding the new one ([`platform::key_ring`]).

use std::path::Path;

use anyhow::Context;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use contracts::identity::{ACCESS_TOKEN_AUDIENCE, ACCESS_TOKEN_ISSUER, ACCESS_TOKEN_TYPE, AccessClaims};
use ed25519_dalek::pkcs8::DecodePrivateKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use platform::{Clock, auth::AccessKeys, key_ring::KeyRing};
use uuid::Uuid;

use crate::domain::User;

/// Cheap to clone.
#[derive(Clone)]
pub struct SigningKeys {
    ring: KeyRing<Key>,
    clock: Clock,
    public: AccessKeys,
}

#[derive(Clone)]
struct Key {
    signing: EncodingKey,
    verifying: DecodingKey,
    /// The public key in base64url, as in a JWK.
    x: String,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.x == other.x
    }
}

/// A published key.
pub struct PublicKey {
    pub kid: String,
    /// The key in base64url, as in a JWK.
    pub x: String,
}

impl SigningKeys {
    /// Reads the keys `<kid>.pem` in `dir`. Fails if there is none, or if one is not an Ed25519 key in PKCS#8 PEM.
    pub fn from_dir(dir: &Path, clock: Clock) -> anyhow::Result<Self> {
        let ring = KeyRing::from_dir("SIGNING_KEYS_DIR", dir, clock.clone(), Key::parse)?;
        let public = AccessKeys::fixed(ring.published().into_iter().map(|(kid, key)| (kid, key.verifying)).collect());
        Ok(Self { ring, clock, public })
    }

    /// Follows every reload.
    pub fn public_keys(&self) -> AccessKeys {
        self.public.clone()
    }

    /// Reads the folder again; returns whether a key changed. If that fails, the current keys stay.
    pub async fn reload(&self) -> anyhow::Result<bool> {
        let changed = self.ring.reload()?;
        if changed {
            let published = self.ring.published().into_iter();
            self.public.replace(published.map(|(kid, key)| (kid, key.verifying)).collect()).await;
        }
        Ok(changed)
    }

    /// The public keys, by name.
    pub fn published(&self) -> Vec<PublicKey> {
        self.ring.published().into_iter().map(|(kid, key)| PublicKey { kid, x: key.x }).collect()
    }

    pub fn access_token(&self, user: &User, session_id: Uuid, lifetime_seconds: u32) -> anyhow::Result<String> {
        let now = self.clock.now();
        let claims = AccessClaims {
            iss: ACCESS_TOKEN_ISSUER.to_owned(),
            aud: ACCESS_TOKEN_AUDIENCE.to_owned(),
            sub: user.id.to_string(),
            iat: now.timestamp(),
            exp: now.timestamp() + i64::from(lifetime_seconds),
            sid: session_id.to_string(),
            role: user.role,
            email: user.email.clone(),
            name: user.name.clone(),
            language: user.language,
        };
        let (kid, key) = self.ring.signer();
        let header =
            Header { typ: Some(ACCESS_TOKEN_TYPE.to_owned()), kid: Some(kid), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims, &key.signing).context("access token")
    }
}

impl Key {
    fn parse(_kid: &str, pem: &str) -> anyhow::Result<Self> {
        let invalid = "holds no Ed25519 key in PKCS#8 PEM";
        let pair = ed25519_dalek::SigningKey::from_pkcs8_pem(pem).context(invalid)?;
        let signing = EncodingKey::from_ed_pem(pem.as_bytes()).context(invalid)?;
        let x = URL_SAFE_NO_PAD.encode(pair.verifying_key().as_bytes());
        Ok(Self { signing, verifying: DecodingKey::from_ed_components(&x)?, x })
    }
}

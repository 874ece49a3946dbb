//! Access tokens, and the keys that sign them: read from a folder, and rotated without a restart.
//!
//! To rotate, add `<new kid>.pem` with a name that sorts after that of the current key. The new key is published within
//! 10 s and signs two minutes later, when every verifier and every replica has seen it. Remove the old file when the
//! last token that it signed has expired: two minutes and `ACCESS_TOKEN_SECONDS` after adding the new one.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::identity::{ACCESS_TOKEN_AUDIENCE, ACCESS_TOKEN_ISSUER, ACCESS_TOKEN_TYPE, AccessClaims};
use ed25519_dalek::pkcs8::DecodePrivateKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use platform::{Clock, auth::AccessKeys};
use uuid::Uuid;

use crate::domain::User;

/// How long a key is published before it signs.
const PUBLISHED_BEFORE_SIGNING: TimeDelta = TimeDelta::seconds(120);

/// Cheap to clone.
#[derive(Clone)]
pub struct SigningKeys {
    dir: Arc<PathBuf>,
    clock: Clock,
    keys: Arc<RwLock<KeyRing>>,
    public: AccessKeys,
}

type KeyRing = BTreeMap<String, Key>;

#[derive(Clone)]
struct Key {
    signing: EncodingKey,
    /// The public key in base64url, as in a JWK.
    x: String,
    /// When this process began to publish it.
    published_at: DateTime<Utc>,
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
        let keys = read(dir, clock.now())?;
        let public = AccessKeys::fixed(decoding_keys(&keys)?);
        Ok(Self { dir: Arc::new(dir.to_owned()), clock, keys: Arc::new(RwLock::new(keys)), public })
    }

    /// Follows every reload.
    pub fn public_keys(&self) -> AccessKeys {
        self.public.clone()
    }

    /// Reads the folder again; returns whether a key changed. If that fails, the current keys stay.
    pub async fn reload(&self) -> anyhow::Result<bool> {
        let mut found = read(&self.dir, self.clock.now())?;
        let same = {
            let current = self.ring();
            for (kid, key) in &mut found {
                if let Some(known) = current.get(kid).filter(|known| known.x == key.x) {
                    key.published_at = known.published_at;
                }
            }
            found.len() == current.len()
                && found.iter().all(|(kid, key)| current.get(kid).is_some_and(|known| known.x == key.x))
        };
        if !same {
            self.public.replace(decoding_keys(&found)?).await;
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = found;
        }
        Ok(!same)
    }

    /// The public keys, by name.
    pub fn published(&self) -> Vec<PublicKey> {
        self.ring().iter().map(|(kid, key)| PublicKey { kid: kid.clone(), x: key.x.clone() }).collect()
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
        let ring = self.ring();
        let (kid, key) = signer(&ring, now).context("no signing key")?;
        let header = Header {
            typ: Some(ACCESS_TOKEN_TYPE.to_owned()),
            kid: Some(kid.to_owned()),
            ..Header::new(Algorithm::EdDSA)
        };
        encode(&header, &claims, &key.signing).context("access token")
    }

    fn ring(&self) -> std::sync::RwLockReadGuard<'_, KeyRing> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last key by name among those published long enough. Right after a start there is none; then the key published
/// first, and among equals the first by name, which is the older one during a rotation.
fn signer(ring: &KeyRing, now: DateTime<Utc>) -> Option<(&str, &Key)> {
    let eligible = ring.iter().rfind(|(_, key)| now - key.published_at >= PUBLISHED_BEFORE_SIGNING);
    let oldest = || ring.iter().min_by_key(|(_, key)| key.published_at);
    eligible.or_else(oldest).map(|(kid, key)| (kid.as_str(), key))
}

fn read(dir: &Path, now: DateTime<Utc>) -> anyhow::Result<KeyRing> {
    let context = || format!("SIGNING_KEYS_DIR: cannot read {}", dir.display());
    let mut keys = KeyRing::new();
    for entry in std::fs::read_dir(dir).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        let kid = path.file_stem().and_then(|stem| stem.to_str()).with_context(context)?;
        let pem = std::fs::read_to_string(&path).with_context(context)?;
        let invalid = || format!("SIGNING_KEYS_DIR: {} holds no Ed25519 key in PKCS#8 PEM", path.display());
        let pair = ed25519_dalek::SigningKey::from_pkcs8_pem(&pem).with_context(invalid)?;
        let signing = EncodingKey::from_ed_pem(pem.as_bytes()).with_context(invalid)?;
        let x = URL_SAFE_NO_PAD.encode(pair.verifying_key().as_bytes());
        keys.insert(kid.to_owned(), Key { signing, x, published_at: now });
    }
    ensure!(!keys.is_empty(), "SIGNING_KEYS_DIR: no <kid>.pem in {}", dir.display());
    Ok(keys)
}

fn decoding_keys(keys: &KeyRing) -> anyhow::Result<HashMap<String, DecodingKey>> {
    keys.iter().map(|(kid, key)| Ok((kid.clone(), DecodingKey::from_ed_components(&key.x)?))).collect()
}

//! Access tokens, and the keys that sign them: read from a folder, rotated without a restart.
//!
//! Rotation: put `<new kid>.pem` beside the present key, its name sorting after it. It is published within 10 s and
//! signs two minutes later, when every verifier and every replica has had time to see it. Remove the old file once the
//! last token that it signed is over (two minutes and `ACCESS_TOKEN_SECONDS` after adding the new one).

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
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::store::User;

/// How long a key is published before it signs.
pub const PUBLISHED_BEFORE_SIGNING: TimeDelta = TimeDelta::seconds(120);

/// The keys in the folder. Cheap to clone.
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
    /// The public key in base64url, as JWKS has it.
    x: String,
    /// Since when this process publishes it.
    since: DateTime<Utc>,
}

/// Public keys as RFC 7517 has them.
#[derive(Debug, JsonSchema, Serialize)]
pub struct JwksResponse {
    /// One for each key file.
    pub keys: Vec<JwkResponse>,
}

/// A public key as RFC 8037 has it.
#[derive(Debug, JsonSchema, Serialize)]
pub struct JwkResponse {
    /// Key type: always `OKP`.
    pub kty: &'static str,
    /// Curve: always `Ed25519`.
    pub crv: &'static str,
    /// The public key, base64url.
    pub x: String,
    /// The id by which tokens name the key.
    pub kid: String,
    /// Algorithm: always `EdDSA`.
    pub alg: &'static str,
    /// Use: always `sig`.
    #[serde(rename = "use")]
    pub usage: &'static str,
}

impl SigningKeys {
    /// Reads the keys `<kid>.pem` in `dir`. Fails if there is none, or one that is no Ed25519 key in PKCS#8 PEM.
    pub fn from_dir(dir: &Path, clock: Clock) -> anyhow::Result<Self> {
        let keys = read(dir, clock.now())?;
        let public = AccessKeys::fixed(decoding_keys(&keys)?);
        Ok(Self { dir: Arc::new(dir.to_owned()), clock, keys: Arc::new(RwLock::new(keys)), public })
    }

    /// The public keys, kept up to date.
    pub fn public_keys(&self) -> AccessKeys {
        self.public.clone()
    }

    /// Reads the folder again; says whether anything changed. A folder that is not in order changes nothing.
    pub async fn reload(&self) -> anyhow::Result<bool> {
        let mut found = read(&self.dir, self.clock.now())?;
        let same = {
            let present = self.ring();
            for (kid, key) in &mut found {
                if let Some(known) = present.get(kid).filter(|known| known.x == key.x) {
                    key.since = known.since;
                }
            }
            found.len() == present.len()
                && found.iter().all(|(kid, key)| present.get(kid).is_some_and(|known| known.x == key.x))
        };
        if !same {
            self.public.replace(decoding_keys(&found)?).await;
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = found;
        }
        Ok(!same)
    }

    /// The document at `/.well-known/jwks.json`.
    pub fn jwks(&self) -> JwksResponse {
        let key = |(kid, key): (&String, &Key)| JwkResponse {
            kty: "OKP",
            crv: "Ed25519",
            x: key.x.clone(),
            kid: kid.clone(),
            alg: "EdDSA",
            usage: "sig",
        };
        JwksResponse { keys: self.ring().iter().map(key).collect() }
    }

    /// An access token for a session of `user`, valid for so many seconds.
    pub fn access_token(&self, user: &User, session_id: Uuid, seconds: u32) -> anyhow::Result<String> {
        let now = self.clock.now();
        let claims = AccessClaims {
            iss: ACCESS_TOKEN_ISSUER.to_owned(),
            aud: ACCESS_TOKEN_AUDIENCE.to_owned(),
            sub: user.id.to_string(),
            iat: now.timestamp(),
            exp: now.timestamp() + i64::from(seconds),
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

/// Of the keys that have been published for long enough, the last by name. Right after a start there is none: then the
/// key that this process has published longest, and of equally old ones the first by name, which during a rotation is
/// the older key.
fn signer(ring: &KeyRing, now: DateTime<Utc>) -> Option<(&str, &Key)> {
    let proven = ring.iter().rfind(|(_, key)| now - key.since >= PUBLISHED_BEFORE_SIGNING);
    let first = || ring.iter().min_by_key(|(_, key)| key.since);
    proven.or_else(first).map(|(kid, key)| (kid.as_str(), key))
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
        let unfit = || format!("SIGNING_KEYS_DIR: {} holds no Ed25519 key in PKCS#8 PEM", path.display());
        let pair = ed25519_dalek::SigningKey::from_pkcs8_pem(&pem).with_context(unfit)?;
        let signing = EncodingKey::from_ed_pem(pem.as_bytes()).with_context(unfit)?;
        let x = URL_SAFE_NO_PAD.encode(pair.verifying_key().as_bytes());
        keys.insert(kid.to_owned(), Key { signing, x, since: now });
    }
    ensure!(!keys.is_empty(), "SIGNING_KEYS_DIR: no <kid>.pem in {}", dir.display());
    Ok(keys)
}

fn decoding_keys(keys: &KeyRing) -> anyhow::Result<HashMap<String, DecodingKey>> {
    keys.iter().map(|(kid, key)| Ok((kid.clone(), DecodingKey::from_ed_components(&key.x)?))).collect()
}

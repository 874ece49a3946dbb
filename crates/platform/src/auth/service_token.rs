//! Short tokens by which services know each other: signed by the caller's Ed25519 key, verified by its public key.

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::{Context, ensure};
use contracts::identity::{SERVICE_TOKEN_TYPE, ServiceClaims};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};

use crate::Clock;

/// How long a service's token is valid, in seconds.
const LIFETIME_SECONDS: i64 = 60;

/// Signs this service's tokens. Cheap to clone.
#[derive(Clone)]
pub struct ServiceTokenSigner {
    issuer: &'static str,
    key: Arc<EncodingKey>,
    clock: Clock,
}

impl ServiceTokenSigner {
    /// Signs as `issuer` with the Ed25519 key (PKCS#8 PEM) in `file`.
    pub fn from_file(issuer: &'static str, file: &Path, clock: Clock) -> anyhow::Result<Self> {
        let pem = std::fs::read(file).with_context(|| format!("SERVICE_KEY_FILE: cannot read {}", file.display()))?;
        let key = EncodingKey::from_ed_pem(&pem)
            .with_context(|| format!("SERVICE_KEY_FILE: {} holds no Ed25519 key in PKCS#8 PEM", file.display()))?;
        Ok(Self { issuer, key: Arc::new(key), clock })
    }

    /// A token for calling `audience`, valid for a minute.
    pub fn token(&self, audience: &str) -> String {
        let iat = self.clock.now().timestamp();
        let claims =
            ServiceClaims { iss: self.issuer.to_owned(), aud: audience.to_owned(), iat, exp: iat + LIFETIME_SECONDS };
        let header = Header { typ: Some(SERVICE_TOKEN_TYPE.to_owned()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims, &self.key).expect("the key was checked when it was read")
    }
}

/// The public keys of the services that may call this one. Cheap to clone.
#[derive(Clone)]
pub struct ServiceKeys {
    audience: &'static str,
    keys: Arc<HashMap<String, DecodingKey>>,
}

impl ServiceKeys {
    /// For a service that no other one calls with a token.
    pub fn none(audience: &'static str) -> Self {
        Self { audience, keys: Arc::default() }
    }

    /// The keys in `dir`: a file `<service>.pem` (Ed25519 public key, SPKI PEM) for each caller of `audience`.
    pub fn from_dir(audience: &'static str, dir: &Path) -> anyhow::Result<Self> {
        let context = || format!("TRUSTED_SERVICE_KEYS_DIR: cannot read {}", dir.display());
        let mut keys = HashMap::new();
        for entry in std::fs::read_dir(dir).with_context(context)? {
            let path = entry.with_context(context)?.path();
            let (Some(name), Some("pem")) =
                (path.file_stem().and_then(|s| s.to_str()), path.extension().and_then(|e| e.to_str()))
            else {
                continue;
            };
            let key = DecodingKey::from_ed_pem(&std::fs::read(&path).with_context(context)?)
                .with_context(|| format!("{} holds no Ed25519 public key in PEM", path.display()))?;
            keys.insert(name.to_owned(), key);
        }
        ensure!(!keys.is_empty(), "TRUSTED_SERVICE_KEYS_DIR: no <service>.pem in {}", dir.display());
        Ok(Self { audience, keys: Arc::new(keys) })
    }

    pub(super) fn find(&self, service: &str) -> Option<&DecodingKey> {
        self.keys.get(service)
    }

    pub(super) fn audience(&self) -> &'static str {
        self.audience
    }
}

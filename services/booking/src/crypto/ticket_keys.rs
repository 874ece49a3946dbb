//! The codes of tickets, and the ES256 keys that sign them: read from a folder, and rotated without a restart.
//!
//! A code is `<kid>.<base64url of the ticket's 16 bytes and the 64 bytes of their signature>`. It is signed whenever it is
//! read, and stored nowhere; signatures are deterministic (RFC 6979), so that a key always makes the same code.
//!
//! To rotate, add `<new kid>.pem` with a name that sorts after that of the current key. The new key is published within
//! 10 s and signs two minutes later. The old one stays for as long as codes that it signed have to be accepted.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use p256::{
    ecdsa::{
        Signature, SigningKey,
        signature::{Signer, Verifier},
    },
    pkcs8::DecodePrivateKey,
};
use platform::Clock;
use uuid::Uuid;

/// How long a key is published before it signs.
const PUBLISHED_BEFORE_SIGNING: TimeDelta = TimeDelta::seconds(120);

/// Cheap to clone.
#[derive(Clone)]
pub struct TicketKeys {
    dir: Arc<PathBuf>,
    clock: Clock,
    keys: Arc<RwLock<KeyRing>>,
}

type KeyRing = BTreeMap<String, Key>;

#[derive(Clone)]
struct Key {
    signing: SigningKey,
    /// When this process began to publish it.
    published_at: DateTime<Utc>,
}

/// A published key. The coordinates are base64url, as in a JWK.
pub struct PublicKey {
    pub kid: String,
    pub x: String,
    pub y: String,
}

impl TicketKeys {
    /// Reads the keys `<kid>.pem` in `dir`. Fails if there is none, or if one is not a P-256 key in PKCS#8 PEM.
    pub fn from_dir(dir: &Path, clock: Clock) -> anyhow::Result<Self> {
        let keys = read(dir, clock.now())?;
        Ok(Self { dir: Arc::new(dir.to_owned()), clock, keys: Arc::new(RwLock::new(keys)) })
    }

    /// Reads the folder again; returns whether a key changed. If that fails, the current keys stay.
    pub fn reload(&self) -> anyhow::Result<bool> {
        let mut found = read(&self.dir, self.clock.now())?;
        let mut current = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let mut same = found.len() == current.len();
        for (kid, key) in &mut found {
            match current.get(kid).filter(|known| known.signing == key.signing) {
                Some(known) => key.published_at = known.published_at,
                None => same = false,
            }
        }
        *current = found;
        Ok(!same)
    }

    /// The public keys, by name.
    pub fn published(&self) -> Vec<PublicKey> {
        self.ring().iter().map(|(kid, key)| PublicKey::new(kid, key)).collect()
    }

    /// The codes of these tickets, in order. Signed on a thread for blocking work, because a page of bookings has many.
    pub async fn codes(&self, code_ids: Vec<Uuid>) -> anyhow::Result<Vec<String>> {
        let keys = self.clone();
        tokio::task::spawn_blocking(move || code_ids.into_iter().map(|code_id| keys.code(code_id)).collect()).await?
    }

    /// The code of a ticket.
    pub fn code(&self, code_id: Uuid) -> anyhow::Result<String> {
        let (ring, now) = (self.ring(), self.clock.now());
        let (kid, key) = signer(&ring, now).context("no ticket key")?;
        let signature: Signature = key.signing.sign(code_id.as_bytes());
        let bytes = [&code_id.as_bytes()[..], &signature.to_bytes()[..]].concat();
        Ok(format!("{kid}.{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// What a code names; `None` if we did not sign it.
    pub fn verify(&self, code: &str) -> Option<Uuid> {
        let (kid, rest) = code.rsplit_once('.')?;
        let bytes = URL_SAFE_NO_PAD.decode(rest).ok()?;
        let (code_id, signature) = bytes.split_first_chunk::<16>()?;
        let signature = Signature::from_slice(signature).ok()?;
        let ring = self.ring();
        ring.get(kid)?.signing.verifying_key().verify(code_id, &signature).ok()?;
        Some(Uuid::from_bytes(*code_id))
    }

    fn ring(&self) -> RwLockReadGuard<'_, KeyRing> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PublicKey {
    fn new(kid: &str, key: &Key) -> Self {
        let point = key.signing.verifying_key().to_encoded_point(false);
        let text = |coordinate: Option<&[u8]>| URL_SAFE_NO_PAD.encode(coordinate.unwrap_or_default());
        Self { kid: kid.to_owned(), x: text(point.x().map(|x| &x[..])), y: text(point.y().map(|y| &y[..])) }
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
    let context = || format!("TICKET_KEYS_DIR: cannot read {}", dir.display());
    let mut keys = KeyRing::new();
    for entry in std::fs::read_dir(dir).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        let kid = path.file_stem().and_then(|stem| stem.to_str()).with_context(context)?;
        // It becomes part of codes, and thus of URLs.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        ensure!(kid.len() <= 32 && kid.bytes().all(plain), "TICKET_KEYS_DIR: {kid}.pem: use letters, digits, - and _");
        let pem = std::fs::read_to_string(&path).with_context(context)?;
        let invalid = || format!("TICKET_KEYS_DIR: {} holds no P-256 key in PKCS#8 PEM", path.display());
        let signing = SigningKey::from_pkcs8_pem(&pem).with_context(invalid)?;
        keys.insert(kid.to_owned(), Key { signing, published_at: now });
    }
    ensure!(!keys.is_empty(), "TICKET_KEYS_DIR: no <kid>.pem in {}", dir.display());
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use p256::pkcs8::{EncodePrivateKey, LineEnding};
    use tempfile::TempDir;

    use super::*;

    fn write_key(folder: &TempDir, kid: &str, seed: u8) {
        let key = SigningKey::from_slice(&[seed; 32]).unwrap().to_pkcs8_pem(LineEnding::LF).unwrap();
        fs::write(folder.path().join(format!("{kid}.pem")), key.as_bytes()).unwrap();
    }

    fn keys() -> (TempDir, Clock, TicketKeys) {
        let (folder, clock) = (TempDir::new().unwrap(), Clock::fixed(DateTime::UNIX_EPOCH));
        write_key(&folder, "t1", 1);
        let keys = TicketKeys::from_dir(folder.path(), clock.clone()).unwrap();
        (folder, clock, keys)
    }

    #[test]
    fn a_code_is_always_the_same_and_names_its_ticket() {
        let (_folder, _, keys) = keys();
        let code_id = Uuid::new_v4();

        let code = keys.code(code_id).unwrap();

        assert_eq!(code, keys.code(code_id).unwrap());
        assert_eq!(keys.verify(&code), Some(code_id));
        assert!(code.starts_with("t1.") && code.len() == 110);
    }

    #[test]
    fn a_changed_code_is_forged() {
        let (_folder, _, keys) = keys();
        let code = keys.code(Uuid::from_bytes([5; 16])).unwrap();
        let another = keys.code(Uuid::from_bytes([6; 16])).unwrap();
        let body = |code: &str| URL_SAFE_NO_PAD.decode(&code[3..]).unwrap();
        let mixed = [&body(&another)[..16], &body(&code)[16..]].concat();

        for forged in [
            format!("t1.{}", URL_SAFE_NO_PAD.encode(mixed)),
            format!("t2.{}", &code[3..]),
            format!("t1.{}", URL_SAFE_NO_PAD.encode([&body(&code)[..], &[0]].concat())),
            format!("t1.{}", URL_SAFE_NO_PAD.encode(&body(&code)[..16])),
            format!("{code}="),
            code[3..].to_owned(),
            String::new(),
            "http://tickets.example".to_owned(),
        ] {
            assert_eq!(keys.verify(&forged), None, "{forged}");
        }
    }

    #[test]
    fn a_new_key_signs_after_two_minutes_and_the_old_one_still_verifies() {
        let (folder, clock, keys) = keys();
        let code_id = Uuid::new_v4();
        let old = keys.code(code_id).unwrap();
        write_key(&folder, "t2", 2);

        assert!(keys.reload().unwrap() && !keys.reload().unwrap());
        assert_eq!(keys.published().into_iter().map(|key| key.kid).collect::<Vec<_>>(), ["t1", "t2"]);
        assert_eq!(keys.code(code_id).unwrap(), old, "not every replica knows the new one yet");
        clock.advance(TimeDelta::seconds(121));
        let new = keys.code(code_id).unwrap();

        assert!(new.starts_with("t2."));
        assert_eq!((keys.verify(&old), keys.verify(&new)), (Some(code_id), Some(code_id)));
    }

    #[test]
    fn a_folder_without_a_key_is_refused() {
        let folder = TempDir::new().unwrap();
        let refusal = || TicketKeys::from_dir(folder.path(), Clock::system()).err().unwrap().to_string();

        assert!(refusal().contains("no <kid>.pem"));
        fs::write(folder.path().join("t1.pem"), "x").unwrap();
        assert!(refusal().contains("holds no P-256 key"));
        write_key(&folder, "a.b", 1);
        assert!(refusal().contains("TICKET_KEYS_DIR"));
    }
}

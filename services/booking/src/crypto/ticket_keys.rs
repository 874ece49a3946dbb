//! The codes of tickets, and the ES256 keys that sign them: read from a folder, and rotated without a restart.
//!
//! A code is `<kid>.<base64url of the ticket's 16 bytes and the 64 bytes of their signature>`. It is signed whenever it is
//! read, and stored nowhere; signatures are deterministic (RFC 6979), so that a key always makes the same code.
//!
//! An old key stays for as long as codes that it signed have to be accepted ([`platform::key_ring`]).

use std::path::Path;

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::{
    ecdsa::{
        Signature, SigningKey,
        signature::{Signer, Verifier},
    },
    pkcs8::DecodePrivateKey,
};
use platform::{Clock, key_ring::KeyRing};
use uuid::Uuid;

/// Cheap to clone.
#[derive(Clone)]
pub struct TicketKeys {
    ring: KeyRing<SigningKey>,
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
        Ok(Self { ring: KeyRing::from_dir("TICKET_KEYS_DIR", dir, clock, parse)? })
    }

    /// Reads the folder again; returns whether a key changed. If that fails, the current keys stay.
    pub fn reload(&self) -> anyhow::Result<bool> {
        self.ring.reload()
    }

    /// The public keys, by name.
    pub fn published(&self) -> Vec<PublicKey> {
        self.ring.published().into_iter().map(|(kid, key)| PublicKey::new(kid, &key)).collect()
    }

    /// The codes of these tickets, in order. Signed on a thread for blocking work, because a page of bookings has many.
    pub async fn codes(&self, code_ids: Vec<Uuid>) -> anyhow::Result<Vec<String>> {
        let keys = self.clone();
        let signing = move || code_ids.into_iter().map(|code_id| keys.code(code_id)).collect();
        Ok(tokio::task::spawn_blocking(signing).await?)
    }

    /// The code of a ticket.
    pub fn code(&self, code_id: Uuid) -> String {
        let (kid, key) = self.ring.signer();
        let signature: Signature = key.sign(code_id.as_bytes());
        let bytes = [&code_id.as_bytes()[..], &signature.to_bytes()[..]].concat();
        format!("{kid}.{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a code names; `None` if we did not sign it.
    pub fn verify(&self, code: &str) -> Option<Uuid> {
        let (kid, rest) = code.rsplit_once('.')?;
        let bytes = URL_SAFE_NO_PAD.decode(rest).ok()?;
        let (code_id, signature) = bytes.split_first_chunk::<16>()?;
        let signature = Signature::from_slice(signature).ok()?;
        self.ring.get(kid)?.verifying_key().verify(code_id, &signature).ok()?;
        Some(Uuid::from_bytes(*code_id))
    }
}

impl PublicKey {
    fn new(kid: String, key: &SigningKey) -> Self {
        let point = key.verifying_key().to_encoded_point(false);
        let text = |coordinate: Option<&[u8]>| URL_SAFE_NO_PAD.encode(coordinate.unwrap_or_default());
        Self { kid, x: text(point.x().map(|x| &x[..])), y: text(point.y().map(|y| &y[..])) }
    }
}

fn parse(kid: &str, pem: &str) -> anyhow::Result<SigningKey> {
    // The name becomes part of codes, and thus of URLs.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    ensure!(kid.len() <= 32 && kid.bytes().all(plain), "has no name of up to 32 letters, digits, - and _");
    SigningKey::from_pkcs8_pem(pem).context("holds no P-256 key in PKCS#8 PEM")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use chrono::{DateTime, TimeDelta};
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

        let code = keys.code(code_id);

        assert_eq!(code, keys.code(code_id));
        assert_eq!(keys.verify(&code), Some(code_id));
        assert!(code.starts_with("t1.") && code.len() == 110);
    }

    #[test]
    fn a_changed_code_is_forged() {
        let (_folder, _, keys) = keys();
        let code = keys.code(Uuid::from_bytes([5; 16]));
        let another = keys.code(Uuid::from_bytes([6; 16]));
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
        let old = keys.code(code_id);
        write_key(&folder, "t2", 2);

        assert!(keys.reload().unwrap() && !keys.reload().unwrap());
        assert_eq!(keys.published().into_iter().map(|key| key.kid).collect::<Vec<_>>(), ["t1", "t2"]);
        assert_eq!(keys.code(code_id), old, "not every replica knows the new one yet");
        clock.advance(TimeDelta::seconds(121));
        let new = keys.code(code_id);

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

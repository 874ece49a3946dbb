//! Keys and passwords of one platform: made once in a folder, read from it ever after.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey, EncodePublicKey};

use crate::servers::{random_password, write_private};

/// The folder with the secrets of one platform.
#[derive(Clone, Debug)]
pub struct Secrets {
    dir: PathBuf,
}

impl Secrets {
    /// Opens the folder, making what is not there yet.
    pub fn ensure(dir: &Path) -> Result<Self> {
        let secrets = Self { dir: dir.to_owned() };
        for folder in [secrets.signing_keys(), secrets.trusted_keys(), secrets.ticket_keys()] {
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let signing_key = secrets.signing_keys().join("key-1.pem");
        if !signing_key.exists() {
            write_key(&signing_key, &new_key())?;
        }
        let ticket_key = secrets.ticket_keys().join("ticket-1.pem");
        if !ticket_key.exists() {
            let key = p256::SecretKey::from_slice(&rand::random::<[u8; 32]>())?;
            write_private(&ticket_key, &key.to_pkcs8_pem(LineEnding::LF)?)?;
        }
        if !secrets.service_key().exists() {
            let key = new_key();
            let public = key.verifying_key().to_public_key_pem(LineEnding::LF)?;
            fs::write(secrets.trusted_keys().join("booking-service.pem"), public)?;
            write_key(&secrets.service_key(), &key)?;
        }
        Ok(secrets)
    }

    /// Folder of user-service's private keys, `<kid>.pem`.
    pub fn signing_keys(&self) -> PathBuf {
        self.dir.join("signing-keys")
    }

    /// Folder of the public keys that event-service trusts, `<service>.pem`.
    pub fn trusted_keys(&self) -> PathBuf {
        self.dir.join("trusted-keys")
    }

    /// Folder of the private keys that sign tickets, `<kid>.pem`.
    pub fn ticket_keys(&self) -> PathBuf {
        self.dir.join("ticket-keys")
    }

    /// booking-service's private key.
    pub fn service_key(&self) -> PathBuf {
        self.dir.join("booking-service.pem")
    }

    /// The file of a random secret of that name.
    pub fn file(&self, name: &str) -> Result<PathBuf> {
        let file = self.dir.join(name);
        if !file.exists() {
            write_private(&file, &format!("{}{}", random_password(), random_password()))?;
        }
        Ok(file)
    }

    /// A random secret of that name.
    pub fn read(&self, name: &str) -> Result<String> {
        let file = self.file(name)?;
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    /// A random password of that name that people can type.
    pub fn short_password(&self, name: &str) -> Result<String> {
        let file = self.dir.join(name);
        if !file.exists() {
            write_private(&file, &random_password()[..12])?;
        }
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }
}

fn new_key() -> SigningKey {
    SigningKey::from_bytes(&rand::random())
}

fn write_key(file: &Path, key: &SigningKey) -> Result<()> {
    write_private(file, &key.to_pkcs8_pem(LineEnding::LF)?)
}

//! Passwords and keys that the operator generates: once, where there are none, and never over existing data. Only logins
//! that it sets on a server itself are generated again when they are missing.
//!
//! An annotation of the Secrets lists every value that was ever generated, so that one that is lost is told apart from
//! one that a newer release adds.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::core::ObjectMeta;
use rand::{Rng, RngExt, distr::Alphanumeric};
use serde_json::{Value, json};

use crate::{
    names::Names,
    resource::{Identity, KEEP_ANNOTATIONS},
};

/// The content of a Secret.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// One Secret of generated credentials.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Credential {
    /// Passwords of PostgreSQL's administrator and of the programs that use it.
    Postgres,
    /// Passwords of MongoDB's administrator and of the programs, and the key file of the replica set.
    Mongodb,
    /// Passwords of RabbitMQ's users, and the Erlang cookie of the cluster.
    Rabbitmq,
    /// The keys that sign access tokens.
    SigningKeys,
    /// The keys that sign the codes of tickets.
    TicketKeys,
    /// The key of refresh tokens.
    RefreshTokenKey,
    /// The key with which booking-service signs its calls of event-service.
    BookingServiceKey,
    /// What booking-service and the mock gateway share.
    MockGateway,
    /// What the platform calls its own on external servers, and the id by which it knows that again.
    Identity,
}

/// How a value of a credential is generated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Recipe {
    /// Password of a login that the operator sets on its server: RabbitMQ imports its users at every boot; roles of
    /// PostgreSQL and users of MongoDB get their password whenever they cannot log in. So a new one loses nothing, and
    /// a Secret from before the release that needs the login gets it. No other value may be replaced: the data on a
    /// volume depends on it, or others have it already. Where one is missing, somebody has removed it.
    Login,
    Password,
    /// 756 bytes of base64, the format of MongoDB's key files.
    Keyfile,
    Ed25519Private,
    /// The public half of the key under the given name.
    Ed25519Public(&'static str),
    P256Private,
    /// Of [`Names`].
    Prefix,
    Vhost,
}

/// Annotation with the [`Record`].
const RECORD_ANNOTATION: &str = "platform.eventbooking.dev/generated";

/// What releases without a [`Record`] generated.
const UNRECORDED: [(Credential, &[&str]); 7] = [
    (Credential::Postgres, &["admin-password", "user-password", "booking-password", "mock-gateway-password"]),
    (Credential::Mongodb, &["admin-password", "event-password", "notification-password", "keyfile"]),
    (
        Credential::Rabbitmq,
        &[
            "admin-password",
            "user-password",
            "event-password",
            "booking-password",
            "notification-password",
            "erlang-cookie",
        ],
    ),
    (Credential::SigningKeys, &["key-0001.pem"]),
    (Credential::RefreshTokenKey, &["refresh-token.key"]),
    (Credential::BookingServiceKey, &["private.pem", "public.pem"]),
    (Credential::MockGateway, &["api-key", "webhook-secret"]),
];

/// Every value that was ever generated for a platform, as `suffix/key`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Record(BTreeSet<String>);

impl Record {
    /// What the existing Secrets say, and what they hold. Without a word, and in an `established` platform, it is what
    /// releases without a record generated.
    pub fn of(secrets: &BTreeMap<Credential, Value>, established: bool) -> Self {
        let annotations =
            secrets.values().filter_map(|secret| secret["metadata"]["annotations"][RECORD_ANNOTATION].as_str());
        let mut entries: BTreeSet<String> =
            annotations.flat_map(|record| record.split(',')).map(str::to_owned).collect();
        if entries.is_empty() && established {
            let unrecorded = UNRECORDED.iter().flat_map(|(of, keys)| keys.iter().map(|key| entry(*of, key)));
            entries.extend(unrecorded);
        }
        for (credential, secret) in secrets {
            let data = secret_data(secret);
            let held = credential.recipes().iter().filter(|(key, _)| data.contains_key(*key));
            entries.extend(held.map(|(key, _)| entry(*credential, key)));
        }
        Self(entries)
    }

    /// Whether anything in the Secret was ever generated.
    pub fn knows(&self, credential: Credential) -> bool {
        credential.recipes().iter().any(|(key, _)| self.has(credential, key))
    }

    fn has(&self, credential: Credential, key: &str) -> bool {
        self.0.contains(&entry(credential, key))
    }

    /// With everything that this release generates.
    fn complete(&self) -> Self {
        let all = Credential::ALL.into_iter().flat_map(|of| of.recipes().iter().map(move |(key, _)| entry(of, key)));
        Self(self.0.iter().cloned().chain(all).collect())
    }
}

fn entry(credential: Credential, key: &str) -> String {
    format!("{}/{key}", credential.suffix())
}

/// What has to be written so that a credential is complete and has the right owner.
#[derive(Clone, Debug, PartialEq)]
pub struct CredentialUpdate {
    pub credential: Credential,
    /// Name of the Secret.
    pub name: String,
    /// The content once the update is written.
    pub data: SecretData,
    /// The existing Secret, or the one to create.
    pub secret: Source,
    /// Values to add to the existing Secret: logins, and what no earlier release generated.
    pub missing: SecretData,
    /// The annotations that the Secret has once all of them are written.
    pub annotations: BTreeMap<String, String>,
    /// Whether to add (`true`) or to remove (`false`) the owner of the existing Secret.
    pub set_owner: Option<bool>,
}

/// Where the Secret of a credential comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Existing(Value),
    New(Box<Secret>),
}

impl Credential {
    pub const ALL: [Self; 9] = [
        Self::Postgres,
        Self::Mongodb,
        Self::Rabbitmq,
        Self::SigningKeys,
        Self::TicketKeys,
        Self::RefreshTokenKey,
        Self::BookingServiceKey,
        Self::MockGateway,
        Self::Identity,
    ];

    /// Suffix of the Secret's name after the platform's.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Postgres => "postgres-credentials",
            Self::Mongodb => "mongodb-credentials",
            Self::Rabbitmq => "rabbitmq-credentials",
            Self::SigningKeys => "signing-keys",
            Self::TicketKeys => "ticket-keys",
            Self::RefreshTokenKey => "refresh-token-key",
            Self::BookingServiceKey => "booking-service-key",
            Self::MockGateway => "mock-gateway-credentials",
            Self::Identity => "identity",
        }
    }

    fn recipes(self) -> &'static [(&'static str, Recipe)] {
        match self {
            Self::Postgres => &[
                // The image sets it when it initializes the volume, and nothing sets it later.
                ("admin-password", Recipe::Password),
                ("user-password", Recipe::Login),
                ("booking-password", Recipe::Login),
                ("mock-gateway-password", Recipe::Login),
            ],
            Self::Mongodb => &[
                // Like PostgreSQL's.
                ("admin-password", Recipe::Password),
                ("event-password", Recipe::Login),
                ("notification-password", Recipe::Login),
                ("keyfile", Recipe::Keyfile),
            ],
            Self::Rabbitmq => &[
                ("admin-password", Recipe::Login),
                ("user-password", Recipe::Login),
                ("event-password", Recipe::Login),
                ("booking-password", Recipe::Login),
                ("notification-password", Recipe::Login),
                // Nodes with different cookies could not form a cluster during a rolling update.
                ("erlang-cookie", Recipe::Password),
            ],
            Self::SigningKeys => &[("key-0001.pem", Recipe::Ed25519Private)],
            Self::TicketKeys => &[("ticket-0001.pem", Recipe::P256Private)],
            Self::RefreshTokenKey => &[("refresh-token.key", Recipe::Password)],
            Self::BookingServiceKey => {
                &[("private.pem", Recipe::Ed25519Private), ("public.pem", Recipe::Ed25519Public("private.pem"))]
            }
            Self::MockGateway => &[("api-key", Recipe::Password), ("webhook-secret", Recipe::Password)],
            Self::Identity => &[("id", Recipe::Password), ("prefix", Recipe::Prefix), ("vhost", Recipe::Vhost)],
        }
    }

    /// A new Secret with generated content. The platform owns it only if it is deleted with it (`owned`).
    pub fn generate(self, identity: &Identity, owned: bool, record: &Record, rng: &mut impl Rng) -> Secret {
        Secret {
            metadata: ObjectMeta {
                owner_references: owned.then(|| vec![identity.owner_reference()]),
                ..identity.metadata(self.suffix(), "credentials")
            },
            type_: Some("Opaque".to_owned()),
            data: Some(byte_strings(&self.missing_values(identity, &SecretData::new(), record, rng))),
            ..Default::default()
        }
    }

    /// What to write for an `existing` Secret without [lost keys](Self::lost_keys), or where there is none.
    pub fn update(
        self,
        identity: &Identity,
        existing: Option<&Value>,
        owned: bool,
        record: &Record,
        rng: &mut impl Rng,
    ) -> CredentialUpdate {
        let name = identity.resource_name(self.suffix());
        let complete = record.complete().0.into_iter().collect::<Vec<_>>().join(",");
        let mut annotations = BTreeMap::from([(RECORD_ANNOTATION.to_owned(), complete)]);
        annotations.extend(KEEP_ANNOTATIONS.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let Some(secret) = existing else {
            let mut secret = self.generate(identity, owned, record, rng);
            // A new platform has no objects before it has all of its Secrets. In an older one, the record must not be
            // ahead of the Secrets.
            if record.0.is_empty() {
                secret.metadata.annotations = Some(annotations.clone());
            }
            let data = secret.data.clone().unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
            return CredentialUpdate {
                credential: self,
                name,
                data: data.collect(),
                secret: Source::New(Box::new(secret)),
                missing: SecretData::new(),
                annotations,
                set_owner: None,
            };
        };
        let mut data = secret_data(secret);
        let missing = self.missing_values(identity, &data, record, rng);
        data.extend(missing.clone());
        let mut owners = secret["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let has_owner = owners.any(|owner| owner["uid"] == *identity.uid);
        CredentialUpdate {
            credential: self,
            name,
            data,
            secret: Source::Existing(secret.clone()),
            missing,
            annotations,
            set_owner: (has_owner != owned).then_some(owned),
        }
    }

    /// The missing or empty keys of an existing Secret, if one of them was there before and cannot be generated again. Its
    /// logins are among them: the Secret has to be restored from a backup, which has them too.
    pub fn lost_keys(self, secret: &Value, record: &Record) -> Vec<String> {
        let data = secret_data(secret);
        let missing = || self.missing(&data).filter(|(key, _)| record.has(self, key));
        let lost = missing().any(|(_, recipe)| recipe != Recipe::Login);
        missing().filter(|_| lost).map(|(key, _)| key.to_owned()).collect()
    }

    /// New values for the missing or empty keys. The halves of a key pair belong together, also where one is there.
    fn missing_values(self, identity: &Identity, data: &SecretData, record: &Record, rng: &mut impl Rng) -> SecretData {
        // A platform that had credentials before it had recorded names uses those of its time.
        let is_older = !record.0.is_empty() && !record.knows(Self::Identity);
        let names = if is_older { Names::of_older_release(identity) } else { Names::new(identity) };
        let mut values = SecretData::new();
        // Private keys come first in the recipes.
        for (key, recipe) in self.missing(data) {
            let value = match recipe {
                Recipe::Login | Recipe::Password => random_password(rng),
                Recipe::Keyfile => random_keyfile(rng),
                Recipe::Prefix => names.prefix.clone(),
                Recipe::Vhost => names.vhost.clone(),
                Recipe::Ed25519Private => {
                    let key = SigningKey::from_bytes(&rng.random());
                    key.to_pkcs8_pem(LineEnding::LF).expect("an Ed25519 key can be encoded").to_string()
                }
                Recipe::P256Private => {
                    random_p256_key(rng).to_pkcs8_pem(LineEnding::LF).expect("a P-256 key can be encoded").to_string()
                }
                Recipe::Ed25519Public(private) => {
                    match values.get(private).or(data.get(private)).and_then(|pem| private_key(pem)) {
                        Some(key) => key
                            .verifying_key()
                            .to_public_key_pem(LineEnding::LF)
                            .expect("an Ed25519 key can be encoded"),
                        // Somebody put something else there; what reads it says so.
                        None => continue,
                    }
                }
            };
            values.insert(key.to_owned(), value.into_bytes());
        }
        values
    }

    fn missing(self, data: &SecretData) -> impl Iterator<Item = (&'static str, Recipe)> {
        self.recipes().iter().copied().filter(move |(name, _)| data.get(*name).is_none_or(Vec::is_empty))
    }
}

fn private_key(pem: &[u8]) -> Option<SigningKey> {
    SigningKey::from_pkcs8_pem(std::str::from_utf8(pem).ok()?).ok()
}

/// The content of a Secret from the API server.
pub fn secret_data(secret: &Value) -> SecretData {
    let entries = secret["data"].as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), STANDARD.decode(value.as_str()?).ok()?))).collect()
}

pub fn byte_strings(data: &SecretData) -> BTreeMap<String, ByteString> {
    data.iter().map(|(key, value)| (key.clone(), ByteString(value.clone()))).collect()
}

/// The field `data` of a Secret.
pub fn encode_data(data: &SecretData) -> Value {
    json!(byte_strings(data))
}

/// 40 letters and digits: 238 bits, and safe in URLs and shells.
fn random_password(rng: &mut impl Rng) -> String {
    rng.sample_iter(Alphanumeric).take(40).map(char::from).collect()
}

/// Bytes that are no key, which practically never come, are drawn again.
fn random_p256_key(rng: &mut impl Rng) -> p256::SecretKey {
    loop {
        if let Ok(key) = p256::SecretKey::from_slice(&rng.random::<[u8; 32]>()) {
            return key;
        }
    }
}

fn random_keyfile(rng: &mut impl Rng) -> String {
    let mut bytes = [0_u8; 567];
    rng.fill(&mut bytes[..]);
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { name: "demo".into(), namespace: "shop".into(), uid: "1".into() }
    }

    fn generate(credential: Credential) -> Value {
        json!(credential.generate(&identity(), false, &Record::default(), &mut rand::rng()))
    }

    fn update(credential: Credential, secret: &Value) -> CredentialUpdate {
        credential.update(&identity(), Some(secret), false, &complete(), &mut rand::rng())
    }

    /// Everything was generated before.
    fn complete() -> Record {
        Record::default().complete()
    }

    #[test]
    fn generated_credentials_are_complete_and_never_the_same_twice() {
        for credential in Credential::ALL {
            let first = generate(credential);
            let second = generate(credential);

            assert_eq!(credential.missing(&secret_data(&first)).count(), 0);
            assert_ne!(first["data"], second["data"]);
        }
    }

    #[test]
    fn a_complete_secret_is_left_as_it_is() {
        let secret = generate(Credential::Mongodb);

        let update = update(Credential::Mongodb, &secret);

        assert_eq!(update.data, secret_data(&secret));
        assert_eq!(update.secret, Source::Existing(secret));
        assert!(update.missing.is_empty() && update.set_owner.is_none());
    }

    #[test]
    fn an_emptied_secret_names_what_it_lost() {
        let mut secret = generate(Credential::Postgres);
        secret["data"]["user-password"] = json!("");
        secret["data"].as_object_mut().unwrap().remove("admin-password");

        assert_eq!(Credential::Postgres.lost_keys(&secret, &complete()), ["admin-password", "user-password"]);
    }

    #[test]
    fn missing_logins_are_generated_again() {
        let mut secret = generate(Credential::Rabbitmq);
        secret["data"]["booking-password"] = json!("");
        secret["data"].as_object_mut().unwrap().remove("user-password");

        let update = update(Credential::Rabbitmq, &secret);

        assert!(Credential::Rabbitmq.lost_keys(&secret, &complete()).is_empty());
        assert_eq!(update.missing.keys().collect::<Vec<_>>(), ["booking-password", "user-password"]);
        assert!(update.missing.iter().all(|(name, password)| password.len() == 40 && update.data[name] == *password));
    }

    #[test]
    fn what_no_release_has_generated_is_not_lost() {
        let mut secrets: BTreeMap<_, _> =
            Credential::ALL.into_iter().map(|credential| (credential, generate(credential))).collect();
        let all = Record::of(&secrets, true);
        assert_eq!(all, complete());
        secrets.remove(&Credential::MockGateway);
        let key = secrets.get_mut(&Credential::BookingServiceKey).unwrap();
        key["data"].as_object_mut().unwrap().remove("public.pem");
        let record = "postgres-credentials/admin-password,booking-service-key/private.pem";
        key["metadata"]["annotations"] = json!({ RECORD_ANNOTATION: record });

        let record = Record::of(&secrets, true);

        assert!(!record.knows(Credential::MockGateway) && record.knows(Credential::SigningKeys));
        let key = &secrets[&Credential::BookingServiceKey];
        assert!(Credential::BookingServiceKey.lost_keys(key, &record).is_empty());
        let update = Credential::BookingServiceKey.update(&identity(), Some(key), false, &record, &mut rand::rng());
        let text = |name: &str| String::from_utf8(update.data[name].clone()).unwrap();
        let private = SigningKey::from_pkcs8_pem(&text("private.pem")).unwrap();
        assert_eq!(private.verifying_key().to_public_key_pem(LineEnding::LF).unwrap(), text("public.pem"));
    }

    #[test]
    fn without_a_record_what_older_releases_generated_is_lost() {
        let secrets = [(Credential::SigningKeys, generate(Credential::SigningKeys))].into();

        assert!(Record::of(&secrets, true).knows(Credential::MockGateway));
        assert!(!Record::of(&secrets, false).knows(Credential::MockGateway));
    }

    #[test]
    fn every_key_but_a_login_is_lost_for_good() {
        for (credential, key) in [
            (Credential::Postgres, "admin-password"),
            (Credential::Mongodb, "admin-password"),
            (Credential::Mongodb, "keyfile"),
            (Credential::Rabbitmq, "erlang-cookie"),
            (Credential::SigningKeys, "key-0001.pem"),
            (Credential::TicketKeys, "ticket-0001.pem"),
            (Credential::RefreshTokenKey, "refresh-token.key"),
            (Credential::BookingServiceKey, "private.pem"),
            (Credential::BookingServiceKey, "public.pem"),
            (Credential::MockGateway, "api-key"),
            (Credential::MockGateway, "webhook-secret"),
        ] {
            let mut secret = generate(credential);
            let data = secret["data"].as_object_mut().unwrap();
            data.retain(|name, _| name != key && name != "user-password");

            assert!(credential.lost_keys(&secret, &complete()).contains(&key.to_owned()), "{credential:?} {key}");
        }
    }

    #[test]
    fn the_deletion_policy_decides_over_the_owner() {
        let kept = Credential::MockGateway.generate(&identity(), false, &Record::default(), &mut rand::rng());
        let owned = Credential::MockGateway.generate(&identity(), true, &Record::default(), &mut rand::rng());

        assert!(kept.metadata.owner_references.is_none());
        assert_eq!(owned.metadata.owner_references.as_ref().unwrap()[0].uid, "1");
        let set_owner = |secret: &Secret, owned| {
            Credential::MockGateway
                .update(&identity(), Some(&json!(secret)), owned, &complete(), &mut rand::rng())
                .set_owner
        };
        assert_eq!((set_owner(&kept, true), set_owner(&owned, false)), (Some(true), Some(false)));
        assert_eq!((set_owner(&kept, false), set_owner(&owned, true)), (None, None));
    }

    #[test]
    fn the_public_key_belongs_to_the_private_one() {
        use ed25519_dalek::{VerifyingKey, pkcs8::DecodePublicKey};

        let data = secret_data(&generate(Credential::BookingServiceKey));
        let text = |key: &str| String::from_utf8(data[key].clone()).unwrap();

        let private = SigningKey::from_pkcs8_pem(&text("private.pem")).unwrap();
        let public = VerifyingKey::from_public_key_pem(&text("public.pem")).unwrap();
        assert_eq!(private.verifying_key(), public);
    }
}

//! Passwords and keys that the operator makes up: once, where there are none, and never over existing data. Only logins
//! that it sets at a server itself are made up again when they are missing.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use rand::{Rng, RngExt, distr::Alphanumeric};
use serde_json::{Map, Value, json};

use crate::child::{Identity, Kind};

/// The content of a Secret.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// One Secret of made-up credentials.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Credential {
    /// Passwords of PostgreSQL's administrator and of the programs that use it.
    Postgres,
    /// Passwords of MongoDB's administrator and of the programs, and the key by which members know each other.
    Mongodb,
    /// Passwords of RabbitMQ's users, and the cookie by which nodes know each other.
    Rabbitmq,
    /// The keys that sign access tokens.
    SigningKeys,
    /// The key of refresh tokens.
    RefreshTokenKey,
    /// The key with which booking-service signs its calls of event-service.
    BookingServiceKey,
    /// What booking-service and the mock gateway know of each other.
    MockGateway,
}

/// How a value of a credential is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Recipe {
    /// Password of a login that the operator sets at its server: RabbitMQ imports its users at every boot, roles of
    /// PostgreSQL and users of MongoDB get their password whenever they cannot log in. So a new one loses nothing, and
    /// a Secret from before the release that needs the login gets it. No other value may be replaced: the data on a
    /// volume depends on it, or others know it already. Where it is missing, somebody has removed it.
    Login,
    Password,
    /// 756 bytes of base64, as MongoDB's key files are.
    Keyfile,
    Ed25519Private,
    /// The public part of the key under the given name.
    Ed25519Public(&'static str),
}

impl Credential {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Postgres,
        Self::Mongodb,
        Self::Rabbitmq,
        Self::SigningKeys,
        Self::RefreshTokenKey,
        Self::BookingServiceKey,
        Self::MockGateway,
    ];

    /// What follows the platform's name in the name of the Secret.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Postgres => "postgres-credentials",
            Self::Mongodb => "mongodb-credentials",
            Self::Rabbitmq => "rabbitmq-credentials",
            Self::SigningKeys => "signing-keys",
            Self::RefreshTokenKey => "refresh-token-key",
            Self::BookingServiceKey => "booking-service-key",
            Self::MockGateway => "mock-gateway-credentials",
        }
    }

    fn recipes(self) -> &'static [(&'static str, Recipe)] {
        match self {
            Self::Postgres => &[
                // Set by the image when it makes the database, and by nobody afterwards.
                ("admin-password", Recipe::Password),
                ("user-password", Recipe::Login),
                ("booking-password", Recipe::Login),
                ("mock-gateway-password", Recipe::Login),
            ],
            Self::Mongodb => &[
                // As PostgreSQL's.
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
                // Nodes with different cookies cannot form a cluster while they are rolled one by one.
                ("erlang-cookie", Recipe::Password),
            ],
            Self::SigningKeys => &[("key-0001.pem", Recipe::Ed25519Private)],
            Self::RefreshTokenKey => &[("refresh-token.key", Recipe::Password)],
            Self::BookingServiceKey => {
                &[("private.pem", Recipe::Ed25519Private), ("public.pem", Recipe::Ed25519Public("private.pem"))]
            }
            Self::MockGateway => &[("api-key", Recipe::Password), ("webhook-secret", Recipe::Password)],
        }
    }

    /// A new Secret with made-up content. Owned by the platform only if it goes with it (`owned`).
    pub fn generate(self, identity: &Identity, owned: bool, rng: &mut impl Rng) -> Value {
        let mut keys: BTreeMap<&str, SigningKey> = BTreeMap::new();
        let mut data = Map::new();
        for (name, recipe) in self.recipes() {
            let value = match recipe {
                Recipe::Login | Recipe::Password => random_password(rng),
                Recipe::Keyfile => random_keyfile(rng),
                Recipe::Ed25519Private => {
                    let key = keys.entry(name).or_insert_with(|| SigningKey::from_bytes(&rng.random()));
                    key.to_pkcs8_pem(LineEnding::LF).expect("an Ed25519 key can be encoded").to_string()
                }
                Recipe::Ed25519Public(private) => {
                    let key = keys.entry(private).or_insert_with(|| SigningKey::from_bytes(&rng.random()));
                    key.verifying_key().to_public_key_pem(LineEnding::LF).expect("an Ed25519 key can be encoded")
                }
            };
            data.insert((*name).to_owned(), Value::String(STANDARD.encode(value)));
        }
        let mut secret = json!({
            "apiVersion": Kind::Secret.api_version(), "kind": Kind::Secret.name(), "type": "Opaque",
            "metadata": {
                "name": identity.child_name(self.suffix()), "namespace": identity.namespace,
                "labels": identity.labels("credentials"),
            },
            "data": data,
        });
        if owned {
            secret["metadata"]["ownerReferences"] = json!([identity.owner_reference()]);
        }
        secret
    }

    /// The content of an existing Secret, or the keys that are missing or empty in it.
    pub fn read(self, secret: &Value) -> Result<SecretData, Vec<String>> {
        let data = secret_data(secret);
        let missing: Vec<String> = self.missing(&data).map(|(name, _)| name.to_owned()).collect();
        if missing.is_empty() { Ok(data) } else { Err(missing) }
    }

    /// New passwords for the logins that are missing or empty in an existing Secret. None if another value is missing
    /// too: the Secret must come back from a backup, and brings its logins with it.
    pub fn missing_logins(self, secret: &Value, rng: &mut impl Rng) -> SecretData {
        let data = secret_data(secret);
        if self.missing(&data).any(|(_, recipe)| recipe != Recipe::Login) {
            return SecretData::new();
        }
        self.missing(&data).map(|(name, _)| (name.to_owned(), random_password(rng).into_bytes())).collect()
    }

    fn missing(self, data: &SecretData) -> impl Iterator<Item = (&'static str, Recipe)> {
        self.recipes().iter().copied().filter(move |(name, _)| data.get(*name).is_none_or(Vec::is_empty))
    }
}

/// The content of a Secret as the API server gives it.
pub fn secret_data(secret: &Value) -> SecretData {
    let entries = secret["data"].as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), STANDARD.decode(value.as_str()?).ok()?))).collect()
}

/// The other way round: `data` of a Secret.
pub fn encode_data<'a>(data: impl IntoIterator<Item = (&'a String, &'a Vec<u8>)>) -> Value {
    data.into_iter()
        .map(|(key, value)| (key.clone(), Value::String(STANDARD.encode(value))))
        .collect::<Map<_, _>>()
        .into()
}

/// 40 letters and digits: 238 bits, and fit for URLs and shells.
fn random_password(rng: &mut impl Rng) -> String {
    rng.sample_iter(Alphanumeric).take(40).map(char::from).collect()
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

    #[test]
    fn what_is_made_up_is_complete_and_never_the_same_twice() {
        for credential in Credential::ALL {
            let first = credential.generate(&identity(), false, &mut rand::rng());
            let second = credential.generate(&identity(), false, &mut rand::rng());

            assert!(credential.read(&first).is_ok());
            assert_ne!(first["data"], second["data"]);
        }
    }

    #[test]
    fn an_emptied_secret_names_what_it_lost() {
        let mut secret = Credential::Postgres.generate(&identity(), false, &mut rand::rng());
        secret["data"]["user-password"] = json!("");
        secret["data"].as_object_mut().unwrap().remove("admin-password");

        assert_eq!(Credential::Postgres.read(&secret), Err(vec!["admin-password".into(), "user-password".into()]));
    }

    #[test]
    fn missing_logins_are_made_up() {
        let mut secret = Credential::Rabbitmq.generate(&identity(), false, &mut rand::rng());
        secret["data"]["booking-password"] = json!("");
        secret["data"].as_object_mut().unwrap().remove("user-password");

        let logins = Credential::Rabbitmq.missing_logins(&secret, &mut rand::rng());

        assert_eq!(logins.keys().collect::<Vec<_>>(), ["booking-password", "user-password"]);
        assert!(logins.values().all(|password| password.len() == 40));
    }

    #[test]
    fn nothing_is_made_up_where_something_else_is_missing_too() {
        for (credential, key) in [
            (Credential::Postgres, "admin-password"),
            (Credential::Mongodb, "admin-password"),
            (Credential::Mongodb, "keyfile"),
            (Credential::Rabbitmq, "erlang-cookie"),
            (Credential::SigningKeys, "key-0001.pem"),
            (Credential::RefreshTokenKey, "refresh-token.key"),
            (Credential::BookingServiceKey, "private.pem"),
            (Credential::BookingServiceKey, "public.pem"),
            (Credential::MockGateway, "api-key"),
            (Credential::MockGateway, "webhook-secret"),
        ] {
            let mut secret = credential.generate(&identity(), false, &mut rand::rng());
            let data = secret["data"].as_object_mut().unwrap();
            data.retain(|name, _| name != key && name != "user-password");

            assert!(credential.missing_logins(&secret, &mut rand::rng()).is_empty(), "{credential:?} {key}");
            assert!(credential.read(&secret).unwrap_err().contains(&key.to_owned()), "{credential:?} {key}");
        }
    }

    #[test]
    fn only_credentials_that_go_with_the_platform_are_owned_by_it() {
        let kept = Credential::MockGateway.generate(&identity(), false, &mut rand::rng());
        let owned = Credential::MockGateway.generate(&identity(), true, &mut rand::rng());

        assert!(kept["metadata"].get("ownerReferences").is_none());
        assert_eq!(owned["metadata"]["ownerReferences"][0]["uid"], "1");
    }

    #[test]
    fn the_public_key_belongs_to_the_private_one() {
        use ed25519_dalek::{
            VerifyingKey,
            pkcs8::{DecodePrivateKey, DecodePublicKey},
        };

        let secret = Credential::BookingServiceKey.generate(&identity(), false, &mut rand::rng());
        let data = secret_data(&secret);
        let text = |key: &str| String::from_utf8(data[key].clone()).unwrap();

        let private = SigningKey::from_pkcs8_pem(&text("private.pem")).unwrap();
        let public = VerifyingKey::from_public_key_pem(&text("public.pem")).unwrap();
        assert_eq!(private.verifying_key(), public);
    }
}

//! Roles, languages, and the claims of the two kinds of token: a person's access token and a service's own token.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use strum::{EnumString, IntoStaticStr};

/// What a person may do. Organizers manage their own events; admins manage people and every event.
///
/// Ordered by what they may do: a greater role may do everything that a lesser one may.
#[derive(
    Clone,
    Copy,
    Debug,
    Deserialize,
    EnumString,
    Eq,
    Hash,
    IntoStaticStr,
    JsonSchema,
    Ord,
    PartialEq,
    PartialOrd,
    Serialize,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Role {
    /// Books seats.
    Attendee,
    /// Also creates and runs events.
    Organizer,
    /// Also manages people and anybody's events.
    Admin,
}

impl Role {
    /// The name in JSON, tokens and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The role of that name, if there is one.
    pub fn parse(word: &str) -> Option<Self> {
        word.parse().ok()
    }
}

/// A language of the platform.
#[derive(Clone, Copy, Debug, Deserialize, EnumString, Eq, Hash, IntoStaticStr, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Language {
    /// English.
    En,
    /// German.
    De,
}

impl Language {
    /// The ISO 639-1 code used in JSON, tokens and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The language of that code, if the platform has it.
    pub fn parse(code: &str) -> Option<Self> {
        code.parse().ok()
    }
}

/// `iss` of access tokens.
pub const ACCESS_TOKEN_ISSUER: &str = "user-service";
/// `aud` of access tokens: every service of the platform.
pub const ACCESS_TOKEN_AUDIENCE: &str = "eventbooking";
/// JOSE `typ` of access tokens (RFC 9068).
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";
/// JOSE `typ` of tokens that services show to each other.
pub const SERVICE_TOKEN_TYPE: &str = "svc+jwt";

/// Claims of an access token (RFC 9068), signed by user-service.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AccessClaims {
    /// Always [`ACCESS_TOKEN_ISSUER`].
    pub iss: String,
    /// Always [`ACCESS_TOKEN_AUDIENCE`].
    pub aud: String,
    /// The user's id, a decimal number.
    pub sub: String,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// Expires at, seconds since 1970.
    pub exp: i64,
    /// The session (refresh-token family) that the token belongs to.
    pub sid: String,
    /// What the user may do.
    pub role: Role,
    /// The user's e-mail address, kept with bookings for the organizer's list.
    pub email: String,
    /// The user's display name, kept with bookings for the organizer's list.
    pub name: String,
    /// The language that the user chose; absent if none was chosen, or where the token is from an older user-service.
    #[serde(default, deserialize_with = "known_language", skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
}

/// An unknown code, which a newer version may send, counts as no choice, so that the token stays valid here.
fn known_language<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Language>, D::Error> {
    let code = Option::<String>::deserialize(deserializer)?;
    Ok(code.as_deref().and_then(Language::parse))
}

/// What user-service publishes at `/.well-known/revocations.json`: the sessions that ended and the roles that changed
/// within the lifetime of an access token. It contains no personal data. Fields are added, never removed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct RevocationList {
    /// Sessions that ended; their tokens are no longer valid.
    #[serde(default)]
    pub sessions: Vec<String>,
    /// The present roles of users whose role changed, by user id: their tokens may name an older role.
    #[serde(default)]
    pub roles: BTreeMap<i32, Role>,
}

/// Claims of a service's own token, signed with that service's key.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServiceClaims {
    /// The calling service, such as `booking-service`; names the public key that verifies it.
    pub iss: String,
    /// The called service, such as `event-service`.
    pub aud: String,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// Expires at, seconds since 1970.
    pub exp: i64,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claims(language: Option<Value>) -> AccessClaims {
        let mut claims = json!({
            "iss": ACCESS_TOKEN_ISSUER, "aud": ACCESS_TOKEN_AUDIENCE, "sub": "1", "iat": 0, "exp": 600, "sid": "s",
            "role": "attendee", "email": "ada@example.org", "name": "Ada"
        });
        if let Some(language) = language {
            claims["language"] = language;
        }
        serde_json::from_value(claims).expect("the claims of an access token")
    }

    #[test]
    fn tokens_of_older_and_newer_versions_are_accepted() {
        assert_eq!(claims(None).language, None);
        assert_eq!(claims(Some(json!("de"))).language, Some(Language::De));
        assert_eq!(claims(Some(json!("fr"))).language, None, "a language that this version does not speak");
        assert_eq!(claims(Some(Value::Null)).language, None);
    }

    #[test]
    fn a_token_without_a_language_omits_the_claim() {
        let written = serde_json::to_value(claims(None)).expect("plain data");

        assert!(written.get("language").is_none(), "{written}");
    }
}

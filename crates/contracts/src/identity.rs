//! Roles, and the claims of the two kinds of token: a person's access token and a service's own token.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a person may do. Organizers manage their own events; admins manage people and every event.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Books seats.
    Attendee,
    /// Also creates and runs events.
    Organizer,
    /// Also manages people and anybody's events.
    Admin,
}

impl Role {
    /// The word used in JSON, tokens and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attendee => "attendee",
            Self::Organizer => "organizer",
            Self::Admin => "admin",
        }
    }

    /// The role of that word, if there is one.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Attendee, Self::Organizer, Self::Admin].into_iter().find(|role| role.as_str() == word)
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

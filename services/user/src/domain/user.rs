//! Users, and what they and admins change about them.

use chrono::{DateTime, Utc};
use contracts::{
    identity::{Language, Role},
    text::{TextError, check_line},
};
use platform::error::FieldError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

use super::{Email, Password};

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    pub id: i32,
    /// As the user typed it.
    pub email: String,
    pub name: String,
    pub role: Role,
    /// The role that the user requested and an admin has not decided on.
    pub requested_role: Option<Role>,
    pub status: Status,
    pub language: Option<Language>,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct Credentials {
    pub user: User,
    /// PHC string.
    pub password_hash: String,
}

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, Deserialize, EnumString, Eq, IntoStaticStr, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Status {
    /// It can be used.
    Active,
    /// An admin disabled it, or its owner deleted it.
    Disabled,
}

/// The users that a list contains.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum StatusFilter {
    /// Accounts that can be used.
    Active,
    /// Active accounts whose request for a role awaits an admin.
    Pending,
    /// Accounts that an admin disabled.
    Disabled,
}

/// What an admin changes about a user; `None` leaves a field unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserChange {
    /// Also settles the user's request for a role.
    pub role: Option<Role>,
    /// Disabling ends every session.
    pub status: Option<Status>,
}

/// The outcome of a change that an admin asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdminChange {
    Changed(User),
    NoSuchUser,
    /// The one who asked is no longer an active admin.
    NotByAdmin,
}

/// What users change about themselves; `None` leaves a field unchanged.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    pub name: Option<Name>,
    pub language: Option<Language>,
}

/// A display name: one line of 1 to 100 characters, trimmed, that passes [`check_line`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name(String);

impl Name {
    /// Trims `text`. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if !(1..=100).contains(&text.chars().count()) {
            return Err("must have 1 to 100 characters");
        }
        check_line(text).map_err(TextError::message)?;
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A valid registration. Whether the address is taken is not known yet.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub email: Email,
    pub name: Name,
    pub password: Password,
    pub role: Role,
    /// The role that an admin has to approve.
    pub requested_role: Option<Role>,
    pub language: Option<Language>,
}

impl NewUser {
    /// Checks all fields; the error names every invalid one. With `approval`, organizers begin as attendees.
    pub fn parse(
        email: &str,
        name: &str,
        password: &str,
        role: Option<Role>,
        approval: bool,
    ) -> Result<Self, Vec<FieldError>> {
        let (password, email) = (Password::parse_new(password, email), Email::parse(email));
        let name = Name::parse(name);
        let role = match role.unwrap_or(Role::Attendee) {
            Role::Attendee => Ok((Role::Attendee, None)),
            Role::Organizer if approval => Ok((Role::Attendee, Some(Role::Organizer))),
            Role::Organizer => Ok((Role::Organizer, None)),
            Role::Admin => Err("must be attendee or organizer"),
        };
        match (email, name, password, role) {
            (Ok(email), Ok(name), Ok(password), Ok((role, requested_role))) => {
                Ok(Self { email, name, password, role, requested_role, language: None })
            }
            (email, name, password, role) => {
                Err([("email", email.err()), ("name", name.err()), ("password", password.err()), ("role", role.err())]
                    .into_iter()
                    .filter_map(|(field, error)| Some(FieldError::new(field, error?)))
                    .collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_has_no_invisible_characters() {
        assert_eq!(Name::parse("  Ada \u{1F600} ").unwrap().as_str(), "Ada \u{1F600}");
        for bad in ["", "   ", "a\u{0}b", "a\nb", "Ada\u{202e}", "\u{3164}", "\u{301}", "A\u{200b}da", &"x".repeat(101)]
        {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_invalid_field_is_named() {
        let errors = NewUser::parse("x", "", "short", Some(Role::Admin), false).unwrap_err();

        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["email", "name", "password", "role"]);
    }

    #[test]
    fn an_organizer_begins_as_an_attendee_if_approval_is_required() {
        let parse = |approval| {
            let user = NewUser::parse("a@b", "A", "a fine password", Some(Role::Organizer), approval).unwrap();
            (user.role, user.requested_role)
        };

        assert_eq!(parse(false), (Role::Organizer, None));
        assert_eq!(parse(true), (Role::Attendee, Some(Role::Organizer)));
    }
}

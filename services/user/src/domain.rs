//! What an e-mail address, a name and a password are, and the numbers of the rules. Pure.

pub mod device;
pub mod password;

use std::time::Duration;

use contracts::{
    identity::{Language, Role},
    text::{TextError, check_line},
};
use platform::error::FieldError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::password::Password;

/// Wrong passwords for one account from one client in [`FAILURE_WINDOW`], whether the account exists or not, before that
/// client has to wait. A client is a browser that the owner has logged in from before, or otherwise an address.
pub const MAX_FAILURES_PER_CLIENT: u32 = 10;
/// Wrong passwords from one address in [`FAILURE_WINDOW`], for any account, before it has to wait.
pub const MAX_FAILURES_PER_ADDRESS: u32 = 50;
/// How long these failures count, from the first one on.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Wrong passwords for one account in [`ACCOUNT_WINDOW`], from all strangers together, before strangers have to wait.
pub const MAX_FAILURES_PER_ACCOUNT: u32 = 100;
/// How long failures of an account count, from the first one on.
pub const ACCOUNT_WINDOW: Duration = Duration::from_secs(3600);
/// How long registrations of an address count, from the first one on.
pub const REGISTRATION_WINDOW: Duration = Duration::from_secs(3600);
/// A rotated refresh token gets the same successor for so long: two tabs, or an answer that was lost.
pub const REUSE_GRACE: Duration = Duration::from_secs(30);
/// How long a reset token can be used (docs/decisions/0006-no-mail.md).
pub const RESET_LIFETIME: Duration = Duration::from_secs(3600);

/// An e-mail address by the rules of HTML's `<input type="email">`: ASCII, at most 254 characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Email(String);

impl Email {
    /// The address in `text`, without blanks around it; or what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.len() > 254 {
            return Err("must have at most 254 characters");
        }
        let fit = text.rsplit_once('@').is_some_and(|(local, domain)| is_local_part(local) && is_domain(domain));
        if fit { Ok(Self(text.to_owned())) } else { Err("must be an e-mail address such as ada@example.org") }
    }

    /// The address as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_local_part(text: &str) -> bool {
    let fit = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(fit)
}

fn is_domain(text: &str) -> bool {
    text.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// What failed logins of an account are counted by, for anything that was typed as an address.
pub fn account_key(typed: &str) -> String {
    typed.trim().to_ascii_lowercase()
}

/// A display name: 1 to 100 characters, at least one visible and none refused as invisible, without blanks around it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name(String);

impl Name {
    /// The name in `text`, or what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if !(1..=100).contains(&text.chars().count()) {
            return Err("must have 1 to 100 characters");
        }
        check_line(text).map_err(TextError::message)?;
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It can.
    Active,
    /// An admin has closed it, or its owner deleted it.
    Disabled,
}

impl Status {
    /// The word used in JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }

    /// The status of that word, if there is one.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Active, Self::Disabled].into_iter().find(|status| status.as_str() == word)
    }
}

/// A registration whose fields are all in order.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Not known to be free.
    pub email: Email,
    /// Display name.
    pub name: Name,
    /// To be hashed.
    pub password: Password,
    /// The role to begin with.
    pub role: Role,
    /// The role that awaits an admin.
    pub requested_role: Option<Role>,
    /// The language to begin with, if one was chosen.
    pub language: Option<Language>,
}

impl NewUser {
    /// Checks every field and names all that are at fault. Organizers begin as attendees where `approval` is needed.
    pub fn parse(
        email: &str,
        name: &str,
        password: &str,
        role: Option<Role>,
        approval: bool,
    ) -> Result<Self, Vec<FieldError>> {
        let (password, email) = (Password::choose(password, email), Email::parse(email));
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
                    .filter_map(|(field, fault)| Some(FieldError::new(field, fault?)))
                    .collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_a_browser_accepts() {
        for good in ["a@b", " Ada.Lovelace+tag@mail.example.org ", "o'brien@example.ie"] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        let long = format!("{}@example.org", "a".repeat(65));
        for bad in ["", "a", "@b", "a@", "a b@c", "a@-b.c", "a@b..c", "ä@example.org", "a@b\0", "a@b@c d", &long] {
            assert!(Email::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_trimmed_and_has_no_character_that_nobody_sees() {
        assert_eq!(Name::parse("  Ada \u{1F600} ").unwrap().as_str(), "Ada \u{1F600}");
        for bad in ["", "   ", "a\u{0}b", "a\nb", "Ada\u{202e}", "\u{3164}", "\u{301}", "A\u{200b}da", &"x".repeat(101)]
        {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_faulty_field_is_named() {
        let faults = NewUser::parse("x", "", "short", Some(Role::Admin), false).unwrap_err();

        let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["email", "name", "password", "role"]);
    }

    #[test]
    fn an_organizer_begins_as_an_attendee_only_where_approval_is_needed() {
        let parse = |approval| {
            let user = NewUser::parse("a@b", "A", "a fine password", Some(Role::Organizer), approval).unwrap();
            (user.role, user.requested_role)
        };

        assert_eq!(parse(false), (Role::Organizer, None));
        assert_eq!(parse(true), (Role::Attendee, Some(Role::Organizer)));
    }
}

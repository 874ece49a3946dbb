//! Passwords: which ones are allowed, and which are too easy to guess.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// Lower case, sorted by byte, one per line; `data/README.md` names the sources.
const COMMON: &str = include_str!("../../data/common_passwords.txt");
const WRONG_LENGTH: &str = "must have 8 to 128 characters";
const TOO_COMMON: &str = "is one of the most common passwords; choose another one";
const DERIVED_FROM_EMAIL: &str = "must not be derived from your e-mail address; choose another one";

/// A password in Unicode form NFKC, so that it is the same from every keyboard. `Debug` hides it.
#[derive(Clone, Eq, PartialEq)]
pub struct Password(String);

impl Password {
    /// 8 to 128 characters of any kind (NIST SP 800-63B). The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let password = Self::unchecked(text);
        match password.0.chars().count() {
            8..=128 => Ok(password),
            _ => Err(WRONG_LENGTH),
        }
    }

    /// A new password for the account of `email`: [`Password::parse`], then [`Password::check_strength`].
    pub fn parse_new(text: &str, email: &str) -> Result<Self, &'static str> {
        let password = Self::parse(text)?;
        password.check_strength(email)?;
        Ok(password)
    }

    /// Refuses the most common passwords, and those derived from the e-mail address.
    pub fn check_strength(&self, email: &str) -> Result<(), &'static str> {
        let lower = self.0.to_lowercase();
        if COMMON.lines().any(|common| common == lower) {
            return Err(TOO_COMMON);
        }
        if is_derived_from(&lower, &email.trim().to_lowercase()) { Err(DERIVED_FROM_EMAIL) } else { Ok(()) }
    }

    /// A password to verify against a stored hash.
    pub fn unchecked(text: &str) -> Self {
        Self(text.nfkc().collect())
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Whether a password is an address or an obvious variant of it: a part of it, without punctuation, reversed, doubled,
/// or with digits or punctuation around it. Both are in lower case.
fn is_derived_from(password: &str, email: &str) -> bool {
    let letters = alphanumeric(password);
    let reversed: String = letters.chars().rev().collect();
    let core = letters.trim_matches(|c: char| c.is_ascii_digit());
    let core_reversed: String = core.chars().rev().collect();
    let variants = email_variants(email);
    [letters.as_str(), &reversed, core, &core_reversed]
        .iter()
        .any(|text| !text.is_empty() && variants.iter().any(|variant| variant == text || variant.repeat(2) == *text))
}

/// The address, its local part with and without the tag, its domain with and without the last label, and local part and
/// domain joined; only letters and digits, also without digits around.
fn email_variants(email: &str) -> Vec<String> {
    let (local, domain) = email.rsplit_once('@').unwrap_or((email, ""));
    let untagged = local.split('+').next().unwrap_or(local);
    let host = domain.rsplit_once('.').map_or(domain, |(host, _)| host);
    let joined = [format!("{local}{host}"), format!("{untagged}{domain}"), format!("{untagged}{host}")];
    let variants = [email, local, untagged, domain, host, &joined[0], &joined[1], &joined[2]].map(alphanumeric);
    let cores = variants.clone().map(|text| text.trim_matches(|c: char| c.is_ascii_digit()).to_owned());
    variants.into_iter().chain(cores).filter(|text| !text.is_empty()).collect()
}

fn alphanumeric(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_password_counts_characters_not_bytes() {
        assert!(Password::parse(&"ä".repeat(128)).is_ok());
        assert!(Password::parse(&"ä".repeat(129)).is_err());
        assert!(Password::parse("1234567").is_err());
        assert_eq!(Password::unchecked("e\u{301}"), Password::unchecked("\u{e9}"), "composed and decomposed are equal");
    }

    #[test]
    fn common_passwords_are_refused_in_any_case() {
        for common in ["password", "Password1", "12345678", "iloveyou", "SUNSHINE", "qwertyuiop", "trustno1"] {
            assert_eq!(Password::parse_new(common, "ada@example.org").unwrap_err(), TOO_COMMON, "{common}");
        }
        assert!(COMMON.lines().count() > 10_000);
        assert!(COMMON.lines().all(|line| line.chars().count() >= 8 && line == line.to_lowercase()));
    }

    #[test]
    fn an_address_and_obvious_variants_are_refused() {
        for variant in [
            "ada.lovelace@example.org",
            "Ada.Lovelace@Example.org",
            "adalovelace",
            "Ada-Lovelace!",
            "ada.lovelace1815",
            "1815adalovelace",
            "ecalevolada",
            "adalovelaceadalovelace",
            "adalovelaceexample",
            "example.org",
            "example.org1!",
            "ada.lovelace+tag",
        ] {
            let refused = Password::parse_new(variant, "ada.lovelace+tag@example.org");
            assert_eq!(refused.unwrap_err(), DERIVED_FROM_EMAIL, "{variant}");
        }
    }

    #[test]
    fn other_passwords_are_accepted() {
        for (password, email) in [
            ("correct horse battery", "ada@example.org"),
            ("ada likes analytical engines", "ada@example.org"),
            ("98765432109876", "12345@example.org"),
            ("demo-password", "organizer@demo.example"),
            ("a fine password", "a@b"),
        ] {
            assert!(Password::parse_new(password, email).is_ok(), "{password}");
        }
    }
}

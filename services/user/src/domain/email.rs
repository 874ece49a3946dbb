//! E-mail addresses.

/// An e-mail address by the rules of HTML's `<input type="email">`: ASCII, at most 254 characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Email(String);

impl Email {
    /// Trims `text`. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.len() > 254 {
            return Err("must have at most 254 characters");
        }
        let valid = text.rsplit_once('@').is_some_and(|(local, domain)| is_local_part(local) && is_domain(domain));
        if valid { Ok(Self(text.to_owned())) } else { Err("must be an e-mail address such as ada@example.org") }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_local_part(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_domain(text: &str) -> bool {
    text.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_valid_if_browsers_accept_it() {
        for good in ["a@b", " Ada.Lovelace+tag@mail.example.org ", "o'brien@example.ie"] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        let long = format!("{}@example.org", "a".repeat(65));
        for bad in ["", "a", "@b", "a@", "a b@c", "a@-b.c", "a@b..c", "ä@example.org", "a@b\0", "a@b@c d", &long] {
            assert!(Email::parse(bad).is_err(), "{bad}");
        }
    }
}

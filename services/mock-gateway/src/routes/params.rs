//! Stripe's form-encoded parameters.

use std::{collections::BTreeMap, convert::Infallible};

use axum::{extract::FromRequestParts, http::request::Parts};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use crate::error::{StripeError, StripeResult};

/// Parameters such as `amount=5&metadata[a]=b&payment_method_types[]=card`. Handlers take each one once;
/// [`Params::finish`] refuses the rest as unknown.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

/// The parameters of a query.
impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default().as_bytes()))
    }
}

impl Params {
    /// Parses a form body or a query.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// SHA-256 of method, path and parameters, in any order of the parameters.
    pub(super) fn fingerprint(&self, method_and_path: &str) -> Vec<u8> {
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort();
        Sha256::digest(format!("{method_and_path} {pairs:?}")).to_vec()
    }

    /// A text; an empty one is refused.
    pub(super) fn text(&mut self, name: &str) -> StripeResult<Option<String>> {
        let Some(at) = self.0.iter().position(|(key, _)| key == name) else { return Ok(None) };
        let (_, value) = self.0.remove(at);
        if value.is_empty() {
            let message = format!("You passed an empty string for '{name}'. Leave it out instead.");
            return Err(StripeError::invalid_request(message).with_code("parameter_invalid_empty").with_param(name));
        }
        if value.contains('\0') {
            // PostgreSQL cannot store it.
            return Err(StripeError::invalid_request("Invalid string: it has a NUL in it.").with_param(name));
        }
        Ok(Some(value))
    }

    /// A required text.
    pub(super) fn required(&mut self, name: &str) -> StripeResult<String> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    pub(super) fn integer(&mut self, name: &str, min: i64, max: i64) -> StripeResult<Option<i64>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let refused = |code, message| StripeError::invalid_request(message).with_code(code).with_param(name);
        let number: i64 =
            text.parse().map_err(|_| refused("parameter_invalid_integer", format!("Invalid integer: {text}")))?;
        if (min..=max).contains(&number) {
            return Ok(Some(number));
        }
        Err(refused("parameter_invalid_integer", format!("Invalid integer: {name} must be from {min} to {max}")))
    }

    /// False if absent.
    pub(super) fn flag(&mut self, name: &str) -> StripeResult<bool> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(StripeError::invalid_request(format!("Invalid boolean: {other}")).with_param(name)),
        }
    }

    /// `name[]=…` or `name[0]=…`, in order.
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        let is_item = |key: &str| key.bytes().all(|digit| digit.is_ascii_digit());
        self.take_nested(name, is_item).into_iter().map(|(_, value)| value).collect()
    }

    /// `metadata[key]=value`, within Stripe's limits.
    pub(super) fn metadata(&mut self) -> StripeResult<Value> {
        let pairs: BTreeMap<String, String> =
            self.take_nested("metadata", |key| !key.is_empty()).into_iter().filter(|(_, v)| !v.is_empty()).collect();
        let fit = pairs.len() <= 50 && pairs.iter().all(|(key, value)| key.len() <= 40 && value.chars().count() <= 500);
        if !fit || pairs.iter().any(|(key, value)| key.contains('\0') || value.contains('\0')) {
            let message = "Invalid metadata: at most 50 keys of 40 characters with values of 500 characters.";
            return Err(StripeError::invalid_request(message).with_param("metadata"));
        }
        Ok(pairs.into_iter().map(|(key, value)| (key, Value::String(value))).collect::<serde_json::Map<_, _>>().into())
    }

    /// Takes parameters of Stripe's that have no effect here.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        self.0.retain(|(key, _)| !names.contains(&key.split('[').next().unwrap_or_default()));
    }

    /// Fails if a parameter was not taken.
    pub(super) fn finish(self) -> StripeResult<()> {
        let Some((name, _)) = self.0.into_iter().next() else { return Ok(()) };
        let message = format!("Received unknown parameter: {name}");
        Err(StripeError::invalid_request(message).with_code("parameter_unknown").with_param(name))
    }

    fn take_nested(&mut self, name: &str, fits: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let inner = |key: &str| {
            let inside = key.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
            fits(inside).then(|| inside.to_owned())
        };
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        for (key, value) in self.0.drain(..) {
            match inner(&key) {
                Some(inside) => taken.push((inside, value)),
                None => left.push((key, value)),
            }
        }
        self.0 = left;
        taken
    }
}

/// Shortens `items`, which may be one more than `limit`, to a page. Returns whether there are more.
pub(super) fn truncate<T>(items: &mut Vec<T>, limit: i64) -> bool {
    let limit = usize::try_from(limit).unwrap_or(0);
    let has_more = items.len() > limit;
    items.truncate(limit);
    has_more
}

/// 400: a required parameter is missing.
pub(super) fn missing(name: &str) -> StripeError {
    let message = format!("Missing required param: {name}.");
    StripeError::invalid_request(message).with_code("parameter_missing").with_param(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_parameters_are_parsed() {
        let form = "amount=500&metadata%5Bbooking_id%5D=7&payment_method_types[]=card&payment_method_types[1]=link";
        let mut params = Params::parse(form.as_bytes());

        assert_eq!(params.integer("amount", 1, 1000).unwrap(), Some(500));
        assert_eq!(params.metadata().unwrap(), serde_json::json!({ "booking_id": "7" }));
        assert_eq!(params.list("payment_method_types"), ["card", "link"]);
        assert!(params.finish().is_ok());
    }

    #[test]
    fn unknown_repeated_and_invalid_parameters_are_refused() {
        let mut params = Params::parse(b"amount=500&amount=600");
        params.text("amount").unwrap();
        assert!(params.finish().is_err());
        assert!(Params::parse(b"amount=5x").integer("amount", 1, 10).is_err());
        assert!(Params::parse(b"amount=11").integer("amount", 1, 10).is_err());
        assert!(Params::parse(b"amount=").text("amount").is_err());
        assert!(Params::parse(b"confirm=yes").flag("confirm").is_err());
    }

    #[test]
    fn the_order_of_parameters_does_not_change_the_fingerprint() {
        let fingerprint = |form: &str, path| Params::parse(form.as_bytes()).fingerprint(path);

        assert_eq!(fingerprint("a=1&b=2", "POST /x"), fingerprint("b=2&a=1", "POST /x"));
        assert_ne!(fingerprint("a=1&b=2", "POST /x"), fingerprint("a=1&b=3", "POST /x"));
        assert_ne!(fingerprint("a=1", "POST /x"), fingerprint("a=1", "POST /y"));
    }
}

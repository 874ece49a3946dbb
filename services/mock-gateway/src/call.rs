//! Who calls and what they send: the API key, request ids, and Stripe's form-encoded parameters.

use std::collections::BTreeMap;

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use platform::extract::RawBody;
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use crate::{
    error::{StripeError, StripeResult},
    state::AppState,
};

/// The longest idempotency key that Stripe takes.
const MAX_KEY: usize = 255;

/// The id of this request, sent back as `request-id`.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// Proof that the caller has the API key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ApiKey;

impl FromRequestParts<AppState> for ApiKey {
    type Rejection = StripeError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> StripeResult<Self> {
        let Some(given) = bearer(&parts.headers) else {
            return Err(StripeError::unauthorized(
                "You did not provide an API key. You need to provide your API key in the Authorization header, using \
                 Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            ));
        };
        // Digests have one length, so that not even the key's length shows in the time taken.
        let digest = |key: &str| Sha256::digest(key.as_bytes());
        if bool::from(digest(given).ct_eq(&digest(state.api_key.expose()))) {
            return Ok(Self);
        }
        Err(StripeError::unauthorized("Invalid API Key provided."))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

/// The id in a path.
#[derive(Debug)]
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = StripeError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> StripeResult<Self> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) if id.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(id)),
            _ => {
                let refused = StripeError::invalid_request("No such object: ids are letters, digits and '_'.");
                Err(refused.with_code("resource_missing").with_status(StatusCode::NOT_FOUND))
            }
        }
    }
}

/// A POST: which request it is, and its parameters, looked at only by [`Call::read`].
#[derive(Debug)]
pub(crate) struct Call {
    request_id: String,
    method_and_path: String,
    key: StripeResult<Option<String>>,
    params: StripeResult<Params>,
}

/// What tells a request from others, and makes it the same as an earlier one.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) request_id: String,
    /// The caller's Idempotency-Key.
    pub(crate) key: Option<String>,
    /// SHA-256 of method, path and parameters.
    pub(crate) fingerprint: Vec<u8>,
}

impl Call {
    /// The request and its parameters. Fails on an unfit Idempotency-Key or body.
    pub(crate) fn read(self) -> StripeResult<(Origin, Params)> {
        let (key, params) = (self.key?, self.params?);
        let fingerprint = params.fingerprint(&self.method_and_path);
        Ok((Origin { request_id: self.request_id, key, fingerprint }, params))
    }
}

impl<S: Sync> FromRequest<S> for Call {
    type Rejection = StripeError;

    async fn from_request(request: Request, state: &S) -> StripeResult<Self> {
        let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        let method_and_path = format!("{} {}", request.method(), request.uri().path());
        let key = idempotency_key(request.headers());
        let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
        let form = content_type.is_none_or(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
        let params = match RawBody::from_request(request, state).await {
            Err(error) => Err(error.into()),
            Ok(RawBody(bytes)) if form || bytes.is_empty() => Ok(Params::parse(&bytes)),
            Ok(_) => Err(StripeError::invalid_request(
                "Invalid request: send the parameters as application/x-www-form-urlencoded.",
            )),
        };
        Ok(Self { request_id, method_and_path, key, params })
    }
}

fn idempotency_key(headers: &HeaderMap) -> StripeResult<Option<String>> {
    match headers.get("idempotency-key").map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(key)) if (1..=MAX_KEY).contains(&key.len()) => Ok(Some(key.to_owned())),
        Some(_) => Err(StripeError::idempotency(format!(
            "Idempotency keys must be 1 to {MAX_KEY} visible ASCII characters; take a UUID."
        ))),
    }
}

/// Stripe's parameters: `amount=5&metadata[a]=b&payment_method_types[]=card`. Each is taken once; what is left in the
/// end is unknown, and refused.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a form body or a query.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    fn fingerprint(&self, method_and_path: &str) -> Vec<u8> {
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort();
        Sha256::digest(format!("{method_and_path} {pairs:?}")).to_vec()
    }

    /// A text; refused if it is empty.
    pub(crate) fn text(&mut self, name: &str) -> StripeResult<Option<String>> {
        let Some(at) = self.0.iter().position(|(key, _)| key == name) else { return Ok(None) };
        let (_, value) = self.0.remove(at);
        if value.is_empty() {
            let message = format!("You passed an empty string for '{name}'. Leave it out instead.");
            return Err(StripeError::invalid_request(message).with_code("parameter_invalid_empty").with_param(name));
        }
        if value.contains('\0') {
            // PostgreSQL keeps none.
            return Err(StripeError::invalid_request("Invalid string: it has a NUL in it.").with_param(name));
        }
        Ok(Some(value))
    }

    /// A text that has to be there.
    pub(crate) fn required(&mut self, name: &str) -> StripeResult<String> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// An integer from `least` to `most`.
    pub(crate) fn integer(&mut self, name: &str, least: i64, most: i64) -> StripeResult<Option<i64>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let refused = |code, message| StripeError::invalid_request(message).with_code(code).with_param(name);
        let number: i64 =
            text.parse().map_err(|_| refused("parameter_invalid_integer", format!("Invalid integer: {text}")))?;
        if (least..=most).contains(&number) {
            return Ok(Some(number));
        }
        Err(refused("parameter_invalid_integer", format!("Invalid integer: {name} must be from {least} to {most}")))
    }

    /// `true` or `false`; false if absent.
    pub(crate) fn flag(&mut self, name: &str) -> StripeResult<bool> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(StripeError::invalid_request(format!("Invalid boolean: {other}")).with_param(name)),
        }
    }

    /// `name[]=…` or `name[0]=…`, in order.
    pub(crate) fn list(&mut self, name: &str) -> Vec<String> {
        let is_item = |key: &str| key.bytes().all(|digit| digit.is_ascii_digit());
        self.take_nested(name, is_item).into_iter().map(|(_, value)| value).collect()
    }

    /// `metadata[key]=value`, within Stripe's limits.
    pub(crate) fn metadata(&mut self) -> StripeResult<Value> {
        let pairs: BTreeMap<String, String> =
            self.take_nested("metadata", |key| !key.is_empty()).into_iter().filter(|(_, v)| !v.is_empty()).collect();
        let fit = pairs.len() <= 50 && pairs.iter().all(|(key, value)| key.len() <= 40 && value.chars().count() <= 500);
        if !fit || pairs.iter().any(|(key, value)| key.contains('\0') || value.contains('\0')) {
            let message = "Invalid metadata: at most 50 keys of 40 characters with values of 500 characters.";
            return Err(StripeError::invalid_request(message).with_param("metadata"));
        }
        Ok(pairs.into_iter().map(|(key, value)| (key, Value::String(value))).collect::<serde_json::Map<_, _>>().into())
    }

    /// Takes parameters of Stripe's that make no difference here.
    pub(crate) fn ignore(&mut self, names: &[&str]) {
        self.0.retain(|(key, _)| !names.contains(&key.split('[').next().unwrap_or_default()));
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> StripeResult<()> {
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

/// 400: a parameter that has to be there is not.
pub(crate) fn missing(name: &str) -> StripeError {
    let message = format!("Missing required param: {name}.");
    StripeError::invalid_request(message).with_code("parameter_missing").with_param(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_parameters_are_read_as_stripe_reads_them() {
        let form = "amount=500&metadata%5Bbooking_id%5D=7&payment_method_types[]=card&payment_method_types[1]=link";
        let mut params = Params::parse(form.as_bytes());

        assert_eq!(params.integer("amount", 1, 1000).unwrap(), Some(500));
        assert_eq!(params.metadata().unwrap(), serde_json::json!({ "booking_id": "7" }));
        assert_eq!(params.list("payment_method_types"), ["card", "link"]);
        assert!(params.finish().is_ok());
    }

    #[test]
    fn unknown_repeated_and_unfit_parameters_are_refused() {
        let mut params = Params::parse(b"amount=500&amount=600");
        params.text("amount").unwrap();
        assert!(params.finish().is_err());
        assert!(Params::parse(b"amount=5x").integer("amount", 1, 10).is_err());
        assert!(Params::parse(b"amount=11").integer("amount", 1, 10).is_err());
        assert!(Params::parse(b"amount=").text("amount").is_err());
        assert!(Params::parse(b"confirm=yes").flag("confirm").is_err());
    }

    #[test]
    fn the_order_of_parameters_makes_no_other_request() {
        let fingerprint = |form: &str, path| Params::parse(form.as_bytes()).fingerprint(path);

        assert_eq!(fingerprint("a=1&b=2", "POST /x"), fingerprint("b=2&a=1", "POST /x"));
        assert_ne!(fingerprint("a=1&b=2", "POST /x"), fingerprint("a=1&b=3", "POST /x"));
        assert_ne!(fingerprint("a=1", "POST /x"), fingerprint("a=1", "POST /y"));
    }
}

//! Extractors: the API key, ids in paths, and form bodies with their Idempotency-Key.

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use platform::extract::RawBody;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::params::Params;
use crate::{
    error::{StripeError, StripeResult},
    state::AppState,
};

/// As at Stripe.
const MAX_KEY_LENGTH: usize = 255;

/// The id of the request, which the response has as `request-id`.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

/// Proof that the caller sent the API key.
#[derive(Clone, Copy, Debug)]
pub(super) struct ApiKey;

impl FromRequestParts<AppState> for ApiKey {
    type Rejection = StripeError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> StripeResult<Self> {
        let Some(given) = bearer(&parts.headers) else {
            return Err(StripeError::unauthorized(
                "You did not provide an API key. You need to provide your API key in the Authorization header, using \
                 Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            ));
        };
        // Digests have the same length, so the time of the comparison does not reveal the length of the key.
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

/// The id in the path.
#[derive(Debug)]
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = StripeError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> StripeResult<Self> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) if id.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(id)),
            _ => {
                let error = StripeError::invalid_request("No such object: ids are letters, digits and '_'.");
                Err(error.with_code("resource_missing").with_status(StatusCode::NOT_FOUND))
            }
        }
    }
}

/// A POST with a form. Its errors are reported by [`FormRequest::into_parts`], after those of other extractors.
#[derive(Debug)]
pub(super) struct FormRequest {
    request_id: String,
    method_and_path: String,
    idempotency_key: StripeResult<Option<String>>,
    params: StripeResult<Params>,
}

/// What identifies a request, and a repetition of it.
#[derive(Clone, Debug)]
pub(super) struct RequestIdentity {
    pub(super) request_id: String,
    pub(super) idempotency_key: Option<String>,
    /// SHA-256 of method, path and parameters.
    pub(super) fingerprint: Vec<u8>,
}

impl FormRequest {
    /// Fails on an invalid Idempotency-Key or body.
    pub(super) fn into_parts(self) -> StripeResult<(RequestIdentity, Params)> {
        let (idempotency_key, params) = (self.idempotency_key?, self.params?);
        let fingerprint = params.fingerprint(&self.method_and_path);
        Ok((RequestIdentity { request_id: self.request_id, idempotency_key, fingerprint }, params))
    }
}

impl<S: Sync> FromRequest<S> for FormRequest {
    type Rejection = StripeError;

    async fn from_request(request: Request, state: &S) -> StripeResult<Self> {
        let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        let method_and_path = format!("{} {}", request.method(), request.uri().path());
        let idempotency_key = idempotency_key(request.headers());
        let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
        let form = content_type.is_none_or(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
        let params = match RawBody::from_request(request, state).await {
            Err(error) => Err(error.into()),
            Ok(RawBody(bytes)) if form || bytes.is_empty() => Ok(Params::parse(&bytes)),
            Ok(_) => Err(StripeError::invalid_request(
                "Invalid request: send the parameters as application/x-www-form-urlencoded.",
            )),
        };
        Ok(Self { request_id, method_and_path, idempotency_key, params })
    }
}

fn idempotency_key(headers: &HeaderMap) -> StripeResult<Option<String>> {
    match headers.get("idempotency-key").map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(key)) if (1..=MAX_KEY_LENGTH).contains(&key.len()) => Ok(Some(key.to_owned())),
        Some(_) => Err(StripeError::idempotency(format!(
            "Idempotency keys must be 1 to {MAX_KEY_LENGTH} visible ASCII characters; take a UUID."
        ))),
    }
}

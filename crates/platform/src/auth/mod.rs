//! Authentication: a person with an access token (header or cookie), or a service with a token of its own.
//!
//! - [`keys`]: the public keys of user-service, cached; they go on working while it is down
//! - [`cookie`]: names and attributes of the session cookies, and the same-origin rule for them
//! - [`extract`]: the extractors [`AuthUser`], [`OptionalUser`] and [`ServiceCaller`]
//! - [`revocations`]: sessions that ended before their tokens expire, and roles that were withdrawn
//! - [`service_token`]: tokens that services show to each other

pub mod cookie;
pub mod extract;
pub mod keys;
pub mod revocations;
pub mod service_token;

use std::sync::Arc;

use contracts::identity::{
    ACCESS_TOKEN_AUDIENCE, ACCESS_TOKEN_ISSUER, ACCESS_TOKEN_TYPE, AccessClaims, Language, Role, SERVICE_TOKEN_TYPE,
    ServiceClaims,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::de::DeserializeOwned;

pub use self::{
    cookie::Cookies,
    extract::{AuthUser, OptionalUser, ServiceCaller},
    keys::AccessKeys,
    revocations::Revocations,
    service_token::{ServiceKeys, ServiceTokenSigner},
};
use crate::{ApiError, ApiResult, Clock};

/// How far the clocks of two machines may be apart, in seconds.
pub const LEEWAY_SECONDS: i64 = 60;

/// Checks tokens. Cheap to clone; every service keeps one in its state.
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
}

struct Inner {
    access_keys: AccessKeys,
    revocations: Revocations,
    service_keys: ServiceKeys,
    cookies: Cookies,
    clock: Clock,
}

/// A person who has shown a valid access token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The user's id.
    pub user_id: i32,
    /// What the user may do.
    pub role: Role,
    /// The user's e-mail address.
    pub email: String,
    /// The user's display name.
    pub name: String,
    /// The language that the user chose, if any.
    pub language: Option<Language>,
    /// The session the token belongs to.
    pub session_id: String,
    /// When the token stops being valid, seconds since 1970.
    pub expires_at: i64,
}

impl Verifier {
    /// A verifier of people's tokens by `access_keys` and of services' tokens by `service_keys`.
    pub fn new(access_keys: AccessKeys, service_keys: ServiceKeys, cookies: Cookies, clock: Clock) -> Self {
        let revocations = Revocations::default();
        Self { inner: Arc::new(Inner { access_keys, revocations, service_keys, cookies, clock }) }
    }

    /// The session cookies' names and attributes.
    pub fn cookies(&self) -> &Cookies {
        &self.inner.cookies
    }

    /// Known ended sessions and changed roles; empty until polling starts.
    pub fn revocations(&self) -> &Revocations {
        &self.inner.revocations
    }

    /// The person behind an access token. Fails with 401: `invalid_token` if we did not issue it, `token_expired` if it
    /// has expired, `session_over` if its session has ended.
    pub async fn verify_access(&self, token: &str) -> ApiResult<Identity> {
        let header = decode_header(token).map_err(|_| invalid_token())?;
        if header.typ.as_deref() != Some(ACCESS_TOKEN_TYPE) {
            return Err(invalid_token());
        }
        let key = self.inner.access_keys.find(header.kid.as_deref().unwrap_or_default()).await?;
        let claims: AccessClaims = verify(token, &key, ACCESS_TOKEN_ISSUER, ACCESS_TOKEN_AUDIENCE)?;
        self.check_times(claims.iat, claims.exp)?;
        if self.inner.revocations.has_ended(&claims.sid) {
            return Err(ApiError::unauthorized("session_over", "the session is over; log in again"));
        }
        let user_id = claims.sub.parse().map_err(|_| invalid_token())?;
        Ok(Identity {
            user_id,
            role: self.inner.revocations.effective_role(user_id, claims.role),
            email: claims.email,
            name: claims.name,
            language: claims.language,
            session_id: claims.sid,
            expires_at: claims.exp,
        })
    }

    /// The service behind a token: its name. 403 `service_only` for a person's valid token, 401 for anything else.
    pub async fn verify_service(&self, token: &str) -> ApiResult<String> {
        let header = decode_header(token).map_err(|_| invalid_token())?;
        if header.typ.as_deref() != Some(SERVICE_TOKEN_TYPE) {
            self.verify_access(token).await?;
            return Err(ApiError::forbidden("service_only", "only services of the platform may do this"));
        }
        let claimed: ServiceClaims =
            jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| invalid_token())?;
        let key = self.inner.service_keys.find(&claimed.iss).ok_or_else(invalid_token)?;
        let claims: ServiceClaims = verify(token, key, &claimed.iss, self.inner.service_keys.audience())?;
        self.check_times(claims.iat, claims.exp)?;
        Ok(claims.iss)
    }

    fn check_times(&self, iat: i64, exp: i64) -> ApiResult<()> {
        let now = self.inner.clock.now().timestamp();
        if exp + LEEWAY_SECONDS <= now {
            return Err(ApiError::unauthorized("token_expired", "the session is over; refresh it or log in again"));
        }
        if iat - LEEWAY_SECONDS > now { Err(invalid_token()) } else { Ok(()) }
    }
}

/// Checks signature, algorithm, issuer and audience; the caller checks the times by its own clock.
fn verify<T: DeserializeOwned>(token: &str, key: &DecodingKey, issuer: &str, audience: &str) -> ApiResult<T> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    decode::<T>(token, key, &validation).map(|data| data.claims).map_err(|_| invalid_token())
}

pub(crate) fn invalid_token() -> ApiError {
    ApiError::unauthorized("invalid_token", "the token is not valid; log in again")
}

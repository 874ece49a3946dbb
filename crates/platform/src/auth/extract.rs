//! The extractors by which a handler says who may call it.

use std::ops::Deref;

use aide::{OperationInput, OperationIo, generate::GenContext, openapi::Operation};
use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use contracts::identity::Role;

use super::{Identity, Verifier};
use crate::{ApiError, ApiResult};

/// Somebody logged in; 401 otherwise. Taking it is how a handler requires login.
#[derive(Clone, Debug)]
pub struct AuthUser(pub Identity);

impl AuthUser {
    /// 403 `role_required` unless the user has one of the roles.
    pub fn require_role(&self, roles: &[Role]) -> ApiResult<()> {
        if roles.contains(&self.role) {
            return Ok(());
        }
        let wanted = roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ");
        Err(ApiError::forbidden(
            "role_required",
            format!("this needs the role {wanted}; yours is {}", self.role.as_str()),
        ))
    }
}

impl Deref for AuthUser {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.0
    }
}

impl<S> FromRequestParts<S> for AuthUser
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let verifier = Verifier::from_ref(state);
        if let Some(token) = bearer(&parts.headers) {
            return verifier.verify_access(token).await.map(Self);
        }
        let identity = any_valid(&verifier, &verifier.cookies().access_tokens(&parts.headers)).await?;
        verifier.cookies().require_same_origin(parts)?;
        Ok(Self(identity))
    }
}

/// Somebody logged in, or anybody. A token that is shown has to be valid all the same.
#[derive(Clone, Debug, OperationIo)]
#[aide(input)]
pub struct OptionalUser(pub Option<Identity>);

impl<S> FromRequestParts<S> for OptionalUser
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        if bearer(&parts.headers).is_some() {
            return AuthUser::from_request_parts(parts, state).await.map(|user| Self(Some(user.0)));
        }
        // A browser sends its cookie everywhere, also when it is over: public pages stay public.
        Ok(Self(AuthUser::from_request_parts(parts, state).await.ok().map(|user| user.0)))
    }
}

/// A service of the platform, by name; 401 without a token, 403 for a person's token.
#[derive(Clone, Debug, OperationIo)]
#[aide(input_with = "AuthUser")]
pub struct ServiceCaller(pub String);

impl<S> FromRequestParts<S> for ServiceCaller
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let verifier = Verifier::from_ref(state);
        let cookie = || verifier.cookies().access_tokens(&parts.headers).first().copied();
        let token = bearer(&parts.headers).or_else(cookie);
        verifier.verify_service(token.ok_or_else(login_required)?).await.map(Self)
    }
}

/// The person behind the valid token that was issued last; if none is valid, what is wrong with the first one.
///
/// Older versions set and clear only one of the cookies, so the other may still be somebody else's.
async fn any_valid(verifier: &Verifier, tokens: &[&str]) -> ApiResult<Identity> {
    let (mut latest, mut refusal): (Option<Identity>, _) = (None, None);
    for token in tokens {
        match verifier.verify_access(token).await {
            Ok(identity) if latest.as_ref().is_none_or(|latest| latest.expires_at < identity.expires_at) => {
                latest = Some(identity);
            }
            Ok(_) => {}
            Err(error) if error.status() == StatusCode::UNAUTHORIZED => {
                refusal.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    latest.ok_or_else(|| refusal.unwrap_or_else(login_required))
}

/// The token in `Authorization: Bearer`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn login_required() -> ApiError {
    ApiError::unauthorized("login_required", "log in and send the access token as Authorization: Bearer")
}

impl OperationInput for AuthUser {
    fn operation_input(_ctx: &mut GenContext, operation: &mut Operation) {
        operation.security.push([("bearer".to_owned(), Vec::new())].into_iter().collect());
    }
}

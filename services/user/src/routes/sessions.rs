//! Sessions: login, refresh, logout; by tokens in JSON for programs, by cookies for browsers.

use std::convert::Infallible;

use aide::{OperationInput, OperationOutput, generate::GenContext, openapi};
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderName, HeaderValue, header, request::Parts},
    response::{AppendHeaders, IntoResponse, NoContent, Response},
};
use platform::{
    ApiError, ApiResult,
    auth::cookie::require_same_origin,
    extract::{ClientAddr, JsonBody},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::UserResponse;
use crate::{
    domain::{Email, Password, Status},
    error::Refusal,
    state::{AppState, to_the_end},
    store::{FailureLimit, NewSession, Rotation, User},
    tokens::{random_token, token_hash},
};

/// A login.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// In any case.
    pub email: String,
    /// The password.
    pub password: String,
    /// `cookie` for a browser: the answer sets cookies and holds no tokens.
    pub session: Option<SessionKind>,
}

/// How a session is carried.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// By `HttpOnly` cookies.
    Cookie,
}

/// A refresh or a logout. Browsers send their cookie instead.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// The latest refresh token of the session.
    pub refresh_token: Option<String>,
}

/// A session that has begun or goes on.
#[derive(Debug, JsonSchema, Serialize)]
pub struct SessionResponse {
    /// To be sent as `Authorization: Bearer`; absent where cookies carry it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token: Option<String>,
    /// `Bearer`, or `Cookie` where cookies carry the tokens.
    pub token_type: &'static str,
    /// Seconds until the access token is over.
    pub expires_in: u32,
    /// For the next refresh; absent where cookies carry it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// Who is logged in.
    pub user: UserResponse,
}

/// [`SessionResponse`], not to be cached, with the cookies it sets.
pub(super) struct SessionAnswer {
    body: SessionResponse,
    cookies: Vec<HeaderValue>,
}

/// 204 with the cookies it clears.
pub(super) struct LoggedOut(Vec<HeaderValue>);

/// The refresh token in the request's cookies, and whether the request comes from a page of ours.
pub(super) struct RefreshCookie {
    token: Option<String>,
    same_origin: ApiResult<()>,
}

/// A refresh token and how it came.
struct Shown {
    token: String,
    by_cookie: bool,
}

pub(super) async fn login(
    State(state): State<AppState>,
    ClientAddr(address): ClientAddr,
    body: JsonBody<LoginRequest>,
) -> ApiResult<SessionAnswer> {
    let LoginRequest { email, password, session } = body.parse()?;
    let limit = FailureLimit::new(&email, address);
    // To the end, so that nobody guesses uncounted by hanging up.
    to_the_end(async move {
        let user = authenticate(&state, &limit, &email, &password).await;
        let outcome = if user.is_ok() { "accepted" } else { "refused" };
        metrics::counter!("eventplatform_logins_total", "outcome" => outcome).increment(1);
        let (user, password_hash) = user?;
        let refresh_token = random_token();
        let new = NewSession {
            id: Uuid::new_v4(),
            user_id: user.id,
            password_hash: &password_hash,
            token_hash: &token_hash(&refresh_token),
            lifetime_days: state.rules.refresh_token_days,
        };
        let session_id = new.id;
        if !state.store.insert_session(new).await? {
            return Err(Refusal::InvalidCredentials.into());
        }
        answer(&state, user, session_id, refresh_token, session == Some(SessionKind::Cookie))
    })
    .await
}

/// The user whose password this is. Refusals and their time are the same for an unknown user and a wrong password.
async fn authenticate(
    state: &AppState,
    limit: &FailureLimit,
    email: &str,
    password: &str,
) -> ApiResult<(User, String)> {
    let found = match Email::parse(email) {
        Ok(email) => state.store.find_credentials(&email).await?,
        Err(_) => None,
    };
    let stored = found.as_ref().map(|found| found.password_hash.clone());
    verify_counted(state, limit, password, stored, Refusal::InvalidCredentials).await?;
    let found = found.ok_or(Refusal::InvalidCredentials)?;
    if found.user.status == Status::Disabled {
        return Err(Refusal::AccountDisabled.into());
    }
    Ok((found.user, found.password_hash))
}

/// Verifies a password under the limits on failures: 429 `too_many_attempts` at the limit, `wrong` if it is wrong.
pub(super) async fn verify_counted(
    state: &AppState,
    limit: &FailureLimit,
    password: &str,
    stored: Option<String>,
    wrong: Refusal,
) -> ApiResult<()> {
    refuse_at_limit(state, limit).await?;
    if !state.hasher.verify(Password::typed(password), stored).await? {
        state.store.insert_failure(limit).await?;
        return Err(wrong.into());
    }
    // Many guesses at once all pass the first check; by now those before this one are counted.
    refuse_at_limit(state, limit).await?;
    Ok(state.store.delete_failures(&limit.account).await?)
}

async fn refuse_at_limit(state: &AppState, limit: &FailureLimit) -> ApiResult<()> {
    match state.store.find_wait(limit).await? {
        Some(retry_after_seconds) => Err(Refusal::TooManyAttempts { retry_after_seconds }.into()),
        None => Ok(()),
    }
}

pub(super) async fn refresh(
    State(state): State<AppState>,
    cookie: RefreshCookie,
    body: JsonBody<RefreshRequest>,
) -> Result<SessionAnswer, Response> {
    let clear = state.verifier.cookies().clear();
    let shown = shown_token(cookie, body).map_err(IntoResponse::into_response)?;
    let by_cookie = shown.as_ref().is_some_and(|shown| shown.by_cookie);
    to_the_end(async move { rotate(&state, shown.ok_or(Refusal::InvalidRefreshToken)?).await }).await.map_err(|error| {
        // A cookie that is over would come along for ever.
        let over = by_cookie && error.status() == http::StatusCode::UNAUTHORIZED;
        let clear = if over { clear.to_vec() } else { Vec::new() };
        (set_cookies(clear), error).into_response()
    })
}

async fn rotate(state: &AppState, shown: Shown) -> ApiResult<SessionAnswer> {
    let successor = state.token_key.successor(&shown.token);
    let days = state.rules.refresh_token_days;
    match state.store.rotate(&token_hash(&shown.token), &token_hash(&successor), days).await? {
        Rotation::Rotated(user, session_id) => answer(state, user, session_id, successor, shown.by_cookie),
        Rotation::Reused => Err(Refusal::RefreshTokenReused.into()),
        Rotation::Over => Err(Refusal::SessionOver.into()),
        Rotation::Unknown => Err(Refusal::InvalidRefreshToken.into()),
    }
}

pub(super) async fn logout(
    State(state): State<AppState>,
    cookie: RefreshCookie,
    body: JsonBody<RefreshRequest>,
) -> ApiResult<LoggedOut> {
    let clear = state.verifier.cookies().clear().to_vec();
    let Some(shown) = shown_token(cookie, body)? else { return Ok(LoggedOut(clear)) };
    let by_cookie = shown.by_cookie;
    to_the_end(async move { Ok(state.store.revoke_session_of(&token_hash(&shown.token)).await?) }).await?;
    Ok(LoggedOut(if by_cookie { clear } else { Vec::new() }))
}

/// The token in the body, or else the one in the cookie, which needs a page of ours to send it.
fn shown_token(cookie: RefreshCookie, body: JsonBody<RefreshRequest>) -> ApiResult<Option<Shown>> {
    if let Some(token) = body.parse_or_default()?.refresh_token {
        return Ok(Some(Shown { token, by_cookie: false }));
    }
    let Some(token) = cookie.token else { return Ok(None) };
    cookie.same_origin?;
    Ok(Some(Shown { token, by_cookie: true }))
}

fn answer(
    state: &AppState,
    user: User,
    session_id: Uuid,
    refresh_token: String,
    by_cookie: bool,
) -> ApiResult<SessionAnswer> {
    let seconds = state.rules.access_token_seconds;
    let access_token = state.signing.access_token(&user, session_id, seconds)?;
    let refresh_seconds = i64::from(state.rules.refresh_token_days) * 86_400;
    let mut body = SessionResponse {
        access_token: None,
        token_type: "Cookie",
        expires_in: seconds,
        refresh_token: None,
        user: user.into(),
    };
    if by_cookie {
        let cookies = state.verifier.cookies();
        let cookies = cookies.set(&access_token, i64::from(seconds), &refresh_token, refresh_seconds).to_vec();
        return Ok(SessionAnswer { body, cookies });
    }
    body.token_type = "Bearer";
    (body.access_token, body.refresh_token) = (Some(access_token), Some(refresh_token));
    Ok(SessionAnswer { body, cookies: Vec::new() })
}

fn set_cookies(cookies: Vec<HeaderValue>) -> AppendHeaders<impl IntoIterator<Item = (HeaderName, HeaderValue)>> {
    AppendHeaders(cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie)))
}

impl IntoResponse for SessionAnswer {
    fn into_response(self) -> Response {
        (set_cookies(self.cookies), [(header::CACHE_CONTROL, "no-store")], Json(self.body)).into_response()
    }
}

impl IntoResponse for LoggedOut {
    fn into_response(self) -> Response {
        (set_cookies(self.0), NoContent).into_response()
    }
}

impl FromRequestParts<AppState> for RefreshCookie {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let token = state.verifier.cookies().refresh_token(&parts.headers).map(str::to_owned);
        Ok(Self { token, same_origin: require_same_origin(parts) })
    }
}

impl OperationInput for RefreshCookie {}

impl OperationOutput for SessionAnswer {
    type Inner = SessionResponse;

    fn operation_response(ctx: &mut GenContext, operation: &mut openapi::Operation) -> Option<openapi::Response> {
        Json::<SessionResponse>::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut openapi::Operation,
    ) -> Vec<(Option<openapi::StatusCode>, openapi::Response)> {
        let mut responses = Json::<SessionResponse>::inferred_responses(ctx, operation);
        responses.extend(ApiError::inferred_responses(ctx, operation));
        responses
    }
}

impl OperationOutput for LoggedOut {
    type Inner = ();

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut openapi::Operation,
    ) -> Vec<(Option<openapi::StatusCode>, openapi::Response)> {
        NoContent::inferred_responses(ctx, operation)
    }
}

//! Sessions: login, refresh, logout; by tokens in JSON for programs, by cookies for browsers.

use std::convert::Infallible;

use aide::{OperationInput, OperationOutput, generate::GenContext, openapi};
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderName, HeaderValue, header, request::Parts},
    response::{AppendHeaders, IntoResponse, NoContent, Response},
};
use platform::{ApiError, ApiResult, extract::JsonBody};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{UserResponse, client::Client};
use crate::{
    domain::{Email, Password, Status},
    error::Refusal,
    hashing::{self, Worker},
    state::{AppState, to_the_end},
    store::{Acquaintance, NewSession, Rotation, User},
    throttle::GuessLimits,
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

/// The refresh tokens in the request's cookies, and whether one of our pages sent the request.
pub(super) struct RefreshCookie {
    tokens: Vec<String>,
    same_origin: ApiResult<()>,
}

/// At least one refresh token, of which any valid one counts, and how they were sent.
struct Shown {
    tokens: Vec<String>,
    by_cookie: bool,
}

pub(super) async fn login(
    State(state): State<AppState>,
    client: Client,
    body: JsonBody<LoginRequest>,
) -> ApiResult<SessionAnswer> {
    let login = body.parse()?;
    // To the end, so that nobody guesses uncounted by hanging up.
    to_the_end(async move {
        let user = authenticate(&state, &client, &login).await;
        let outcome = if user.is_ok() { "accepted" } else { "refused" };
        metrics::counter!("eventplatform_logins_total", "outcome" => outcome).increment(1);
        let (user, password_hash) = user?;
        begin_session(&state, client, user, &password_hash, login.session == Some(SessionKind::Cookie)).await
    })
    .await
}

/// A browser also gets a cookie by which it is recognized at its next login.
async fn begin_session(
    state: &AppState,
    mut client: Client,
    user: User,
    password_hash: &str,
    by_cookie: bool,
) -> ApiResult<SessionAnswer> {
    let device = by_cookie.then(|| client.device());
    let refresh_token = random_token();
    let session_id = Uuid::new_v4();
    let new = NewSession {
        id: session_id,
        user_id: user.id,
        password_hash,
        token_hash: &token_hash(&refresh_token),
        user_agent: client.user_agent.as_deref(),
        lifetime_days: state.rules.refresh_token_days,
    };
    if !state.store.insert_session(new).await? {
        return Err(Refusal::InvalidCredentials.into());
    }
    state.store.remember_client(user.id, &client.keys(&state.token_key)).await?;
    let mut answer = answer(state, user, session_id, refresh_token, by_cookie)?;
    answer.cookies.extend(device.map(|device| state.verifier.cookies().set_device(&device)));
    Ok(answer)
}

/// The user whose password this is, and its stored hash. An unknown user and a wrong password get the same refusal
/// after the same time.
async fn authenticate(state: &AppState, client: &Client, login: &LoginRequest) -> ApiResult<(User, String)> {
    let keys = client.keys(&state.token_key);
    let (found, known) = match Email::parse(&login.email) {
        Ok(email) => (state.store.find_credentials(&email).await?, state.store.find_acquaintance(&email, &keys).await?),
        Err(_) => (None, Acquaintance::default()),
    };
    let limits = GuessLimits::of_login(&login.email, client.address, &keys, known);
    let stored = found.as_ref().map(|found| found.password_hash.clone());
    let password = Password::typed(&login.password);
    let worker = verify_counted(state, &limits, password.clone(), stored, Refusal::InvalidCredentials).await?;
    let found = found.ok_or(Refusal::InvalidCredentials)?;
    if found.user.status == Status::Disabled {
        return Err(Refusal::AccountDisabled.into());
    }
    if !hashing::is_outdated(&found.password_hash) {
        return Ok((found.user, found.password_hash));
    }
    let renewed = renew_hash(state, &worker, found.user.id, &found.password_hash, password).await?;
    Ok((found.user, renewed))
}

/// Hashes a correct password with the present parameters; returns the hash that is stored afterwards.
async fn renew_hash(
    state: &AppState,
    worker: &Worker,
    user_id: i32,
    old: &str,
    password: Password,
) -> ApiResult<String> {
    let renewed = worker.hash(password.clone()).await?;
    if state.store.update_password_hash(user_id, old, &renewed).await? {
        tracing::info!(user_id, "password rehashed");
        return Ok(renewed);
    }
    // Either a concurrent login has done so, or the password was changed meanwhile.
    let stored = state.store.find_password_hash(user_id).await?.ok_or(Refusal::InvalidCredentials)?;
    if worker.verify(password, Some(stored.clone())).await? {
        Ok(stored)
    } else {
        Err(Refusal::InvalidCredentials.into())
    }
}

/// Verifies a password under the limits on guesses: 429 `too_many_attempts` at the limit, `wrong` if it is wrong.
///
/// At the limit the password is not checked, so the answer does not reveal whether it was right. Below it, a guess
/// counts as a failure before it is checked, so parallel guesses gain nothing over sequential ones.
pub(super) async fn verify_counted(
    state: &AppState,
    limits: &GuessLimits,
    password: Password,
    stored: Option<String>,
    wrong: Refusal,
) -> ApiResult<Worker> {
    refuse_at_limit(state.store.find_wait(&limits.all).await?)?;
    let _turn = state.turns.wait(&limits.client).await;
    let worker = state.hasher.worker().await?;
    refuse_at_limit(state.store.reserve(&limits.all).await?)?;
    if !worker.verify(password, stored).await? {
        return Err(wrong.into());
    }
    state.store.give_back(&limits.all, &limits.client).await?;
    Ok(worker)
}

fn refuse_at_limit(wait: Option<u32>) -> ApiResult<()> {
    match wait {
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
        let clear = if over { clear } else { Vec::new() };
        (set_cookies(clear), error).into_response()
    })
}

async fn rotate(state: &AppState, shown: Shown) -> ApiResult<SessionAnswer> {
    let token = valid_token(state, &shown.tokens).await?;
    let successor = state.token_key.successor(token);
    let days = state.rules.refresh_token_days;
    match state.store.rotate(&token_hash(token), &token_hash(&successor), days).await? {
        Rotation::Rotated(user, session_id) => answer(state, user, session_id, successor, shown.by_cookie),
        Rotation::Reused => Err(Refusal::RefreshTokenReused.into()),
        Rotation::Over => Err(Refusal::SessionOver.into()),
        Rotation::Unknown => Err(Refusal::InvalidRefreshToken.into()),
    }
}

/// The token to rotate. Stale duplicates are not passed to the store, which would treat them as stolen.
async fn valid_token<'a>(state: &AppState, tokens: &'a [String]) -> ApiResult<&'a str> {
    let first = tokens.first().ok_or(Refusal::InvalidRefreshToken)?;
    if tokens.len() == 1 {
        return Ok(first);
    }
    let hashes: Vec<_> = tokens.iter().map(|token| token_hash(token)).collect();
    let usable = state.store.find_usable_token(&hashes).await?;
    let place = usable.and_then(|usable| hashes.iter().position(|hash| *hash == usable));
    Ok(place.and_then(|place| tokens.get(place)).unwrap_or(first))
}

pub(super) async fn logout(
    State(state): State<AppState>,
    cookie: RefreshCookie,
    body: JsonBody<RefreshRequest>,
) -> ApiResult<LoggedOut> {
    let clear = state.verifier.cookies().clear();
    let Some(shown) = shown_token(cookie, body)? else { return Ok(LoggedOut(clear)) };
    let by_cookie = shown.by_cookie;
    to_the_end(async move {
        for token in &shown.tokens {
            state.store.revoke_session_of(&token_hash(token)).await?;
        }
        Ok(())
    })
    .await?;
    Ok(LoggedOut(if by_cookie { clear } else { Vec::new() }))
}

/// The token in the body, or otherwise those in cookies, which only our own pages may send.
fn shown_token(cookie: RefreshCookie, body: JsonBody<RefreshRequest>) -> ApiResult<Option<Shown>> {
    if let Some(token) = body.parse_or_default()?.refresh_token {
        return Ok(Some(Shown { tokens: vec![token], by_cookie: false }));
    }
    if cookie.tokens.is_empty() {
        return Ok(None);
    }
    cookie.same_origin?;
    Ok(Some(Shown { tokens: cookie.tokens, by_cookie: true }))
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
        let cookies = cookies.set(&access_token, i64::from(seconds), &refresh_token, refresh_seconds);
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

impl LoggedOut {
    /// The answer to a browser whose session is over.
    pub(super) fn of_browser(state: &AppState) -> Self {
        Self(state.verifier.cookies().clear())
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
        let cookies = state.verifier.cookies();
        let tokens = cookies.refresh_tokens(&parts.headers).into_iter().map(str::to_owned).collect();
        Ok(Self { tokens, same_origin: cookies.require_same_origin(parts) })
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

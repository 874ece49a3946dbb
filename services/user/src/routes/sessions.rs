//! Login, refresh and logout; programs carry tokens in JSON, browsers in cookies.

use std::convert::Infallible;

use aide::OperationIo;
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{AppendHeaders, IntoResponse, NoContent, Response},
};
use platform::{ApiError, ApiResult, extract::JsonBody, task::run_to_completion};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{authentication::authenticate, client::Client, users::UserResponse};
use crate::{
    crypto::tokens::{random_token, token_hash},
    domain::{Refusal, User},
    state::AppState,
    store::{NewSession, Rotation},
};

/// A login.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginRequest {
    /// Case is ignored.
    email: String,
    password: String,
    /// `cookie` for a browser: the answer sets cookies and contains no tokens.
    session: Option<SessionKind>,
}

/// How a session is carried.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum SessionKind {
    /// By `HttpOnly` cookies.
    Cookie,
}

/// A refresh or a logout. Browsers send a cookie instead.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefreshRequest {
    /// The latest refresh token of the session.
    refresh_token: Option<String>,
}

/// A session that was begun or refreshed.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct SessionResponse {
    /// To be sent as `Authorization: Bearer`; absent if cookies carry it.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    /// `Bearer`, or `Cookie` if cookies carry the tokens.
    token_type: &'static str,
    /// Seconds until the access token expires.
    expires_in: u32,
    /// For the next refresh; absent if cookies carry it.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    user: UserResponse,
}

/// [`SessionResponse`] with the cookies to set; not to be cached.
#[derive(OperationIo)]
#[aide(output_with = "Json<SessionResponse>")]
pub(super) struct SessionWithCookies {
    body: SessionResponse,
    cookies: Vec<HeaderValue>,
}

/// 204 with the cookies to clear.
#[derive(OperationIo)]
#[aide(output_with = "NoContent")]
pub(super) struct LoggedOut(Vec<HeaderValue>);

/// An error with the cookies to clear.
#[derive(OperationIo)]
#[aide(output_with = "ApiError")]
pub(super) struct NotRefreshed {
    error: ApiError,
    clear: Vec<HeaderValue>,
}

/// The refresh tokens in cookies, and whether one of our pages sent the request.
#[derive(OperationIo)]
#[aide(input)]
pub(super) struct RefreshCookie {
    tokens: Vec<String>,
    same_origin: ApiResult<()>,
}

/// At least one refresh token; any valid one counts.
struct PresentedTokens {
    tokens: Vec<String>,
    by_cookie: bool,
}

pub(super) async fn log_in(
    State(state): State<AppState>,
    client: Client,
    body: JsonBody<LoginRequest>,
) -> ApiResult<SessionWithCookies> {
    let login = body.parse()?;
    // To completion, so that nobody avoids the limits by disconnecting.
    run_to_completion(async move {
        let user = authenticate(&state, &client, &login.email, &login.password).await;
        let outcome = if user.is_ok() { "accepted" } else { "refused" };
        metrics::counter!("eventplatform_logins_total", "outcome" => outcome).increment(1);
        let (user, password_hash) = user?;
        begin_session(&state, client, user, &password_hash, login.session == Some(SessionKind::Cookie)).await
    })
    .await
}

/// Browsers also get a device cookie, by which they are recognized at the next login.
async fn begin_session(
    state: &AppState,
    mut client: Client,
    user: User,
    password_hash: &str,
    by_cookie: bool,
) -> ApiResult<SessionWithCookies> {
    let device = by_cookie.then(|| client.device_cookie());
    let refresh_token = random_token();
    let session_id = Uuid::new_v4();
    let new = NewSession {
        id: session_id,
        user_id: user.id,
        password_hash,
        token_hash: &token_hash(&refresh_token),
        user_agent: client.user_agent.as_deref(),
        lifetime_days: state.policy.refresh_token_days,
    };
    if !state.store.insert_session(new).await? {
        return Err(Refusal::InvalidCredentials.into());
    }
    state.store.remember_client(user.id, &client.keys(&state.token_key)).await?;
    let mut answer = answer(state, user, session_id, refresh_token, by_cookie)?;
    answer.cookies.extend(device.map(|device| state.verifier.cookies().set_device(&device)));
    Ok(answer)
}

pub(super) async fn refresh(
    State(state): State<AppState>,
    cookie: RefreshCookie,
    body: JsonBody<RefreshRequest>,
) -> Result<SessionWithCookies, NotRefreshed> {
    let clear = state.verifier.cookies().clear();
    let presented = presented_tokens(cookie, body).map_err(|error| NotRefreshed { error, clear: Vec::new() })?;
    let by_cookie = presented.as_ref().is_some_and(|presented| presented.by_cookie);
    let rotation = async move { rotate(&state, presented.ok_or(Refusal::InvalidRefreshToken)?).await };
    run_to_completion(rotation).await.map_err(|error| {
        // Browsers would send the cookie of an ended session with every request.
        let ended = by_cookie && error.status() == StatusCode::UNAUTHORIZED;
        NotRefreshed { error, clear: if ended { clear } else { Vec::new() } }
    })
}

async fn rotate(state: &AppState, presented: PresentedTokens) -> ApiResult<SessionWithCookies> {
    let token = valid_token(state, &presented.tokens).await?;
    let successor = state.token_key.successor(token);
    let days = state.policy.refresh_token_days;
    match state.store.rotate_refresh_token(&token_hash(token), &token_hash(&successor), days).await? {
        Rotation::Rotated(user, session_id) => answer(state, user, session_id, successor, presented.by_cookie),
        Rotation::Reused => Err(Refusal::RefreshTokenReused.into()),
        Rotation::Ended => Err(Refusal::SessionOver.into()),
        Rotation::Unknown => Err(Refusal::InvalidRefreshToken.into()),
    }
}

/// The token to rotate. The store would treat stale duplicates as stolen.
async fn valid_token<'a>(state: &AppState, tokens: &'a [String]) -> ApiResult<&'a str> {
    let first = tokens.first().ok_or(Refusal::InvalidRefreshToken)?;
    if tokens.len() == 1 {
        return Ok(first);
    }
    let hashes: Vec<_> = tokens.iter().map(|token| token_hash(token)).collect();
    let usable = state.store.find_usable_token(&hashes).await?;
    let usable = usable.and_then(|usable| hashes.iter().position(|hash| *hash == usable));
    Ok(usable.map_or(first, |index| &tokens[index]))
}

pub(super) async fn log_out(
    State(state): State<AppState>,
    cookie: RefreshCookie,
    body: JsonBody<RefreshRequest>,
) -> ApiResult<LoggedOut> {
    let clear = state.verifier.cookies().clear();
    let Some(presented) = presented_tokens(cookie, body)? else { return Ok(LoggedOut(clear)) };
    let by_cookie = presented.by_cookie;
    run_to_completion(async move {
        for token in &presented.tokens {
            state.store.revoke_session_of(&token_hash(token)).await?;
        }
        ApiResult::Ok(())
    })
    .await?;
    Ok(LoggedOut(if by_cookie { clear } else { Vec::new() }))
}

/// The token in the body, or otherwise those in cookies, which only our own pages may send.
fn presented_tokens(cookie: RefreshCookie, body: JsonBody<RefreshRequest>) -> ApiResult<Option<PresentedTokens>> {
    if let Some(token) = body.parse_or_default()?.refresh_token {
        return Ok(Some(PresentedTokens { tokens: vec![token], by_cookie: false }));
    }
    if cookie.tokens.is_empty() {
        return Ok(None);
    }
    cookie.same_origin?;
    Ok(Some(PresentedTokens { tokens: cookie.tokens, by_cookie: true }))
}

fn answer(
    state: &AppState,
    user: User,
    session_id: Uuid,
    refresh_token: String,
    by_cookie: bool,
) -> ApiResult<SessionWithCookies> {
    let seconds = state.policy.access_token_seconds;
    let access_token = state.signing.access_token(&user, session_id, seconds)?;
    let refresh_seconds = i64::from(state.policy.refresh_token_days) * 86_400;
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
        return Ok(SessionWithCookies { body, cookies });
    }
    body.token_type = "Bearer";
    (body.access_token, body.refresh_token) = (Some(access_token), Some(refresh_token));
    Ok(SessionWithCookies { body, cookies: Vec::new() })
}

fn set_cookies(cookies: Vec<HeaderValue>) -> AppendHeaders<impl IntoIterator<Item = (HeaderName, HeaderValue)>> {
    AppendHeaders(cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie)))
}

impl IntoResponse for SessionWithCookies {
    fn into_response(self) -> Response {
        (set_cookies(self.cookies), [(header::CACHE_CONTROL, "no-store")], Json(self.body)).into_response()
    }
}

impl LoggedOut {
    pub(super) fn clear_cookies(state: &AppState) -> Self {
        Self(state.verifier.cookies().clear())
    }
}

impl IntoResponse for NotRefreshed {
    fn into_response(self) -> Response {
        (set_cookies(self.clear), self.error).into_response()
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

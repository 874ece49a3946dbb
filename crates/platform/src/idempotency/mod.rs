//! `Idempotency-Key`: N identical requests, one effect, N identical answers.
//!
//! A record is claimed before the work starts and carries an operation id that stays the same when a retry resumes
//! what a crash interrupted. The work derives the ids of everything it creates from the operation id, so that running it
//! twice changes nothing. The claim is a lease that its holder renews; the answer is stored at the end, unless it
//! is a 5xx, a 429 or a transient refusal ([`ApiError::transient`]), after which a retry runs again.

#[cfg(feature = "mongo")]
mod mongo;
#[cfg(feature = "postgres")]
mod postgres;

use std::{
    future::Future,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aide::{OperationInput, OperationOutput, generate::GenContext, openapi::Operation};
use axum::{
    body::Bytes,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

#[cfg(feature = "mongo")]
pub use self::mongo::MongoIdempotency;
#[cfg(feature = "postgres")]
pub use self::postgres::{PgIdempotency, store_answer};
use crate::{ApiError, ApiResult, error::Transient, retry::Backoff, task::run_to_completion};

/// How long a claim lives without being renewed. A retry after a crash waits at most this long.
pub const LEASE: Duration = Duration::from_secs(8);
/// How long a request waits for an identical one that is still running.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// The pauses between looks at its record.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(250));
/// How long stored answers are kept.
pub const RETENTION: Duration = Duration::from_secs(48 * 3600);

/// The request's key, if it has one, with the method and path that scope it.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: Option<String>,
    method: String,
    path: String,
}

/// The key of a record (user, method, path and Idempotency-Key), and the hash of the body that came with it.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The caller; 0 for anonymous requests.
    pub user_id: i32,
    /// HTTP method.
    pub method: String,
    /// Path of the request, without the query.
    pub path: String,
    /// The client's key.
    pub key: String,
    /// SHA-256 of the parsed body.
    pub fingerprint: Vec<u8>,
}

/// An answer as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredAnswer {
    /// HTTP status.
    pub status: u16,
    /// Lines such as `retry-after: 5`; none in records that an older version wrote.
    pub headers: Vec<String>,
    /// JSON, or a problem for 4xx.
    pub body: Vec<u8>,
}

/// The result of claiming a record.
#[derive(Debug)]
pub enum Claim {
    /// The caller holds the lease and does the work under this operation id.
    Acquired(Uuid),
    /// The work is done; this was its answer.
    Completed(StoredAnswer),
    /// An identical request holds the lease.
    InProgress,
    /// The key came with another body before.
    KeyReused,
}

/// The storage of records. `token` identifies one claim, so that a lost lease is neither renewed nor finished.
pub trait IdempotencyStore: Clone + Send + Sync + 'static {
    /// Creates the record, or takes it over if its lease has expired.
    fn claim(&self, scope: &Scope, token: Uuid) -> impl Future<Output = ApiResult<Claim>> + Send;
    /// Renews the lease.
    fn renew(&self, scope: &Scope, token: Uuid) -> impl Future<Output = ApiResult<()>> + Send;
    /// Stores the answer, or releases the claim if there is none to store.
    fn finish(
        &self,
        scope: &Scope,
        token: Uuid,
        answer: Option<&StoredAnswer>,
    ) -> impl Future<Output = ApiResult<()>> + Send;
}

/// The answer of [`run`]; documented as `T`.
#[derive(Debug)]
pub struct Replayable<T>(Response, PhantomData<fn() -> T>);

/// One run of a request that may come again, for work that claims its record and stores its answer in its own transactions.
#[derive(Clone, Debug)]
pub struct IdempotentRequest {
    operation_id: Uuid,
    /// `None` without an Idempotency-Key.
    scope: Option<Scope>,
    token: Uuid,
    claimed: bool,
    answered: Arc<AtomicBool>,
}

impl IdempotentRequest {
    fn new(scope: Option<Scope>) -> Self {
        let (operation_id, token) = (Uuid::new_v4(), Uuid::new_v4());
        Self { operation_id, scope, token, claimed: false, answered: Arc::default() }
    }

    /// Identifies the operation, also when a retry resumes it.
    pub fn operation_id(&self) -> Uuid {
        self.operation_id
    }

    /// The record that the first write has to claim in its transaction. `None` without a key, or if it is claimed.
    pub fn to_claim(&self) -> Option<&Scope> {
        self.scope.as_ref().filter(|_| !self.claimed)
    }

    /// The record that the answer has to be stored in. `None` without a key.
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// Identifies the claim.
    pub fn token(&self) -> Uuid {
        self.token
    }

    /// The same for every attempt of the request, whether its key was claimed before or not.
    pub fn stable_id(&self) -> Uuid {
        let Some(Scope { user_id, method, path, key, .. }) = &self.scope else { return self.operation_id };
        Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{user_id} {method} {path} {key}").as_bytes())
    }

    /// A transaction that stored the answer has committed.
    pub fn mark_answered(&self) {
        self.answered.store(true, Ordering::Release);
    }
}

/// Runs `work` once for all identical requests. Without a key it simply runs.
///
/// The work continues in its own task when the client disconnects. Fails with 422 `idempotency_key_reused`, and
/// with 409 `request_in_progress` when an identical request does not end within 10 s.
pub async fn run<S, B, T, F, Fut>(
    store: &S,
    key: IdempotencyKey,
    user_id: i32,
    body: &B,
    work: F,
) -> ApiResult<Replayable<T>>
where
    S: IdempotencyStore,
    B: Serialize,
    T: IntoResponse + Send + 'static,
    F: FnOnce(Uuid) -> Fut + Send + 'static,
    Fut: Future<Output = ApiResult<T>> + Send + 'static,
{
    let (store, request) = (store.clone(), IdempotentRequest::new(key.scope(user_id, body)));
    let response = run_to_completion(Box::pin(async move {
        let request = match &request.scope {
            Some(scope) => match claim(&store, scope, &request).await? {
                Ok(claimed) => claimed,
                Err(answer) => return Ok(answer.into_response()),
            },
            None => request,
        };
        let result = with_lease(&store, &request, work(request.operation_id)).await;
        Ok(answer(&store, &request, result.into_response()).await)
    }));
    response.await.map(|response| Replayable(response, PhantomData))
}

/// [`run`] for work that commits the claim of the record together with its first write, and the answer with its last.
///
/// `work` returns `None` if it did not get the claim: somebody else has it, or there was nothing to write. It is called
/// again once this function has claimed the record. An answer that `work` did not store is stored in the end.
pub async fn run_in_transactions<S, B, T, F, Fut>(
    store: &S,
    key: IdempotencyKey,
    user_id: i32,
    body: &B,
    work: F,
) -> ApiResult<Replayable<T>>
where
    S: IdempotencyStore,
    B: Serialize,
    T: IntoResponse + Send + 'static,
    F: Fn(IdempotentRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ApiResult<Option<T>>> + Send + 'static,
{
    let (store, mut request) = (store.clone(), IdempotentRequest::new(key.scope(user_id, body)));
    let response = run_to_completion(Box::pin(async move {
        loop {
            let response = match with_lease(&store, &request, work(request.clone())).await {
                Ok(Some(done)) => done.into_response(),
                Err(error) => error.into_response(),
                Ok(None) => match request.to_claim() {
                    Some(scope) => match claim(&store, scope, &request).await? {
                        Ok(claimed) => {
                            request = claimed;
                            continue;
                        }
                        Err(answer) => return Ok(answer.into_response()),
                    },
                    None => return Err(ApiError::internal(anyhow::anyhow!("a claimed request did nothing"))),
                },
            };
            return Ok(answer(&store, &request, response).await);
        }
    }));
    response.await.map(|response| Replayable(response, PhantomData))
}

/// Claims the record of a request, for as long as an identical one may take. `Err` is the answer of one that is done.
async fn claim<S: IdempotencyStore>(
    store: &S,
    scope: &Scope,
    request: &IdempotentRequest,
) -> ApiResult<Result<IdempotentRequest, StoredAnswer>> {
    let deadline = Instant::now() + MAX_WAIT;
    let mut pauses = BACKOFF.pauses();
    loop {
        match store.claim(scope, request.token).await? {
            Claim::Acquired(operation_id) => {
                return Ok(Ok(IdempotentRequest { operation_id, claimed: true, ..request.clone() }));
            }
            Claim::Completed(answer) => return Ok(Err(answer)),
            Claim::KeyReused => return Err(reused()),
            Claim::InProgress if Instant::now() >= deadline => return Err(in_progress()),
            Claim::InProgress => tokio::time::sleep(pauses.next().unwrap_or_default()).await,
        }
    }
}

/// Renews the lease of the record while `work` runs.
async fn with_lease<S: IdempotencyStore, T>(
    store: &S,
    request: &IdempotentRequest,
    work: impl Future<Output = T> + Send,
) -> T {
    if request.claimed {
        crate::failpoint!("idempotency.claimed");
    }
    let mut renewals = tokio::time::interval_at(Instant::now() + LEASE / 3, LEASE / 3);
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result,
            _ = renewals.tick() => {
                if let Some(scope) = &request.scope
                    && let Err(error) = store.renew(scope, request.token).await
                {
                    tracing::warn!(%error, "idempotency lease not renewed");
                }
            }
        }
    }
}

/// Stores the answer, unless the work did, or releases the claim if the answer is not to be kept.
async fn answer<S: IdempotencyStore>(store: &S, request: &IdempotentRequest, response: Response) -> Response {
    let Some(scope) = request.scope.as_ref().filter(|_| !request.answered.load(Ordering::Acquire)) else {
        return response;
    };
    let (answer, response) = StoredAnswer::of(response).await;
    crate::failpoint!("idempotency.worked");
    if let Err(error) = store.finish(scope, request.token, answer.as_ref()).await {
        // The lease runs out, and a retry does the same work under the same operation id.
        tracing::warn!(%error, "answer not stored under its idempotency key");
    }
    crate::failpoint!("idempotency.stored");
    response
}

fn reused() -> ApiError {
    let detail = "this Idempotency-Key came with another body before; use a new key for a new request";
    ApiError::unprocessable("idempotency_key_reused", detail)
}

fn in_progress() -> ApiError {
    let detail = "an identical request is still running; ask again with the same key";
    ApiError::conflict("request_in_progress", detail).retry_after(2)
}

impl IdempotencyKey {
    fn scope<B: Serialize>(self, user_id: i32, body: &B) -> Option<Scope> {
        let json = serde_json::to_vec(body).expect("a parsed body is plain data");
        let (key, method, path) = (self.key?, self.method, self.path);
        Some(Scope { user_id, method, path, key, fingerprint: Sha256::digest(json).to_vec() })
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> ApiResult<Self> {
        let fit = |key: &str| (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let key = match (values.next().map(HeaderValue::to_str), values.next()) {
            (None, _) => None,
            (Some(Ok(key)), None) if fit(key) => Some(key.to_owned()),
            _ => {
                let detail = "Idempotency-Key: one header of 1 to 255 visible ASCII characters, such as a UUID";
                return Err(ApiError::bad_request("invalid_idempotency_key", detail));
            }
        };
        Ok(Self { key, method: parts.method.to_string(), path: parts.uri.path().to_owned() })
    }
}

impl OperationInput for IdempotencyKey {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let schema = schemars::json_schema!({
            "type": "object",
            "properties": {"Idempotency-Key": {
                "type": "string", "minLength": 1, "maxLength": 255,
                "description": "The same key and body give the stored answer again; another body is refused."
            }}
        });
        let parameters = aide::operation::parameters_from_schema(ctx, schema, aide::operation::ParamLocation::Header);
        aide::operation::add_parameters(ctx, operation, parameters);
    }
}

impl StoredAnswer {
    /// The response as it is to be stored, and the response. `None` if a retry may be answered otherwise.
    pub async fn of(response: Response) -> (Option<Self>, Response) {
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let transient = parts.extensions.get::<Transient>().is_some() || parts.status == StatusCode::TOO_MANY_REQUESTS;
        let keep = !parts.status.is_server_error() && !transient;
        let answer = keep.then(|| Self::new(parts.status, &parts.headers, &body));
        (answer, Response::from_parts(parts, body.into()))
    }

    fn new(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        // A cookie is the secret of one browser, so it is neither stored nor replayed.
        let kept = headers.iter().filter(|(name, _)| *name != header::SET_COOKIE);
        let lines = kept.filter_map(|(name, value)| Some(format!("{name}: {}", value.to_str().ok()?)));
        Self { status: status.as_u16(), headers: lines.collect(), body: body.to_vec() }
    }
}

impl IntoResponse for StoredAnswer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = status.is_client_error();
        let kind = if problem { "application/problem+json" } else { "application/json" };
        let mut response = (status, Bytes::from(self.body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        for (name, value) in self.headers.iter().filter_map(|line| line.split_once(": ")) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
        response
    }
}

impl<T> IntoResponse for Replayable<T> {
    fn into_response(self) -> Response {
        self.0
    }
}

impl<T: OperationOutput> OperationOutput for Replayable<T> {
    type Inner = T::Inner;

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<aide::openapi::Response> {
        T::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<aide::openapi::StatusCode>, aide::openapi::Response)> {
        T::inferred_responses(ctx, operation)
    }
}

//! Runs a request as Stripe does: its idempotency key, one transaction, the response. Faults are injected around it.

use std::{io, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::stream;
use platform::task::run_to_completion;
use serde_json::Value;

use super::request::RequestIdentity;
use crate::{
    domain::fault::{Action, FaultTarget, Operation},
    error::{StripeError, StripeResult},
    flow::{
        commands::{Command, perform},
        faults::take_fault,
    },
    state::AppState,
    store::{
        idempotency::{self, StoredResponse},
        is_lock_timeout,
    },
};

/// How long a request that never gets a response stays open.
const HOLD_OPEN: Duration = Duration::from_secs(120);

/// A new or stored response to a command.
#[derive(Debug)]
struct CommandResponse {
    status: StatusCode,
    body: String,
    never_answer: bool,
    /// The id of the first request, if this one repeats it.
    original_request: Option<String>,
}

/// Runs a command.
pub(super) async fn execute(state: &AppState, request: RequestIdentity, command: Command) -> StripeResult<Response> {
    let (target, intent) = (command.fault_target(), command.intent().map(str::to_owned));
    with_faults(state, target, intent.as_deref(), |delay| async move {
        // A task of its own: axum drops a handler when its client disconnects, and a delayed payment is made even then.
        let (state, key) = (state.clone(), request.idempotency_key.clone());
        let response = run_to_completion(async move {
            tokio::time::sleep(delay).await;
            transact(&state, &request, &command).await
        })
        .await?;
        Ok((!response.never_answer).then(|| response.into_response(key.as_deref())))
    })
    .await
}

/// Runs a request that only reads; `intent` is the payment intent that it is about, if there is one.
pub(super) async fn read<F>(state: &AppState, intent: Option<&str>, work: F) -> StripeResult<Response>
where
    F: Future<Output = StripeResult<Value>>,
{
    let target = FaultTarget { operations: vec![Operation::Retrieve], ..FaultTarget::default() };
    with_faults(state, target, intent, |delay| async move {
        tokio::time::sleep(delay).await;
        Ok(Some(Json(work.await?).into_response()))
    })
    .await
}

/// Runs `work` with the fault of the first rule that matches, if one does. `work` gets the delay before it begins, and
/// returns `None` if no response is to be sent.
async fn with_faults<F, Fut>(
    state: &AppState,
    target: FaultTarget,
    intent: Option<&str>,
    work: F,
) -> StripeResult<Response>
where
    F: FnOnce(Duration) -> Fut,
    Fut: Future<Output = StripeResult<Option<Response>>>,
{
    let action = take_fault(state, target, intent).await?;
    let delay = match action {
        Some(Action::Error500) => return Err(StripeError::api_error("The mock gateway was told to fail.")),
        Some(Action::TimeoutBefore) => return Ok(no_response(state).await),
        Some(Action::DelayMs(ms)) => Duration::from_millis(ms.into()),
        _ => Duration::ZERO,
    };
    let outcome = work(delay).await;
    if action != Some(Action::TimeoutAfter)
        && let Some(response) = outcome?
    {
        return Ok(response);
    }
    Ok(no_response(state).await)
}

/// Holds the request open, and then closes the connection without a response.
async fn no_response(state: &AppState) -> Response {
    tokio::select! { () = state.stopping.cancelled() => {}, () = tokio::time::sleep(HOLD_OPEN) => {} }
    let broken = stream::once(async { Err::<Bytes, _>(io::Error::other("injected fault: no response")) });
    (StatusCode::GATEWAY_TIMEOUT, Body::from_stream(broken)).into_response()
}

/// Runs the command and stores its response under the idempotency key, in one transaction. A crash leaves nothing. A
/// repeated request finds the key taken at the end: what it did is rolled back, and it gets the stored response.
async fn transact(state: &AppState, request: &RequestIdentity, command: &Command) -> StripeResult<CommandResponse> {
    let mut tx = state.store.begin().await?;
    let outcome = perform(&mut tx, command, state.late_seconds, state.clock.now()).await?;
    let (status, body) = match outcome.response.map_err(StripeError::from) {
        Ok(object) => (StatusCode::OK, object.to_string()),
        Err(error) => (error.status(), error.to_json().to_string()),
    };
    if let Some(key) = &request.idempotency_key {
        let response = StoredResponse {
            fingerprint: request.fingerprint.clone(),
            request_id: request.request_id.clone(),
            status: i16::try_from(status.as_u16()).unwrap_or(500),
            body: body.clone(),
        };
        match idempotency::insert(&mut tx, key, &response).await {
            Ok(true) => {}
            Ok(false) => {
                tx.rollback().await?;
                return replay(state, key, request).await;
            }
            Err(error) if is_lock_timeout(&error) => return Err(key_in_use(key)),
            Err(error) => return Err(error.into()),
        }
    }
    tx.commit().await?;
    state.webhooks.send(outcome.events);
    if outcome.settles_late {
        state.settlement.notify_one();
    }
    Ok(CommandResponse { status, body, never_answer: outcome.never_answer, original_request: None })
}

async fn replay(state: &AppState, key: &str, request: &RequestIdentity) -> StripeResult<CommandResponse> {
    // The key may have been purged meanwhile; the next attempt will take it.
    let Some(stored) = state.store.find_response(key).await? else { return Err(key_in_use(key)) };
    if stored.fingerprint != request.fingerprint {
        return Err(StripeError::idempotency(format!(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. Try \
             using a key other than '{key}' if you meant to execute a different request."
        )));
    }
    let status = u16::try_from(stored.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    Ok(CommandResponse {
        status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        body: stored.body,
        never_answer: false,
        original_request: Some(stored.request_id),
    })
}

fn key_in_use(key: &str) -> StripeError {
    let message = format!(
        "There is currently another in-progress request using this Idempotent Key (that probably means you submitted \
         twice, and the other request is still going through): {key}"
    );
    StripeError::idempotency(message).with_code("idempotency_key_in_use").with_status(StatusCode::CONFLICT)
}

impl CommandResponse {
    fn into_response(self, key: Option<&str>) -> Response {
        let mut response = (self.status, self.body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = key.and_then(|key| HeaderValue::from_str(key).ok()) {
            headers.insert(HeaderName::from_static("idempotency-key"), key);
        }
        if let Some(original) = self.original_request.and_then(|id| HeaderValue::from_str(&id).ok()) {
            headers.insert(HeaderName::from_static("original-request"), original);
            headers.insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
        }
        response
    }
}

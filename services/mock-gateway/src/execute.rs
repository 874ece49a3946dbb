//! One request as Stripe runs it: ordered misbehaviour, idempotency, one transaction, the answer.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::stream;
use platform::trace;
use serde_json::Value;

use crate::{
    call::Origin,
    domain::fault::{Action, Operation, Subject},
    error::{Failure, StripeError, StripeResult, is_lock_timeout},
    processor::{self, Command},
    state::AppState,
    store::idempotency,
};

/// How long a request that is never answered is held open.
const SILENCE: Duration = Duration::from_secs(120);

/// What is sent, now or when the request is repeated.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: String,
    /// Kept, but not given.
    silent: bool,
    /// The request that was answered so at first, if this one repeats it.
    original_request: Option<String>,
}

/// Runs a request that changes something.
pub(crate) async fn execute(state: &AppState, origin: Origin, command: Command) -> StripeResult<Response> {
    let (operations, payment_method, intent) = match &command {
        Command::Create(new) if new.confirm => (vec![Operation::Create, Operation::Confirm], new.payment_method, None),
        Command::Create(new) => (vec![Operation::Create], new.payment_method, None),
        Command::Confirm { intent, payment_method } => (vec![Operation::Confirm], *payment_method, Some(intent)),
        Command::Cancel { intent, .. } => (vec![Operation::Cancel], None, Some(intent)),
        Command::Refund(new) => (vec![Operation::Refund], None, Some(&new.payment_intent)),
    };
    let booking_id = match &command {
        Command::Create(new) => new.booking_id().map(str::to_owned),
        _ => None,
    };
    let payment_method = payment_method.map(|method| method.as_str().to_owned());
    let subject = Subject { operations, payment_method, booking_id, event_type: None };
    let intent = intent.cloned();
    misbehave(state, subject, intent.as_deref(), |delay| async move {
        // axum drops a handler when its client goes; what was begun is brought to its end all the same. So a delayed
        // payment is made even when nobody waits for it any more.
        let (state, key) = (state.clone(), origin.key.clone());
        let work = async move {
            tokio::time::sleep(delay).await;
            answer(&state, &origin, &command).await
        };
        let answer = trace::spawn(work).await;
        let answer = answer.map_err(|error| {
            tracing::error!(%error, "a request panicked");
            StripeError::api_error("Something went wrong in the mock gateway.")
        })??;
        Ok(Reply { silent: answer.silent, response: answer.into_response(key.as_deref()) })
    })
    .await
}

/// Runs a request that only reads, about `intent` if it is about one.
pub(crate) async fn read<F>(state: &AppState, intent: Option<&str>, work: F) -> StripeResult<Response>
where
    F: Future<Output = StripeResult<Value>>,
{
    let subject = Subject { operations: vec![Operation::Retrieve], ..Subject::default() };
    misbehave(state, subject, intent, |delay| async move {
        tokio::time::sleep(delay).await;
        Ok(Reply { silent: false, response: axum::Json(work.await?).into_response() })
    })
    .await
}

/// A response that may be withheld.
struct Reply {
    response: Response,
    silent: bool,
}

/// Applies the first rule that fits, if any, around the work, which is told how long to wait before it begins.
async fn misbehave<F, Fut>(state: &AppState, subject: Subject, intent: Option<&str>, work: F) -> StripeResult<Response>
where
    F: FnOnce(Duration) -> Fut,
    Fut: Future<Output = StripeResult<Reply>>,
{
    let action = take_rule(state, subject, intent).await?;
    let delay = match action {
        Some(Action::Error500) => return Err(StripeError::api_error("The mock gateway was told to fail.")),
        Some(Action::TimeoutBefore) => return Ok(silence(state).await),
        Some(Action::DelayMs(ms)) => Duration::from_millis(ms.into()),
        _ => Duration::ZERO,
    };
    let outcome = work(delay).await;
    if action == Some(Action::TimeoutAfter) {
        return Ok(silence(state).await);
    }
    match outcome? {
        Reply { silent: true, .. } => Ok(silence(state).await),
        Reply { response, .. } => Ok(response),
    }
}

/// The action of the first rule that fits, used once. Costs one query where there are no rules.
pub(crate) async fn take_rule(
    state: &AppState,
    mut subject: Subject,
    intent: Option<&str>,
) -> sqlx::Result<Option<Action>> {
    let mut rules = state.store.list_rules().await?;
    rules.retain(|stored| stored.remaining != Some(0));
    if rules.is_empty() {
        return Ok(None);
    }
    if let Some(intent) = intent {
        state.store.describe_intent(intent, &mut subject).await?;
    }
    for stored in rules.iter().filter(|stored| stored.rule.applies_to(&subject)) {
        if stored.remaining.is_none() || state.store.use_rule(stored.id).await? {
            let action = stored.rule.action;
            tracing::info!(action = action.as_str(), operations = ?subject.operations, "misbehaving as ordered");
            let word = action.as_str();
            metrics::counter!("eventplatform_mock_gateway_faults_total", "action" => word).increment(1);
            return Ok(Some(action));
        }
    }
    Ok(None)
}

/// Holds the request open, then breaks the connection off without an answer.
async fn silence(state: &AppState) -> Response {
    tokio::select! { () = state.stopping.cancelled() => {}, () = tokio::time::sleep(SILENCE) => {} }
    let broken = stream::once(async { Err::<Bytes, _>(io::Error::other("told never to answer")) });
    (StatusCode::GATEWAY_TIMEOUT, Body::from_stream(broken)).into_response()
}

/// The transaction: takes the idempotency key, does the work, keeps the answer. A crash leaves nothing of it.
async fn answer(state: &AppState, origin: &Origin, command: &Command) -> StripeResult<Answer> {
    let mut tx = state.store.begin().await?;
    if let Some(key) = &origin.key {
        match idempotency::claim(&mut tx, key, origin).await {
            Ok(true) => {}
            Ok(false) => return replay(&mut tx, key, origin).await,
            Err(error) if is_lock_timeout(&error) => return Err(key_in_use(key)),
            Err(error) => return Err(error.into()),
        }
    }
    let (status, body, silent) = match processor::perform(&mut tx, command, state.late_seconds).await {
        Ok(done) => (StatusCode::OK, done.object.to_string(), done.silent),
        Err(Failure::Refused(refusal)) => {
            let refused = StripeError::from(refusal);
            (refused.status(), refused.to_json().to_string(), false)
        }
        Err(Failure::Database(cause)) => return Err(cause.into()),
    };
    if let Some(key) = &origin.key {
        idempotency::finish(&mut tx, key, i16::try_from(status.as_u16()).unwrap_or(500), &body).await?;
    }
    tx.commit().await?;
    state.events_waiting.notify_one();
    Ok(Answer { status, body, silent, original_request: None })
}

async fn replay(conn: &mut sqlx::PgConnection, key: &str, origin: &Origin) -> StripeResult<Answer> {
    // Forgotten in this very moment: the next attempt finds it gone.
    let Some(stored) = idempotency::find(conn, key).await? else { return Err(key_in_use(key)) };
    if stored.fingerprint != origin.fingerprint {
        return Err(StripeError::idempotency(format!(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. Try \
             using a key other than '{key}' if you meant to execute a different request."
        )));
    }
    let status = u16::try_from(stored.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    Ok(Answer {
        status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        body: stored.body,
        silent: false,
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

impl Answer {
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

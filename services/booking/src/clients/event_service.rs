//! Calls to event-service: hold, confirm and release seats under a reservation id, and find out who organizes an event.
//!
//! A refusal is a response with a known code. The outcome of anything else (no response, 5xx, a rejected token) is
//! unknown, and the call is repeated with the same reservation id.

use std::{future::Future, time::Duration};

use anyhow::anyhow;
pub use contracts::reservation::RefusalCode as Refusal;
use contracts::{
    problem::{INVALID_JSON, OVERLOADED},
    reservation::{
        DEADLINE, DecreaseCapacity, Hold, ReleaseSeats, ReservationPage, ReservationState, ReservationStatus,
        is_event_id,
    },
};
use futures::FutureExt;
use platform::{
    auth::ServiceTokenSigner,
    client::WithContext,
    retry::{Backoff, retry_until},
};
use reqwest::{Client, Method, RequestBuilder, StatusCode, header::RETRY_AFTER};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::time::Instant;
use uuid::Uuid;

/// The pauses between two attempts of a call.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// Cheap to clone.
#[derive(Clone)]
pub struct EventClient {
    http: Client,
    base: String,
    signer: ServiceTokenSigner,
    timeout: Duration,
}

#[derive(Clone, Debug, Deserialize)]
pub struct EventSummary {
    /// May see the attendees and the sales.
    pub organizer_id: i32,
    /// IANA zone of the venue.
    pub time_zone: String,
}

/// Why a call did not succeed.
#[derive(Debug, Error)]
pub enum CallFailure {
    #[error("{}: {detail}", refusal.code())]
    Refused {
        refusal: Refusal,
        detail: String,
        /// When to retry, if the refusal is temporary.
        retry_after_seconds: Option<u32>,
    },
    /// event-service has too much to do, and did nothing.
    #[error("event-service is overloaded")]
    Overloaded { retry_after_seconds: u32 },
    /// The call may or may not have taken effect.
    #[error("event-service gave no usable answer")]
    Unknown(#[source] anyhow::Error),
}

/// A problem with an unknown code.
#[derive(Debug, Error)]
#[error("{status} {code}: {detail}")]
struct Unexpected {
    status: StatusCode,
    code: String,
    detail: String,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
}

/// Whether event-service could not parse the body, and so did nothing.
fn is_unreadable(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Unexpected>().is_some_and(|refusal| refusal.code == INVALID_JSON)
}

impl EventClient {
    /// event-service at the base URL `base`, with `timeout` for each call.
    pub fn new(http: Client, base: &str, signer: ServiceTokenSigner, timeout: Duration) -> Self {
        Self { http, base: base.trim_end_matches('/').to_owned(), signer, timeout }
    }

    /// Repeats a call until its outcome is known, for two timeouts at most. Also returns the number of calls.
    pub async fn retry_until_conclusive<T, F, Fut>(&self, mut call: F) -> (u32, Result<T, CallFailure>)
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, CallFailure>>,
    {
        let deadline = Instant::now() + self.timeout * 2;
        let mut calls = 0;
        let attempt = || {
            calls += 1;
            let answer = tokio::time::timeout_at(deadline, call());
            answer.map(|answer| answer.unwrap_or_else(|_| Err(CallFailure::Unknown(anyhow!("no answer in time")))))
        };
        let is_unknown = |failure: &CallFailure| matches!(failure, CallFailure::Unknown(_));
        let result = retry_until(deadline, BACKOFF, is_unknown, attempt).await;
        (calls, result)
    }

    /// Holds seats. Idempotent by reservation id.
    pub async fn hold(&self, event_id: &str, request: &DecreaseCapacity) -> Result<Hold, CallFailure> {
        let path = format!("{event_id}/decrease_capacity");
        match self.put(&path, request).await {
            // Replicas from before the limits per user refuse the new fields, so they get a body without them. Needed
            // until no such replica runs beside this version.
            Err(CallFailure::Unknown(error)) if is_unreadable(&error) => {
                self.put(&path, &DecreaseCapacity { user_id: None, paid: false, ..request.clone() }).await
            }
            result => result,
        }
    }

    /// Confirms the held seats. Idempotent.
    pub async fn confirm(&self, event_id: &str, reservation_id: Uuid) -> Result<(), CallFailure> {
        let path = format!("{event_id}/reservations/{reservation_id}/confirm");
        let status: ReservationStatus = self.put(&path, &serde_json::json!({})).await?;
        match status.state {
            ReservationState::Confirmed => Ok(()),
            ReservationState::Released => Err(CallFailure::Refused {
                refusal: Refusal::ReservationReleased,
                detail: "the reservation is released".to_owned(),
                retry_after_seconds: None,
            }),
            ReservationState::Held => Err(CallFailure::Unknown(anyhow!("still held after confirm"))),
        }
    }

    /// Releases seats, with `only_expired` only if their hold ended; returns the state of the reservation afterwards.
    pub async fn release(
        &self,
        event_id: &str,
        reservation_id: Uuid,
        only_expired: bool,
    ) -> Result<ReservationState, CallFailure> {
        let path = format!("{event_id}/reservations/{reservation_id}/release");
        let status: ReservationStatus = self.put(&path, &ReleaseSeats { only_expired }).await?;
        Ok(status.state)
    }

    /// Up to `limit` reservations of all events, by id, following `after`.
    pub async fn list_reservations(&self, after: Option<Uuid>, limit: u32) -> Result<ReservationPage, CallFailure> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(after.map(|after| ("after", after.to_string())));
        self.send(self.request(Method::GET, "reservations").query(&query)).await
    }

    /// A published event. `None` for drafts, which have no bookings, and if there is none.
    pub async fn find_event(&self, event_id: &str) -> anyhow::Result<Option<EventSummary>> {
        if !is_event_id(event_id) {
            return Ok(None);
        }
        let response = self.http.get(format!("{}/api/events/{event_id}", self.base)).with_context().send().await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(response.error_for_status()?.json().await?))
    }

    async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CallFailure> {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}/api/events/{path}", self.base));
        // Its answer takes time as well, on a slow machine a noticeable part of the whole.
        let deadline = self.timeout * 3 / 4;
        let request = request.header(DEADLINE, deadline.as_millis().to_string());
        request.bearer_auth(self.signer.token("event-service")).timeout(self.timeout).with_context()
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CallFailure> {
        let unknown = |error: reqwest::Error| CallFailure::Unknown(error.into());
        let response = request.send().await.map_err(unknown)?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map_err(unknown);
        }
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let body = response.bytes().await.map_err(unknown)?;
        let problem: Option<Problem> = serde_json::from_slice(&body).ok().filter(|_| status.is_client_error());
        match problem.map(|problem| (Refusal::parse(&problem.code), problem)) {
            Some((Some(refusal), Problem { detail, .. })) => {
                Err(CallFailure::Refused { refusal, detail, retry_after_seconds: retry_after })
            }
            Some((None, Problem { code, .. })) if code == OVERLOADED => {
                Err(CallFailure::Overloaded { retry_after_seconds: retry_after.unwrap_or(1) })
            }
            Some((None, Problem { code, detail })) => {
                Err(CallFailure::Unknown(Unexpected { status, code, detail }.into()))
            }
            None => Err(CallFailure::Unknown(anyhow!("{status}"))),
        }
    }
}

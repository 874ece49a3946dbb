//! event-service as booking-service calls it: seats are held, confirmed and released under a reservation id; and who
//! runs an event.
//!
//! A refusal is an answer that names a known code. Everything else (no answer, 5xx, a token that was not accepted) is
//! unknown: the same call with the same id is made again.

use std::{future::Future, time::Duration};

use anyhow::anyhow;
pub use contracts::reservation::RefusalCode as Refusal;
use contracts::{
    problem::INVALID_JSON,
    reservation::{DecreaseCapacity, Hold, ReleaseSeats, ReservationPage, ReservationState, ReservationStatus},
};
use platform::{auth::ServiceTokenSigner, client::WithContext};
use reqwest::{Client, Method, RequestBuilder, StatusCode, header::RETRY_AFTER};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::time::Instant;
use uuid::Uuid;

/// First pause between two calls of one question.
const PAUSE: Duration = Duration::from_millis(50);

/// Calls event-service. Cheap to clone.
#[derive(Clone)]
pub struct EventClient {
    http: Client,
    base: String,
    signer: ServiceTokenSigner,
    timeout: Duration,
}

/// What booking-service has to know of an event to tell its organizer about it.
#[derive(Clone, Debug, Deserialize)]
pub struct EventSummary {
    /// Who runs it, and may see its attendees.
    pub organizer_id: i32,
    /// IANA zone of the venue.
    pub time_zone: String,
}

/// What a call comes to when it does not succeed.
#[derive(Debug, Error)]
pub enum CallFailure {
    /// An answer, and it is no.
    #[error("{}: {detail}", refusal.code())]
    Refused {
        /// Why.
        refusal: Refusal,
        /// For people.
        detail: String,
        /// After how many seconds to ask again, if the refusal is temporary.
        retry_after_seconds: Option<u32>,
    },
    /// It may or may not have come about.
    #[error("event-service gave no usable answer")]
    Unknown(#[source] anyhow::Error),
}

/// A refusal with an unknown code.
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

/// Whether that can be an event's id, and so a part of a path.
pub fn is_event_id(id: &str) -> bool {
    let fit = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=64).contains(&id.len()) && id.bytes().all(fit)
}

/// Whether event-service could not read the body, and so did nothing.
fn is_unreadable(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Unexpected>().is_some_and(|refusal| refusal.code == INVALID_JSON)
}

impl EventClient {
    /// event-service at `base`; calls are signed by `signer` and take `timeout` at most.
    pub fn new(http: Client, base: &str, signer: ServiceTokenSigner, timeout: Duration) -> Self {
        Self { http, base: base.trim_end_matches('/').to_owned(), signer, timeout }
    }

    /// Makes the same call again until its outcome is known, for two timeouts at most. Says how many calls it took.
    pub async fn until_known<T, F, Fut>(&self, mut call: F) -> (u32, Result<T, CallFailure>)
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, CallFailure>>,
    {
        let deadline = Instant::now() + self.timeout * 2;
        let mut pause = PAUSE;
        let mut calls = 1;
        loop {
            let result = match tokio::time::timeout_at(deadline, call()).await {
                Ok(Err(CallFailure::Unknown(error))) => Err(CallFailure::Unknown(error)),
                Ok(known) => return (calls, known),
                Err(_) => Err(CallFailure::Unknown(anyhow!("no answer in time"))),
            };
            if Instant::now() + pause >= deadline {
                return (calls, result);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
            calls += 1;
        }
    }

    /// Holds seats. Idempotent by reservation id.
    pub async fn hold(&self, event_id: &str, ask: &DecreaseCapacity) -> Result<Hold, CallFailure> {
        let path = format!("{event_id}/decrease_capacity");
        match self.put(&path, ask).await {
            // Replicas older than the limits per person refuse the new fields. They are asked without them, until no
            // such replica runs beside this version.
            Err(CallFailure::Unknown(error)) if is_unreadable(&error) => {
                self.put(&path, &DecreaseCapacity { user_id: None, paid: false, ..ask.clone() }).await
            }
            answer => answer,
        }
    }

    /// Sells the held seats.
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

    /// Gives seats back, all or only those of a hold that ran out; says where the reservation stands then.
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

    /// Up to `limit` reservations of all events, by id, those after `after`.
    pub async fn list_reservations(&self, after: Option<Uuid>, limit: u32) -> Result<ReservationPage, CallFailure> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(after.map(|after| ("after", after.to_string())));
        self.send(self.request(Method::GET, "reservations").query(&query)).await
    }

    /// The event, as everybody sees it: `None` if there is none, and for drafts, which have no bookings.
    pub async fn find(&self, event_id: &str) -> anyhow::Result<Option<EventSummary>> {
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
            Some((None, Problem { code, detail })) => {
                Err(CallFailure::Unknown(Unexpected { status, code, detail }.into()))
            }
            None => Err(CallFailure::Unknown(anyhow!("{status}"))),
        }
    }
}

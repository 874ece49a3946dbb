//! Holding, confirming and releasing seats, for booking-service only.

use std::time::Duration;

use axum::{Json, extract::State, http::HeaderMap};
use contracts::reservation::{DEADLINE, DecreaseCapacity, Hold, ReleaseSeats, ReservationPage, ReservationStatus};
use platform::{
    ApiError, ApiResult,
    auth::ServiceCaller,
    error::FieldError,
    extract::{JsonBody, Path, Query},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::events::EventPath;
use crate::state::AppState;

/// The longest hold, in seconds.
const MAX_HOLD_SECONDS: u32 = 86_400;
/// The most reservations per page.
const MAX_LIMIT: u32 = 1000;

/// Which reservation.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ReservationPath {
    /// The event's id.
    event_id: String,
    /// The reservation's id.
    reservation_id: Uuid,
}

/// Which part of the ledger.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LedgerQuery {
    /// Reservations with ids above this one; from the first if absent.
    after: Option<Uuid>,
    /// Items a page, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

/// Nothing: an empty object, or no body.
#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Empty {}

pub(super) async fn decrease_capacity(
    State(state): State<AppState>,
    _caller: ServiceCaller,
    Path(EventPath { event_id }): Path<EventPath>,
    headers: HeaderMap,
    body: JsonBody<DecreaseCapacity>,
) -> ApiResult<Json<Hold>> {
    let deadline = deadline(&headers)?;
    let body = body.parse()?;
    validate(&body)?;

    let hold = state.queue.hold(&event_id, body, deadline).await?;

    Ok(Json(hold))
}

pub(super) async fn confirm_reservation(
    State(state): State<AppState>,
    _caller: ServiceCaller,
    Path(ReservationPath { event_id, reservation_id }): Path<ReservationPath>,
    body: JsonBody<Empty>,
) -> ApiResult<Json<ReservationStatus>> {
    body.parse_or_default()?;

    Ok(Json(state.queue.confirm(&event_id, reservation_id).await?))
}

pub(super) async fn release_reservation(
    State(state): State<AppState>,
    _caller: ServiceCaller,
    Path(ReservationPath { event_id, reservation_id }): Path<ReservationPath>,
    body: JsonBody<ReleaseSeats>,
) -> ApiResult<Json<ReservationStatus>> {
    let only_expired = body.parse_or_default()?.only_expired;

    Ok(Json(state.queue.release(&event_id, reservation_id, only_expired).await?))
}

/// The ledger, page by page; booking-service compares it with the bookings.
pub(super) async fn list_reservations(
    State(state): State<AppState>,
    _caller: ServiceCaller,
    Query(LedgerQuery { after, limit }): Query<LedgerQuery>,
) -> ApiResult<Json<ReservationPage>> {
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::bad_request("invalid_query", format!("limit: must be from 1 to {MAX_LIMIT}")));
    }

    Ok(Json(state.store.list_reservations(after, limit).await?))
}

/// When the caller stops waiting, if it says so.
fn deadline(headers: &HeaderMap) -> ApiResult<Option<Instant>> {
    let Some(left) = headers.get(DEADLINE) else { return Ok(None) };
    let left = left.to_str().ok().and_then(|left| left.parse::<u32>().ok());
    let left = left.ok_or_else(|| {
        ApiError::bad_request("invalid_header", format!("{DEADLINE}: must be a number of milliseconds"))
    })?;
    Ok(Some(Instant::now() + Duration::from_millis(left.into())))
}

fn validate(body: &DecreaseCapacity) -> ApiResult<()> {
    let mut errors = Vec::new();
    if body.seats == 0 {
        errors.push(FieldError::new("seats", "must be at least 1"));
    }
    if !(1..=MAX_HOLD_SECONDS).contains(&body.hold_seconds) {
        errors.push(FieldError::new("hold_seconds", format!("must be from 1 to {MAX_HOLD_SECONDS}")));
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(errors)) }
}

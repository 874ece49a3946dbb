//! Bookings, for their owners.

use std::collections::HashMap;

use axum::{Json, extract::State, response::IntoResponse};
use chrono::{DateTime, Utc};
use contracts::reservation::is_event_id;
use platform::{
    ApiError, ApiResult,
    auth::AuthUser,
    error::FieldError,
    extract::{Created, JsonBody, Path, Query},
    idempotency::{self, IdempotencyKey, Replayable},
    page::{Page, decode_cursor, parse_limit},
    task::run_to_completion,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tickets::BookedTicketResponse;
use crate::{
    domain::{Booking, BookingStatus, CancelReason, NewBooking, PaymentStatus, Refund, RefundState, saga::SagaRecord},
    error::booking_not_found,
    flow::{book, cancel::cancel},
    state::{AppState, Policy},
};

/// The most seats in one booking; events may allow fewer.
const MAX_SEATS: i32 = 100;

#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBooking {
    event_id: String,
    /// 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    seats: i64,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct BookingPath {
    id: i32,
}

/// An empty object; the body may also be absent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelBooking {}

/// A booking as its owner sees it.
#[derive(JsonSchema, Serialize)]
pub(super) struct BookingResponse {
    id: i32,
    user_id: i32,
    event_id: String,
    /// From the latest message about the event; null until the seats are held.
    event_title: Option<String>,
    /// From the latest message about the event; null until the seats are held.
    event_starts_at: Option<DateTime<Utc>>,
    seats: i32,
    /// Price of one seat, in minor units of `currency`; null until the seats are held.
    price: Option<i64>,
    /// Price of all seats, in minor units of `currency`; null until the seats are held.
    amount: Option<i64>,
    /// ISO 4217; null until the seats are held.
    currency: Option<String>,
    status: BookingStatus,
    payment_status: PaymentStatus,
    /// When the hold ends unless the booking is paid; null until the seats are held.
    expires_at: Option<DateTime<Utc>>,
    /// Until when the owner may cancel it for a refund; null unless it is Confirmed. The deadline is some time before the
    /// event, or its start if start or venue changed after the booking.
    cancellable_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    /// Present if the booking was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<CancelReason>,
    /// Stable and machine-readable; present if the booking was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejection_code: Option<String>,
    /// Present once a refund was ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<RefundResponse>,
    /// One for each seat; absent until the booking is Confirmed. Absent in answers to POST, too: those are stored under the
    /// Idempotency-Key, and codes are stored nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    tickets: Option<Vec<BookedTicketResponse>>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct RefundResponse {
    state: RefundState,
    /// Minor units of the booking's currency.
    amount: i64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only bookings of this status, such as `Confirmed`.
    status: Option<BookingStatus>,
    /// Items per page, 1 to 100; 20 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

impl CreateBooking {
    fn validate(&self, user: &AuthUser) -> ApiResult<NewBooking> {
        let mut errors = Vec::new();
        if !is_event_id(&self.event_id) {
            errors.push(FieldError::new("event_id", "must be the id of an event"));
        }
        let seats = i32::try_from(self.seats).ok().filter(|seats| (1..=MAX_SEATS).contains(seats));
        if seats.is_none() {
            errors.push(FieldError::new("seats", format!("must be from 1 to {MAX_SEATS}")));
        }
        match seats {
            Some(seats) if errors.is_empty() => Ok(NewBooking {
                user_id: user.user_id,
                user_name: user.name.clone(),
                user_email: user.email.clone(),
                event_id: self.event_id.clone(),
                seats,
            }),
            _ => Err(ApiError::invalid(errors)),
        }
    }
}

impl BookingResponse {
    fn new(policy: &Policy, booking: Booking, refund: Option<&Refund>) -> Self {
        let confirmed = booking.status == BookingStatus::Confirmed;
        Self {
            cancellable_until: booking.cancellable_until(policy.cancel_deadline).filter(|_| confirmed),
            id: booking.id,
            user_id: booking.user_id,
            event_id: booking.event_id,
            event_title: booking.event_title,
            event_starts_at: booking.event_starts_at,
            seats: booking.seats,
            price: booking.price,
            amount: booking.amount,
            currency: booking.currency,
            status: booking.status,
            payment_status: booking.payment_status,
            expires_at: booking.expires_at,
            created_at: booking.created_at,
            cancel_reason: booking.cancel_reason,
            rejection_code: booking.rejection_code,
            refund: refund.map(|refund| RefundResponse { state: refund.state, amount: refund.amount }),
            tickets: None,
        }
    }

    /// With refunds and tickets, which are read for all bookings at once.
    async fn of_stored(state: &AppState, bookings: Vec<Booking>) -> ApiResult<Vec<Self>> {
        let ids: Vec<i32> = bookings.iter().map(|booking| booking.id).collect();
        let refunds = state.store.list_refunds(&ids).await?;
        let refunds: HashMap<i32, Refund> = refunds.into_iter().map(|refund| (refund.booking_id, refund)).collect();
        // A page polls a booking until it is Confirmed.
        let may_have_tickets =
            |booking: &&Booking| matches!(booking.status, BookingStatus::Confirmed | BookingStatus::Cancelled);
        let with_tickets: Vec<i32> = bookings.iter().filter(may_have_tickets).map(|booking| booking.id).collect();
        let mut tickets = BookedTicketResponse::of_bookings(state, &with_tickets).await?;
        let with_parts = |booking: Booking| {
            let tickets = tickets.remove(&booking.id);
            let refund = refunds.get(&booking.id);
            Self { tickets, ..Self::new(&state.policy, booking, refund) }
        };
        Ok(bookings.into_iter().map(with_parts).collect())
    }
}

/// Creates a Pending booking and holds its seats; a free one is Confirmed at once.
pub(super) async fn create_booking(
    State(state): State<AppState>,
    user: AuthUser,
    key: IdempotencyKey,
    body: JsonBody<CreateBooking>,
) -> ApiResult<Replayable<Created<BookingResponse>>> {
    let body = body.parse()?;
    let new = body.validate(&user)?;
    let (idempotency, policy) = (state.idempotency.clone(), state.policy);
    idempotency::run_in_transactions(&idempotency, key, user.user_id, &body, move |request| {
        let (state, new) = (state.clone(), new.clone());
        let created = move |booking| Created(BookingResponse::new(&policy, booking, None));
        Box::pin(async move {
            let respond = |saga: &SagaRecord| book::check(saga.booking.clone()).map(created).into_response();
            Ok(book::book(&state, &new, &request, &respond).await?.map(created))
        })
    })
    .await
}

pub(super) async fn list_bookings(
    State(state): State<AppState>,
    user: AuthUser,
    Query(query): Query<ListQuery>,
) -> ApiResult<Json<Page<BookingResponse>>> {
    let limit = parse_limit(query.limit)?;
    let before = decode_cursor(query.cursor.as_deref())?;
    let rows = state.store.list_bookings(user.user_id, query.status, before, i64::from(limit) + 1).await?;
    let page = Page::of(rows, limit, |booking| booking.id);
    let items = BookingResponse::of_stored(&state, page.items).await?;
    Ok(Json(Page { items, next_cursor: page.next_cursor }))
}

pub(super) async fn get_booking(
    State(state): State<AppState>,
    user: AuthUser,
    Path(BookingPath { id }): Path<BookingPath>,
) -> ApiResult<Json<BookingResponse>> {
    let booking = state.store.find_user_booking(user.user_id, id).await?.ok_or_else(booking_not_found)?;
    let response = BookingResponse::of_stored(&state, vec![booking]).await?.pop();
    response.map(Json).ok_or_else(booking_not_found)
}

/// Cancels a booking and refunds it. Cancelling again gives the same response.
pub(super) async fn cancel_booking(
    State(state): State<AppState>,
    user: AuthUser,
    Path(BookingPath { id }): Path<BookingPath>,
    body: JsonBody<CancelBooking>,
) -> ApiResult<Json<BookingResponse>> {
    state.store.find_user_booking(user.user_id, id).await?.ok_or_else(booking_not_found)?;
    let CancelBooking {} = body.parse_or_default()?;
    run_to_completion(async move {
        let SagaRecord { booking, refund, .. } = cancel(&state, user.user_id, id).await?;
        Ok(Json(BookingResponse::new(&state.policy, booking, refund.as_ref())))
    })
    .await
}

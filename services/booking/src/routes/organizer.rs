//! Attendees and sales of an event, for its organizer and for admins.

use aide::{NoApi, openapi::MediaType, transform::TransformResponse};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderName, header},
};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use contracts::identity::Role;
use futures::{Stream, StreamExt, stream};
use platform::{
    ApiError, ApiResult,
    auth::AuthUser,
    extract::{Path, Query},
    page::{Page, PageQuery, decode_cursor, parse_limit},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients::event_service::EventSummary,
    domain::{
        Attendee, BookingStatus, DaySales, EventSales,
        sales::{CSV_HEADER, search_terms},
    },
    error::{event_lookup_failed, event_not_found, not_your_event},
    state::AppState,
    store::Store,
};

/// The longest search text, in characters.
const MAX_SEARCH: usize = 200;
/// Rows of the export that are read and sent at a time.
const EXPORT_PAGE: i64 = 1000;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct EventPath {
    event_id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttendeesQuery {
    /// Terms that must all occur in the name or the e-mail address, ignoring case and accents; or the id of a booking.
    search: Option<String>,
    /// Items per page, 1 to 100; 20 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    /// Terms that must all occur in the name or the e-mail address, ignoring case and accents; or the id of a booking.
    search: Option<String>,
}

/// A booking as the event's organizer sees it.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct AttendeeResponse {
    booking_id: i32,
    /// At the time of booking; empty once the owner has deleted the account.
    name: String,
    /// At the time of booking; empty once the owner has deleted the account.
    email: String,
    seats: i32,
    /// What was paid, in minor units of `currency`.
    amount: i64,
    /// ISO 4217.
    currency: String,
    /// Confirmed, or Cancelled together with the whole event.
    status: BookingStatus,
    created_at: DateTime<Utc>,
}

/// Totals of bookings in one currency.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(super) struct SalesFigures {
    /// ISO 4217.
    currency: String,
    /// Seats of bookings that are Confirmed now.
    seats: i64,
    /// The revenue from them, in minor units of `currency`.
    amount: i64,
    /// Seats of bookings that were Confirmed and are now Cancelled.
    cancelled_seats: i64,
    /// What was paid for those and is refunded, in minor units of `currency`.
    cancelled_amount: i64,
}

#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct DayResponse {
    /// The day of booking, in the event's time zone.
    date: NaiveDate,
    #[serde(flatten)]
    figures: SalesFigures,
}

#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct SalesResponse {
    event_id: String,
    /// IANA time zone of the venue, which determines the days; UTC if the zone is unknown.
    time_zone: String,
    /// One item per currency, over all days; empty if nothing was sold.
    totals: Vec<SalesFigures>,
    /// Oldest first, without days that have no bookings.
    days: Vec<DayResponse>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct EventSalesResponse {
    event_id: String,
    #[serde(flatten)]
    figures: SalesFigures,
}

/// The rows of an export.
struct AttendeeExport {
    store: Store,
    event_id: String,
    terms: Option<Vec<String>>,
}

/// Bookings of an event, newest first: those that are Confirmed, or were Confirmed until the event was cancelled.
pub(super) async fn list_attendees(
    State(state): State<AppState>,
    user: AuthUser,
    Path(EventPath { event_id }): Path<EventPath>,
    query: ApiResult<Query<AttendeesQuery>>,
) -> ApiResult<Json<Page<AttendeeResponse>>> {
    require_organizer(&state, &user, &event_id).await?;
    let Query(query) = query?;
    let limit = parse_limit(query.limit)?;
    let before = decode_cursor(query.cursor.as_deref())?;
    let terms = parse_search(query.search)?;
    let rows = state.store.list_attendees(&event_id, terms.as_deref(), before, i64::from(limit) + 1).await?;
    Ok(Json(Page::of(rows, limit, |attendee| attendee.booking_id).map(AttendeeResponse::from)))
}

/// The same bookings as comma-separated values (RFC 4180), streamed while they are read.
pub(super) async fn export_attendees(
    State(state): State<AppState>,
    user: AuthUser,
    Path(EventPath { event_id }): Path<EventPath>,
    query: ApiResult<Query<ExportQuery>>,
) -> ApiResult<NoApi<([(HeaderName, String); 3], Body)>> {
    require_organizer(&state, &user, &event_id).await?;
    let terms = parse_search(query?.0.search)?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"attendees-{event_id}.csv\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let source = AttendeeExport { store: state.store, event_id, terms };
    // The first rows are read before the response begins, so that a database failure still becomes an error response.
    let first = source.page(None).await?;
    let head = stream::once(async { Ok(CSV_HEADER.to_owned()) });
    Ok(NoApi((headers, Body::from_stream(head.chain(source.lines(first))))))
}

/// Documents the response of [`export_attendees`].
pub(super) fn csv(mut response: TransformResponse<'_, ()>) -> TransformResponse<'_, ()> {
    response.inner().content.insert("text/csv".to_owned(), MediaType::default());
    response.description("Comma-separated values; the first line has the names of the columns.")
}

impl AttendeeExport {
    async fn page(&self, before: Option<i32>) -> sqlx::Result<Vec<Attendee>> {
        self.store.list_attendees(&self.event_id, self.terms.as_deref(), before, EXPORT_PAGE).await
    }

    /// The lines of the page `first` and of all following pages.
    fn lines(self, first: Vec<Attendee>) -> impl Stream<Item = sqlx::Result<String>> {
        stream::try_unfold((self, first), async |(source, page)| {
            let Some(last) = page.last() else { return Ok(None) };
            let next = source.page(Some(last.booking_id)).await?;
            Ok(Some((page.iter().map(Attendee::csv_line).collect(), (source, next))))
        })
    }
}

/// Sales of an event by day, in its time zone.
pub(super) async fn get_sales(
    State(state): State<AppState>,
    user: AuthUser,
    Path(EventPath { event_id }): Path<EventPath>,
) -> ApiResult<Json<SalesResponse>> {
    let EventSummary { time_zone, .. } = require_organizer(&state, &user, &event_id).await?;
    // The figures must stay available if the zone is unknown or was removed.
    let zone = time_zone.parse().unwrap_or(Tz::UTC);
    let days = state.store.list_sales_by_day(&event_id, zone).await?;
    let time_zone = zone.name().to_owned();
    let days: Vec<DayResponse> = days.into_iter().map(DayResponse::from).collect();
    Ok(Json(SalesResponse { event_id, time_zone, totals: totals(&days), days }))
}

/// Sales of the caller's events, by event and currency, without events that sold nothing.
pub(super) async fn list_sales(
    State(state): State<AppState>,
    user: AuthUser,
    query: ApiResult<Query<PageQuery>>,
) -> ApiResult<Json<Page<EventSalesResponse>>> {
    user.require_role(&[Role::Organizer, Role::Admin])?;
    let Query(query) = query?;
    let limit = parse_limit(query.limit)?;
    let after = decode_cursor(query.cursor.as_deref())?;
    let rows = state.store.list_sales_of_organizer(user.user_id, after, i64::from(limit) + 1).await?;
    let page = Page::of(rows, limit, |sales| (sales.event_id.clone(), sales.currency.clone()));
    Ok(Json(page.map(EventSalesResponse::from)))
}

/// The event, if the caller organizes it or is an admin. Fails with 403 `role_required` or `not_your_event`, or 404
/// `event_not_found`.
pub(super) async fn require_organizer(state: &AppState, user: &AuthUser, event_id: &str) -> ApiResult<EventSummary> {
    user.require_role(&[Role::Organizer, Role::Admin])?;
    let event = state.events.find_event(event_id).await.map_err(event_lookup_failed)?.ok_or_else(event_not_found)?;
    if user.role != Role::Admin && event.organizer_id != user.user_id {
        return Err(not_your_event());
    }
    Ok(event)
}

/// The terms of a search; `None` without one.
fn parse_search(search: Option<String>) -> ApiResult<Option<Vec<String>>> {
    let search = search.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if search.as_ref().is_some_and(|text| text.chars().count() > MAX_SEARCH || text.contains('\0')) {
        let detail = format!("search: at most {MAX_SEARCH} characters of text");
        return Err(ApiError::bad_request("invalid_query", detail));
    }
    Ok(search.as_deref().map(search_terms))
}

/// The totals over all days, by currency.
fn totals(days: &[DayResponse]) -> Vec<SalesFigures> {
    let mut totals: Vec<SalesFigures> = Vec::new();
    for DayResponse { figures: day, .. } in days {
        match totals.iter_mut().find(|total| total.currency == day.currency) {
            None => totals.push(day.clone()),
            Some(total) => {
                total.seats += day.seats;
                total.amount += day.amount;
                total.cancelled_seats += day.cancelled_seats;
                total.cancelled_amount += day.cancelled_amount;
            }
        }
    }
    totals
}

impl From<Attendee> for AttendeeResponse {
    fn from(attendee: Attendee) -> Self {
        let Attendee { booking_id, name, email, seats, amount, currency, status, created_at } = attendee;
        Self { booking_id, name, email, seats, amount, currency, status, created_at }
    }
}

impl From<DaySales> for DayResponse {
    fn from(day: DaySales) -> Self {
        let DaySales { date, currency, seats, amount, cancelled_seats, cancelled_amount } = day;
        Self { date, figures: SalesFigures { currency, seats, amount, cancelled_seats, cancelled_amount } }
    }
}

impl From<EventSales> for EventSalesResponse {
    fn from(sales: EventSales) -> Self {
        let EventSales { event_id, currency, seats, amount, cancelled_seats, cancelled_amount } = sales;
        Self { event_id, figures: SalesFigures { currency, seats, amount, cancelled_seats, cancelled_amount } }
    }
}

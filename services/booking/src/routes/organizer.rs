//! What the organizer of an event sees of its bookings: who comes, and what was sold. Admins see it of every event.

use aide::{
    OperationOutput,
    generate::GenContext,
    openapi::{MediaType, Operation, Response as ApiResponse, StatusCode as ApiStatus},
};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
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
        sales::{SHEET_HEAD, search_words},
    },
    error::{event_not_found, event_unknown, not_your_event},
    state::AppState,
    store::Store,
};

/// The longest search text, in characters.
const MAX_SEARCH: usize = 200;
/// Lines of the sheet that are read, and sent, at a time.
const SHEET_ROWS: i64 = 1000;

/// Which event.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct EventPath {
    /// The event's id.
    event_id: String,
}

/// Which attendees to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttendeesQuery {
    /// Words that must all occur in the name or the e-mail address, ignoring case and accents; or the number of a
    /// booking.
    search: Option<String>,
    /// Items a page, 1 to 100; 20 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which attendees to put on the sheet.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SheetQuery {
    /// Words that must all occur in the name or the e-mail address, ignoring case and accents; or the number of a
    /// booking.
    search: Option<String>,
}

/// A booking as the event's organizer sees it.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct AttendeeResponse {
    /// The booking's number.
    booking_id: i32,
    /// The owner's name at the time of booking; empty once the owner has deleted the account.
    name: String,
    /// The owner's e-mail address at the time of booking; empty like the name.
    email: String,
    /// How many seats.
    seats: i32,
    /// What was paid, in minor units of `currency`.
    amount: i64,
    /// ISO 4217.
    currency: String,
    /// Confirmed, or Cancelled together with the whole event.
    status: BookingStatus,
    /// When it was booked.
    created_at: DateTime<Utc>,
}

/// What bookings in one currency come to.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(super) struct Takings {
    /// ISO 4217.
    currency: String,
    /// Seats of bookings that are Confirmed now.
    seats: i64,
    /// What was paid for them, in minor units of `currency`: the revenue. Cancelled bookings are not in it.
    amount: i64,
    /// Seats of bookings that were Confirmed once and are Cancelled now.
    cancelled_seats: i64,
    /// What was paid for those; it goes or went back.
    cancelled_amount: i64,
}

/// The bookings of one day.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct DayResponse {
    /// The day on which they were made, in the event's time zone.
    date: NaiveDate,
    #[serde(flatten)]
    takings: Takings,
}

/// What an event has sold.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct SalesResponse {
    /// The event.
    event_id: String,
    /// IANA zone of the venue, in which days are counted; UTC if the zone is unknown.
    time_zone: String,
    /// All days together; one item for each currency, none if nothing was sold.
    totals: Vec<Takings>,
    /// By day, oldest first; days without a booking are left out.
    days: Vec<DayResponse>,
}

/// What one of an organizer's events has brought in.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct EventSalesResponse {
    /// The event.
    event_id: String,
    #[serde(flatten)]
    takings: Takings,
}

/// What goes on a sheet.
struct SheetSource {
    store: Store,
    event_id: String,
    words: Option<Vec<String>>,
}

/// Comma-separated values, as RFC 4180 has them.
pub(super) struct Sheet {
    file_name: String,
    body: Body,
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
    let words = parse_search(query.search)?;
    let rows = state.store.list_attendees(&event_id, words.as_deref(), before, i64::from(limit) + 1).await?;
    Ok(Json(Page::of(rows, limit, |attendee| attendee.booking_id).map(AttendeeResponse::from)))
}

/// The same bookings as comma-separated values, streamed while they are read.
pub(super) async fn export_attendees(
    State(state): State<AppState>,
    user: AuthUser,
    Path(EventPath { event_id }): Path<EventPath>,
    query: ApiResult<Query<SheetQuery>>,
) -> ApiResult<Sheet> {
    require_organizer(&state, &user, &event_id).await?;
    let words = parse_search(query?.0.search)?;
    let file_name = format!("attendees-{event_id}.csv");
    let source = SheetSource { store: state.store, event_id, words };
    // The first rows are read before the answer begins, so that a database that is away is told as such.
    let first = source.page(None).await?;
    let head = stream::once(async { Ok(SHEET_HEAD.to_owned()) });
    Ok(Sheet { file_name, body: Body::from_stream(head.chain(source.lines(first))) })
}

impl SheetSource {
    async fn page(&self, before: Option<i32>) -> sqlx::Result<Vec<Attendee>> {
        self.store.list_attendees(&self.event_id, self.words.as_deref(), before, SHEET_ROWS).await
    }

    /// The lines of `first` and of every page after it.
    fn lines(self, first: Vec<Attendee>) -> impl Stream<Item = sqlx::Result<String>> {
        stream::try_unfold((self, first), async |(source, page)| {
            let Some(last) = page.last() else { return Ok(None) };
            let next = source.page(Some(last.booking_id)).await?;
            Ok(Some((page.iter().map(Attendee::sheet_line).collect(), (source, next))))
        })
    }
}

/// What an event has sold, by day in its own time zone.
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

/// What the asker's own events have brought in, by event and currency; events that sold nothing are left out.
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

/// The event, if it is the asker's: 403 `role_required` for attendees, 404 `event_not_found`, 403 `not_your_event`.
async fn require_organizer(state: &AppState, user: &AuthUser, event_id: &str) -> ApiResult<EventSummary> {
    user.require_role(&[Role::Organizer, Role::Admin])?;
    let event = state.events.find(event_id).await.map_err(event_unknown)?.ok_or_else(event_not_found)?;
    if user.role != Role::Admin && event.organizer_id != user.user_id {
        return Err(not_your_event());
    }
    Ok(event)
}

/// The words of a search; `None` if the query is empty.
fn parse_search(search: Option<String>) -> ApiResult<Option<Vec<String>>> {
    let search = search.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if search.as_ref().is_some_and(|text| text.chars().count() > MAX_SEARCH || text.contains('\0')) {
        let detail = format!("search: at most {MAX_SEARCH} characters of text");
        return Err(ApiError::bad_request("invalid_query", detail));
    }
    Ok(search.as_deref().map(search_words))
}

/// The sum of all days, by currency.
fn totals(days: &[DayResponse]) -> Vec<Takings> {
    let mut totals: Vec<Takings> = Vec::new();
    for DayResponse { takings: day, .. } in days {
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
        Self { date, takings: Takings { currency, seats, amount, cancelled_seats, cancelled_amount } }
    }
}

impl From<EventSales> for EventSalesResponse {
    fn from(sales: EventSales) -> Self {
        let EventSales { event_id, currency, seats, amount, cancelled_seats, cancelled_amount } = sales;
        Self { event_id, takings: Takings { currency, seats, amount, cancelled_seats, cancelled_amount } }
    }
}

impl IntoResponse for Sheet {
    fn into_response(self) -> Response {
        let disposition = format!("attachment; filename=\"{}\"", self.file_name);
        let headers = [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
            (header::CONTENT_DISPOSITION, disposition),
            (header::CACHE_CONTROL, "no-store".to_owned()),
        ];
        (headers, self.body).into_response()
    }
}

impl OperationOutput for Sheet {
    type Inner = Self;

    fn operation_response(_ctx: &mut GenContext, _operation: &mut Operation) -> Option<ApiResponse> {
        Some(ApiResponse {
            description: "Comma-separated values, the first line with the names of the columns.".to_owned(),
            content: [("text/csv".to_owned(), MediaType::default())].into_iter().collect(),
            ..ApiResponse::default()
        })
    }

    fn inferred_responses(ctx: &mut GenContext, operation: &mut Operation) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        let response = Self::operation_response(ctx, operation);
        response.map(|response| (Some(ApiStatus::Code(200)), response)).into_iter().collect()
    }
}

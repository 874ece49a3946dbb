//! Check-ins at the door.

use axum::{Json, extract::State, response::NoContent};
use chrono::{DateTime, Utc};
use contracts::identity::Role;
use platform::{
    ApiError, ApiResult,
    auth::AuthUser,
    error::FieldError,
    extract::{JsonBody, Path, Query},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{door_staff::DoorStaff, organizer::require_organizer, tickets::MAX_ATTEMPTS};
use crate::{
    domain::{CheckInRefusal, Scan, Ticket, TicketState, ticket::parse_label},
    error::{ticket_changed, ticket_not_found},
    state::AppState,
    store::{Attendance, CheckIn},
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateCheckIn {
    event_id: String,
    /// The text of the ticket's QR code. Either this or `ticket_id`.
    code: Option<String>,
    /// The id of a ticket that was found by the name of its holder.
    ticket_id: Option<i32>,
    /// Names this scan, and no other. The same scan sent again gets the same answer.
    scan_id: Option<Uuid>,
    /// What the scanner calls itself, for whoever sees the ticket a second time: one line of 1 to 60 characters.
    device: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttendanceQuery {
    event_id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct CheckInPath {
    ticket_id: i32,
}

/// A ticket that was checked in.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct CheckInResponse {
    ticket_id: i32,
    booking_id: i32,
    event_id: String,
    /// Empty once the owner has deleted the account.
    holder_name: String,
    checked_in_at: Option<DateTime<Utc>>,
    device: Option<String>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct AttendanceResponse {
    event_id: String,
    /// Tickets that are checked in.
    present: i64,
    /// All tickets that are not void, checked in or not.
    expected: i64,
}

/// What names the ticket.
enum Reference {
    Code(String),
    Id(i32),
}

impl CreateCheckIn {
    fn validate(self) -> ApiResult<(Scan, Reference)> {
        let invalid = |field, fault| ApiError::invalid(vec![FieldError::new(field, fault)]);
        let device = self.device.as_deref().map(parse_label).transpose().map_err(|fault| invalid("device", fault))?;
        let reference = match (self.code, self.ticket_id) {
            (Some(code), None) => Reference::Code(code),
            (None, Some(id)) => Reference::Id(id),
            _ => return Err(invalid("code", "give either this or ticket_id")),
        };
        Ok((Scan { event_id: self.event_id, scan_id: self.scan_id, device }, reference))
    }
}

impl From<Ticket> for CheckInResponse {
    fn from(ticket: Ticket) -> Self {
        let Ticket { id: ticket_id, booking_id, event_id, holder_name, checked_in_at, device, .. } = ticket;
        Self { ticket_id, booking_id, event_id, holder_name, checked_in_at, device }
    }
}

/// Checks a ticket in, once.
pub(super) async fn create_check_in(
    State(state): State<AppState>,
    staff: DoorStaff,
    body: JsonBody<CreateCheckIn>,
) -> ApiResult<Json<CheckInResponse>> {
    staff.require_any_event()?;
    let body = body.parse()?;
    staff.require_event(&state, &body.event_id).await?;
    let (scan, reference) = body.validate()?;
    let result = check_in(&state, &scan, &reference).await;
    let outcome = result.as_ref().map_or_else(ApiError::code, |_| "checked_in");
    metrics::counter!("eventplatform_check_ins_total", "outcome" => outcome).increment(1);
    result.map(|ticket| Json(ticket.into()))
}

/// Makes a ticket valid again that was checked in by mistake. A ticket that is valid stays as it is.
pub(super) async fn undo_check_in(
    State(state): State<AppState>,
    user: AuthUser,
    Path(CheckInPath { ticket_id }): Path<CheckInPath>,
) -> ApiResult<NoContent> {
    user.require_role(&[Role::Organizer, Role::Admin])?;
    let ticket = state.store.find_ticket(ticket_id).await?.ok_or_else(ticket_not_found)?;
    if user.role != Role::Admin && ticket.organizer_id != Some(user.user_id) {
        return Err(ticket_not_found());
    }
    if !state.store.undo_check_in(&ticket).await? {
        let now = state.store.find_ticket(ticket_id).await?;
        if now.is_some_and(|ticket| ticket.state == TicketState::Void) {
            return Err(CheckInRefusal::Void.into());
        }
    }
    Ok(NoContent)
}

/// How many have come, of how many.
pub(super) async fn get_attendance(
    State(state): State<AppState>,
    user: AuthUser,
    query: ApiResult<Query<AttendanceQuery>>,
) -> ApiResult<Json<AttendanceResponse>> {
    user.require_role(&[Role::Organizer, Role::Admin])?;
    let Query(AttendanceQuery { event_id }) = query?;
    require_organizer(&state, &user, &event_id).await?;
    let Attendance { present, expected } = state.store.count_attendance(&event_id).await?;
    Ok(Json(AttendanceResponse { event_id, present, expected }))
}

/// Of several scans at once, the compare-and-set lets one succeed. The others read the ticket again.
async fn check_in(state: &AppState, scan: &Scan, reference: &Reference) -> ApiResult<Ticket> {
    for _ in 0..MAX_ATTEMPTS {
        let ticket = find_ticket(state, scan, reference).await?;
        if ticket.was_checked_in_by(scan) {
            return Ok(ticket);
        }
        let now = state.clock.now();
        ticket.may_check_in(&scan.event_id, now)?;
        match state.store.check_in(&ticket, scan, now).await? {
            CheckIn::Done(ticket) => return Ok(ticket),
            CheckIn::Stale => {}
            CheckIn::ScanIdReused => return Err(CheckInRefusal::ScanIdReused.into()),
        }
    }
    Err(ticket_changed())
}

async fn find_ticket(state: &AppState, scan: &Scan, reference: &Reference) -> ApiResult<Ticket> {
    match reference {
        Reference::Code(code) => {
            let code_id = state.ticket_keys.verify(code).ok_or(CheckInRefusal::Forged)?;
            Ok(state.store.find_ticket_by_code(code_id).await?.ok_or(CheckInRefusal::Replaced)?)
        }
        // Ids can be guessed, so that they say nothing of tickets of other events.
        Reference::Id(id) => {
            let ticket = state.store.find_ticket(*id).await?.filter(|ticket| ticket.event_id == scan.event_id);
            ticket.ok_or_else(ticket_not_found)
        }
    }
}

//! Tickets: their codes, holders and states, and the keys that verify codes.

use std::collections::HashMap;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use contracts::identity::Role;
use platform::{
    ApiError, ApiResult,
    auth::AuthUser,
    error::FieldError,
    extract::{JsonBody, Path, Query},
    page::{Page, decode_cursor, parse_limit},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::door_staff::DoorStaff;
use crate::{
    crypto::ticket_keys::{PublicKey, TicketKeys},
    domain::{Ticket, TicketState, ticket::HolderName},
    error::{session_over, ticket_changed, ticket_not_found},
    state::AppState,
};

/// Attempts of a change that another one precedes.
pub(super) const MAX_ATTEMPTS: u32 = 3;

#[derive(Deserialize, JsonSchema)]
pub(super) struct CodePath {
    /// The code of a ticket, or its id.
    ticket: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct TicketPath {
    /// The id of a ticket.
    ticket: i32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateTicket {
    /// One line of 1 to 100 characters.
    holder_name: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventTicketsQuery {
    event_id: String,
    /// Items per page, 1 to 100; 20 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// A ticket as part of its owner's booking.
#[derive(JsonSchema, Serialize)]
pub(super) struct BookedTicketResponse {
    id: i32,
    /// What the ticket's QR code holds: `<kid>.<base64url of the ticket's 16 bytes and their ES256 signature>`. Null if the
    /// ticket is void. Another one when the holder changes.
    code: Option<String>,
    /// Empty once the owner has deleted the account.
    holder_name: String,
    state: TicketState,
    checked_in_at: Option<DateTime<Utc>>,
}

/// A ticket as its owner and the event's organizer see it.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct TicketResponse {
    id: i32,
    booking_id: i32,
    event_id: String,
    /// From the latest message about the event.
    event_title: Option<String>,
    /// From the latest message about the event.
    event_starts_at: Option<DateTime<Utc>>,
    /// Empty once the owner has deleted the account.
    holder_name: String,
    state: TicketState,
    checked_in_at: Option<DateTime<Utc>>,
}

/// A ticket as scanners load it, to be checked without a network.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct ExpectedTicketResponse {
    id: i32,
    booking_id: i32,
    /// The first 16 bytes of the present code, as a UUID. Codes that name another one are forged, replaced or of another
    /// event.
    code_id: Uuid,
    /// Empty once the owner has deleted the account.
    holder_name: String,
    state: TicketState,
    checked_in_at: Option<DateTime<Utc>>,
    /// Grows with every change.
    version: i32,
}

/// A JWK Set (RFC 7517).
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct TicketKeysResponse {
    keys: Vec<TicketKeyResponse>,
}

/// A P-256 public key (RFC 7518, 6.2).
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct TicketKeyResponse {
    /// Always `EC`.
    kty: &'static str,
    /// Always `P-256`.
    crv: &'static str,
    /// Base64url.
    x: String,
    /// Base64url.
    y: String,
    /// The key id at the beginning of codes.
    kid: String,
    /// Always `ES256`.
    alg: &'static str,
    /// Always `sig`.
    #[serde(rename = "use")]
    usage: &'static str,
}

impl BookedTicketResponse {
    /// The tickets of bookings, by booking.
    pub(super) async fn of_bookings(
        state: &AppState,
        booking_ids: &[i32],
    ) -> ApiResult<HashMap<i32, Vec<BookedTicketResponse>>> {
        if booking_ids.is_empty() {
            return Ok(HashMap::new());
        }
        let tickets = state.store.list_tickets(booking_ids).await?;
        let mut codes = codes(&state.ticket_keys, &tickets).await?;
        let mut by_booking: HashMap<i32, Vec<Self>> = HashMap::new();
        for ticket in tickets {
            let code = codes.remove(&ticket.id);
            by_booking.entry(ticket.booking_id).or_default().push(Self::new(ticket, code));
        }
        Ok(by_booking)
    }

    fn new(ticket: Ticket, code: Option<String>) -> Self {
        let Ticket { id, holder_name, state, checked_in_at, .. } = ticket;
        Self { id, code, holder_name, state, checked_in_at }
    }
}

impl From<Ticket> for TicketResponse {
    fn from(ticket: Ticket) -> Self {
        let Ticket {
            id, booking_id, event_id, event_title, event_starts_at, holder_name, state, checked_in_at, ..
        } = ticket;
        Self { id, booking_id, event_id, event_title, event_starts_at, holder_name, state, checked_in_at }
    }
}

impl From<Ticket> for ExpectedTicketResponse {
    fn from(ticket: Ticket) -> Self {
        let Ticket { id, booking_id, code_id, holder_name, state, checked_in_at, version, .. } = ticket;
        Self { id, booking_id, code_id, holder_name, state, checked_in_at, version }
    }
}

impl From<PublicKey> for TicketKeyResponse {
    fn from(PublicKey { kid, x, y }: PublicKey) -> Self {
        Self { kty: "EC", crv: "P-256", x, y, kid, alg: "ES256", usage: "sig" }
    }
}

/// The codes of the tickets that are not void, by ticket.
async fn codes(keys: &TicketKeys, tickets: &[Ticket]) -> ApiResult<HashMap<i32, String>> {
    let live = tickets.iter().filter(|ticket| ticket.state != TicketState::Void);
    let (ids, code_ids): (Vec<i32>, Vec<Uuid>) = live.map(|ticket| (ticket.id, ticket.code_id)).unzip();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(ids.into_iter().zip(keys.codes(code_ids).await?).collect())
}

/// Keys of codes that are still accepted. The one that signs is among them.
pub(super) async fn list_keys(State(state): State<AppState>) -> Json<TicketKeysResponse> {
    Json(TicketKeysResponse { keys: state.ticket_keys.published().into_iter().map(TicketKeyResponse::from).collect() })
}

/// Tickets of an event by id, void ones among them, for scanners that go on without a network.
pub(super) async fn list_event_tickets(
    State(state): State<AppState>,
    staff: DoorStaff,
    query: ApiResult<Query<EventTicketsQuery>>,
) -> ApiResult<Json<Page<ExpectedTicketResponse>>> {
    staff.require_any_event()?;
    let Query(query) = query?;
    staff.require_event(&state, &query.event_id).await?;
    let limit = parse_limit(query.limit)?;
    let after = decode_cursor(query.cursor.as_deref())?;
    let rows = state.store.list_event_tickets(&query.event_id, after, i64::from(limit) + 1).await?;
    Ok(Json(Page::of(rows, limit, |ticket| ticket.id).map(ExpectedTicketResponse::from)))
}

/// A ticket by its code or id, for its owner and the event's organizer.
pub(super) async fn get_ticket(
    State(state): State<AppState>,
    user: AuthUser,
    Path(CodePath { ticket: code_or_id }): Path<CodePath>,
) -> ApiResult<Json<TicketResponse>> {
    let ticket = match (code_or_id.parse(), state.ticket_keys.verify(&code_or_id)) {
        (Ok(id), _) => state.store.find_ticket(id).await?,
        (_, Some(code_id)) => state.store.find_ticket_by_code(code_id).await?,
        _ => None,
    };
    let ticket = ticket.filter(|ticket| may_see(&user, ticket)).ok_or_else(ticket_not_found)?;
    Ok(Json(ticket.into()))
}

/// Changes the holder of a ticket, which gets a new code. The same name again changes nothing.
pub(super) async fn update_ticket(
    State(state): State<AppState>,
    user: AuthUser,
    Path(TicketPath { ticket: id }): Path<TicketPath>,
    body: JsonBody<UpdateTicket>,
) -> ApiResult<Json<BookedTicketResponse>> {
    let own = async || {
        let found = state.store.find_ticket(id).await?;
        found.filter(|ticket| ticket.user_id == user.user_id).ok_or_else(ticket_not_found)
    };
    let mut ticket = own().await?;
    let name = HolderName::parse(&body.parse()?.holder_name);
    let name = name.map_err(|fault| ApiError::invalid(vec![FieldError::new("holder_name", fault)]))?;
    for _ in 0..MAX_ATTEMPTS {
        ticket.may_rename(state.clock.now())?;
        let unchanged = ticket.holder_name == name.as_str();
        let renamed = if unchanged { Some(ticket) } else { state.store.rename_ticket(&ticket, name.as_str()).await? };
        if let Some(renamed) = renamed {
            let code = state.ticket_keys.codes(vec![renamed.code_id]).await?.pop();
            return Ok(Json(BookedTicketResponse::new(renamed, code)));
        }
        ticket = own().await?;
    }
    Err(if state.store.is_account_deleted(user.user_id).await? { session_over() } else { ticket_changed() })
}

fn may_see(user: &AuthUser, ticket: &Ticket) -> bool {
    let organizes = user.role == Role::Organizer && ticket.organizer_id == Some(user.user_id);
    ticket.user_id == user.user_id || organizes || user.role == Role::Admin
}

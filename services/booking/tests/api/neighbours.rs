//! Fakes of the services that booking-service calls, on one port: event-service's reservations, a payment gateway with
//! Stripe's API, and user-service's keys. Each call can be made to fail.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::reservation::DecreaseCapacity;
use platform::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

/// Organizes every event.
pub(crate) const ORGANIZER: i32 = 7;
/// The time zone of every event unless a test sets another.
pub(crate) const TIME_ZONE: &str = "Europe/Berlin";

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The request is lost: nothing is done, and there is no response.
    Lost,
    /// The response is lost: the work is done.
    AnswerLost,
    /// Nothing is done: 500.
    Fails,
    /// The work is done: 500.
    FailsAfterwards,
    /// Nothing is done: 401, as for an invalid token.
    Unauthorized,
    /// Nothing is done: 429, as under overload.
    Overloaded,
    /// Nothing is done: the gateway refuses permanently.
    Refuses,
    /// The call succeeds.
    Nothing,
}

pub(crate) struct Event {
    pub(crate) capacity: u32,
    pub(crate) price: i64,
    pub(crate) currency: &'static str,
    pub(crate) starts_at: DateTime<Utc>,
    pub(crate) cancelled: bool,
    pub(crate) sales_closed: bool,
    /// The event version in responses; older versions of event-service send none.
    pub(crate) version: Option<i64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    pub(crate) event_id: String,
    pub(crate) seats: u32,
    pub(crate) state: &'static str,
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) booking_id: String,
    pub(crate) status: &'static str,
    pub(crate) error: Option<Value>,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) events: HashMap<String, Event>,
    pub(crate) reservations: HashMap<Uuid, Reservation>,
    pub(crate) intents: HashMap<String, Intent>,
    /// Requested holds, oldest first.
    pub(crate) holds: Vec<DecreaseCapacity>,
    /// Status and code with which unpaid holds are refused.
    pub(crate) person_limit: Option<(u16, &'static str)>,
    /// event-service is an older version without limits per person.
    pub(crate) without_person_limits: bool,
    /// Responses by idempotency key.
    answers: HashMap<String, (u16, Value)>,
    refunds: HashMap<String, String>,
    pub(crate) refund_status: Option<&'static str>,
    pub(crate) next_faults: HashMap<&'static str, VecDeque<Fault>>,
    pub(crate) lasting_faults: HashMap<&'static str, Fault>,
    calls: HashMap<&'static str, usize>,
    /// The time zone of every event, if not [`TIME_ZONE`].
    time_zone: Option<&'static str>,
}

/// The fakes and their state.
#[derive(Clone)]
pub(crate) struct Neighbours {
    pub(crate) url: String,
    world: Arc<Mutex<World>>,
    keys: Value,
}

impl World {
    /// Makes the next `calls` calls of `operation` succeed.
    pub(crate) fn skip(&mut self, operation: &'static str, calls: usize) {
        let none = std::iter::repeat_n(Fault::Nothing, calls);
        self.next_faults.entry(operation).or_default().extend(none);
    }
}

impl Neighbours {
    pub(crate) async fn start(keys: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let neighbours = Self { url, world: Arc::default(), keys };
        let router = Router::new()
            .route("/.well-known/jwks.json", get(|State(s): State<Self>| async move { Json(s.keys) }))
            .route("/api/events/reservations", get(list_reservations))
            .route("/api/events/{event}", get(describe))
            .route("/api/events/{event}/decrease_capacity", put(hold))
            .route("/api/events/{event}/reservations/{id}/confirm", put(confirm))
            .route("/api/events/{event}/reservations/{id}/release", put(release))
            .route("/v1/payment_intents", post(create).get(list_intents))
            .route("/v1/payment_intents/{id}", get(find))
            .route("/v1/payment_intents/{id}/confirm", post(charge))
            .route("/v1/payment_intents/{id}/cancel", post(cancel))
            .route("/v1/refunds", post(refund))
            .route("/v1/refunds/{id}", get(find_refund))
            .with_state(neighbours.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        neighbours
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Moves every event to another time zone.
    pub(crate) fn moves_to(&self, time_zone: &'static str) {
        self.world().time_zone = Some(time_zone);
    }

    /// An event in two months; its id.
    pub(crate) fn event(&self, capacity: u32, price: i64) -> String {
        let id = Uuid::new_v4().simple().to_string();
        let starts_at = Clock::system().now() + TimeDelta::days(60);
        let event =
            Event { capacity, price, currency: "EUR", starts_at, cancelled: false, sales_closed: false, version: None };
        self.world().events.insert(id.clone(), event);
        id
    }

    /// Makes the next calls of `operation` fail, one fault each.
    pub(crate) fn next(&self, operation: &'static str, faults: &[Fault]) {
        self.world().next_faults.entry(operation).or_default().extend(faults);
    }

    /// Makes all calls of `operation` fail until [`Neighbours::recover`].
    pub(crate) fn always(&self, operation: &'static str, fault: Fault) {
        self.world().lasting_faults.insert(operation, fault);
    }

    pub(crate) fn recover(&self) {
        let mut world = self.world();
        world.lasting_faults.clear();
        world.next_faults.clear();
    }

    pub(crate) fn calls(&self, operation: &'static str) -> usize {
        self.world().calls.get(operation).copied().unwrap_or(0)
    }

    /// Waits until `operation` was called `times` times.
    pub(crate) async fn called(&self, operation: &'static str, times: usize) {
        super::helpers::wait_for(&format!("{operation} called {times} times"), async || {
            (self.calls(operation) >= times).then_some(())
        })
        .await;
    }

    /// Seats of an event in reservations of a state.
    pub(crate) fn seats(&self, event_id: &str, state: &str) -> u32 {
        let world = self.world();
        let fitting = world.reservations.values().filter(|r| r.event_id == event_id && r.state == state);
        fitting.map(|r| r.seats).sum()
    }

    /// The total charged for a booking, and the number of charges.
    pub(crate) fn charged(&self, booking_id: i32) -> (i64, usize) {
        let world = self.world();
        let id = booking_id.to_string();
        let charges: Vec<_> = world.intents.values().filter(|i| i.booking_id == id && i.captured > 0).collect();
        (charges.iter().map(|intent| intent.captured).sum(), charges.len())
    }

    /// The total refunded for a booking.
    pub(crate) fn refunded(&self, booking_id: i32) -> i64 {
        let id = booking_id.to_string();
        self.world().intents.values().filter(|i| i.booking_id == id).map(|i| i.refunded).sum()
    }

    /// The id of the charge of a booking.
    pub(crate) fn charge_of(&self, booking_id: i32) -> String {
        let id = booking_id.to_string();
        let world = self.world();
        world.intents.iter().find(|(_, intent)| intent.booking_id == id).expect("a charge").0.clone()
    }

    /// Lets a processing charge succeed.
    pub(crate) fn decide(&self, charge: &str) {
        let mut world = self.world();
        let intent = world.intents.get_mut(charge).unwrap();
        assert_eq!(intent.status, "processing");
        (intent.status, intent.captured) = ("succeeded", intent.amount);
    }

    /// Lets every hold run out.
    pub(crate) fn end_holds(&self) {
        for reservation in self.world().reservations.values_mut() {
            if reservation.state == "held" {
                reservation.expires_at = Some(Clock::system().now() - TimeDelta::seconds(1));
            }
        }
    }

    /// Confirms all remaining seats for somebody else.
    pub(crate) fn sell_out(&self, event_id: &str) {
        let taken = self.seats(event_id, "held") + self.seats(event_id, "confirmed");
        let mut world = self.world();
        let seats = world.events[event_id].capacity - taken;
        let other = Reservation { event_id: event_id.to_owned(), seats, state: "confirmed", expires_at: None };
        world.reservations.insert(Uuid::new_v4(), other);
    }

    /// Serves a call with its fault, if any.
    async fn serve(&self, operation: &'static str, work: impl FnOnce(&mut World) -> Response) -> Response {
        let (fault, response) = {
            let mut world = self.world();
            *world.calls.entry(operation).or_default() += 1;
            let next = world.next_faults.get_mut(operation).and_then(VecDeque::pop_front);
            let fault = next.or_else(|| world.lasting_faults.get(operation).copied());
            let fault = fault.filter(|fault| *fault != Fault::Nothing);
            let acts = matches!(fault, None | Some(Fault::AnswerLost | Fault::FailsAfterwards));
            (fault, acts.then(|| work(&mut world)))
        };
        match (fault, response) {
            (None, Some(response)) if response.status() != StatusCode::IM_A_TEAPOT => response,
            (Some(Fault::Lost | Fault::AnswerLost | Fault::Nothing) | None, _) => std::future::pending().await,
            (Some(Fault::Refuses), _) => {
                answer(stripe_error(400, &json!({ "type": "invalid_request_error", "code": "amount_too_small" })))
            }
            (Some(Fault::Overloaded), _) => problem(429, "overloaded"),
            (Some(Fault::Unauthorized), _) => problem(401, "invalid_token"),
            (Some(Fault::Fails | Fault::FailsAfterwards), _) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "oops").into_response()
            }
        }
    }
}

fn problem(status: u16, code: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, Json(json!({ "code": code, "detail": format!("because of {code}") }))).into_response()
}

fn require_service_token(headers: &HeaderMap) {
    let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    assert_eq!(jsonwebtoken::decode_header(token).unwrap().typ.as_deref(), Some("svc+jwt"));
}

async fn describe(State(neighbours): State<Neighbours>, Path(event_id): Path<String>) -> Response {
    neighbours
        .serve("describe", |world| {
            let Some(event) = world.events.get(&event_id) else { return problem(404, "event_not_found") };
            let answer = json!({
                "id": event_id, "organizer_id": ORGANIZER, "starts_at": event.starts_at,
                "time_zone": world.time_zone.unwrap_or(TIME_ZONE),
            });
            Json(answer).into_response()
        })
        .await
}

async fn hold(
    State(neighbours): State<Neighbours>,
    Path(event_id): Path<String>,
    headers: HeaderMap,
    Json(ask): Json<DecreaseCapacity>,
) -> Response {
    require_service_token(&headers);
    neighbours
        .serve("hold", |world| {
            world.holds.push(ask.clone());
            if world.without_person_limits && (ask.user_id.is_some() || ask.paid) {
                return problem(400, "invalid_json");
            }
            let Some(event) = world.events.get(&event_id) else { return problem(404, "event_not_found") };
            let known = world.reservations.get(&ask.reservation_id).cloned();
            let reservation = match known {
                Some(known) if known.state == "released" => return problem(409, "reservation_released"),
                Some(known) => known,
                None if event.cancelled => return problem(409, "event_cancelled"),
                None if event.sales_closed => return problem(409, "sales_closed"),
                None if let Some((status, code)) = world.person_limit.filter(|_| !ask.paid) => {
                    let mut refusal = problem(status, code);
                    refusal.headers_mut().insert("retry-after", HeaderValue::from_static("77"));
                    return refusal;
                }
                None if ask.seats > 10 => return problem(422, "too_many_seats"),
                None => {
                    let of_event = world.reservations.values().filter(|r| r.event_id == event_id);
                    let taken: u32 = of_event.filter(|r| r.state != "released").map(|r| r.seats).sum();
                    if taken + ask.seats > event.capacity {
                        return problem(409, "sold_out");
                    }
                    let expires_at =
                        Clock::system().now() + TimeDelta::seconds(ask.hold_seconds.into());
                    let (seats, expires_at) = (ask.seats, Some(expires_at));
                    Reservation { event_id: event_id.clone(), seats, state: "held", expires_at }
                }
            };
            let answer = json!({
                "reservation_id": ask.reservation_id, "seats": ask.seats, "expires_at": reservation.expires_at,
                "price": event.price, "currency": event.currency, "event_title": "Concert", "starts_at": event.starts_at,
                "time_zone": TIME_ZONE, "organizer_id": ORGANIZER,
                "event_version": event.version,
            });
            world.reservations.insert(ask.reservation_id, reservation);
            Json(answer).into_response()
        })
        .await
}

fn status_of(id: Uuid, reservation: &Reservation) -> Response {
    let Reservation { state, expires_at, .. } = reservation;
    Json(json!({ "reservation_id": id, "state": state, "expires_at": expires_at })).into_response()
}

async fn confirm(
    State(neighbours): State<Neighbours>,
    Path((event_id, id)): Path<(String, Uuid)>,
    headers: HeaderMap,
) -> Response {
    require_service_token(&headers);
    neighbours
        .serve("confirm", |world| {
            let cancelled = world.events.get(&event_id).is_none_or(|event| event.cancelled);
            match world.reservations.get_mut(&id) {
                None => problem(404, "reservation_not_found"),
                Some(reservation) if reservation.state == "released" => problem(409, "reservation_released"),
                Some(_) if cancelled => problem(409, "event_cancelled"),
                Some(reservation) => {
                    reservation.state = "confirmed";
                    status_of(id, reservation)
                }
            }
        })
        .await
}

async fn release(
    State(neighbours): State<Neighbours>,
    Path((event_id, id)): Path<(String, Uuid)>,
    headers: HeaderMap,
    Json(ask): Json<contracts::reservation::ReleaseSeats>,
) -> Response {
    require_service_token(&headers);
    neighbours
        .serve("release", |world| {
            let tombstone = Reservation { event_id, seats: 0, state: "released", expires_at: None };
            let reservation = world.reservations.entry(id).or_insert(tombstone);
            let over = reservation.expires_at.is_some_and(|at| at <= Clock::system().now());
            if !ask.only_expired || (reservation.state == "held" && over) {
                reservation.state = "released";
            }
            status_of(id, reservation)
        })
        .await
}

async fn list_reservations(
    State(neighbours): State<Neighbours>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    require_service_token(&headers);
    neighbours
        .serve("list_reservations", |world| {
            let after: Uuid = query.get("after").map_or(Uuid::nil(), |after| after.parse().unwrap());
            let limit: usize = query["limit"].parse().unwrap();
            let mut ids: Vec<_> = world.reservations.keys().copied().filter(|id| *id > after).collect();
            ids.sort();
            let next = ids.get(limit).map(|_| ids[limit - 1]);
            let items = ids.iter().take(limit).map(|id| {
                let Reservation { event_id, seats, state, .. } = &world.reservations[id];
                json!({ "reservation_id": id, "event_id": event_id, "seats": seats, "state": state })
            });
            Json(json!({ "items": items.collect::<Vec<_>>(), "next_after": next })).into_response()
        })
        .await
}

fn stripe_error(status: u16, error: &Value) -> (u16, Value) {
    (status, json!({ "error": error }))
}

fn intent_body(id: &str, intent: &Intent) -> Value {
    json!({
        "id": id, "object": "payment_intent", "status": intent.status, "amount": intent.amount,
        "currency": intent.currency, "last_payment_error": intent.error,
    })
}

fn answer((status, body): (u16, Value)) -> Response {
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

fn parse_form(body: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

/// Does the work once per idempotency key.
fn once(world: &mut World, headers: &HeaderMap, work: impl FnOnce(&mut World) -> (u16, Value)) -> Response {
    assert_eq!(headers["authorization"], "Bearer sk_test_ours");
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    if let Some(known) = world.answers.get(&key) {
        return answer(known.clone());
    }
    let made = work(world);
    world.answers.insert(key, made.clone());
    answer(made)
}

async fn create(State(neighbours): State<Neighbours>, headers: HeaderMap, body: String) -> Response {
    let form = parse_form(&body);
    neighbours
        .serve("create", |world| {
            once(world, &headers, |world| {
                let id = format!("pi_{}", Uuid::new_v4().simple());
                let intent = Intent {
                    amount: form["amount"].parse().unwrap(),
                    currency: form["currency"].clone(),
                    booking_id: form["metadata[booking_id]"].clone(),
                    status: "requires_payment_method",
                    error: None,
                    captured: 0,
                    refunded: 0,
                };
                let body = intent_body(&id, &intent);
                world.intents.insert(id, intent);
                (200, body)
            })
        })
        .await
}

async fn charge(
    State(neighbours): State<Neighbours>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let form = parse_form(&body);
    let method = form["payment_method"].clone();
    neighbours
        .serve("charge", |world| {
            if method == "pm_mock_error" {
                return answer(stripe_error(500, &json!({ "type": "api_error" })));
            }
            let response = once(world, &headers, |world| {
                let intent = world.intents.get_mut(&id).unwrap();
                if !matches!(intent.status, "requires_payment_method" | "requires_confirmation") {
                    let code = "payment_intent_unexpected_state";
                    return stripe_error(400, &json!({ "type": "invalid_request_error", "code": code }));
                }
                match method.as_str() {
                    "pm_card_visa" | "pm_mock_timeout" => {
                        (intent.status, intent.captured) = ("succeeded", intent.amount);
                    }
                    "pm_card_visa_chargeDeclined" => {
                        let error = json!({
                            "type": "card_error", "code": "card_declined", "decline_code": "generic_decline",
                            "message": "Your card was declined.",
                        });
                        intent.error = Some(error.clone());
                        return stripe_error(402, &error);
                    }
                    "pm_mock_late" => intent.status = "processing",
                    _ => {
                        let error = json!({
                            "type": "invalid_request_error", "code": "resource_missing", "param": "payment_method",
                            "message": "No such PaymentMethod",
                        });
                        return stripe_error(400, &error);
                    }
                }
                (200, intent_body(&id, intent))
            });
            if method == "pm_mock_timeout" { StatusCode::IM_A_TEAPOT.into_response() } else { response }
        })
        .await
}

async fn list_intents(State(neighbours): State<Neighbours>) -> Response {
    neighbours
        .serve("list_intents", |world| {
            let data = world.intents.iter().map(|(id, intent)| {
                let mut body = intent_body(id, intent);
                body["metadata"] = json!({ "booking_id": intent.booking_id });
                body
            });
            answer((200, json!({ "object": "list", "data": data.collect::<Vec<_>>(), "has_more": false })))
        })
        .await
}

async fn find(State(neighbours): State<Neighbours>, Path(id): Path<String>) -> Response {
    neighbours.serve("find", |world| answer((200, intent_body(&id, &world.intents[&id])))).await
}

async fn cancel(State(neighbours): State<Neighbours>, Path(id): Path<String>) -> Response {
    neighbours
        .serve("cancel", |world| {
            let intent = world.intents.get_mut(&id).unwrap();
            if !matches!(intent.status, "requires_payment_method" | "requires_confirmation") {
                let code = "payment_intent_unexpected_state";
                return answer(stripe_error(400, &json!({ "type": "invalid_request_error", "code": code })));
            }
            intent.status = "canceled";
            answer((200, intent_body(&id, intent)))
        })
        .await
}

async fn refund(State(neighbours): State<Neighbours>, headers: HeaderMap, body: String) -> Response {
    let form = parse_form(&body);
    neighbours
        .serve("refund", |world| {
            once(world, &headers, |world| {
                let charge = form["payment_intent"].clone();
                let intent = world.intents.get_mut(&charge).unwrap();
                // Without an amount, what is left goes back.
                let rest = intent.captured - intent.refunded;
                let amount: i64 = form.get("amount").map_or(rest, |amount| amount.parse().unwrap());
                if intent.refunded + amount > intent.captured {
                    let code = "charge_already_refunded";
                    return stripe_error(400, &json!({ "type": "invalid_request_error", "code": code }));
                }
                intent.refunded += amount;
                let id = format!("re_{}", Uuid::new_v4().simple());
                world.refunds.insert(id.clone(), charge);
                (200, json!({ "id": id, "object": "refund", "status": world.refund_status.unwrap_or("succeeded") }))
            })
        })
        .await
}

async fn find_refund(State(neighbours): State<Neighbours>, Path(id): Path<String>) -> Response {
    neighbours
        .serve("find_refund", |world| {
            assert!(world.refunds.contains_key(&id));
            let status = world.refund_status.unwrap_or("succeeded");
            answer((200, json!({ "id": id, "object": "refund", "status": status })))
        })
        .await
}

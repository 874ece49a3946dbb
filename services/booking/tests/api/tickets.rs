//! Tickets: made and voided with their bookings, signed, renamed, and forgotten with an account.

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use booking_service::loops::consumer;
use chrono::TimeDelta;
use contracts::{identity::Role, message::Message};
use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier};
use platform::bus::Received;
use serde_json::{Value, json};
use testing::identity::write_ticket_key;
use uuid::Uuid;

use crate::{
    helpers::{ALICE, Answer, BOB, TestApp, router},
    neighbours::{Fault, ORGANIZER},
};

impl TestApp {
    /// An event that starts in five hours, so that its tickets can be checked in; its id.
    pub(crate) fn event_tonight(&self, capacity: u32, price: i64) -> String {
        let event = self.neighbours.event(capacity, price);
        let starts_at = self.clock().now() + TimeDelta::hours(5);
        self.neighbours.world().events.get_mut(&event).unwrap().starts_at = starts_at;
        event
    }

    /// Alice's tickets of a booking.
    pub(crate) async fn tickets(&self, booking_id: i32) -> Vec<Value> {
        self.booking(booking_id).await["tickets"].as_array().cloned().unwrap_or_default()
    }

    pub(crate) async fn renames(&self, user_id: i32, ticket: &Value, name: &str) -> Answer {
        let call = self.patch(&format!("/tickets/{ticket}"), json!({ "holder_name": name }));
        call.bearer(&self.token(user_id)).send().await
    }

    pub(crate) async fn looks_up(&self, user_id: i32, role: Role, code: &str) -> Answer {
        self.get(&format!("/tickets/{code}")).bearer(&self.token_as(user_id, role)).send().await
    }
}

pub(crate) fn code(ticket: &Value) -> &str {
    ticket["code"].as_str().unwrap_or_else(|| panic!("{ticket}"))
}

fn states(tickets: &[Value]) -> Vec<&str> {
    tickets.iter().map(|ticket| ticket["state"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_confirmed_booking_has_a_ticket_for_each_seat_and_no_other_booking_has_any() {
    let app = TestApp::start().await;
    let (priced, free) = (app.neighbours.event(10, 2500), app.neighbours.event(10, 0));
    let pending = app.books(&priced, 2).await;
    let before = app.tickets(pending).await;
    let created = app.booking_request(ALICE, &free, 3).key("k").send().await.expect(201);

    app.pays(pending, "pm_card_visa").await;

    assert_eq!(before, [Value::Null; 0]);
    assert_eq!(created.body["status"], "Confirmed");
    assert!(created.body.get("tickets").is_none(), "the answer is stored, and codes are stored nowhere");
    let (paid, free) = (app.tickets(pending).await, app.tickets(created.id()).await);
    assert_eq!((states(&paid), states(&free)), (vec!["valid"; 2], vec!["valid"; 3]));
    assert!(paid.iter().all(|ticket| ticket["holder_name"] == "User 11" && ticket["checked_in_at"].is_null()));
    let codes: HashSet<&str> = paid.iter().chain(&free).map(code).collect();
    assert_eq!(codes.len(), 5);
    let list = app.get("/bookings").bearer(&app.token(ALICE)).send().await;
    assert_eq!(list.body["items"][1]["tickets"], json!(paid));
    app.is_consistent().await;
}

#[tokio::test]
async fn tickets_are_void_once_their_booking_is_cancelled_by_whomever() {
    let app = TestApp::start().await;
    let (event, called_off) = (app.neighbours.event(10, 2500), app.neighbours.event(10, 0));
    let (by_owner, with_event) = (app.buys(&event, 2).await, app.books(&called_off, 1).await);
    let code = code(&app.tickets(by_owner).await[0]).to_owned();

    app.cancel_request(ALICE, by_owner).send().await.assert_ok();
    app.neighbours.world().events.get_mut(&called_off).unwrap().cancelled = true;
    let message = Message::EventCancelled(app.event_fact(&called_off, "Concert", 2));
    consumer::handle(app.state(), Received { id: Uuid::new_v4(), message }).await.unwrap();
    app.sweeps().await;

    for (booking, seats) in [(by_owner, 2), (with_event, 1)] {
        let tickets = app.tickets(booking).await;
        assert_eq!(states(&tickets), vec!["void"; seats]);
        assert!(tickets.iter().all(|ticket| ticket["code"].is_null()));
    }
    assert_eq!(app.looks_up(ALICE, Role::Attendee, &code).await.assert_ok()["state"], "void");
    app.is_consistent().await;
}

#[tokio::test]
async fn a_payment_that_comes_after_expiry_gets_tickets_once_or_none() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(2, 2500);
    let (late, charge) = app.pays_late(&event).await;
    let (lost, lost_charge) = app.pays_late(&event).await;

    app.neighbours.decide(&charge);
    app.sweeps().await;
    app.neighbours.decide(&lost_charge);
    app.sweeps().await;
    app.sweeps().await;

    app.stands(late, "Confirmed", "Paid").await;
    app.stands(lost, "Expired", "Refunded").await;
    assert_eq!((app.tickets(late).await.len(), app.tickets(lost).await.len()), (2, 0));
    app.is_consistent().await;
}

#[tokio::test]
async fn an_interrupted_payment_makes_its_tickets_once() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.neighbours.next("confirm", &[Fault::AnswerLost]);

    app.pays(booking, "pm_card_visa").await;
    app.sweeps().await;
    app.sweeps().await;

    app.stands(booking, "Confirmed", "Paid").await;
    assert_eq!(app.tickets(booking).await.len(), 2);
    app.is_consistent().await;
}

#[tokio::test]
async fn an_older_replica_makes_and_voids_tickets_too() {
    let app = TestApp::start().await;
    let booking = app.books(&app.neighbours.event(10, 2500), 2).await;

    app.execute("update bookings set status = 'Confirmed', payment_status = 'Paid'").await;
    let confirmed = app.tickets(booking).await;
    app.execute("update bookings set status = 'Cancelled', cancel_reason = 'by_attendee'").await;

    assert_eq!(states(&confirmed), ["valid", "valid"]);
    assert_eq!(states(&app.tickets(booking).await), ["void", "void"]);
}

#[tokio::test]
async fn bookings_from_before_get_their_tickets_a_batch_at_a_time() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 0);
    let mut bookings = Vec::new();
    for seats in 1..=5 {
        bookings.push(app.books(&event, seats).await);
    }
    app.cancel_request(ALICE, bookings[2]).send().await.assert_ok();
    app.execute("delete from tickets").await;
    app.execute("update backfills set position = 0, last_id = (select max(id) from bookings) where name = 'tickets'")
        .await;
    let later = app.books(&event, 2).await;
    let store = &app.state().store;

    assert!(store.issue_missing_tickets(2).await.unwrap());
    let after_one_batch = (app.tickets(bookings[1]).await.len(), app.tickets(bookings[4]).await.len());
    while store.issue_missing_tickets(2).await.unwrap() {}

    assert_eq!(after_one_batch, (2, 0));
    app.tickets_are_consistent().await;
    assert_eq!((app.tickets(bookings[2]).await.len(), app.tickets(later).await.len()), (0, 2));
    let before = app.tickets(bookings[0]).await;
    app.execute("update backfills set position = 0 where name = 'tickets'").await;
    while store.issue_missing_tickets(100).await.unwrap() {}
    assert_eq!(app.tickets(bookings[0]).await, before);
}

#[tokio::test]
async fn anybody_can_verify_a_code_by_the_published_keys() {
    let app = TestApp::start().await;
    let booking = app.books(&app.neighbours.event(10, 0), 1).await;
    let ticket = app.tickets(booking).await.remove(0);

    let keys = app.get("/tickets/keys").send().await;

    let key = &keys.assert_ok()["keys"][0];
    for (field, value) in [("kty", "EC"), ("crv", "P-256"), ("alg", "ES256"), ("use", "sig"), ("kid", "t1")] {
        assert_eq!(key[field], value);
    }
    assert_eq!(key.as_object().unwrap().len(), 7, "and x and y; no private part");
    let part = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let point = [&[4][..], &part("x"), &part("y")].concat();
    let bytes = URL_SAFE_NO_PAD.decode(code(&ticket).strip_prefix("t1.").unwrap()).unwrap();
    let (code_id, signature) = bytes.split_at(16);
    let verifying = VerifyingKey::from_sec1_bytes(&point).unwrap();
    verifying.verify(code_id, &Signature::from_slice(signature).unwrap()).unwrap();
    let (stored,): (Uuid,) = app.row("select code_id from tickets where booking_id = $1", booking).await;
    assert_eq!(stored.as_bytes(), code_id);
}

#[tokio::test]
async fn codes_of_the_key_before_still_open_the_ticket() {
    let app = TestApp::start().await;
    let booking = app.books(&app.neighbours.event(10, 0), 1).await;
    let old = code(&app.tickets(booking).await[0]).to_owned();
    let folder = app.arguments.iter().position(|argument| argument == "--ticket-keys-dir").unwrap() + 1;
    write_ticket_key(app.arguments[folder].as_ref(), "t2");

    assert!(app.state().ticket_keys.reload().unwrap());
    app.clock().advance(TimeDelta::minutes(3));
    let new = code(&app.tickets(booking).await[0]).to_owned();

    assert!(old.starts_with("t1.") && new.starts_with("t2."), "{old} {new}");
    for code in [&old, &new] {
        app.looks_up(ALICE, Role::Attendee, code).await.assert_ok();
    }
    let replica = app.replica();
    let call = app.get(&format!("/tickets/{old}")).to(router(&replica));
    call.bearer(&app.token(ALICE)).send().await.assert_ok();
}

#[tokio::test]
async fn holder_and_organizer_see_a_ticket_and_nobody_else() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 0);
    let booking = app.books(&event, 1).await;
    let ticket = app.tickets(booking).await.remove(0);
    let code = code(&ticket);

    let own = app.looks_up(ALICE, Role::Attendee, code).await;

    assert_eq!(own.assert_ok()["holder_name"], "User 11");
    assert_eq!((&own.body["event_id"], &own.body["event_title"]), (&json!(event), &json!("Concert")));
    assert!(own.body.get("code").is_none());
    for name in [code, &ticket["id"].to_string()] {
        for (user, role) in [(ALICE, Role::Attendee), (ORGANIZER, Role::Organizer), (1, Role::Admin)] {
            assert_eq!(app.looks_up(user, role, name).await.assert_ok(), &own.body);
        }
        for (user, role) in [(BOB, Role::Attendee), (ORGANIZER + 1, Role::Organizer), (ORGANIZER, Role::Attendee)] {
            app.looks_up(user, role, name).await.assert_refused(404, "ticket_not_found");
        }
    }
    app.get(&format!("/tickets/{code}")).send().await.assert_refused(401, "login_required");
    let forged = format!("{}A", &code[..code.len() - 1]);
    let forged = if forged == code { format!("{}B", &code[..code.len() - 1]) } else { forged };
    for nothing in [&forged, "999999", "x.y", "%00"] {
        app.looks_up(ALICE, Role::Attendee, nothing).await.assert_refused(404, "ticket_not_found");
    }
}

#[tokio::test]
async fn another_holder_gets_another_code() {
    let app = TestApp::start().await;
    let booking = app.books(&app.neighbours.event(10, 0), 2).await;
    let [first, second] = app.tickets(booking).await.try_into().unwrap();

    let renamed = app.renames(ALICE, &first["id"], "  Grace Hopper ").await;
    let again = app.renames(ALICE, &first["id"], "Grace Hopper").await;

    assert_eq!(renamed.assert_ok()["holder_name"], "Grace Hopper");
    assert_ne!(code(&renamed.body), code(&first));
    assert_eq!(again.body, renamed.body, "the same name changes nothing");
    assert_eq!(app.tickets(booking).await, [renamed.body.clone(), second]);
    app.looks_up(ALICE, Role::Attendee, code(&first)).await.assert_refused(404, "ticket_not_found");
    app.looks_up(ALICE, Role::Attendee, code(&renamed.body)).await.assert_ok();
}

#[tokio::test]
async fn a_holder_changes_by_the_owner_and_until_the_event_starts() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 0);
    let booking = app.books(&event, 1).await;
    let cancelled = app.books(&app.neighbours.event(10, 0), 1).await;
    let ticket = app.tickets(booking).await[0]["id"].clone();
    app.cancel_request(ALICE, cancelled).send().await.assert_ok();

    app.renames(BOB, &ticket, "Bob").await.assert_refused(404, "ticket_not_found");
    app.renames(ALICE, &json!(999_999), "Bob").await.assert_refused(404, "ticket_not_found");
    app.renames(ALICE, &json!("x"), "Bob").await.assert_refused(404, "not_found");
    app.patch(&format!("/tickets/{ticket}"), json!({})).send().await.assert_refused(401, "login_required");
    for bad in ["", " ", "a\nb", &"x".repeat(101)] {
        let refused = app.renames(ALICE, &ticket, bad).await;
        refused.assert_refused(422, "invalid_request");
        assert_eq!(refused.fields(), ["holder_name"]);
    }
    let void = app.tickets(cancelled).await[0]["id"].clone();
    app.renames(ALICE, &void, "Bob").await.assert_refused(409, "ticket_void");
    app.clock().advance(TimeDelta::hours(5));
    app.renames(ALICE, &ticket, "Bob").await.assert_refused(409, "event_started");
}

#[tokio::test]
async fn names_of_holders_are_forgotten_with_the_account() {
    let app = TestApp::start().await;
    let tonight = app.event_tonight(10, 0);
    let (past, coming) = (app.books(&tonight, 2).await, app.books(&app.neighbours.event(10, 0), 1).await);
    let ticket = app.tickets(past).await[0]["id"].clone();
    app.renames(ALICE, &ticket, "Grace Hopper").await.assert_ok();
    app.clock().advance(TimeDelta::hours(6));

    app.receives(Uuid::new_v4(), app.account_deleted(ALICE)).await;
    app.sweeps().await;

    let names: Vec<String> = sqlx::query_scalar("select holder_name from tickets").fetch_all(&app.pool).await.unwrap();
    assert_eq!(names, [""; 3]);
    app.stands(past, "Confirmed", "Paid").await;
    app.stands(coming, "Cancelled", "Paid").await;
    app.is_consistent().await;
}

#[tokio::test]
async fn an_older_replica_forgets_the_names_of_holders_too() {
    let app = TestApp::start().await;
    app.books(&app.neighbours.event(10, 0), 2).await;

    app.execute("update bookings set user_name = '', user_email = ''").await;

    let names: Vec<String> = sqlx::query_scalar("select holder_name from tickets").fetch_all(&app.pool).await.unwrap();
    assert_eq!(names, ["", ""]);
}

#[tokio::test]
async fn a_holder_is_not_named_once_the_account_is_deleted() {
    let app = TestApp::start().await;
    let booking = app.books(&app.event_tonight(10, 0), 1).await;
    let ticket = app.tickets(booking).await[0]["id"].clone();
    app.receives(Uuid::new_v4(), app.account_deleted(ALICE)).await;

    app.renames(ALICE, &ticket, "Grace Hopper").await.assert_refused(401, "session_over");

    let (name,): (String,) = app.row("select holder_name from tickets where booking_id = $1", booking).await;
    assert_eq!(name, "User 11");
}

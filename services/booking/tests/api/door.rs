//! The door: scans, their undoing, counts, and the list for scanners.

use booking_service::crypto::ticket_keys::TicketKeys;
use chrono::TimeDelta;
use contracts::{identity::Role, message::Message};
use serde_json::{Value, json};
use tempfile::TempDir;
use testing::identity::write_ticket_key;
use uuid::Uuid;

use crate::{
    helpers::{ALICE, Answer, Call, TestApp, all, instant},
    neighbours::{Fault, ORGANIZER},
    tickets::code,
};

impl TestApp {
    pub(crate) fn organizer(&self) -> String {
        self.token_as(ORGANIZER, Role::Organizer)
    }

    /// A scan by the event's organizer.
    pub(crate) fn scan(&self, event: &str, code: &str) -> Call {
        self.post("/tickets/check-ins", json!({ "event_id": event, "code": code })).bearer(&self.organizer())
    }

    /// A scan with an id, by a device.
    fn scan_by(&self, event: &str, code: &str, device: &str, scan_id: Uuid) -> Call {
        let body = json!({ "event_id": event, "code": code, "device": device, "scan_id": scan_id });
        self.post("/tickets/check-ins", body).bearer(&self.organizer())
    }

    pub(crate) fn undo(&self, ticket: &Value) -> Call {
        self.delete(&format!("/tickets/check-ins/{}", ticket["id"])).bearer(&self.organizer())
    }

    async fn attendance(&self, event: &str) -> (i64, i64) {
        let call = self.get(&format!("/tickets/check-ins?event_id={event}")).bearer(&self.organizer());
        let body = call.send().await.assert_ok().clone();
        (body["present"].as_i64().unwrap(), body["expected"].as_i64().unwrap())
    }

    pub(crate) async fn makes_door_link(&self, event: &str, hours: i64) -> Answer {
        let expires_at = self.clock().now() + TimeDelta::hours(hours);
        let body = json!({ "event_id": event, "label": "Entrance north", "expires_at": expires_at });
        self.post("/tickets/door-links", body).bearer(&self.organizer()).send().await
    }
}

#[tokio::test]
async fn a_ticket_is_checked_in_once() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 2500);
    let ticket = app.tickets(app.buys(&event, 2).await).await.remove(0);

    let first = app.scan_by(&event, code(&ticket), "north", Uuid::new_v4()).send().await;
    app.clock().advance(TimeDelta::minutes(5));
    let second = app.scan(&event, code(&ticket)).send().await;

    let body = first.assert_ok();
    assert_eq!((&body["ticket_id"], &body["holder_name"]), (&ticket["id"], &json!("User 11")));
    assert_eq!((&body["event_id"], &body["device"]), (&json!(event), &json!("north")));
    second.assert_refused(409, "already_checked_in");
    assert_eq!((&second.body["checked_in_at"], &second.body["device"]), (&body["checked_in_at"], &json!("north")));
    assert_eq!(app.attendance(&event).await, (1, 2));
    let (booking,): (i32,) = app.row("select booking_id from tickets where id = $1", first_id(&ticket)).await;
    let shown = app.tickets(booking).await.remove(0);
    assert_eq!((&shown["state"], instant(&shown["checked_in_at"])), (&json!("used"), instant(&body["checked_in_at"])));
    app.is_consistent().await;
}

fn first_id(ticket: &Value) -> i32 {
    i32::try_from(ticket["id"].as_i64().unwrap()).unwrap()
}

#[tokio::test]
async fn of_a_hundred_scans_at_once_one_succeeds() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 0);
    let ticket = app.tickets(app.books(&event, 1).await).await.remove(0);

    let answers = all((0..100).map(|_| app.scan_by(&event, code(&ticket), "north", Uuid::new_v4()))).await;

    let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert_eq!(refused.len(), 99);
    for answer in refused {
        answer.assert_refused(409, "already_checked_in");
    }
    let (version,): (i32,) = app.row("select version from tickets where id = $1", first_id(&ticket)).await;
    assert_eq!(version, 2, "it changed once");
}

#[tokio::test]
async fn the_same_scan_gets_the_same_answer() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 0);
    let ticket = app.tickets(app.books(&event, 1).await).await.remove(0);
    let scan_id = Uuid::new_v4();

    let answers = all((0..20).map(|_| app.scan_by(&event, code(&ticket), "north", scan_id))).await;
    app.clock().advance(TimeDelta::hours(1));
    let later = app.scan_by(&event, code(&ticket), "north", scan_id).send().await;

    for answer in &answers {
        assert_eq!(answer.assert_ok(), later.assert_ok());
    }
}

#[tokio::test]
async fn a_ticket_that_was_found_by_name_is_checked_in_by_its_id() {
    let app = TestApp::start().await;
    let (event, other) = (app.event_tonight(10, 0), app.event_tonight(10, 0));
    let ticket = app.tickets(app.books(&event, 1).await).await.remove(0);
    let theirs = app.tickets(app.books(&other, 1).await).await.remove(0);
    let link = app.makes_door_link(&event, 12).await.expect(201);
    let scan = |body: Value| {
        let mut scan = json!({ "event_id": event });
        scan.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        app.post("/tickets/check-ins", scan).bearer(link.body["token"].as_str().unwrap()).send()
    };

    let admitted = scan(json!({ "ticket_id": ticket["id"] })).await;

    assert_eq!(admitted.assert_ok()["ticket_id"], ticket["id"]);
    scan(json!({ "ticket_id": ticket["id"] })).await.assert_refused(409, "already_checked_in");
    scan(json!({ "code": ticket["code"] })).await.assert_refused(409, "already_checked_in");
    for nothing in [&theirs["id"], &json!(0), &json!(-1), &json!(i32::MAX)] {
        scan(json!({ "ticket_id": nothing })).await.assert_refused(404, "ticket_not_found");
    }
    for unclear in [json!({}), json!({ "code": null }), json!({ "code": ticket["code"], "ticket_id": ticket["id"] })] {
        let refused = scan(unclear).await;
        refused.assert_refused(422, "invalid_request");
        assert_eq!(refused.fields(), ["code"]);
    }
    assert_eq!((app.attendance(&event).await, app.attendance(&other).await), ((1, 1), (0, 1)));
}

#[tokio::test]
async fn a_scan_id_names_one_scan_of_one_ticket() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 0);
    let [first, second, third] = app.tickets(app.books(&event, 3).await).await.try_into().unwrap();
    let (scan_id, raced) = (Uuid::new_v4(), Uuid::new_v4());

    let admitted = app.scan_by(&event, code(&first), "north", scan_id).send().await;
    let reused = app.scan_by(&event, code(&second), "north", scan_id).send().await;
    let again = app.scan_by(&event, code(&first), "north", scan_id).send().await;
    let race = all([&second, &third].map(|ticket| app.scan_by(&event, code(ticket), "north", raced))).await;

    reused.assert_refused(422, "scan_id_reused");
    assert_eq!(again.assert_ok(), admitted.assert_ok());
    let refused: Vec<&Answer> = race.iter().filter(|answer| answer.status != 200).collect();
    assert_eq!(refused.len(), 1, "{race:?}");
    refused[0].assert_refused(422, "scan_id_reused");
    assert_eq!(app.attendance(&event).await, (2, 3));
}

#[tokio::test]
async fn a_scan_that_is_sent_after_the_event_still_counts() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 0);
    let ticket = app.tickets(app.books(&event, 1).await).await.remove(0);
    app.clock().advance(TimeDelta::hours(48));

    // A scanner without a network sends its scans when it has one again.
    app.scan(&event, code(&ticket)).send().await.assert_ok();

    assert_eq!(app.attendance(&event).await, (1, 1));
}

#[tokio::test]
async fn whatever_is_scanned_is_answered_with_a_refusal() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 0);
    let ticket = app.tickets(app.books(&event, 1).await).await.remove(0);
    let link = app.makes_door_link(&event, 12).await.expect(201);
    let link = link.body["token"].as_str().unwrap();
    let (long, whole) = ("x".repeat(60_000), code(&ticket));
    let padded = format!("{whole}\0");

    for guess in ["", ".", "t1.", "t1.AAAA", "t1\0.AAAA", "\0", "../../t1", "t1.🎫", &long, &padded, &whole[3..]] {
        for token in [link, &app.organizer()] {
            app.scan(&event, guess).bearer(token).send().await.assert_refused(422, "ticket_forged");
        }
    }
    for (field, value) in [("device", json!("\0")), ("device", json!(long)), ("device", json!(" "))] {
        let body = json!({ "event_id": event, "code": whole, field: value });
        let refused = app.post("/tickets/check-ins", body).bearer(link).send().await;
        refused.assert_refused(422, "invalid_request");
    }
    for (field, value) in [("scan_id", json!("1")), ("scan_id", json!(1)), ("code", json!(1)), ("code", json!(["x"]))] {
        let mut body = json!({ "event_id": event, "code": whole });
        body[field] = value;
        app.post("/tickets/check-ins", body).bearer(link).send().await.assert_refused(400, "invalid_json");
    }
    for nowhere in ["", "\0", "a/../b", "%00", long.as_str()] {
        app.scan(nowhere, whole).send().await.assert_refused(404, "event_not_found");
        app.scan(nowhere, whole).bearer(link).send().await.assert_refused(403, "not_this_door");
        let unfit = app.scan_by(nowhere, whole, "", Uuid::new_v4());
        unfit.bearer(link).send().await.assert_refused(403, "not_this_door");
    }
    assert_eq!(app.attendance(&event).await, (0, 1));
}

#[tokio::test]
async fn ids_and_queries_of_nothing_are_refused() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 0);
    let organizer = app.organizer();

    for (path, status, code) in [
        ("/tickets", 400, "invalid_query"),
        ("/tickets?event_id=%00", 404, "event_not_found"),
        ("/tickets?event_id=..%2Fx", 404, "event_not_found"),
        ("/tickets/check-ins?event_id=%00", 404, "event_not_found"),
        ("/tickets/door-links?event_id=%00", 404, "event_not_found"),
        ("/tickets/2147483648", 404, "ticket_not_found"),
        ("/tickets/-1", 404, "ticket_not_found"),
        ("/tickets/%00", 404, "ticket_not_found"),
        ("/tickets/%FF", 404, "not_found"),
    ] {
        app.get(path).bearer(&organizer).send().await.assert_refused(status, code);
    }
    for query in ["limit=0", "limit=101", "limit=x", "cursor=%00", "cursor=x", "cursor=99999999999", "more=1"] {
        for path in ["/tickets", "/tickets/door-links"] {
            let answer = app.get(&format!("{path}?event_id={event}&{query}")).bearer(&organizer).send().await;
            assert!(matches!(answer.status.as_u16(), 400 | 422), "{path} {query}: {answer:?}");
        }
    }
    for path in ["/tickets/check-ins/0", "/tickets/check-ins/-1"] {
        app.delete(path).bearer(&organizer).send().await.assert_refused(404, "ticket_not_found");
    }
    for path in ["/tickets/check-ins/x", "/tickets/check-ins/2147483648", "/tickets/door-links/x"] {
        app.delete(path).bearer(&organizer).send().await.assert_refused(404, "not_found");
    }
    app.delete("/tickets/door-links/0").bearer(&organizer).send().await.assert_refused(404, "door_link_not_found");
}

#[tokio::test]
async fn every_refusal_has_a_code_of_its_own() {
    let app = TestApp::with(&["--cancel-deadline-hours", "0"]).await;
    let (tonight, later) = (app.event_tonight(10, 0), app.neighbours.event(10, 0));
    let (booking, cancelled) = (app.books(&tonight, 2).await, app.books(&tonight, 1).await);
    let ticket = app.tickets(booking).await.remove(0);
    let void = app.tickets(cancelled).await.remove(0);
    let early = app.tickets(app.books(&later, 1).await).await.remove(0);
    let old = code(&ticket).to_owned();
    let ticket = app.renames(ALICE, &ticket["id"], "Grace Hopper").await.body;
    app.cancel_request(ALICE, cancelled).send().await.assert_ok();
    let folder = TempDir::new().unwrap();
    write_ticket_key(folder.path(), "t1");
    let forged = TicketKeys::from_dir(folder.path(), app.clock().clone()).unwrap().code(Uuid::new_v4());

    app.scan(&tonight, &forged).send().await.assert_refused(422, "ticket_forged");
    app.scan(&tonight, "https://tickets.example/x").send().await.assert_refused(422, "ticket_forged");
    app.scan(&tonight, &old).send().await.assert_refused(409, "ticket_replaced");
    app.scan(&tonight, code(&void)).send().await.assert_refused(409, "ticket_void");
    app.scan(&tonight, code(&early)).send().await.assert_refused(409, "other_event");
    let too_early = app.scan(&later, code(&early)).send().await;
    too_early.assert_refused(409, "too_early");
    let opens_at = instant(&too_early.body["opens_at"]);
    app.scan(&tonight, code(&ticket)).send().await.assert_ok();
    app.clock().advance(opens_at - app.clock().now());
    app.scan(&later, code(&early)).send().await.assert_ok();
}

#[tokio::test]
async fn a_scan_needs_the_events_organizer_and_a_body_that_fits() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 0);
    let ticket = app.tickets(app.books(&event, 1).await).await.remove(0);
    let scan = |user, role| app.scan(&event, code(&ticket)).bearer(&app.token_as(user, role)).send();

    let anonymous = app.post("/tickets/check-ins", json!({ "event_id": event, "code": code(&ticket) }));
    anonymous.send().await.assert_refused(401, "login_required");
    scan(ALICE, Role::Attendee).await.assert_refused(403, "role_required");
    scan(ORGANIZER + 1, Role::Organizer).await.assert_refused(403, "not_your_event");
    app.scan("nosuch", code(&ticket)).send().await.assert_refused(404, "event_not_found");
    let unknown = app.post("/tickets/check-ins", json!({ "event_id": event, "code": "x", "y": 1 }));
    unknown.bearer(&app.organizer()).send().await.assert_refused(400, "invalid_json");
    let device = app.scan_by(&event, code(&ticket), "a\nb", Uuid::new_v4()).send().await;
    device.assert_refused(422, "invalid_request");
    assert_eq!(device.fields(), ["device"]);
    app.neighbours.always("describe", Fault::Fails);
    app.scan(&event, code(&ticket)).send().await.assert_refused(503, "event_service_unavailable");
    app.neighbours.recover();
    scan(1, Role::Admin).await.assert_ok();
}

#[tokio::test]
async fn the_organizer_undoes_a_check_in() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 0);
    let ticket = app.tickets(app.books(&event, 1).await).await.remove(0);
    app.scan(&event, code(&ticket)).send().await.assert_ok();
    let by = |user, role| app.undo(&ticket).bearer(&app.token_as(user, role)).send();

    by(ALICE, Role::Attendee).await.assert_refused(403, "role_required");
    by(ORGANIZER + 1, Role::Organizer).await.assert_refused(404, "ticket_not_found");
    assert_eq!(app.attendance(&event).await, (1, 1));
    for _ in 0..2 {
        assert_eq!(app.undo(&ticket).send().await.status, 204);
    }

    assert_eq!(app.attendance(&event).await, (0, 1));
    app.scan(&event, code(&ticket)).send().await.assert_ok();
}

#[tokio::test]
async fn a_booking_whose_ticket_was_used_is_cancelled_with_its_event_alone() {
    let app = TestApp::with(&["--cancel-deadline-hours", "0"]).await;
    let event = app.event_tonight(10, 2500);
    let booking = app.buys(&event, 2).await;
    let ticket = app.tickets(booking).await.remove(0);
    app.scan(&event, code(&ticket)).send().await.assert_ok();

    app.cancel_request(ALICE, booking).send().await.assert_refused(409, "already_checked_in");
    app.stands(booking, "Confirmed", "Paid").await;
    app.undo(&ticket).send().await;
    app.scan(&event, code(&ticket)).send().await.assert_ok();
    app.neighbours.world().events.get_mut(&event).unwrap().cancelled = true;
    app.receives(Uuid::new_v4(), Message::EventCancelled(app.event_fact(&event, "Concert", 2))).await;
    app.sweeps().await;

    app.stands(booking, "Cancelled", "Refunded").await;
    app.scan(&event, code(&ticket)).send().await.assert_refused(409, "ticket_void");
    app.undo(&ticket).send().await.assert_refused(409, "ticket_void");
    assert_eq!(app.attendance(&event).await, (0, 0));
    app.is_consistent().await;
}

#[tokio::test]
async fn scanning_and_cancelling_at_once_leaves_one_of_both() {
    let app = TestApp::with(&["--cancel-deadline-hours", "0"]).await;
    let event = app.event_tonight(100, 0);
    for _ in 0..10 {
        let booking = app.books(&event, 2).await;
        let tickets = app.tickets(booking).await;
        let scans = tickets.iter().map(|ticket| app.scan(&event, code(ticket)));

        let answers = all(scans.chain([app.cancel_request(ALICE, booking)])).await;

        let entered = answers[..2].iter().filter(|answer| answer.status == 200).count();
        let cancelled = answers[2].status == 200;
        assert!(cancelled == (entered == 0), "{answers:?}");
    }
    app.is_consistent().await;
}

#[tokio::test]
async fn scanners_load_the_tickets_of_an_event_in_pages() {
    let app = TestApp::with(&["--cancel-deadline-hours", "0"]).await;
    let event = app.event_tonight(10, 0);
    let (booking, cancelled) = (app.books(&event, 2).await, app.books(&event, 1).await);
    app.books(&app.event_tonight(10, 0), 1).await;
    app.cancel_request(ALICE, cancelled).send().await.assert_ok();
    let ticket = app.tickets(booking).await.remove(0);
    app.scan(&event, code(&ticket)).send().await.assert_ok();
    let path = format!("/tickets?event_id={event}");
    let get = async |path: &str| app.get(path).bearer(&app.organizer()).send().await.assert_ok().clone();

    let whole = get(&path).await;
    let first = get(&format!("{path}&limit=2")).await;
    let second = get(&format!("{path}&limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).await;

    let items = whole["items"].as_array().unwrap();
    assert_eq!((items[0]["state"].as_str(), items[1]["state"].as_str()), (Some("used"), Some("valid")));
    assert_eq!((items[2]["state"].as_str(), &items[2]["booking_id"]), (Some("void"), &json!(cancelled)));
    assert_eq!(
        [first["items"].as_array().unwrap().clone(), second["items"].as_array().unwrap().clone()].concat(),
        *items
    );
    let (code_id,): (Uuid,) = app.row("select code_id from tickets where id = $1", first_id(&ticket)).await;
    assert_eq!((&items[0]["code_id"], &items[0]["holder_name"]), (&json!(code_id), &json!("User 11")));
    assert!(!whole.to_string().contains(code(&ticket)), "a list opens no door");
    app.get(&path).send().await.assert_refused(401, "login_required");
    app.get(&path).bearer(&app.token(ALICE)).send().await.assert_refused(403, "role_required");
    let other = app.get(&path).bearer(&app.token_as(ORGANIZER + 1, Role::Organizer)).send().await;
    other.assert_refused(403, "not_your_event");
}

//! Seats are held once or refused with a reason, and never lost.

use axum::http::StatusCode;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    helpers::{ALICE, BOB, TestApp, all, instant, router},
    neighbours::Fault,
};

#[tokio::test]
async fn booked_seats_are_held_and_the_booking_is_pending() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);

    let answer = app.booking_request(ALICE, &event, 3).send().await;

    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let body = &answer.body;
    assert_eq!((&body["status"], &body["payment_status"]), (&json!("Pending"), &json!("Unpaid")));
    assert_eq!((&body["user_id"], &body["event_id"], &body["seats"]), (&json!(ALICE), &json!(event), &json!(3)));
    assert_eq!((&body["amount"], &body["currency"]), (&json!(7500), &json!("EUR")));
    let left = instant(&body["expires_at"]) - instant(&body["created_at"]);
    assert!((TimeDelta::seconds(890)..TimeDelta::seconds(910)).contains(&left), "{left}");
    assert_eq!(app.neighbours.seats(&event, "held"), 3);
    assert_eq!(app.booking(answer.id()).await, answer.body);
}

#[tokio::test]
async fn a_sold_out_event_rejects_the_next_booking() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(2, 1000);
    app.books(&event, 2).await;

    let answer = app.booking_request(BOB, &event, 1).send().await;

    answer.assert_refused(409, "sold_out");
    assert_eq!(answer.body["detail"], "because of sold_out");
    let rejected: (String, Option<String>) =
        app.row("select status, rejection_code from bookings where user_id = $1", BOB).await;
    assert_eq!(rejected, ("Rejected".to_owned(), Some("sold_out".to_owned())));
    app.is_consistent().await;
}

#[tokio::test]
async fn refusals_by_event_service_reach_the_caller_unchanged() {
    let app = TestApp::start().await;
    let (cancelled, closed, open) =
        (app.neighbours.event(9, 1), app.neighbours.event(9, 1), app.neighbours.event(99, 1));
    app.neighbours.world().events.get_mut(&cancelled).unwrap().cancelled = true;
    app.neighbours.world().events.get_mut(&closed).unwrap().sales_closed = true;

    app.booking_request(ALICE, &cancelled, 1).send().await.assert_refused(409, "event_cancelled");
    app.booking_request(ALICE, &closed, 1).send().await.assert_refused(409, "sales_closed");
    app.booking_request(ALICE, "nosuch", 1).send().await.assert_refused(404, "event_not_found");
    app.booking_request(ALICE, &open, 11).send().await.assert_refused(422, "too_many_seats");
}

#[tokio::test]
async fn invalid_requests_are_refused_with_a_reason() {
    let app = TestApp::start().await;
    let send = async |body: Value| app.post("/bookings", body).bearer(&app.token(ALICE)).send().await;

    for seats in [0, -1, 101, i64::MAX] {
        send(json!({ "event_id": "e", "seats": seats })).await.assert_refused(422, "invalid_request");
    }
    let both = send(json!({ "event_id": "../x", "seats": 0 })).await;
    both.assert_refused(422, "invalid_request");
    assert_eq!(both.body["errors"].as_array().unwrap().len(), 2);
    send(json!({ "event_id": "e", "seats": 1, "price": 1 })).await.assert_refused(400, "invalid_json");
    send(json!({ "event_id": "e", "seats": 1.5 })).await.assert_refused(400, "invalid_json");
    send(json!({ "event_id": "x".repeat(70_000), "seats": 1 })).await.assert_refused(413, "body_too_large");
    app.post("/bookings", json!({})).send().await.assert_refused(401, "login_required");
    for body in [json!(["e", 1]), json!([["e", 1]]), json!({ "event_id": ["e"], "seats": 1 }), json!("e"), Value::Null]
    {
        send(body).await.assert_refused(400, "invalid_json");
    }
    assert_eq!(app.neighbours.calls("hold"), 0);
}

#[tokio::test]
async fn an_invalid_id_in_the_path_is_not_found() {
    let app = TestApp::start().await;

    for path in
        ["/bookings/x", "/bookings/1.0", "/bookings/2147483648", "/bookings/%00", "/bookings/%FF", "/payments/x"]
    {
        let answer = app.get(path).bearer(&app.token(ALICE)).send().await;

        answer.assert_refused(404, "not_found");
        assert_eq!(answer.body["detail"], format!("nothing is at {path}"));
    }
    // A path has one spelling: without a slash at its end.
    for path in ["/bookings/", "/bookings/1/", "/bookings/sales/"] {
        app.get(path).bearer(&app.token(ALICE)).send().await.assert_refused(404, "route_not_found");
    }
}

#[tokio::test]
async fn a_compressed_body_assert_refused() {
    let app = TestApp::start().await;

    for encoding in ["gzip", "br", "deflate, gzip"] {
        let call = app.booking_request(ALICE, "e", 1).header("content-encoding", encoding);
        call.send().await.assert_refused(415, "unsupported_encoding");
    }
    let signed = app.post("/payments/webhooks/mock", json!({})).header("content-encoding", "gzip");
    signed.send().await.assert_refused(415, "unsupported_encoding");
    let plain = app.booking_request(ALICE, "e", 0).header("content-encoding", "identity");
    plain.send().await.assert_refused(422, "invalid_request");
}

#[tokio::test]
async fn another_users_booking_is_not_found() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 1000);
    let booking = app.books(&event, 1).await;

    let path = format!("/bookings/{booking}");
    app.get(&path).bearer(&app.token(BOB)).send().await.assert_refused(404, "booking_not_found");
    app.cancel_request(BOB, booking).send().await.assert_refused(404, "booking_not_found");
    app.payment_request(BOB, booking, "pm_card_visa").send().await.assert_refused(404, "booking_not_found");
    let list = app.get("/bookings").bearer(&app.token(BOB)).send().await;

    assert_eq!(list.body["items"], json!([]));
    app.stands(booking, "Pending", "Unpaid").await;
}

#[tokio::test]
async fn a_list_has_pages_newest_first_and_filters_by_status() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 1000);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(app.books(&event, 1).await);
    }
    app.pays(ids[0], "pm_card_visa").await;
    let list = async |query: String| app.get(&format!("/bookings{query}")).bearer(&app.token(ALICE)).send().await;

    let first = list("?limit=2".into()).await.body;
    let second = list(format!("?limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).await.body;
    let confirmed = list("?status=Confirmed".into()).await.body;

    let of = |page: &Value| -> Vec<i64> {
        page["items"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(of(&first), [i64::from(ids[2]), i64::from(ids[1])]);
    assert_eq!((of(&second), &second["next_cursor"]), (vec![i64::from(ids[0])], &Value::Null));
    assert_eq!(of(&confirmed), [i64::from(ids[0])]);
    list("?status=Sold".into()).await.assert_refused(400, "invalid_query");
    list("?cursor=zz".into()).await.assert_refused(400, "invalid_cursor");
    list("?limit=0".into()).await.assert_refused(400, "invalid_query");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_identical_requests_make_one_booking_and_twenty_identical_answers() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let event = app.neighbours.event(50, 1000);

    let calls = (0..20).map(|n| {
        let call = app.booking_request(ALICE, &event, 2).key("same");
        if n % 2 == 0 { call } else { call.to(router(&replica)) }
    });
    let answers = all(calls).await;

    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (StatusCode::CREATED, &answers[0].body));
    }
    assert_eq!(app.neighbours.seats(&event, "held"), 2);
    app.booking_request(ALICE, &event, 3).key("same").send().await.assert_refused(422, "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_seats_are_not_oversold() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(5, 1000);

    let answers = all((0..30).map(|n| app.booking_request(100 + n, &event, 1))).await;

    let held = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!(held, 5);
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::CREATED) {
        answer.assert_refused(409, "sold_out");
    }
    assert_eq!(app.neighbours.seats(&event, "held"), 5);
}

#[tokio::test]
async fn an_unknown_hold_is_repeated_under_the_same_reservation_id() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 1000);
    app.neighbours.next("hold", &[Fault::FailsAfterwards, Fault::Fails, Fault::Unauthorized]);

    app.books(&event, 4).await;

    assert_eq!(app.neighbours.calls("hold"), 4);
    assert_eq!(app.neighbours.seats(&event, "held"), 4);
    assert_eq!(app.neighbours.world().reservations.len(), 1);
}

#[tokio::test]
async fn a_hold_with_a_lost_response_is_repeated() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 1000);
    app.neighbours.next("hold", &[Fault::AnswerLost]);

    app.books(&event, 4).await;

    assert_eq!((app.neighbours.calls("hold"), app.neighbours.seats(&event, "held")), (2, 4));
}

#[tokio::test]
async fn a_booking_continues_under_its_key_once_event_service_answers() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 1000);
    app.neighbours.always("hold", Fault::FailsAfterwards);
    let refused = app.booking_request(ALICE, &event, 2).key("k").send().await;
    refused.assert_refused(503, "event_service_unavailable");
    assert!(!refused.header("retry-after").is_empty());
    app.neighbours.recover();

    let answer = app.booking_request(ALICE, &event, 2).key("k").send().await;

    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(app.neighbours.world().reservations.len(), 1);
    let (bookings,): (i64,) = app.row("select count(*) from bookings where user_id = $1", ALICE).await;
    assert_eq!(bookings, 1);
}

#[tokio::test]
async fn a_booking_that_event_service_has_no_time_for_is_told_to_come_again() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 1000);
    app.neighbours.next("hold", &[Fault::Overloaded]);
    let refused = app.booking_request(ALICE, &event, 2).key("k").send().await;
    refused.assert_refused(429, "overloaded");
    assert_eq!((app.neighbours.calls("hold"), refused.header("retry-after")), (1, "1"));

    let answer = app.booking_request(ALICE, &event, 2).key("k").send().await;

    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(app.neighbours.seats(&event, "held"), 2);
    app.is_consistent().await;
}

#[tokio::test]
async fn a_booking_without_seats_is_rejected_after_the_hold_timeout_and_its_seats_are_released() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 1000);
    app.neighbours.always("hold", Fault::FailsAfterwards);
    app.booking_request(ALICE, &event, 2).key("k").send().await.assert_refused(503, "event_service_unavailable");
    app.neighbours.recover();
    let (id,): (i32,) = app.row("select id from bookings where user_id = $1", ALICE).await;

    app.sweeps_what_is_due().await;
    app.stands(id, "Pending", "Unpaid").await;
    app.sweeps().await;

    app.stands(id, "Rejected", "Unpaid").await;
    assert_eq!(app.neighbours.seats(&event, "held"), 0);
    app.booking_request(ALICE, &event, 2).key("k").send().await.assert_refused(409, "booking_rejected");
    assert!(app.messages_about(id).await.is_empty());
    app.is_consistent().await;
}

#[tokio::test]
async fn a_hold_that_arrives_after_the_rejection_finds_a_tombstone() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 1000);
    app.neighbours.always("hold", Fault::Fails);
    app.booking_request(ALICE, &event, 2).key("k").send().await.assert_refused(503, "event_service_unavailable");
    app.neighbours.always("release", Fault::Fails);
    app.sweeps().await;
    app.neighbours.recover();
    let (id, pending): (i32, bool) =
        app.row("select id, release_pending from bookings where user_id = $1", ALICE).await;
    assert!(pending);

    app.sweeps().await;

    let (reservation,): (uuid::Uuid,) = app.row("select reservation_id from bookings where id = $1", id).await;
    assert_eq!(app.neighbours.world().reservations[&reservation].state, "released");
    let (pending,): (bool,) = app.row("select release_pending from bookings where id = $1", id).await;
    assert!(!pending);
}

#[tokio::test]
async fn free_seats_are_confirmed_at_once_without_the_gateway() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 0);

    let answer = app.booking_request(ALICE, &event, 2).send().await;

    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!((&answer.body["status"], &answer.body["payment_status"]), (&json!("Confirmed"), &json!("Paid")));
    assert_eq!(app.neighbours.seats(&event, "confirmed"), 2);
    assert_eq!(app.neighbours.calls("create"), 0);
    assert_eq!(app.messages_about(answer.id()).await, ["booking.confirmed"]);
    app.pays(answer.id(), "pm_card_visa").await.assert_refused(409, "already_paid");
    app.is_consistent().await;
}

#[tokio::test]
async fn free_seats_with_an_unknown_confirmation_are_confirmed_by_a_sweeper() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 0);
    app.neighbours.always("confirm", Fault::FailsAfterwards);
    let answer = app.booking_request(ALICE, &event, 2).send().await;
    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::CREATED, &json!("Pending")));
    app.pays(answer.id(), "pm_card_visa").await.assert_refused(409, "nothing_to_pay");
    app.neighbours.recover();

    app.sweeps().await;

    app.stands(answer.id(), "Confirmed", "Paid").await;
    assert_eq!(app.messages_about(answer.id()).await, ["booking.confirmed"]);
    app.is_consistent().await;
}

#[tokio::test]
async fn a_free_booking_whose_hold_ended_expires() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 0);
    app.neighbours.always("confirm", Fault::Fails);
    let id = app.booking_request(ALICE, &event, 2).send().await.id();
    app.neighbours.recover();
    app.neighbours.world().reservations.values_mut().for_each(|reservation| reservation.state = "released");

    app.sweeps().await;

    app.stands(id, "Expired", "Unpaid").await;
    assert_eq!(app.messages_about(id).await, ["booking.expired"]);
}

#[tokio::test]
async fn a_free_booking_of_a_cancelled_event_is_cancelled() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 0);
    app.neighbours.always("confirm", Fault::Fails);
    let id = app.booking_request(ALICE, &event, 2).send().await.id();
    app.neighbours.recover();
    app.neighbours.world().events.get_mut(&event).unwrap().cancelled = true;

    app.sweeps().await;

    app.stands(id, "Cancelled", "Unpaid").await;
    assert_eq!(app.messages_about(id).await, ["booking.cancelled"]);
    app.is_consistent().await;
}

#[tokio::test]
async fn name_and_email_are_stored_for_the_organizer() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 1000);
    let id = app.books(&event, 1).await;

    let kept: (String, String, i32) =
        app.row("select user_name, user_email, organizer_id from bookings where id = $1", id).await;

    assert_eq!(kept, (format!("User {ALICE}"), format!("user{ALICE}@example.org"), 7));
}
